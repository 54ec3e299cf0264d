"""A machine that crashes is gone in the same instant, and its node hands nothing over, whatever it was doing."""

from __future__ import annotations

import pytest
import trio

from camomile_trio.kademlia.ids import Key
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.world import World
from tests.simulation.worlds import put, run_world


async def keep_for(world: World, only: Machine) -> Key:
    """A value that no other machine has any more."""
    key = await put(world, at=only)
    await trio.sleep(1)
    for machine in world.up:
        if machine is not only:
            machine.storage.remove(key)
    return key


@pytest.mark.parametrize("is_leaving", [False, True], ids=["at rest", "while it leaves"])
def test_a_crash_takes_no_time_and_hands_nothing_over(is_leaving: bool) -> None:
    seen: list[tuple[float, int]] = []

    async def story(world: World, machines: list[Machine]) -> None:
        machine = machines[3]
        key = await keep_for(world, machine)
        async with trio.open_nursery() as nursery:
            if is_leaving:
                nursery.start_soon(world.leave, machine)
                await trio.sleep(0.001)
            began = world.now
            await world.crash(machine)
            took = world.now - began
        await trio.sleep(1)
        seen.append((took, len(world.holders(key))))

    outcome = run_world(story)
    assert not outcome.violations
    assert seen == [(0.0, 0)]


def test_a_node_that_leaves_in_order_hands_over() -> None:
    """So that the above says something."""
    seen: list[int] = []

    async def story(world: World, machines: list[Machine]) -> None:
        key = await keep_for(world, machines[3])
        await world.leave(machines[3])
        seen.append(len(world.holders(key)))

    run_world(story)
    assert seen[0] > 0
