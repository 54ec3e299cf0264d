"""A promised value that a live holder has must be readable; one without a holder need not be."""

from __future__ import annotations

from unittest import mock

import trio

from camomile_trio.errors import NotFound
from camomile_trio.kademlia.ids import Key
from camomile_trio.node.node import Node
from camomile_trio.node.results import Found
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.properties.readable import Readable, bound, short_bound
from camomile_trio.simulation.world import World
from tests.simulation.worlds import broken_rules, put, run_world


async def find_nothing(self: Node, key: Key) -> Found:
    raise NotFound("no node has it")


def test_a_promised_value_is_readable_also_after_crashes() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        keys = await world.users.put_many(10)
        await world.crash_all(machines[-3:])
        await trio.sleep(2 * bound(world))
        assert len(keys) == 10

    assert not broken_rules(run_world(story, Readable()))


def test_at_rest_it_has_to_be_read_soon() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        await put(world)
        await trio.sleep(2 * bound(world))
        with mock.patch.object(Node, "get", find_nothing):
            await trio.sleep(short_bound(world) + 60)

    outcome = run_world(story, Readable())
    assert broken_rules(outcome) == [Readable.name]
    assert "no node has it" in outcome.violations[0].seen


def test_after_a_fault_it_has_longer() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        await put(world)
        world.stir()
        with mock.patch.object(Node, "get", find_nothing):
            await trio.sleep(bound(world) - 10)
            assert not world.violations
            await trio.sleep(60)

    assert broken_rules(run_world(story, Readable())) == [Readable.name]


def test_one_that_nobody_holds_is_not_asked_for() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        await put(world)
        for machine in machines:
            assert machine.disk is not None
            machine.disk.entries.replace(world.ledger.keys[0], None)
        await trio.sleep(2 * bound(world))

    assert not broken_rules(run_world(story, Readable()))
