"""A database that is not what it should be: a clear error, and everything stays where it is."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from camomile_trio.errors import StorageDamaged, StorageError
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.storage.base import Timetable
from camomile_trio.storage.damage import MOST_SET_ASIDE
from camomile_trio.storage.database import Database
from camomile_trio.storage.schema import DATABASE_FILE
from camomile_trio.storage.sqlite import open_sqlite
from tests.storage.kept import (
    MIB,
    key,
    state,
    write,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The database of a node that held a hundred values and was stopped."""
    storage = open_sqlite(tmp_path, sync="os", max_bytes=100 * MIB)
    for number in range(100):
        write(storage, state(number, 1000), Timetable(due=number + 1), value=bytes(1000))
    storage.close()
    return tmp_path / DATABASE_FILE


def change(file: Path, *statements: str) -> None:
    connection = sqlite3.connect(file, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def garbage_in_the_header(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.write(b"garbage" * 20)


def cut_short(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size // 2)


def not_a_database(file: Path) -> None:
    file.write_text("these are somebody's notes, and quite long ones\n" * 100)


def no_tables(file: Path) -> None:
    change(file, "DELETE FROM counters")


def nonsense_in_the_first_rows(file: Path) -> None:
    # All but the page that tells of the tables.
    with file.open("r+b") as opened:
        opened.seek(2048)
        opened.write(b"\xff" * (file.stat().st_size - 2048))


DAMAGES = [garbage_in_the_header, cut_short, not_a_database, no_tables, nonsense_in_the_first_rows]


@pytest.mark.parametrize(
    "damage",
    DAMAGES,
)
def test_a_damaged_file_is_named_and_left_alone_by_whoever_does_not_set_it_aside(
    file: Path, damage: Callable[[Path], None]
) -> None:
    damage(file)
    before = file.read_bytes()
    with pytest.raises(StorageDamaged) as refused:
        open_sqlite(file.parent, sync="os", max_bytes=MIB)
    assert str(file) in str(refused.value)
    assert "sets the file aside" in refused.value.remedy
    assert file.read_bytes() == before


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_set_aside_and_a_new_one_takes_its_place(file: Path, damage: Callable[[Path], None]) -> None:
    damage(file)
    before = file.read_bytes()
    told: list[tuple[Path, str]] = []
    storage = open_sqlite(file.parent, sync="os", max_bytes=MIB, on_set_aside=lambda *words: told.append(words))
    ((aside, what),) = told
    assert aside == file.with_name("camomile.db.damaged-1")
    assert str(file) in what
    assert aside.read_bytes() == before
    assert storage.keys(None, 1) == []
    write(storage, state(1, 5), Timetable(), value=b"again")
    storage.close()
    # It is a database like any other from now on.
    storage = open_sqlite(file.parent, sync="os", max_bytes=MIB, on_set_aside=lambda *words: told.append(words))
    assert storage.value(key(1)) == b"again"
    storage.close()
    assert len(told) == 1


HERE = Endpoint.parse("10.0.0.1:8118")
NO_CONTACTS = [
    Contact.of(b"n" * 31, HERE),
    Contact.of(b"n" * 32, Endpoint(b"12345")),
]


def test_the_neighbours_are_read_out_of_what_is_damaged(tmp_path: Path) -> None:
    storage = open_sqlite(tmp_path, sync="os", max_bytes=MIB)
    contacts = [Contact.of(b"n" * 32, Endpoint.parse("10.0.0.1:8118"))]
    storage.save_contacts([*contacts, *NO_CONTACTS])
    storage.close()
    no_tables(tmp_path / DATABASE_FILE)
    storage = open_sqlite(tmp_path, sync="os", max_bytes=MIB, on_set_aside=lambda *words: None)
    assert storage.contacts() == contacts
    storage.close()


def test_a_disk_that_damages_one_file_after_another_is_given_up(file: Path) -> None:
    told: list[str] = []
    for _ in range(MOST_SET_ASIDE):
        not_a_database(file)
        open_sqlite(file.parent, sync="os", max_bytes=MIB, on_set_aside=lambda aside, what: told.append(what)).close()
    assert len(told) == MOST_SET_ASIDE
    not_a_database(file)
    with pytest.raises(StorageError, match="holds 8 damaged files"):
        open_sqlite(file.parent, sync="os", max_bytes=MIB, on_set_aside=lambda aside, what: told.append(what))
    assert file.exists()


def test_damage_that_shows_while_the_node_runs_is_said_and_set_aside_at_the_next_start(file: Path) -> None:
    change(file, f"UPDATE keys SET registers = x'010203' WHERE key = x'{key(5).hex()}'")
    told: list[str] = []
    storage = open_sqlite(file.parent, sync="os", max_bytes=MIB, on_set_aside=lambda aside, what: told.append(what))
    with pytest.raises(StorageDamaged):
        storage.read(key(5))
    # It goes on reading what can be read, and says that it wants to be started again.
    assert storage.read(key(6)) == state(6, 1000)
    assert "start the node again" in storage.failing
    storage.close()
    assert told == []
    for expected in (0, 0):
        storage = open_sqlite(file.parent, sync="os", max_bytes=MIB, on_set_aside=lambda aside, what: told.append(what))
        assert (storage.statistics.keys, storage.failing) == (expected, "")
        storage.close()
    assert len(told) == 1


def test_a_row_that_makes_no_sense_is_damage_and_the_others_are_still_read(file: Path) -> None:
    change(file, f"UPDATE keys SET registers = x'010203' WHERE key = x'{key(5).hex()}'")
    storage = open_sqlite(file.parent, sync="os", max_bytes=MIB)
    with pytest.raises(StorageDamaged, match=str(key(5))):
        storage.read(key(5))
    assert storage.read(key(6)) == state(6, 1000)
    storage.close()


def test_a_page_that_went_bad_is_heard_of_when_it_is_read(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.seek(file.stat().st_size // 2)
        opened.write(b"\xff" * (file.stat().st_size // 2))
    with pytest.raises(StorageDamaged, match="malformed"):  # noqa: PT012 (wherever it shows first)
        database = Database(file)
        try:
            for number in range(100):
                database.read(key(number))
                database.value(key(number))
        finally:
            database.close()


def test_a_process_that_was_killed_while_it_made_the_file_left_an_empty_one(tmp_path: Path) -> None:
    for content in (None, "PRAGMA journal_mode = WAL"):
        file = tmp_path / DATABASE_FILE
        file.unlink(missing_ok=True)
        file.touch()
        if content:
            change(file, content)
        storage = open_sqlite(tmp_path, sync="os", max_bytes=MIB)
        assert storage.statistics.keys == 0
        storage.close()


def test_a_directory_in_the_place_of_the_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / DATABASE_FILE).mkdir()
    with pytest.raises(StorageError, match="cannot be opened"):
        open_sqlite(tmp_path, sync="os", max_bytes=MIB)


def test_a_file_that_somebody_else_writes_to_is_not_waited_for_forever(file: Path) -> None:
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    storage = open_sqlite(file.parent, sync="os", max_bytes=MIB)
    outcomes: list[object] = []
    write(storage, state(200), Timetable(), done=outcomes.append)
    storage.close()
    other.close()
    assert isinstance(outcomes[0], StorageError)
    assert "locked" in str(outcomes[0])
