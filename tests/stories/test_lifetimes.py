"""Puts of one value that ask for different lives: the longest of them is kept, whoever comes first."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from camomile_trio.errors import NotFound
from camomile_trio.kademlia.ids import Key
from camomile_trio.node.node import Node
from camomile_trio.operations.results import Stored
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.simulation.links import LinkConditions
from tests.fixtures.cluster import Cluster, config_with, open_cluster
from tests.fixtures.records import EPOCH

pytestmark = pytest.mark.long

VALUE = b"worth keeping"
KEY = Key.of(VALUE)
MINUTES = 60_000


def now() -> int:
    return EPOCH + round(trio.current_time() * 1000)


async def assert_all_read_it(cluster: Cluster) -> None:
    for node in cluster.nodes:
        assert (await node.get(KEY)).value == VALUE


async def assert_nobody_reads_it(cluster: Cluster) -> None:
    for node in cluster.nodes:
        with pytest.raises(NotFound):
            await node.get(KEY)


async def test_a_put_with_a_lifetime_does_not_end_what_is_kept_until_it_is_forgotten(
    virtual_clock: VirtualClock,
) -> None:
    async with open_cluster(6, config=config_with(lease=3600.0, cache_life=0)) as cluster:
        await cluster[1].put(VALUE)
        stored = await cluster[4].put(VALUE, ttl=60)
        assert stored.expires is None
        assert stored.replicas >= 4
        await trio.sleep(3 * 3600)
        await assert_all_read_it(cluster)
        await cluster[2].forget(KEY)
        await assert_nobody_reads_it(cluster)


async def test_of_two_lifetimes_the_longer_one_stands(virtual_clock: VirtualClock) -> None:
    async with open_cluster(6, config=config_with(cache_life=0)) as cluster:
        long = await cluster[1].put(VALUE, ttl=3600)
        short = await cluster[2].put(VALUE, ttl=60)
        assert long.expires == short.expires is not None
        longer = await cluster[3].put(VALUE, ttl=7200)
        assert longer.expires is not None
        assert longer.expires - now() == pytest.approx(7_200_000, abs=1000)
        await trio.sleep(7190)
        await assert_all_read_it(cluster)
        await trio.sleep(20)
        await assert_nobody_reads_it(cluster)


async def test_a_lifetime_becomes_until_forgotten_also_after_a_clock_that_is_ahead(
    virtual_clock: VirtualClock,
) -> None:
    async with open_cluster(5, config=config_with(cache_life=0)) as cluster:
        ahead = await cluster.start(clock_error=5 * MINUTES)
        await ahead.node.put(VALUE, ttl=60)
        assert (await cluster[2].put(VALUE)).expires is None
        await trio.sleep(3600)
        await assert_all_read_it(cluster)


async def test_a_lease_that_only_some_holders_have_is_brought_to_the_others(
    virtual_clock: VirtualClock,
) -> None:
    """What is acknowledged for a put that changes nothing is the lease that stands, at a majority."""
    async with open_cluster(6, config=config_with(cache_life=0, replicate=86400.0)) as cluster:
        await cluster[1].put(VALUE)
        for _ in range(5):
            await cluster.start()  # it is given the value, but only by those that know of it
        stored = await cluster[8].put(VALUE, ttl=60)
        assert stored.expires is None
        await trio.sleep(120)
        assert [node.status().values for node in cluster.nodes] == [1] * 11


@pytest.mark.parametrize("seed", range(6))
async def test_puts_of_one_value_at_once_all_succeed_and_none_ends_anothers_life(
    virtual_clock: VirtualClock, seed: int
) -> None:
    """Seven puts begin within some milliseconds, four of them with lifetimes, over clocks that differ by minutes."""
    async with open_cluster(5, config=config_with(cache_life=0), seed=seed) as cluster:
        for error in (-20_000, 3 * MINUTES, MINUTES):
            await cluster.start(clock_error=error)
        lives = [None, 60.0, 120.0, None, 3600.0, None, 60.0]
        cluster.rng.shuffle(lives)
        outcomes: list[tuple[float | None, Stored]] = []

        async def put(node: Node, ttl: float | None, after: float) -> None:
            await trio.sleep(after)
            outcomes.append((ttl, await node.put(VALUE, ttl=ttl)))

        async with trio.open_nursery() as nursery:
            for node, ttl in zip(cluster.nodes, lives, strict=False):
                nursery.start_soon(put, node, ttl, cluster.rng.uniform(0, 0.08))
        assert len(outcomes) == len(lives)
        assert all(stored.expires is None for ttl, stored in outcomes if ttl is None)
        await trio.sleep(4000)
        await assert_all_read_it(cluster)


async def test_a_put_with_a_lifetime_that_looked_too_early_learns_what_it_cut_short(
    virtual_clock: VirtualClock,
) -> None:
    """It looks before the other put has stored anything, and stores after that one was acknowledged everywhere."""
    async with open_cluster(4, config=config_with(cache_life=0)) as cluster:
        slow, quick = cluster.machines[1], cluster.machines[2]
        for other in cluster.machines:
            if other is not slow:
                cluster.network.set_conditions(slow.endpoint, other.endpoint, LinkConditions(latency=0.2))
        lifetimes: list[Stored] = []

        async def put_for_a_minute() -> None:
            lifetimes.append(await slow.node.put(VALUE, ttl=60))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(put_for_a_minute)
            await trio.sleep(0.2)  # its questions have been answered by now, and the answers are on their way
            assert (await quick.node.put(VALUE)).expires is None
            assert not lifetimes
        assert lifetimes[0].expires is None
        await trio.sleep(4000)
        await assert_all_read_it(cluster)


@pytest.mark.parametrize("earlier", [None, 86400])
@pytest.mark.parametrize("ahead", [0, 50_000])
async def test_a_life_that_was_forgotten_lengthens_no_later_one(
    virtual_clock: VirtualClock, earlier: float | None, ahead: int
) -> None:
    """Not even where one holder has not heard of it, and the clock of who put the value first is a little ahead."""
    async with open_cluster(5, config=config_with(cache_life=0)) as cluster:
        await trio.sleep(30)
        cluster.machines[4].wall_clock.error = ahead
        key = (await cluster[4].put(VALUE, ttl=earlier)).key
        await trio.sleep(1)
        away = cluster.machines[2]
        cluster.network.partition([[each.endpoint for each in cluster.machines if each is not away], [away.endpoint]])
        await cluster[0].forget(key)
        cluster.network.heal_all()
        await cluster[0].put(VALUE, ttl=60)
        await assert_all_read_it(cluster)
        await trio.sleep(300)
        await assert_nobody_reads_it(cluster)


async def test_forgets_at_once_all_succeed(virtual_clock: VirtualClock) -> None:
    async with open_cluster(6, config=config_with(cache_life=0)) as cluster:
        await cluster[1].put(VALUE)
        async with trio.open_nursery() as nursery:
            for node in cluster.nodes:
                nursery.start_soon(node.forget, KEY)
        await assert_nobody_reads_it(cluster)
