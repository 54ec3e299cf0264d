"""Nodes without `--classic`, and classic ones: these are not heard, not kept as contacts, not stored at, not joined."""

from __future__ import annotations

import contextlib

import attrs
import pytest
import structlog
import trio

from camomile_trio.errors import NotFound, Unreachable
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import Key
from camomile_trio.node.node import Node
from camomile_trio.simulation.classic_peer import ClassicPeer, open_classic_peers
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.simulation.raw_packets import PUBLISH, REPLICATE, Kind, field, key_of
from tests.fixtures.cluster import Cluster, config_with, open_cluster
from tests.fixtures.peers import join_classic

FIRST = "10.9.0.1:8118"
TEXT = "ABC, du är mina tankar".encode()
LINE = "a classic node answers where this node is to join"
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


def knows(cluster: Cluster, peer: ClassicPeer) -> int:
    return sum(peer.node_id in {contact.id for contact in node.contacts()} for node in cluster.nodes)


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
                assert dropped(machine.node) == {**before, "classic": 1}
            assert peer.received == []
            assert knows(cluster, peer) == 0
            assert not any(machine.holds(Key.of(b"a classic value")) for machine in cluster.machines)


class TestWhatGoesOut:
    async def test_a_classic_node_that_others_name_is_like_one_that_never_answers(
        self, virtual_clock: VirtualClock
    ) -> None:
        """One node of ours speaks with classic nodes, and names them to the others."""
        classic = config_with(classic=True, cache_life=0)
        async with (
            open_cluster(5, config=config_with(cache_life=0)) as cluster,
            open_classic_peers(cluster.network, 3, first=FIRST, seed=9) as peers,
        ):
            bridge = await cluster.start(config=classic)
            await join_classic([bridge], peers)
            assert all(knows(cluster, peer) == 1 for peer in peers)
            others = [machine for machine in cluster.machines if machine is not bridge]
            keys = [(await machine.node.put(b"from %d" % number)).key for number, machine in enumerate(others)]
            await trio.sleep(2 * 3600)
            for machine in others:
                for key in keys:
                    assert (await machine.node.get(key)).live
                with contextlib.suppress(NotFound, Unreachable):
                    await machine.node.get(bytes(32))
                assert dropped(machine.node)["classic"] > 0, "the classic nodes were asked, and have answered"
            assert all(knows(cluster, peer) == 1 for peer in peers)
            doors = {machine.endpoint for machine in others}
            for peer in peers:
                assert {each.kind for each in peer.received if each.source in doors} <= {
                    Kind.PING,
                    Kind.FIND_NODE,
                    Kind.FIND_VALUE,
                }

    async def test_a_classic_node_at_an_address_of_ours_is_taken_for_the_dead(
        self, virtual_clock: VirtualClock
    ) -> None:
        async with open_cluster(5) as cluster:
            await cluster[1].put(b"before")
            lost = cluster.machines[4]
            await cluster.lose(lost)
            async with open_classic_peers(cluster.network, 1, first=str(lost.endpoint), seed=9) as (peer,):
                for node in cluster.nodes:
                    with contextlib.suppress(NotFound, Unreachable):
                        await node.ping(lost.node.id)
                await trio.sleep(2 * 3600)
                assert knows(cluster, peer) == 0
                assert not any(lost.node.id in {each.id for each in node.contacts()} for node in cluster.nodes)
                peer.received.clear()
                stored = await cluster[1].put(TEXT)
                await trio.sleep(3 * 3600)
                assert stored.replicas >= 3
                assert peer.stores(PUBLISH) == peer.stores(REPLICATE) == []


class TestJoining:
    async def test_a_node_that_joins_through_a_classic_one_says_why_it_does_not_get_in(
        self, virtual_clock: VirtualClock
    ) -> None:
        with structlog.testing.capture_logs() as logs:
            async with (
                open_cluster(0) as cluster,
                open_classic_peers(cluster.network, 1, first=FIRST, seed=9) as (peer,),
            ):
                joining = attrs.evolve(config_with(), join=(str(peer.endpoint),))
                node = (await cluster.start(config=joining, wait=False)).node
                await trio.sleep(5)
                assert not node.ready
                assert f"a classic node answers at {peer.endpoint}" in node.not_ready_because
                assert "--classic" in node.not_ready_because
                assert node.contacts() == []
                told = [each for each in logs if each["event"] == LINE]
                assert [each["at"] for each in told] == [str(peer.endpoint)]
                assert "--classic" in told[0]["remedy"]
                await trio.sleep(500)
                # It is tried every half minute, and said every ten minutes.
                assert len([each for each in logs if each["event"] == LINE]) == 1

    async def test_one_of_ours_beside_the_classic_one_lets_it_in(self, virtual_clock: VirtualClock) -> None:
        async with open_cluster(1) as cluster, open_classic_peers(cluster.network, 1, first=FIRST, seed=9) as (peer,):
            ours = cluster.machines[0].endpoint
            joining = attrs.evolve(config_with(), join=(str(peer.endpoint), str(ours)))
            node = (await cluster.start(config=joining)).node
            assert node.ready
            assert [contact.endpoint for contact in node.contacts()] == [ours]

    async def test_what_seems_to_come_from_elsewhere_is_no_reason(self, virtual_clock: VirtualClock) -> None:
        silent = Endpoint.parse("10.9.0.99:8118")
        async with open_cluster(0) as cluster, open_classic_peers(cluster.network, 1, first=FIRST, seed=9) as (peer,):
            joining = attrs.evolve(config_with(), join=(str(silent),))
            machine = await cluster.start(config=joining, wait=False)
            await trio.sleep(1)
            peer.send(machine.endpoint, *REQUESTS["ping"])
            await trio.sleep(1)
            assert dropped(machine.node)["classic"] == 1
            assert "classic" not in machine.node.not_ready_because

    async def test_with_the_option_it_joins(self, virtual_clock: VirtualClock) -> None:
        async with open_cluster(0) as cluster, open_classic_peers(cluster.network, 1, first=FIRST, seed=9) as (peer,):
            joining = attrs.evolve(config_with(classic=True), join=(str(peer.endpoint),))
            node = (await cluster.start(config=joining)).node
            assert [contact.endpoint for contact in node.contacts()] == [peer.endpoint]
