"""A put stores while it looks: what that costs, who holds the value then, and what it must not take for granted."""

from __future__ import annotations

from collections import Counter

import trio
import trio.testing

from camomile_trio.kademlia.ids import Key, distance
from camomile_trio.kademlia.messages import FindNode, Message, Store
from camomile_trio.kademlia.records import Record
from camomile_trio.node.node import Node
from camomile_trio.simulation.clocks import VirtualClock
from tests.fixtures.cluster import FIRST_RTO, KEY, VALUE, Cluster, config_with, open_cluster, timed_put
from tests.fixtures.counts import counts
from tests.fixtures.peers import accepting, network_peer
from tests.fixtures.speaker import Heard

K = 8


def requests_of(node: Node) -> Counter[str]:
    return counts(node, "rpc_requests_total", "kind")


def holders(cluster: Cluster, key: Key) -> set[bytes]:
    return {each.node.id for each in cluster.machines if each.holds(key)}


def nearest(cluster: Cluster, key: Key, putter: Node) -> set[bytes]:
    """The k closest beside the node that puts, and that one."""
    others = sorted((node.id for node in cluster.nodes if node is not putter), key=lambda each: distance(key, each))
    return {*others[:K], putter.id}


async def test_a_put_costs_one_request_for_each_holder_and_a_handful_of_finds(
    virtual_clock: VirtualClock,
) -> None:
    async with open_cluster(40, config=config_with(k=K)) as cluster:
        await trio.sleep(120)
        cost: Counter[str] = Counter()
        for number in range(20):
            node, value = cluster.nodes[2 * number], b"value %d" % number
            before = requests_of(node)
            await node.put(value)
            await trio.sleep(3)
            cost += requests_of(node) - before
            assert holders(cluster, Key.of(value)) >= nearest(cluster, Key.of(value), node)
        # Where the k closest are nearer than they should be, which is so for one key in ten with this k, a few more.
        assert 20 * K <= cost["store"] < 20 * K * 1.2
        assert cost["find_node"] < 20 * K * 3 / 4  # a lookup by finds alone asks each of the k closest


async def test_a_large_value_goes_only_to_who_has_answered_a_find(virtual_clock: VirtualClock) -> None:
    """Over a stream it takes seconds to find out that somebody is gone."""
    async with open_cluster(12, config=config_with(k=K)) as cluster:
        await trio.sleep(120)
        node = cluster[3]
        for value, most_finds, least_finds in ((VALUE, K // 2, 0), (bytes(5000), 2 * K, K)):
            before = requests_of(node)
            await node.put(value)
            await trio.sleep(3)
            cost = requests_of(node) - before
            assert cost["store"] == K
            assert least_finds <= cost["find_node"] <= most_finds


async def test_a_dead_holder_delays_no_put_that_has_its_majority(virtual_clock: VirtualClock) -> None:
    async with open_cluster(24, config=config_with(k=K)) as cluster:
        await trio.sleep(120)
        node = cluster[0]
        dead = [each for each in cluster.machines if each.node.id in nearest(cluster, KEY, node) - {node.id}][:2]
        for each in dead:
            await cluster.lose(each)
        assert await timed_put(node) < FIRST_RTO
        await trio.sleep(5)
        # Others name eight contacts, the two dead ones among them: of the last two nobody may have told.
        assert len(holders(cluster, KEY)) == K + 1
        living = sorted((each.id for each in cluster.nodes if each is not node), key=lambda each: distance(KEY, each))
        assert set(living[: K - 2]) < holders(cluster, KEY)


async def test_who_answers_finds_and_no_store_is_asked_both_and_counts_as_one_that_did_not_store(
    virtual_clock: VirtualClock,
) -> None:
    async with open_cluster(3, config=config_with(k=K)) as cluster:
        stranger = network_peer("mallory", 1, near=KEY, behave=storing_nothing)
        await stranger.join(cluster)
        await trio.sleep(120)
        stranger.received.clear()
        stored = await cluster[1].put(VALUE)
        assert stored.replicas == 3  # most of four
        await trio.sleep(3)
        kinds = [type(heard.message) for heard in stranger.received]
        assert kinds.count(Store) == 3  # with its retransmission, and once more after the handshake that follows
        assert kinds.index(FindNode) > kinds.index(Store)


def storing_nothing(heard: Heard) -> Message | None:
    return None if isinstance(heard.message, Store) else accepting(heard)


async def test_what_goes_on_after_a_put_stops_when_its_node_has_forgotten_the_value(
    virtual_clock: VirtualClock,
) -> None:
    """A large value goes to a holder once that has answered. This one answers when the value is forgotten again."""
    large = bytes(5000)
    async with open_cluster(12, config=config_with(k=K)) as cluster:
        slow = network_peer("slow", 1, near=Key.of(large))
        slow.delay = 0.2
        await slow.join(cluster)
        slow.received.clear()
        await cluster[3].put(large)
        assert [type(heard.message) for heard in slow.received].count(FindNode) == 1
        slow.delay = 0.0
        await cluster[3].forget(Key.of(large))
        await trio.sleep(10)
        stored = [heard.message for heard in slow.received if isinstance(heard.message, Store)]
        assert stored
        assert all(Record.from_row(row, Key.of(large)).is_tombstone for store in stored for row in store.records)
