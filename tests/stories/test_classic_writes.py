"""What our nodes write to classic ones and read from them, and that nothing of ours ever reaches those."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.errors import Forgotten, NotFound, NotPublisher
from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.ids import Key, distance
from camomile_trio.simulation.classic_peer import K
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.simulation.raw_packets import (
    MAPPED,
    PUBLISH,
    REPLICATE,
    SENDER,
    SESSION,

    Kind,
    content,
    field,
    fields_of,
    key_of,
)
from tests.fixtures.cluster import config_with, open_cluster
from tests.fixtures.peers import classic_peers, join_classic

pytestmark = pytest.mark.long

TEXT = "ABC, du är mina tankar".encode()
NO_TEXT = b"\xff\xfe not UTF-8"
HOUR = 3600.0
# Nodes that speak with classic ones.
CLASSIC = config_with(classic=True)
VECTORS = Path(__file__).parent.parent / "vectors" / "classic_packets.json"


class TestPuts:
    async def test_a_put_sends_it_what_a_classic_node_would_send(self, virtual_clock: VirtualClock) -> None:
        packets = json.loads(VECTORS.read_text("utf-8"))["packets"]
        recorded = next(bytes.fromhex(each["datagram"]) for each in packets if each["kind"] == "store_1")
        store = content(fields_of(recorded), Kind.STORE)

        def as_classic(session: bytes, sender: bytes) -> bytes:
            return field(SESSION, session) + field(SENDER, sender) + field(Kind.STORE, store)

        assert as_classic(content(fields_of(recorded), SESSION), content(fields_of(recorded), SENDER)) == recorded
        async with open_cluster(4, config=CLASSIC) as cluster, classic_peers(cluster.network, 1) as (peer,):
            await join_classic(cluster.machines, [peer])
            await cluster[2].put(TEXT)
            await trio.sleep(1)
            (packet,) = [each for each in peer.received if each.kind is Kind.STORE]
            session = content(packet.fields, SESSION)
            assert packet.datagram == as_classic(session, cluster[2].id)
            assert packet.source == cluster.machines[2].endpoint
            assert await peer.find_value(cluster.machines[1].endpoint, key_of(TEXT)) == TEXT

    async def test_our_holders_replicate_to_it_every_hour(self, virtual_clock: VirtualClock) -> None:
        async with open_cluster(4, config=CLASSIC) as cluster, classic_peers(cluster.network, 1) as (peer,):
            await join_classic(cluster.machines, [peer])
            await cluster[2].put(TEXT)
            await cluster[1].put(NO_TEXT)
            await trio.sleep(6 * HOUR)
            assert peer.stores(PUBLISH) == [TEXT]
            assert set(peer.stores(REPLICATE)) == {TEXT}
            replicated = [each.at for each in peer.received if each.kind is Kind.STORE][1:]
            # Each of four holders at most once in three quarters of an hour, and never all silent for long.
            assert len(replicated) <= 4 * 8
            assert all(later - earlier < 2 * HOUR for earlier, later in itertools.pairwise(replicated))

    async def test_a_newcomer_is_given_what_is_there_at_the_pace_of_repairs(self, virtual_clock: VirtualClock) -> None:
        config = config_with(classic=True, repair_rate=10_000)
        async with open_cluster(1, config=config) as cluster, classic_peers(cluster.network, 1) as (peer,):
            values = [number.to_bytes(2, "big").hex().encode() * 250 for number in range(40)]
            for value in values:
                await cluster[0].put(value)
            await peer.join(cluster.machines[0].endpoint)
            await trio.sleep(2)
            assert 0 < len(peer.stores(REPLICATE)) <= 3 * 10
            await trio.sleep(10)
            assert sorted(peer.stores(REPLICATE)) == sorted(values)

    @pytest.mark.parametrize("k", [3, 20], ids=["beyond the k closest", "among them"])
    async def test_a_put_among_classic_nodes_only_counts_its_own_copy(
        self, k: int, virtual_clock: VirtualClock
    ) -> None:
        async with (
            open_cluster(1, config=config_with(classic=True, k=k, cache_life=0)) as cluster,
            classic_peers(cluster.network, 12) as peers,
        ):
            await join_classic(cluster.machines, peers)
            # A value for which our node is not among the three closest.
            values = (f"value {number}".encode() for number in range(100))
            value = next(
                each
                for each in values
                if sum(distance(peer.node_id, key_of(each)) < distance(cluster[0].id, key_of(each)) for peer in peers)
                > 4
            )
            stored = await cluster[0].put(value)
            assert stored.replicas == 1
            await trio.sleep(1)
            assert sum(value in peer.stores(PUBLISH) for peer in peers) == min(k, 12)
            for peer in peers:
                peer.values.clear()
            found = await cluster[0].get(stored.key)
            assert (found.value, found.live, found.origin) == (value, True, cluster[0].id)
            await cluster[0].forget(stored.key)
            with pytest.raises(Forgotten):
                await cluster[0].get(stored.key)


class TestFinds:
    async def test_a_value_that_only_it_has_is_found_and_forgotten_by_nobody(self, virtual_clock: VirtualClock) -> None:
        async with open_cluster(4, config=CLASSIC) as cluster, classic_peers(cluster.network, 1) as (peer,):
            await join_classic(cluster.machines, [peer])
            peer.values[key_of(TEXT)] = TEXT
            key = Key.of(TEXT)
            for node in cluster.nodes:
                found = await node.get(key)
                assert (found.value, found.live, found.origin) == (TEXT, False, peer.node_id)
                with pytest.raises(NotPublisher):
                    await node.forget(key)

    async def test_it_is_not_believed_what_does_not_hash_to_the_key(self, virtual_clock: VirtualClock) -> None:
        async with open_cluster(3, config=CLASSIC) as cluster, classic_peers(cluster.network, 1) as (peer,):
            await join_classic(cluster.machines, [peer])
            peer.values[key_of(TEXT)] = b"something else"
            for node in cluster.nodes:
                with pytest.raises(NotFound):
                    await node.get(Key.of(TEXT))
                with pytest.raises(NotFound):
                    await node.forget(Key.of(TEXT))

    async def test_what_was_forgotten_stays_so_though_it_goes_on_serving_it(self, virtual_clock: VirtualClock) -> None:
        async with (
            open_cluster(4, config=config_with(classic=True, cache_life=0)) as cluster,
            classic_peers(cluster.network, 1) as (peer,),
        ):
            await join_classic(cluster.machines, [peer])
            key = (await cluster[1].put(TEXT)).key
            await cluster[2].forget(key)
            await trio.sleep(1)
            assert peer.values[key] == TEXT
            for node in cluster.nodes:
                with pytest.raises(Forgotten):
                    await node.get(key)

    async def test_a_lease_that_ended_leaves_what_classic_nodes_have(self, virtual_clock: VirtualClock) -> None:
        """Those of ours that remember the ended lease say the same as a newcomer that never saw it."""
        config = config_with(classic=True, lease=600.0, cache_life=0)
        async with open_cluster(3, config=config) as cluster, classic_peers(cluster.network, 1) as (peer,):
            await join_classic(cluster.machines, [peer])
            publisher = await cluster.start(publisher=KeyPair.new(cluster.rng))
            key = (await publisher.node.put(TEXT)).key
            await trio.sleep(1)
            await cluster.lose(publisher)
            await trio.sleep(700)
            await cluster.start()
            remembering = 0
            for machine in cluster.machines:
                remembering += bool(machine.state(key).registers)
                found = await machine.node.get(key)
                assert (found.live, found.origin) == (False, peer.node_id)
            assert remembering == 3

    async def test_an_ended_lease_of_our_own_is_no_classic_value(self, virtual_clock: VirtualClock) -> None:
        """The publisher that was cut off keeps the value, but nobody stands behind it any more."""
        config = config_with(classic=True, lease=600.0, cache_life=0)
        async with open_cluster(3, config=config) as cluster:
            publisher = await cluster.start(publisher=KeyPair.new(cluster.rng))
            key = (await publisher.node.put(TEXT)).key
            others = [each.endpoint for each in cluster.machines if each is not publisher]
            cluster.network.partition([others, [publisher.endpoint]])
            await trio.sleep(700)
            cluster.network.heal_all()
            assert publisher.state(key).size == len(TEXT)
            with pytest.raises(NotFound):
                await publisher.node.get(key)

    async def test_lists_of_32_in_both_forms_and_an_empty_ip_are_understood(self, virtual_clock: VirtualClock) -> None:
        """Our node joins through a classic one that names 31 others and itself without an ip."""
        async with open_cluster(0, config=CLASSIC) as cluster, classic_peers(cluster.network, 34) as peers:
            for peer in peers:
                for other in peers:
                    if other is not peer:
                        peer.learn(other.node_id, other.endpoint)
            door = peers[0]
            joining = attrs.evolve(CLASSIC, join=(str(door.endpoint),))
            identity_target = door.node_id
            listed = await peers[1].find_node(door.endpoint, identity_target)
            assert listed is not None
            assert len(listed) == K
            assert {len(each.ip) for each in listed} == {0, 4, 16}
            assert any(each.ip.startswith(MAPPED) for each in listed)
            sizes = [len(each.datagram) for each in peers[1].received]
            assert max(sizes) > 1232
            node = (await cluster.start(config=joining)).node
            await trio.sleep(60)
            by_id = {peer.node_id: peer.endpoint for peer in peers}
            assert len(node.contacts()) > 20
            assert all(by_id[contact.id] == contact.endpoint for contact in node.contacts())
            dropped = node.statistics().counters["rpc_dropped_total", (("reason", "senseless_contact"),)]
            assert dropped > 0
            stored = await node.put(TEXT)
            assert stored.replicas == 1
            await trio.sleep(1)
            nearest = sorted(peers, key=lambda each: distance(each.node_id, stored.key))[:20]
            assert all(TEXT in each.stores(PUBLISH) for each in nearest[:19])
