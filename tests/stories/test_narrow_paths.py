"""A router drops large datagrams and does not say so: what is too large for the path goes by a stream."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from camomile_trio.peer.paths import NARROW_FOR
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.simulation.links import LinkConditions, StreamConditions
from camomile_trio.simulation.network import MemoryNetwork
from tests.fixtures.cluster import DEADLINE, HEALTHY, Cluster, config_with, open_cluster, timed_get, timed_put
from tests.fixtures.counts import count


def tunnel(largest: int) -> MemoryNetwork:
    return MemoryNetwork(seed=1, conditions=LinkConditions(largest=largest))


def streams(cluster: Cluster) -> int:
    return cluster.network.statistics.streams


def value(number: int) -> bytes:
    return (b"%d of a thousand bytes. " % number * 50)[:1000]


async def test_a_store_that_vanishes_goes_by_a_stream(virtual_clock: VirtualClock) -> None:
    """It used to fail: of five nodes none got the value from another one."""
    async with open_cluster(5, config=config_with(cache_life=0), network=tunnel(1100)) as cluster:
        for node in cluster.nodes:
            assert await timed_put(node, value(0)) < DEADLINE
        stored = await cluster[0].put(value(1))
        await trio.sleep(DEADLINE)
        assert all(each.holds(stored.key) for each in cluster.machines)


async def test_after_a_few_a_narrow_path_is_known_and_costs_no_waiting(virtual_clock: VirtualClock) -> None:
    async with open_cluster(2, config=config_with(cache_life=0), network=tunnel(1100)) as cluster:
        for number in range(3):
            assert await timed_put(cluster[0], value(number)) > HEALTHY
        before = count(cluster[0], "rpc_retransmissions_total")
        for number in range(3, 13):
            assert await timed_put(cluster[0], value(number)) < HEALTHY
        assert count(cluster[0], "rpc_retransmissions_total") == before


async def test_answers_that_vanish_are_fetched_by_a_stream(virtual_clock: VirtualClock) -> None:
    """Twenty contacts fill 846 bytes: beyond some ten nodes no lookup would get an answer."""
    async with open_cluster(24, config=config_with(cache_life=0), network=tunnel(800)) as cluster:
        stored = await cluster[3].put(b"small")
        await trio.sleep(60)
        newcomer = (await cluster.start()).node
        assert await timed_get(newcomer, stored.key) < DEADLINE
        assert len(newcomer.contacts()) >= 20


async def test_a_path_that_is_wide_again_is_used_again(virtual_clock: VirtualClock) -> None:
    async with open_cluster(2, config=config_with(cache_life=0), network=tunnel(1100)) as cluster:
        for number in range(4):
            await cluster[0].put(value(number))
        cluster.network.set_conditions(None, None, LinkConditions())
        await trio.sleep(NARROW_FOR + DEADLINE)  # what was under way has made the path narrow anew
        await cluster[0].put(value(4))
        before = streams(cluster)
        for number in range(5, 10):
            await cluster[0].put(value(number))
        assert streams(cluster) == before


async def test_loss_by_chance_is_not_taken_for_a_narrow_path(virtual_clock: VirtualClock) -> None:
    """One link in five hundred loses both transmissions, and no three in turn: nearly all goes by datagrams."""
    lossy = MemoryNetwork(seed=1, conditions=LinkConditions(latency=0.01, loss=0.05))
    async with open_cluster(8, config=config_with(cache_life=0), network=lossy) as cluster:
        for number in range(60):
            await cluster[number % 8].put(value(number))
        assert streams(cluster) < 60 * 7 * 0.05


async def test_the_dead_are_not_sent_more_for_it_than_a_ping_a_minute(virtual_clock: VirtualClock) -> None:
    async with open_cluster(4, config=config_with(cache_life=0)) as cluster:
        dead = cluster.machines[3]
        await cluster.lose(dead)
        before = count(cluster[0], "rpc_requests_total", kind="ping")
        for number in range(10):
            await cluster[0].put(value(number))
        assert streams(cluster) == 0
        assert count(cluster[0], "rpc_requests_total", kind="ping") - before <= 10


@pytest.mark.parametrize("closed", [StreamConditions(refusal=1.0), StreamConditions(stall=1.0)])
async def test_where_streams_fail_too_datagrams_go_on(virtual_clock: VirtualClock, closed: StreamConditions) -> None:
    """Nothing large gets through, and small values do."""
    narrow = MemoryNetwork(seed=1, conditions=LinkConditions(largest=1100, streams=closed))
    async with open_cluster(3, config=config_with(cache_life=0), network=narrow) as cluster:
        assert await timed_put(cluster[0], b"small") < HEALTHY
        assert await timed_get(cluster[2], (await cluster[1].put(b"also small")).key) < HEALTHY
