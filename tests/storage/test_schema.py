"""What kind of file the database is: made here in this version, or refused in words and left as it is."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from camomile_trio.errors import StorageUnknown
from camomile_trio.storage.base import Timetable
from camomile_trio.storage.journal import JOURNAL_FILES
from camomile_trio.storage.schema import APPLICATION_ID, DATABASE_FILE, ID_BEFORE_RELEASES, VERSION
from camomile_trio.storage.sqlite import open_sqlite
from tests.storage.kept import MIB, key, state


def made_by_others(directory: Path, application: int, version: int, *, is_killed: bool) -> None:
    """A database with these numbers in its header. Of a killed process: all is in the log, nothing in the file."""
    file = directory.with_name("origin") / DATABASE_FILE
    file.parent.mkdir()
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE keys (key BLOB PRIMARY KEY NOT NULL, size INTEGER)")
        connection.execute(f"PRAGMA application_id = {application}")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("COMMIT")
        connection.execute("INSERT INTO keys VALUES (x'01', 5)")
        if is_killed:
            shutil.copytree(file.parent, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*-shm"))
            assert b"CREATE TABLE" not in (directory / DATABASE_FILE).read_bytes()
    if not is_killed:
        shutil.copy(file, directory)


def contents(directory: Path) -> dict[str, bytes]:
    """Every file but the lock, which the process that has the directory writes its number to."""
    return {each.name: each.read_bytes() for each in directory.iterdir() if each.name != "lock"}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    made.mkdir()
    (made / "node.key").write_bytes(b"a key")
    return made


def refused(directory: Path) -> StorageUnknown:
    before = contents(directory)
    with pytest.raises(StorageUnknown) as caught:
        open_sqlite(directory, sync="os", max_bytes=MIB, on_set_aside=lambda *words: None)
    assert contents(directory) == before
    assert str(directory / DATABASE_FILE) in str(caught.value)
    return caught.value


@pytest.mark.parametrize("is_killed", [False, True], ids=["stopped", "killed"])
@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_database_from_before_the_first_release_is_refused_and_left_as_it_is(
    directory: Path, version: int, is_killed: bool
) -> None:
    made_by_others(directory, ID_BEFORE_RELEASES, version, is_killed=is_killed)
    error = refused(directory)
    assert f"of version {version} made before the first release, and this Camomile reads version {VERSION} only" in str(
        error
    )
    assert "export its records" in error.remedy
    assert "move camomile.db (and camomile.db-wal) away" in error.remedy


@pytest.mark.parametrize("is_killed", [False, True], ids=["stopped", "killed"])
@pytest.mark.parametrize("version", [0, VERSION - 1, VERSION + 1])
def test_a_database_of_another_version_is_refused_and_left_as_it_is(
    directory: Path, version: int, is_killed: bool
) -> None:
    made_by_others(directory, APPLICATION_ID, version, is_killed=is_killed)
    error = refused(directory)
    assert f"is of version {version}, and this Camomile reads version {VERSION} only" in str(error)
    assert "export its records" in error.remedy


@pytest.mark.parametrize("is_killed", [False, True], ids=["stopped", "killed"])
@pytest.mark.parametrize(("application", "version"), [(0, 0), (0, VERSION), (0x1234, 0), (0x1234, VERSION)])
def test_a_database_of_another_program_is_refused_and_left_as_it_is(
    directory: Path, application: int, version: int, is_killed: bool
) -> None:
    made_by_others(directory, application, version, is_killed=is_killed)
    error = refused(directory)
    assert "is not a database of Camomile's" in str(error)
    assert "give another --data-dir" in error.remedy


def test_the_rest_of_the_directory_serves_a_new_database(directory: Path) -> None:
    """The remedy, taken: the old file is moved away with its log, and what is beside them stays."""
    made_by_others(directory, ID_BEFORE_RELEASES, 3, is_killed=True)
    refused(directory)
    for each in directory.glob(f"{DATABASE_FILE}*"):
        each.rename(directory.with_name(each.name))
    storage = open_sqlite(directory, sync="os", max_bytes=MIB)
    storage.write(None, state(1, 5), Timetable(), value=b"hello")
    storage.close()
    assert contents(directory).keys() == {DATABASE_FILE, "node.key", *JOURNAL_FILES}


def test_the_database_of_a_node_that_was_killed_early_is_opened_from_its_log(directory: Path) -> None:
    origin = directory.with_name("origin")
    storage = open_sqlite(origin, sync="os", max_bytes=MIB)
    for part in ("", "-wal"):
        shutil.copy(origin / f"{DATABASE_FILE}{part}", directory)
    storage.close()
    assert (directory / DATABASE_FILE).read_bytes()[68:72] == bytes(4)
    storage = open_sqlite(directory, sync="os", max_bytes=MIB)
    assert storage.read(key(1)) is None
    storage.close()


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    open_sqlite(tmp_path, sync="os", max_bytes=MIB).close()
    header = (tmp_path / DATABASE_FILE).read_bytes()[:100]
    assert int.from_bytes(header[60:64], "big") == VERSION
    assert int.from_bytes(header[68:72], "big") == APPLICATION_ID
