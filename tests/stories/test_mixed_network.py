"""A network of our nodes and classic ones, for hours: what each side is told of the other, and who keeps what."""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.errors import Forgotten, NotFound
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import distance
from camomile_trio.simulation.classic_peer import ClassicPeer, open_classic_peers
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.simulation.raw_packets import HELLO, PUBLISH, REPLICATE, Kind, key_of
from tests.fixtures.cluster import config_with, open_cluster
from tests.fixtures.peers import acquaint, classic_peers, join_classic

pytestmark = pytest.mark.long

TEXT = "ABC, du är mina tankar".encode()
NO_TEXT = b"\xff\xfe not UTF-8"
HOUR = 3600.0
# Nodes that speak with classic ones.
CLASSIC = config_with(classic=True)


class TestMovingOn:
    """Classic nodes keep no lease and hand nothing over: ours do it for each other, wherever those stand."""

    async def test_a_newcomer_is_given_a_value_though_classic_nodes_are_nearer(
        self, virtual_clock: VirtualClock
    ) -> None:
        async with (
            open_cluster(1, config=config_with(classic=True, cache_life=0)) as cluster,
            classic_peers(cluster.network, 8) as peers,
        ):
            await join_classic(cluster.machines, peers)
            key = (await cluster[0].put(_value_near(peers, cluster[0].id))).key
            newcomer = await cluster.start()
            await trio.sleep(10)
            assert len(newcomer.state(key).registers) == 1

    async def test_who_leaves_hands_over_to_one_of_ours(self, virtual_clock: VirtualClock) -> None:
        config = config_with(classic=True, k=6, cache_life=0)
        async with open_cluster(1, config=config) as cluster, classic_peers(cluster.network, 5) as peers:
            await join_classic(cluster.machines, peers)
            key = (await cluster[0].put(TEXT)).key
            heir = await cluster.start()
            await join_classic([heir], peers)
            heir.storage.remove(key)
            await cluster.machines.pop(0).leave()
            assert len(heir.state(key).registers) == 1


def _value_near(peers: list[ClassicPeer], node_id: bytes) -> bytes:
    """A value whose key is nearer to a classic peer than to the node."""
    values = (f"value {number}".encode() for number in range(100))
    return next(
        each
        for each in values
        if min(distance(peer.node_id, key_of(each)) for peer in peers) < distance(node_id, key_of(each))
    )


class TestJoining:
    async def test_through_a_classic_node_a_node_stands_alone_among_classic_ones(
        self, virtual_clock: VirtualClock
    ) -> None:
        """It is ready, and its own copy is all that counts, since it never met one of ours."""
        async with (
            open_cluster(0) as cluster,
            open_classic_peers(cluster.network, 34, first="10.9.0.1:8118", seed=9) as peers,
        ):
            acquaint(peers)
            node = (await cluster.start(config=attrs.evolve(CLASSIC, join=(str(peers[0].endpoint),)))).node
            assert node.contacts() == []
            assert node.status().classic_contacts >= 20
            stored = await node.put(TEXT)
            assert stored.replicas == 1
            await trio.sleep(1)
            nearest = sorted(peers, key=lambda each: distance(each.node_id, stored.key))[:20]
            assert all(TEXT in each.stores(PUBLISH) for each in nearest)

    async def test_two_that_joined_there_do_not_find_each_other_but_by_an_address_of_ours(
        self, virtual_clock: VirtualClock
    ) -> None:
        async with open_cluster(0) as cluster, classic_peers(cluster.network, 3) as peers:
            acquaint(peers)
            door = str(peers[0].endpoint)
            first = await cluster.start(config=attrs.evolve(CLASSIC, join=(door,)))
            second = await cluster.start(config=attrs.evolve(CLASSIC, join=(door,)))
            await trio.sleep(HOUR)
            assert first.node.contacts() == second.node.contacts() == []
            third = await cluster.start(
                config=attrs.evolve(CLASSIC, join=(door, str(first.endpoint), str(second.endpoint)))
            )
            await trio.sleep(600)
            for machine in cluster.machines:
                assert len(machine.node.contacts()) == 2
                assert machine.node.status().classic_contacts == 3, "and none of ours among them"
            stored = await third.node.put(TEXT)
            assert stored.replicas >= 2

    async def test_an_address_is_asked_for_a_node_of_ours_before_it_is_spoken_classic_with(
        self, virtual_clock: VirtualClock
    ) -> None:
        """One of ours with the option understands both: it would be taken for a classic node, and the newcomer would be
        ready, and acknowledge alone, before it has met any of ours."""
        async with open_cluster(0) as cluster, classic_peers(cluster.network, 1) as (peer,):
            await cluster.start(config=attrs.evolve(CLASSIC, join=(str(peer.endpoint),)))
            hello, again, first, *_ = peer.received
            assert [number for number, _ in hello.fields] == [number for number, _ in again.fields] == [HELLO]
            assert first.kind is Kind.FIND_NODE
            assert first.at - hello.at >= CLASSIC.requests.deadline


