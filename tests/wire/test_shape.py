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
from camomile_trio.kademlia.messages import MAX_KEYS, MAX_RECORDS
from camomile_trio.wire import shape
from camomile_trio.wire.codec import Codec
from camomile_trio.wire.generated import camomile as schema
from camomile_trio.wire.protobuf import LENGTH, MAX_UNKNOWN, VARINT
from camomile_trio.wire.shape import INNER, Field, check_shape
from tests.wire.corpus import FIND, KEY, NUMBER, PING, ROW

# That a packet may have, if all its holdings have all that they may.
MOST_FIELDS = 292


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


def assert_same_fields(fields: Mapping[int, Field], message: type[betterproto2.Message], classic: set[str]) -> None:
    """`classic`: the names of those that no message of ours has."""
    hints = typing.get_type_hints(message, vars(schema))
    known = {}
    for known_field in dataclasses.fields(message):  # type: ignore[arg-type]  # the library makes each a dataclass
        meta = betterproto2.FieldMetadata.get(known_field)
        known[meta.number] = (known_field.name, meta)
    assert fields.keys() == known.keys(), message
    for number, (name, meta) in known.items():
        field = fields[number]
        assert field.wire_type == (LENGTH if meta.proto_type in ("bytes", "message") else VARINT), (message, name)
        assert (field.most > 1) == (meta.repeated and field.most > 0), (message, name)
        assert field.is_message == (meta.group is not None), (message, name)
        if field.most == 0:
            classic.add(f"{message.__name__}.{name}")
            continue
        assert (field.inner is not None) == (meta.proto_type == "message"), (message, name)
        if field.inner is not None:
            inner = next(
                part
                for part in (*typing.get_args(hints[name]), hints[name])
                if isinstance(part, type) and part is not list
            )
            assert_same_fields(field.inner, inner, classic)


def test_the_look_knows_the_same_fields_as_the_schema() -> None:
    classic: set[str] = set()
    assert_same_fields(INNER, schema.Inner, classic)
    assert classic == {"Ping.challenge", "Pong.challenge", "Value.key", "NodeList.nodes"}


def test_a_packet_passes_and_no_part_of_it_does() -> None:
    packet = NUMBER + in_field(9, in_field(10, b"r" * 38))
    check_shape(packet)
    # Cut inside the message, so that it cannot end where a field ends.
    for end in (1, 3, 4, 5, 20, len(packet) - 1):
        assert refused(packet[:end]) == "truncated"


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"\x1a", "truncated"),
        (b"\x1a\x20short", "truncated"),
        (NUMBER + b"\x3a\x22\x0a\x21" + b"t" * 32, "truncated"),  # a field that reaches out of its message
        (NUMBER + b"\x10", "truncated"),
        (b"\x7d\x00\x00\x00", "truncated"),  # 4 bytes announced, 3 there
        (b"\x79" + bytes(7), "truncated"),  # 8 bytes announced, 7 there
        (PING + b"\x08" + b"\x80" * 10 + b"\x01", "varint"),
        (PING + b"\x08" + b"\xff" * 9 + b"\x02", "varint"),  # 65 bits
        (PING + b"\x3a" + b"\xff" * 9 + b"\x01", "truncated"),  # a length of 2**64 - 1
        (NUMBER + b"\x1b\x1c", "wire_type"),  # a group
        (PING + b"\xfe\x01\x00", "wire_type"),  # wire type 6, of an unknown field
        (b"\x0a\x01\x01", "wire_type"),  # a number that is bytes
        (b"\x18\x01", "wire_type"),  # a message that is a number
        (b"\x02\x00", "field_number"),
        (b"\x82\x80\x80\x80\x10\x00", "field_number"),  # 2**29
        (NUMBER + PING + NUMBER, "repeated_field"),
        (PING + PING, "repeated_field"),
        (PING + FIND, "two_messages"),
        (PING + b"\x72\x00", "two_messages"),
        (b"\x2a\x0a" + b"\x52\x00" * 5, "repeated_field"),  # 5 records
        (b"\x1a\x22\x0a\x20" + b"c" * 32, "repeated_field"),  # a classic ping
        (b"\x4a\x02\x0a\x00", "repeated_field"),  # a classic contact
    ],
)
def test_a_packet_of_another_shape_is_refused(packet: bytes, reason: str) -> None:
    assert refused(packet) == reason


