"""A database of every version that ever was is opened, and none is left between two of them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from camomile_trio.errors import StorageError, StorageUnknown
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.records import Kind, PublisherKey, Record
from camomile_trio.kademlia.registers import KeyState, Register
from camomile_trio.storage import schema
from camomile_trio.storage.accounts import Charges, Sort, charges
from camomile_trio.storage.rows import pack_brought, pack_registers
from camomile_trio.storage.schema import DATABASE_FILE, VERSION
from camomile_trio.storage.sqlite import open_sqlite
from camomile_trio.storage.tally import KEY_BYTES, REGISTER_BYTES
from tests.storage.kept import MIB, NOW, key

ALICE = PublisherKey(bytes(range(32)))
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


def test_the_publishers_of_version_1_have_their_accounts_afterwards(tmp_path: Path) -> None:
    """What they hold is counted from what is stored, their 32 bytes with zeros in them like any other."""
    file = database_of(tmp_path, 1)
    alice, bob = PublisherKey(bytes(range(32))), PublisherKey(b"\xff" * 16 + bytes(16))
    states = [
        KeyState(key(2), 100, (register(key(2), alice, Kind.LEASE), register(key(2), bob, Kind.LEASE))),
        KeyState(key(3), None, (register(key(3), alice, Kind.TOMBSTONE, had_lease=True),)),
        KeyState(key(4), None, (register(key(4), bob, Kind.TOMBSTONE),)),
        KeyState(key(5), None, tuple(register(key(5), PublisherKey(bytes([n]) * 32), Kind.LEASE) for n in range(32))),
    ]
    connection = sqlite3.connect(file)
    for state in states:
        connection.execute(
            "INSERT INTO keys VALUES (?, ?, ?, 0, 0, 0, 0, 0)", (state.key, state.size, pack_registers(state.registers))
        )
    connection.commit()
    connection.close()
    storage = open_sqlite(tmp_path, sync="os", max_bytes=MIB)
    expected: Charges = {}
    for state in states:
        assert storage.read(state.key) == state
        for account, held in charges(state).items():
            expected[account] = expected.get(account, 0) + held
    assert len(expected) == 2 + 32 + 1
    assert {account: storage.held(account) for account in expected} == expected
    assert storage.largest(Sort.UNSEEN_OF_PUBLISHER) == KEY_BYTES + REGISTER_BYTES
    storage.remove(key(4))
    assert storage.held(Sort.UNSEEN_OF_PUBLISHER.value + bob) == 0
    storage.close()


def test_the_short_values_of_version_2_go_to_their_keys_and_the_long_ones_stay(tmp_path: Path) -> None:
    file = database_of(tmp_path, 2)
    values = {key(number): bytes([number]) * size for number, size in ((2, 256), (3, 257), (4, 5000))}
    states = {of: KeyState(of, len(value), (register(of, ALICE, Kind.LEASE),)) for of, value in values.items()}
    states[key(5)] = KeyState(key(5), None, (register(key(5), ALICE, Kind.TOMBSTONE, had_lease=True, by=b"n1234567"),))
    connection = sqlite3.connect(file)
    for of, state in states.items():
        connection.execute(
            "INSERT INTO keys VALUES (?, ?, ?, 0, 0, 9, 8, 1, ?)",
            (of, state.size, pack_registers(state.registers), pack_brought(state.registers)),
        )
        if of in values:
            connection.execute("INSERT INTO contents VALUES (?, ?)", (of, values[of]))
    connection.commit()
    connection.close()
    storage = open_sqlite(tmp_path, sync="os", max_bytes=MIB)
    for of, state in states.items():
        assert (storage.read(of), storage.value(of)) == (state, values.get(of))
    assert storage.keys(None, 10) == [key(1), *states]
    assert storage.due(9, 10) == [key(1), *states]
    assert storage.renewable(8, 10) == storage.evictable(10) == [*states]
    storage.close()
    connection = sqlite3.connect(file)
    assert connection.execute("SELECT key FROM contents ORDER BY key").fetchall() == [(key(3),), (key(4),)]
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def register(of: Key, publisher: PublisherKey, kind: Kind, *, had_lease: bool = False, by: bytes = b"") -> Register:
    record = Record(of, kind, 0, publisher, NOW, NOW, NOW + 1000, bytes(64))
    return Register(record, NOW + 1000, had_lease=had_lease or kind is Kind.LEASE, brought_by=by)
