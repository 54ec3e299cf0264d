"""A put stores while it looks: what that costs, who holds the value then, and what it must not take for granted."""

from __future__ import annotations

from collections import Counter

import trio
import trio.testing

from camomile_trio.kademlia.ids import Key, distance
from camomile_trio.kademlia.messages import FindNode, Message, Packet, Store
from camomile_trio.node.node import Node
from camomile_trio.node.spread import Spread
from tests.stories.measuring import FIRST_RTO, KEY, VALUE, rpc_of, timed_put
from tests.stories.strangers import Stranger, a_stranger, truthful
from tests.stories.village import Village, small, village

K = 8


def requests_of(node: Node) -> Counter[str]:
    return Counter(rpc_of(node).statistics.requests)


def holders(place: Village, key: Key) -> set[bytes]:
    return {node.id for node in place.nodes if node._core.holdings.state(key).size is not None}


def nearest(place: Village, key: Key, putter: Node) -> set[bytes]:
    """The k closest beside the node that puts, and that one."""
    others = sorted((node.id for node in place.nodes if node is not putter), key=lambda each: distance(key, each))
    return {*others[:K], putter.id}


async def test_a_put_costs_one_request_for_each_holder_and_a_handful_of_finds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with village(40, config=small(k=K)) as place:
        await trio.sleep(120)
        cost: Counter[str] = Counter()
        for number in range(20):
            node, value = place.nodes[2 * number], b"value %d" % number
            before = requests_of(node)
            await node.put(value)
            await trio.sleep(3)
            cost += requests_of(node) - before
            assert holders(place, Key.of(value)) == nearest(place, Key.of(value), node)
        assert cost["store"] == 20 * K
        assert cost["find_node"] < 20 * K * 3 / 4  # a lookup by finds alone asks each of the k closest


async def test_a_large_value_goes_only_to_who_has_answered_a_find(autojump_clock: trio.testing.MockClock) -> None:
    """Over a stream it takes seconds to find out that somebody is gone."""
    async with village(12, config=small(k=K)) as place:
        await trio.sleep(120)
        node = place[3]
        for value, most_finds, least_finds in ((VALUE, K // 2, 0), (bytes(5000), 2 * K, K)):
            before = requests_of(node)
            await node.put(value)
            await trio.sleep(3)
            cost = requests_of(node) - before
            assert cost["store"] == K
            assert least_finds <= cost["find_node"] <= most_finds


async def test_a_dead_holder_delays_no_put_that_has_its_majority(autojump_clock: trio.testing.MockClock) -> None:
    async with village(24, config=small(k=K)) as place:
        await trio.sleep(120)
        node = place[0]
        dead = [each for each in place.inhabitants if each.node.id in nearest(place, KEY, node) - {node.id}][:2]
        for each in dead:
            await place.lose(each)
        assert await timed_put(node) < FIRST_RTO
        await trio.sleep(5)
        assert holders(place, KEY) == nearest(place, KEY, node)


async def test_who_answers_finds_and_no_store_is_asked_both_and_counts_as_one_that_did_not_store(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with village(3, config=small(k=K)) as place:
        stranger = a_stranger("mallory", 1, near=KEY, behave=storing_nothing)
        await stranger.settle(place)
        await trio.sleep(120)
        stranger.received.clear()
        stored = await place[1].put(VALUE)
        assert stored.replicas == 3  # most of four
        await trio.sleep(3)
        kinds = [type(packet.message) for packet in stranger.received]
        assert kinds.count(Store) == 2  # with its retransmission
        assert kinds.index(FindNode) > kinds.index(Store)


def storing_nothing(stranger: Stranger, packet: Packet) -> Message | None:
    return None if isinstance(packet.message, Store) else truthful(stranger, packet)


async def test_what_goes_on_after_a_put_stops_when_its_node_has_forgotten_the_value(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with village(12, config=small(k=K)) as place:
        node = place[3]
        await node.put(VALUE)
        core = node._core
        register = core.holdings.state(KEY).register(core.publisher.public)
        assert register is not None
        *some, late, later = core.table.closest(KEY, K)
        spread = Spread(core, register.record, VALUE, with_value=True)
        await spread.run(some)
        spread.store_at(late)
        await node.forget(KEY)
        before = requests_of(node)
        spread.store_at(later)
        assert requests_of(node) == before
        assert late.id in spread.told
        assert later.id not in spread.told
