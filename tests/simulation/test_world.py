"""A machine that crashes is gone at once; a disk that fails early ends no node; a network at rest stays at rest."""

from __future__ import annotations

from collections import Counter

import attrs
import pytest
import trio

from camomile_trio.config import Config, Kademlia
from camomile_trio.errors import ValueTooLarge
from camomile_trio.kademlia.ids import Key
from camomile_trio.simulation.disk import DiskFaults
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.run import simulate
from camomile_trio.simulation.scenario import Plan, Scenario
from camomile_trio.simulation.world import World
from tests.simulation.worlds import QUICK, put, run_world

pytestmark = pytest.mark.long


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
        broken_off = "maintenance_failures_total", ()
        failures = node.statistics().counters[broken_off]
        assert failures > 0
        returned.disk.set_faults()
        await trio.sleep(60)
        assert node.statistics().counters[broken_off] <= failures + 1
        assert returned.serves

    outcome = run_world(story)
    assert not outcome.violations


def test_a_disk_that_fails_under_what_goes_on_after_its_caller_has_left_ends_no_node() -> None:
    """Swarm, seed 320. Here the node withdraws a value that most holders refused, after it has answered the put."""

    async def story(world: World, machines: list[Machine]) -> None:
        machine = machines[1]
        await world.crash(machine)
        machine.config = attrs.evolve(machine.config, records=QUICK.records)  # it takes what the others refuse
        await world.start(machine)
        await world.wait_ready([machine], 60)
        node = machine.node
        assert node is not None
        assert machine.disk is not None
        with pytest.raises(ValueTooLarge):
            await node.put(bytes(2000))
        machine.disk.set_faults(DiskFaults(fails_reads=True))
        await trio.sleep(0.001)  # so that nothing else of the node reads
        machine.disk.set_faults()
        await trio.sleep(5)
        assert machine.node is node
        assert node.statistics().counters["maintenance_failures_total", ()] == 1

    modest = attrs.evolve(QUICK, records=attrs.evolve(QUICK.records, max_value_size=1000))
    outcome = run_world(story, config=modest)
    assert not outcome.violations


def test_one_request_does_not_set_off_a_chain_of_pings() -> None:
    """Far buckets are full and their members long silent: if a stranger made its peer check on one of them, that
    peer would be a stranger there in turn. Once thirty pings followed every request."""
    sent: Counter[str] = Counter()

    async def run(world: World, nodes: int) -> None:
        machines = await world.settle(nodes)
        await world.probe_lookups(20)
        await trio.sleep(5)
        for machine in machines:
            assert machine.node is not None
            for (name, labels), count in machine.node.statistics().counters.items():
                if name == "rpc_requests_total":
                    sent[labels[0][1]] += int(count)

    config = attrs.evolve(Config(), kademlia=Kademlia(k=4))
    scenario = Scenario(name="rest", summary="rest", passes="nothing", run=run, nodes=400, config=config)
    assert simulate(Plan(scenario=scenario, is_warm=True)).violations == ()
    assert sent["find_node"] > 100
    # Only a node that has been answered looks whether its own oldest acquaintance is still there.
    assert sent["ping"] <= sent["find_node"] // 4
