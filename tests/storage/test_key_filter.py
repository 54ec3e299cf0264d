"""The filter of present keys: "no" is certain, and saves a read."""

from __future__ import annotations

import random
from pathlib import Path

import attrs
import pytest
from trio.testing import wait_all_tasks_blocked

from camomile_trio.kademlia.ids import Key
from camomile_trio.storage import sqlite
from camomile_trio.storage.base import Timetable
from camomile_trio.storage.key_filter import KeyFilter
from camomile_trio.storage.sqlite import open_sqlite
from tests.storage.kept import MIB, Opened, absorb, key, open_parts, state, until, write, writer_of

NEVER = Timetable()


def random_keys(count: int, seed: int) -> list[Key]:
    rng = random.Random(seed)
    return [Key(rng.randbytes(32)) for _ in range(count)]


def test_it_never_denies_a_key_that_is_there_and_rarely_takes_an_absent_one_for_one() -> None:
    count = 20_000
    present = KeyFilter(count // 2)
    for each in random_keys(count, 1):
        present.add(each)
    assert all(map(present.may_have, random_keys(count, 2))), "it is not complete"
    present.is_complete = True
    assert all(map(present.may_have, random_keys(count, 1)))
    assert sum(map(present.may_have, random_keys(count, 2))) < count / 50


def test_it_is_outgrown_by_twice_as_many_keys_as_it_was_made_for_and_has_a_largest_size() -> None:
    outgrown = {}
    for count in (32 * 1024 // 2, 32 * 1024 // 2 + 1):
        present = KeyFilter(10)
        for each in random_keys(count, 1):
            present.add(each)
        outgrown[count] = present.is_outgrown
    assert list(outgrown.values()) == [False, True]
    assert not KeyFilter(10**9).is_outgrown


def reads_of(opened: Opened, wanted: Key) -> int:
    asked: list[str] = []
    opened.reader.set_trace_callback(asked.append)
    opened.storage.read(wanted)
    opened.storage.read_all([wanted])
    opened.reader.set_trace_callback(None)
    return len(asked)


@pytest.mark.real_time
async def test_a_key_that_is_not_there_is_not_read_once_all_that_are_were_gone_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "FILTER_PAGE", 3)
    with_some = open_sqlite(tmp_path, sync="os", max_bytes=MIB)
    for number in range(10):
        write(with_some, state(number), NEVER)
    await absorb(with_some)
    with_some.close()
    opened = open_parts(tmp_path)
    absent = random_keys(1, 1)[0]
    assert reads_of(opened, absent) == 2
    async with writer_of(opened.storage):
        write(opened.storage, state(10), NEVER)
        await until(lambda: not reads_of(opened, Key(random.randbytes(32))))
        await wait_all_tasks_blocked()
        write(opened.storage, attrs.evolve(state(11), key=absent), NEVER)
        await until(lambda: not opened.storage.statistics.pending)
    opened.storage.absorb()
    assert opened.storage.read(absent) is not None
    for number in range(11):
        assert opened.storage.read(key(number)) == state(number)
        assert opened.storage.read_all([key(number)])
    opened.storage.close()


@pytest.mark.real_time
async def test_a_filter_that_is_outgrown_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    class Noted(KeyFilter):
        def __init__(self, keys: int) -> None:
            super().__init__(keys)
            made.append(keys)

        def add(self, key: Key) -> None:
            super().add(key)
            self.is_outgrown = len(made) == 2  # that of the opening is the first

    monkeypatch.setattr(sqlite, "KeyFilter", Noted)
    opened = open_parts(tmp_path)
    async with writer_of(opened.storage):
        await until(lambda: made == [0, 0])
        write(opened.storage, state(1), NEVER)
        await until(lambda: made == [0, 0, 1])
        assert opened.storage.read(key(1)) == state(1)
    opened.storage.close()
    assert opened.storage.statistics.keys == 1
