"""The ways in and out that are written by hand are equal to the library: byte for byte, and in what they accept."""

from __future__ import annotations

from typing import Any

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
    Ping,
    Pong,
    Store,
    StoreKind,
    StoreResult,
    StoreStatus,
    TooLarge,
    Value,
)
from camomile_trio.kademlia.records import PublisherKey
from camomile_trio.wire.codec import Codec
from camomile_trio.wire.generated import camomile as schema
from camomile_trio.wire.reading import decode_reference
from camomile_trio.wire.shaped_reading import OtherLayout, decode_shaped
from camomile_trio.wire.writing import message_parts
from tests.wire.corpus import ACCEPTED, BOB, CORPUS, KEY, LONGER, NEW_KIND, NUMBER, PING, ROW, ROW4, ROW6, field
from tests.wire.mutations import mutated
from tests.wire.reference import encode_reference
from tests.wire.strategies import inner_packets

CODEC = Codec()
CONTACTS = tuple(Contact.of(bytes([n]) * 32, Endpoint.of(bytes([10, 0, 0, n]), 8118)) for n in range(1, 21))
LATER_KEY = Key(b"l" * 32)

MESSAGES: list[Message] = [
    Ping(),
    Pong(),
    Pong(CONTACTS[0].endpoint, 1_700_000_000_000),
    FindNode(NodeId(b"a" * 32)),
    NodeList(),
    NodeList((*CONTACTS, BOB)),
    FindValue(KEY),
    FindValue(KEY, PublisherKey(b"p" * 32)),
    Value(b"v" * 1000, records=(ROW,)),
    Value(b"v" * 20_000, (), (ROW, ROW), cached=True),
    Value(None, CONTACTS),
    Value(),
    Store(StoreKind.PUBLISH, None, b"v" * 1000, (ROW,), cached=True, names_contacts=True),
    Store(StoreKind.REPLICATE, KEY, None, (ROW,) * 4),
    StoreResult(StoreStatus.STORED, Durability.SYSTEM),
    StoreResult(StoreStatus.STALE, records=(ROW,), contacts=CONTACTS),
    Have((KEY, LATER_KEY), PublisherKey(b"p" * 32)),
    Have((KEY,)),
    Have((KEY, LATER_KEY), PublisherKey(b"p" * 32), (b"d" * 16, bytes(16)), is_round=True),
    HaveResult((), 1),
    HaveResult((Holding(KEY, True, (ROW,)), Holding(LATER_KEY, False)), 2**32 - 1),
    HaveResult((Holding(KEY, True, (), True), Holding(KEY, False, (ROW, ROW)))),
    TooLarge(1400),
    Leave(),
]


