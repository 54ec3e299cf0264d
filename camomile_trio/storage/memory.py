"""Storage in memory: the one of ephemeral nodes and of simulations. It ends with the process.

Rules of this file: the contract of SQLite without its disk. A write is readable at once and acknowledged by `run` in a
later step, never inside `write`, so that code which works here does not rely on an order that a disk cannot give.
"""

from __future__ import annotations

import bisect

import attrs
import trio

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import Durability
from camomile_trio.kademlia.registers import KeyState
from camomile_trio.storage.base import Done, StorageStatistics, Timetable
from camomile_trio.storage.tally import MAX_CONTACTS, MAX_PENDING_WRITES, Tally, busy, check_value, closed, full


class _Schedule:
    """Keys in the order of their times, then of themselves."""

    def __init__(self) -> None:
        self._moments: list[tuple[int, Key]] = []

    def add(self, moment: int, key: Key) -> None:
        bisect.insort(self._moments, (moment, key))

    def discard(self, moment: int, key: Key) -> None:
        place = bisect.bisect_left(self._moments, (moment, key))
        if self._moments[place : place + 1] == [(moment, key)]:
            del self._moments[place]

    def until(self, moment: int, limit: int) -> list[Key]:
        """Up to `limit` keys whose time is not after `moment`."""
        end = bisect.bisect_left(self._moments, (moment + 1,))
        return [key for _, key in self._moments[: min(end, limit)]]

    def all(self, limit: int) -> list[Key]:
        return [key for _, key in self._moments[:limit]]

    def first(self) -> int | None:
        return self._moments[0][0] if self._moments else None


@attrs.frozen
class _Entry:
    state: KeyState
    timetable: Timetable
    evictable: bool
    value: bytes | None


class MemoryStorage:
    """A `Storage`; `max_bytes` bounds it as `max_storage` bounds one on disk."""

    def __init__(self, max_bytes: int) -> None:
        self._statistics = StorageStatistics(max_bytes=max_bytes)
        self._tally = Tally()
        self._entries: dict[Key, _Entry] = {}
        self._keys: list[Key] = []
        self._due = _Schedule()
        self._renew = _Schedule()
        self._evictable = _Schedule()
        self._never_due = _Schedule()  # the evictable keys that are never due: they come after the others
        self._contacts: list[Contact] = []
        self._notes: dict[str, int] = {}
        self._dones: list[Done] = []
        self._pending = 0
        self._handed_over = trio.Event()
        self._is_closed = False

    @property
    def statistics(self) -> StorageStatistics:
        tally = self._tally
        return attrs.evolve(
            self._statistics, keys=tally.keys, values=tally.values, bytes=tally.bytes, pending=self._pending
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

    def value(self, key: Key) -> bytes | None:
        self._check_open()
        entry = self._entries.get(key)
        return None if entry is None else entry.value

    def write(
        self,
        state: KeyState,
        timetable: Timetable,
        *,
        value: bytes | None = None,
        even_if_full: bool = False,
        evictable: bool = False,
        done: Done | None = None,
    ) -> None:
        self._check_open()
        if self._pending >= MAX_PENDING_WRITES:
            self._statistics.busy += 1
            raise busy()
        entry = self._entries.get(state.key)
        before = None if entry is None else entry.state
        check_value(before, state, value)
        tally = self._tally.with_change(before, state)
        if self._tally.bytes < tally.bytes > self._statistics.max_bytes and not even_if_full:
            self._statistics.refused += 1
            raise full(self._statistics.max_bytes)
        self._tally = tally
        if value is None and entry is not None and state.size is not None:
            value = entry.value
        self._replace(state.key, _Entry(state, timetable, evictable, value))
        if done is not None:
            self._dones.append(done)
        self._hand_over()

    def remove(self, key: Key) -> None:
        self._check_open()
        entry = self._entries.get(key)
        if entry is None:
            return
        self._tally = self._tally.with_change(entry.state, None)
        self._replace(key, None)
        self._hand_over()

    def keys(self, after: Key | None, limit: int) -> list[Key]:
        self._check_open()
        start = 0 if after is None else bisect.bisect_right(self._keys, after)
        return self._keys[start : start + limit]

    def due(self, now: int, limit: int) -> list[Key]:
        self._check_open()
        return self._due.until(now, limit)

    def renewable(self, now: int, limit: int) -> list[Key]:
        self._check_open()
        return self._renew.until(now, limit)

    def evictable(self, limit: int) -> list[Key]:
        self._check_open()
        keys = self._evictable.all(limit)
        return keys + self._never_due.all(limit - len(keys))

    def next_due(self) -> int | None:
        self._check_open()
        moments = [moment for moment in (self._due.first(), self._renew.first()) if moment is not None]
        return min(moments, default=None)

    def contacts(self) -> list[Contact]:
        self._check_open()
        return list(self._contacts)

    def save_contacts(self, contacts: list[Contact]) -> None:
        self._check_open()
        self._contacts = contacts[:MAX_CONTACTS]

    def note(self, name: str) -> int:
        self._check_open()
        return self._notes.get(name, 0)

    def set_note(self, name: str, number: int) -> None:
        self._check_open()
        self._notes[name] = number

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        while True:
            await self._handed_over.wait()
            # Whatever else is written in this pass of the event loop is acknowledged with it, as on a disk.
            await trio.lowlevel.checkpoint()
            self._handed_over = trio.Event()
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
        for done in dones:
            done(self.durability)

    def _hand_over(self) -> None:
        self._pending += 1
        self._handed_over.set()

    def _replace(self, key: Key, entry: _Entry | None) -> None:
        old = self._entries.pop(key, None)
        if old is None:
            bisect.insort(self._keys, key)
        else:
            for schedule, moment in self._schedules(old):
                schedule.discard(moment, key)
        if entry is None:
            del self._keys[bisect.bisect_left(self._keys, key)]
        else:
            self._entries[key] = entry
            for schedule, moment in self._schedules(entry):
                schedule.add(moment, key)

    def _schedules(self, entry: _Entry) -> list[tuple[_Schedule, int]]:
        """Where an entry has its place, and under which time."""
        due, renew = entry.timetable.due, entry.timetable.renew
        places = []
        if due:
            places.append((self._due, due))
        if renew:
            places.append((self._renew, renew))
        if entry.evictable:
            places.append((self._evictable, due) if due else (self._never_due, 0))
        return places

    def _check_open(self) -> None:
        if self._is_closed:
            raise closed()
