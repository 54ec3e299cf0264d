"""Somebody sets a node's clock, or it wakes up wrong: it is noticed, said, and harms no record."""

from __future__ import annotations

import random
from collections.abc import MutableMapping, Sequence
from typing import Any

import pytest
import structlog.testing
import trio
import trio.testing

from camomile_trio.errors import Forgotten, NoMajority, NotFound, Unavailable, WrongClock
from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.ids import Key
from camomile_trio.node.clocks import WARN_EVERY
from camomile_trio.node.core import KEPT_TIME
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.storage.memory import MemoryStorage
from tests.fixtures.cluster import Cluster, config_with, open_cluster
from tests.fixtures.records import EPOCH

pytestmark = pytest.mark.long

VALUE = b"still here"
DAY = 24 * 3_600_000


def values(cluster: Cluster) -> list[int]:
    return [node.status().values for node in cluster.nodes]


def events(logs: Sequence[MutableMapping[str, Any]], node_says: str) -> list[MutableMapping[str, Any]]:
    return [each for each in logs if str(each["event"]).startswith(node_says)]


@pytest.mark.parametrize("moved", [30 * DAY, -30 * DAY, 3_600_000])
async def test_a_jump_is_noticed_and_the_records_outlast_it(virtual_clock: VirtualClock, moved: int) -> None:
    async with open_cluster(5, config=config_with(cache_life=0)) as cluster:
        key = (await cluster[1].put(VALUE)).key
        await trio.sleep(5)
        with structlog.testing.capture_logs() as logs:
            cluster.machines[3].wall_clock.error = moved
            await trio.sleep(2 * 3600)
        (said,) = events(logs, "the wall clock was set")
        assert said["seconds"] == pytest.approx(moved / 1000, abs=1)
        assert cluster[3].statistics().counters["clock_jumps_total", ()] == 1
        assert cluster[3].statistics().gauges["clock_ahead", ()] == (moved > 0)
        assert values(cluster) == [1, 1, 1, 1, 1]
        cluster.machines[3].wall_clock.error = 0
        await trio.sleep(120)
        assert cluster[3].statistics().gauges["clock_ahead", ()] == 0
        for node in cluster.nodes:
            assert (await node.get(key)).value == VALUE
        # What it signs from now on is what everybody takes.
        await cluster[3].put(b"another")
        await trio.sleep(5)
        assert values(cluster) == [2, 2, 2, 2, 2]


async def test_what_was_signed_under_a_clock_that_is_ahead_does_not_stay_behind(
    virtual_clock: VirtualClock,
) -> None:
    """The others refuse it. Once the clock is right the same put succeeds there at once, and so does a forget."""
    async with open_cluster(5, config=config_with(cache_life=0)) as cluster:
        kept = (await cluster[1].put(b"kept before")).key
        cluster.machines[3].wall_clock.error = 2 * DAY
        # At once, before anybody has looked, and later, when the peers have said what they think.
        for _ in range(2):
            with pytest.raises(NoMajority, match="most of the holders think that this node's clock is ahead"):
                await cluster[3].put(VALUE)
            with pytest.raises(NoMajority, match="most of the holders think that this node's clock is ahead"):
                await cluster[3].forget(kept)
            await trio.sleep(300)
        cluster.machines[3].wall_clock.error = 0
        await cluster[3].put(VALUE)
        assert (await cluster[3].get(kept)).value == b"kept before"
        await cluster[3].forget(kept)
        await trio.sleep(5)
        for node in cluster.nodes:
            assert (await node.get(Key.of(VALUE))).value == VALUE
            with pytest.raises(Forgotten):
                await node.get(kept)


@pytest.mark.parametrize(("ttl", "patience"), [(None, 30), (3600, 30), (None, 0.5)])
async def test_a_put_that_comes_to_nothing_leaves_what_was_signed_under_a_clock_that_was_ahead(
    virtual_clock: VirtualClock, ttl: float | None, patience: float
) -> None:
    """Whether nobody answers it in time, or its caller gives up before that."""
    async with open_cluster(1, config=config_with(cache_life=0)) as cluster:
        alone = cluster.machines[0]
        alone.wall_clock.error = 2 * DAY
        await alone.node.put(VALUE)
        alone.wall_clock.error = 0
        other = await cluster.start()
        await trio.sleep(200)
        cluster.network.partition([[alone.endpoint], [other.endpoint]])
        with trio.move_on_after(patience), pytest.raises((Unavailable, trio.Cancelled)):
            await alone.node.put(VALUE, ttl=ttl)
        assert alone.node.status().values == 1


