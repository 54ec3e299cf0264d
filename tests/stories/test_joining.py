"""Nodes on their way in: alone or in a crowd, they find their neighbours, know a few of all others, and cost little."""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import NodeId, bucket_index, closest
from camomile_trio.node.node import Node
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.storage.memory import MemoryStorage
from tests.fixtures.cluster import Machine, config_with, open_cluster
from tests.fixtures.counts import count

pytestmark = pytest.mark.long


def unknown_neighbours(machine: Machine, others: list[Node], k: int) -> list[bytes]:
    """Those of its k closest nodes that it should have in its table, and has not. A full bucket needs no more."""
    node, table = machine.node, machine.table
    full = {bucket.index for bucket in table.buckets() if len(bucket.contacts) == k}
    neighbours = closest(node.id, (other.id for other in others if other is not node), k)
    return [each for each in neighbours if bucket_index(node.id, each) not in full and each not in table]


async def test_a_crowd_that_comes_at_once_ends_with_the_right_neighbours(
    virtual_clock: VirtualClock,
) -> None:
    """While it looks for its neighbours nobody can find them all: they look for theirs at the same time."""
    async with open_cluster(1, config=config_with(k=8)) as cluster:
        for _ in range(99):
            await cluster.start(wait=False)
            await trio.sleep(0.01)
        for node in cluster.nodes:
            await node.wait_ready()
        await trio.sleep(90)
        for machine in cluster.machines:
            assert unknown_neighbours(machine, cluster.nodes, 8) == []


async def test_who_joins_a_grown_network_knows_some_of_every_distance(virtual_clock: VirtualClock) -> None:
    async with open_cluster(60, config=config_with(k=4)) as cluster:
        await trio.sleep(120)
        before = cluster.network.statistics.sent
        await trio.sleep(30)
        at_rest = cluster.network.statistics.sent - before
        newcomer = (await cluster.start()).node
        await trio.sleep(30)
        assert cluster.network.statistics.sent - before - 2 * at_rest <= 300
        others = [node.id for node in cluster.nodes if node is not newcomer]
        there = [bucket_index(newcomer.id, other) for other in others]
        known = [bucket_index(newcomer.id, contact.id) for contact in newcomer.contacts()]
        for index in sorted(set(there)):
            assert known.count(index) >= min(there.count(index), 3)


async def test_a_bucket_is_looked_at_once_in_an_interval(virtual_clock: VirtualClock) -> None:
    """Not all of them when the node has joined: that would cost a newcomer as much as a day of its life."""
    async with open_cluster(30, config=config_with(k=2, refresh=600.0)) as cluster:
        machine = cluster.machines[29]
        await trio.sleep(60)
        after_joining = count(machine.node, "rpc_outcomes_total", kind="find_node", outcome="answered")
        await trio.sleep(1300)
        assert machine.table.stale_buckets(trio.current_time() - 800) == []
        assert count(machine.node, "rpc_outcomes_total", kind="find_node", outcome="answered") > after_joining


async def test_all_remembered_contacts_are_tried_in_turns(virtual_clock: VirtualClock) -> None:
    """Of 24 the first 17 are gone, and the name that the node was told of with them. A third node runs."""
    async with open_cluster(7) as cluster:
        gone = [
            Contact(NodeId(bytes([number]) * 32), Endpoint.parse(f"10.5.0.{number}:8118")) for number in range(1, 18)
        ]
        living = [Contact(each.node.id, each.endpoint) for each in cluster.machines]
        storage = MemoryStorage(max_bytes=2**20)
        storage.save_contacts([*gone, *living])
        nowhere = attrs.evolve(config_with(), join=("10.5.0.99:8118",))
        began = trio.current_time()
        newcomer = (await cluster.start(config=nowhere, storage=storage)).node
        assert trio.current_time() - began < 20
        assert len(newcomer.contacts()) == 7


async def test_a_silent_name_server_delays_neither_other_names_nor_what_is_remembered(
    virtual_clock: VirtualClock,
) -> None:
    async def resolve(host: str, port: int) -> list[Endpoint]:
        if host != "there":
            await trio.sleep_forever()
        return [cluster.machines[0].endpoint]

    async with open_cluster(3) as cluster:
        remembering = MemoryStorage(max_bytes=2**20)
        remembering.save_contacts([Contact(cluster[1].id, cluster.machines[1].endpoint)])
        for names, storage in ((("gone:8118", "there:8118"), None), (("gone:8118",), remembering)):
            began = trio.current_time()
            config = attrs.evolve(config_with(), join=names)
            await cluster.start(config=config, storage=storage, resolver=resolve)
            assert trio.current_time() - began < 10


async def test_a_node_that_may_stand_alone_does_so_in_time_where_no_name_server_answers(
    virtual_clock: VirtualClock,
) -> None:
    async def resolve(host: str, port: int) -> list[Endpoint]:
        await trio.sleep_forever()

    async with open_cluster(0) as cluster:
        began = trio.current_time()
        await cluster.start(config=attrs.evolve(config_with(), join=("gone:8118",), first=True), resolver=resolve)
        assert 10 <= trio.current_time() - began < 12
