"""Whose word counts: honest nodes of one network, and ids that were made beside a key."""

from __future__ import annotations

import random

import pytest
import structlog.testing
import trio

from camomile_trio.errors import Forgotten, NotFound, StorageFull
from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import Key, as_int
from camomile_trio.kademlia.messages import FindNode, FindValue, Have, HaveResult, Message, NodeList, Store, Value
from camomile_trio.peer.local import StaticKey
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.storage.memory import MemoryStorage
from tests.fixtures.cluster import KEY, SUITE, VALUE, Cluster, config_with, open_cluster
from tests.fixtures.counts import count
from tests.fixtures.peers import NetworkPeer, accepting, truthful
from tests.fixtures.speaker import Heard

TOLD = "an attacker in four other networks could stop this network"


async def grow_at(cluster: Cluster, *endpoints: str) -> None:
    for endpoint in endpoints:
        await cluster.start(endpoint=Endpoint.parse(endpoint))


@pytest.mark.parametrize(
    "places",
    [[f"198.18.7.{number}:8118" for number in range(1, 21)], [f"198.18.7.1:{8118 + number}" for number in range(20)]],
    ids=["one /24", "one NAT"],
)
async def test_twenty_nodes_of_one_source_network_are_a_network_and_say_what_it_cannot_promise(
    virtual_clock: VirtualClock, places: list[str]
) -> None:
    async with open_cluster(0, config=config_with(refresh=600.0)) as cluster:
        with structlog.testing.capture_logs() as logs:
            await grow_at(cluster, *places)
            await trio.sleep(1200)
            for number, node in enumerate(cluster.nodes):
                stored = await node.put(b"value %d" % number)
                assert stored.replicas >= 11
            for number, node in enumerate(cluster.nodes):
                assert (await node.get(Key.of(b"value %d" % (19 - number)))).live
            await cluster[3].forget(Key.of(b"value 3"))
            with pytest.raises(NotFound):
                await cluster[4].get(Key.of(b"nobody put this"))
        assert [log["event"] for log in logs].count(TOLD) == 20, "each of them says it, once"
        assert cluster[0].status().source_networks == 1
        assert count(cluster[0], "source_networks") == 1


@pytest.mark.parametrize("how", ["private", "trusted", "five networks"])
async def test_nodes_that_are_not_of_a_few_source_networks_say_nothing(virtual_clock: VirtualClock, how: str) -> None:
    config = config_with(refresh=600.0)
    places = {
        "private": [f"10.0.0.{number}:8118" for number in range(1, 8)],
        "trusted": [f"198.18.7.{number}:8118" for number in range(1, 8)],
        "five networks": [f"198.18.{number}.1:8118" for number in range(1, 8)],
    }[how]
    if how == "trusted":
        config = config_with(refresh=600.0, trust="198.18.0.0/16")
    async with open_cluster(0, config=config) as cluster:
        with structlog.testing.capture_logs() as logs:
            await grow_at(cluster, *places)
            await trio.sleep(1200)
        assert TOLD not in [log["event"] for log in logs]
        assert cluster[0].status().source_networks == (6 if how == "five networks" else 0)
        assert (await cluster[0].put(VALUE)).replicas >= 4


# Ids beside a key -----------------------------------------------------------------------------------------------------

LIARS = 20


def keys_beside(key: Key, count: int) -> list[KeyPair]:
    """Of nodes that are closer to the key than any honest one of 50 will be."""
    rng = random.Random("beside")
    found: list[KeyPair] = []
    while len(found) < count:
        pair = KeyPair.new(rng)
        node = StaticKey.from_seed(SUITE, pair.seed).node_id
        if (as_int(node) ^ as_int(key)).bit_length() <= 256 - 11:
            found.append(pair)
    return found


class Gang:
    """Nodes that have a seat wherever they can, name each other, and do what is told with all else."""

    def __init__(self, *, takes_stores: bool) -> None:
        self.takes_stores = takes_stores
        self.stores = 0
        self.peers = [
            NetworkPeer(pair, Endpoint.parse(f"203.{number // 2}.113.{number}:8118"), self.behave)
            for number, pair in enumerate(keys_beside(KEY, LIARS))
        ]

    def behave(self, heard: Heard) -> Message | None:
        match heard.message:
            case FindNode():
                return NodeList(tuple(peer.contact for peer in self.peers))
            case FindValue():
                return Value(contacts=tuple(peer.contact for peer in self.peers))
            case Have():
                return HaveResult(())
            case Store():
                self.stores += 1
                return accepting(heard) if self.takes_stores else None
        return truthful(heard)

    async def join(self, cluster: Cluster) -> None:
        async with trio.open_nursery() as nursery:
            for peer in self.peers:
                nursery.start_soon(peer.join, cluster)


async def grow_public(cluster: Cluster, count: int, *, room: int = 2**20) -> None:
    """Each node in a network of its own, with so many bytes for records."""
    for number in range(count):
        endpoint = Endpoint.parse(f"{30 + number}.{number}.0.1:8118")
        await cluster.start(endpoint=endpoint, storage=MemoryStorage(max_bytes=room))


def honest_copies(cluster: Cluster, key: Key) -> int:
    return sum(machine.holds(key) for machine in cluster.machines)


@pytest.mark.parametrize("takes_stores", [True, False])
async def test_ids_beside_a_key_neither_keep_a_value_from_honest_nodes_nor_hide_it(
    virtual_clock: VirtualClock, takes_stores: bool
) -> None:
    async with open_cluster(0) as cluster:
        await grow_public(cluster, 50)
        await trio.sleep(120)
        gang = Gang(takes_stores=takes_stores)
        await gang.join(cluster)
        await trio.sleep(300)
        stored = await cluster[7].put(VALUE)
        assert stored.replicas >= 11
        # Of a majority of at least 20 that count no more than 6 are liars.
        assert honest_copies(cluster, KEY) >= 11 - 6
        await trio.sleep(10)
        assert honest_copies(cluster, KEY) >= 18
        for node in cluster.nodes:
            assert (await node.get(KEY)).value == VALUE
        await cluster[11].forget(KEY)
        await trio.sleep(120)
        for node in cluster.nodes:
            with pytest.raises(Forgotten):
                await node.get(KEY)
        assert gang.stores, "they are told, as any other"


async def test_what_ids_beside_a_key_take_alone_is_not_acknowledged(virtual_clock: VirtualClock) -> None:
    """Where no honest node can take anything, a put is no success, whatever the ids beside the key say."""
    async with open_cluster(0) as cluster:
        await grow_public(cluster, 50, room=1)
        await trio.sleep(120)
        gang = Gang(takes_stores=True)
        await gang.join(cluster)
        await trio.sleep(300)
        with pytest.raises(StorageFull):
            await cluster[7].put(VALUE)
        assert gang.stores >= LIARS // 4  # those that were asked before the put had failed
