"""A put that most holders refuse for good: what it leaves behind, and where."""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.errors import Forgotten, StorageFull, ValueTooLarge
from camomile_trio.kademlia.ids import Key
from camomile_trio.node.node import Node
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.storage.memory import MemoryStorage
from tests.fixtures.cluster import Cluster, config_with, open_cluster

pytestmark = pytest.mark.long

LARGE = bytes(2000)
KEY = Key.of(LARGE)


def size_of(node: Node) -> tuple[int, int]:
    status = node.status()
    return status.keys, status.bytes


def kinds(node: Node) -> list[str]:
    return [record.kind for record in node.records().records]


async def settle_with_small_values(cluster: Cluster, count: int) -> list[Node]:
    """Nodes that refuse LARGE."""
    modest = attrs.evolve(cluster.config, records=attrs.evolve(cluster.config.records, max_value_size=1000))
    return [(await cluster.start(config=modest)).node for _ in range(count)]


async def test_puts_that_a_full_store_refused_leave_it_as_it_was(virtual_clock: VirtualClock) -> None:
    async with open_cluster(0, config=config_with(cache_life=0)) as cluster:
        for _ in range(4):
            await cluster.start(storage=MemoryStorage(max_bytes=100_000))
        for number in range(3):
            await cluster[0].put(bytes([number]) * 30_000)
        await trio.sleep(5)
        before = [size_of(node) for node in cluster.nodes]
        for number in range(40):
            with pytest.raises(StorageFull):
                await cluster[number % 4].put(bytes([100 + number]) * 30_000)
        await trio.sleep(60)
        assert [size_of(node) for node in cluster.nodes] == before
        assert (await cluster[1].put(b"6bytes")).replicas >= 3


async def test_a_refused_put_is_withdrawn_only_where_it_was_taken(virtual_clock: VirtualClock) -> None:
    async with open_cluster(2, config=config_with(cache_life=0)) as cluster:
        refusing = await settle_with_small_values(cluster, 5)
        with pytest.raises(ValueTooLarge):
            await cluster[1].put(LARGE)
        await trio.sleep(30)
        assert [kinds(node) for node in refusing] == [[]] * 5
        assert kinds(cluster[0]) == ["tombstone"]
        assert kinds(cluster[1]) == []  # the node that put it has taken it back
        for node in cluster.nodes:
            with pytest.raises(Forgotten):
                await node.get(KEY)


async def test_a_refused_put_does_not_forget_what_an_earlier_put_keeps(virtual_clock: VirtualClock) -> None:
    async with open_cluster(3, config=config_with(cache_life=0)) as cluster:
        await cluster[1].put(LARGE)
        await settle_with_small_values(cluster, 8)
        putting = await cluster.start()
        with pytest.raises(ValueTooLarge):
            await putting.node.put(LARGE)
        await trio.sleep(7200)
        for node in cluster.nodes:
            assert (await node.get(KEY)).value == LARGE
