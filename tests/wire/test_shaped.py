"""The fast ways in and out are equal to the reference: byte for byte, and in what they accept and refuse."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import (
    Durability,
    FindNode,
    FindValue,
    Have,
    HaveResult,
    Holding,
    Leave,
    Message,
    NodeList,
    Packet,
    Ping,
    Pong,
    Store,
    StoreKind,
    StoreResult,
    StoreStatus,
    TooLarge,
    Value,
)
from camomile_trio.kademlia.records import Kind, PublisherKey, Record
from camomile_trio.wire import shaped_reading
from camomile_trio.wire.codec import encode
from camomile_trio.wire.generated import camomile as schema
from camomile_trio.wire.reading import decode_reference
from camomile_trio.wire.shaped_reading import decode_shaped
from camomile_trio.wire.shaped_writing import encode_shaped
from camomile_trio.wire.writing import encode_reference
from tests.wire.classic import RECORDED, Recorded
from tests.wire.mutations import mutated
from tests.wire.strategies import classic_packets, packets

SESSION, ALICE, KEY = b"s" * 32, NodeId(b"a" * 32), Key(b"k" * 32)
ROW = Record(KEY, Kind.LEASE, 0, PublisherKey(b"p" * 32), 1, 2, 3, b"s" * 64).row()
CONTACTS = tuple(Contact(NodeId(bytes([n]) * 32), Endpoint.of(bytes([10, 0, 0, n]), 8118)) for n in range(1, 21))
TOKEN = b"t" * 8

HOT: list[Message] = [
    Ping(b"c" * 32),
    Pong(b"c" * 32, b"p" * 32, b"s" * 64, CONTACTS[0].endpoint, 1_700_000_000_000),
    FindNode(ALICE),
    NodeList(CONTACTS, TOKEN),
    FindValue(KEY),
    Value(None, b"v" * 1000, records=(ROW,)),
    Value(None, None, CONTACTS, token=TOKEN),
    Store(StoreKind.PUBLISH, None, b"v" * 1000, (ROW,), TOKEN),
    Store(StoreKind.REPLICATE, KEY, None, (ROW,), TOKEN),
    StoreResult(StoreStatus.STORED, Durability.SYSTEM),
    Have((KEY, Key(b"l" * 32)), PublisherKey(b"p" * 32)),
    Have((KEY,)),
    Have((KEY, Key(b"l" * 32)), PublisherKey(b"p" * 32), (b"d" * 16, bytes(16)), True),
    HaveResult((), 1),
    HaveResult((Holding(KEY, True, (ROW,)), Holding(Key(b"l" * 32), False)), 2**32 - 1),
    HaveResult((Holding(KEY, True, (ROW,)), Holding(Key(b"l" * 32), False))),
    HaveResult((Holding(KEY, True, (), True), Holding(KEY, False, (ROW, ROW)))),
]
every_hot_message = pytest.mark.parametrize("message", HOT, ids=lambda message: type(message).__name__)


@every_hot_message
def test_a_hot_message_never_meets_the_library(message: Message, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_reached(*_: object, **__: object) -> None:
        raise AssertionError("the library was asked")

    monkeypatch.setattr(schema.Packet, "__init__", not_reached)
    packet = Packet(SESSION, ALICE, message, 1)
    datagram = encode_shaped(packet)
    assert datagram is not None
    assert decode_shaped(datagram) == packet


@every_hot_message
def test_nor_with_the_whole_envelope(message: Message) -> None:
    packet = Packet(SESSION, ALICE, message, 1, b"n" * 8, CONTACTS[0].endpoint, 1, 300)
    datagram = encode_shaped(packet)
    assert datagram == encode_reference(packet)
    assert decode_shaped(datagram) == packet


@settings(max_examples=200)
@given(packets)
def test_it_writes_the_bytes_of_the_reference_or_nothing(packet: Packet) -> None:
    written = encode_shaped(packet)
    rare = isinstance(packet.message, TooLarge | Leave)
    assert (written is None) == rare
    if written is not None:
        assert written == encode_reference(packet)


@settings(max_examples=100)
@given(classic_packets)
def test_it_leaves_classic_packets_to_the_reference(packet: Packet) -> None:
    assert encode_shaped(packet) is None
    assert decode_shaped(encode(packet)) is None


@settings(max_examples=50)
@given(packets, st.sampled_from([0, 31, 33]))
def test_it_leaves_odd_sessions_and_senders_to_the_reference(packet: Packet, size: int) -> None:
    assert encode_shaped(attrs.evolve(packet, session=bytes(size))) is None
    assert encode_shaped(attrs.evolve(packet, sender=NodeId(bytes(size)))) is None


def assert_agrees(datagram: bytes) -> None:
    try:
        shaped = decode_shaped(datagram)
    except MalformedPacket:
        with pytest.raises(MalformedPacket):
            decode_reference(datagram)
        return
    if shaped is not None:
        assert shaped == decode_reference(datagram)


@settings(max_examples=200)
@given(packets)
def test_it_reads_what_the_reference_reads(packet: Packet) -> None:
    assert_agrees(encode_reference(packet))


@settings(max_examples=300)
@given(mutated(packets.map(encode)))
def test_it_agrees_with_the_reference_about_damaged_packets(datagram: bytes) -> None:
    assert_agrees(datagram)


_tags = st.sampled_from(
    [0x08, 0x0A, 0x10, 0x12, 0x18, 0x1A, 0x50, 0x52, 0x58, 0x5A, 0x60, 0x62, 0x68, 0x6A, 0x72, 0x78, 0x82, 0x90]
)
_contents = st.sampled_from(
    [b"", b"\0", b"x", KEY, bytes(64), ROW, bytes(6), bytes(18), b"n" * 38, b"n" * 50, b"\x52\x26" + b"n" * 38]
) | st.binary(max_size=5)


@st.composite
def field_by_field(draw: st.DrawFn) -> bytes:
    """Fields of known tags with likely contents, in any order and number: near to a message, seldom quite one."""
    written = b""
    for tag in draw(st.lists(_tags, max_size=5)):
        number = draw(st.integers(0, 3) | st.integers(0, 2**64 - 1))
        varint = schema.TooLarge(size=number)
        content = draw(_contents)
        head = bytes([tag]) if tag < 0x80 else bytes([tag, 1])
        written += head + (bytes([len(content)]) + content if tag & 7 == 2 else bytes(varint)[1:] or b"\0")
    return written


@settings(max_examples=300)
@given(field_by_field(), field_by_field(), st.sampled_from([0x1A, 0x22, 0x2A, 0x32, 0x3A, 0x42, 0x4A, 0x82]))
def test_it_agrees_with_the_reference_field_by_field(content: bytes, envelope: bytes, tag: int) -> None:
    head = b"\x0a\x20" + SESSION + b"\x12\x20" + ALICE + (bytes([tag]) if tag < 0x80 else bytes([tag, 1]))
    length = bytes([len(content) & 0x7F | 0x80, len(content) >> 7])
    assert_agrees(head + length + content + b"\x50\x01" + envelope)
    assert_agrees(head + length + content + b"\x50\x01")


@pytest.mark.parametrize(
    "message",
    [
        schema.Packet(store_result=schema.StoreResult(status=schema.StoreStatus(300))),
        schema.Packet(store_result=schema.StoreResult(durability=schema.Durability(300))),
        schema.Packet(store=schema.Store(class_=schema.StoreClass(300), value=b"v")),
        schema.Packet(ping=schema.Ping(b"c" * 32), flags=300),
        schema.Packet(store=schema.Store(value=bytes(1 << 14))),
    ],
    ids=["status", "durability", "class", "flags", "value"],
)
def test_it_leaves_large_numbers_and_lengths_to_the_reference(message: schema.Packet) -> None:
    datagram = bytes(schema.Packet(session_id=SESSION, sender_id=ALICE, version=1)) + bytes(message)
    assert decode_shaped(datagram) is None
    assert_agrees(datagram)


@pytest.mark.parametrize("recorded", RECORDED, ids=[recorded.name for recorded in RECORDED])
def test_it_says_nothing_about_what_classic_nodes_send(recorded: Recorded) -> None:
    assert decode_shaped(recorded.datagram) is None


def test_garbage_costs_it_little() -> None:
    read = 0

    class Watched(bytes):
        def __getitem__(self, at: Any) -> Any:
            nonlocal read
            read += isinstance(at, int)
            return super().__getitem__(at)

    head = b"\x0a\x20" + SESSION + b"\x12\x20" + ALICE
    different_tags = b"".join(bytes([tag & 0x7F | 0x80, tag >> 7, 0]) for tag in range(0x80, 600 * 8, 8))
    assert decode_shaped(Watched(head + different_tags)) is None
    # Two bytes of a tag and one of a number, for as many fields as any message may have and the one too many.
    assert 0 < read <= 4 * (shaped_reading.MOST_FIELDS + 1)
