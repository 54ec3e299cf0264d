"""What the overload's tools make: paced and refused requests as wrk tells of them, hostile datagrams.

Rules of this file: no process, no network.
"""

from __future__ import annotations

import random
import socket
import time
from typing import cast

import attrs
import pytest

from benchmarks.hostile import FORGED, KINDS, NETWORK, Hostile, forged, nowhere
from benchmarks.load import parse
from camomile_trio.identity import BadSignature, verify_record
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import FindNode, Have, Message, NodeList, Store
from camomile_trio.peer.decisions import Decision, Dropped, Initiated, Opened, Reply
from camomile_trio.peer.handshake import NetworkKey, open_network_key
from camomile_trio.peer.local import Local, StaticKey
from camomile_trio.peer.packets import LARGEST_DATAGRAM
from camomile_trio.peer.sessions import Sessions
from camomile_trio.peer.suite import NaclSuite
from camomile_trio.wire import classic
from camomile_trio.wire.codec import Codec

VICTIM, HOSTILE = Endpoint.parse("10.9.0.1:8118"), Endpoint.parse("10.9.0.2:8118")
SEALED: dict[str, type[Message]] = {
    "finds": FindNode,
    "stores with bad signatures": Store,
    "have": Have,
    "unsolicited node lists": NodeList,
}


@attrs.define(eq=False)
class Victim:
    """A node in the open network, and the socket of a hostile host that reaches it at once."""

    sessions: Sessions
    answers: list[bytes] = attrs.field(factory=list)

    @classmethod
    def new(cls) -> Victim:
        suite, rng = NaclSuite(), random.Random(2)
        network = NetworkKey.of(open_network_key(NETWORK), NETWORK)
        local = Local.start(StaticKey.from_seed(suite, rng.randbytes(32)), (network,), suite, rng)
        return cls(Sessions(local, time.monotonic()))

    def receive(self, datagram: bytes) -> Decision:
        """What the node decides. A first request gets an answer."""
        now, wall_ms = time.monotonic(), time.time_ns() // 10**6
        decision = self.sessions.on_datagram(datagram, HOSTILE, now, wall_ms)
        if isinstance(decision, Reply):
            self.answers.append(decision.datagram)
        elif isinstance(decision, Initiated):
            number, _, _ = Codec().decode_untrusted(decision.request)
            answer = Codec().encode(number, NodeList(), 0)
            response = self.sessions.responder.respond(decision, answer, now, wall_ms)
            assert response is not None
            self.answers.append(response)
        return decision

    def sendto(self, datagram: bytes, address: tuple[str, int]) -> None:
        assert address == (VICTIM.host, VICTIM.port)
        self.receive(datagram)

    def recvfrom(self, most: int) -> tuple[bytes, tuple[str, int]]:
        return self.answers.pop(0), (VICTIM.host, VICTIM.port)

    def settimeout(self, seconds: float) -> None:
        pass


def made(kind: str, count: int = 1) -> list[tuple[bytes, Decision]]:
    """Datagrams of a kind, and what the victim decides on each."""
    victim = Victim.new()
    packets = KINDS[kind](Hostile(cast("socket.socket", victim), VICTIM, random.Random(1)))
    return [(datagram, victim.receive(datagram)) for datagram in (next(packets) for _ in range(count))]


def test_a_refusal_is_a_503_that_says_when_to_come_again_and_nothing_else() -> None:
    # A put that was stored, a 503, a 503 without Retry-After (noted as 1), another error.
    output = "BENCH 2 1000000\nBENCH 0 202 5000\nBENCH 1 503 900\nBENCH 2 1 800\nBENCH 3 500 700\n"
    found = parse(output, (202,))
    assert (found.times, found.refused, found.failed) == ([0.005], [0.0009], 5)


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_datagrams_are_no_larger_than_what_nodes_send(kind: str) -> None:
    assert all(len(datagram) <= LARGEST_DATAGRAM for datagram, _ in made(kind, 3))


@pytest.mark.parametrize("kind", SEALED)
def test_those_in_a_session_are_opened_and_mean_what_they_are_named_for(kind: str) -> None:
    for _, decision in made(kind, 3):
        assert isinstance(decision, Opened)
        assert isinstance(Codec().decode_untrusted(decision.inner)[1], SEALED[kind])


def test_the_bad_signature_is_all_that_is_wrong_with_such_a_store() -> None:
    ((_, decision),) = made("stores with bad signatures")
    assert isinstance(decision, Opened)
    _, message, _ = Codec().decode_untrusted(decision.inner)
    assert isinstance(message, Store)
    assert message.value is not None
    with pytest.raises(BadSignature):
        verify_record(message.records[0], Key.of(message.value), NETWORK)


def test_initiations_are_those_of_nodes_that_the_victim_does_not_know() -> None:
    decisions = [decision for _, decision in made("initiations", 3)]
    peers = {decision.contact.public for decision in decisions if isinstance(decision, Initiated)}
    assert len(peers) == 3


def test_replayed_initiations_are_taken_once() -> None:
    decisions = [decision for _, decision in made("replayed initiations", 10)]
    assert [type(decision) for decision in decisions] == [Initiated] * 8 + [Reply] * 2


def test_hellos_are_answered() -> None:
    assert all(isinstance(decision, Reply) and decision.why == "hello" for _, decision in made("hellos", 3))


@pytest.mark.parametrize(("kind", "reason"), [("unknown index", "unknown_index"), ("random bytes", "")])
def test_the_others_are_dropped(kind: str, reason: str) -> None:
    for _, decision in made(kind, 3):
        assert isinstance(decision, Dropped)
        assert reason in decision.reason


def test_an_unsealed_one_is_a_classic_nodes() -> None:
    ((datagram, _),) = made("unsealed")
    assert isinstance(classic.decode_untrusted(datagram).message, classic.FindNode)


def test_forged_sources_are_in_the_header_and_the_datagram_is_behind_it() -> None:
    assert "initiations" in FORGED
    packet = next(forged(iter([b"datagram"]), nowhere(random.Random(1)), VICTIM))
    assert packet[:1] == b"\x45"
    assert packet[12:14] == bytes([10, 9])
    assert packet[16:20] == VICTIM.ip
    assert int.from_bytes(packet[22:24], "big") == VICTIM.port
    assert packet[28:] == b"datagram"
