"""A caller may leave at any moment: nothing waits on its behalf any more, and the node works on."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.errors import CamomileError, NotFound
from camomile_trio.kademlia.ids import Key
from camomile_trio.node.node import Node, open_node
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.simulation.links import LinkConditions
from camomile_trio.simulation.network import MemoryNetwork
from tests.fixtures.cluster import SUITE, Cluster, config_with, open_cluster
from tests.fixtures.counts import count
from tests.fixtures.records import EPOCH

Operation = Callable[[Cluster, Node, int], Awaitable[object]]

CONFIG = config_with(cache_life=0)
STEP = 0.002


def slow_network() -> MemoryNetwork:
    """Latencies differ, so that answers come one by one and there are many moments to leave at."""
    return MemoryNetwork(seed=3, conditions=LinkConditions(latency=0.004, jitter=0.008))


def tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


async def put(cluster: Cluster, node: Node, number: int) -> object:
    return await node.put(b"value %d" % number)


async def put_large(cluster: Cluster, node: Node, number: int) -> object:
    return await node.put(b"value %d" % number + bytes(20_000))


async def get(cluster: Cluster, node: Node, number: int) -> object:
    return await node.get(Key.of(b"kept"))


async def get_large(cluster: Cluster, node: Node, number: int) -> object:
    return await node.get(Key.of(b"kept" + bytes(20_000)))


async def get_nothing(cluster: Cluster, node: Node, number: int) -> object:
    with pytest.raises(NotFound):
        await node.get(Key.of(b"unknown %d" % number))
    return None


async def forget(cluster: Cluster, node: Node, number: int) -> object:
    return await node.forget(Key.of(b"to be forgotten %d" % (number % 4)))


async def ping(cluster: Cluster, node: Node, number: int) -> object:
    return await node.ping(cluster[number % 6].id)


@pytest.mark.parametrize("operation", [put, put_large, get, get_large, get_nothing, forget, ping])
async def test_leaving_at_any_moment_leaves_nothing_behind(virtual_clock: VirtualClock, operation: Operation) -> None:
    async with open_cluster(10, config=attrs.evolve(CONFIG), network=slow_network()) as cluster:
        for value in (b"kept", b"kept" + bytes(20_000), *(b"to be forgotten %d" % n for n in range(4))):
            await cluster[1].put(value)
        await trio.sleep(60)
        # One that holds nothing itself, so that it has to ask.
        node, storage = cluster[6], cluster.machines[6].storage
        for key in (Key.of(b"kept"), Key.of(b"kept" + bytes(20_000))):
            storage.remove(key)
        before = tasks()
        left = finished = 0
        for number in range(60):
            with trio.move_on_after(number * STEP) as scope:
                await operation(cluster, node, number)
            assert count(node, "operations_under_way") == 0
            left += scope.cancelled_caught
            finished += not scope.cancelled_caught
            if number % 10 == 0:
                await trio.sleep(3)
                assert count(node, "requests_pending") == 0
                assert tasks() == before
        assert left >= 3
        assert finished >= 3
        await trio.sleep(12)
        for each in cluster.nodes:
            assert count(each, "requests_pending") == 0
        assert tasks() == before
        assert count(node, "storage_writes_pending") == 0
        # And it works on.
        key = (await node.put(b"afterwards")).key
        assert (await cluster[2].get(key)).value == b"afterwards"


async def test_a_put_that_was_left_publishes_nothing_here(virtual_clock: VirtualClock) -> None:
    """Whoever left was promised nothing, so nothing is to be renewed for it for ever."""
    async with open_cluster(10, config=CONFIG, network=slow_network()) as cluster:
        node = cluster[6]
        value_of = b"value %d".__mod__
        left = []
        for number in range(40):
            with trio.move_on_after(number * STEP) as scope:
                await node.put(value_of(number))
            if scope.cancelled_caught:
                left.append(number)
        await trio.sleep(3)
        assert left
        for number in range(40):
            state = cluster.machines[6].state(Key.of(value_of(number)))
            assert state.published == (number not in left)


async def test_the_block_is_left_in_the_middle_of_operations(virtual_clock: VirtualClock) -> None:
    async with open_cluster(8, config=CONFIG, network=slow_network()) as cluster:
        await trio.sleep(60)
        before = tasks()
        config = attrs.evolve(CONFIG, join=(str(cluster.machines[0].endpoint),))
        network = cluster.network
        for moment in (0.0, 0.01, 0.05, 1.0):
            with trio.CancelScope() as scope:
                async with open_node(
                    config,
                    transport=network.open(cluster.machines[0].endpoint.of(bytes((10, 40, 0, 1)), 8118)),
                    wall_clock=lambda: EPOCH + round(trio.current_time() * 1000),
                    rng=random.Random(17),
                    publisher=cluster.publisher,
                    suite=SUITE,
                ) as node:
                    await node.wait_ready()
                    async with trio.open_nursery() as nursery:
                        for number in range(20):
                            nursery.start_soon(put, cluster, node, number)
                            nursery.start_soon(get_nothing, cluster, node, number)
                        await trio.sleep(moment)
                        began = trio.current_time()
                        scope.cancel()
            # The operations end at once, and then the node hands over as after any other end of its block.
            assert trio.current_time() - began <= CONFIG.records.hand_over_deadline + 0.1
            assert tasks() == before


async def test_operations_of_others_end_when_the_node_is_gone(virtual_clock: VirtualClock) -> None:
    """Their callers live outside of the block: each gets an error, within the operation's deadline."""
    async with open_cluster(8, config=CONFIG, network=slow_network()) as cluster:
        await trio.sleep(60)
        leaver = cluster.machines[5]
        ended: list[tuple[float, CamomileError | None]] = []

        async def attempt(operation: Operation, number: int) -> None:
            try:
                await operation(cluster, leaver.node, number)
                ended.append((trio.current_time(), None))
            except CamomileError as error:
                ended.append((trio.current_time(), error))

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(attempt, put, number)
                nursery.start_soon(attempt, ping, number)
            await trio.sleep(0.005)
            await leaver.crash()
        assert len(ended) == 10
        assert max(time for time, _ in ended) - began <= CONFIG.requests.operation_deadline + 0.1
        assert any(error is not None for _, error in ended)


async def test_leaving_in_good_order_is_bounded(virtual_clock: VirtualClock) -> None:
    """Also when those who should take the records over are silent."""
    async with open_cluster(8, config=CONFIG, network=slow_network()) as cluster:
        leaver = cluster.machines[5]
        for number in range(20):
            await leaver.node.put(b"value %d" % number)
        cluster.network.partition([[leaver.endpoint]])
        before = tasks()
        began = trio.current_time()
        await leaver.leave()
        assert trio.current_time() - began <= CONFIG.records.hand_over_deadline + 0.1
        assert tasks() < before
