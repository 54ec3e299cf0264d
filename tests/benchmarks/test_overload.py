"""What the overload's tools make: paced and refused requests as wrk tells of them, hostile datagrams.

Rules of this file: no process, no network.
"""

from __future__ import annotations

import random

import pytest

from benchmarks.hostile import KINDS, Invention
from benchmarks.load import parse
from camomile_trio.errors import MalformedPacket
from camomile_trio.identity import BadSignature, network_id, verify_record
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import FindNode, FindValue, Have, Message, NodeList, Ping, Store
from camomile_trio.transport.base import MAX_SENT_DATAGRAM
from camomile_trio.wire.codec import decode_untrusted

MEANT: dict[str, type[Message]] = {
    "pings": Ping,
    "finds": FindNode,
    "finds for values": FindValue,
    "stores with bad tokens": Store,
    "stores with bad signatures": Store,
    "have": Have,
    "answers nobody waits for": NodeList,
}


def made(kind: str) -> bytes:
    return KINDS[kind](Invention(random.Random(1), b"a token."))


def test_a_refusal_is_a_503_that_says_when_to_come_again_and_nothing_else() -> None:
    # A put that was stored, a 503, a 503 without Retry-After (noted as 1), another error.
    output = "BENCH 2 1000000\nBENCH 0 202 5000\nBENCH 1 503 900\nBENCH 2 1 800\nBENCH 3 500 700\n"
    found = parse(output, (202,))
    assert (found.times, found.refused, found.failed) == ([0.005], [0.0009], 5)


@pytest.mark.parametrize("kind", MEANT)
def test_hostile_datagrams_are_well_formed_where_they_are_meant_to_be(kind: str) -> None:
    assert len(made(kind)) <= MAX_SENT_DATAGRAM
    assert isinstance(decode_untrusted(made(kind)).message, MEANT[kind])


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - MEANT.keys()))
def test_and_malformed_where_they_are_not(kind: str) -> None:
    with pytest.raises(MalformedPacket):
        decode_untrusted(made(kind))


def test_the_bad_signature_is_all_that_is_wrong_with_such_a_store() -> None:
    message = decode_untrusted(made("stores with bad signatures")).message
    assert isinstance(message, Store)
    assert message.token == b"a token."
    assert message.value is not None
    with pytest.raises(BadSignature):
        verify_record(message.records[0], Key.of(message.value), network_id("camomile"))
