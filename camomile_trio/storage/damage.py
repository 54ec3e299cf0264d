"""A database or a journal that is damaged: how it is set aside, and what is saved of it.

Rules of this file: nothing is deleted. A database is renamed with what belongs to it, so that an operator can look at
it later; only the addresses of other nodes are read out of it, because the node refills from them. Of a journal a copy
is kept, since what is readable of it goes into the tables. It is called with the directory locked and no connection
open.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from camomile_trio.errors import StorageError
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.storage.schema import DATABASE_FILE
from camomile_trio.storage.tally import MAX_CONTACTS

# A disk that damages one file after another is not worth more tries.
MOST_SET_ASIDE = 8
# Made when damage was found while the node ran, so that the next start knows.
MARK = f"{DATABASE_FILE}.is-damaged"
_PARTS = ("", "-wal", "-shm")


def mark(directory: Path) -> None:
    """Remembers for the next start that the database is damaged. A disk that takes not even that is left alone."""
    try:
        (directory / MARK).touch(0o600)
    except OSError:
        pass


def is_marked(directory: Path) -> bool:
    return (directory / MARK).exists()


def set_aside(directory: Path) -> Path:
    """Renames the database, and says how it is called now. StorageError if it cannot be, or if too many were before."""
    aside = _free_name(directory / DATABASE_FILE)
    try:
        # The log first: a file without its log is old, but a log without its file is nothing.
        for part in reversed(_PARTS):
            found = directory / f"{DATABASE_FILE}{part}"
            if found.exists():
                found.rename(f"{aside}{part}")
        (directory / MARK).unlink(missing_ok=True)
    except OSError as error:
        raise _cannot("database", directory, error) from error
    return aside


def keep_copy(journal: Path) -> Path:
    """Copies a file of the journal, and says how the copy is called. StorageError as for `set_aside`."""
    aside = _free_name(journal)
    try:
        aside.touch(0o600)
        aside.write_bytes(journal.read_bytes())
    except OSError as error:
        raise _cannot("journal", journal.parent, error) from error
    return aside


def _free_name(file: Path) -> Path:
    for number in range(1, MOST_SET_ASIDE + 1):
        aside = file.with_name(f"{file.name}.damaged-{number}")
        if not any(Path(f"{aside}{part}").exists() for part in _PARTS):
            return aside
    raise StorageError(
        f"{file.parent} holds {MOST_SET_ASIDE} damaged files {file.name} already",
        remedy=f"look at the disk, then move {file.name}.damaged-* away",
    )


def _cannot(what: str, directory: Path, error: OSError) -> StorageError:
    return StorageError(
        f"the damaged {what} in {directory} cannot be set aside: {error.strerror}",
        remedy="look for a full, failing or read-only disk",
    )


def contacts_in(aside: Path) -> list[Contact]:
    """The contacts that can still be read out of a damaged database; none if none can."""
    try:
        with closing(sqlite3.connect(f"file:{aside}?mode=ro&immutable=1", uri=True)) as connection:
            rows = connection.execute("SELECT public, endpoint FROM contacts LIMIT ?", (MAX_CONTACTS,)).fetchall()
    except sqlite3.Error:
        return []
    return [Contact.of(public, Endpoint(endpoint)) for public, endpoint in rows if _is_contact(public, endpoint)]


def _is_contact(public: object, endpoint: object) -> bool:
    """Whether the row has the form of a contact. The node that is there proves its key when it is asked."""
    is_key = isinstance(public, bytes) and len(public) == 32
    return is_key and isinstance(endpoint, bytes) and len(endpoint) in {6, 18}
