"""Storage in memory: the one of ephemeral nodes and of simulations. It ends with the process.

Rules of this file: the contract of SQLite without its disk. A write is readable at once and acknowledged at the end of
its turn, or by `run` in a later step, never inside `write`, so that code which works here does not rely on an order
that a disk cannot give.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import trio

from camomile_trio.alarm import Alarm
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import Durability
from camomile_trio.kademlia.registers import KeyState
from camomile_trio.storage.accounts import Account, Sort, change
from camomile_trio.storage.base import Done, StorageStatistics, Timetable
from camomile_trio.storage.entries import Entries, Entry
from camomile_trio.storage.tally import MAX_CONTACTS, MAX_PENDING_WRITES, busy, check_before, check_value, closed, full


@attrs.define(eq=False, slots=False)
class MemoryStorage:
    """A `Storage`; `max_bytes` bounds it as `max_storage` bounds one on disk."""

    _max_bytes: int
    _statistics: StorageStatistics = attrs.field(init=False, factory=StorageStatistics)
    _entries: Entries = attrs.field(init=False, factory=Entries)
    _dones: list[Done] = attrs.field(init=False, factory=list)
    _pending: int = attrs.field(init=False, default=0)
    _alarm: Alarm = attrs.field(init=False, factory=Alarm)
    _is_in_turn: bool = attrs.field(init=False, default=False)
    _is_closed: bool = attrs.field(init=False, default=False)

    @property
    def statistics(self) -> StorageStatistics:
        entries = self._entries
        return attrs.evolve(
            self._statistics,
            keys=len(entries),
            values=entries.values,
            bytes=entries.bytes,
            max_bytes=self._max_bytes,
            pending=self._pending,
        )

    @property
    def durability(self) -> Durability:
        return Durability.MEMORY

    @property
    def failing(self) -> str:
        return ""

    def read(self, key: Key) -> KeyState | None:
        self._check_open()
        entry = self._entries.get(key)
        return None if entry is None else entry.state

    def read_all(self, keys: Sequence[Key]) -> dict[Key, KeyState]:
        self._check_open()
        found = map(self._entries.get, keys)
        return {key: entry.state for key, entry in zip(keys, found, strict=True) if entry is not None}

    def value(self, key: Key) -> bytes | None:
        self._check_open()
        entry = self._entries.get(key)
        return None if entry is None else entry.value

    async def fetch(self, key: Key) -> bytes | None:
        return self.value(key)

    def write(
        self,
        before: KeyState | None,
        state: KeyState,
        timetable: Timetable,
        *,
        value: bytes | None = None,
        even_if_full: bool = False,
        evictable: bool = False,
        done: Done | None = None,
    ) -> None:
        if self._is_closed:
            raise closed()
        key, entries = state.key, self._entries
        old = entries.get(key)
        check_before(before, None if old is None else old.state, state)
        check_value(before, state, value)
        if self._pending >= MAX_PENDING_WRITES:
            self._statistics.busy += 1
            raise busy()
        growth, charged = change(before, state)
        if growth > 0 and entries.bytes + growth > self._max_bytes and not even_if_full:
            self._statistics.refused += 1
            raise full(self._max_bytes)
        if value is None and old is not None and state.size is not None:
            value = old.value
        entries.put(key, old, Entry(state, timetable, evictable, value), growth, charged)
        if done is not None:
            self._dones.append(done)
        self._hand_over()

    def remove(self, key: Key) -> None:
        self._check_open()
        if self._entries.get(key) is not None:
            self._entries.replace(key, None)
            self._hand_over()

    def begin_turn(self) -> None:
        self._is_in_turn = True

    def end_turn(self) -> None:
        self._is_in_turn = False
        if self._pending:
            self._acknowledge()

    def confirm(self) -> Durability:
        self._check_open()
        return self.durability

    def keys(self, after: Key | None, limit: int) -> list[Key]:
        self._check_open()
        return self._entries.keys(after, limit)

    def due(self, now: int, limit: int) -> list[Key]:
        self._check_open()
        return self._entries.due(now, limit)

    def renewable(self, now: int, limit: int) -> list[Key]:
        self._check_open()
        return self._entries.renewable(now, limit)

    def evictable(self, limit: int) -> list[Key]:
        self._check_open()
        return self._entries.evictable(limit)

    def held(self, account: Account) -> int:
        self._check_open()
        return self._entries.accounts.get(account, 0)

    def largest(self, sort: Sort) -> int:
        self._check_open()
        return self._entries.largest(sort)

    def next_due(self) -> int | None:
        self._check_open()
        return self._entries.next_due()

    def contacts(self) -> list[Contact]:
        self._check_open()
        return list(self._entries.contacts)

    def save_contacts(self, contacts: list[Contact]) -> None:
        self._check_open()
        self._entries.contacts = contacts[:MAX_CONTACTS]

    def note(self, name: str) -> int:
        self._check_open()
        return self._entries.notes.get(name, 0)

    def set_note(self, name: str, number: int) -> None:
        self._check_open()
        self._entries.notes[name] = number

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        while True:
            if not self._pending:
                await self._alarm.wait(math.inf)
            # Whatever else is written in this pass of the event loop is acknowledged with it, as on a disk.
            await trio.lowlevel.checkpoint()
            self._acknowledge()

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._acknowledge()

    def _acknowledge(self) -> None:
        if not self._pending:
            return
        dones, self._dones = self._dones, []
        self._statistics.commits += 1
        self._statistics.committed_writes += self._pending
        self._pending = 0
        durability = self.durability
        for done in dones:
            done(durability)

    def _hand_over(self) -> None:
        self._pending += 1
        if not self._is_in_turn:
            self._alarm.advance_to_now()

    def _check_open(self) -> None:
        if self._is_closed:
            raise closed()
