"""Whatever is served after its lease is seen, unless a clock that is behind explains it."""

from __future__ import annotations

import itertools
from unittest import mock

import attrs
import trio

from camomile_trio.kademlia.ids import Key
from camomile_trio.node.cache import CachedCopy
from camomile_trio.node.node import Node
from camomile_trio.node.results import Found
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.properties.lease_ends import LeaseEnds
from camomile_trio.simulation.world import World
from camomile_trio.storage.base import Timetable
from tests.simulation.worlds import broken_rules, put, records_of, run_world


async def for_a_minute(world: World, machines: list[Machine]) -> None:
    """A value for a minute, read all the time and long after."""
    key = await put(world, ttl=60)
    for machine in itertools.islice(itertools.cycle(machines), 40):
        await world.users.get(key, at=machine)
        await trio.sleep(5)


def test_a_value_for_a_minute_is_served_for_a_minute() -> None:
    assert not broken_rules(run_world(for_a_minute, LeaseEnds()))


def test_a_clock_that_is_behind_serves_it_for_longer_and_is_not_blamed() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        for machine in machines[::2]:
            machine.clock.jump(-20_000)
        await for_a_minute(world, machines)

    assert not broken_rules(run_world(story, LeaseEnds()))


def test_a_copy_that_outlives_its_lease_is_seen() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        key = await put(world, ttl=60)
        node = next(each.node for each in machines if each not in world.holders(key))
        assert node is not None
        copy = CachedCopy(b"a plum", records_of(world, key), node.id, fresh_until=world.now + 100)
        node.core.holdings.cache.keep(key, copy)
        await trio.sleep(100)

    assert broken_rules(run_world(story, LeaseEnds())) == [LeaseEnds.name]


def test_a_get_that_finds_it_long_after_is_seen() -> None:
    async def get(self: Node, key: Key) -> Found:
        return Found(key, b"a plum", self.id, True)

    with mock.patch.object(Node, "get", get):
        assert broken_rules(run_world(for_a_minute, LeaseEnds())) == [LeaseEnds.name]


def served_without_a_lease(*, has_strangers: bool) -> list[str]:
    """What is seen where a node serves a copy as if a classic node had stored it."""

    async def story(world: World, machines: list[Machine]) -> None:
        world.has_strangers = has_strangers
        key = await put(world, ttl=60)
        node = world.holders(key)[0].node
        assert node is not None
        state = node.core.holdings.state(key)
        end = node.core.wall_clock() + 3_600_000
        node.core.storage.write(attrs.evolve(state, classic_until=end), Timetable(due=end, renew=0))
        await trio.sleep(100)

    return broken_rules(run_world(story, LeaseEnds()))


def test_a_classic_end_excuses_nothing_where_no_classic_node_is() -> None:
    assert served_without_a_lease(has_strangers=False) == [LeaseEnds.name]


def test_a_copy_that_a_classic_node_stored_has_an_end_of_its_own() -> None:
    assert not served_without_a_lease(has_strangers=True)
