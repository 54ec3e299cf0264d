"""How a key's state and its registers become the columns of a row, or the body of a journal's entry, and come back.

Rules of this file: plain conversion, no files. What comes back was written by us, but a disk may have changed it:
a row that makes no sense is a ValueError. In rows, times end at what SQLite's signed 64 bits hold, which is never.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import attrs

from camomile_trio.kademlia.ids import ID_BYTES, Key
from camomile_trio.kademlia.networks import LONGEST_NETWORK
from camomile_trio.kademlia.records import ROW_BYTES, Record
from camomile_trio.kademlia.registers import KeyState, Register
from camomile_trio.storage.base import Timetable
from camomile_trio.storage.overlay import Write
from camomile_trio.storage.schema import INLINE_BYTES
from camomile_trio.storage.tally import REGISTER_BYTES

LAST_MOMENT = 2**63 - 1

# The record, remembered_until, ended_at or -1, and of its flags: bit 0 had_lease, bit 1 has_yielded.
_REGISTER = struct.Struct(f">{ROW_BYTES}sQqB")
assert _REGISTER.size == REGISTER_BYTES

KeyRow = tuple[bytes, int | None, bytes, int, bool, int, int, bool, bytes, bytes | None]
StateRow = tuple[int | None, bytes, int, int, bytes]
# Who brought a register: its length, how, and from which source network. The length is 0 for nobody, and a key of which
# nobody brought any has an empty column.
_BROUGHT_BYTES = 1 + 1 + LONGEST_NETWORK
_BROUGHT = struct.Struct(f"{_BROUGHT_BYTES}p")


def pack_registers(registers: Iterable[Register]) -> bytes:
    packed = b""
    for register in registers:
        ended_at = register.ended_at
        packed += _REGISTER.pack(
            register.record.row(),
            register.remembered_until,
            -1 if ended_at is None else ended_at,
            register.had_lease | register.has_yielded << 1,
        )
    return packed


def pack_brought(registers: tuple[Register, ...]) -> bytes:
    """Who brought each of the registers."""
    packed = b""
    is_brought = False
    for register in registers:
        by = register.brought_by
        packed += _BROUGHT.pack(by)
        if by:
            is_brought = True
    return packed if is_brought else b""


def unpack_registers(packed: bytes, brought_by: bytes, key: Key) -> tuple[Register, ...]:
    """The registers of `key`; ValueError if the bytes are not some."""
    if len(packed) % REGISTER_BYTES:
        raise ValueError(f"{len(packed)} bytes are no row of registers")
    count = len(packed) // REGISTER_BYTES
    brought_by = brought_by or bytes(_BROUGHT_BYTES * count)
    if len(brought_by) != _BROUGHT_BYTES * count:
        raise ValueError(f"{len(brought_by)} bytes are not who brought {count} registers")
    bringers = (brought_by[start : start + _BROUGHT_BYTES] for start in range(0, len(brought_by), _BROUGHT_BYTES))
    return tuple(
        Register(
            Record.from_row(row, key),
            remembered_until,
            None if ended_at < 0 else ended_at,
            had_lease=bool(flags & 1),
            has_yielded=bool(flags & 2),
            brought_by=bringer[1 : 1 + bringer[0]],
        )
        for (row, remembered_until, ended_at, flags), bringer in zip(
            _REGISTER.iter_unpack(packed), bringers, strict=True
        )
    )


def key_row(write: Write) -> KeyRow:
    """The columns of `keys`, in the schema's order."""
    state, timetable = write.state, write.timetable
    return (
        state.key,
        state.size,
        write.registers,
        min(state.classic_until, LAST_MOMENT),
        state.published,
        min(timetable.due, LAST_MOMENT),
        min(timetable.renew, LAST_MOMENT),
        write.evictable,
        pack_brought(state.registers),
        write.value if state.size is not None and state.size <= INLINE_BYTES else None,
    )


def state_of(key: Key, row: StateRow) -> KeyState:
    """The state from the columns size, registers, classic_until, published, brought_by. ValueError: nonsense."""
    size, registers, classic_until, published, brought_by = row
    return KeyState(key, size, unpack_registers(registers, brought_by, key), classic_until, bool(published))


@attrs.frozen
class Removal:
    """Nothing is left of a key."""

    key: Key


@attrs.frozen
class Note:
    name: str
    number: int


# The first byte of a body.
_WRITE, _REMOVAL, _NOTE = 1, 2, 3
# Kind, key, size or -1, classic_until, due, renew, how many registers; published, evictable, whether it is said after
# the registers who brought them, whether a value follows.
_WRITE_HEAD = struct.Struct(">B32sqQQQH????")
_NOTE_HEAD = struct.Struct(">Bq")


def write_body(write: Write) -> bytes:
    state, timetable, registers, value = write.state, write.timetable, write.registers, write.value
    brought = pack_brought(state.registers)
    head = _WRITE_HEAD.pack(
        _WRITE,
        state.key,
        -1 if state.size is None else state.size,
        state.classic_until,
        timetable.due,
        timetable.renew,
        len(registers) // REGISTER_BYTES,
        state.published,
        write.evictable,
        brought != b"",
        value is not None,
    )
    return b"".join((head, registers, brought, value or b""))


def removal_body(key: Key) -> bytes:
    return bytes([_REMOVAL]) + key


def note_body(name: str, number: int) -> bytes:
    return _NOTE_HEAD.pack(_NOTE, number) + name.encode()


def change_of(body: bytes) -> Write | Removal | Note:
    """What a body says. ValueError: nonsense."""
    try:
        if body[0] == _WRITE:
            return _write_of(body)
        if body[0] == _REMOVAL and len(body) == 1 + ID_BYTES:
            return Removal(Key(body[1:]))
        if body[0] == _NOTE:
            _, number = _NOTE_HEAD.unpack_from(body)
            return Note(body[_NOTE_HEAD.size :].decode(), number)
    except (struct.error, IndexError) as error:
        raise ValueError(f"{len(body)} bytes are no entry of a journal") from error
    raise ValueError(f"{len(body)} bytes of kind {body[0]} are no entry of a journal")


def _write_of(body: bytes) -> Write:
    _, wanted, size, classic_until, due, renew, count, published, evictable, is_brought, has_value = (
        _WRITE_HEAD.unpack_from(body)
    )
    key = Key(wanted)
    brought_at = _WRITE_HEAD.size + count * REGISTER_BYTES
    value_at = brought_at + count * _BROUGHT_BYTES * is_brought
    packed = body[_WRITE_HEAD.size : brought_at]
    registers = unpack_registers(packed, body[brought_at:value_at], key)
    if len(registers) != count or (len(body) - value_at != size if has_value else len(body) != value_at):
        raise ValueError(f"{len(body)} bytes are not what the entry of key {key} says")
    state = KeyState(key, None if size < 0 else size, registers, classic_until, published)
    return Write(state, Timetable(due, renew), evictable, body[value_at:] if has_value else None, packed)
