"""The cheap look: what it refuses, that its work is bounded, and that it knows the same fields as the schema."""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Mapping
from types import FrameType

import betterproto2
import pytest

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.messages import MAX_CONTACTS, MAX_RECORDS
from camomile_trio.wire import shape
from camomile_trio.wire.codec import decode_untrusted
from camomile_trio.wire.generated import camomile as schema
from camomile_trio.wire.shape import LENGTH, MAX_FIELDS, MAX_UNKNOWN, PACKET, VARINT, Field, check_shape
from tests.wire.classic import RECORDED, Recorded

HEAD = b"\x0a\x20" + b"s" * 32 + b"\x12\x20" + b"a" * 32
PING = b"\x1a\x22\x0a\x20" + b"c" * 32


def refused(packet: bytes) -> str:
    """The reason for which the look refuses."""
    with pytest.raises(MalformedPacket) as caught:
        check_shape(packet)
    return caught.value.reason


def in_field(number: int, content: bytes) -> bytes:
    assert number < 16
    assert len(content) < 1 << 14
    length = bytes([len(content)]) if len(content) < 128 else bytes([len(content) & 127 | 128, len(content) >> 7])
    return bytes([number << 3 | 2]) + length + content


def assert_same_fields(fields: Mapping[int, Field], message: type[betterproto2.Message]) -> None:
    hints = typing.get_type_hints(message, vars(schema))
    known = {}
    for known_field in dataclasses.fields(message):  # type: ignore[arg-type]  # the library makes each a dataclass
        meta = betterproto2.FieldMetadata.get(known_field)
        known[meta.number] = (known_field.name, meta)
    assert fields.keys() == known.keys(), message
    for number, (name, meta) in known.items():
        field = fields[number]
        assert field.wire_type == (LENGTH if meta.proto_type in ("bytes", "message") else VARINT), (message, name)
        assert (field.most > 1) == meta.repeated, (message, name)
        assert field.is_message == (meta.group is not None), (message, name)
        assert (field.inner is not None) == (meta.proto_type == "message"), (message, name)
        if field.inner is not None:
            inner = next(
                part
                for part in (*typing.get_args(hints[name]), hints[name])
                if isinstance(part, type) and part is not list
            )
            assert_same_fields(field.inner, inner)


def test_the_look_knows_the_same_fields_as_the_schema() -> None:
    assert_same_fields(PACKET, schema.Packet)


@pytest.mark.parametrize("recorded", RECORDED, ids=[recorded.name for recorded in RECORDED])
def test_a_classic_packet_passes_and_no_part_of_it_does(recorded: Recorded) -> None:
    check_shape(recorded.datagram)
    # Cut inside the message, so that it cannot end where a field ends.
    for end in (1, 20, 34 + 20, 70, len(recorded.datagram) - 1):
        if end < len(recorded.datagram):
            assert refused(recorded.datagram[:end]) == "truncated"


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"\x0a", "truncated"),
        (b"\x0a\x20short", "truncated"),
        (HEAD + b"\x1a\x22\x0a\x21" + b"c" * 32, "truncated"),  # a field that reaches out of its message
        (HEAD + b"\x50", "truncated"),
        (b"\x7d\x00\x00\x00", "truncated"),  # 4 bytes announced, 3 there
        (b"\x79" + bytes(7), "truncated"),  # 8 bytes announced, 7 there
        (HEAD + PING + b"\x50" + b"\x80" * 10 + b"\x01", "varint"),
        (HEAD + PING + b"\x50" + b"\xff" * 9 + b"\x02", "varint"),  # 65 bits
        (HEAD + PING + b"\x0a" + b"\xff" * 9 + b"\x01", "truncated"),  # a length of 2**64 - 1
        (HEAD + b"\x1b\x1c", "wire_type"),  # a group
        (HEAD + PING + b"\xfe\x01\x00", "wire_type"),  # wire type 6, of an unknown field
        (b"\x08\x01", "wire_type"),  # a session id that is a number
        (HEAD + PING + b"\x52\x01\x01", "wire_type"),  # a version that is bytes
        (HEAD + b"\x18\x01", "wire_type"),  # a message that is a number
        (b"\x02\x00", "field_number"),
        (b"\x82\x80\x80\x80\x10\x00", "field_number"),  # 2**29
        (HEAD + PING + HEAD[:34], "repeated_field"),
        (HEAD + PING + PING, "repeated_field"),
        (HEAD + PING + b"\x22\x22\x0a\x20" + b"c" * 32, "two_messages"),
        (HEAD + PING + b"\xaa\x01\x00", "two_messages"),
        (HEAD + b"\x2a\x0a" + b"\x52\x00" * 5, "repeated_field"),  # 5 records
    ],
)
def test_a_packet_of_another_shape_is_refused(packet: bytes, reason: str) -> None:
    assert refused(packet) == reason


