"""A disk that is full, read-only or broken: writes are refused, reads go on, and it gets well by itself.

The disks are real: small file systems in memory, which these tests mount and unmount. Without the right to mount they
are skipped; the simulated disk goes through the same in test_simulated.py.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from camomile_trio.errors import DiskFull, StorageDamaged, StorageError, StorageMoved
from camomile_trio.kademlia.messages import Durability
from camomile_trio.storage import sqlite
from camomile_trio.storage.base import Timetable
from camomile_trio.storage.damage import is_marked
from camomile_trio.storage.health import MAX_FAILED_READS
from camomile_trio.storage.journal import JOURNAL_FILES
from camomile_trio.storage.overlay import Batch
from camomile_trio.storage.schema import SyncMode
from camomile_trio.storage.sqlite import LARGE, SqliteStorage, open_sqlite
from tests.storage.kept import (
    MIB,
    Opened,
    Outcomes,
    absorb,
    commit,
    in_the_journal,
    key,
    left_by_a_kill,
    open_parts,
    state,
    until,
    write,
    writer_of,
)

pytestmark = pytest.mark.real_time

NEVER = Timetable()


def mount(*words: str) -> bool:
    try:
        done = subprocess.run(["mount", *words], capture_output=True, timeout=10, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB of its own."""
    path = tmp_path / "disk"
    path.mkdir()
    if not mount("-t", "tmpfs", "-o", "size=8m", "tmpfs", str(path)):
        pytest.skip("no file system can be mounted here")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], timeout=10, check=True)