class TestMixedNetworks:
    async def test_20_of_ours_and_10_classic_ones(self, virtual_clock: VirtualClock) -> None:
        async with (
            open_cluster(20, config=config_with(classic=True, cache_life=0)) as cluster,
            classic_peers(cluster.network, 10) as peers,
        ):
            await join_classic(cluster.machines, peers)
            keys = [(await node.put(f"from {number}".encode())).key for number, node in enumerate(cluster.nodes)]
            await trio.sleep(1)
            for number, node in enumerate(cluster.nodes):
                for step in (0, 1, 7):
                    wanted = (number + step) % 20
                    found = await node.get(keys[wanted])
                    assert (found.value, found.live) == (f"from {wanted}".encode(), True)
            doors = [each.endpoint for each in cluster.machines]
            for number, peer in enumerate(peers):
                found_there = await _lookup(peer, doors[number], keys[number])
                assert found_there == f"from {number}".encode()

    async def test_hours_of_everything_tell_it_nothing_of_ours(self, virtual_clock: VirtualClock) -> None:
        """Puts, gets, forgets, replication, renewals, a crash, a newcomer, one that leaves: `check` reads it all."""
        config = config_with(classic=True, k=8, lease=2 * HOUR, cache_life=30.0)
        advertising = attrs.evolve(config, advertise=Endpoint.parse("10.0.0.3:8118"))
        async with open_cluster(2, config=config) as cluster, classic_peers(cluster.network, 3) as peers:
            await cluster.start(config=advertising)
            await cluster.grow(4)
            await join_classic(cluster.machines, peers)
            kept = (await cluster[1].put(TEXT)).key
            binary = (await cluster[2].put(NO_TEXT)).key
            gone = (await cluster[3].put(b"to be forgotten")).key
            for node in cluster.nodes:
                await node.get(kept)
                await node.get(gone)
            await cluster[5].forget(gone)
            forgotten_at = trio.current_time()
            peers[0].store(cluster.machines[0].endpoint, b"from a classic user")
            await trio.sleep(2 * HOUR)
            await cluster.lose(cluster.machines[4])
            await trio.sleep(HOUR)
            leaving = cluster.machines.pop(3)
            await leaving.leave()
            await cluster.start()
            await trio.sleep(5 * HOUR)
            for node in cluster.nodes:
                assert (await node.get(kept)).live
                assert (await node.get(binary)).live
                with pytest.raises(Forgotten):
                    await node.get(gone)
                with pytest.raises(NotFound):
                    await node.get(bytes(32))
            for peer in peers:
                kinds = {each.kind for each in peer.received}
                assert {Kind.PING, Kind.FIND_NODE, Kind.FIND_VALUE, Kind.STORE} <= kinds
                assert TEXT in peer.stores(REPLICATE)
                late = [each for each in peer.received if each.at > forgotten_at + 1]
                assert not any(each.kind is Kind.STORE and each.value == b"to be forgotten" for each in late)


async def _lookup(peer: ClassicPeer, door: Endpoint, key: bytes) -> bytes | None:
    """A classic node's lookup, as simple as can be: the next closest that was not asked yet."""
    asked: set[Endpoint] = set()
    known = {door}
    order: dict[Endpoint, int] = {door: 0}
    for _ in range(64):
        waiting = sorted(known - asked, key=lambda each: order[each])
        if not waiting:
            return None
        asked.add(waiting[0])
        answer = await peer.find_value(waiting[0], key)
        if isinstance(answer, bytes):
            return answer
        for contact in answer or []:
            if contact.ip:
                known.add(contact.endpoint)
                order[contact.endpoint] = distance(contact.node_id, key)
    return None
