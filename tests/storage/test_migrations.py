"""A database of every version that ever was is opened, and none is left between two of them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from camomile_trio.errors import StorageError, StorageUnknown
from camomile_trio.kademlia.registers import KeyState
from camomile_trio.storage import schema
from camomile_trio.storage.schema import DATABASE_FILE, VERSION
from camomile_trio.storage.sqlite import open_sqlite
from tests.storage.kept import MIB, NOW, key

SCHEMAS = Path(__file__).parent / "schemas"


def database_of(directory: Path, version: int) -> Path:
    """A database as the Camomile of that version left it."""
    file = directory / DATABASE_FILE
    connection = sqlite3.connect(file)
    connection.executescript((SCHEMAS / f"version_{version}.sql").read_text("utf-8"))
    connection.commit()
    connection.close()
    return file


def version_of(file: Path) -> int:
    connection = sqlite3.connect(file)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return int(version)


def test_every_version_has_its_schema_kept_and_its_way_to_this_one() -> None:
    assert {each.name for each in SCHEMAS.iterdir()} == {f"version_{each}.sql" for each in range(1, VERSION + 1)}
    assert set(schema._MIGRATIONS) == set(range(1, VERSION))


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_a_database_of_an_older_version_is_opened_with_all_that_is_in_it(tmp_path: Path, version: int) -> None:
    file = database_of(tmp_path, version)
    storage = open_sqlite(tmp_path, sync="os", max_bytes=MIB)
    assert storage.read(key(1)) == KeyState(key(1), 5, classic_until=NOW)
    assert storage.value(key(1)) == b"hello"
    assert storage.note("uptime") == 42
    assert (storage.statistics.keys, storage.statistics.bytes) == (1, 261)
    assert storage.due(7, 1) == [key(1)]
    storage.close()
    assert version_of(file) == VERSION


# The mechanism itself, on a version that does not exist yet.


@pytest.fixture
def next_version(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(schema, "VERSION", VERSION + 1)
    return VERSION + 1


def test_an_older_file_is_brought_to_the_version_after_it(
    tmp_path: Path, next_version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = database_of(tmp_path, VERSION)
    monkeypatch.setitem(
        schema._MIGRATIONS, VERSION, ("CREATE TABLE more (thing TEXT)", "INSERT INTO more VALUES ('x')")
    )
    storage = open_sqlite(tmp_path, sync="os", max_bytes=MIB)
    assert storage.value(key(1)) == b"hello"
    storage.close()
    assert version_of(file) == next_version


def test_a_migration_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, next_version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = database_of(tmp_path, VERSION)
    monkeypatch.setitem(schema._MIGRATIONS, VERSION, ("DROP TABLE notes", "INSERT INTO nowhere VALUES (1)"))
    with pytest.raises(StorageError, match="nowhere"):
        open_sqlite(tmp_path, sync="os", max_bytes=MIB)
    assert version_of(file) == VERSION
    monkeypatch.undo()
    storage = open_sqlite(tmp_path, sync="os", max_bytes=MIB)
    assert storage.note("uptime") == 42
    storage.close()


def test_a_version_without_a_way_to_this_one_is_refused_and_left_alone(tmp_path: Path, next_version: int) -> None:
    database_of(tmp_path, VERSION)
    with pytest.raises(
        StorageUnknown, match=f"is of version {VERSION}, and this Camomile knows version {next_version}"
    ):
        open_sqlite(tmp_path, sync="os", max_bytes=MIB)
