"""Storage on disk: a journal, and SQLite behind it, in a locked data directory.

Rules of this file: which file is written when, and by which task. Writes gather in a group, which is appended to the
journal at the end of the turn that brought them, and then its `done`s are called. With sync "os" that is some µs on the
event loop, and a thread brings the journal to the disk within a second. With "full", or while the disk is slow, the one
writer does it in a thread; it also appends what comes outside of a turn. A write is read
from the overlay until the tables have it. When the journal is long, the absorber brings all of it into the tables, in a
thread and in one transaction that waits for the disk, and then the journal is emptied. At rest nothing runs. A group
that is large, or that finds the journal full or spoiled, goes into the tables at once, with all that the journal has.

If an append fails, all that was handed over and not acknowledged goes with it, since later writes build on earlier
ones: every `done` hears it. Before it is acknowledged, a write must be in files that a start would open: if these were
moved, nothing is acknowledged any more.
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
from camomile_trio.storage.accounts import Account, Charges, Sort, change
from camomile_trio.storage.base import Done, StorageStatistics, Timetable
from camomile_trio.storage.damage import contacts_in, is_marked, keep_copy, mark, set_aside
from camomile_trio.storage.data_directory import DataDirectory
from camomile_trio.storage.database import Database
from camomile_trio.storage.health import Health, OnFailing, nobody_listens
from camomile_trio.storage.journal import Entry, Journal, JournalFile
from camomile_trio.storage.key_filter import KeyFilter
from camomile_trio.storage.overlay import Batch, Group, Overlay, Write
from camomile_trio.storage.rows import (
    LAST_MOMENT,
    Removal,
    change_of,
    note_body,
    pack_registers,
    removal_body,
    write_body,
)
from camomile_trio.storage.schema import DATABASE_FILE, SyncMode
from camomile_trio.storage.tally import (
    MAX_CONTACTS,
    MAX_JOURNAL_BYTES,
    MAX_JOURNAL_WRITES,
    MAX_PENDING_BYTES,
    MAX_PENDING_WRITES,
    busy,
    check_before,
    check_value,
    closed,
    full,
)

# Seconds until what failed is tried again, and the bytes that must find room, at least, before a full disk counts as
# well.
RETRY_AFTER = 2.0
ROOM = 2**20
# From the first write that only the operating system has until the journal is synced: what remains of the second is the
# disk's.
SYNC_AFTER = 0.8
# The journal is absorbed when so many keys, or bytes, wait in it. A start replays it, and lists are merged with it.
ABSORB_WRITES = 256
ABSORB_BYTES = 2**20
# Keys that are read at once to fill the filter: some ms in the thread, and less than one on the event loop.
FILTER_PAGE = 1024
# Bytes from which on a group goes into the tables at once: to write it twice would cost more than it saves.
LARGE = 2**20
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
    directory cannot be used. Blocks for the disk: at most for the journal that a killed process left. Damage of that
    makes the storage a failing one until the next start; a copy is kept, and what is readable is taken.
    """
    file = directory / DATABASE_FILE
    with contextlib.ExitStack() as stack:
        data_directory = DataDirectory.open(directory)
        stack.callback(data_directory.release)
        contacts: list[Contact] = []
        absorbed: int | None = None
        try:
            if on_set_aside is not None and is_marked(directory):
                raise StorageDamaged("damage was found in it while the node ran")
            database = Database(file)
            absorbed = database.absorbed()
        except StorageDamaged as error:
            if on_set_aside is None:
                raise
            aside = set_aside(directory)
            contacts = contacts_in(aside)
            on_set_aside(aside, str(error))
            database = Database(file)
        stack.callback(database.close)
        journal = Journal(directory)
        stack.callback(journal.close)
        entries, damaged = journal.read(absorbed)
        copies = [keep_copy(path) for path in damaged]
        data_directory.watch([*database.paths, *journal.paths])
        storage = SqliteStorage(
            database, journal, data_directory, sync=sync, max_bytes=max_bytes, on_failing=on_failing
        )
        storage.replay(entries, copies)
        stack.pop_all()
    if contacts:
        storage.save_contacts(contacts)
    return storage