def test_the_most_holdings_pass_and_one_more_does_not() -> None:
    holding = in_field(1, in_field(1, KEY) + b"\x10\x01" + in_field(3, ROW) * MAX_RECORDS + b"\x20\x01")
    check_shape(in_field(12, holding * 20))
    check_shape(in_field(12, in_field(1, b"") * MAX_KEYS))
    assert refused(in_field(12, in_field(1, b"") * (MAX_KEYS + 1))) == "repeated_field"


def test_an_unknown_field_of_any_type_is_passed_over_and_not_entered() -> None:
    garbage = b"\xff" * 20
    unknown = b"\xc2\x3e\x14" + garbage + b"\xc0\x3e\x01" + b"\xc5\x3e" + garbage[:4] + b"\xc1\x3e" + garbage[:8]
    check_shape(NUMBER + PING + unknown)
    check_shape(NUMBER + in_field(3, unknown))


def test_few_unknown_fields_are_room_enough_for_later_versions() -> None:
    check_shape(NUMBER + PING + b"\x78\x01" * MAX_UNKNOWN)
    assert refused(NUMBER + PING + b"\x78\x01" * (MAX_UNKNOWN + 1)) == "too_many_unknown_fields"


@pytest.mark.parametrize(
    "packet",
    [
        b"\x10\x01" * 600,  # one known field again and again
        b"\x78\x01" * 600,  # an unknown one
        b"\x7a\x00" * 600,
        in_field(9, b"\x0a\x00" * 600),  # empty contacts of classic nodes
        in_field(6, in_field(3, b"\x0a\x00" * 600)),
        in_field(5, b"\x52\x00" * 600),  # empty records
        in_field(12, b"\x0a\x00" * 600),  # empty holdings
        in_field(12, in_field(1, b"\x28\x01" * 5) * MAX_KEYS),  # unknown fields spread over many messages
    ],
    ids=["known", "unknown", "empty", "contacts", "nested", "records", "holdings", "spread"],
)
def test_hundreds_of_tiny_fields_cost_little(packet: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def count(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_code.co_filename == shape.__file__

    def not_reached(data: bytes) -> schema.Inner:
        raise AssertionError("the library saw it")

    monkeypatch.setattr(schema.Inner, "parse", not_reached)
    sys.setprofile(count)
    try:
        with pytest.raises(MalformedPacket):
            Codec().decode_untrusted(packet)
    finally:
        sys.setprofile(None)
    # For each field its tag, its content, perhaps a number in that, and the message in it.
    assert 0 < calls <= 4 * (MOST_FIELDS + 1)


def test_unknown_fields_are_counted_over_all_messages_together() -> None:
    holding = in_field(1, in_field(1, KEY) + b"\x28\x01")
    check_shape(in_field(12, holding * (MAX_UNKNOWN - 1)) + b"\x78\x01")
    assert refused(in_field(12, holding * (MAX_UNKNOWN - 1)) + b"\x78\x01" * 2) == "too_many_unknown_fields"


def test_the_most_fields_that_a_packet_may_have_pass() -> None:
    holding = in_field(1, in_field(1, b"") + b"\x10\x01" + in_field(3, b"") * MAX_RECORDS + b"\x20\x01")
    packet = NUMBER + b"\x10\x01" + in_field(12, holding * MAX_KEYS + b"\x10\x01")
    check_shape(packet + b"\x78\x01" * MAX_UNKNOWN)
    assert 2 + 1 + (4 + MAX_RECORDS) * MAX_KEYS + 1 + MAX_UNKNOWN == MOST_FIELDS
