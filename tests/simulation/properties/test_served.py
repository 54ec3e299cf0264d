"""What nodes serve: wrong bytes, a value after its lease and a forgotten one are seen, whoever serves them."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import attrs
import pytest
import trio

from camomile_trio.errors import NotFound
from camomile_trio.holding.holdings import Holdings, Served
from camomile_trio.kademlia.ids import Key
from camomile_trio.node.node import Node
from camomile_trio.operations.results import Found
from camomile_trio.simulation.classic_peer import open_classic_peers
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.properties.served import Forgotten, LeaseEnds, RightBytes, forgotten_bound
from camomile_trio.simulation.world import World
from camomile_trio.storage.base import Timetable
from camomile_trio.storage.memory import MemoryStorage
from tests.simulation.worlds import QUICK, broken_rules, nearest, put, records_of, run_world

pytestmark = pytest.mark.long


@contextmanager
def serving(world: World, machine: Machine, key: Key, value: bytes) -> Iterator[None]:
    """A machine has a copy of `key` in its cache, with the records that holders have now, and never lets go of it."""
    served, copy = Holdings.served, Served(value, records_of(world, key), True, machine.id, True)

    def serve(self: Holdings, asked: Key) -> Served | None:
        return copy if self.own == machine.id and asked == key else served(self, asked)

    with mock.patch.object(Holdings, "served", serve):
        yield


async def read_everywhere(world: World, key: Key, *, pause: float = 5.0, times: int = 40) -> None:
    """Users read a key at one machine after another."""
    for machine in itertools.islice(itertools.cycle(world.up), times):
        await world.users.get(key, at=machine)
        await trio.sleep(pause)


async def get_a_plum(self: Node, key: Key) -> Found:
    return Found(key, b"a plum", self.id, True)


# Forgotten -----------------------------------------------------------------------------------------------------------


async def put_and_forget(world: World) -> Key:
    key = await put(world)
    await world.users.forget(key)
    await trio.sleep(forgotten_bound(world))
    return key


@pytest.mark.parametrize("is_put_again", [False, True])
def test_a_forgotten_value_stays_away_and_may_be_put_again(is_put_again: bool) -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        await put_and_forget(world)
        if is_put_again:
            await put(world)
        await trio.sleep(60)

    assert not broken_rules(run_world(story, Forgotten))


def test_a_forgotten_value_that_is_served_too_long_is_seen_and_not_before() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        key = await put(world)
        with serving(world, world.holders(key)[0], key, b"a plum"):
            await world.users.forget(key)
            await trio.sleep(forgotten_bound(world) - 1)
            assert not world.violations
            await read_everywhere(world, key)

    outcome = run_world(story, Forgotten)
    assert broken_rules(outcome) == [Forgotten.name]
    assert any("from its cache" in each.seen for each in outcome.violations)


def test_a_forgotten_value_that_is_held_under_a_lease_is_seen() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        key = await put(world)
        state = world.holders(key)[0].stored(key)
        assert state is not None
        await world.users.forget(key)
        await trio.sleep(forgotten_bound(world))
        for machine in machines:
            machine.storage.write(machine.storage.read(key), state, Timetable(), value=b"a plum")
        await trio.sleep(5)

    assert broken_rules(run_world(story, Forgotten)) == [Forgotten.name]


def test_a_get_that_finds_a_forgotten_value_is_seen_unless_there_is_trouble() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        await put_and_forget(world)
        with mock.patch.object(Node, "get", get_a_plum):
            await trio.sleep(60)

    async def troubled(world: World, machines: list[Machine]) -> None:
        key = await put(world)
        await world.users.forget(key)
        world.trouble("a flood")
        with mock.patch.object(Node, "get", get_a_plum):
            await trio.sleep(forgotten_bound(world) + 60)

    assert broken_rules(run_world(story, Forgotten)) == [Forgotten.name]
    assert not broken_rules(run_world(troubled, Forgotten))


# Ends of leases ------------------------------------------------------------------------------------------------------


async def for_a_minute(world: World, machines: list[Machine]) -> None:
    """A value for a minute, read all the time and long after."""
    await read_everywhere(world, await put(world, ttl=60))


def test_a_value_for_a_minute_is_served_for_a_minute() -> None:
    assert not broken_rules(run_world(for_a_minute, LeaseEnds))


def test_a_clock_that_is_behind_serves_it_for_longer_and_is_not_blamed() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        for machine in machines[::2]:
            machine.clock.jump(-20_000)
        await for_a_minute(world, machines)

    assert not broken_rules(run_world(story, LeaseEnds))


def test_a_copy_that_outlives_its_lease_is_seen() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        key = await put(world, ttl=60)
        with serving(world, world.holders(key)[0], key, b"a plum"):
            await read_everywhere(world, key, times=20)

    outcome = run_world(story, LeaseEnds)
    assert broken_rules(outcome) == [LeaseEnds.name]
    assert "from the cache" in outcome.violations[0].seen


def test_a_get_that_finds_it_long_after_is_seen() -> None:
    with mock.patch.object(Node, "get", get_a_plum):
        assert broken_rules(run_world(for_a_minute, LeaseEnds)) == [LeaseEnds.name]


@pytest.mark.parametrize("has_strangers", [False, True])
def test_a_copy_that_a_classic_node_stored_has_an_end_of_its_own_where_there_are_classic_nodes(
    has_strangers: bool,
) -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        world.has_strangers = has_strangers
        key = await put(world, ttl=60)
        holder = nearest(world.holders(key), key)[0]  # only the k closest serve it
        state, end = holder.stored(key), holder.clock() + 3_600_000
        assert state is not None
        holder.storage.write(state, attrs.evolve(state, classic_until=end), Timetable(due=end, renew=0))
        await trio.sleep(61)

        async def get(node: Node) -> None:
            with contextlib.suppress(NotFound):
                await node.get(key)

        # As the judge asks, and not as users do, whom a classic node can tell nothing of leases.
        for machine in machines:
            await machine.ask(get)

    assert broken_rules(run_world(story, LeaseEnds)) == ([] if has_strangers else [LeaseEnds.name])


def test_a_classic_node_is_told_nothing_of_leases_which_is_no_fault() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        world.has_strangers = True
        key = await put(world)
        async with open_classic_peers(world.network, 1, first="10.200.0.1:8118", seed=1) as (peer,):
            assert await peer.find_value(world.holders(key)[0].endpoint, key) == b"a plum"

    assert not broken_rules(run_world(story, LeaseEnds, config=attrs.evolve(QUICK, classic=True)))


# Right bytes ---------------------------------------------------------------------------------------------------------


async def plums(world: World, machines: list[Machine]) -> None:
    await read_everywhere(world, await put(world), times=8)


def test_right_values_are_right() -> None:
    assert not broken_rules(run_world(plums, RightBytes))


def test_a_get_of_other_bytes_is_seen() -> None:
    async def get(self: Node, key: Key) -> Found:
        return Found(key, b"a pear", self.id, True)

    with mock.patch.object(Node, "get", get):
        assert broken_rules(run_world(plums, RightBytes)) == [RightBytes.name]


def test_other_bytes_that_are_served_are_seen() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        key = await put(world)
        with serving(world, world.holders(key)[0], key, b"a pear"):
            await read_everywhere(world, key, times=8)

    outcome = run_world(story, RightBytes)
    assert broken_rules(outcome) == [RightBytes.name]
    assert any("served b'a pear'" in each.seen for each in outcome.violations)


def test_other_bytes_in_memory_are_seen() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        await world.settle(4, is_ephemeral=True)
        await put(world)
        with mock.patch.object(MemoryStorage, "value", return_value=b"a pear"):
            await trio.sleep(60)

    outcome = run_world(story, RightBytes, nodes=2)
    assert any("kept in memory" in each.seen for each in outcome.violations)


def test_a_disk_that_damages_a_value_is_not_blamed_since_nobody_serves_it() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        key = await put(world)
        for machine in machines:
            assert machine.disk is not None
            assert (machine.disk.damage(random.Random(1)) == key) == machine.holds(key)
        await read_everywhere(world, key, times=8)

    assert not broken_rules(run_world(story, RightBytes))
