"""The journal: what a start reads after a crash at any byte, what damage it names, and how its writes fail."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from camomile_trio.errors import DiskFull, StorageError
from camomile_trio.storage.base import Timetable
from camomile_trio.storage.database import Database
from camomile_trio.storage.journal import JOURNAL_FILES, SLOW_WRITE, Journal, JournalFile, contents_of, frame
from camomile_trio.storage.overlay import Batch
from camomile_trio.storage.rows import Note, Removal, change_of, note_body, removal_body
from camomile_trio.storage.schema import SyncMode
from camomile_trio.storage.sqlite import SqliteStorage, open_sqlite
from tests.storage.kept import (
    MIB,
    Outcomes,
    absorb,
    commit,
    in_the_journal,
    key,
    lease,
    left_by_a_kill,
    open_parts,
    state,
    tombstone,
    until,
    write,
    writer_of,
)

NEVER = Timetable()
BODIES = [b"first", b"", b"the third"]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path)
    yield opened
    opened.close()


def append(journal: Journal, *bodies: bytes, sync: SyncMode = "os") -> None:
    journal.append(bodies, sync)


def read(directory: Path, absorbed: int | None = 0) -> tuple[list[bytes], list[str]]:
    """What a start finds, and the names of the damaged files."""
    journal = Journal(directory)
    try:
        entries, damaged = journal.read(absorbed)
        return [entry.body for entry in entries], [path.name for path in damaged]
    finally:
        journal.close()


def growing(directory: Path) -> Path:
    """The file that is written to: the only one with something in it."""
    (found,) = [directory / name for name in JOURNAL_FILES if (directory / name).stat().st_size]
    return found


def test_entries_come_back_in_their_order_with_their_numbers(journal: Journal, tmp_path: Path) -> None:
    append(journal, *BODIES[:2])
    append(journal, BODIES[2])
    assert [(entry.sequence, entry.body) for entry in Journal(tmp_path).read(0)[0]] == [*enumerate(BODIES, 1)]


def test_what_the_tables_have_is_skipped_and_numbers_go_on(journal: Journal, tmp_path: Path) -> None:
    append(journal, *BODIES)
    again = Journal(tmp_path)
    assert [entry.body for entry in again.read(2)[0]] == BODIES[2:]
    assert again.sequence == 3
    assert read(tmp_path, 9) == ([], [])


@pytest.mark.parametrize("is_zeroed", [False, True])
def test_a_write_that_was_torn_at_any_byte_ends_the_replay(journal: Journal, tmp_path: Path, is_zeroed: bool) -> None:
    """Cut off, as a kill leaves it, or of the right length with zeros, as a loss of power may."""
    append(journal, *BODIES)
    file = growing(tmp_path)
    data = file.read_bytes()
    ends = [len(b"".join(frame(number, body) for number, body in enumerate(BODIES[:count], 1))) for count in range(4)]
    assert ends[3] == len(data)
    for cut in range(len(data)):
        file.write_bytes(data[:cut] + bytes(len(data) - cut) * is_zeroed)
        complete = sum(end <= cut for end in ends) - 1
        found = contents_of(file.read_bytes())
        assert [entry.body for entry in found.entries] == BODIES[:complete]
        assert (found.end, found.is_damaged) == (ends[complete], False)


def test_a_changed_byte_before_the_last_entry_is_damage_and_the_others_are_read(
    journal: Journal, tmp_path: Path
) -> None:
    append(journal, *BODIES)
    file = growing(tmp_path)
    data = file.read_bytes()
    ends = [len(b"".join(frame(number, body) for number, body in enumerate(BODIES[:count], 1))) for count in range(4)]
    for place in range(len(data)):
        file.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        changed = sum(end <= place for end in ends) - 1
        left = [body for number, body in enumerate(BODIES) if number != changed]
        # That of the last one cannot be told from a torn write.
        assert read(tmp_path) == (left, [] if changed == 2 else [file.name])


def test_numbers_that_are_missing_are_damage(journal: Journal, tmp_path: Path) -> None:
    append(journal, *BODIES)
    file = growing(tmp_path)
    file.write_bytes(frame(1, b"first") + frame(3, b"third"))
    assert read(tmp_path) == ([b"first", b"third"], [file.name])
    # A file that is gone, or tables from before it.
    file.write_bytes(frame(3, b"third"))
    assert read(tmp_path) == ([b"third"], [file.name])
    assert read(tmp_path, 2) == ([b"third"], [])
    # Of new tables nobody knows what they should have.
    assert read(tmp_path, None) == ([b"third"], [])


def test_what_was_there_before_the_file_was_emptied_is_no_entry(journal: Journal, tmp_path: Path) -> None:
    """A loss of power may bring it back behind what was written since."""
    append(journal, b"first")
    growing(tmp_path).write_bytes(frame(5, b"fifth") + frame(2, b"before"))
    again = Journal(tmp_path)
    assert [entry.body for entry in again.read(4)[0]] == [b"fifth"]
    assert again.sequence == 5


def test_two_files_take_turns_and_are_read_in_order(journal: Journal, tmp_path: Path) -> None:
    append(journal, b"first")
    assert journal.turn()
    append(journal, b"second")
    assert not journal.turn(), "the other one is not empty"
    append(journal, b"third")
    assert read(tmp_path) == ([b"first", b"second", b"third"], [])
    # Only the file that does not grow may be emptied, and only when the tables have all of it.
    assert journal.absorbed(0, nothing_is_under_way=False) == []
    (older,) = journal.absorbed(1, nothing_is_under_way=False)
    older.empty()
    assert read(tmp_path, 1) == ([b"second", b"third"], [])
    assert journal.turn()
    append(journal, b"fourth")
    assert read(tmp_path, 1) == ([b"second", b"third", b"fourth"], [])
    for file in journal.absorbed(4, nothing_is_under_way=True):
        file.empty()
    assert (read(tmp_path, 4), journal.size) == (([], []), 0)


def test_later_entries_stand_behind_the_last_complete_one(journal: Journal, tmp_path: Path) -> None:
    append(journal, b"first", b"second")
    file = growing(tmp_path)
    file.write_bytes(file.read_bytes()[:-1])
    again = Journal(tmp_path)
    again.read(0)
    append(again, b"another second")
    assert read(tmp_path) == ([b"first", b"another second"], [])


def is_spoiled(journal: Journal) -> bool:
    return journal.is_spoiled


class Disk:
    """Takes so many bytes, then fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error = 0
        self.takes = 0
        self.seconds = 0.0
        self._pwrite = os.pwrite
        monkeypatch.setattr(os, "pwrite", self.pwrite)

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        if not self.error:
            return self._pwrite(descriptor, data, offset)
        if not self.takes:
            raise OSError(self.error, os.strerror(self.error))
        taken, self.takes = self._pwrite(descriptor, data[: self.takes], offset), 0
        return taken


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.mark.parametrize("takes", [0, 1, 30])
def test_a_write_that_finds_no_room_leaves_nothing_and_the_next_may_have_some(
    journal: Journal, tmp_path: Path, disk: Disk, takes: int
) -> None:
    append(journal, b"first")
    disk.error, disk.takes = errno.ENOSPC, takes
    with pytest.raises(DiskFull, match="is full"):
        append(journal, b"second", b"third")
    assert read(tmp_path) == ([b"first"], [])
    assert not journal.is_spoiled
    disk.error = 0
    append(journal, b"another second")
    assert read(tmp_path) == ([b"first", b"another second"], [])


