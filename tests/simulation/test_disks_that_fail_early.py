"""A disk that fails while its node compares old records with the neighbours ends no node."""

from __future__ import annotations

import trio

from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.world import World
from camomile_trio.storage.medium import DiskFaults
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
