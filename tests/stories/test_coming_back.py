"""Who could not listen hears what happened, and what is far off is found."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from camomile_trio.kademlia.ids import Key, distance
from camomile_trio.simulation.clocks import VirtualClock
from tests.fixtures.cluster import Machine, config_with, open_cluster

pytestmark = pytest.mark.long

VALUE = b"worth keeping"


def has_tombstone(machine: Machine, key: Key) -> bool:
    return any(each.record.is_tombstone for each in machine.state(key).registers)


async def test_a_holder_that_could_not_be_reached_is_told_soon_after_it_can(
    virtual_clock: VirtualClock,
) -> None:
    """Long before the next round of replication, which comes within the hour."""
    async with open_cluster(8, config=config_with(k=4, cache_life=0)) as cluster:
        key = (await cluster[1].put(VALUE)).key
        await trio.sleep(5)
        deaf = min(cluster.machines[2:], key=lambda each: distance(each.node.id, key))
        assert deaf.holds(key)
        others = [each.endpoint for each in cluster.machines if each is not deaf]
        cluster.network.partition([others, [deaf.endpoint]])
        await cluster[1].forget(key)
        assert cluster[1].statistics().gauges["reminders_waiting", ()] >= 1
        await trio.sleep(20)
        assert not has_tombstone(deaf, key)
        cluster.network.heal_all()
        await trio.sleep(60)
        assert has_tombstone(deaf, key)
        assert cluster[1].statistics().gauges["reminders_waiting", ()] == 0


async def test_a_former_holder_is_told_of_a_forget(virtual_clock: VirtualClock) -> None:
    """Newcomers have pushed it out of the k closest, and its copy is still there."""
    async with open_cluster(5, config=config_with(k=4, cache_life=0)) as cluster:
        key = (await cluster[1].put(VALUE)).key
        await trio.sleep(5)
        await cluster.grow(3)
        await trio.sleep(10)
        ranked = sorted(cluster.machines, key=lambda each: distance(each.node.id, key))
        former = [each for each in ranked[4:] if each.holds(key)]
        assert former
        await cluster[1].forget(key)
        await trio.sleep(5)
        assert all(has_tombstone(each, key) for each in former)


async def test_a_publisher_far_from_its_key_finds_the_holders(virtual_clock: VirtualClock) -> None:
    """A small bucket knows only some of the far nodes. What is far off is looked up before it is offered."""
    async with open_cluster(24, config=config_with(k=2, replicate=300.0, refresh=300.0, cache_life=0)) as cluster:
        key = (await cluster[1].put(VALUE)).key
        await trio.sleep(1000)
        ranked = sorted(cluster.machines, key=lambda each: distance(each.node.id, key))
        for holder in ranked[:2]:
            if holder.node is not cluster[1]:
                holder.storage.remove(key)
        for other in ranked[2:]:
            if other.node is not cluster[1]:
                other.storage.remove(key)
        await trio.sleep(1000)
        assert all(each.holds(key) for each in ranked[:2])


async def test_two_puts_of_one_value_do_not_undo_each_other(virtual_clock: VirtualClock) -> None:
    """One is given up while the other is accepted: the value stays published."""
    async with open_cluster(4, config=config_with(cache_life=0)) as cluster:
        node = cluster[1]
        given_up = trio.CancelScope()

        async def give_up() -> None:
            with given_up:
                await node.put(VALUE)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(give_up)
            await trio.sleep(0.0005)
            key = (await node.put(VALUE)).key
            given_up.cancel()
        await trio.sleep(5)
        assert cluster.machines[1].state(key).published
