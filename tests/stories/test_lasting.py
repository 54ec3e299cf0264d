"""Values outlive their holders, and end when they should: maintenance in virtual time."""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.errors import Forgotten, NotFound
from camomile_trio.kademlia.ids import distance
from camomile_trio.simulation.clocks import VirtualClock
from tests.fixtures.cluster import Cluster, config_with, open_cluster

pytestmark = pytest.mark.long

VALUE = b"worth keeping"


def holders(cluster: Cluster, key: bytes) -> int:
    """How many nodes store the value's bytes."""
    return sum(each.holds(key) for each in cluster.machines)  # type: ignore[arg-type]


async def test_a_value_outlives_all_of_its_first_holders(virtual_clock: VirtualClock) -> None:
    config = config_with(k=4, replicate=300.0, refresh=300.0, cache_life=0)
    async with open_cluster(20, config=config) as cluster:
        key = (await cluster[1].put(VALUE)).key
        await trio.sleep(10)
        first = [each for each in cluster.machines[2:] if each.holds(key)]
        assert len(first) >= 3
        for holder in first:
            await cluster.lose(holder)
            await trio.sleep(900)  # a replication round, and time to notice
        assert (await cluster[3].get(key)).value == VALUE
        assert holders(cluster, key) >= 4


async def test_a_newcomer_is_given_what_it_should_hold(virtual_clock: VirtualClock) -> None:
    async with open_cluster(6, config=config_with(cache_life=0)) as cluster:
        key = (await cluster[0].put(VALUE)).key
        newcomer = await cluster.start()
        await trio.sleep(10)
        assert newcomer.state(key).size == len(VALUE)


async def test_who_leaves_hands_over(virtual_clock: VirtualClock) -> None:
    config = config_with(k=3, cache_life=0)
    async with open_cluster(12, config=config) as cluster:
        key = (await cluster[0].put(VALUE)).key
        await trio.sleep(5)
        for machine in sorted(cluster.machines[1:], key=lambda each: distance(each.node.id, key))[:4]:
            cluster.machines.remove(machine)
            await machine.leave()
            await trio.sleep(10)
        assert (await cluster[1].get(key)).value == VALUE


async def test_a_lease_is_renewed_while_its_publisher_lives(virtual_clock: VirtualClock) -> None:
    config = config_with(lease=3600.0, cache_life=0)
    async with open_cluster(6, config=config) as cluster:
        key = (await cluster[2].put(VALUE)).key
        await trio.sleep(5 * 3600)
        assert (await cluster[4].get(key)).value == VALUE


async def test_the_shortest_leases_are_renewed_in_time(virtual_clock: VirtualClock) -> None:
    """Values are put while the task that renews sleeps: the least lease ends before it would wake by itself."""
    async with open_cluster(4, config=config_with(lease=60.0, cache_life=0)) as cluster:
        await trio.sleep(300)
        keys = []
        for number in range(12):
            keys.append((await cluster[number % 4].put(b"value %d" % number)).key)
            await trio.sleep(7)
        for _ in range(60):
            await trio.sleep(5)
            for key in keys:
                await cluster[3].get(key)


async def test_a_lease_that_is_not_renewed_ends_everywhere(virtual_clock: VirtualClock) -> None:
    async with open_cluster(6, config=config_with(cache_life=0)) as cluster:
        key = (await cluster[2].put(VALUE, ttl=600.0)).key
        await trio.sleep(590)
        assert (await cluster[4].get(key)).value == VALUE
        await trio.sleep(20)
        for node in cluster.nodes:
            with pytest.raises(NotFound):
                await node.get(key)
        assert holders(cluster, key) == 0


async def test_what_was_forgotten_does_not_come_back(virtual_clock: VirtualClock) -> None:
    """A holder that slept through the forget brings its stale lease, and is given the tombstone."""
    config = config_with(k=4, replicate=300.0, refresh=300.0, cache_life=0)
    async with open_cluster(8, config=config) as cluster:
        key = (await cluster[1].put(VALUE)).key
        await trio.sleep(5)
        sleeper = next(each for each in cluster.machines[2:] if each.state(key).size)
        others = [each.endpoint for each in cluster.machines if each is not sleeper]
        cluster.network.partition([others, [sleeper.endpoint]])
        await cluster[1].forget(key)
        await trio.sleep(30)
        cluster.network.heal_all()
        await trio.sleep(1500)
        assert holders(cluster, key) == 0
        for node in cluster.nodes:
            with pytest.raises(Forgotten):
                await node.get(key)


async def test_a_put_after_a_forget_brings_the_value_back(virtual_clock: VirtualClock) -> None:
    async with open_cluster(5, config=config_with(cache_life=0)) as cluster:
        key = (await cluster[1].put(VALUE)).key
        await cluster[2].forget(key)
        await cluster[3].put(VALUE)
        assert (await cluster[4].get(key)).value == VALUE
        await cluster[1].forget(key)
        with pytest.raises(Forgotten):
            await cluster[4].get(key)


async def test_the_dead_cost_a_put_no_more_than_their_timeouts(virtual_clock: VirtualClock) -> None:
    async with open_cluster(50) as cluster:
        await cluster[1].put(b"warm up")
        for machine in cluster.machines[10:20]:
            await machine.crash()
        began = trio.current_time()
        await cluster[1].put(VALUE)
        # One retransmission timeout for the dead that are met, not their deadline.
        assert trio.current_time() - began < attrs.evolve(cluster.config.requests).deadline / 2
