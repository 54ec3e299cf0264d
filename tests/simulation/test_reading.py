"""What passes is read from outside: the kind of each datagram under any suite, and what is in it under the toy one."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import (
    FindNode,
    FindValue,
    Have,
    Leave,
    Message,
    NodeList,
    Ping,
    Pong,
    StoreResult,
    StoreStatus,
    TooLarge,
    Value,
)
from camomile_trio.peer.budget import HandshakeRates, Rate
from camomile_trio.peer.packets import About
from camomile_trio.peer.suite import CipherSuite, NaclSuite
from camomile_trio.simulation.reading import FIND_VALUE_TAG, VALUE_TAG, Datagram, Kind, Reader, message_tag
from camomile_trio.simulation.suite import ToySuite
from camomile_trio.wire import classic
from camomile_trio.wire.codec import Codec
from tests.peer.nodes import A, B, Line, Node

ASKED = Codec().encode(7, FindValue(Key.of(b"an apple")), 1)
SAID = Codec().encode(8, Pong(Endpoint.parse("10.0.0.1:8118")), 0)
NOTHING_IS_FREE = HandshakeRates(unproven=Rate(0, 0), unproven_of_network=Rate(0, 0))


class Passed:
    """All datagrams of one meeting, as the reader sees them."""

    def __init__(self, suite: CipherSuite, *, rates: HandshakeRates | None = None) -> None:
        self.line, self.reader = Line(), Reader(suite)
        self.first, self.second = (
            Node(self.line, b"a", A, suite=suite),
            Node(self.line, b"b", B, suite=suite, rates=rates),
        )
        self.first.initiate(self.second, ASKED)
        self.bytes: list[bytes] = []
        self.seen: list[Datagram] = []
        self.deliver()

    def deliver(self) -> None:
        while self.line.flying:
            flying = self.line.flying.pop(0)
            self.bytes.append(flying.datagram)
            self.seen.append(self.reader.read(flying.datagram))
            self.line.deliver(flying)

    @property
    def kinds(self) -> list[Kind]:
        return [each.kind for each in self.seen]


@pytest.mark.parametrize("suite", [ToySuite(), NaclSuite()], ids=["toy", "nacl"])
def test_every_datagram_of_a_handshake_has_a_kind_under_either_suite(suite: CipherSuite) -> None:
    assert Passed(suite).kinds == [Kind.INITIATION, Kind.RESPONSE, Kind.SEALED]
    doubted = Passed(suite, rates=NOTHING_IS_FREE)
    assert doubted.kinds == [Kind.INITIATION, Kind.COOKIE, Kind.INITIATION, Kind.RESPONSE, Kind.SEALED]
    assert doubted.seen[0].index == doubted.seen[1].index != doubted.seen[2].index == doubted.seen[3].index
    meeting = Passed(suite)
    meeting.first.send(meeting.first.sessions.initiator.hello(meeting.second.endpoint, 100.0), meeting.second.endpoint)
    meeting.deliver()
    assert meeting.kinds[3:] == [Kind.HELLO, Kind.HELLO_ANSWER]
    assert meeting.seen[3].index == meeting.seen[4].index != b""


def test_under_the_toy_suite_it_reads_who_begins_what_is_asked_and_what_is_answered() -> None:
    meeting = Passed(ToySuite())
    meeting.first.seal(meeting.second, SAID)
    meeting.deliver()
    initiation, response, confirming, sealed = meeting.seen
    assert initiation.sender == meeting.first.public
    assert meeting.reader.opened(initiation.inner or b"") == (7, FindValue(Key.of(b"an apple")), 1)
    assert response.inner == b"answer to " + ASKED
    assert response.new_index == confirming.index == sealed.index
    assert confirming.inner == b""
    assert meeting.reader.opened(sealed.inner or b"") == (8, Pong(Endpoint.parse("10.0.0.1:8118")), 0)


def test_under_the_real_suite_it_reads_no_more_than_kinds_and_indexes() -> None:
    meeting = Passed(NaclSuite())
    assert not meeting.reader.sees_inside
    for seen in meeting.seen:
        assert seen.index
        assert (seen.inner, seen.sender, seen.new_index, seen.because) == (None, b"", b"", "")


def test_it_reads_classic_packets() -> None:
    packet = classic.Packet(b"s" * 32, NodeId(b"n" * 32), classic.Ping(b"c" * 32))
    assert Reader(NaclSuite()).read(classic.encode(packet)) == Datagram(Kind.CLASSIC, classic=packet)


@pytest.mark.parametrize("size", [1, 60_000, 65_515, 65_516, 65_517, 200_000])
def test_it_reads_a_message_over_a_stream_out_of_its_records(size: int) -> None:
    suite, message = ToySuite(), random.Random(size).randbytes(size)
    plain = size.to_bytes(4, "big") + message
    records = [plain[at : at + 65_520] for at in range(0, len(plain), 65_520)]
    body = b"".join(suite.seal(b"k" * 32, number, b"", each) for number, each in enumerate(records))
    assert Reader(suite).read(body) == Datagram(Kind.STREAM, inner=message)
    assert Reader(suite).read(body[:-1]).kind is Kind.UNREADABLE
    assert Reader(NaclSuite()).read(body).kind is Kind.UNREADABLE


def test_it_reads_the_handshake_of_a_stream() -> None:
    suite, about = ToySuite(), About(1, b"r" * 8, 2, 0, Endpoint.parse("10.0.0.1:8118")).encode()
    ephemeral, sender = suite.public(b"e" * 32), suite.public(b"s" * 32)
    key, mac1 = b"k" * 32, b"m" * 16
    first = ephemeral + suite.seal(key, 0, b"", sender) + suite.seal(key, 0, b"", about) + mac1
    assert Reader(suite).read(first) == Datagram(Kind.STREAM_HANDSHAKE, sender=sender)
    second = ephemeral + suite.seal(key, 0, b"", about)
    assert Reader(suite).read(second) == Datagram(Kind.STREAM_HANDSHAKE)


@given(noise=st.binary(max_size=300), at=st.integers(0, 10_000), byte=st.integers(1, 255), cut=st.integers(0, 400))
def test_nothing_that_passes_raises_anything(noise: bytes, at: int, byte: int, cut: int) -> None:
    meeting = Passed(ToySuite())
    packet = classic.encode(classic.Packet(b"s" * 32, NodeId(b"n" * 32), classic.Ping(b"c" * 32)))
    assert meeting.reader.read(noise).kind in Kind
    for datagram in (*meeting.bytes, packet):
        damaged = bytearray(datagram)
        damaged[at % len(damaged)] ^= byte
        for each in (bytes(damaged), datagram[:cut], datagram + noise):
            seen = meeting.reader.read(each)
            assert seen.kind is not Kind.UNREADABLE or seen.because


@pytest.mark.parametrize("number", [0, 1, 127, 128, 2**32 - 1])
@pytest.mark.parametrize("flags", [0, 1, 255])
def test_the_tag_of_a_message_is_seen_at_a_glance(number: int, flags: int) -> None:
    key = Key.of(b"an apple")
    others: list[Message] = [Ping(), Pong(), FindNode(NodeId(key)), NodeList(), Have((key,)), Leave()]
    others += [StoreResult(StoreStatus.STORED), TooLarge(7)]
    tags = [message_tag(Codec().encode(number, each, flags)) for each in others]
    assert len({*tags, VALUE_TAG, FIND_VALUE_TAG}) == len(others) + 2
    for value in (Value(b"an apple"), Value()):
        assert message_tag(Codec().encode(number, value, flags)) == VALUE_TAG
    assert message_tag(Codec().encode(number, FindValue(key), flags)) == FIND_VALUE_TAG
    assert message_tag(b"") == message_tag(b"\x08") == message_tag(b"\x08\xff") == 0
