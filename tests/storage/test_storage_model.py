"""Any sequence of writes, commits and restarts, compared with a plain dictionary after every step."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import attrs
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from camomile_trio.errors import StorageFull
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.registers import KeyState
from camomile_trio.storage.accounts import Account, Sort, charges
from camomile_trio.storage.base import Storage, Timetable
from camomile_trio.storage.memory import MemoryStorage
from camomile_trio.storage.schema import SyncMode
from camomile_trio.storage.sqlite import open_sqlite
from tests.storage.kept import (
    absorb,
    commit,
    cost,
    key,
    lease,
    left_by_a_kill,
    state,
    tombstone,
    write,
)

NUMBERS = st.integers(0, 7)
MOMENTS = st.integers(0, 6)
REGISTERS = st.sampled_from([(), (1,), (1, 2), (-1,), (2, -3)])
MAX_BYTES = 2600
ACCOUNTS: set[Account] = set()  # all that were ever charged: what nobody holds any more is 0


@attrs.frozen
class Kept:
    state: KeyState
    timetable: Timetable
    evictable: bool
    value: bytes | None


class StorageAndDictionary(RuleBasedStateMachine):
    """`MemoryStorage` and `SqliteStorage` beside the dictionary that they should be."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.kept: dict[Key, Kept] = {}
        self.handed_over = self.acknowledged = self.lives = 0
        self.place = Path(self.directory.name) / "0"

    @initialize(sync=st.sampled_from(["os", "full"]))
    def start(self, sync: SyncMode) -> None:
        self.sync = sync
        self.storages: list[Storage] = [MemoryStorage(MAX_BYTES), self.opened()]

    def opened(self) -> Storage:
        return open_sqlite(self.place, sync=self.sync, max_bytes=MAX_BYTES)

    @rule(
        number=NUMBERS,
        size=st.sampled_from([None, "kept", 0, 10, 500]),
        registers=REGISTERS,
        due=MOMENTS,
        renew=MOMENTS,
        evictable=st.booleans(),
        even_if_full=st.booleans(),
        brought_by=st.sampled_from([b"", b"n\x08\x08\x08", b"r\x08\x08\x08", b"c\x08\x08\x08"]),
        has_yielded=st.booleans(),
    )
    def write(
        self,
        number: int,
        size: int | str | None,
        registers: tuple[int, ...],
        due: int,
        renew: int,
        evictable: bool,
        even_if_full: bool,
        brought_by: bytes,
        has_yielded: bool,
    ) -> None:
        before = self.kept.get(key(number))
        stored = before.value if before is not None else None
        value = bytes([number]) * size if isinstance(size, int) else stored if size == "kept" else None
        told = attrs.evolve(
            state(number, None if value is None else len(value)),
            registers=tuple(
                attrs.evolve(
                    lease(number, each) if each > 0 else tombstone(number, -each),
                    brought_by=brought_by,
                    has_yielded=has_yielded,
                )
                for each in registers
            ),
        )
        total = sum(cost(kept.state) for kept in self.kept.values())
        growth = cost(told) - (cost(before.state) if before is not None else 0)
        fits = growth <= 0 or total + growth <= MAX_BYTES or even_if_full
        for storage in self.storages:
            try:
                write(
                    storage,
                    told,
                    Timetable(due, renew),
                    value=value if isinstance(size, int) else None,
                    even_if_full=even_if_full,
                    evictable=evictable,
                    done=self.count,
                )
            except StorageFull:
                assert not fits
            else:
                assert fits
                self.handed_over += 1
        if fits:
            self.kept[key(number)] = Kept(told, Timetable(due, renew), evictable, value)

    def count(self, outcome: object) -> None:
        self.acknowledged += 1

    @rule(number=NUMBERS)
    def remove(self, number: int) -> None:
        for storage in self.storages:
            storage.remove(key(number))
        self.kept.pop(key(number), None)

    @precondition(lambda self: self.handed_over > self.acknowledged)
    @rule()
    def commit(self) -> None:
        for storage in self.storages:
            trio.run(commit, storage)
        assert self.acknowledged == self.handed_over

    @rule()
    def absorb(self) -> None:
        trio.run(absorb, self.storages[1])

    @rule()
    def restart(self) -> None:
        self.storages[1].close()
        self.storages[1] = self.opened()

    @precondition(lambda self: self.handed_over == self.acknowledged)
    @rule()
    def kill(self) -> None:
        """What was removed and noted is written with the next write, or by a commit."""
        trio.run(commit, self.storages[1])
        killed = self.storages[1]
        self.lives += 1
        self.place = left_by_a_kill(self.place, self.place.with_name(str(self.lives)))
        killed.close()
        self.storages[1] = self.opened()

    @invariant()
    def they_hold_the_same(self) -> None:
        for storage in self.storages:
            for number in range(8):
                kept = self.kept.get(key(number))
                assert storage.read(key(number)) == (kept.state if kept else None)
                assert storage.value(key(number)) == (kept.value if kept else None)
            statistics = storage.statistics
            assert statistics.keys == len(self.kept)
            assert statistics.values == sum(kept.value is not None for kept in self.kept.values())
            assert statistics.bytes == sum(cost(kept.state) for kept in self.kept.values())

    @invariant()
    def they_charge_the_same(self) -> None:
        expected: Counter[Account] = Counter()
        for kept in self.kept.values():
            expected.update(charges(kept.state))
        for storage in self.storages:
            for account in ACCOUNTS | expected.keys():
                assert storage.held(account) == expected[account]
            for sort in Sort:
                assert storage.largest(sort) == max((expected[a] for a in expected if a[:1] == sort), default=0)
        ACCOUNTS.update(expected)

    @invariant()
    def they_list_the_same(self) -> None:
        kept = sorted(self.kept.items())
        due = sorted((each.timetable.due, at) for at, each in kept if each.timetable.due)
        renew = sorted((each.timetable.renew, at) for at, each in kept if each.timetable.renew)
        evictable = sorted((not each.timetable.due, each.timetable.due, at) for at, each in kept if each.evictable)
        for storage in self.storages:
            assert storage.keys(None, 5) == [at for at, _ in kept][:5]
            assert storage.keys(key(3), 2) == [at for at, _ in kept if at > key(3)][:2]
            assert storage.due(4, 3) == [at for moment, at in due if moment <= 4][:3]
            assert storage.renewable(3, 9) == [at for moment, at in renew if moment <= 3]
            assert storage.evictable(2) == [at for _, _, at in evictable][:2]
            assert storage.next_due() == min((moment for moment, _ in due + renew), default=None)

    def teardown(self) -> None:
        for storage in getattr(self, "storages", []):
            storage.close()
        self.directory.cleanup()


TestStorageAndDictionary = StorageAndDictionary.TestCase
TestStorageAndDictionary.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
