"""The open database: its reads, and how a batch of changes becomes one transaction.

Rules of this file: synchronous SQL with every error translated; it knows no event loop and no journal, but for the
number of the last entry that a batch has. There are three connections, each used by one thread at a time: reads (the
event loop), large reads (a thread), commits (a thread, which waits for the disk). None of them waits for another one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.registers import KeyState
from camomile_trio.storage.accounts import Account, Charges, Sort
from camomile_trio.storage.overlay import Batch, Moments
from camomile_trio.storage.rows import LAST_MOMENT, StateRow, key_row, state_of
from camomile_trio.storage.schema import (
    INLINE_BYTES,
    connect,
    damaged,
    open_database,
    pragma,
    translated,
)
from camomile_trio.storage.tally import Tally

# The note that has the number of the last entry of the journal that is in the tables.
_ABSORBED = "journal"
# What keeps its value says nothing of it.
_PUT_KEY = """INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET
    size = excluded.size, registers = excluded.registers, classic_until = excluded.classic_until,
    published = excluded.published, due = excluded.due, renew = excluded.renew, evictable = excluded.evictable,
    brought_by = excluded.brought_by,
    value = CASE WHEN excluded.size = size THEN coalesce(excluded.value, value) ELSE excluded.value END"""
_VALUE = "SELECT coalesce(value, (SELECT value FROM contents WHERE contents.key = keys.key)) FROM keys WHERE key = ?"
# A key and its `StateRow`.
_STATES = "SELECT key, size, registers, classic_until, published, brought_by FROM keys WHERE key IN "
_STATE = _STATES + "(?)"
_KEYS = "SELECT key FROM keys WHERE key > ? ORDER BY key LIMIT ?"
# A partial index is used only where the query repeats its condition.
_DUE = "SELECT due, key FROM keys WHERE due > 0 AND due <= ? ORDER BY due, key LIMIT ?"
_RENEWABLE = "SELECT renew, key FROM keys WHERE renew > 0 AND renew <= ? ORDER BY renew, key LIMIT ?"
# As the index on it is written.
_LARGEST = "SELECT account, bytes FROM accounts WHERE substr(account, 1, 1) = ? ORDER BY bytes DESC LIMIT ?"
_EVICTABLE = "SELECT due, key FROM keys WHERE evictable = 1 ORDER BY due = 0, due, key LIMIT ?"


class Database:
    def __init__(self, path: Path) -> None:
        """Opens the file, or makes it. StorageDamaged, StorageError."""
        self._path = path
        with ExitStack() as stack:
            self._writer = stack.enter_context(closing(open_database(path)))
            self._reader = stack.enter_context(closing(connect(path)))
            self._fetcher = stack.enter_context(closing(connect(path)))
            try:
                pragma(self._reader, "query_only = ON")
                pragma(self._fetcher, "query_only = ON")
            except sqlite3.Error as error:
                raise translated(error, path) from error
            self.tally = self._tally()
            self._connections = stack.pop_all()

    @property
    def paths(self) -> list[Path]:
        """The file and SQLite's log."""
        return [self._path, self._path.with_name(f"{self._path.name}-wal")]

    def read(self, key: Key) -> KeyState | None:
        rows = self._rows(_STATE, (key,))
        return self._state(key, rows[0][1:]) if rows else None

    def read_all(self, keys: Sequence[Key]) -> dict[Key, KeyState]:
        """Of those of which something is stored. One statement: each would take its locks anew."""
        rows = self._rows(_STATES + "(" + ", ".join("?" * len(keys)) + ")", tuple(keys))
        by_key: dict[bytes, StateRow] = {row[0]: row[1:] for row in rows}
        return {key: self._state(key, by_key[key]) for key in keys if key in by_key}

    def value(self, key: Key) -> bytes | None:
        rows = self._rows(_VALUE, (key,))
        value: bytes | None = rows[0][0] if rows else None
        return value

    def value_apart(self, key: Key) -> bytes | None:
        """As `value`, in a thread: reads of the event loop do not wait for it. One at a time."""
        rows = self._rows(_VALUE, (key,), self._fetcher)
        value: bytes | None = rows[0][0] if rows else None
        return value

    def keys(self, after: Key | None, limit: int) -> list[Key]:
        return [Key(key) for (key,) in self._rows(_KEYS, (after or b"", limit))]

    def keys_apart(self, after: Key | None, limit: int) -> list[Key]:
        """As `keys`, in the thread of `value_apart`."""
        return [Key(key) for (key,) in self._rows(_KEYS, (after or b"", limit), self._fetcher)]

    def due(self, until: int, limit: int) -> Moments:
        """Up to `limit` keys that are due at or before `until`, each after its time, earliest first."""
        return _moments(self._rows(_DUE, (min(until, LAST_MOMENT), limit)))

    def renewable(self, until: int, limit: int) -> Moments:
        return _moments(self._rows(_RENEWABLE, (min(until, LAST_MOMENT), limit)))

    def evictable(self, limit: int) -> Moments:
        """Up to `limit` evictable keys, each after the time when it is due (0: never), earliest first, never last."""
        return _moments(self._rows(_EVICTABLE, (limit,)))

    def held(self, account: Account) -> int:
        rows = self._rows("SELECT bytes FROM accounts WHERE account = ?", (account,))
        return int(rows[0][0]) if rows else 0

    def largest(self, sort: Sort, limit: int) -> Charges:
        """The accounts of this sort that hold most, up to `limit` of them."""
        return dict(self._rows(_LARGEST, (sort.value, limit)))

    def contacts(self) -> list[Contact]:
        rows = self._rows("SELECT public, endpoint FROM contacts ORDER BY position", ())
        return [Contact.of(public, Endpoint(endpoint)) for public, endpoint in rows]

    def note(self, name: str) -> int:
        rows = self._rows("SELECT number FROM notes WHERE name = ?", (name,))
        return int(rows[0][0]) if rows else 0

    def absorbed(self) -> int:
        """The number of the last entry of the journal that is here."""
        return self.note(_ABSORBED)

    def commit(self, batch: Batch) -> None:
        """Stores a batch, all of it or, with a StorageError, nothing. Waits for the disk."""
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            self._store(batch)
            self._writer.execute("COMMIT")
            self.tally = batch.tally
        except sqlite3.Error as error:
            self._roll_back()
            raise translated(error, self._path) from error

    def close(self) -> None:
        """The last connection to close empties SQLite's log into the tables. Waits for the disk. Safe to call twice."""
        self._connections.close()

    def _rows(
        self, query: str, parameters: tuple[object, ...], connection: sqlite3.Connection | None = None
    ) -> list[Any]:
        # Fetched to the end at once, because an unfinished read would hold up the checkpoints.
        try:
            return (connection or self._reader).execute(query, parameters).fetchall()
        except sqlite3.Error as error:
            raise translated(error, self._path) from error

    def _state(self, key: Key, row: StateRow) -> KeyState:
        try:
            return state_of(key, row)
        except ValueError as error:
            raise damaged(self._path, f"the row of key {key} makes no sense ({error})") from error

    def _tally(self) -> Tally:
        rows = self._rows("SELECT keys, stored_values, bytes FROM counters", ())
        if len(rows) != 1:
            raise damaged(self._path, "its counters are missing")
        return Tally(*rows[0])

    def _store(self, batch: Batch) -> None:
        kept = [write for write in batch.writes.values() if write is not None]
        gone = [(key,) for key, write in batch.writes.items() if write is None]
        without_value = gone + [(write.state.key,) for write in kept if write.state.size is None]
        self._each(_PUT_KEY, [key_row(write) for write in kept])
        self._each("DELETE FROM keys WHERE key = ?", gone)
        self._each("DELETE FROM contents WHERE key = ?", without_value)
        long = [(w.state.key, w.value) for w in kept if w.value is not None and len(w.value) > INLINE_BYTES]
        self._each("INSERT OR REPLACE INTO contents VALUES (?, ?)", long)
        if batch.contacts is not None:
            self._writer.execute("DELETE FROM contacts")
            rows = [(contact.public, contact.endpoint) for contact in batch.contacts]
            self._each("INSERT INTO contacts (public, endpoint) VALUES (?, ?)", rows)
        notes = {**batch.notes, _ABSORBED: batch.sequence}
        self._each("INSERT OR REPLACE INTO notes VALUES (?, ?)", [*notes.items()])
        self._each(
            "INSERT OR REPLACE INTO accounts VALUES (?, ?)", [each for each in batch.accounts.items() if each[1]]
        )
        self._each("DELETE FROM accounts WHERE account = ?", [(a,) for a, held in batch.accounts.items() if not held])
        tally = batch.tally
        # A renewal leaves them as they are, and one page less goes to the log.
        if tally != self.tally:
            self._writer.execute(
                "UPDATE counters SET keys = ?, stored_values = ?, bytes = ?", (tally.keys, tally.values, tally.bytes)
            )

    def _each(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        if rows:
            self._writer.executemany(statement, rows)

    def _roll_back(self) -> None:
        # SQLite has ended the transaction by itself after some errors, a full disk among them.
        try:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise translated(error, self._path) from error


def _moments(rows: Iterable[tuple[int, bytes]]) -> Moments:
    return [(moment, Key(key)) for moment, key in rows]
