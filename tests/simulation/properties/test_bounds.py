"""A node that works stays within its bounds; one whose bound is gone is seen."""

from __future__ import annotations

import pytest
import trio

from camomile_trio.node.core import Core
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.properties.bounds import Bounds
from camomile_trio.simulation.world import World
from tests.simulation.worlds import QUICK, broken_rules, run_world


def test_a_busy_world_stays_within_its_bounds() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        await world.users.keep_busy(60, puts=2, gets=5, forgets=0.5)
        await world.crash(machines[-1])
        await world.users.keep_busy(60, puts=2, gets=5, forgets=0.5)

    assert not broken_rules(run_world(story, Bounds(), nodes=16))


def many_members(core: Core) -> None:
    core.table.k = 50


def much_cached(core: Core) -> None:
    core.holdings.cache.bytes = QUICK.records.max_cache + 1


def many_deadlines(core: Core) -> None:
    for number in range(10_000):
        core.rpc.deadlines.set(core.clock() + 1000 + number, lambda: None)


@pytest.mark.parametrize(
    ("lift", "what"), [(many_members, "members"), (much_cached, "cached"), (many_deadlines, "deadlines")]
)
def test_a_bound_that_is_gone_is_seen(lift: object, what: str) -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        assert callable(lift)
        for machine in machines:
            assert machine.node is not None
            lift(machine.node.core)
        await world.settle(16)
        await trio.sleep(60)

    outcome = run_world(story, Bounds(), nodes=4)
    assert broken_rules(outcome) == [Bounds.name]
    assert what in outcome.violations[0].expected
