"""A node that works stays within its bounds and leaves nothing behind; one that does not is seen."""

from __future__ import annotations

from unittest import mock

import pytest
import trio

from camomile_trio.holding.cache import Cache
from camomile_trio.peer.deadlines import Deadlines
from camomile_trio.peer.requests import Requests
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.network import MemoryNetwork
from camomile_trio.simulation.properties import bounds
from camomile_trio.simulation.properties.bounds import Bounds, LeftBehind
from camomile_trio.simulation.world import World
from tests.simulation.worlds import QUICK, broken_rules, run_world

pytestmark = pytest.mark.long


async def busy(world: World, machines: list[Machine]) -> None:
    await world.users.keep_busy(60, puts=2, gets=5, forgets=0.5)
    await world.crash(machines[-1])
    await world.users.keep_busy(60, puts=2, gets=5, forgets=0.5)


def test_a_busy_world_stays_within_its_bounds_and_leaves_nothing_behind() -> None:
    assert not broken_rules(run_world(busy, Bounds, LeftBehind, nodes=16))


def test_a_table_without_a_bound_is_seen() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        for machine in machines:
            machine.table.k = 50
        await world.settle(16)
        await trio.sleep(60)

    outcome = run_world(story, Bounds, nodes=4)
    assert broken_rules(outcome) == [Bounds.name]
    assert "members" in outcome.violations[0].expected


def test_a_cache_without_a_bound_is_seen() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        def keep(self: Cache, *args: object) -> None:
            self.bytes = QUICK.records.max_cache + 1

        with mock.patch.object(Cache, "keep", keep):
            await busy(world, machines)

    outcome = run_world(story, Bounds, nodes=8)
    assert broken_rules(outcome) == [Bounds.name]
    assert "cached" in outcome.violations[0].expected


async def one_crashes(world: World, machines: list[Machine]) -> None:
    await world.crash(machines[-1])
    await world.users.keep_busy(30, puts=2, gets=5)
    await trio.sleep(60)


@pytest.mark.parametrize(
    ("of", "method", "what"), [(Requests, "_fail", "requests_pending"), (Deadlines, "set", "requests_pending")]
)
def test_requests_that_never_end_are_seen(of: type, method: str, what: str) -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        with mock.patch.object(of, method, return_value=None):
            await one_crashes(world, machines)

    outcome = run_world(story, LeftBehind)
    assert broken_rules(outcome) == [LeftBehind.name]
    assert what in outcome.violations[0].expected


def test_timers_that_nobody_ends_are_seen() -> None:
    with mock.patch.object(Deadlines, "__len__", return_value=10_000):
        outcome = run_world(one_crashes, LeftBehind)
    assert "deadlines_pending" in outcome.violations[0].expected


def test_an_address_that_a_dead_machine_keeps_is_seen() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        await world.crash(machines[-1])
        with mock.patch.object(MemoryNetwork, "is_open", return_value=True):
            await trio.sleep(60)

    assert broken_rules(run_world(story, LeftBehind)) == [LeftBehind.name]


def test_a_task_that_outlives_its_node_is_seen() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        await trio.sleep(1)

    with mock.patch.object(bounds, "tasks_below", return_value=["camomile_trio.node.join.Join.run"]):
        assert broken_rules(run_world(story, LeftBehind)) == [LeftBehind.name]
