"""A forget is lost when faults have taken every copy of its tombstone, and only then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from camomile_trio.kademlia.ids import Key
from camomile_trio.simulation.ledger import OK, Standing
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.outcome import Outcome
from camomile_trio.simulation.world import World
from tests.simulation.test_figures import section
from tests.simulation.worlds import put, run_world

# What befalls the machines: the first has a disk and does not know of the forget yet, the others have none.
Accident = Callable[[World, list[Machine], Key], Awaitable[None]]


async def forget(world: World, key: Key, at: Machine) -> None:
    operation = await world.users.forget(key, at=at)
    assert operation is not None
    assert operation.outcome == OK, operation.because


def after(accident: Accident, *, standing: Standing) -> Outcome:
    """Three machines have a value; one of them is away while the others, without a disk, hear that it is forgotten."""

    async def story(world: World, machines: list[Machine]) -> None:
        (away,) = machines
        there = await world.settle(2, is_ephemeral=True)
        key = await put(world, at=away)
        await world.crash(away)
        await forget(world, key, there[0])
        await trio.sleep(5)
        await accident(world, [away, *there], key)
        assert world.ledger.standing(key) is standing
        assert world.tombstones.lost == (standing is not Standing.FORGOTTEN)

    outcome = run_world(story, nodes=1)
    assert not outcome.violations
    return outcome


def test_a_forget_that_went_with_the_last_memory_is_open_and_counted() -> None:
    async def accident(world: World, machines: list[Machine], key: Key) -> None:
        await world.crash_all(machines[1:])
        await world.start(machines[0])

    outcome = after(accident, standing=Standing.OPEN)
    assert section(outcome, "keys")["forgets_lost"] == 1


def test_one_memory_that_is_left_has_to_spread_it() -> None:
    async def accident(world: World, machines: list[Machine], key: Key) -> None:
        await world.crash(machines[1])
        await world.start(machines[0])

    outcome = after(accident, standing=Standing.FORGOTTEN)
    assert section(outcome, "keys")["forgets_lost"] == 0


def test_whoever_leaves_in_good_order_has_to_hand_it_over() -> None:
    async def accident(world: World, machines: list[Machine], key: Key) -> None:
        await trio.sleep(60)
        for machine in machines[1:]:
            await world.leave(machine)
            await trio.sleep(60)

    after(accident, standing=Standing.FORGOTTEN)


def test_a_tombstone_on_the_disk_of_a_machine_that_is_down_is_one() -> None:
    async def accident(world: World, machines: list[Machine], key: Key) -> None:
        await world.start(machines[0])
        await world.wait_ready(machines, 60)
        await trio.sleep(30)
        await world.crash_all(machines)

    after(accident, standing=Standing.FORGOTTEN)


def test_a_new_disk_takes_it() -> None:
    async def accident(world: World, machines: list[Machine], key: Key) -> None:
        await world.start(machines[0])
        await world.wait_ready(machines, 60)
        await trio.sleep(30)
        await world.crash_all(machines)
        assert world.ledger.standing(key) is Standing.FORGOTTEN
        await world.start(machines[0], on_new_disk=True)

    after(accident, standing=Standing.OPEN)


def test_nodes_that_drop_it_are_not_excused() -> None:
    async def accident(world: World, machines: list[Machine], key: Key) -> None:
        for machine in machines[1:]:
            machine.storage.remove(key)
        await world.crash_all(machines[1:])
        await world.start(machines[0])

    after(accident, standing=Standing.FORGOTTEN)


def test_what_is_forgotten_once_more_is_forgotten() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        (away,) = machines
        there = await world.settle(2, is_ephemeral=True)
        key = await put(world, at=away)
        await world.crash(away)
        await forget(world, key, there[0])
        await world.crash_all(there)
        assert world.ledger.standing(key) is Standing.OPEN
        for machine in [away, *there]:
            await world.start(machine)
        await world.wait_ready([away, *there], 60)
        await trio.sleep(30)
        await forget(world, key, there[0])
        await trio.sleep(5)
        await world.crash_all([away, *there])
        # This time a disk has it.
        assert world.ledger.standing(key) is Standing.FORGOTTEN
        assert world.tombstones.lost == 1

    assert not run_world(story, nodes=1).violations
