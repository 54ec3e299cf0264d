"""One life of a node on a simulated disk: the `Storage` that SQLite would be, in memory and in virtual time.

Rules of this file: the contract, and who hears of what. Writes are readable at once, gather while a commit is under
way, and are acknowledged by `run` after the commit's latency. Once the life is cut off, it commits nothing and calls
nobody.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import trio

from camomile_trio.alarm import Alarm
from camomile_trio.errors import StorageError
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import Durability
from camomile_trio.kademlia.registers import KeyState
from camomile_trio.storage.accounts import Account, Sort
from camomile_trio.storage.base import Done, StorageStatistics, Timetable
from camomile_trio.storage.changes import Changes
from camomile_trio.storage.entries import Entries, Entry
from camomile_trio.storage.medium import Medium, unreadable, unwritable
from camomile_trio.storage.tally import MAX_CONTACTS, busy, check_value, closed, cost, full


@attrs.define(eq=False)
class SimulatedStorage:
    """A `Storage`. Made by `SimulatedDisk.open`."""

    _medium: Medium
    _statistics: StorageStatistics = attrs.field(init=False, factory=StorageStatistics)
    # What was handed over and not committed: what still gathers, and before it what is being committed.
    _filling: Changes | None = attrs.field(init=False, default=None)
    _committing: Changes | None = attrs.field(init=False, default=None)
    _alarm: Alarm = attrs.field(init=False, factory=Alarm)
    _commit_failure: str = attrs.field(init=False, default="")
    _is_closed: bool = attrs.field(init=False, default=False)
    _is_cut_off: bool = attrs.field(init=False, default=False)

    @property
    def statistics(self) -> StorageStatistics:
        entries = self._medium.entries
        waiting = (self._filling, self._committing)
        return attrs.evolve(
            self._statistics,
            keys=len(entries),
            values=entries.values,
            bytes=entries.bytes,
            max_bytes=self._medium.max_bytes,
            pending=sum(changes.count for changes in waiting if changes is not None),
        )

    @property
    def durability(self) -> Durability:
        return Durability.DISK if self._medium.sync == "full" else Durability.SYSTEM

    @property
    def failing(self) -> str:
        faults = self._medium.faults
        if faults.fails_reads:
            return str(unreadable())
        if not self._commit_failure and faults.fails_writes and self._medium.has_unsynced:
            return str(unwritable())
        # SQLite's storage tries again by itself; here a look at the faults says how that would end.
        return self._commit_failure if faults.fails_writes or faults.is_full else ""

    def read(self, key: Key) -> KeyState | None:
        entry = self._readable().get(key)
        return None if entry is None else entry.state

    def read_all(self, keys: Sequence[Key]) -> dict[Key, KeyState]:
        found = map(self._readable().get, keys)
        return {key: entry.state for key, entry in zip(keys, found, strict=True) if entry is not None}

    def value(self, key: Key) -> bytes | None:
        entry = self._readable().get(key)
        return None if entry is None else entry.value

    async def fetch(self, key: Key) -> bytes | None:
        return self.value(key)

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
        entries = self._readable()
        entry = entries.get(state.key)
        check_value(None if entry is None else entry.state, state, value)
        if self._filling is not None and not self._filling.has_room(value):
            self._statistics.busy += 1
            raise busy()
        growth = cost(state) - (0 if entry is None else cost(entry.state))
        if growth > 0 and entries.bytes + growth > self._medium.max_bytes and not even_if_full:
            self._statistics.refused += 1
            raise full(self._medium.max_bytes)
        changes = self._hand_over()
        changes.value_bytes += len(value or b"")
        if value is None and entry is not None and state.size is not None:
            value = entry.value
        changes.replace(entries, state.key, Entry(state, timetable, evictable, value))
        if done is not None:
            changes.dones.append(done)

    def remove(self, key: Key) -> None:
        entries = self._readable()
        if entries.get(key) is not None:
            self._hand_over().replace(entries, key, None)

    def confirm(self) -> Durability:
        self._check_open()
        return self.durability

    def keys(self, after: Key | None, limit: int) -> list[Key]:
        return self._readable().keys(after, limit)

    def due(self, now: int, limit: int) -> list[Key]:
        return self._readable().due(now, limit)

    def renewable(self, now: int, limit: int) -> list[Key]:
        return self._readable().renewable(now, limit)

    def evictable(self, limit: int) -> list[Key]:
        return self._readable().evictable(limit)

    def held(self, account: Account) -> int:
        return self._readable().accounts.get(account, 0)

    def largest(self, sort: Sort) -> int:
        return self._readable().largest(sort)

    def next_due(self) -> int | None:
        return self._readable().next_due()

    def contacts(self) -> list[Contact]:
        return list(self._readable().contacts)

    def save_contacts(self, contacts: list[Contact]) -> None:
        self._check_open()
        self._hand_over().set_contacts(self._medium.entries, contacts[:MAX_CONTACTS])

    def note(self, name: str) -> int:
        return self._readable().notes.get(name, 0)

    def set_note(self, name: str, number: int) -> None:
        self._check_open()
        self._hand_over().set_note(self._medium.entries, name, number)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        while True:
            if self._committing is None:
                if self._filling is None:
                    await self._alarm.wait(math.inf)
                # Whatever else is written in this pass of the event loop joins the commit.
                await trio.lowlevel.checkpoint()
                self._cut()
            await self._alarm.wait(trio.current_time() + self._medium.commit_latency * self._medium.faults.slowness)
            self._commit()

    def close(self) -> None:
        if self._is_closed or self._is_cut_off:
            return
        self._is_closed = True
        # A writer that was cancelled may have left one on its way.
        self._commit()
        self._cut()
        self._commit()
        if not self._is_cut_off:
            self._medium.end_use(in_good_order=True)

    def cut_off(self, *, makes_commit: bool) -> None:
        """For the disk alone: the process is gone. `makes_commit`: a commit that was under way is still made."""
        self._is_cut_off = True
        if self._filling is not None:
            self._filling.take_back(self._medium.entries)
        if self._committing is not None and not (makes_commit and self._medium.commit(self._committing) is None):
            self._committing.take_back(self._medium.entries)
        self._filling = self._committing = None
        self._medium.end_use(in_good_order=False)

    def _hand_over(self) -> Changes:
        """What the change that is about to be made belongs to."""
        if self._filling is None:
            self._filling = Changes()
            if self._committing is None:
                self._alarm.advance_to_now()
        return self._filling

    def _cut(self) -> None:
        """What has gathered is to be committed."""
        self._committing, self._filling = self._filling, None

    def _commit(self) -> None:
        changes, self._committing = self._committing, None
        if changes is None:
            return
        error = self._medium.commit(changes)
        if error is not None:
            self._fail(changes, error)
            return
        if not self._medium.faults.is_full:
            # On a full disk a commit that makes nothing larger shows nothing about those that do.
            self._commit_failure = ""
        self._statistics.commits += 1
        self._statistics.committed_writes += changes.count
        self._tell(changes, self.durability)

    def _fail(self, changes: Changes, error: StorageError) -> None:
        """Later writes build on earlier ones, so what has gathered meanwhile goes as well."""
        later, self._filling = self._filling or Changes(), None
        later.take_back(self._medium.entries)
        changes.take_back(self._medium.entries)
        self._commit_failure = str(error)
        self._statistics.failures += 1
        self._tell(changes, error)
        self._tell(later, error)

    def _tell(self, changes: Changes, outcome: Durability | StorageError) -> None:
        dones, changes.dones = changes.dones, []
        for done in dones:
            # One of them may have brought the crash.
            if self._is_cut_off:
                return
            done(outcome)

    def _readable(self) -> Entries:
        self._check_open()
        if self._medium.faults.fails_reads:
            raise unreadable()
        return self._medium.entries

    def _check_open(self) -> None:
        if self._is_cut_off:
            raise StorageError("the storage is gone: its node has crashed")
        if self._is_closed:
            raise closed()
