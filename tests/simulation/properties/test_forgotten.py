"""What was forgotten may be served for a bounded time; after that, whoever serves or finds it is seen."""

from __future__ import annotations

from unittest import mock

import trio

from camomile_trio.kademlia.ids import Key
from camomile_trio.node.cache import CachedCopy
from camomile_trio.node.node import Node
from camomile_trio.node.results import Found
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.properties.forgotten import Forgotten, bound
from camomile_trio.simulation.world import World
from tests.simulation.worlds import broken_rules, put, records_of, run_world


async def put_and_forget(world: World) -> None:
    key = await put(world)
    await world.users.forget(key)
    await trio.sleep(bound(world))


def test_a_forgotten_value_stays_away() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        await put_and_forget(world)
        await trio.sleep(60)

    assert not broken_rules(run_world(story, Forgotten()))


def test_a_value_that_was_put_again_is_not_forgotten() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        await put_and_forget(world)
        await put(world)
        await trio.sleep(60)

    assert not broken_rules(run_world(story, Forgotten()))


def test_a_copy_that_is_served_too_long_is_seen_and_not_before() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        key = await put(world)
        node, records = machines[0].node, records_of(world, key)
        assert node is not None
        await world.users.forget(key)
        node.core.holdings.cache.keep(key, CachedCopy(b"a plum", records, node.id, fresh_until=world.now + 1000))
        await trio.sleep(bound(world) - 1)
        assert not world.violations
        await trio.sleep(60)

    assert broken_rules(run_world(story, Forgotten())) == [Forgotten.name]


def test_a_get_that_finds_it_is_seen() -> None:
    async def get(self: Node, key: Key) -> Found:
        return Found(key, b"a plum", self.id, True)

    async def story(world: World, machines: list[Machine]) -> None:
        await put_and_forget(world)
        with mock.patch.object(Node, "get", get):
            await trio.sleep(60)

    assert broken_rules(run_world(story, Forgotten())) == [Forgotten.name]


def test_trouble_excuses_it() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        key = await put(world)
        await world.users.forget(key)
        world.trouble("a flood")
        with mock.patch.object(Node, "get", mock.AsyncMock(return_value=Found(key, b"a plum", machines[0].id, True))):
            await trio.sleep(bound(world) + 60)

    assert not broken_rules(run_world(story, Forgotten()))
