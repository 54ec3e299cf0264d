"""What the tests of storages keep: numbered keys, their values and states, and a listener for the outcome.

Rules of this file: builders and one listener, no assertions.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from unittest import mock

import attrs
import trio

from camomile_trio.errors import StorageError
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import Durability
from camomile_trio.kademlia.records import RENEWABLE, Kind, PublisherKey, Record
from camomile_trio.kademlia.registers import KeyState, Register
from camomile_trio.storage import database as database_module
from camomile_trio.storage.base import Storage
from camomile_trio.storage.data_directory import DataDirectory
from camomile_trio.storage.database import Database
from camomile_trio.storage.health import OnFailing, nobody_listens
from camomile_trio.storage.schema import DATABASE_FILE, SyncMode, connect, open_database
from camomile_trio.storage.sqlite import SqliteStorage

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
    """A storage in SQLite and its parts, for tests that break one of them or look at what SQLite does."""

    storage: SqliteStorage
    directory: DataDirectory
    database: Database
    writer: sqlite3.Connection
    reader: sqlite3.Connection
    checkpointer: sqlite3.Connection


def open_parts(
    directory: Path, sync: SyncMode = "os", *, max_bytes: int = 100 * MIB, on_failing: OnFailing = nobody_listens
) -> Opened:
    """As `open_sqlite` opens it, where nothing is damaged."""
    connections: list[sqlite3.Connection] = []

    def noted(path: Path) -> sqlite3.Connection:
        connections.append(connect(path))
        return connections[-1]

    def noted_writer(path: Path, sync: SyncMode) -> sqlite3.Connection:
        connections.append(open_database(path, sync))
        return connections[-1]

    data_directory = DataDirectory.open(directory)
    with (
        mock.patch.object(database_module, "connect", noted),
        mock.patch.object(database_module, "open_database", noted_writer),
    ):
        database = Database(directory / DATABASE_FILE, sync)
    storage = SqliteStorage(database, data_directory, sync=sync, max_bytes=max_bytes, on_failing=on_failing)
    writer, reader, _, checkpointer = connections
    return Opened(storage, data_directory, database, writer, reader, checkpointer)


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
    """Runs the writer until every write that was handed over is committed."""
    async with writer_of(storage):
        await until(lambda: not storage.statistics.pending)