async def test_a_renewal_under_a_clock_that_is_ahead_does_not_end_the_life_of_a_value(
    virtual_clock: VirtualClock,
) -> None:
    """The only node that may renew it signs too early for half an hour; then its clock is put right."""
    async with open_cluster(5, config=config_with(lease=7200.0, replicate=86400.0, cache_life=0)) as cluster:
        alone = await cluster.start(publisher=KeyPair.new(random.Random("alone")))
        key = (await alone.node.put(VALUE)).key
        await trio.sleep(1000)
        # By this clock it is time to renew, and for the next time the lease of the others is over.
        alone.wall_clock.error = 4_500_000
        await trio.sleep(2000)
        alone.wall_clock.error = 0
        await trio.sleep(4000)  # the first lease has not ended yet, and was renewed in time
        for node in cluster.nodes:
            assert (await node.get(key)).value == VALUE
            assert [record.expires > EPOCH + 7_300_000 for record in node.records().records] == [True]


@pytest.mark.parametrize("count", [5, 30])
async def test_a_node_two_days_ahead_denies_nothing_that_others_hold(virtual_clock: VirtualClock, count: int) -> None:
    """Whether it holds the value itself (all of 5 do) or not."""
    async with open_cluster(count, config=config_with(k=8, cache_life=0)) as cluster:
        key = (await cluster[1].put(VALUE)).key
        await trio.sleep(5)
        far = cluster.machines[-1]
        far.wall_clock.error = 2 * DAY
        for _ in range(2):
            with pytest.raises(WrongClock):
                await far.node.get(key)
            await trio.sleep(300)
        with pytest.raises(NotFound):
            await far.node.get(Key.of(b"nobody put this"))
        far.wall_clock.error = 0
        assert (await far.node.get(key)).value == VALUE


async def test_a_node_twelve_hours_behind_serves_nothing_that_was_forgotten(
    virtual_clock: VirtualClock,
) -> None:
    """It has to refuse the tombstone, and cannot deny it: it serves its copy neither to users nor to nodes."""
    async with open_cluster(3, config=config_with(cache_life=0)) as cluster:
        key = (await cluster[1].put(VALUE)).key
        await trio.sleep(13 * 3600)
        behind = cluster.machines[2]
        behind.wall_clock.error = -DAY // 2
        await cluster[1].forget(key)
        for node in cluster.nodes:
            with pytest.raises(WrongClock if node is behind.node else Forgotten):
                await node.get(key)
        behind.wall_clock.error = 0
        await trio.sleep(60)
        for node in cluster.nodes:
            with pytest.raises(Forgotten):
                await node.get(key)