class SqliteStorage:
    """A `Storage`, made by `open_sqlite`."""

    def __init__(
        self,
        database: Database,
        journal: Journal,
        directory: DataDirectory,
        *,
        sync: SyncMode,
        max_bytes: int,
        on_failing: OnFailing,
    ) -> None:
        self._database = database
        self._journal = journal
        self._directory = directory
        self._sync = sync
        self._statistics = StorageStatistics(max_bytes=max_bytes)
        self._overlay = Overlay(database.tally)
        self._present = KeyFilter(database.tally.keys)
        # What some accounts hold by what is in the tables: the same few publishers come again and again.
        self._accounts: Charges = {}
        self._health = Health(on_failing)
        self._durability = Durability.DISK if sync == "full" else Durability.SYSTEM
        self._is_in_turn = False
        self._handed_over = trio.Event()
        self._unsynced = trio.Event()
        self._absorb_wanted = trio.Event()
        self._filter_wanted = trio.Event()
        self._filter_wanted.set()
        # The group that the writer has left to the absorber, and what it waits for meanwhile.
        self._direct: tuple[Group, trio.Event] | None = None
        self._append_thread = trio.CapacityLimiter(1)
        self._flushing = 0
        self._flush_threads = trio.CapacityLimiter(2)  # one that syncs beside one that absorbs
        self._fetch_thread = trio.CapacityLimiter(1)
        self._scratch_thread = trio.CapacityLimiter(1)
        self._is_closed = False

    def replay(self, entries: Sequence[Entry], copies_of_damaged: Sequence[Path]) -> None:
        """Takes what an earlier life has left in the journal. Only before anything else."""
        for entry in entries:
            try:
                said = change_of(entry.body)
                if isinstance(said, Write):
                    before = self.read(said.state.key)
                    check_value(before, said.state, said.value)
                    growth, charged = change(before, said.state)
                    self._put(said.state.key, before, said, entry.body, growth, charged)
                elif isinstance(said, Removal):
                    self.remove(said.key)
                else:
                    self.set_note(said.name, said.number)
            except ValueError:
                continue  # it builds on what is lost, or this version does not know its kind
        # The journal has them already.
        self._overlay.on_written()
        self._handed_over = trio.Event()
        if copies_of_damaged:
            names = " and ".join(str(each) for each in copies_of_damaged)
            self._health.on_lost(
                StorageDamaged(
                    f"the journal was damaged, and writes that were acknowledged may be lost; a copy is in {names}",
                    remedy="look at the disk, then start the node again: its neighbours have the values too",
                )
            )
        if self._journal.size:
            self.absorb()

    @property
    def statistics(self) -> StorageStatistics:
        tally = self._overlay.all.tally
        return attrs.evolve(
            self._statistics,
            keys=tally.keys,
            values=tally.values,
            bytes=tally.bytes,
            pending=sum(group.count for group in self._overlay.unwritten),
            journalled=len(self._overlay.all.writes),
            slow=self._journal.slow_writes,
        )

    @property
    def durability(self) -> Durability:
        return self._durability

    @property
    def failing(self) -> str:
        return self._health.failing

    def read(self, key: Key) -> KeyState | None:
        if self._is_closed:
            raise closed()
        writes = self._overlay.all.writes
        if key in writes:
            write = writes[key]
            return None if write is None else write.state
        return self._from_disk(self._database.read, key) if self._present.may_have(key) else None

    def read_all(self, keys: Sequence[Key]) -> dict[Key, KeyState]:
        self._check_open()
        writes = self._overlay.all.writes
        on_disk = tuple(key for key in keys if key not in writes and self._present.may_have(key))
        found = self._from_disk(self._database.read_all, on_disk) if on_disk else {}
        for key in keys:
            write = writes.get(key)
            if write is not None:
                found[key] = write.state
        return found

    def value(self, key: Key) -> bytes | None:
        self._check_open()
        writes = self._overlay.all.writes
        if key in writes:
            write = writes[key]
            if write is None or write.state.size is None:
                return None
            if write.value is not None:
                return write.value
        return self._from_disk(self._database.value, key)

    async def fetch(self, key: Key) -> bytes | None:
        self._check_open()
        if key in self._overlay.all.writes:
            return self.value(key)
        try:
            return await trio.to_thread.run_sync(self._database.value_apart, key, limiter=self._fetch_thread)
        except StorageError:
            return self.value(key)  # which notes what is wrong, if it still is

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
        key, overlay = state.key, self._overlay
        everything, group = overlay.all, overlay.filling
        check_value(before, state, value)
        if key in everything.writes:
            earlier = everything.writes[key]
            check_before(before, None if earlier is None else earlier.state, state)
        if (
            group.count >= MAX_PENDING_WRITES
            # A value that is larger than the bound waits alone.
            or (value and group.size and group.size + len(value) > MAX_PENDING_BYTES)
        ):
            self._statistics.busy += 1
            raise busy()
        growth, charged = change(before, state)
        # What makes nothing larger always fits.
        if growth > 0 and everything.tally.bytes + growth > self._statistics.max_bytes and not even_if_full:
            self._statistics.refused += 1
            raise full(self._statistics.max_bytes)
        write = Write(state, timetable, evictable, value, pack_registers(state.registers))
        self._put(key, before, write, write_body(write), growth, charged)
        if done is not None:
            group.dones.append(done)

    def remove(self, key: Key) -> None:
        # Never refused as busy: a key that is stored is removed once, so these are bounded by what is stored.
        before = self.read(key)
        if before is not None:
            growth, charged = change(before, None)
            self._put(key, before, None, removal_body(key), growth, charged)

    def begin_turn(self) -> None:
        self._is_in_turn = True

    def end_turn(self) -> None:
        self._is_in_turn = False
        overlay = self._overlay
        if not overlay.filling.bodies:
            return
        if (
            overlay.writing is not None  # what the writer is at comes first
            or self._is_closed
            or self._is_apart()
            or self._is_for_tables(overlay.filling)
        ):
            self._handed_over.set()
        else:
            self._append(overlay.cut())

    def confirm(self) -> Durability:
        self._check_open()
        try:
            self._directory.require_in_place()
        except StorageMoved as error:
            self._health.on_lost(error)
            raise
        return self.durability

    def keys(self, after: Key | None, limit: int) -> list[Key]:
        self._check_open()
        return self._overlay.keys(self._database.keys, after, limit)

    def due(self, now: int, limit: int) -> list[Key]:
        self._check_open()
        return [key for _, key in self._overlay.moments(self._database.due, _due, now, limit)]

    def renewable(self, now: int, limit: int) -> list[Key]:
        self._check_open()
        return [key for _, key in self._overlay.moments(self._database.renewable, _renew, now, limit)]

    def evictable(self, limit: int) -> list[Key]:
        self._check_open()
        return self._overlay.evictable(self._database.evictable, limit)

    def held(self, account: Account) -> int:
        if self._is_closed:
            raise closed()
        held = self._overlay.all.accounts.get(account)
        if held is None:
            held = self._accounts.get(account)
        if held is None:
            held = self._from_disk(self._database.held, account)
            self._remember({account: held})
        return held

    def largest(self, sort: Sort) -> int:
        self._check_open()
        waiting = self._overlay.all.accounts
        found = {**self._from_disk(self._database.largest, sort, 1 + len(waiting)), **waiting}
        return max((held for account, held in found.items() if account.startswith(sort.value)), default=0)

    def next_due(self) -> int | None:
        self._check_open()
        first = self._overlay.moments(self._database.due, _due, LAST_MOMENT, 1)
        first += self._overlay.moments(self._database.renewable, _renew, LAST_MOMENT, 1)
        return min((moment for moment, _ in first), default=None)

    def contacts(self) -> list[Contact]:
        self._check_open()
        waiting = self._overlay.all.contacts
        return self._database.contacts() if waiting is None else list(waiting)

    def save_contacts(self, contacts: list[Contact]) -> None:
        """Into the tables, without the journal: a node saves them rarely, and a start does with older ones."""
        self._check_open()
        self._overlay.all.contacts = contacts[:MAX_CONTACTS]
        self._absorb_wanted.set()

    def note(self, name: str) -> int:
        self._check_open()
        waiting = self._overlay.all.notes.get(name)
        return self._database.note(name) if waiting is None else waiting

    def set_note(self, name: str, number: int) -> None:
        self._check_open()
        self._overlay.note(name, number, note_body(name, number))
        if not self._is_in_turn:
            self._handed_over.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            if self._sync == "os":
                nursery.start_soon(self._sync_regularly)
            nursery.start_soon(self._absorb_regularly)
            nursery.start_soon(self._fill_filter)
            nursery.start_soon(self._recover)
            task_status.started()
            while True:
                # What others write in the pass of the event loop that wakes this task joins the group. To give way once
                # more would gather little and cost every commit a pass.
                await self._handed_over.wait()
                self._handed_over = trio.Event()
                if not self._overlay.filling.bodies:
                    continue  # the end of a turn has taken it along, or it has failed with the group before it
                group = self._overlay.cut()
                if self._is_for_tables(group):
                    absorbed = trio.Event()
                    self._direct = group, absorbed
                    self._absorb_wanted.set()
                    await absorbed.wait()
                elif self._is_apart():
                    await self._append_apart(group)
                else:
                    self._append(group)

    def absorb(self) -> None:
        """Brings all into the tables, what was not acknowledged too, and empties the journal. Waits for the disk. Not
        while `run` does. What fails is heard by the `done`s, and makes the storage a failing one."""
        batch = self._overlay.batch(self._journal.sequence, without=[])
        try:
            self._commit(batch)
        except StorageError as error:
            self._on_behind(error)
            self._on_failure(error)
        else:
            self._on_absorbed(batch, self._empty(self._journal.absorbed(batch.sequence, nothing_is_under_way=True)))
            for group in self._overlay.on_written():
                self._acknowledge(group)

    def close(self) -> None:
        """As in `Storage`. Waits for the disk."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            everything = self._overlay.all
            if everything.writes or everything.notes or everything.contacts is not None or self._journal.size:
                self.absorb()
        finally:
            self._database.close()
            self._journal.close()
            self._directory.release()

    def _put(
        self, key: Key, before: KeyState | None, write: Write | None, body: bytes, growth: int, charged: Charges
    ) -> None:
        """Lays a change of a key over the tables, and into the group that is filling. `growth` and `charged` are what
        the change makes of bytes and accounts. StorageError, and nothing is changed, if the accounts cannot be read."""
        everything, known = self._overlay.all, self._accounts
        waiting = everything.accounts
        held: Charges = {}
        for account in charged:
            if account in waiting:
                held[account] = waiting[account] + charged[account]
            elif account in known:
                held[account] = known[account] + charged[account]
            else:
                held[account] = self.held(account) + charged[account]
        self._overlay.put(key, write, body, held)
        tally = everything.tally
        tally.bytes += growth
        if before is None:
            tally.keys += 1
            present = self._present
            present.add(key)
            if present.is_outgrown:
                self._filter_wanted.set()
        elif before.size is not None:
            tally.values -= 1
        if write is None:
            tally.keys -= 1
        elif write.state.size is not None:
            tally.values += 1
        if not self._is_in_turn:
            self._handed_over.set()

    def _remember(self, accounts: Charges) -> None:
        if len(self._accounts) + len(accounts) > MAX_ACCOUNTS:
            self._accounts = dict(itertools.islice(accounts.items(), MAX_ACCOUNTS))
        else:
            self._accounts.update(accounts)

    def _is_for_tables(self, group: Group) -> bool:
        """Whether it goes into the tables at once, with all that the journal has."""
        return (
            group.size > LARGE
            or self._journal.is_spoiled
            or len(self._overlay.all.writes) >= MAX_JOURNAL_WRITES
            or self._journal.size >= MAX_JOURNAL_BYTES
        )

    def _is_apart(self) -> bool:
        """Whether the journal is written in a thread now."""
        return self._sync == "full" or self._flushing > 0 or self._journal.is_slow

    def _append(self, group: Group) -> None:
        """Writes the group that was cut, and acknowledges it."""
        try:
            if self._directory.has_moved:
                self._directory.require_in_place()
            self._journal.append(group.bodies, self._sync)
            self._directory.require_in_place()
        except StorageError as error:
            self._on_failure(error)
        else:
            self._on_appended(group)

    async def _append_apart(self, group: Group) -> None:
        """As `_append`, in a thread."""
        try:
            if self._directory.has_moved:
                self._directory.require_in_place()
            # One write cannot be broken off anyway; unshielded, a cancelled writer might leave a group in between.
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(
                    self._journal.append, group.bodies, self._sync, limiter=self._append_thread
                )
            self._directory.require_in_place()
        except StorageError as error:
            self._on_failure(error)
        else:
            self._on_appended(group)

    def _on_appended(self, group: Group) -> None:
        self._overlay.writing = None
        self._unsynced.set()
        self._acknowledge(group)
        if (
            len(self._overlay.all.writes) >= ABSORB_WRITES or self._journal.size >= ABSORB_BYTES
        ) and self._journal.turn():
            self._absorb_wanted.set()

    async def _absorb_regularly(self) -> None:
        while True:
            await self._absorb_wanted.wait()
            self._absorb_wanted = trio.Event()
            direct, self._direct = self._direct, None
            overlay = self._overlay
            batch = overlay.batch(
                self._journal.sequence, without=overlay.unwritten if direct is None else [overlay.filling]
            )
            files = self._journal.absorbed(batch.sequence, nothing_is_under_way=direct is not None)
            try:
                with trio.CancelScope(shield=True):
                    await self._flush(self._commit, batch)
                    problem = await self._flush(self._empty, files)
            except StorageError as error:
                if direct is None:
                    self._on_behind(error)
                else:
                    self._on_failure(error)
            else:
                self._on_absorbed(batch, problem)
                if direct is not None:
                    self._overlay.writing = None
                    self._acknowledge(direct[0])
            if direct is not None:
                direct[1].set()

    def _commit(self, batch: Batch) -> None:
        """In a thread, or while nothing else is under way."""
        self._directory.require_in_place()
        # A transaction that breaks off for lack of room would leave none to the journal.
        self._directory.require_room(batch.log_bytes)
        self._database.commit(batch)
        self._directory.require_in_place()

    @staticmethod
    def _empty(files: Sequence[JournalFile]) -> StorageError | None:
        """Once a start finds in the tables what they had. Returns why one is not empty, which takes nothing back."""
        try:
            for file in files:
                file.empty()
        except StorageError as error:
            return error
        return None

    async def _flush(self, work: Callable[P, Read], *arguments: P.args, **options: P.kwargs) -> Read:
        """In a thread, for it waits for the disk. Other writes to the file system wait for that too, up to some 20 ms
        on ext4, so they are made in a thread meanwhile."""
        self._flushing += 1
        try:
            return await trio.to_thread.run_sync(
                functools.partial(work, *arguments, **options), limiter=self._flush_threads
            )
        finally:
            self._flushing -= 1

    async def _fill_filter(self) -> None:
        """With the keys of the tables, page by page; those that are written meanwhile add themselves."""
        while True:
            await self._filter_wanted.wait()
            self._filter_wanted = trio.Event()
            self._present = filling = KeyFilter(self._overlay.all.tally.keys)
            for key in self._overlay.all.writes:
                filling.add(key)
            after: Key | None = None
            try:
                while page := await trio.to_thread.run_sync(
                    self._database.keys_apart, after, FILTER_PAGE, limiter=self._fetch_thread
                ):
                    for key in page:
                        filling.add(key)
                    after = page[-1]
            except StorageError:
                continue  # all is read from the tables then, which says what is wrong, if it still is
            filling.is_complete = True

    async def _sync_regularly(self) -> None:
        while True:
            await self._unsynced.wait()
            await trio.sleep(SYNC_AFTER)
            self._unsynced = trio.Event()
            try:
                for file in self._journal.unsynced():
                    await self._flush(file.sync)
            except StorageError as error:
                # The system may take for written now what is not: it has to get into the tables.
                self._on_behind(error)

    def _on_absorbed(self, batch: Batch, problem: StorageError | None) -> None:
        self._overlay.on_absorbed(batch)
        self._remember(batch.accounts)
        if problem is None:
            self._health.on_absorbed()
        else:
            self._on_behind(problem)

    def _acknowledge(self, group: Group) -> None:
        self._health.on_commit(group.size)
        self._statistics.commits += 1
        self._statistics.committed_writes += group.count
        durability = self._durability
        for done in group.dones:
            done(durability)

    def _on_behind(self, error: StorageError) -> None:
        """What was acknowledged is not where it should be by now."""
        self._statistics.failures += 1
        self._health.on_behind(error)
        self._mark_damage(error)

    def _on_failure(self, error: StorageError) -> None:
        """A group was not written, and with it goes what was handed over since."""
        dropped = self._overlay.drop_unwritten()
        self._health.on_failed_commit(error, dropped[0].size)
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
            if self._health.is_behind:
                self._absorb_wanted.set()
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
            self._mark_damage(error)
            raise

    def _mark_damage(self, error: StorageError) -> None:
        if isinstance(error, StorageDamaged):
            with contextlib.suppress(StorageMoved):
                self._directory.require_in_place()  # another database may be there now, and is not damaged
                mark(self._directory.path)

    def _check_open(self) -> None:
        if self._is_closed:
            raise closed()


def _due(write: Write) -> int:
    return write.timetable.due


def _renew(write: Write) -> int:
    return write.timetable.renew
