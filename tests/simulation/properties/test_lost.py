"""Values without any copy are counted; a loss that no fault explains is seen."""

from __future__ import annotations

import trio

from camomile_trio.identity import KeyPair
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.properties.lost import Lost
from camomile_trio.simulation.world import World
from tests.simulation.worlds import broken_rules, put, run_world


def test_nothing_is_lost_while_nothing_happens() -> None:
    lost = Lost()

    async def story(world: World, machines: list[Machine]) -> None:
        await put(world)
        await trio.sleep(1200)

    assert not broken_rules(run_world(story, lost))
    assert lost.count == 0


def test_copies_that_vanish_without_a_fault_are_seen() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        key = await put(world)
        await trio.sleep(5)  # until the last holder has it too
        for machine in machines:
            assert machine.disk is not None
            machine.disk.entries.replace(key, None)
        await trio.sleep(60)

    assert broken_rules(run_world(story, Lost())) == [Lost.name]


def test_a_value_on_the_disk_of_a_machine_that_is_down_is_not_lost() -> None:
    lost = Lost()

    async def story(world: World, machines: list[Machine]) -> None:
        await put(world)
        await world.crash_all(machines)
        await trio.sleep(60)

    assert not broken_rules(run_world(story, lost))
    assert lost.count == 0


def test_a_lease_whose_publisher_has_forgotten_it_ends() -> None:
    lost = Lost()

    async def story(world: World, machines: list[Machine]) -> None:
        # The last holders let go of it so much later that its publisher's new life looks like a long one.
        for machine in machines:
            machine.clock.jump(-200_000)
        guest = world.new_machine(is_ephemeral=True, publisher=KeyPair.new(world.generator("guest")))
        await world.start(guest)
        await world.wait_ready([guest], 60)
        await put(world, at=guest)
        await world.leave(guest)
        await world.start(guest)
        await trio.sleep(1200)

    assert not broken_rules(run_world(story, lost))
    assert lost.count == 1


def test_what_goes_with_all_of_its_holders_is_counted_and_explained() -> None:
    lost = Lost()

    async def story(world: World, machines: list[Machine]) -> None:
        await trio.sleep(30)
        key = await put(world)
        holders = world.holders(key)
        await world.crash_all(holders)
        for machine in holders:
            assert machine.disk is not None
            machine.disk.wipe()
        await trio.sleep(60)

    assert not broken_rules(run_world(story, lost))
    assert lost.count == 1
