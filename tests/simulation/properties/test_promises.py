"""What was promised is kept and can be read: a loss, a refusal and too few acknowledgements are seen."""

from __future__ import annotations

import itertools
from unittest import mock

import pytest
import trio

from camomile_trio.errors import NotFound
from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.acknowledgement import Acknowledgements
from camomile_trio.kademlia.ids import Key
from camomile_trio.node.node import Node
from camomile_trio.operations.results import Found
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.properties.promises import (
    SETTLED,
    Lost,
    Majority,
    Readable,
    readable_bound,
    short_bound,
)
from camomile_trio.simulation.trace import Happening
from camomile_trio.simulation.world import World
from tests.simulation.worlds import Story, broken_rules, nearest, put, run_world

pytestmark = pytest.mark.long


async def find_nothing(self: Node, key: Key) -> Found:
    raise NotFound("no node has it")


def test_a_promised_value_is_readable_also_after_crashes() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        keys = await world.users.put_many(10)
        await world.crash_all(machines[-3:])
        await trio.sleep(2 * readable_bound(world))
        assert len(keys) == 10

    assert not broken_rules(run_world(story, Readable))


def test_at_rest_it_has_to_be_read_soon() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        await put(world)
        await trio.sleep(2 * readable_bound(world))
        with mock.patch.object(Node, "get", find_nothing):
            await trio.sleep(short_bound(world) + 60)

    outcome = run_world(story, Readable)
    assert broken_rules(outcome) == [Readable.name]
    assert "no node has it" in outcome.violations[0].seen


def test_after_a_fault_it_has_longer() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        await put(world)
        world.stir()
        with mock.patch.object(Node, "get", find_nothing):
            await trio.sleep(readable_bound(world) - 10)
            assert not world.violations
            await trio.sleep(60)

    assert broken_rules(run_world(story, Readable)) == [Readable.name]


def test_one_that_nobody_holds_is_not_asked_for() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        await put(world)
        for machine in machines:
            assert machine.disk is not None
            machine.disk.entries.replace(world.ledger.keys[0], None)
        await trio.sleep(2 * readable_bound(world))

    assert not broken_rules(run_world(story, Readable))


def lost_in(story: Story) -> tuple[int, list[str]]:
    """How many keys were found without a copy, and which rules that broke."""
    told: list[Happening] = []
    outcome = run_world(story, Lost, tell=told.append)
    return sum(each["event"] == "lost" for each in told), broken_rules(outcome)


def test_nothing_is_lost_while_nothing_happens() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        await put(world)
        await trio.sleep(1200)

    assert lost_in(story) == (0, [])


def test_copies_that_vanish_without_a_fault_are_seen() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        key = await put(world)
        await trio.sleep(5)  # until the last holder has it too
        for machine in machines:
            assert machine.disk is not None
            machine.disk.entries.replace(key, None)
        await trio.sleep(60)

    assert broken_rules(run_world(story, Lost)) == [Lost.name]


def test_a_value_on_the_disk_of_a_machine_that_is_down_is_not_lost() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        await put(world)
        await world.crash_all(machines)
        await trio.sleep(60)

    assert lost_in(story) == (0, [])


def test_a_lease_whose_publisher_has_forgotten_it_ends() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        # The last holders let go of it so much later that its publisher's new life looks like a long one.
        for machine in machines:
            machine.clock.jump(-200_000)
        guest = world.new_machine(is_ephemeral=True, publisher=KeyPair.new(world.generator("guest")))
        await world.start(guest)
        await world.wait_ready([guest], 60)
        # One that the guest is no holder of: else it would be told of its own lease, and renew it.
        values = (b"plum %d" % number for number in itertools.count())
        value = next(each for each in values if nearest(world.machines, Key.of(each), 9)[-1] is guest)
        await put(world, value, at=guest)
        await world.leave(guest)
        await world.start(guest)
        await trio.sleep(1200)

    assert lost_in(story) == (1, [])


def test_what_goes_with_all_of_its_holders_is_counted_and_explained() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        await trio.sleep(30)
        key = await put(world)
        holders = world.holders(key)
        await world.crash_all(holders)
        for machine in holders:
            assert machine.disk is not None
            machine.disk.wipe()
        await trio.sleep(60)

    assert lost_in(story) == (1, [])


async def put_then_forget(world: World, machines: list[Machine]) -> None:
    await trio.sleep(2 * SETTLED)
    await world.users.forget(await put(world))


async def put_under_trouble(world: World, machines: list[Machine]) -> None:
    await trio.sleep(2 * SETTLED)
    world.trouble("a flood")
    await put(world)
    world.end_trouble("a flood")


def test_a_majority_is_enough() -> None:
    assert not broken_rules(run_world(put_then_forget, Majority))


def test_less_is_seen_unless_something_was_wrong() -> None:
    with mock.patch.object(Acknowledgements, "replicas", property(lambda self: 1)):
        assert broken_rules(run_world(put_then_forget, Majority)) == [Majority.name]
        assert not broken_rules(run_world(put_under_trouble, Majority))
