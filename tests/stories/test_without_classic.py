"""Nodes without `--classic`, and classic ones: these are not heard, not told of, not stored at, not joined."""

from __future__ import annotations

import contextlib

import attrs
import pytest
import trio

from camomile_trio.errors import Forgotten, NotFound, Unreachable
from camomile_trio.kademlia.ids import Key
from camomile_trio.node.join import NOBODY_ANSWERS
from camomile_trio.node.node import Node
from camomile_trio.simulation.classic_peer import open_classic_peers
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.simulation.raw_packets import HELLO, PUBLISH, REPLICATE, Kind, field, key_of
from tests.fixtures.cluster import config_with, open_cluster
from tests.fixtures.peers import join_classic

FIRST = "10.9.0.1:8118"
TEXT = "ABC, du är mina tankar".encode()
REQUESTS = {
    "ping": (Kind.PING, field(1, bytes(32))),
    "find_node": (Kind.FIND_NODE, field(1, bytes(32))),
    "find_value": (Kind.FIND_VALUE, field(1, key_of(TEXT))),
    "publish": (Kind.STORE, field(1, PUBLISH) + field(3, b"a classic value")),
    "replicate": (Kind.STORE, field(1, REPLICATE) + field(3, b"a classic value")),
    "an answer that nobody asked for": (Kind.NODE_LIST, b""),
}


def dropped(node: Node) -> dict[str, int]:
    """How many packets the node has dropped, by reason."""
    return {
        dict(labels)["reason"]: int(count)
        for (name, labels), count in node.statistics().counters.items()
        if name == "rpc_dropped_total"
    }


class TestWhatComes:
    @pytest.mark.parametrize("name", REQUESTS)
    async def test_a_classic_packet_is_dropped_and_counted_and_nothing_comes_of_it(
        self, name: str, virtual_clock: VirtualClock
    ) -> None:
        async with open_cluster(3) as cluster, open_classic_peers(cluster.network, 1, first=FIRST, seed=9) as (peer,):
            await cluster[1].put(TEXT)
            for machine in cluster.machines:
                before = dropped(machine.node)
                peer.send(machine.endpoint, *REQUESTS[name])
                await trio.sleep(60)
                assert dropped(machine.node) == {**before, "classic": before.get("classic", 0) + 1}
                assert machine.node.status().classic_contacts == 0
            assert peer.received == []
            assert not any(machine.holds(Key.of(b"a classic value")) for machine in cluster.machines)


class TestWhatGoesOut:
    async def test_a_node_with_the_option_tells_those_without_it_of_no_classic_node(
        self, virtual_clock: VirtualClock
    ) -> None:
        """So nothing is ever sent there but by the one that speaks with them."""
        async with (
            open_cluster(5, config=config_with(cache_life=0)) as cluster,
            open_classic_peers(cluster.network, 3, first=FIRST, seed=9) as peers,
        ):
            bridge = await cluster.start(config=config_with(classic=True, cache_life=0))
            await join_classic([bridge], peers)
            assert bridge.node.status().classic_contacts == 3
            others = [machine for machine in cluster.machines if machine is not bridge]
            keys = [(await machine.node.put(b"from %d" % number)).key for number, machine in enumerate(others)]
            await trio.sleep(2 * 3600)
            for machine in others:
                for key in keys:
                    assert (await machine.node.get(key)).live
                with contextlib.suppress(NotFound, Unreachable):
                    await machine.node.get(bytes(32))
                assert machine.node.status().classic_contacts == 0
            kin = {bridge.endpoint, *(peer.endpoint for peer in peers)}
            assert all(each.source in kin for peer in peers for each in peer.received)
            assert all(peer.stores(REPLICATE) for peer in peers)

    async def test_a_value_that_only_classic_nodes_have_is_found_with_the_option_alone(
        self, virtual_clock: VirtualClock
    ) -> None:
        """That one node found it makes it no value of ours: the others do not believe it without a lease."""
        async with (
            open_cluster(3, config=config_with(cache_life=0)) as cluster,
            open_classic_peers(cluster.network, 1, first=FIRST, seed=9) as (peer,),
        ):
            bridge = await cluster.start(config=config_with(classic=True, cache_life=0))
            await join_classic([bridge], [peer])
            peer.store(bridge.endpoint, TEXT)
            await trio.sleep(1)
            assert (await bridge.node.get(Key.of(TEXT))).value == TEXT
            for machine in cluster.machines[:3]:
                with pytest.raises((NotFound, Forgotten)):
                    await machine.node.get(Key.of(TEXT))

    @pytest.mark.parametrize("is_classic", [False, True])
    async def test_a_classic_node_at_an_address_of_ours_is_taken_for_the_dead(
        self, is_classic: bool, virtual_clock: VirtualClock
    ) -> None:
        """With the option as well: where one of ours was ever found no classic node is spoken with."""
        async with open_cluster(5, config=config_with(classic=is_classic)) as cluster:
            await cluster[1].put(b"before")
            lost = cluster.machines[4]
            await cluster.lose(lost)
            async with open_classic_peers(cluster.network, 1, first=str(lost.endpoint), seed=9) as (peer,):
                await join_classic(cluster.machines, [peer])
                for node in cluster.nodes:
                    with contextlib.suppress(NotFound, Unreachable):
                        await node.ping(lost.node.id)
                await trio.sleep(2 * 3600)
                assert not any(lost.node.id in {each.id for each in node.contacts()} for node in cluster.nodes)
                stored = await cluster[1].put(TEXT)
                await trio.sleep(3 * 3600)
                assert stored.replicas >= 3
                assert all(node.status().classic_contacts == 0 for node in cluster.nodes)
                assert {each.kind for each in peer.received} == {Kind.UNKNOWN}, "what was for the one before it, sealed"


class TestJoining:
    async def test_a_node_that_is_to_join_through_a_classic_one_waits_and_its_reason_names_the_option(
        self, virtual_clock: VirtualClock
    ) -> None:
        """It asks the address for one of ours, which a classic node does not understand, and sends it nothing else."""
        async with open_cluster(0) as cluster, open_classic_peers(cluster.network, 1, first=FIRST, seed=9) as (peer,):
            joining = attrs.evolve(config_with(), join=(str(peer.endpoint),))
            node = (await cluster.start(config=joining, wait=False)).node
            await trio.sleep(500)
            assert not node.ready
            assert node.not_ready_because == NOBODY_ANSWERS
            assert "--classic" in NOBODY_ANSWERS
            assert peer.received
            assert all([number for number, _ in each.fields] == [HELLO] for each in peer.received)

    async def test_one_of_ours_beside_the_classic_one_lets_it_in(self, virtual_clock: VirtualClock) -> None:
        async with open_cluster(1) as cluster, open_classic_peers(cluster.network, 1, first=FIRST, seed=9) as (peer,):
            ours = cluster.machines[0].endpoint
            joining = attrs.evolve(config_with(), join=(str(peer.endpoint), str(ours)))
            node = (await cluster.start(config=joining)).node
            assert node.ready
            assert [contact.endpoint for contact in node.contacts()] == [ours]
