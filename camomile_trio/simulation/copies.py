"""How many copies of promised values there are, over time, and how long a network takes to bring them back.

Rules of this file: it looks at stores from outside. A bounded number of keys, drawn among all that were promised, is
looked at a bounded number of times: as a run grows longer, every second sample is dropped and the pause doubled. Copies
are looked for at the machines nearest to the key and where it was put; elsewhere there is none but by a fault.
"""

from __future__ import annotations

import attrs
import trio

from camomile_trio.kademlia.ids import Key
from camomile_trio.simulation.distribution import mean, rounded
from camomile_trio.simulation.ledger import OK, Operation, Standing
from camomile_trio.simulation.world import World

MOST_KEYS = 32
MOST_SAMPLES = 128
FIRST_PAUSE = 1.0  # virtual s
# A key is looked for at so many times k machines.
LOOKED_AT = 4
# Copies are back when there are so many of those that there should be.
BACK = 0.95


@attrs.frozen
class Sample:
    """One look at all keys of the sample."""

    time: float  # virtual s
    least: int  # copies, of those keys that have any
    mean: float  # likewise
    lost: int  # keys without a copy
    live_nodes: int


@attrs.define(eq=False)
class Repair:
    """From a machine's end that left copies missing, until they were back."""

    began: float  # virtual s
    took: float | None = None  # s; None while they are missing


class Copies:
    """The samples of one run."""

    def __init__(self, world: World) -> None:
        self.samples: list[Sample] = []
        self.repairs: list[Repair] = []
        self.pause = FIRST_PAUSE
        self._world = world
        self._rng = world.generator("copies")
        self._keys: list[Key] = []
        self._offered = 0
        self._looked = 0.0

    def on_operation(self, operation: Operation) -> None:
        """Every acknowledged put has the same chance to be among the keys that are looked at."""
        if operation.kind != "put" or operation.outcome != OK or operation.key in self._keys:
            return
        self._offered += 1
        if len(self._keys) < MOST_KEYS:
            self._keys.append(operation.key)
        elif (place := self._rng.randrange(self._offered)) < MOST_KEYS:
            self._keys[place] = operation.key

    async def watch(self) -> None:
        """Looks again and again, until cancelled."""
        while True:
            await trio.sleep(self.pause)
            self.look()

    def look(self) -> None:
        """One sample, if anything is promised."""
        world = self._world
        before, self._looked = self._looked, world.now
        keys = [key for key in self._keys if world.ledger.standing(key) is Standing.PROMISED]
        if not keys:
            return
        world.truth.directory.refresh(world.machines)
        live = len(world.up)
        copies = [self._copies_of(key) for key in keys]
        kept = [each for each in copies if each]
        sample = Sample(world.now, min(kept, default=0), mean(kept), len(copies) - len(kept), live)
        self.samples.append(sample)
        self._see_repair(sample, before)
        if len(self.samples) >= MOST_SAMPLES:
            del self.samples[1::2]
            self.pause *= 2

    def _see_repair(self, sample: Sample, before: float) -> None:
        is_short = sample.mean < BACK * self.wanted(sample.live_nodes)
        under_way = self.repairs[-1] if self.repairs and self.repairs[-1].took is None else None
        if under_way is not None and not is_short:
            under_way.took = sample.time - under_way.began
        elif under_way is None and is_short:
            ended = [each.down_since for each in self._world.machines if each.down_since > before]
            if ended:
                self.repairs.append(Repair(min(ended)))

    def wanted(self, live_nodes: int) -> int:
        """How many copies there should be."""
        return min(self._world.config.kademlia.k, live_nodes)

    def has_holder(self, key: Key) -> bool:
        """Whether any machine that runs stores the value's bytes, with a live lease or without."""
        return any(machine.holds(key) for machine in self._world.truth.directory.nearest_first(key))

    def _copies_of(self, key: Key) -> int:
        world = self._world
        putters = {word.machine: world.machines[word.machine] for word in world.ledger.words(key)}
        left, found = LOOKED_AT * world.config.kademlia.k, 0
        for machine in world.truth.directory.nearest_first(key):
            if machine.node is None:
                continue
            putters.pop(machine.number, None)
            found += machine.holds_live(key)
            left -= 1
            if not left:
                break
        return found + sum(machine.holds_live(key) for machine in putters.values())

    def table(self) -> dict[str, object]:
        """The time series, if there is one."""
        samples = self.samples
        if not samples:
            return {}
        return {
            "keys": min(self._offered, MOST_KEYS),
            "wanted": self.wanted(samples[-1].live_nodes),
            "interval_s": self.pause,
            "time_s": [rounded(each.time) for each in samples],
            "least": [each.least for each in samples],
            "mean": [each.mean for each in samples],
            "lost": [each.lost for each in samples],
            "live_nodes": [each.live_nodes for each in samples],
        }

    def repair_table(self) -> dict[str, object]:
        """How long repairs took, if any was needed."""
        if not self.repairs:
            return {}
        took = [each.took for each in self.repairs if each.took is not None]
        return {
            "faults": len(self.repairs),
            "repaired": len(took),
            "seconds_mean": mean(took),
            "seconds_max": rounded(max(took, default=0.0)),
            "began_s": [rounded(each.began) for each in self.repairs],
            "took_s": [-1 if each.took is None else rounded(each.took) for each in self.repairs],
        }