@pytest.mark.parametrize("flags", [0, 1])
@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_of_ours_never_meets_the_library(
    message: Message, flags: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_reached(*_: object, **__: object) -> None:
        raise AssertionError("the library was asked")

    expected = encode_reference(70_000, message, flags)
    monkeypatch.setattr(schema.Inner, "__init__", not_reached)
    assert CODEC.encode(70_000, message, flags) == expected
    assert decode_shaped(expected) == (70_000, message, flags)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_it_leaves_no_field_of_a_later_version_to_chance(message: Message) -> None:
    head, *parts = message_parts(message)
    content = b"".join(parts)
    for more in (content + b"\x78\x01", b"\x78\x01" + content, content + b"\x7a\x20" + KEY):
        packet = NUMBER + field(head[0], more)
        assert CODEC.decode_untrusted(packet) == (7, message, 0)
        with pytest.raises(OtherLayout):
            decode_shaped(packet)
    for end in {*range(min(len(content), 200)), len(content) - 1}:
        assert_agrees(NUMBER + field(head[0], content[: max(end, 0)]))


@settings(max_examples=300)
@given(inner_packets)
def test_it_writes_the_bytes_of_the_library(packet: tuple[int, Message, int]) -> None:
    assert CODEC.encode(*packet) == encode_reference(*packet)


def assert_agrees(packet: bytes) -> None:
    try:
        shaped = decode_shaped(packet)
    except OtherLayout:
        return
    except MalformedPacket:
        with pytest.raises(MalformedPacket):
            decode_reference(packet)
        return
    assert shaped == decode_reference(packet)


@settings(max_examples=200)
@given(inner_packets)
def test_it_reads_what_the_reference_reads(packet: tuple[int, Message, int]) -> None:
    assert_agrees(CODEC.encode(*packet))


@pytest.mark.parametrize("packet", CORPUS)
def test_it_agrees_with_the_reference_about_the_corpus(packet: bytes) -> None:
    assert_agrees(packet)


@pytest.mark.parametrize("name", ACCEPTED)
def test_the_reference_takes_what_another_encoder_may_write(name: str) -> None:
    packet, outcome = ACCEPTED[name]
    assert decode_reference(packet) == outcome


@settings(max_examples=300)
@given(mutated(inner_packets.map(lambda packet: CODEC.encode(*packet)) | st.sampled_from(CORPUS)))
def test_it_agrees_with_the_reference_about_damaged_packets(packet: bytes) -> None:
    assert_agrees(packet)


_tags = st.sampled_from([0x08, 0x0A, 0x10, 0x12, 0x18, 0x1A, 0x20, 0x52, 0x58, 0x5A, 0x60, 0x62, 0x68, 0x78])
_contents = st.sampled_from(
    [b"", b"\0", b"x", KEY, KEY * 2, ROW, NEW_KIND, LONGER, bytes(6), bytes(18), ROW4, ROW6, b"\x52\x26" + ROW4]
) | st.binary(max_size=5)


def _varint(number: int) -> bytes:
    return bytes(schema.TooLarge(size=number))[1:] or b"\0"


@st.composite
def field_by_field(draw: st.DrawFn, most: int = 5) -> bytes:
    """Fields of known tags with likely contents, in any order and number: near to a message, seldom quite one."""
    written = b""
    for tag in draw(st.lists(_tags, max_size=most) | st.lists(_tags, max_size=most).map(sorted)):
        content = draw(_contents)
        number = draw(st.integers(0, 3) | st.integers(0, 2**64 - 1))
        written += bytes([tag]) + (_varint(len(content)) + content if tag & 7 == 2 else _varint(number))
    return written


@settings(max_examples=500)
@given(field_by_field(2), field_by_field(), st.integers(3, 14), st.sampled_from([b"", NUMBER, b"\x10\x01"]))
def test_it_agrees_with_the_reference_field_by_field(head: bytes, content: bytes, number: int, behind: bytes) -> None:
    message = bytes([number << 3 | 2]) + _varint(len(content)) + content
    for packet in (message, NUMBER + message, head + message, NUMBER + message + behind):
        assert_agrees(packet)


@settings(max_examples=300)
@given(st.lists(field_by_field(4), max_size=3), st.sampled_from([b"", b"\x10\x03"]))
def test_it_agrees_with_the_reference_about_holdings(contents: list[bytes], alike: bytes) -> None:
    holdings = b"".join(b"\x0a" + _varint(len(content) + 34) + b"\x0a\x20" + KEY + content for content in contents)
    content = holdings + alike
    assert_agrees(NUMBER + b"\x62" + _varint(len(content)) + content)


_numbers = st.integers(0, 2**8) | st.integers(0, 2**34) | st.integers(0, 2**70)


@settings(max_examples=300)
@given(_numbers, _numbers, st.integers(1, 11))
def test_it_agrees_with_the_reference_about_numbers(number: int, flags: int, least: int) -> None:
    def written(number: int) -> bytes:
        """In `least` bytes at least, which may be more than it needs, or than a number may have."""
        size = max(least, -(-number.bit_length() // 7), 1)
        groups = [number >> 7 * place & 0x7F for place in range(size)]
        return bytes(group | 0x80 for group in groups[:-1]) + bytes(groups[-1:])

    assert_agrees(b"\x08" + written(number) + PING)
    assert_agrees(b"\x08" + written(number) + b"\x10" + written(flags) + PING)
    for message, tag in ((0x6A, 0x08), (0x22, 0x68), (0x62, 0x10), (0x52, 0x08), (0x52, 0x10)):
        content = bytes([tag]) + written(number)
        assert_agrees(bytes([message, len(content)]) + content)


def test_a_packet_of_many_tiny_fields_costs_it_little() -> None:
    read = 0

    class Watched(bytes):
        def __getitem__(self, at: Any) -> Any:
            nonlocal read
            read += 1
            content = super().__getitem__(at)
            return Watched(content) if isinstance(at, slice) else content

    def reads(packet: bytes) -> int:
        nonlocal read
        read = 0
        with pytest.raises((OtherLayout, MalformedPacket)):
            decode_shaped(Watched(packet))
        return read

    assert 0 < reads(b"\x08\x07" * 600) < 20
    assert 0 < reads(NUMBER + b"\x08" + b"\x80" * 600) < 20
    many_records = b"\x1a\x01v" + (b"\x52\x7b" + ROW) * 600
    assert 0 < reads(NUMBER + b"\x2a" + _varint(len(many_records)) + many_records) < 40
    many_holdings = (b"\x0a\x22\x0a\x20" + KEY) * 600
    assert 0 < reads(NUMBER + b"\x62" + _varint(len(many_holdings)) + many_holdings) < 32 * 16
