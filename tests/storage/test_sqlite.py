"""Storage in SQLite: what is on the disk when it says so, and how it fails."""

from __future__ import annotations

import functools
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from camomile_trio.errors import DataDirectoryInUse, DiskFull, StorageError
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import NodeId
from camomile_trio.kademlia.messages import Durability
from camomile_trio.storage import log, sqlite, tally
from camomile_trio.storage.base import Timetable
from camomile_trio.storage.group import Group
from camomile_trio.storage.log import SYNC_AFTER, Log
from camomile_trio.storage.schema import DATABASE_FILE, INLINE_BYTES, SyncMode, pragma
from camomile_trio.storage.sqlite import SqliteStorage
from camomile_trio.storage.uncommitted import Uncommitted
from tests.storage.kept import MIB, Opened, Outcomes, commit, key, lease, open_parts, state, until, writer_of

NEVER = Timetable()


Open = Callable[..., SqliteStorage]
OpenParts = Callable[..., Opened]


@pytest.fixture
async def opening(tmp_path: Path) -> AsyncIterator[OpenParts]:
    """Opens the storage with its parts; all are closed at the end."""
    opened: list[Opened] = []

    def open_one(sync: SyncMode = "os") -> Opened:
        opened.append(open_parts(tmp_path, sync))
        return opened[-1]

    yield open_one
    for each in opened:
        each.storage.close()


@pytest.fixture
def open_storage(opening: OpenParts) -> Open:
    return lambda sync="os": opening(sync).storage


BOTH = pytest.mark.parametrize("sync", ["os", pytest.param("full", marks=pytest.mark.real_time)])


def on_disk(directory: Path) -> set[bytes]:
    """The keys that anybody else who opens the file would find."""
    other = sqlite3.connect(directory / DATABASE_FILE)
    try:
        return {found for (found,) in other.execute("SELECT key FROM keys")}
    finally:
        other.close()


@BOTH
async def test_when_it_is_acknowledged_it_is_committed_and_not_before(
    open_storage: Open, tmp_path: Path, sync: SyncMode
) -> None:
    storage = open_storage(sync)
    seen: list[set[bytes]] = []
    outcomes = Outcomes()

    def done(outcome: Durability | StorageError) -> None:
        seen.append(on_disk(tmp_path))
        outcomes(outcome)

    storage.write(state(1), NEVER, done=done)
    assert on_disk(tmp_path) == set()
    async with writer_of(storage):
        await outcomes.until(1)
    assert seen == [{key(1)}]


@BOTH
async def test_the_connections_are_what_the_acknowledgement_promises(opening: OpenParts, sync: SyncMode) -> None:
    opened = opening(sync)
    settings = {"os": (1, 0), "full": (2, 1000)}  # 1 is NORMAL, 2 is FULL
    assert pragma(opened.writer, "journal_mode") == "wal"
    assert (pragma(opened.writer, "synchronous"), pragma(opened.writer, "wal_autocheckpoint")) == settings[sync]
    assert pragma(opened.checkpointer, "synchronous") == 1
    assert pragma(opened.reader, "query_only") == 1


async def test_everything_is_there_after_a_restart(open_storage: Open) -> None:
    storage = open_storage()
    contacts = [Contact(NodeId(b"n" * 32), Endpoint.parse("[::1]:8118"))]
    storage.write(state(1, 5), Timetable(due=7, renew=6), value=b"hello", evictable=True)
    storage.write(state(2), NEVER)
    await commit(storage)
    storage.remove(key(2))
    storage.write(state(3), NEVER)
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
    storage.save_contacts([Contact(NodeId(b"n" * 32), Endpoint.parse("127.0.0.1:1"))])
    storage.close()
    assert len(open_storage().contacts()) == 1


async def test_renewing_a_lease_does_not_write_its_value_again(open_storage: Open, tmp_path: Path) -> None:
    storage = open_storage()
    storage.write(state(1, MIB), NEVER, value=bytes(MIB))
    await commit(storage)
    log = tmp_path / f"{DATABASE_FILE}-wal"
    before = log.stat().st_size
    assert before > MIB
    storage.write(state(1, MIB, lease(1, seq=2)), NEVER)
    await commit(storage)
    assert log.stat().st_size - before < 64 * 1024