def test_a_write_that_fails_otherwise_spoils_the_file_until_it_is_empty(
    journal: Journal, tmp_path: Path, disk: Disk
) -> None:
    append(journal, b"first")
    disk.error = errno.EIO
    with pytest.raises(StorageError, match="failed"):
        append(journal, b"second")
    assert is_spoiled(journal)
    disk.error = 0
    (file,) = journal.absorbed(journal.sequence, nothing_is_under_way=True)
    file.empty()
    append(journal, b"third")
    assert not is_spoiled(journal)
    assert read(tmp_path, journal.sequence - 1) == ([b"third"], [])


@pytest.mark.parametrize("sync", ["os", "full"])
def test_a_sync_that_fails_spoils_the_file(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: SyncMode
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "no disk")

    append(journal, b"first")
    monkeypatch.setattr(os, "fdatasync", fail)
    if sync == "full":
        with pytest.raises(StorageError, match="no disk"):
            append(journal, b"second", sync=sync)
        # What was not acknowledged does not come back.
        assert read(tmp_path) == ([b"first"], [])
    else:
        (file,) = journal.unsynced()
        with pytest.raises(StorageError, match="no disk"):
            file.sync()
    assert journal.is_spoiled


def test_a_slow_write_is_counted_and_the_next_ones_are_called_slow_until_one_is_quick(tmp_path: Path) -> None:
    seconds = iter([0.0, 2 * SLOW_WRITE, 1.0, 1.0])
    journal = Journal(tmp_path, clock=lambda: next(seconds))
    append(journal, b"first")
    assert (journal.is_slow, journal.slow_writes) == (True, 1)
    append(journal, b"second")
    assert (journal.is_slow, journal.slow_writes) == (False, 1)
    journal.close()


