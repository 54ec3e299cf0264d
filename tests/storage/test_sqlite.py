"""Storage on disk: what is there when it says so, how it fails, and what a start finds."""

from __future__ import annotations

import functools
import math
import os
import stat
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from camomile_trio.errors import DataDirectoryInUse, DiskFull, StorageError
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.messages import Durability
from camomile_trio.storage import sqlite
from camomile_trio.storage.accounts import of_publisher
from camomile_trio.storage.base import Timetable
from camomile_trio.storage.journal import JOURNAL_FILES, Journal
from camomile_trio.storage.overlay import Group, Overlay
from camomile_trio.storage.schema import DATABASE_FILE, INLINE_BYTES, SyncMode, pragma
from camomile_trio.storage.sqlite import SYNC_AFTER, SqliteStorage, open_sqlite
from tests.storage.kept import (
    MIB,
    Opened,
    Outcomes,
    absorb,
    commit,
    in_the_journal,
    key,
    lease,
    left_by_a_kill,
    open_parts,
    state,
    until,
    write,
    writer_of,
)

NEVER = Timetable()
PUBLISHER = of_publisher(lease(1).record.publisher)
Open = Callable[..., SqliteStorage]
OpenParts = Callable[..., Opened]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
async def opening(data: Path) -> AsyncIterator[OpenParts]:
    opened: list[Opened] = []

    def open_one(sync: SyncMode = "os") -> Opened:
        opened.append(open_parts(data, sync))
        return opened[-1]

    yield open_one
    for each in opened:
        each.storage.close()


@pytest.fixture
def open_storage(opening: OpenParts) -> Open:
    return lambda sync="os": opening(sync).storage


BOTH = pytest.mark.parametrize("sync", ["os", pytest.param("full", marks=pytest.mark.real_time)])


def after_a_kill(directory: Path, copy: str = "killed") -> set[bytes]:
    """The keys that a start would find if the process were killed now."""
    storage = open_sqlite(left_by_a_kill(directory, directory.with_name(copy)), sync="os", max_bytes=100 * MIB)
    try:
        return set(storage.keys(None, 1000))
    finally:
        storage.close()


@BOTH
async def test_when_it_is_acknowledged_it_is_committed_and_not_before(
    open_storage: Open, data: Path, sync: SyncMode
) -> None:
    storage = open_storage(sync)
    seen: list[set[bytes]] = []
    outcomes = Outcomes()

    def done(outcome: Durability | StorageError) -> None:
        seen.append(after_a_kill(data))
        outcomes(outcome)

    write(storage, state(1), NEVER, done=done)
    assert after_a_kill(data, "before") == set()
    async with writer_of(storage):
        await outcomes.until(1)
    assert seen == [{key(1)}]


@BOTH
async def test_with_full_the_disk_has_it_before_it_is_acknowledged(
    open_storage: Open, data: Path, monkeypatch: pytest.MonkeyPatch, sync: SyncMode
) -> None:
    storage = open_storage(sync)
    synced: list[int] = []
    fdatasync = os.fdatasync

    def watched(descriptor: int) -> None:
        fdatasync(descriptor)
        synced.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(os, "fdatasync", watched)
    async with writer_of(storage):
        for number in range(1, 4):
            outcomes = Outcomes()
            write(storage, state(number), NEVER, done=outcomes)
            assert await outcomes.until(1) == [storage.durability]
            assert len(synced) == (number if sync == "full" else 0)
            assert not synced or synced[-1] == in_the_journal(data)


@BOTH
async def test_a_commit_of_the_tables_waits_for_the_disk(opening: OpenParts, sync: SyncMode) -> None:
    opened = opening(sync)
    assert pragma(opened.writer, "journal_mode") == "wal"
    assert pragma(opened.writer, "synchronous") == 2  # FULL
    assert pragma(opened.reader, "query_only") == 1


async def test_everything_is_there_after_a_restart(open_storage: Open) -> None:
    storage = open_storage()
    contacts = [Contact.of(b"n" * 32, Endpoint.parse("[::1]:8118"))]
    write(storage, state(1, 5), Timetable(due=7, renew=6), value=b"hello", evictable=True)
    write(storage, state(2), NEVER)
    await commit(storage)
    storage.remove(key(2))
    write(storage, state(3), NEVER)
    storage.save_contacts(contacts)
    storage.set_note("uptime", 99)
    storage.close()
    before = storage.statistics
    storage = open_storage()
    assert storage.keys(None, 10) == [key(1), key(3)]
    assert (storage.read(key(1)), storage.value(key(1))) == (state(1, 5), b"hello")
    assert storage.due(7, 1) == storage.renewable(6, 1) == storage.evictable(1) == [key(1)]
    assert (storage.contacts(), storage.note("uptime")) == (contacts, 99)
    assert (storage.statistics.keys, storage.statistics.values) == (2, 1)
    assert storage.statistics.bytes == before.bytes