@pytest.mark.parametrize("size", [INLINE_BYTES, INLINE_BYTES + 1])
async def test_a_value_stays_with_its_key_when_it_is_short_and_apart_when_not(opening: OpenParts, size: int) -> None:
    opened = opening()
    storage = opened.storage
    apart = functools.partial(opened.reader.execute, "SELECT length(value) FROM contents")
    storage.write(state(1, size), NEVER, value=bytes(size))
    await commit(storage)
    assert apart().fetchall() == ([] if size <= INLINE_BYTES else [(size,)])
    storage.write(state(1, size, lease(1, seq=2)), NEVER)
    await commit(storage)
    assert storage.value(key(1)) == bytes(size)
    storage.write(state(1), NEVER)
    await commit(storage)
    assert storage.value(key(1)) is None
    storage.write(state(1, size), NEVER, value=bytes(size))
    storage.remove(key(1))
    await commit(storage)
    assert storage.value(key(1)) is None
    assert apart().fetchall() == []


async def test_a_value_of_the_greatest_size_goes_through(open_storage: Open) -> None:
    storage = open_storage()
    value = bytes(range(256)) * (64 * MIB // 256)
    storage.write(state(1, len(value)), NEVER, value=value)
    with pytest.raises(StorageError, match="busy"):
        storage.write(state(2, 1), NEVER, value=b"a")
    await commit(storage)
    assert storage.value(key(1)) == value


async def test_the_files_are_their_owners_only(open_storage: Open, tmp_path: Path) -> None:
    storage = open_storage()
    storage.write(state(1), NEVER)
    await commit(storage)
    for ending in ("", "-wal"):
        assert stat.S_IMODE((tmp_path / f"{DATABASE_FILE}{ending}").stat().st_mode) == 0o600
    # The index of the log is in memory, and with it the locks among our own connections.
    assert not (tmp_path / f"{DATABASE_FILE}-shm").exists()


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
    storage.write(state(1, 5), Timetable(due=1), value=b"there")
    await commit(storage)
    before = storage.statistics
    connection = opened.writer
    pages = pragma(connection, "page_count")
    pragma(connection, f"max_page_count = {pages}")
    outcomes = Outcomes()
    async with writer_of(storage):
        storage.write(state(1), NEVER, done=outcomes)
        storage.write(state(2, MIB), NEVER, value=bytes(MIB), done=outcomes)
        storage.set_note("uptime", 5)
        failed = await outcomes.until(2)
        assert all(isinstance(outcome, StorageError) and "full" in str(outcome) for outcome in failed)
        assert "full" in storage.failing
        assert storage.read(key(1)) == state(1, 5)
        assert storage.value(key(1)) == b"there"
        assert storage.due(1, 1) == [key(1)]
        assert storage.read(key(2)) is None
        assert storage.note("uptime") == 0
        after = storage.statistics
        assert (after.keys, after.values, after.bytes, after.pending) == (1, 1, before.bytes, 0)
        assert (after.failures, after.commits) == (1, 1)
        pragma(connection, "max_page_count = 1073741823")
        storage.write(state(3), NEVER, done=outcomes)
        assert (await outcomes.until(3))[2] is storage.durability
        assert "full" in storage.failing, "a small write says nothing about a large one"
        storage.write(state(1), NEVER, done=outcomes)
        storage.write(state(2, MIB), NEVER, value=bytes(MIB), done=outcomes)
        assert (await outcomes.until(5))[4] is storage.durability
    assert storage.failing == ""
    assert storage.value(key(2)) == bytes(MIB)


async def test_a_commit_that_fails_in_the_middle_is_undone(opening: OpenParts, tmp_path: Path) -> None:
    opened = opening()
    storage = opened.storage
    outcomes = Outcomes()
    connection = opened.writer
    connection.execute("ALTER TABLE notes RENAME TO hidden")
    async with writer_of(storage):
        storage.write(state(1), NEVER, done=outcomes)
        storage.set_note("uptime", 1)
        await outcomes.until(1)
        assert "no such table" in storage.failing
        connection.execute("ALTER TABLE hidden RENAME TO notes")
        storage.write(state(2), NEVER, done=outcomes)
        await outcomes.until(2)
    assert outcomes.heard[1] is Durability.SYSTEM
    assert on_disk(tmp_path) == {key(2)}


async def test_a_commit_that_fails_while_closing_is_heard(opening: OpenParts, tmp_path: Path) -> None:
    opened = opening()
    storage = opened.storage
    pages = pragma(opened.writer, "page_count")
    pragma(opened.writer, f"max_page_count = {pages}")
    outcomes = Outcomes()
    storage.write(state(2, MIB), NEVER, value=bytes(MIB), done=outcomes)
    storage.close()
    assert [type(outcome) for outcome in outcomes.heard] == [DiskFull]
    assert on_disk(tmp_path) == set()


@pytest.fixture
def checkpoints(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the log was brought into the tables, in virtual seconds."""
    ended: list[float] = []
    checkpoint = Log.checkpoint

    async def noted(log: Log) -> None:
        await checkpoint(log)
        ended.append(trio.current_time())

    monkeypatch.setattr(Log, "checkpoint", noted)
    return ended


class Gate:
    """Holds a commit, or a checkpoint, in its thread until it is opened."""

    def __init__(self, work: Callable[..., object]) -> None:
        self.entered = trio.Event()
        self.open = threading.Event()
        self.error: StorageError | None = None
        self._work = work

    def __call__(self, *arguments: object) -> object:
        trio.from_thread.run_sync(self.entered.set)
        assert self.open.wait(10)
        if self.error is not None:
            raise self.error
        return self._work(*arguments)


@pytest.mark.real_time
async def test_reads_and_writes_go_on_while_a_group_is_committed_in_a_thread(opening: OpenParts) -> None:
    opened = opening("full")
    storage = opened.storage
    storage.write(state(1, 3), Timetable(due=30), value=b"one")
    await commit(storage)
    opened.database.commit = gate = Gate(opened.database.commit)  # type: ignore[method-assign, assignment]
    order: list[str] = []
    last = Outcomes()

    def second(outcome: Durability | StorageError) -> None:
        order.append("second")
        last(outcome)

    async with writer_of(storage):
        storage.write(state(2, 3), Timetable(due=20), value=b"two", done=lambda outcome: order.append("first"))
        storage.write(state(1), Timetable(due=40))
        storage.set_note("uptime", 1)
        await until(gate.entered.is_set)
        storage.write(state(2, 3, lease(2, seq=9)), Timetable(due=50))
        storage.write(state(3), Timetable(due=10), done=second)
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
async def test_what_was_built_on_a_failed_group_fails_with_it(opening: OpenParts) -> None:
    opened = opening("full")
    storage = opened.storage
    works = opened.database.commit
    opened.database.commit = gate = Gate(works)  # type: ignore[method-assign, assignment]
    gate.error = StorageError("the disk went away")
    outcomes = Outcomes()
    async with writer_of(storage):
        storage.write(state(1, 3), NEVER, value=b"one", done=outcomes)
        await until(gate.entered.is_set)
        storage.write(state(1, 3, lease(1, seq=9)), NEVER, done=outcomes)
        gate.open.set()
        assert await outcomes.until(2) == [gate.error, gate.error]
        assert storage.read(key(1)) is None
        assert storage.statistics.bytes == storage.statistics.pending == 0
        assert storage.failing == "the disk went away"
        # Nothing is left to commit, so nothing more can fail.
        await wait_all_tasks_blocked()
        assert storage.statistics.failures == 1
        opened.database.commit = works  # type: ignore[method-assign]
        storage.write(state(2), NEVER, done=outcomes)
        await outcomes.until(3)
    assert storage.keys(None, 10) == [key(2)]


@pytest.mark.real_time
async def test_a_cancelled_writer_finishes_the_commit_that_it_is_in(opening: OpenParts, tmp_path: Path) -> None:
    opened = opening("full")
    storage = opened.storage
    opened.database.commit = gate = Gate(opened.database.commit)  # type: ignore[method-assign, assignment]
    outcomes = Outcomes()
    with trio.CancelScope() as scope:
        async with writer_of(storage):
            storage.write(state(1), NEVER, done=outcomes)
            await until(gate.entered.is_set)
            scope.cancel()
            gate.open.set()
            await trio.lowlevel.checkpoint()
    assert outcomes.heard == [Durability.DISK]
    assert on_disk(tmp_path) == {key(1)}


@pytest.mark.real_time
async def test_a_writer_that_is_cancelled_before_the_thread_starts_commits_all_the_same(
    open_storage: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage("full")
    outcomes = Outcomes()
    cut = Uncommitted.cut
    with trio.CancelScope() as scope:

        def cut_and_cancel(waiting: Uncommitted) -> Group:
            scope.cancel()
            return cut(waiting)

        monkeypatch.setattr(Uncommitted, "cut", cut_and_cancel)
        async with writer_of(storage):
            storage.write(state(1), NEVER, done=outcomes)
            await trio.sleep_forever()
    assert outcomes.heard == [Durability.DISK]
    assert on_disk(tmp_path) == {key(1)}


@pytest.mark.real_time
async def test_within_a_second_the_disk_has_what_the_system_had(
    opening: OpenParts, tmp_path: Path, mock_clock: MockClock
) -> None:
    opened = opening()
    storage = opened.storage
    finished = trio.Event()
    sync_log = opened.database.sync_log
    synced: list[bytes] = []

    def told() -> None:
        synced.append((tmp_path / f"{DATABASE_FILE}-wal").read_bytes())
        sync_log()
        trio.from_thread.run_sync(finished.set)

    opened.database.sync_log = told  # type: ignore[method-assign]
    async with writer_of(storage):
        storage.write(state(1), NEVER)
        await wait_all_tasks_blocked()
        assert storage.statistics.commits == 1
        assert not finished.is_set()
        mock_clock.jump(SYNC_AFTER)
        await until(finished.is_set)
        # What the sync has reached is enough for the next start: the tables as they were, and the log.
        after_the_loss = tmp_path / "alone" / DATABASE_FILE
        after_the_loss.parent.mkdir()
        after_the_loss.write_bytes((tmp_path / DATABASE_FILE).read_bytes())
        after_the_loss.with_name(f"{DATABASE_FILE}-wal").write_bytes(synced[0])
        assert on_disk(after_the_loss.parent) == {key(1)}
        # Nothing more to bring there: it rests.
        mock_clock.jump(2 * SYNC_AFTER)
        await wait_all_tasks_blocked()
        assert len(synced) == 1


@pytest.mark.real_time
async def test_a_disk_that_a_sync_does_not_reach_is_a_failing_one_until_a_checkpoint_has_written_all_again(
    opening: OpenParts, tmp_path: Path, mock_clock: MockClock
) -> None:
    opened = opening()
    storage = opened.storage
    syncs = 0

    def broken() -> None:
        nonlocal syncs
        syncs += 1
        # What the system says once: it may take the pages for written from then on.
        raise StorageError("no disk")

    checkpoint = opened.database.checkpoint
    opened.database.sync_log = broken  # type: ignore[method-assign]
    opened.database.checkpoint = gate = Gate(checkpoint)  # type: ignore[method-assign, assignment]
    gate.error = StorageError("still no disk")
    gate.open.set()
    async with writer_of(storage):
        storage.write(state(1), NEVER)
        await wait_all_tasks_blocked()
        mock_clock.jump(SYNC_AFTER)
        await until(lambda: storage.failing)
        assert (storage.failing, storage.statistics.failures) == ("no disk", 1)
        await wait_all_tasks_blocked()
        mock_clock.jump(SYNC_AFTER)
        await until(lambda: storage.failing == "still no disk")
        gate.error = None
        await wait_all_tasks_blocked()
        mock_clock.jump(SYNC_AFTER)
        await until(lambda: not storage.failing)
    assert syncs == 1
    # The file without its log is what the checkpoint has reached.
    without_log = tmp_path / "alone" / DATABASE_FILE
    without_log.parent.mkdir()
    without_log.write_bytes((tmp_path / DATABASE_FILE).read_bytes())
    assert on_disk(without_log.parent) == {key(1)}


@pytest.mark.real_time
async def test_a_log_that_commits_keep_ahead_of_starts_over(
    opening: OpenParts, tmp_path: Path, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch, checkpoints: list[float]
) -> None:
    monkeypatch.setattr(log, "LONG_LOG_FRAMES", 8)
    monkeypatch.setattr(log, "CHECKPOINT_BYTES", MIB)
    opened = opening()
    storage = opened.storage
    checkpoint = opened.database.checkpoint
    calls: list[tuple[int, int]] = []

    def outrun() -> tuple[int, int]:
        in_log, done = checkpoint()
        # The first is told that commits went on meanwhile.
        calls.append((in_log, done - 1 if not calls else done))
        return calls[-1]

    opened.database.checkpoint = outrun  # type: ignore[method-assign]
    outcomes = Outcomes()
    async with writer_of(storage):
        storage.write(state(1, MIB), NEVER, value=bytes(MIB), done=outcomes)
        await outcomes.until(1)
        await wait_all_tasks_blocked()
        mock_clock.jump(SYNC_AFTER)
        await until(lambda: checkpoints)
        for number in (2, 3):
            storage.write(state(number), NEVER, done=outcomes)
            await outcomes.until(number)
    assert len(calls) == 2
    # The log was begun anew, over its old frames.
    assert checkpoint()[0] < MIB // 2048


@pytest.mark.real_time
async def test_a_commit_that_begins_the_log_anew_does_not_hold_up_the_event_loop(
    opening: OpenParts, tmp_path: Path, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch, checkpoints: list[float]
) -> None:
    """SQLite waits for the disk there: it syncs the header, which is new then, and no other time."""
    monkeypatch.setattr(log, "CHECKPOINT_BYTES", 1)
    opening().storage.close()
    opened = opening()
    storage = opened.storage
    loop, commit_one = threading.get_ident(), opened.database.commit
    began: list[bool] = []  # whether it was on the event loop, of each commit that has begun the log anew
    commits_on_loop = 0

    def watched(group: Group) -> None:
        nonlocal commits_on_loop
        on_loop = threading.get_ident() == loop
        before = log_header(tmp_path)
        commit_one(group)
        commits_on_loop += on_loop
        if log_header(tmp_path) != before:
            began.append(on_loop)

    opened.database.commit = watched  # type: ignore[method-assign]
    outcomes = Outcomes()
    async with writer_of(storage):
        for round_ in range(1, 6):
            for _ in range(4):
                number = len(outcomes.heard) + 1
                storage.write(state(number), NEVER, done=outcomes)
                await outcomes.until(number)
            await wait_all_tasks_blocked()
            mock_clock.jump(SYNC_AFTER)
            await until(lambda: len(checkpoints) == len(began))
            assert len(began) == round_
    assert not any(began)
    assert commits_on_loop == 5 * 3


def log_header(directory: Path) -> bytes:
    """It has a salt that is another one each time when the log begins anew."""
    return (directory / f"{DATABASE_FILE}-wal").read_bytes()[:32]


async def test_what_waits_is_bounded_in_bytes_too(open_storage: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "MAX_PENDING_BYTES", 100)
    storage = open_storage()
    storage.write(state(1, 60), NEVER, value=bytes(60))
    storage.write(state(2, 40), NEVER, value=bytes(40))
    with pytest.raises(StorageError, match="busy"):
        storage.write(state(3, 1), NEVER, value=bytes(1))
    storage.remove(key(1))
    storage.write(state(3, 60), NEVER, value=bytes(60))
    assert storage.statistics.busy == 1


async def test_a_write_does_not_read_again_what_was_just_read(opening: OpenParts) -> None:
    opened = opening()
    storage = opened.storage
    storage.write(state(1), NEVER)
    await commit(storage)
    read: list[bytes] = []
    opened.reader.set_trace_callback(lambda statement: read.append(statement.encode()))
    assert storage.read(key(1)) == state(1)
    storage.write(state(1, 1), NEVER, value=b"a")
    assert len(read) == 1
    await commit(storage)
    assert storage.read(key(1)) == state(1, 1)


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


def test_an_empty_group_knows_that_it_is_empty() -> None:
    group = Group(tally.Tally())
    assert group.is_empty
    group.remove(key(1))
    assert not group.is_empty