def test_the_largest_lists_pass_and_one_more_does_not() -> None:
    node = in_field(1, in_field(1, b"n" * 32) + in_field(2, b"\x0a\0\0\1") + b"\x18\xb6\x3f")
    check_shape(HEAD + in_field(9, node * MAX_CONTACTS) + b"\x50\x01")
    check_shape(HEAD + in_field(6, in_field(3, node * MAX_CONTACTS)) + b"\x50\x01")
    assert refused(HEAD + in_field(9, node * (MAX_CONTACTS + 1))) == "repeated_field"


def test_an_unknown_field_of_any_type_is_passed_over_and_not_entered() -> None:
    garbage = b"\xff" * 20
    check_shape(
        HEAD
        + PING
        + b"\xc2\x3e\x14"
        + garbage
        + b"\xc0\x3e\x01"
        + b"\xc5\x3e"
        + garbage[:4]
        + b"\xc1\x3e"
        + garbage[:8]
    )
    check_shape(HEAD + b"\x1a\x24" + PING[2:] + b"\x20\x01")


def test_few_unknown_fields_are_room_enough_for_later_versions() -> None:
    check_shape(HEAD + PING + b"\x78\x01" * MAX_UNKNOWN)
    assert refused(HEAD + PING + b"\x78\x01" * (MAX_UNKNOWN + 1)) == "too_many_unknown_fields"


@pytest.mark.parametrize(
    "packet",
    [
        b"\x50\x01" * 600,  # one known field again and again
        b"\x78\x01" * 600,  # an unknown one
        b"\x7a\x00" * 600,
        in_field(9, b"\x0a\x00" * 600),  # empty contacts
        in_field(6, in_field(3, b"\x0a\x00" * 600)),
        in_field(5, b"\x52\x00" * 600),  # empty records
        in_field(9, in_field(1, b"\x20\x01" * 5) * 128),  # unknown fields spread over many messages
    ],
    ids=["known", "unknown", "empty", "contacts", "nested", "records", "spread"],
)
def test_hundreds_of_tiny_fields_cost_little(packet: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def count(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_code.co_filename == shape.__file__

    def not_reached(data: bytes) -> schema.Packet:
        raise AssertionError("the library saw it")

    monkeypatch.setattr(schema.Packet, "parse", not_reached)
    sys.setprofile(count)
    try:
        with pytest.raises(MalformedPacket):
            decode_untrusted(packet)
    finally:
        sys.setprofile(None)
    # For each field its tag, its content, perhaps a number in that, and the message in it.
    assert 0 < calls <= 4 * (MAX_FIELDS + 1)


def test_fields_are_counted_over_all_messages_together() -> None:
    """All that a packet may have at most, at each level, and then unknown fields, of which there are few."""
    node = in_field(1, in_field(1, b"") + in_field(2, b"") + b"\x18\x01")
    nodes = node * MAX_CONTACTS + in_field(10, b"") + in_field(11, b"") + in_field(12, b"")
    value = in_field(1, b"") + in_field(2, b"") + in_field(3, nodes) + in_field(10, b"") * MAX_RECORDS
    value += b"\x58\x01" + in_field(12, b"")
    packet = HEAD + in_field(6, value) + b"\x50\x01" + in_field(11, b"") + in_field(12, b"") + b"\x68\x01"
    packet += in_field(14, b"")
    fields = 2 + (1 + 5 + MAX_RECORDS) + (4 * MAX_CONTACTS + 3) + 5
    check_shape(packet + b"\x78\x01" * (MAX_FIELDS - fields))
    assert MAX_FIELDS - fields < MAX_UNKNOWN
    assert refused(packet + b"\x78\x01" * (MAX_FIELDS - fields + 1)) == "too_many_fields"