async def test_contacts_and_notes_alone_are_committed_too(open_storage: Open) -> None:
    storage = open_storage()
    storage.set_note("uptime", 1)
    storage.close()
    storage = open_storage()
    assert storage.note("uptime") == 1
    storage.save_contacts([Contact.of(b"n" * 32, Endpoint.parse("127.0.0.1:1"))])
    storage.close()
    assert len(open_storage().contacts()) == 1


async def test_renewing_a_lease_does_not_write_its_value_again(open_storage: Open, data: Path) -> None:
    storage = open_storage()
    write(storage, state(1, MIB // 2), NEVER, value=bytes(MIB // 2))
    await absorb(storage)
    log = data / f"{DATABASE_FILE}-wal"
    before = log.stat().st_size
    assert before > MIB // 2
    write(storage, state(1, MIB // 2, lease(1, seq=2)), NEVER)
    await commit(storage)
    assert 0 < in_the_journal(data) < 1024
    await absorb(storage)
    assert log.stat().st_size - before < 64 * 1024


@pytest.mark.parametrize("size", [INLINE_BYTES, INLINE_BYTES + 1])
async def test_a_value_stays_with_its_key_when_it_is_short_and_apart_when_not(opening: OpenParts, size: int) -> None:
    opened = opening()
    storage = opened.storage
    apart = functools.partial(opened.reader.execute, "SELECT length(value) FROM contents")
    write(storage, state(1, size), NEVER, value=bytes(size))
    await absorb(storage)
    assert apart().fetchall() == ([] if size <= INLINE_BYTES else [(size,)])
    write(storage, state(1, size, lease(1, seq=2)), NEVER)
    await absorb(storage)
    assert storage.value(key(1)) == bytes(size)
    write(storage, state(1), NEVER)
    await absorb(storage)
    assert storage.value(key(1)) is None
    write(storage, state(1, size), NEVER, value=bytes(size))
    storage.remove(key(1))
    await absorb(storage)
    assert storage.value(key(1)) is None
    assert apart().fetchall() == []


async def test_a_value_of_the_greatest_size_goes_through(open_storage: Open) -> None:
    storage = open_storage()
    value = bytes(range(256)) * (64 * MIB // 256)
    write(storage, state(1, len(value)), NEVER, value=value)
    with pytest.raises(StorageError, match="busy"):
        write(storage, state(2, 1), NEVER, value=b"a")
    await commit(storage)
    assert storage.value(key(1)) == value


async def test_the_files_are_their_owners_only(open_storage: Open, data: Path) -> None:
    storage = open_storage()
    write(storage, state(1), NEVER)
    await absorb(storage)
    for name in (DATABASE_FILE, f"{DATABASE_FILE}-wal", *JOURNAL_FILES):
        assert stat.S_IMODE((data / name).stat().st_mode) == 0o600
    # The index of the log is in memory, and with it the locks among our own connections.
    assert not (data / f"{DATABASE_FILE}-shm").exists()


async def test_it_is_locked_until_it_is_closed(open_storage: Open) -> None:
    storage = open_storage()
    with pytest.raises(DataDirectoryInUse):
        open_storage()
    storage.close()
    open_storage()


@BOTH
async def test_a_full_disk_fails_the_group_and_leaves_what_was_there(opening: OpenParts, sync: SyncMode) -> None:
    opened = opening(sync)
    storage = opened.storage
    write(storage, state(1, 5), Timetable(due=1), value=b"there")
    await commit(storage)
    before, held = storage.statistics, storage.held(PUBLISHER)
    connection = opened.writer
    pages = pragma(connection, "page_count")
    pragma(connection, f"max_page_count = {pages}")
    outcomes = Outcomes()
    async with writer_of(storage):
        write(storage, state(1), NEVER, done=outcomes)
        write(storage, state(2, MIB), NEVER, value=bytes(MIB), done=outcomes)
        storage.set_note("uptime", 5)
        failed = await outcomes.until(2)
        assert all(isinstance(outcome, StorageError) and "full" in str(outcome) for outcome in failed)
        assert "full" in storage.failing
        assert storage.read(key(1)) == state(1, 5)
        assert storage.value(key(1)) == b"there"
        assert storage.due(1, 1) == [key(1)]
        assert storage.read(key(2)) is None
        assert storage.note("uptime") == 0
        assert storage.held(PUBLISHER) == held
        after = storage.statistics
        assert (after.keys, after.values, after.bytes, after.pending) == (1, 1, before.bytes, 0)
        assert (after.failures, after.commits) == (1, 1)
        pragma(connection, "max_page_count = 1073741823")
        write(storage, state(3), NEVER, done=outcomes)
        assert (await outcomes.until(3))[2] is storage.durability
        assert "full" in storage.failing, "a small write says nothing about a large one"
        write(storage, state(1), NEVER, done=outcomes)
        write(storage, state(2, MIB), NEVER, value=bytes(MIB), done=outcomes)
        storage.set_note("uptime", 5)
        assert (await outcomes.until(5))[4] is storage.durability
    assert storage.failing == ""
    assert storage.value(key(2)) == bytes(MIB)


@pytest.mark.real_time
async def test_a_batch_that_fails_in_the_middle_is_undone_said_and_tried_again(
    opening: OpenParts, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "RETRY_AFTER", 0.01)
    monkeypatch.setattr(sqlite, "ABSORB_WRITES", 2)
    opened = opening()
    storage = opened.storage
    outcomes = Outcomes()
    connection = opened.writer
    connection.execute("ALTER TABLE notes RENAME TO hidden")
    async with writer_of(storage):
        write(storage, state(1), NEVER, done=outcomes)
        write(storage, state(2), NEVER, done=outcomes)
        assert await outcomes.until(2) == 2 * [Durability.SYSTEM]
        await until(lambda: "no such table" in storage.failing)
        assert opened.database.keys(None, 5) == []
        # Nothing of what was acknowledged is lost meanwhile, and more is taken.
        write(storage, state(3), NEVER, done=outcomes)
        await outcomes.until(3)
        assert set(storage.keys(None, 5)) == {key(1), key(2), key(3)}
        connection.execute("ALTER TABLE hidden RENAME TO notes")
        await until(lambda: not storage.failing)
    assert opened.database.keys(None, 5) == [key(1), key(2), key(3)]


async def test_a_commit_that_fails_while_closing_is_heard(opening: OpenParts, data: Path) -> None:
    opened = opening()
    storage = opened.storage
    write(storage, state(1), NEVER)
    await commit(storage)
    pages = pragma(opened.writer, "page_count")
    pragma(opened.writer, f"max_page_count = {pages}")
    outcomes = Outcomes()
    write(storage, state(2, MIB), NEVER, value=bytes(MIB), done=outcomes)
    storage.close()
    assert [type(outcome) for outcome in outcomes.heard] == [DiskFull]
    assert after_a_kill(data) == {key(1)}


class Gate:
    """Holds a write, or a commit, in its thread until it is opened."""

    def __init__(self, work: Callable[..., object]) -> None:
        self.entered = trio.Event()
        self.open = threading.Event()
        self.error: StorageError | None = None
        self._work = work

    @classmethod
    def before_appends(cls, journal: Journal) -> Gate:
        gate = cls(journal.append)
        journal.append = gate  # type: ignore[method-assign, assignment]
        return gate

    def __call__(self, *arguments: object) -> object:
        if not self.open.is_set():
            trio.from_thread.run_sync(self.entered.set)
            assert self.open.wait(10)
        if self.error is not None:
            raise self.error
        return self._work(*arguments)


@pytest.mark.real_time
async def test_reads_and_writes_go_on_while_a_group_is_written_in_a_thread(opening: OpenParts) -> None:
    opened = opening("full")
    storage = opened.storage
    write(storage, state(1, 3), Timetable(due=30), value=b"one")
    await commit(storage)
    gate = Gate.before_appends(opened.journal)
    order: list[str] = []
    last = Outcomes()

    def second(outcome: Durability | StorageError) -> None:
        order.append("second")
        last(outcome)

    async with writer_of(storage):
        write(storage, state(2, 3), Timetable(due=20), value=b"two", done=lambda outcome: order.append("first"))
        write(storage, state(1), Timetable(due=40))
        storage.set_note("uptime", 1)
        await until(gate.entered.is_set)
        write(storage, state(2, 3, lease(2, seq=9)), Timetable(due=50))
        write(storage, state(3), Timetable(due=10), done=second)
        assert storage.value(key(2)) == b"two"
        assert storage.value(key(1)) is None
        assert storage.read(key(2)) == state(2, 3, lease(2, seq=9))
        assert storage.due(50, 10) == [key(3), key(1), key(2)]
        assert storage.keys(None, 10) == [key(1), key(2), key(3)]
        assert storage.note("uptime") == 1
        assert storage.statistics.pending == 4
        assert order == []
        gate.open.set()
        await last.until(1)
    assert order == ["first", "second"]
    assert storage.value(key(2)) == b"two"
    assert storage.due(50, 10) == [key(3), key(1), key(2)]
    assert storage.statistics.commits == 3


@pytest.mark.real_time
async def test_what_is_not_acknowledged_is_not_brought_into_the_tables(opening: OpenParts) -> None:
    opened = opening("full")
    storage = opened.storage
    outcomes = Outcomes()
    gate = Gate.before_appends(opened.journal)
    async with writer_of(storage):
        write(storage, state(1), NEVER, done=outcomes)
        await until(gate.entered.is_set)
        write(storage, state(2), NEVER, done=outcomes)
        contacts = [Contact.of(b"n" * 32, Endpoint.parse("127.0.0.1:1"))]
        storage.save_contacts(contacts)
        await until(opened.database.contacts)
        assert opened.database.keys(None, 5) == []
        gate.open.set()
        await outcomes.until(2)
    storage.absorb()
    assert opened.database.keys(None, 5) == [key(1), key(2)]


@pytest.mark.real_time
async def test_what_was_built_on_a_failed_group_fails_with_it(opening: OpenParts) -> None:
    opened = opening("full")
    storage = opened.storage
    append = opened.journal.append
    gate = Gate.before_appends(opened.journal)
    gate.error = StorageError("the disk went away")
    outcomes = Outcomes()
    async with writer_of(storage):
        write(storage, state(1, 3), NEVER, value=b"one", done=outcomes)
        await until(gate.entered.is_set)
        write(storage, state(1, 3, lease(1, seq=9)), NEVER, done=outcomes)
        gate.open.set()
        assert await outcomes.until(2) == [gate.error, gate.error]
        assert storage.read(key(1)) is None
        assert storage.statistics.bytes == storage.statistics.pending == 0
        assert storage.failing == "the disk went away"
        # Nothing is left to commit, so nothing more can fail.
        await wait_all_tasks_blocked()
        assert storage.statistics.failures == 1
        opened.journal.append = append  # type: ignore[method-assign]
        write(storage, state(2), NEVER, done=outcomes)
        await outcomes.until(3)
    assert storage.keys(None, 10) == [key(2)]


@pytest.mark.real_time
async def test_a_cancelled_writer_finishes_the_commit_that_it_is_in(opening: OpenParts, data: Path) -> None:
    opened = opening("full")
    storage = opened.storage
    gate = Gate.before_appends(opened.journal)
    outcomes = Outcomes()
    with trio.CancelScope() as scope:
        async with writer_of(storage):
            write(storage, state(1), NEVER, done=outcomes)
            await until(gate.entered.is_set)
            scope.cancel()
            gate.open.set()
            await trio.lowlevel.checkpoint()
    assert outcomes.heard == [Durability.DISK]
    assert after_a_kill(data) == {key(1)}


@pytest.mark.real_time
async def test_a_writer_that_is_cancelled_before_the_thread_starts_commits_all_the_same(
    open_storage: Open, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage("full")
    outcomes = Outcomes()
    cut = Overlay.cut
    with trio.CancelScope() as scope:

        def cut_and_cancel(overlay: Overlay) -> Group:
            scope.cancel()
            return cut(overlay)

        monkeypatch.setattr(Overlay, "cut", cut_and_cancel)
        async with writer_of(storage):
            write(storage, state(1), NEVER, done=outcomes)
            await trio.sleep_forever()
    assert outcomes.heard == [Durability.DISK]
    assert after_a_kill(data) == {key(1)}


@pytest.mark.real_time
async def test_within_a_second_the_disk_has_what_the_system_had(
    open_storage: Open, data: Path, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage()
    finished = trio.Event()
    synced: list[int] = []
    fdatasync = os.fdatasync

    def watched(descriptor: int) -> None:
        fdatasync(descriptor)
        synced.append(os.fstat(descriptor).st_size)
        trio.from_thread.run_sync(finished.set)

    monkeypatch.setattr(os, "fdatasync", watched)
    async with writer_of(storage):
        write(storage, state(1), NEVER)
        await wait_all_tasks_blocked()
        assert storage.statistics.commits == 1
        assert not finished.is_set()
        mock_clock.jump(SYNC_AFTER)
        await until(finished.is_set)
        # What the sync has reached is all that a start needs.
        assert synced == [in_the_journal(data)]
        assert after_a_kill(data) == {key(1)}
        # Nothing more to bring there: it rests.
        mock_clock.jump(2 * SYNC_AFTER)
        await wait_all_tasks_blocked()
        assert len(synced) == 1


@pytest.mark.real_time
async def test_a_disk_that_a_sync_does_not_reach_is_a_failing_one_until_the_tables_have_all(
    opening: OpenParts, data: Path, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = opening()
    storage = opened.storage
    syncs = 0

    def broken(descriptor: int) -> None:
        nonlocal syncs
        syncs += 1
        # What the system says once: it may take the pages for written from then on.
        raise OSError(5, "no disk")

    monkeypatch.setattr(os, "fdatasync", broken)
    outcomes = Outcomes()
    opened.database.commit = gate = Gate(opened.database.commit)  # type: ignore[method-assign, assignment]
    gate.error = StorageError("still no disk")
    gate.open.set()
    async with writer_of(storage):
        write(storage, state(1), NEVER, done=outcomes)
        await wait_all_tasks_blocked()
        mock_clock.jump(SYNC_AFTER)
        await until(lambda: "no disk" in storage.failing)
        # The journal takes nothing more: that would be acknowledged by a file whose sync says nothing any more.
        before = in_the_journal(data)
        write(storage, state(2), NEVER, done=outcomes)
        await outcomes.until(2)
        assert (outcomes.heard[1], in_the_journal(data)) == (gate.error, before)
        gate.error = None
        await wait_all_tasks_blocked()
        mock_clock.jump(sqlite.RETRY_AFTER)
        await until(lambda: not storage.failing)
        write(storage, state(3), NEVER, done=outcomes)
        await outcomes.until(3)
        assert outcomes.heard[2] is Durability.SYSTEM
    assert syncs == 1
    assert set(opened.database.keys(None, 5)) >= {key(1)}
    assert after_a_kill(data) == {key(1), key(3)}


@pytest.mark.real_time
async def test_a_long_journal_is_absorbed_in_a_thread_while_writes_go_on(
    opening: OpenParts, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "ABSORB_WRITES", 4)
    opened = opening()
    storage = opened.storage
    opened.database.commit = gate = Gate(opened.database.commit)  # type: ignore[method-assign, assignment]
    outcomes = Outcomes()
    async with writer_of(storage):
        for number in range(1, 5):
            write(storage, state(number, 3), Timetable(due=number), value=b"one", done=outcomes)
        await until(gate.entered.is_set)
        absorbed = in_the_journal(data)
        # A newer state of one that is on its way into the tables, one that goes, and a new one.
        write(storage, state(2, 3, lease(2, seq=9)), Timetable(due=9), done=outcomes)
        storage.remove(key(3))
        write(storage, state(5), Timetable(due=5), done=outcomes)
        await outcomes.until(6)
        assert after_a_kill(data) == {key(1), key(2), key(4), key(5)}
        whole, held = in_the_journal(data), storage.held(PUBLISHER)
        gate.open.set()
        await until(lambda: storage.statistics.journalled == 3)
        for _ in range(2):
            assert storage.due(9, 9) == [key(1), key(4), key(5), key(2)]
            assert storage.read(key(2)) == state(2, 3, lease(2, seq=9))
            assert storage.value(key(2)) == b"one"
            assert storage.read(key(3)) is None
            assert storage.held(PUBLISHER) == held
            await wait_all_tasks_blocked()
        # The file whose entries the tables have is empty, the other one has the rest.
        assert 0 < in_the_journal(data) == whole - absorbed
    assert after_a_kill(data, "later") == {key(1), key(2), key(4), key(5)}
    storage.close()
    assert in_the_journal(data) == 0
    assert opening().storage.value(key(2)) == b"one"


@pytest.mark.real_time
@pytest.mark.parametrize("bound", [("MAX_JOURNAL_BYTES", 3000), ("MAX_JOURNAL_WRITES", 5)])
async def test_a_journal_that_the_tables_do_not_keep_up_with_lets_writes_wait_for_them(
    opening: OpenParts, data: Path, monkeypatch: pytest.MonkeyPatch, bound: tuple[str, int]
) -> None:
    monkeypatch.setattr(sqlite, "ABSORB_BYTES", 1000)
    monkeypatch.setattr(sqlite, *bound)
    opened = opening()
    storage = opened.storage
    opened.database.commit = gate = Gate(opened.database.commit)  # type: ignore[method-assign, assignment]
    outcomes = Outcomes()
    async with writer_of(storage):
        for number in range(1, 5):
            write(storage, state(number, 600), NEVER, value=bytes(600), done=outcomes)
            await outcomes.until(number)
        before = in_the_journal(data)
        write(storage, state(5), NEVER, done=outcomes)
        await wait_all_tasks_blocked()
        assert (len(outcomes.heard), in_the_journal(data)) == (4, before)
        gate.open.set()
        await outcomes.until(5)
        assert opened.database.keys(None, 9) == [key(number) for number in range(1, 6)]
        assert (storage.statistics.journalled, in_the_journal(data)) == (0, 0)
        write(storage, state(6), NEVER, done=outcomes)
        await outcomes.until(6)
        assert in_the_journal(data) > 0


@pytest.mark.real_time
async def test_at_rest_nothing_runs(opening: OpenParts, mock_clock: MockClock) -> None:
    opened = opening()
    storage = opened.storage
    outcomes = Outcomes()

    async def next_deadline() -> float:
        await wait_all_tasks_blocked()
        return trio.lowlevel.current_statistics().seconds_to_next_deadline

    async with writer_of(storage):
        assert await next_deadline() == math.inf
        write(storage, state(1), NEVER, done=outcomes)
        await outcomes.until(1)
        assert await next_deadline() == SYNC_AFTER
        mock_clock.jump(SYNC_AFTER)
        await until(lambda: not opened.journal.unsynced())
        assert await next_deadline() == math.inf


async def test_what_waits_is_bounded_in_bytes_too(open_storage: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "MAX_PENDING_BYTES", 2000)
    storage = open_storage()
    for number in (1, 2):
        write(storage, state(number, 600), NEVER, value=bytes(600))
    with pytest.raises(StorageError, match="busy"):
        write(storage, state(3, 600), NEVER, value=bytes(600))
    storage.remove(key(1))
    assert storage.statistics.busy == 1
    await commit(storage)
    write(storage, state(3, 600), NEVER, value=bytes(600))


async def test_a_write_does_not_read_what_it_replaces(opening: OpenParts) -> None:
    opened = opening()
    storage = opened.storage
    write(storage, state(1), NEVER)
    await absorb(storage)
    read: list[bytes] = []
    opened.reader.set_trace_callback(lambda statement: read.append(statement.encode()))
    storage.write(storage.read(key(1)), state(1, 1), NEVER, value=b"a")
    assert len(read) == 1
    await absorb(storage)
    assert storage.read(key(1)) == state(1, 1)


async def test_lists_go_on_behind_many_keys_that_have_changed(open_storage: Open) -> None:
    storage = open_storage()
    for number in range(1, 41):
        write(storage, state(number), Timetable(due=number, renew=number), evictable=True)
    await absorb(storage)
    for number in range(1, 31):
        write(storage, state(number), Timetable(due=100, renew=100))
    storage.remove(key(31))
    await commit(storage)
    expected = [key(number) for number in (32, 33, 34)]
    assert storage.due(99, 3) == storage.renewable(99, 3) == storage.evictable(3) == expected
    assert storage.next_due() == 32
    assert storage.keys(key(30), 3) == expected
    assert storage.due(100, 12) == [key(number) for number in (*range(32, 41), 1, 2, 3)]


async def test_the_lists_are_read_from_their_indexes(opening: OpenParts) -> None:
    opened = opening()
    storage = opened.storage
    plans: list[str] = []
    reader = opened.reader
    asked: list[str] = []
    reader.set_trace_callback(asked.append)
    storage.due(5, 5)
    storage.renewable(5, 5)
    storage.evictable(5)
    storage.keys(key(1), 5)
    reader.set_trace_callback(None)
    for query in asked:
        plans += [row[3] for row in reader.execute(f"EXPLAIN QUERY PLAN {query}")]
    assert len(plans) == 4
    indexes = ("INDEX keys_due", "INDEX keys_renew", "INDEX keys_evictable", "PRIMARY KEY")
    for plan, index in zip(plans, indexes, strict=True):
        assert index in plan
