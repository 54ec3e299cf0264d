"""A put that is acknowledged by fewer than a majority is seen."""

from __future__ import annotations

from unittest import mock

import trio

from camomile_trio.kademlia.acknowledgement import Acknowledgements
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.properties.majority import SETTLED, Majority
from camomile_trio.simulation.world import World
from tests.simulation.worlds import broken_rules, put, run_world


async def put_and_forget(world: World, machines: list[Machine]) -> None:
    await trio.sleep(2 * SETTLED)
    await world.users.forget(await put(world))


async def put_under_trouble(world: World, machines: list[Machine]) -> None:
    await trio.sleep(2 * SETTLED)
    world.trouble("a flood")
    await put(world)
    world.end_trouble("a flood")


def test_a_majority_is_enough() -> None:
    assert not broken_rules(run_world(put_and_forget, Majority()))


def test_less_is_seen_unless_something_was_wrong() -> None:
    with mock.patch.object(Acknowledgements, "replicas", property(lambda self: 1)):
        assert broken_rules(run_world(put_and_forget, Majority())) == [Majority.name]
        assert not broken_rules(run_world(put_under_trouble, Majority()))
