"""Words that come late, copies that outlive them, and puts that came to nothing."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from camomile_trio.errors import NoMajority, NotFound
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import Message, Store
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.simulation.links import LinkConditions
from tests.fixtures.cluster import FIRST_RTO, KEY, VALUE, config_with, open_cluster
from tests.fixtures.counts import count
from tests.fixtures.peers import accepting, network_peer
from tests.fixtures.speaker import Heard


async def test_a_forget_empties_the_cache_of_the_node_that_forgets(virtual_clock: VirtualClock) -> None:
    async with open_cluster(12, config=config_with(k=3)) as cluster:
        await cluster[1].put(VALUE)
        await trio.sleep(3)
        far = next(each for each in cluster.machines[2:] if not each.holds(KEY)).node
        await far.get(KEY)
        assert far.status().cached == 1
        await far.forget(KEY)
        assert far.status().cached == 0
        with pytest.raises(NotFound):
            await far.get(KEY)


async def test_cached_copies_end_within_their_life(virtual_clock: VirtualClock) -> None:
    async with open_cluster(12, config=config_with(k=3)) as cluster:
        await cluster[1].put(VALUE)
        await trio.sleep(3)
        far = next(each for each in cluster.machines[2:] if not each.holds(KEY)).node
        await far.get(KEY)
        await cluster[1].forget(KEY)
        await trio.sleep(50)
        assert (await far.get(KEY)).value == VALUE  # so long it may be served without asking
        await trio.sleep(12)
        for node in cluster.nodes:
            with pytest.raises(NotFound):
                await node.get(KEY)


# The put waits a timeout for the answer to its STORE and one to a FIND_NODE, and a forget overtakes the STORE.
VERY_SLOW_LINK = LinkConditions(latency=2 * FIRST_RTO + 0.1)
# Long enough for a put to overtake the tombstone of a forget that waits for the node behind it.
SLOW_LINK = LinkConditions(latency=0.04)


async def test_a_store_that_comes_late_does_not_undo_a_forget(virtual_clock: VirtualClock) -> None:
    """One holder's link is slow: it hears of the forget before it hears of the put. Whoever put is told of the
    tombstone then, and must not take it for an old one that the put has overruled."""
    async with open_cluster(8, config=config_with(cache_life=0)) as cluster:
        await trio.sleep(120)  # newcomers are given values by all holders
        slow = cluster.machines[5]
        cluster.network.set_conditions(cluster.machines[2].endpoint, slow.endpoint, VERY_SLOW_LINK)
        await cluster[2].put(VALUE)
        assert not slow.holds(KEY)
        await cluster[3].forget(KEY)
        assert slow.state(KEY).registers, "it has heard of the forget"
        await trio.sleep(30)
        # The STORE and its retransmission.
        assert count(slow.node, "store_refused_total", reason="stale") >= 1
        for node in cluster.nodes:
            with pytest.raises(NotFound):
                await node.get(KEY)


async def test_a_forget_that_comes_late_does_not_undo_a_put(virtual_clock: VirtualClock) -> None:
    async with open_cluster(8, config=config_with(cache_life=0)) as cluster:
        await cluster[2].put(VALUE)
        await trio.sleep(3)
        slow = cluster.machines[5]
        cluster.network.set_conditions(cluster.machines[2].endpoint, slow.endpoint, SLOW_LINK)
        await cluster[2].forget(KEY)
        await cluster[3].put(VALUE)
        await trio.sleep(30)
        assert count(slow.node, "store_refused_total", reason="stale") == 1
        for node in cluster.nodes:
            assert (await node.get(KEY)).value == VALUE


async def test_a_put_that_failed_publishes_nothing(virtual_clock: VirtualClock) -> None:
    """And takes nothing from one that succeeded before."""
    async with open_cluster(2, config=config_with(cache_life=0)) as cluster:
        node, earlier = cluster[1], b"an earlier value"
        await node.put(earlier)
        for number in range(1, 7):
            await network_peer(f"stranger {number}", number, behave=storing_nothing).join(cluster)
        for value in (VALUE, earlier):
            await trio.sleep(61)  # who has just missed a deadline is not waited for, and does not count
            with pytest.raises(NoMajority):
                await node.put(value)
        assert not cluster.machines[1].state(KEY).published
        assert cluster.machines[1].state(Key.of(earlier)).published


def storing_nothing(heard: Heard) -> Message | None:
    return None if isinstance(heard.message, Store) else accepting(heard)
