"""Nodes on their way in: alone or in a crowd, they find their neighbours, know a few of all others, and cost little."""

from __future__ import annotations

import attrs
import trio
import trio.testing

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import NodeId, bucket_index, closest
from camomile_trio.node.node import Node
from camomile_trio.storage.memory import MemoryStorage
from tests.stories.measuring import rpc_of
from tests.stories.village import small, village


def unknown_neighbours(node: Node, others: list[Node], k: int) -> list[bytes]:
    """Those of its k closest nodes that it should have in its table, and has not. A full bucket needs no more."""
    table = rpc_of(node).table
    full = {bucket.index for bucket in table.buckets() if len(bucket.contacts) == k}
    neighbours = closest(node.id, (other.id for other in others if other is not node), k)
    return [each for each in neighbours if bucket_index(node.id, each) not in full and each not in table]


async def test_a_crowd_that_comes_at_once_ends_with_the_right_neighbours(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """While it looks for its neighbours nobody can find them all: they look for theirs at the same time."""
    async with village(1, config=small(k=8)) as place:
        for _ in range(99):
            await place.open(wait=False)
            await trio.sleep(0.01)
        for node in place.nodes:
            await node.wait_ready()
        await trio.sleep(90)
        for node in place.nodes:
            assert unknown_neighbours(node, place.nodes, 8) == []


async def test_who_joins_a_grown_network_knows_some_of_every_distance(autojump_clock: trio.testing.MockClock) -> None:
    async with village(60, config=small(k=4)) as place:
        await trio.sleep(120)
        before = place.network.statistics.sent
        await trio.sleep(30)
        at_rest = place.network.statistics.sent - before
        newcomer = (await place.open()).node
        await trio.sleep(30)
        assert place.network.statistics.sent - before - 2 * at_rest <= 300
        others = [node.id for node in place.nodes if node is not newcomer]
        there = [bucket_index(newcomer.id, other) for other in others]
        known = [bucket_index(newcomer.id, contact.id) for contact in newcomer.contacts()]
        for index in sorted(set(there)):
            assert known.count(index) >= min(there.count(index), 3)


async def test_a_bucket_is_looked_at_once_in_an_interval(autojump_clock: trio.testing.MockClock) -> None:
    """Not all of them when the node has joined: that would cost a newcomer as much as a day of its life."""
    async with village(30, config=small(k=2, refresh=600.0)) as place:
        node = place[29]
        answered = rpc_of(node).statistics.answered
        await trio.sleep(60)
        after_joining = answered["find_node"]
        await trio.sleep(1300)
        stale = rpc_of(node).table.stale_buckets(trio.current_time() - 800)
        assert stale == []
        assert answered["find_node"] > after_joining


async def test_all_remembered_contacts_are_tried_in_turns(autojump_clock: trio.testing.MockClock) -> None:
    """Of 24 the first 17 are gone, and the name that the node was told of with them. A third node runs."""
    async with village(7) as place:
        gone = [
            Contact(NodeId(bytes([number]) * 32), Endpoint.parse(f"10.5.0.{number}:8118")) for number in range(1, 18)
        ]
        living = [Contact(each.node.id, each.endpoint) for each in place.inhabitants]
        storage = MemoryStorage(max_bytes=2**20)
        storage.save_contacts([*gone, *living])
        nowhere = attrs.evolve(small(), join=("10.5.0.99:8118",))
        began = trio.current_time()
        newcomer = (await place.open(config=nowhere, storage=storage)).node
        assert trio.current_time() - began < 20
        assert len(newcomer.contacts()) == 7


async def test_a_silent_name_server_delays_neither_other_names_nor_what_is_remembered(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def resolve(host: str, port: int) -> list[Endpoint]:
        if host != "there":
            await trio.sleep_forever()
        return [place.inhabitants[0].endpoint]

    async with village(3) as place:
        remembering = MemoryStorage(max_bytes=2**20)
        remembering.save_contacts([Contact(place[1].id, place.inhabitants[1].endpoint)])
        for names, storage in ((("gone:8118", "there:8118"), None), (("gone:8118",), remembering)):
            began = trio.current_time()
            config = attrs.evolve(small(), join=names)
            await place.open(config=config, storage=storage, resolver=resolve)
            assert trio.current_time() - began < 10


async def test_a_node_that_may_stand_alone_does_so_in_time_where_no_name_server_answers(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def resolve(host: str, port: int) -> list[Endpoint]:
        await trio.sleep_forever()

    async with village(0) as place:
        began = trio.current_time()
        await place.open(config=attrs.evolve(small(), join=("gone:8118",), first=True), resolver=resolve)
        assert 10 <= trio.current_time() - began < 12
