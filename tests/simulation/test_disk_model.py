"""Any story of a simulated disk, compared with one law: what is left is what was handed over up to some moment.

Rules of this file: every change has a number, and `views` says what is there after each. Whatever happens, the disk
holds one of the views, and none that is older than what was promised.
"""

from __future__ import annotations

import random

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from camomile_trio.errors import StorageError
from camomile_trio.kademlia.messages import Durability
from camomile_trio.simulation.disk import SYNC_WITHIN, DiskFaults, SimulatedDisk
from camomile_trio.storage.base import Timetable
from camomile_trio.storage.schema import SyncMode
from tests.storage.kept import (
    MIB,
    cost,
    key,
    state,
    write,
)

# What each key's value is, and the note under "last".
View = tuple[tuple[bytes | None, ...], int]
KEYS = 4

STEPS = st.one_of(
    st.tuples(st.sampled_from(["write", "remove"]), st.integers(0, KEYS - 1)),
    st.tuples(st.just("wait"), st.sampled_from([0.0001, 0.0002, 0.002, 0.003, 0.3, 1.0])),
    st.tuples(st.sampled_from(["note", "crash", "power", "stop", "failing", "full", "well"]), st.just(0)),
)


ENDINGS = ("crash", "power", "stop")
Steps = list[tuple[str, int | float]]


class Story:
    """A disk beside what was promised about it."""

    def __init__(self, sync: SyncMode, seed: int) -> None:
        self.sync = sync
        self.disk = SimulatedDisk(sync=sync, max_bytes=MIB, rng=random.Random(seed))
        self.storage = self.disk.open()
        self.views: list[View] = [((None,) * KEYS, 0)]
        self.acknowledged: list[tuple[int, float]] = []  # the number of the change, and when
        self.on_disk = 0  # the change that no power loss takes
        self.syncing_since = trio.current_time()
        self.changes = self.failures = 0

    async def tell(self, steps: Steps) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.storage.run)
            for name, argument in steps:
                if name == "wait":
                    await trio.sleep(argument)
                elif name not in ENDINGS:
                    self.change(name, int(argument))
                self.check()
            nursery.cancel_scope.cancel()

    def change(self, name: str, number: int) -> None:
        values, note = self.views[-1]
        self.changes += 1
        if name == "write":
            value = b"%d" % self.changes
            at = len(self.views)
            write(
                self.storage, state(number, len(value)), Timetable(), value=value, done=lambda how: self.heard(at, how)
            )
            self.views.append(((*values[:number], value, *values[number + 1 :]), note))
        elif name == "remove":
            self.storage.remove(key(number))
            self.views.append(((*values[:number], None, *values[number + 1 :]), note))
        elif name == "note":
            self.storage.set_note("last", self.changes)
            self.views.append((values, self.changes))
        else:
            self.note_what_is_on_disk()
            self.disk.set_faults(DiskFaults(is_full=name == "full", fails_writes=name == "failing"))

    def heard(self, at: int, how: Durability | StorageError) -> None:
        if isinstance(how, Durability):
            assert how is self.storage.durability
            self.acknowledged.append((at, trio.current_time()))

    def end_life(self, name: str) -> None:
        self.note_what_is_on_disk()
        promised = max((at for at, _ in self.acknowledged), default=self.on_disk)
        if name == "crash":
            self.disk.crash()
        elif name == "power":
            self.disk.lose_power()
            promised = self.on_disk
        else:
            self.storage.close()
            promised = max((at for at, _ in self.acknowledged), default=self.on_disk)
        self.storage = self.disk.open()
        self.failures = 0
        self.settle_for_what_is_left(max(promised, self.on_disk))
        if name == "power" or (name == "stop" and not self.disk.faults.fails_writes):
            self.on_disk = len(self.views) - 1
        self.syncing_since = trio.current_time()

    def note_what_is_on_disk(self) -> None:
        """Before what syncs commits changes."""
        for at, when in self.acknowledged:
            is_synced = trio.current_time() >= max(when, self.syncing_since) + SYNC_WITHIN
            if self.sync == "full" or (is_synced and not self.disk.faults.fails_writes):
                self.on_disk = max(self.on_disk, at)
        self.syncing_since = trio.current_time()

    def settle_for_what_is_left(self, promised: int) -> None:
        matching = [at for at in range(promised, len(self.views)) if self.views[at] == self.seen()]
        assert matching, (self.seen(), self.views, promised)
        del self.views[matching[0] + 1 :]
        self.acknowledged = [each for each in self.acknowledged if each[0] < len(self.views)]

    def check(self) -> None:
        if self.storage.statistics.failures > self.failures:
            self.failures = self.storage.statistics.failures
            self.settle_for_what_is_left(max((at for at, _ in self.acknowledged), default=self.on_disk))
        seen = self.seen()
        assert seen == self.views[-1]
        kept = [number for number in range(KEYS) if seen[0][number] is not None]
        statistics = self.storage.statistics
        assert self.storage.keys(None, 10) == [key(number) for number in kept]
        assert (statistics.keys, statistics.values) == (len(kept), len(kept))
        assert statistics.bytes == sum(cost(state(number, len(seen[0][number] or b""))) for number in kept)

    def seen(self) -> View:
        return tuple(self.storage.value(key(number)) for number in range(KEYS)), self.storage.note("last")


@settings(max_examples=300)
@given(sync=st.sampled_from(["os", "full"]), seed=st.integers(0, 1000), steps=st.lists(STEPS, min_size=1, max_size=60))
def test_what_is_left_was_there_at_some_moment_and_lacks_nothing_that_was_promised(
    sync: SyncMode, seed: int, steps: Steps
) -> None:
    async def main() -> None:
        story = Story(sync, seed)
        life: Steps = []
        for step in [*steps, ("power", 0)]:
            life.append(step)
            if step[0] in ENDINGS:
                await story.tell(life)
                story.end_life(step[0])
                story.check()
                life = []

    trio.run(main, clock=MockClock(autojump_threshold=0))