async def test_a_node_behind_a_time_that_its_data_directory_has_seen_signs_nothing_and_says_why(
    virtual_clock: VirtualClock,
) -> None:
    async with open_cluster(4) as cluster:
        storage = MemoryStorage(max_bytes=2**20)
        node = await cluster.start(storage=storage)
        await trio.sleep(900)  # its peers confirm its clock, and it keeps the time
        kept = {name: storage.note(name) for name in (KEPT_TIME,)}
        await cluster.lose(node)
        again = MemoryStorage(max_bytes=2**20)
        again.set_note(KEPT_TIME, kept[KEPT_TIME])
        with structlog.testing.capture_logs() as logs:
            behind = await cluster.start(storage=again, clock_error=-DAY // 2)
            with pytest.raises(WrongClock, match="behind a time that it has seen"):
                await behind.node.put(VALUE)
        assert not behind.node.ready
        assert "behind a time that it has seen" in behind.node.not_ready_because
        assert events(logs, "the wall clock is wrong")
        assert (await cluster[1].put(VALUE)).replicas >= 3  # nobody else is stopped
        behind.wall_clock.error = 0
        await behind.node.put(b"another")
        assert behind.node.ready


async def test_one_of_three_nodes_with_a_wrong_clock_makes_the_others_withhold_nothing(
    virtual_clock: VirtualClock,
) -> None:
    """It puts a value again, two days ahead. They refuse that, and know that it is not their clocks that are wrong."""
    async with open_cluster(3, config=config_with(cache_life=0)) as cluster:
        key = (await cluster[1].put(VALUE)).key
        await trio.sleep(120)
        cluster.machines[2].wall_clock.error = 2 * DAY
        with pytest.raises(NoMajority):
            await cluster[2].put(VALUE)
        await trio.sleep(120)
        for node in cluster.nodes[:2]:
            assert (await node.get(key)).value == VALUE


async def test_nor_does_a_newcomer_with_a_wrong_clock_in_a_network_of_some_seconds(
    virtual_clock: VirtualClock,
) -> None:
    """No node has asked another for its clock yet: a record that is refused for its time makes it ask at once."""
    async with open_cluster(4, config=config_with(cache_life=0)) as cluster:
        key = (await cluster[1].put(VALUE)).key
        wrong = await cluster.start(clock_error=2 * DAY)
        with pytest.raises(NoMajority):
            await wrong.node.put(VALUE)
        await trio.sleep(1)
        for node in cluster.nodes[:4]:
            assert (await node.get(key)).value == VALUE


async def test_after_the_clocks_of_all_nodes_were_ahead_nothing_is_lost(
    virtual_clock: VirtualClock,
) -> None:
    """They share a host. A put of what was put meanwhile is refused until that time has come, and harms no copy."""
    async with open_cluster(0, config=config_with(cache_life=0)) as cluster:
        for _ in range(4):
            await cluster.start(clock_error=2 * DAY)
        await trio.sleep(1000)
        key = (await cluster[1].put(VALUE)).key
        await trio.sleep(5)
        for each in cluster.machines:
            each.wall_clock.error = 0
        await trio.sleep(300)  # they confirm each other's clocks
        with pytest.raises(NoMajority, match="stale"):
            await cluster[2].put(VALUE)
        assert (await cluster[2].put(b"another")).replicas >= 3
        await trio.sleep(5)
        assert values(cluster) == [2, 2, 2, 2]
        for node in cluster.nodes:
            assert node.ready
            assert (await node.get(key)).value == VALUE


async def test_peers_whose_clocks_are_behind_stop_no_put(virtual_clock: VirtualClock) -> None:
    """Most of the nodes are an hour behind, and say so; the value goes to those that take it, or is refused by name."""
    async with open_cluster(3, config=config_with(cache_life=0)) as cluster:
        for _ in range(2):
            await cluster.start(clock_error=-3_600_000)
        await trio.sleep(600)
        assert (await cluster[1].put(VALUE)).replicas == 3


async def test_peers_whose_clocks_disagree_are_named(virtual_clock: VirtualClock) -> None:
    async with open_cluster(4) as cluster:
        with structlog.testing.capture_logs() as logs:
            wrong = await cluster.start(clock_error=-3_600_000)
            await trio.sleep(4 * 3600)
        warnings = events(logs, "clocks of peers differ")
        named = {name: seconds for each in warnings for name, seconds in each["seconds_ahead"].items()}
        assert named[wrong.node.id.hex()[:16]] == pytest.approx(-3600, abs=1)
        # It hears of it too; and each says so at most every WARN_EVERY seconds, however often peers are pinged.
        assert len(named) > 1
        assert 5 <= len(warnings) <= 5 * 4 * 3600 / WARN_EVERY
        assert cluster[0].statistics().counters["clock_disagreements_total", ()] > 0


async def test_clocks_that_differ_by_minutes_are_nobodys_business(virtual_clock: VirtualClock) -> None:
    async with open_cluster(4) as cluster:
        with structlog.testing.capture_logs() as logs:
            for error in (-300_000, 300_000):
                await cluster.start(clock_error=error)
            await cluster[5].put(VALUE)
            await trio.sleep(4 * 3600)
        assert not events(logs, "clocks of peers differ")
        assert values(cluster) == [1] * 6
