"""The cheap look at an inner packet before the protobuf library sees it.

Rules of this file: it reads tags and lengths, never contents, and builds nothing. One pass, whose work is bounded by
the fields that a packet may have and not by its size. What passes has, at every level that the schema knows: each field
within its message, each known field with its own wire type and no more often than it may be there, at most one message,
and few unknown fields. The library checks none of that, and takes milliseconds for hundreds of tiny fields. Source: the
protobuf encoding guide; the tables below repeat schemas/packet.proto, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.messages import MAX_KEYS, MAX_RECORDS
from camomile_trio.wire.protobuf import LENGTH, MAX_UNKNOWN, VARINT, read_field


@attrs.frozen
class Field:
    """What a known field may look like. `inner`: the fields of the message in it; `most`: how often it may be there."""

    wire_type: int
    inner: Mapping[int, Field] | None = None
    most: int = 1
    is_message: bool = False  # a member of the oneof


_BYTES = Field(LENGTH)
_NUMBER = Field(VARINT)
_RECORDS = Field(LENGTH, most=MAX_RECORDS)
_CLASSIC = Field(LENGTH, most=0)  # nothing of ours has it
_Fields = dict[int, Field]

PING: Final[_Fields] = {1: _CLASSIC}
PONG: Final[_Fields] = {1: _CLASSIC, 12: _BYTES, 13: _NUMBER}
STORE: Final[_Fields] = {1: _NUMBER, 2: _BYTES, 3: _BYTES, 10: _RECORDS, 12: _NUMBER, 13: _NUMBER}
NODE_LIST: Final[_Fields] = {1: _CLASSIC, 10: _BYTES, 11: _BYTES}
VALUE: Final[_Fields] = {1: _CLASSIC, 2: _BYTES, 3: Field(LENGTH, NODE_LIST), 10: _RECORDS, 11: _NUMBER}
FIND_NODE: Final[_Fields] = {1: _BYTES}
FIND_VALUE: Final[_Fields] = {1: _BYTES, 10: _BYTES}
STORE_RESULT: Final[_Fields] = {1: _NUMBER, 2: _NUMBER, 3: _RECORDS, 10: _BYTES, 11: _BYTES}
HAVE: Final[_Fields] = {1: _BYTES, 2: _BYTES, 3: _BYTES, 4: _NUMBER}
HOLDING: Final[_Fields] = {1: _BYTES, 2: _NUMBER, 3: _RECORDS, 4: _NUMBER}
HAVE_RESULT: Final[_Fields] = {1: Field(LENGTH, HOLDING, most=MAX_KEYS), 2: _NUMBER}
TOO_LARGE: Final[_Fields] = {1: _NUMBER}
LEAVE: Final[_Fields] = {}

INNER: Final[_Fields] = {
    1: _NUMBER,
    2: _NUMBER,
    3: Field(LENGTH, PING, is_message=True),
    4: Field(LENGTH, PONG, is_message=True),
    5: Field(LENGTH, STORE, is_message=True),
    6: Field(LENGTH, VALUE, is_message=True),
    7: Field(LENGTH, FIND_NODE, is_message=True),
    8: Field(LENGTH, FIND_VALUE, is_message=True),
    9: Field(LENGTH, NODE_LIST, is_message=True),
    10: Field(LENGTH, STORE_RESULT, is_message=True),
    11: Field(LENGTH, HAVE, is_message=True),
    12: Field(LENGTH, HAVE_RESULT, is_message=True),
    13: Field(LENGTH, TOO_LARGE, is_message=True),
    14: Field(LENGTH, LEAVE, is_message=True),
}


def check_shape(inner_untrusted: bytes) -> None:
    """Returns if the protobuf library may look at the inner packet; MalformedPacket otherwise."""
    _Look(inner_untrusted).message(0, len(inner_untrusted), INNER)


@attrs.define
class _Look:
    """One pass over one packet, with what it may still spend."""

    _data: bytes
    _unknown_left: int = MAX_UNKNOWN

    def message(self, at: int, end: int, fields: Mapping[int, Field]) -> None:
        """Looks at the message in data[at:end]. The depth is that of the schema: unknown fields are not entered."""
        seen: dict[int, int] = {}
        has_message = False
        while at < end:
            number, wire_type, start, at, _ = read_field(self._data, at, end)
            field = fields.get(number)
            if field is None:
                self._unknown_left -= 1
                if self._unknown_left < 0:
                    raise MalformedPacket("too_many_unknown_fields")
                continue
            if field.wire_type != wire_type:
                raise MalformedPacket("wire_type", f"field {number}")
            seen[number] = times = seen.get(number, 0) + 1
            if times > field.most:
                raise MalformedPacket("repeated_field", f"field {number}")
            if field.is_message:
                if has_message:
                    raise MalformedPacket("two_messages")
                has_message = True
            if field.inner is not None:
                self.message(start, at, field.inner)