def test_a_link_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / JOURNAL_FILES[0]).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="journal"):
        Journal(tmp_path)


def test_bodies_that_make_no_sense_are_refused() -> None:
    assert change_of(removal_body(key(1))) == Removal(key(1))
    assert change_of(note_body("uptime", -7)) == Note("uptime", -7)
    for nonsense in (b"", b"\x00", b"\x01", b"\x01" * 100, b"\x02", b"\x03", b"\x03" * 8 + b"\xff\xff", b"\x09"):
        with pytest.raises(ValueError, match=r".+"):
            change_of(nonsense)


# What a storage makes of it.


async def filled(data: Path) -> SqliteStorage:
    """Some of it is in the tables and some only in the journal, which has every kind of change."""
    storage = open_sqlite(data, sync="os", max_bytes=MIB)
    write(storage, state(1, 5), Timetable(due=5), value=b"first")
    write(storage, state(2, 300, tombstone(2, 2)), NEVER, value=bytes(300))
    await absorb(storage)
    write(storage, state(1, 5, lease(1, seq=2), tombstone(1, 3)), Timetable(due=1, renew=2), evictable=True)
    write(storage, state(3, 6), NEVER, value=b"second")
    storage.remove(key(2))
    storage.set_note("uptime", 7)
    write(storage, state(3), NEVER)
    await commit(storage)
    return storage


def kept(storage: SqliteStorage) -> object:
    """All that can be read of it."""
    keys = storage.keys(None, 9)
    counted = storage.statistics
    return (
        [(storage.read(each), storage.value(each)) for each in keys],
        (storage.due(9, 9), storage.renewable(9, 9), storage.evictable(9), storage.note("uptime")),
        (counted.keys, counted.values, counted.bytes),
        [storage.held(b"p" + bytes([number]) * 32) for number in range(5)],
    )


def refuse(file: JournalFile) -> None:
    raise StorageError("it cannot be emptied")