@pytest.fixture
def opened(disk: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    monkeypatch.setattr(sqlite, "RETRY_AFTER", 0.01)
    opened = open_parts(disk / "data")
    yield opened
    opened.storage.close()


@pytest.fixture
def storage(opened: Opened) -> SqliteStorage:
    return opened.storage


async def written(storage: SqliteStorage, number: int, value: bytes) -> Durability | StorageError:
    outcomes = Outcomes()
    write(storage, state(number, len(value)), NEVER, value=value, done=outcomes)
    return (await outcomes.until(1))[0]


async def test_a_full_disk_refuses_what_is_larger_and_takes_it_again_once_there_is_room(
    storage: SqliteStorage, disk: Path
) -> None:
    async with writer_of(storage):
        assert await written(storage, 1, bytes(1000)) is Durability.SYSTEM
        (disk / "somebody-elses").write_bytes(bytes(6 * MIB + MIB // 2))
        refused = await written(storage, 2, bytes(3 * MIB))
        assert isinstance(refused, DiskFull)
        assert "full" in str(refused)
        assert refused.remedy == "make room on the disk"
        assert "make room on the disk" in storage.failing
        assert "full" in storage.failing
        assert storage.read(key(2)) is None
        assert storage.value(key(1)) == bytes(1000)
        # It does not take the little room that is left for a disk that is well.
        failures = storage.statistics.failures
        (disk / "somebody-elses").unlink()
        # Nobody writes: it finds out by itself.
        await until(lambda: not storage.failing)
        assert storage.statistics.failures == failures
        assert await written(storage, 2, bytes(3 * MIB)) is Durability.SYSTEM


async def test_a_small_write_that_fits_does_not_make_a_full_disk_well_and_both_changes_are_told_once(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "RETRY_AFTER", 0.01)
    told: list[str] = []
    opened = open_parts(disk / "data", on_failing=told.append)
    storage = opened.storage
    tries = 0
    try_to_write = opened.directory.try_to_write

    def counted(size: int) -> None:
        nonlocal tries
        tries += 1
        try_to_write(size)

    monkeypatch.setattr(opened.directory, "try_to_write", counted)
    async with writer_of(storage):
        # There is room for a MiB, and not for a value of three.
        (disk / "somebody-elses").write_bytes(bytes(5 * MIB + MIB // 2))
        for number in range(3):
            assert isinstance(await written(storage, 1, bytes(3 * MIB)), DiskFull)
            assert await written(storage, 10 + number, b"small") is Durability.SYSTEM
            assert "full" in storage.failing
        before = tries
        await until(lambda: tries > before + 2)
        assert "full" in storage.failing
        assert told == [storage.failing]
        (disk / "somebody-elses").unlink()
        await until(lambda: not storage.failing)
        assert await written(storage, 1, bytes(3 * MIB)) is Durability.SYSTEM
    assert told[1:] == [""]
    storage.close()


async def test_a_commit_as_large_as_the_one_that_failed_makes_it_well_at_once(
    storage: SqliteStorage, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with writer_of(storage):
        monkeypatch.setattr(sqlite, "RETRY_AFTER", 1000.0)
        (disk / "somebody-elses").write_bytes(bytes(6 * MIB))
        assert isinstance(await written(storage, 1, bytes(3 * MIB)), DiskFull)
        (disk / "somebody-elses").unlink()
        assert await written(storage, 1, bytes(3 * MIB)) is Durability.SYSTEM
        assert storage.failing == ""


def test_a_disk_that_is_full_from_the_start_is_a_clear_error(disk: Path) -> None:
    (disk / "data").mkdir()
    with pytest.raises(OSError, match="No space left"):
        (disk / "somebody-elses").write_bytes(bytes(9 * MIB))
    with pytest.raises(DiskFull, match="is full") as refused:
        open_sqlite(disk / "data", sync="os", max_bytes=MIB)
    assert refused.value.remedy == "make room on the disk"


def deleted(data: Path) -> None:
    while data.exists():
        # A thread that reads may make a file of SQLite meanwhile.
        shutil.rmtree(data, ignore_errors=True)


def renamed(data: Path) -> None:
    data.rename(data.with_name("elsewhere"))


def replaced(data: Path) -> None:
    """By another directory with another node's database."""
    renamed(data)
    open_sqlite(data, sync="os", max_bytes=MIB).close()


def restored_over(data: Path) -> None:
    """The database alone, by a copy of itself: the same bytes are another file."""
    shutil.copy(data / "camomile.db", data / "copy")
    (data / "copy").replace(data / "camomile.db")


def without_its_log(data: Path) -> None:
    (data / "camomile.db-wal").unlink()


def with_another_log(data: Path) -> None:
    without_its_log(data)
    (data / "camomile.db-wal").write_bytes(b"")


def without_its_journal(data: Path) -> None:
    for name in JOURNAL_FILES:
        (data / name).unlink()


def with_another_journal(data: Path) -> None:
    without_its_journal(data)
    for name in JOURNAL_FILES:
        (data / name).write_bytes(b"")


BEFALLS = [
    deleted,
    renamed,
    replaced,
    restored_over,
    without_its_log,
    with_another_log,
    without_its_journal,
    with_another_journal,
]


@pytest.mark.parametrize("sync", ["os", "full"])
@pytest.mark.parametrize("befall", BEFALLS)
async def test_what_is_committed_where_no_start_looks_for_it_is_not_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, befall: Callable[[Path], None], sync: SyncMode
) -> None:
    monkeypatch.setattr(sqlite, "RETRY_AFTER", 0.01)
    told: list[str] = []
    storage = open_sqlite(tmp_path / "data", sync=sync, max_bytes=MIB, on_failing=told.append)
    async with writer_of(storage):
        assert await written(storage, 1, b"there") is storage.confirm() is storage.durability
        befall(tmp_path / "data")
        for number in (2, 3):
            refused = await written(storage, number, b"gone")
            assert isinstance(refused, StorageMoved)
            assert "was deleted, moved or replaced" in str(refused)
        with pytest.raises(StorageMoved):
            storage.confirm()
        assert "start the node again" in storage.failing
        assert told == [storage.failing]
        assert storage.value(key(1)) == b"there"
        assert storage.read(key(3)) is None
        assert storage.statistics.pending == 0
    storage.close()


@pytest.mark.parametrize("befall", BEFALLS)
def test_a_directory_in_which_nothing_has_changed_for_long_is_looked_at_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, befall: Callable[[Path], None]
) -> None:
    data = tmp_path / "data"
    storage = open_sqlite(data, sync="os", max_bytes=MIB)
    os.utime(data, (1, 1))
    storage.confirm()
    looks: list[str] = []
    stat = os.stat

    def noted(path: str | Path) -> os.stat_result:
        looks.append(str(path))
        return stat(path)

    monkeypatch.setattr(os, "stat", noted)
    storage.confirm()
    assert looks == [str(data)], "one look is enough"
    monkeypatch.undo()
    befall(data)
    with pytest.raises(StorageMoved):
        storage.confirm()
    storage.close()


def test_a_change_in_the_tick_of_the_last_one_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = open_sqlite(tmp_path, sync="os", max_bytes=MIB)
    tick = 1_700_000_000_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: tick + 1_000_000)
    os.utime(tmp_path, ns=(tick, tick))
    storage.confirm()
    without_its_log(tmp_path)
    os.utime(tmp_path, ns=(tick, tick))
    with pytest.raises(StorageMoved):
        storage.confirm()
    storage.close()


async def test_what_moves_while_it_is_absorbed_stays_in_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_parts(tmp_path / "data")
    storage, works = opened.storage, opened.database.commit

    def commit_and_move(batch: Batch) -> None:
        works(batch)
        renamed(tmp_path / "data")

    monkeypatch.setattr(opened.database, "commit", commit_and_move)
    async with writer_of(storage):
        assert await written(storage, 1, b"there") is Durability.SYSTEM
        assert isinstance(await written(storage, 2, bytes(2 * LARGE)), StorageMoved)
    storage.close()
    assert in_the_journal(tmp_path / "elsewhere")


async def test_a_directory_that_comes_back_is_taken_up_by_a_start_and_not_before(tmp_path: Path) -> None:
    storage = open_sqlite(tmp_path / "data", sync="os", max_bytes=4 * LARGE)
    async with writer_of(storage):
        assert await written(storage, 1, b"there") is Durability.SYSTEM
        renamed(tmp_path / "data")
        with pytest.raises(StorageMoved):
            storage.confirm()
        (tmp_path / "elsewhere").rename(tmp_path / "data")
        for value in (b"refused", bytes(2 * LARGE)):
            assert isinstance(await written(storage, 2, value), StorageMoved)
    storage.close()
    storage = open_sqlite(tmp_path / "data", sync="os", max_bytes=MIB)
    async with writer_of(storage):
        assert storage.value(key(1)) == b"there"
        assert storage.read(key(2)) is None
        assert await written(storage, 2, b"taken") is Durability.SYSTEM
    storage.close()


async def test_the_database_that_took_the_place_of_this_one_stays_as_it_is(tmp_path: Path) -> None:
    storage = open_sqlite(tmp_path / "data", sync="os", max_bytes=MIB)
    async with writer_of(storage):
        await written(storage, 1, b"mine")
        renamed(tmp_path / "data")
        other = open_sqlite(tmp_path / "data", sync="os", max_bytes=MIB)
        async with writer_of(other):
            await written(other, 2, b"another's")
            assert isinstance(await written(storage, 3, b"mine too"), StorageMoved)
    storage.close()
    # In the other's log, which a closing SQLite removes where it is the last one of its file.
    assert (tmp_path / "data" / "camomile.db-wal").stat().st_size > 0
    async with writer_of(other):
        assert await written(other, 4, b"another's too") is Durability.SYSTEM
    other.close()
    again = open_sqlite(tmp_path / "data", sync="os", max_bytes=MIB)
    assert again.keys(None, 10) == [key(2), key(4)]
    again.close()


def test_damage_that_shows_after_the_directory_was_replaced_is_not_that_of_its_successor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_parts(tmp_path / "data", max_bytes=MIB)
    storage = opened.storage
    replaced(tmp_path / "data")

    def read(wanted: bytes) -> object:
        raise StorageDamaged("a page makes no sense")

    monkeypatch.setattr(opened.database, "read", read)
    with pytest.raises(StorageDamaged):
        storage.read(key(1))
    assert not is_marked(tmp_path / "data")
    storage.close()


async def test_a_disk_that_has_room_for_little_only_is_not_well(opened: Opened, disk: Path) -> None:
    storage = opened.storage
    async with writer_of(storage):
        (disk / "somebody-elses").write_bytes(bytes(7 * MIB))
        assert isinstance(await written(storage, 2, bytes(3 * MIB)), StorageError)
        with pytest.raises(StorageError, match="No space left"):
            opened.directory.try_to_write(sqlite.ROOM)
        assert not (disk / "data" / "scratch").exists()
        assert storage.failing


def read_only(descriptor: int, data: bytes, offset: int) -> int:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


async def test_a_disk_that_became_read_only_is_read_and_written_again_when_it_may_be(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = opened.storage
    async with writer_of(storage):
        await written(storage, 1, b"there")
        # The kernel does not turn a file system read-only while a file of it is open for writing, so the system and
        # SQLite are told to say what they would say then.
        database, pwrite = opened.writer, os.pwrite
        database.execute("PRAGMA query_only = ON")
        monkeypatch.setattr(os, "pwrite", read_only)
        refused = await written(storage, 2, b"refused")
        assert isinstance(refused, StorageError)
        assert "Read-only file system" in str(refused)
        assert "Read-only file system" in storage.failing
        # The journal is not tried again, and its entries do not get into the tables either.
        monkeypatch.setattr(os, "pwrite", pwrite)
        assert "readonly" in str(await written(storage, 2, b"refused"))
        assert storage.read(key(2)) is None
        assert storage.value(key(1)) == b"there"
        database.execute("PRAGMA query_only = OFF")
        await until(lambda: not storage.failing)
        assert await written(storage, 2, b"taken") is Durability.SYSTEM


def test_a_disk_that_is_read_only_from_the_start_is_a_clear_error(disk: Path) -> None:
    (disk / "data").mkdir()
    assert mount("-o", "remount,ro", str(disk))
    with pytest.raises(StorageError, match="Read-only file system") as refused:
        open_sqlite(disk / "data", sync="os", max_bytes=MIB)
    assert "--data-dir" in refused.value.remedy


async def test_a_read_that_fails_is_said_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "RETRY_AFTER", 0.01)
    opened = open_parts(tmp_path, max_bytes=MIB)
    storage = opened.storage
    write(storage, state(1, 5), NEVER, value=b"there")
    write(storage, state(2, 5), NEVER, value=b"other")
    await absorb(storage)
    works = opened.database.read
    is_broken = True

    def read(wanted: bytes) -> object:
        if is_broken and wanted == key(1):
            raise StorageError("disk I/O error")
        return works(wanted)  # type: ignore[arg-type]

    monkeypatch.setattr(opened.database, "read", read)
    async with writer_of(storage):
        with pytest.raises(StorageError, match="I/O"):
            storage.read(key(1))
        # That others can be read says nothing about this one.
        assert storage.read(key(2)) == state(2, 5)
        assert "I/O" in storage.failing
        is_broken = False
        await until(lambda: not storage.failing)
        assert storage.read(key(1)) == state(1, 5)
    storage.close()


async def test_a_disk_that_cannot_be_read_when_there_is_room_again_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "RETRY_AFTER", 0.01)
    opened = open_parts(tmp_path, max_bytes=MIB)
    storage = opened.storage
    append, reads = opened.journal.append, opened.database.note
    tries = 0

    def fail(bodies: Sequence[bytes], sync: SyncMode) -> None:
        raise StorageError("disk I/O error")

    def read(name: str) -> int:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise StorageError("disk I/O error")
        return reads(name)

    monkeypatch.setattr(opened.journal, "append", fail)
    monkeypatch.setattr(opened.database, "note", read)
    async with writer_of(storage):
        write(storage, state(1, 5), NEVER, value=b"there")
        await until(lambda: storage.failing)
        monkeypatch.setattr(opened.journal, "append", append)
        await until(lambda: not storage.failing)
    storage.close()


async def test_of_several_reads_that_fail_all_have_to_work_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "RETRY_AFTER", 0.01)
    opened = open_parts(tmp_path, max_bytes=MIB)
    storage = opened.storage
    works = opened.database.read
    broken = {key(number) for number in range(2 * MAX_FAILED_READS)}

    def read(wanted: bytes) -> object:
        if wanted in broken:
            raise StorageError("disk I/O error")
        return works(wanted)  # type: ignore[arg-type]

    monkeypatch.setattr(opened.database, "read", read)
    async with writer_of(storage):
        for wanted in sorted(broken):
            with pytest.raises(StorageError, match="I/O"):
                storage.read(wanted)
        failures = storage.statistics.failures
        # The last that failed works again, and the first does not.
        broken -= {key(number) for number in range(1, 2 * MAX_FAILED_READS)}
        await until(lambda: storage.statistics.failures > failures + MAX_FAILED_READS)
        assert "I/O" in storage.failing
        broken.clear()
        await until(lambda: not storage.failing)
    storage.close()


@pytest.mark.parametrize("sync", ["os", "full"])
async def test_what_a_killed_process_left_in_the_journal_is_on_the_disk_when_the_next_start_ends(
    tmp_path: Path, sync: SyncMode
) -> None:
    killed = open_sqlite(tmp_path / "killed", sync=sync, max_bytes=MIB)
    write(killed, state(1, 5), NEVER, value=b"there")
    await commit(killed)
    left = left_by_a_kill(tmp_path / "killed", tmp_path / "left")
    killed.close()
    opened = open_parts(left, sync, max_bytes=MIB)
    assert opened.database.value(key(1)) == b"there"
    assert opened.journal.size == 0
    opened.storage.close()
