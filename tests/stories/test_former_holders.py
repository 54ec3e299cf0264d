"""Copies of nodes that are holders no more, since nearer nodes have come: kept, found, forgotten, let go in time."""

from __future__ import annotations

import pytest
import trio

from camomile_trio.errors import NotFound
from camomile_trio.kademlia.ids import distance
from camomile_trio.kademlia.messages import FindValue, Value
from camomile_trio.simulation.clocks import VirtualClock
from tests.fixtures.cluster import KEY, VALUE, Cluster, Machine, config_with, open_cluster
from tests.fixtures.counts import count
from tests.fixtures.peers import network_peer

pytestmark = pytest.mark.long


def former_holders(cluster: Cluster) -> list[Machine]:
    """They know that they are none any more, and so does every other node."""
    return [
        each
        for each in cluster.machines
        if each.holds(KEY)
        and not each.state(KEY).published
        and not each.table.is_among_closest(KEY)
        and not any(other.table.counts(each.node.id, KEY) for other in cluster.machines)
    ]


async def grown_over(cluster: Cluster) -> list[Machine]:
    """The value is put at the first node of five, and so many nodes come that some holders are none any more."""
    await cluster[0].put(VALUE)
    await cluster.grow(15)
    await trio.sleep(10)
    found = former_holders(cluster)
    assert found
    return found


async def test_they_are_kept_whatever_the_holders_say_and_end_with_their_lease(virtual_clock: VirtualClock) -> None:
    """The holders renew it meanwhile, and nobody asks the former ones to."""
    config = config_with(k=4, lease=7200.0, replicate=600.0, cache_life=0.0)
    async with open_cluster(5, config=config) as cluster:
        former = await grown_over(cluster)
        await trio.sleep(3 * 1.25 * 600)
        assert all(each.holds(KEY) for each in former)
        assert [count(each.node, "spare_copies") for each in former] == [1.0] * len(former)
        assert [count(each.node, "spare_bytes") for each in former] == [len(VALUE)] * len(former)
        await trio.sleep(7200)
        for machine in former:
            assert not machine.holds(KEY)
            assert count(machine.node, "spare_copies") == 0
            assert (await machine.node.get(KEY)).value == VALUE
            assert not machine.holds(KEY)  # nor does reading bring it back


async def test_a_former_holder_serves_its_copy_after_a_lookup_where_the_holders_have_lost_theirs(
    virtual_clock: VirtualClock,
) -> None:
    async with open_cluster(5, config=config_with(k=4, replicate=600.0, cache_life=0.0)) as cluster:
        former = await grown_over(cluster)
        for machine in cluster.machines:
            if machine not in former:
                machine.storage.remove(KEY)
        asker = network_peer("asker", 1)
        await asker.join(cluster)
        answer = await asker.answer_to(FindValue(KEY), former[0].contact)
        assert isinstance(answer, Value)
        assert answer.value is None
        found = await former[0].node.get(KEY)
        assert (found.value, found.origin) == (VALUE, former[0].node.id)
        # And the holders have it again within an interval, from the copy that was kept.
        await trio.sleep(2 * 1.25 * 600)
        nearest = sorted(cluster.machines, key=lambda each: distance(each.node.id, KEY))[:4]
        assert all(each.holds(KEY) for each in nearest)


async def test_what_was_forgotten_is_read_at_none_of_them(virtual_clock: VirtualClock) -> None:
    """The forget does not reach one of them, whose lease would live for a day."""
    async with open_cluster(5, config=config_with(k=4, replicate=600.0, cache_life=60.0)) as cluster:
        former = await grown_over(cluster)
        deaf = former[0]
        cluster.network.partition([[deaf.endpoint]])
        await cluster[7].forget(KEY)
        cluster.network.heal_all()
        assert deaf.holds(KEY)
        for node in cluster.nodes:
            with pytest.raises(NotFound):
                await node.get(KEY)
        # It asked before it served, and knows it now.
        assert not deaf.holds(KEY)


async def test_one_that_nobody_asks_hears_of_the_forget_by_itself(virtual_clock: VirtualClock) -> None:
    async with open_cluster(5, config=config_with(k=4, replicate=600.0, cache_life=60.0)) as cluster:
        former = await grown_over(cluster)
        cluster.network.partition([[former[0].endpoint]])
        await cluster[7].forget(KEY)
        cluster.network.heal_all()
        assert former[0].holds(KEY)
        await trio.sleep(2 * 1.25 * 600)
        assert not any(each.holds(KEY) for each in cluster.machines)
