"""Wrong bytes are seen wherever they come from: a get, a cache, a memory. What a disk did is not served."""

from __future__ import annotations

import random
from unittest import mock

import trio

from camomile_trio.kademlia.ids import Key
from camomile_trio.node.cache import CachedCopy
from camomile_trio.node.holdings import Holdings
from camomile_trio.node.node import Node
from camomile_trio.node.results import Found
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.properties.right_bytes import RightBytes
from camomile_trio.simulation.world import World
from tests.simulation.worlds import broken_rules, put, records_of, run_world


async def plums(world: World, machines: list[Machine]) -> None:
    key = await put(world)
    for machine in machines:
        await world.users.get(key, at=machine)
    await trio.sleep(60)


def test_right_values_are_right() -> None:
    assert not broken_rules(run_world(plums, RightBytes()))


def test_a_get_of_other_bytes_is_seen() -> None:
    async def get(self: Node, key: Key) -> Found:
        return Found(key, b"a pear", self.id, True)

    with mock.patch.object(Node, "get", get):
        assert broken_rules(run_world(plums, RightBytes())) == [RightBytes.name]


def test_a_cached_copy_of_other_bytes_is_seen() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        key = await put(world)
        node = next(each.node for each in machines if each not in world.holders(key))
        assert node is not None
        copy = CachedCopy(b"a pear", records_of(world, key), node.id, fresh_until=world.now + 100)
        node.core.holdings.cache.keep(key, copy)
        await trio.sleep(60)

    assert RightBytes.name in broken_rules(run_world(story, RightBytes()))


def test_other_bytes_in_memory_are_seen() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        await world.settle(4, is_ephemeral=True)
        await put(world)
        await trio.sleep(60)

    def value(self: Holdings, key: Key) -> bytes | None:
        return b"a pear" if self.state(key).size is not None else None

    with mock.patch.object(Holdings, "value", value):
        assert RightBytes.name in broken_rules(run_world(story, RightBytes(), nodes=2))


def test_a_disk_that_damages_a_value_is_not_blamed_since_nobody_serves_it() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        key = await put(world)
        for machine in machines:
            assert machine.disk is not None
            assert (machine.disk.damage(random.Random(1)) == key) == (machine in world.holders(key))
        await trio.sleep(60)

    assert not broken_rules(run_world(story, RightBytes()))
