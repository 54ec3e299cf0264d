"""How protobuf encodes numbers, and what stands before and in a field.

Rules of this file: bytes only, no schema and no library. Reading takes anything, for a bounded time, and raises nothing
but MalformedPacket. Source: the protobuf encoding guide.
"""

from __future__ import annotations

from typing import Final

from camomile_trio.errors import MalformedPacket

# Wire types: what a field's content is made of.
VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2
FIXED32: Final = 5

# Later versions may add fields, but not hundreds: each costs as much as a known one.
MAX_UNKNOWN: Final = 32

_SHORT: Final = [bytes((number,)) for number in range(128)]


def varint(number: int) -> bytes:
    """`number` in groups of 7 bits, the lowest first."""
    if number < 128:
        return _SHORT[number]
    if number < 16384:
        return bytes((number & 0x7F | 0x80, number >> 7))
    groups = bytearray()
    while number >= 128:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def read_field(data: bytes, at: int, end: int) -> tuple[int, int, int, int, int]:
    """The field at `at`, in a message that ends at `end`: its number, its wire type, where its content starts and ends,
    and the value of a varint (0 for others)."""
    tag, start = _read_varint(data, at, end)
    number, wire_type = tag >> 3, tag & 7
    if not 0 < number < 1 << 29:
        raise MalformedPacket("field_number")
    if wire_type == VARINT:
        value, stop = _read_varint(data, start, end)
        return number, wire_type, start, stop, value
    if wire_type == LENGTH:
        length, start = _read_varint(data, start, end)
    elif wire_type == FIXED32:
        length = 4
    elif wire_type == FIXED64:
        length = 8
    else:
        # Groups, which proto3 does not have, and the two numbers that mean nothing.
        raise MalformedPacket("wire_type")
    if start + length > end:
        raise MalformedPacket("truncated")
    return number, wire_type, start, start + length, 0


def _read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """The number at `at` and where it ends: at most 10 bytes and 64 bits."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise MalformedPacket("truncated")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >= 1 << 64:
                break
            return value, at
    raise MalformedPacket("varint")
