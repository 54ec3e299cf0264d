"""Storage in SQLite: the embedded default, in one file of a locked data directory.

Rules of this file: who may touch the database when. Writes gather in a group; the one writer commits the group and then
calls its `done`s. Until then reads find it here, laid over what the database says, so that a read never waits and never
misses a write. Sync "os" commits on the event loop (some 10 µs, without waiting for the disk, see log.py) and a thread
brings the log to the disk within a second; sync "full" commits in a thread, one group at a time, and waits for the disk
there. If a commit fails, all that was handed over and not committed goes with it, since later writes build on earlier
ones: every `done` hears it, and what is readable is again what the disk has. Before it is acknowledged, a commit must
be in the files that a start would open: if these were moved, nothing is acknowledged any more.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

import attrs
import trio

from camomile_trio.errors import StorageDamaged, StorageError, StorageMoved
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import Durability
from camomile_trio.kademlia.registers import KeyState
from camomile_trio.storage.accounts import Account, Charges, Sort, differences
from camomile_trio.storage.base import Done, StorageStatistics, Timetable
from camomile_trio.storage.damage import contacts_in, is_marked, mark, set_aside
from camomile_trio.storage.data_directory import DataDirectory
from camomile_trio.storage.database import Database
from camomile_trio.storage.group import Group, Write
from camomile_trio.storage.health import Health, OnFailing, nobody_listens
from camomile_trio.storage.log import Log
from camomile_trio.storage.rows import LAST_MOMENT, pack_registers
from camomile_trio.storage.schema import DATABASE_FILE, SyncMode
from camomile_trio.storage.tally import (
    MAX_CONTACTS,
    MAX_PENDING_BYTES,
    MAX_PENDING_WRITES,
    busy,
    check_value,
    closed,
    full,
)
from camomile_trio.storage.uncommitted import Uncommitted

# Seconds until what failed is tried again, and the bytes that must find room, at least, before a full disk counts as
# well.
RETRY_AFTER = 2.0
ROOM = 2**20
# Bytes of values from which on a group is worth a thread: it takes some 3 ms for each MiB.
LARGE = 4 * 2**20
# How many accounts are remembered, besides being in the database.
MAX_ACCOUNTS = 1024

Read = TypeVar("Read")
P = ParamSpec("P")


def open_sqlite(
    directory: Path,
    *,
    sync: SyncMode,
    max_bytes: int,
    on_set_aside: Callable[[Path, str], None] | None = None,
    on_failing: OnFailing = nobody_listens,
) -> SqliteStorage:
    """Opens the storage in `directory`, which is made if it is missing and locked until `close`.

    With `on_set_aside`, a damaged database is renamed, a new one takes its place, and this is called with its new path
    and what is wrong with it. `on_failing` is called with the reason when the storage begins to fail, and with nothing
    when it works again. DataDirectoryInUse if somebody has the directory; StorageDamaged if the file is damaged
    and stays where it is; StorageUnknown if it is another program's or of an unknown version; StorageError if the
    directory cannot be used. Blocks for the disk: at most for the log that a killed process left.
    """
    data_directory = DataDirectory.open(directory)
    contacts: list[Contact] = []
    try:
        try:
            if on_set_aside is not None and is_marked(directory):
                raise StorageDamaged("damage was found in it while the node ran")
            database = Database(directory / DATABASE_FILE, sync)
        except StorageDamaged as error:
            if on_set_aside is None:
                raise
            aside = set_aside(directory)
            contacts = contacts_in(aside)
            on_set_aside(aside, str(error))
            database = Database(directory / DATABASE_FILE, sync)
    except StorageError:
        data_directory.release()
        raise
    storage = SqliteStorage(database, data_directory, sync=sync, max_bytes=max_bytes, on_failing=on_failing)
    if contacts:
        storage.save_contacts(contacts)
    return storage


class SqliteStorage:
    """A `Storage`, made by `open_sqlite`."""

    def __init__(
        self, database: Database, directory: DataDirectory, *, sync: SyncMode, max_bytes: int, on_failing: OnFailing
    ) -> None:
        self._database = database
        self._directory = directory
        self._sync = sync
        self._statistics = StorageStatistics(max_bytes=max_bytes)
        self._waiting = Uncommitted(database.tally)
        # A handler reads a key, decides, and writes it: the write need not read again what it replaces.
        self._last_read: tuple[Key, KeyState | None] | None = None
        # What some accounts hold by what is committed: the same few publishers come again and again.
        self._accounts: Charges = {}
        self._health = Health(on_failing)
        self._handed_over = trio.Event()
        self._log = Log(database, self._health, self._statistics)
        self._commit_thread = trio.CapacityLimiter(1)
        self._fetch_thread = trio.CapacityLimiter(1)
        self._scratch_thread = trio.CapacityLimiter(1)
        self._is_closed = False

    @property
    def statistics(self) -> StorageStatistics:
        tally = self._waiting.filling.tally
        return attrs.evolve(
            self._statistics, keys=tally.keys, values=tally.values, bytes=tally.bytes, pending=self._waiting.count
        )

    @property
    def durability(self) -> Durability:
        return Durability.DISK if self._sync == "full" else Durability.SYSTEM

    @property
    def failing(self) -> str:
        return self._health.failing

    def read(self, key: Key) -> KeyState | None:
        self._check_open()
        if self._waiting.speaks_of(key):
            write = self._waiting.write_of(key)
            return None if write is None else write.state
        if self._last_read is not None and self._last_read[0] == key:
            return self._last_read[1]
        state = self._from_disk(self._database.read, key)
        self._last_read = (key, state)
        return state

    def read_all(self, keys: Sequence[Key]) -> dict[Key, KeyState]:
        self._check_open()
        waiting = [key for key in keys if self._waiting.speaks_of(key)]
        on_disk = tuple(key for key in keys if not self._waiting.speaks_of(key)) if waiting else tuple(keys)
        found = self._from_disk(self._database.read_all, on_disk) if on_disk else {}
        for key in waiting:
            write = self._waiting.write_of(key)
            if write is not None:
                found[key] = write.state
        return found

    def value(self, key: Key) -> bytes | None:
        self._check_open()
        if self._waiting.speaks_of(key):
            write = self._waiting.write_of(key)
            if write is None or write.state.size is None:
                return None
            value = self._waiting.value_of(key)
            if value is not None:
                return value
        return self._from_disk(self._database.value, key)

    async def fetch(self, key: Key) -> bytes | None:
        self._check_open()
        if self._waiting.speaks_of(key):
            return self.value(key)
        try:
            return await trio.to_thread.run_sync(self._database.value_apart, key, limiter=self._fetch_thread)
        except StorageError:
            return self.value(key)  # which notes what is wrong, if it still is

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
        before = self.read(state.key)
        check_value(before, state, value)
        group = self._waiting.filling
        # A value that is larger than the bound waits alone.
        is_too_much = group.value_bytes > 0 and group.value_bytes + len(value or b"") > MAX_PENDING_BYTES
        if group.count >= MAX_PENDING_WRITES or is_too_much:
            self._statistics.busy += 1
            raise busy()
        tally = group.tally.with_change(before, state)
        # What makes nothing larger always fits.
        if group.tally.bytes < tally.bytes > self._statistics.max_bytes and not even_if_full:
            self._statistics.refused += 1
            raise full(self._statistics.max_bytes)
        write = Write(state, timetable, evictable, value, pack_registers(state.registers))
        self._charge(before, state)
        group.add(write, done)
        group.tally = tally
        self._handed_over.set()

    def remove(self, key: Key) -> None:
        # Never refused as busy: a key that is stored is removed once, so these are bounded by what is stored.
        before = self.read(key)
        if before is not None:
            self._charge(before, None)
            group = self._waiting.filling
            group.remove(key)
            group.tally = group.tally.with_change(before, None)
            self._handed_over.set()

    def confirm(self) -> Durability:
        self._check_open()
        try:
            self._database.check_in_place()
        except StorageMoved as error:
            self._health.on_moved(error)
            raise
        return self.durability

    def keys(self, after: Key | None, limit: int) -> list[Key]:
        self._check_open()
        return self._waiting.keys(self._database.keys, after, limit)

    def due(self, now: int, limit: int) -> list[Key]:
        self._check_open()
        return [key for _, key in self._waiting.moments(self._database.due, _due, now, limit)]

    def renewable(self, now: int, limit: int) -> list[Key]:
        self._check_open()
        return [key for _, key in self._waiting.moments(self._database.renewable, _renew, now, limit)]

    def evictable(self, limit: int) -> list[Key]:
        self._check_open()
        return self._waiting.evictable(self._database.evictable, limit)

    def held(self, account: Account) -> int:
        self._check_open()
        for group in self._waiting.groups:
            if account in group.accounts:
                return group.accounts[account]
        held = self._accounts.get(account)
        if held is None:
            held = self._from_disk(self._database.held, account)
            self._remember({account: held})
        return held

    def largest(self, sort: Sort) -> int:
        self._check_open()
        waiting = self._waiting.accounts()
        found = {**self._from_disk(self._database.largest, sort, 1 + len(waiting)), **waiting}
        return max((held for account, held in found.items() if account.startswith(sort.value)), default=0)

    def next_due(self) -> int | None:
        self._check_open()
        first = self._waiting.moments(self._database.due, _due, LAST_MOMENT, 1)
        first += self._waiting.moments(self._database.renewable, _renew, LAST_MOMENT, 1)
        return min((moment for moment, _ in first), default=None)

    def contacts(self) -> list[Contact]:
        self._check_open()
        waiting = self._waiting.contacts()
        return self._database.contacts() if waiting is None else list(waiting)

    def save_contacts(self, contacts: list[Contact]) -> None:
        self._check_open()
        self._waiting.filling.contacts = contacts[:MAX_CONTACTS]
        self._handed_over.set()

    def note(self, name: str) -> int:
        self._check_open()
        waiting = self._waiting.note(name)
        return self._database.note(name) if waiting is None else waiting

    def set_note(self, name: str, number: int) -> None:
        self._check_open()
        self._waiting.filling.notes[name] = number
        self._handed_over.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            if self._sync == "os":
                nursery.start_soon(self._log.sync_regularly)
            nursery.start_soon(self._recover)
            task_status.started()
            while True:
                # What others write in the pass of the event loop that wakes this task joins the group. To give way once
                # more would gather little and cost every commit a pass.
                await self._handed_over.wait()
                if self._log.is_long:
                    await self._log.checkpoint()
                self._handed_over = trio.Event()
                if self._waiting.filling.is_empty:
                    continue  # it has failed with the group before it
                group = self._waiting.cut()
                if self._log.may_begin_anew() or self._sync == "full" or group.value_bytes > LARGE:
                    await self._commit_in_thread(group)
                else:
                    self._commit(group)

    def close(self) -> None:
        """As in `Storage`. Waits for the disk."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            # A group that is still being committed was broken off by a bug: nothing that builds on it may follow.
            if self._waiting.committing is None and not self._waiting.filling.is_empty:
                self._commit(self._waiting.cut())
        finally:
            self._database.close()
            self._directory.release()

    def _charge(self, before: KeyState | None, after: KeyState | None) -> None:
        changes = differences(before, after)
        # All are read before any is changed: a read that fails leaves them as they were.
        self._waiting.filling.accounts |= {each: self.held(each) + change for each, change in changes.items()}

    def _remember(self, accounts: Charges) -> None:
        if len(self._accounts) + len(accounts) > MAX_ACCOUNTS:
            self._accounts = dict(itertools.islice(accounts.items(), MAX_ACCOUNTS))
        else:
            self._accounts.update(accounts)

    def _commit(self, group: Group) -> None:
        try:
            self._database.commit(group)
        except StorageError as error:
            self._on_failure(group, error)
        else:
            self._on_commit(group)

    async def _commit_in_thread(self, group: Group) -> None:
        try:
            # One commit cannot be broken off anyway; unshielded, a cancelled writer might leave a group in between.
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._database.commit, group, limiter=self._commit_thread)
        except StorageError as error:
            self._on_failure(group, error)
        else:
            self._on_commit(group)

    def _on_commit(self, group: Group) -> None:
        self._waiting.committing = None
        self._last_read = None
        self._remember(group.accounts)
        self._health.on_commit(group.log_bytes)
        self._statistics.commits += 1
        self._statistics.committed_writes += group.count
        self._log.on_commit(group.log_bytes)
        for done in group.dones:
            done(self.durability)

    def _on_failure(self, group: Group, error: StorageError) -> None:
        dropped = self._waiting.drop(self._database.tally)
        self._log.on_failed_commit()
        self._last_read = None
        self._health.on_failed_commit(error, group.log_bytes)
        self._statistics.failures += 1
        for each in dropped:
            for done in each.dones:
                done(error)

    async def _recover(self) -> None:
        """Tries again what failed, until it works: a node at rest would not notice that its disk is well again."""
        while True:
            await self._health.wait_worth_a_try()
            await trio.sleep(RETRY_AFTER)
            for what, read_again in [*self._health.failed_reads.items()]:
                try:
                    read_again()
                except StorageError:
                    continue
                self._health.on_read_again(what)
            if self._health.commits_fail:
                # A small commit may fit where that which failed does not.
                room = max(ROOM, self._health.room)
                try:
                    await trio.to_thread.run_sync(self._directory.try_to_write, room, limiter=self._scratch_thread)
                    recovered = self.note("recovered") + 1
                except StorageError:
                    continue
                self._health.on_room()
                self.set_note("recovered", recovered)

    def _from_disk(self, read: Callable[P, Read], *arguments: P.args, **options: P.kwargs) -> Read:
        try:
            return read(*arguments, **options)
        except StorageError as error:
            self._statistics.failures += 1
            again = functools.partial(self._from_disk, read, *arguments, **options)
            self._health.on_failed_read(error, (read, arguments), again)
            if isinstance(error, StorageDamaged):
                with contextlib.suppress(StorageMoved):
                    self._database.check_in_place()  # another database may be there now, and is not damaged
                    mark(self._directory.path)
            raise

    def _check_open(self) -> None:
        if self._is_closed:
            raise closed()


def _due(write: Write) -> int:
    return write.timetable.due


def _renew(write: Write) -> int:
    return write.timetable.renew
