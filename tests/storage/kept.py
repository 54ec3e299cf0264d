"""What the tests of storages keep: numbered keys, their values and states, and a listener for the outcome.

Rules of this file: builders and one listener, no assertions.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar
from unittest import mock

import attrs
import trio

from camomile_trio.errors import StorageError
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import Durability
from camomile_trio.kademlia.records import RENEWABLE, Kind, PublisherKey, Record
from camomile_trio.kademlia.registers import KeyState, Register
from camomile_trio.storage import database as database_module
from camomile_trio.storage import sqlite as sqlite_module
from camomile_trio.storage.accounts import weigh
from camomile_trio.storage.base import Done, Storage, Timetable
from camomile_trio.storage.data_directory import LOCK_FILE, DataDirectory
from camomile_trio.storage.database import Database
from camomile_trio.storage.health import OnFailing, nobody_listens
from camomile_trio.storage.journal import JOURNAL_FILES, Journal
from camomile_trio.storage.schema import SyncMode, connect, open_database
from camomile_trio.storage.sqlite import SqliteStorage, open_sqlite

Made = TypeVar("Made")

NOW = 1_700_000_000_000
HOUR = 3_600_000
MIB = 2**20


def key(number: int) -> Key:
    """Keys in the order of their numbers."""
    return Key(number.to_bytes(32, "big"))


def lease(number: int, publisher: int = 1, *, seq: int = NOW) -> Register:
    record = Record(
        key(number),
        Kind.LEASE,
        RENEWABLE,
        PublisherKey(bytes([publisher]) * 32),
        seq,
        NOW,
        NOW + 24 * HOUR,
        bytes([7]) * 64,
    )
    return Register(record, record.expires, had_lease=True)


def tombstone(number: int, publisher: int = 1, *, ended_at: int | None = None) -> Register:
    record = Record(
        key(number), Kind.TOMBSTONE, 0, PublisherKey(bytes([publisher]) * 32), NOW, NOW, NOW + HOUR, bytes([8]) * 64
    )
    return Register(record, record.expires + HOUR, ended_at, had_lease=False)


def state(number: int, size: int | None = None, *registers: Register) -> KeyState:
    return KeyState(key(number), size, registers or (lease(number),))


@attrs.frozen
class Opened:
    """A storage on disk and its parts, for tests that break one of them or look at what SQLite does."""

    storage: SqliteStorage
    directory: DataDirectory
    database: Database
    journal: Journal
    writer: sqlite3.Connection
    reader: sqlite3.Connection


def open_parts(
    directory: Path, sync: SyncMode = "os", *, max_bytes: int = 100 * MIB, on_failing: OnFailing = nobody_listens
) -> Opened:
    """As `open_sqlite`, where nothing is damaged."""
    directories: list[DataDirectory] = []
    databases: list[Database] = []
    journals: list[Journal] = []
    writers: list[sqlite3.Connection] = []
    readers: list[sqlite3.Connection] = []
    with (
        mock.patch.object(DataDirectory, "open", side_effect=noted(directories, DataDirectory.open)),
        mock.patch.object(sqlite_module, "Database", noted(databases, Database)),
        mock.patch.object(sqlite_module, "Journal", noted(journals, Journal)),
        mock.patch.object(database_module, "open_database", noted(writers, open_database)),
        mock.patch.object(database_module, "connect", noted(readers, connect)),
    ):
        storage = open_sqlite(directory, sync=sync, max_bytes=max_bytes, on_failing=on_failing)
    return Opened(storage, directories[0], databases[0], journals[0], writers[0], readers[0])


def noted(made: list[Made], make: Callable[[Path], Made]) -> Callable[[Path], Made]:
    def make_and_note(path: Path) -> Made:
        made.append(make(path))
        return made[-1]

    return make_and_note


def write(
    storage: Storage,
    state: KeyState,
    timetable: Timetable,
    *,
    value: bytes | None = None,
    even_if_full: bool = False,
    evictable: bool = False,
    done: Done | None = None,
) -> None:
    """In the place of what is stored."""
    before = storage.read(state.key)
    storage.write(before, state, timetable, value=value, even_if_full=even_if_full, evictable=evictable, done=done)


def cost(state: KeyState) -> int:
    """The bytes that a key counts for."""
    return weigh(state)[0]


class Outcomes:
    """What `done`s said, in the order in which they were called."""

    def __init__(self) -> None:
        self.heard: list[Durability | StorageError] = []

    def __call__(self, outcome: Durability | StorageError) -> None:
        self.heard.append(outcome)

    async def until(self, count: int) -> list[Durability | StorageError]:
        """Waits for so many."""
        await until(lambda: len(self.heard) >= count)
        return self.heard


@asynccontextmanager
async def writer_of(storage: Storage) -> AsyncIterator[None]:
    """The storage's writer runs for the length of the block."""
    async with trio.open_nursery() as nursery:
        await nursery.start(storage.run)
        yield
        nursery.cancel_scope.cancel()


async def until(is_so: Callable[[], object]) -> None:
    """Yields until it is so, at most ten seconds of real time: a thread is at work, and virtual clocks stand still."""
    end = time.monotonic() + 10
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError("ten seconds went by")
        await trio.lowlevel.checkpoint()


async def commit(storage: Storage) -> None:
    """Runs the writer until every write that was handed over is acknowledged."""
    async with writer_of(storage):
        await until(lambda: not storage.statistics.pending)


async def absorb(storage: Storage) -> None:
    """As `commit`, and brings what the journal has into the tables, where there are some."""
    await commit(storage)
    if isinstance(storage, SqliteStorage):
        storage.absorb()
        assert not storage.statistics.journalled


def in_the_journal(directory: Path) -> int:
    """The bytes in it."""
    return sum((directory / name).stat().st_size for name in JOURNAL_FILES)


def left_by_a_kill(directory: Path, copy: Path) -> Path:
    """A copy of the files at this moment is what a kill leaves."""
    copy.mkdir()
    for file in directory.iterdir():
        if file.is_file() and file.name != LOCK_FILE:
            (copy / file.name).write_bytes(file.read_bytes())
    return copy
