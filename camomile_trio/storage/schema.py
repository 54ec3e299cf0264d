"""The tables, and how a file becomes an open database or a clear error.

Rules of this file: SQL and pragmas; it knows no keys and no groups. Nothing is ever deleted or repaired here: a damaged
file is set aside (damage.py), and a file of another version or of another program is refused before SQLite opens it,
since SQLite would write to it and to its log.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Literal

from camomile_trio.errors import DiskFull, StorageDamaged, StorageError, StorageUnknown

# How far a write goes before it is acknowledged: to the operating system, or to the disk.
SyncMode = Literal["os", "full"]

DATABASE_FILE = "camomile.db"
# In the header of the file.
APPLICATION_ID = 0x43616D6F  # "Camo"
VERSION = 3  # none before was released; 1 has contacts without public keys, 2 other accounts
# "CaMo": the id of databases that were made before the first release, in three versions.
ID_BEFORE_RELEASES = 0x43614D6F
_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100

# The keys' rows are small and move often, values may be large and never change, so each has a table; but a value up to
# this is cheaper to write again with its row than to keep apart, and the row of a key with one publisher then still
# fits into its page (488 bytes do). Without a rowid there is one page to change, not two. It belongs to the version.
INLINE_BYTES = 256
# Half of SQLite's usual page halves what a commit writes into the log; the indexes hold the key, so that a list needs
# no other page.
_PAGE_BYTES = 2048
_TABLES = (
    """CREATE TABLE keys (
        key BLOB PRIMARY KEY NOT NULL,
        size INTEGER,                     -- of the value, NULL without one
        registers BLOB NOT NULL,          -- packed, see rows.py
        classic_until INTEGER NOT NULL,   -- times in ms, 0 for never
        published INTEGER NOT NULL,
        due INTEGER NOT NULL,
        renew INTEGER NOT NULL,
        evictable INTEGER NOT NULL,
        brought_by BLOB NOT NULL,         -- 10 bytes for each register, or none at all, see rows.py
        value BLOB                        -- a short one; a longer one is in contents
    ) WITHOUT ROWID""",
    "CREATE INDEX keys_due ON keys (due, key) WHERE due > 0",
    "CREATE INDEX keys_renew ON keys (renew, key) WHERE renew > 0",
    "CREATE INDEX keys_evictable ON keys (due = 0, due, key) WHERE evictable = 1",
    "CREATE TABLE contents (key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL)",
    "CREATE TABLE counters (id INTEGER PRIMARY KEY CHECK (id = 1), keys INTEGER, stored_values INTEGER, bytes INTEGER)",
    "INSERT INTO counters VALUES (1, 0, 0, 0)",
    # The names are those of accounts.py.
    "CREATE TABLE accounts (account BLOB PRIMARY KEY NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE INDEX accounts_largest ON accounts (substr(account, 1, 1), bytes)",
    """CREATE TABLE contacts (
        position INTEGER PRIMARY KEY,
        public BLOB NOT NULL,             -- key of the node
        endpoint BLOB NOT NULL
    )""",
    "CREATE TABLE notes (name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
)
# One row of each is read when the file is opened: damage that shows there is better heard of at the start.
_SAMPLED = ("keys", "contents", "contacts", "notes")

# In WAL mode nobody waits for a reader and there is one writer; only a foreign program can be in the way so long.
_BUSY_SECONDS = 1.0
# A log that grew beyond this is cut back when it starts over.
_LOG_BYTES = 64 * 2**20
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
# The second is what SQLite says when the index of its log cannot grow.
_NO_ROOM = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}


def translated(error: sqlite3.Error, path: Path) -> StorageError:
    """What SQLite says, as an error of ours."""
    code = getattr(error, "sqlite_errorcode", 0)
    if code & 0xFF in _DAMAGE:
        return damaged(path, str(error))
    if code in _NO_ROOM:
        return DiskFull(f"the disk of the database {path} is full: {error}")
    return StorageError(
        f"the database {path} failed: {error}", remedy="look for a full or failing disk, and for its permissions"
    )


def damaged(path: Path, what: str) -> StorageDamaged:
    return StorageDamaged(
        f"the database {path} is damaged: {what}",
        remedy="start the node again: it sets the file aside and refills from its neighbours",
    )


def open_database(path: Path) -> sqlite3.Connection:
    """A connection that may write, to a file that was checked, or made when it was missing or empty.

    StorageDamaged for a file that is damaged, StorageUnknown for one that is not Camomile's or of a version that is not
    known here; StorageError for other trouble.
    """
    try:
        _refuse_other_kinds(path)
        # So that the file, and those that SQLite makes beside it, are nobody else's whatever the umask is.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StorageError(
            f"the database {path} cannot be opened: {error.strerror}", remedy="look at its permissions"
        ) from error
    connection = connect(path)
    try:
        pragma(connection, f"page_size = {_PAGE_BYTES}")
        if (mode := pragma(connection, "journal_mode = WAL")) != "wal":
            raise StorageError(
                f"the file system of {path} knows no write-ahead log (journal mode {mode})",
                remedy="give a --data-dir on a local disk",
            )
        # A commit waits for the disk: the journal is emptied after it.
        pragma(connection, "synchronous = FULL")
        pragma(connection, f"journal_size_limit = {_LOG_BYTES}")
        if not pragma(connection, "application_id"):
            _create(connection)
        for table in _SAMPLED:
            connection.execute(f"SELECT * FROM {table} LIMIT 1").fetchall()  # noqa: S608 (the names above)
    except sqlite3.Error as error:
        connection.close()
        raise translated(error, path) from error
    except StorageError:
        connection.close()
        raise
    return connection


def connect(path: Path) -> sqlite3.Connection:
    """One more connection to the file, without transactions of Python's own; used by one thread at a time.

    The first of them locks the file for this process; among its connections locks cost no calls of the system, and the
    log's index is in memory, not in a file.
    """
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?vfs=unix-excl",
            uri=True,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
    except sqlite3.Error as error:
        raise translated(error, path) from error
    return connection


def pragma(connection: sqlite3.Connection, text: str) -> object:
    """Sets or asks one setting; the first column of the answer, None without one."""
    row = connection.execute(f"PRAGMA {text}").fetchone()
    return row[0] if row else None


def _refuse_other_kinds(path: Path) -> None:
    """StorageUnknown for another program's database or another version; reads the file and its log, and writes nothing.

    A file that is missing, empty, or no database at all passes: SQLite makes the first two and names the third.
    """
    header = _header(path)
    if not header.startswith(_MAGIC):
        return
    schema_changes, version, application = (_number(header, at) for at in (40, 60, 68))
    if application == ID_BEFORE_RELEASES or (application == APPLICATION_ID and version != VERSION):
        made = " made before the first release" if application == ID_BEFORE_RELEASES else ""
        raise StorageUnknown(
            f"the database {path} is of version {version}{made}, and this Camomile reads version {VERSION} only",
            remedy="export its records with the Camomile that made it and import them into a new --data-dir, "
            f"or move {path.name} (and {path.name}-wal) away: the node then refills from its neighbours",
        )
    if application != APPLICATION_ID and (application or version or schema_changes):
        raise StorageUnknown(
            f"the file {path} is not a database of Camomile's",
            remedy=f"give another --data-dir, or move {path.name} away",
        )


def _header(path: Path) -> bytes:
    """The file's header; from its log if the tables were made there and are not in the file yet. Empty without a file.

    What says which kind of file it is never changes after the tables are made, so the log's first copy is as good as
    its last.
    """
    header = b""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
        if not header.startswith(_MAGIC) or _number(header, 68):
            return header
        with Path(f"{path}-wal").open("rb") as log:
            # The log's own header has the page size; the header of each page, 24 bytes, begins with its number.
            frame_bytes = 24 + _number(log.read(32), 8)
            while len(frame := log.read(frame_bytes)) > 24:
                if _number(frame, 0) == 1:
                    return frame[24:]
    except FileNotFoundError:
        pass
    return header


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")


def _create(connection: sqlite3.Connection) -> None:
    """All in one transaction: a process that is killed here leaves an empty database."""
    connection.execute("BEGIN IMMEDIATE")
    for statement in _TABLES:
        connection.execute(statement)
    connection.execute("COMMIT")
