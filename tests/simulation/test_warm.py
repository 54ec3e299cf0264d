"""Tables laid out from the global view are as a long life would have left them, and nothing was sent for it."""

from __future__ import annotations

import pytest
import trio

from camomile_trio.kademlia.ids import bucket_index
from camomile_trio.simulation.ledger import OK
from camomile_trio.simulation.lookups import PROBES, Verdict
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.world import World
from tests.simulation.worlds import NODES, K, nearest, told

pytestmark = pytest.mark.long


def check_tables(machines: list[Machine]) -> None:
    """Every bucket has all that it can have, and the k closest are there."""
    for machine in machines:
        others = [each for each in machines if each is not machine]
        table = machine.table
        available = [bucket_index(machine.id, each.id) for each in others]
        for bucket in table.buckets():
            assert len(bucket.contacts) == min(K, available.count(bucket.index))
        assert len(table) == sum(min(K, available.count(index)) for index in range(256))
        assert list(table.closest(machine.id)) == [each.contact for each in nearest(others, machine.id)]


def test_a_warm_network_works_at_once_without_a_message_before() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        assert world.now < 0.001
        assert world.trace.messages == 0
        assert all(each.serves for each in machines)
        check_tables(machines)
        keys = await world.users.put_many(10)
        assert len(keys) == 10
        for key in keys:
            operation = await world.users.get(key)
            assert operation is not None
            assert operation.outcome == OK
        await world.probe_lookups(20)
        assert world.truth.lookups[PROBES].verdicts == {Verdict.EXACT: 20}

    told(story, is_warm=True)


def test_it_goes_on_as_others_do() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        sent = world.trace.messages
        await trio.sleep(3 * world.config.kademlia.refresh_interval)
        assert world.trace.messages > sent + 10 * NODES
        check_tables(machines)
        await world.crash(machines[1])
        await world.start(machines[1])
        assert await world.wait_ready(machines, 30)

    told(story, is_warm=True)


def test_who_comes_later_is_known_to_those_who_were_there() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        await trio.sleep(100)
        newcomers = await world.settle_warm(5)
        check_near(machines + newcomers)

    def check_near(machines: list[Machine]) -> None:
        for machine in machines:
            known = [each.id for each in machine.table]
            (neighbour,) = nearest([each for each in machines if each is not machine], machine.id, 1)
            assert neighbour.id in known

    told(story, nodes=12, is_warm=True)
