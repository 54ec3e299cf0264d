"""A promised value is readable while a durable holder of it lives and can be reached.

Rules of this file: it asks nodes as a user would, all in turn and rather those that have no copy, and so seldom that
its questions keep no table fresh. Its gets stand in no ledger.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import trio

from camomile_trio.errors import CamomileError
from camomile_trio.kademlia.ids import Key
from camomile_trio.node.results import Found
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.properties.base import Property
from camomile_trio.simulation.properties.looking import Pace, ask, stored
from camomile_trio.simulation.properties.promises import durable_holders, is_due
from camomile_trio.simulation.world import World

SHORTEST = 5.0  # virtual s between two rounds of questions
KEYS_A_ROUND = 2
AGAIN_A_ROUND = 4  # of those that failed before
TRIES = 16  # draws for a machine that may be asked


def bound(world: World) -> float:
    """How long it may take while nodes come and go and links are bad.

    Two rounds of replication with their jitter bring copies to where they are looked for, and a refresh interval with
    its jitter brings tables in order; then somebody asks within two operation deadlines.
    """
    config = world.config
    rounds = 2 * 1.25 * config.records.replicate_interval + 1.25 * config.kademlia.refresh_interval
    return rounds + short_bound(world)


def short_bound(world: World) -> float:
    """How long it may take once the network has been calm for `bound`: two operation deadlines."""
    return 2 * world.config.requests.operation_deadline


@attrs.define
class Failing:
    """A key that could not be read."""

    since: float
    # The holders that could be reached at every try, each by its life.
    holders: list[tuple[int, int]]
    asked: list[int]
    last_error: str = ""
    is_reported: bool = False


class Readable(Property):
    """Every few seconds some promised keys are read, each at one machine; what failed is read again at others.

    Violated when reads of a key have failed for `bound` (or `short_bound`), while the same machine was up all the time,
    held the value on its disk under a live lease, and reached whoever was asked.
    """

    name = "what is promised and held can be read"

    def __init__(self) -> None:
        self._failing: dict[Key, Failing] = {}

    async def watch(self, world: World) -> None:
        rng = world.generator("readable")
        pace = Pace(world, SHORTEST)
        while True:
            await trio.sleep(pace.next() if not self._failing else SHORTEST)
            again = list(self._failing)
            rng.shuffle(again)
            chosen = again[:AGAIN_A_ROUND]
            keys = world.ledger.keys
            chosen += [key for key in (rng.choice(keys) for _ in range(KEYS_A_ROUND) if keys) if key not in again]
            async with trio.open_nursery() as nursery:
                for key in dict.fromkeys(chosen):
                    asker = _choose(rng.sample(world.machines, min(TRIES, len(world.machines))), key, self._asked(key))
                    if asker is not None:
                        nursery.start_soon(self._probe, world, asker, key)

    def _asked(self, key: Key) -> list[int]:
        failing = self._failing.get(key)
        return failing.asked if failing is not None else []

    async def _probe(self, world: World, asker: Machine, key: Key) -> None:
        began = world.now
        before = _reached_holders(world, asker, key)
        if not before:
            self._failing.pop(key, None)
            return
        outcome = await ask(asker, key)
        if outcome is None:
            return
        if isinstance(outcome, Found):
            self._failing.pop(key, None)
            return
        after = _reached_holders(world, asker, key)
        self._failed(world, asker, key, began, [each for each in before if each in after], outcome)

    def _failed(
        self,
        world: World,
        asker: Machine,
        key: Key,
        began: float,
        holders: list[tuple[int, int]],
        error: CamomileError,
    ) -> None:
        failing = self._failing.get(key)
        if failing is not None:
            failing.holders = [each for each in failing.holders if each in holders]
        if failing is None or not failing.holders:
            if holders:
                self._failing[key] = Failing(began, holders, [asker.number], str(error))
            else:
                self._failing.pop(key, None)
            return
        failing.asked.append(asker.number)
        failing.last_error = str(error)
        # At rest since before the first try: then it has to be quick.
        is_at_rest = world.calm_for > bound(world) + (world.now - failing.since)
        limit = short_bound(world) if is_at_rest else bound(world)
        if world.now - failing.since > limit and not failing.is_reported:
            failing.is_reported = True
            held_by = [number for number, _ in failing.holders]
            world.violated(
                self.name,
                f"{key.hex()[:8]} read within {limit:g} s, held by machines {held_by}",
                f"not since {failing.since:.1f} s at machines {failing.asked[-5:]}: {failing.last_error}",
                asker,
            )


def _choose(machines: Sequence[Machine], key: Key, asked: list[int]) -> Machine | None:
    """One of the machines that serves: rather one without a copy, and not one that was asked lately."""
    serving = [each for each in machines if each.serves]
    fresh = [each for each in serving if each.number not in asked[-TRIES:]] or serving
    without = [each for each in fresh if not _has_copy(each, key)]
    return next(iter(without or fresh), None)


def _has_copy(machine: Machine, key: Key) -> bool:
    state = stored(machine, key)
    return state is not None and state.size is not None


def _reached_holders(world: World, asker: Machine, key: Key) -> list[tuple[int, int]]:
    """The durable holders of a key that is due which the asker reaches, or is."""
    if not is_due(world, key):
        return []
    return [
        (each.number, each.lives) for each in durable_holders(world, key) if each is asker or world.reaches(asker, each)
    ]