async def test_a_start_replays_the_same_state_whatever_was_done_of_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the tables had it, between the tables and the emptying, and after."""
    storage = await filled(tmp_path / "data")
    expected = kept(storage)
    before = left_by_a_kill(tmp_path / "data", tmp_path / "before")
    with monkeypatch.context() as patched:
        patched.setattr(JournalFile, "empty", refuse)
        storage.absorb()
    assert "cannot be emptied" in storage.failing
    assert in_the_journal(tmp_path / "data")
    between = left_by_a_kill(tmp_path / "data", tmp_path / "between")
    storage.close()
    assert not in_the_journal(tmp_path / "data")
    after = left_by_a_kill(tmp_path / "data", tmp_path / "after")
    for left in (before, between, after):
        for _ in range(2):
            again = open_sqlite(left, sync="os", max_bytes=MIB)
            assert kept(again) == expected
            assert (again.failing, in_the_journal(left), again.statistics.journalled) == ("", 0, 0)
            again.close()


async def test_a_kill_at_every_byte_leaves_a_state_that_was(tmp_path: Path) -> None:
    storage = await filled(tmp_path / "data")
    storage.close()
    # The states after each entry, from replaying so many.
    storage = await filled(tmp_path / "again")
    left = left_by_a_kill(tmp_path / "again", tmp_path / "left")
    storage.close()
    file = growing(left)
    data = file.read_bytes()
    ends, states = [0], []
    for entry in contents_of(data).entries:
        ends.append(ends[-1] + len(frame(entry.sequence, entry.body)))
    for number, cut in enumerate([*ends, *range(0, len(data), 7)]):
        copy = left_by_a_kill(left, tmp_path / f"copy-{number}")
        os.truncate(copy / file.name, cut)
        again = open_sqlite(copy, sync="os", max_bytes=MIB)
        states.append(kept(again))
        assert again.failing == ""
        complete = sum(end <= cut for end in ends) - 1
        assert states[-1] == states[complete]
        again.close()
    assert len({str(each) for each in states}) == len(ends)


async def test_a_damaged_journal_is_said_until_the_next_start_and_what_is_readable_is_taken(tmp_path: Path) -> None:
    storage = open_sqlite(tmp_path / "data", sync="os", max_bytes=MIB)
    for number in range(3):
        write(storage, state(number, 5), NEVER, value=b"hello")
    await commit(storage)
    left = left_by_a_kill(tmp_path / "data", tmp_path / "left")
    storage.close()
    file = growing(left)
    damaged = bytearray(file.read_bytes())
    damaged[100] ^= 1
    file.write_bytes(damaged)
    told: list[str] = []
    for failing in (True, False):
        again = open_sqlite(left, sync="os", max_bytes=MIB, on_failing=told.append)
        assert again.keys(None, 9) == [key(1), key(2)]
        assert bool(again.failing) is failing
        outcomes = Outcomes()
        write(again, state(1), NEVER, done=outcomes)
        await commit(again)
        assert outcomes.heard == [again.durability]
        assert bool(again.failing) is failing, "no later success brings back what is lost"
        again.close()
    copy = left / f"{file.name}.damaged-1"
    assert copy.read_bytes() == damaged
    assert copy.stat().st_mode & 0o777 == 0o600
    (said,) = told
    assert "the journal was damaged" in said
    assert str(copy) in said


async def test_a_kept_value_whose_own_entry_is_lost_takes_nothing_else_with_it(tmp_path: Path) -> None:
    storage = open_sqlite(tmp_path / "data", sync="os", max_bytes=MIB)
    write(storage, state(1, 5), NEVER, value=b"hello")
    write(storage, state(1, 5, lease(1, seq=3)), NEVER)
    write(storage, state(2, 5), NEVER, value=b"hello")
    await commit(storage)
    left = left_by_a_kill(tmp_path / "data", tmp_path / "left")
    storage.close()
    file = growing(left)
    damaged = bytearray(file.read_bytes())
    damaged[100] ^= 1
    file.write_bytes(damaged)
    again = open_sqlite(left, sync="os", max_bytes=MIB)
    assert again.keys(None, 9) == [key(2)]
    again.close()


async def test_a_start_that_cannot_write_the_tables_reads_and_takes_what_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = await filled(tmp_path / "data")
    expected = kept(storage)
    left = left_by_a_kill(tmp_path / "data", tmp_path / "left")
    storage.close()

    def full(database: Database, batch: object) -> None:
        raise DiskFull("no room")

    commit_batch = Database.commit
    monkeypatch.setattr(Database, "commit", full)
    again = open_sqlite(left, sync="os", max_bytes=MIB)
    assert "no room" in again.failing
    assert kept(again) == expected
    monkeypatch.setattr(Database, "commit", commit_batch)
    again.close()
    again = open_sqlite(left, sync="os", max_bytes=MIB)
    assert (kept(again), again.failing) == (expected, "")
    again.close()


@pytest.mark.real_time
async def test_while_the_disk_is_slow_the_event_loop_does_not_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_parts(tmp_path)
    storage = opened.storage
    outcomes = Outcomes()
    threads: list[bool] = []
    append = opened.journal.append

    def watched(bodies: Sequence[bytes], sync: SyncMode) -> None:
        try:
            trio.from_thread.check_cancelled()
            threads.append(True)
        except RuntimeError:
            threads.append(False)
        append(bodies, sync)
        # The first two are slow.
        opened.journal.is_slow = len(threads) < 3

    monkeypatch.setattr(opened.journal, "append", watched)
    async with writer_of(storage):
        for number in range(4):
            write(storage, state(number), NEVER, done=outcomes)
            await outcomes.until(number + 1)
            await wait_all_tasks_blocked()
    assert threads == [False, True, True, False]
    storage.close()


@pytest.mark.real_time
async def test_while_a_thread_waits_for_the_disk_the_event_loop_does_not_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system may hold up a write until what is flushed is on the disk."""
    opened = open_parts(tmp_path)
    storage = opened.storage
    outcomes = Outcomes()
    may_end = threading.Event()
    works = opened.database.commit
    loop, pwrite = threading.get_ident(), os.pwrite
    on_loop: list[bool] = []

    def commit_slowly(batch: Batch) -> None:
        assert may_end.wait(10)
        works(batch)

    def watched(descriptor: int, data: bytes, offset: int) -> int:
        on_loop.append(threading.get_ident() == loop)
        return pwrite(descriptor, data, offset)

    monkeypatch.setattr(opened.database, "commit", commit_slowly)
    monkeypatch.setattr(os, "pwrite", watched)
    async with writer_of(storage):
        write(storage, state(1), NEVER, done=outcomes)
        await outcomes.until(1)
        storage.save_contacts([])
        await wait_all_tasks_blocked()
        write(storage, state(2), NEVER, done=outcomes)
        await outcomes.until(2)
        may_end.set()
        await until(lambda: storage.statistics.journalled == 1)
        write(storage, state(3), NEVER, done=outcomes)
        await outcomes.until(3)
    assert on_loop == [True, False, True]
    storage.close()
