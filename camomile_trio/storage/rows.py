"""How a key's state and its registers become the columns of a row, and come back.

Rules of this file: plain conversion, no database. What comes back was written by us, but a disk may have changed it:
a row that makes no sense is a ValueError. Times end at what SQLite's signed 64 bits hold, which is never.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.networks import LONGEST_NETWORK
from camomile_trio.kademlia.records import ROW_BYTES, Record
from camomile_trio.kademlia.registers import KeyState, Register
from camomile_trio.storage.group import Write
from camomile_trio.storage.schema import INLINE_BYTES
from camomile_trio.storage.tally import REGISTER_BYTES

LAST_MOMENT = 2**63 - 1

# The record, remembered_until, ended_at or -1, had_lease.
_REGISTER = struct.Struct(f">{ROW_BYTES}sQq?")
assert _REGISTER.size == REGISTER_BYTES

KeyRow = tuple[bytes, int | None, bytes, int, bool, int, int, bool, bytes, bytes | None]
StateRow = tuple[int | None, bytes, int, int, bytes]
# Who brought a register: the length of an account's name, and the name. The length is 0 for nobody, and a key of which
# nobody brought any has an empty column.
_BROUGHT_BYTES = 1 + 1 + LONGEST_NETWORK


def pack_registers(registers: Iterable[Register]) -> bytes:
    return b"".join(
        [
            _REGISTER.pack(r.record.row(), r.remembered_until, -1 if r.ended_at is None else r.ended_at, r.had_lease)
            for r in registers
        ]
    )


def pack_brought(registers: tuple[Register, ...]) -> bytes:
    """Who brought each of the registers."""
    brought = [register.brought_by for register in registers]
    if not any(brought):
        return b""
    return b"".join([bytes((len(each),)) + each.ljust(_BROUGHT_BYTES - 1, b"\0") for each in brought])


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
            had_lease=had_lease,
            brought_by=bringer[1 : 1 + bringer[0]],
        )
        for (row, remembered_until, ended_at, had_lease), bringer in zip(
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
