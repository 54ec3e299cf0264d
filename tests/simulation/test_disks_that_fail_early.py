"""A disk that fails while its node does something by itself ends no node."""

from __future__ import annotations

import trio

from camomile_trio.simulation.disk import DiskFaults
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.world import World
from tests.simulation.worlds import put, run_world


def test_a_disk_that_cannot_be_read_during_the_comparison_is_tried_again() -> None:
    """Swarm, seed 37: the comparison runs in a nursery of its own, whose errors come in groups."""

    async def story(world: World, machines: list[Machine]) -> None:
        await put(world)
        returned = machines[1]
        await world.crash(returned)
        await world.start(returned)
        node = returned.node
        assert node is not None
        assert returned.disk is not None
        returned.disk.set_faults(DiskFaults(fails_reads=True))
        await trio.sleep(30)
        assert returned.node is node
        assert not node.core.holdings.comparisons.is_done
        returned.disk.set_faults()
        await trio.sleep(30)
        assert node.core.holdings.comparisons.is_done

    outcome = run_world(story)
    assert not outcome.violations


def test_a_disk_that_fails_under_what_goes_on_after_its_caller_has_left_ends_no_node() -> None:
    """Swarm, seed 320."""

    async def story(world: World, machines: list[Machine]) -> None:
        key = await put(world)
        machine = machines[1]
        node = machine.node
        assert node is not None
        assert machine.disk is not None
        core = node.core

        async def later() -> None:
            await trio.sleep(1)
            core.holdings.state(key)

        core.background(later)
        machine.disk.set_faults(DiskFaults(fails_reads=True))
        await trio.sleep(5)
        machine.disk.set_faults()
        assert machine.node is node
        assert core.background_failures == 1

    outcome = run_world(story)
    assert not outcome.violations
