"""A classic node among ours: it is answered, its values are kept by the rules, it is found and written to."""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.errors import NotFound, NotPublisher
from camomile_trio.kademlia.ids import Key, distance
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.simulation.raw_packets import ANSWER_TO, PUBLISH, REPLICATE, Kind, key_of
from camomile_trio.storage.memory import MemoryStorage
from tests.fixtures.cluster import Cluster, config_with, open_cluster
from tests.fixtures.peers import classic_peers, join_classic

pytestmark = pytest.mark.long

TEXT = "ABC, du är mina tankar".encode()
LONGEST = b"x" * 1000
NO_TEXT = b"\xff\xfe not UTF-8"
TOO_LONG = b"y" * 1001
HOUR = 3600.0
# Nodes that speak with classic ones.
CLASSIC = config_with(classic=True)


def held(cluster: Cluster, value: bytes) -> int:
    """How many of our nodes store the bytes."""
    key = Key.of(value)
    return sum(each.holds(key) for each in cluster.machines)


class TestItsRequests:
    async def test_a_ping_is_answered_with_the_echo_and_nothing_else(self, virtual_clock: VirtualClock) -> None:
        async with open_cluster(1, config=CLASSIC) as cluster, classic_peers(cluster.network, 1) as (peer,):
            assert await peer.ping(cluster.machines[0].endpoint)
            await trio.sleep(1)
            assert [each.kind for each in peer.received] == [Kind.PONG, Kind.PING]
            assert cluster[0].status().classic_contacts == 1, "our own ping has shown that it is there"
            assert cluster[0].contacts() == []

    async def test_finds_name_classic_nodes_and_none_of_ours(self, virtual_clock: VirtualClock) -> None:
        async with open_cluster(5, config=CLASSIC) as cluster, classic_peers(cluster.network, 3) as peers:
            await join_classic(cluster.machines, peers)
            await cluster[1].put(TEXT)
            await trio.sleep(1)
            asker, *others = peers
            door = cluster.machines[0].endpoint
            named = {each.node_id for each in others}
            found = await asker.find_node(door, cluster[1].id)
            assert found is not None
            assert {each.node_id for each in found} == named
            assert await asker.find_value(door, key_of(TEXT)) == TEXT
            missed = await asker.find_value(door, key_of(b"nobody put this"))
            assert isinstance(missed, list)
            assert {each.node_id for each in missed} == named

    @pytest.mark.parametrize("value", [NO_TEXT, TOO_LONG], ids=["not UTF-8", "1001 bytes"])
    async def test_what_it_cannot_take_is_a_miss(self, value: bytes, virtual_clock: VirtualClock) -> None:
        async with open_cluster(3, config=CLASSIC) as cluster, classic_peers(cluster.network, 1) as (peer,):
            await join_classic(cluster.machines, [peer])
            await cluster[0].put(value)
            await trio.sleep(1)
            assert held(cluster, value) == 3
            missed = await peer.find_value(cluster.machines[1].endpoint, key_of(value))
            assert isinstance(missed, list)
            assert peer.stores(PUBLISH) == []

    async def test_1000_bytes_go_both_ways(self, virtual_clock: VirtualClock) -> None:
        async with open_cluster(3, config=CLASSIC) as cluster, classic_peers(cluster.network, 1) as (peer,):
            await join_classic(cluster.machines, [peer])
            await cluster[0].put(LONGEST)
            await trio.sleep(1)
            assert peer.stores(PUBLISH) == [LONGEST]
            assert await peer.find_value(cluster.machines[1].endpoint, key_of(LONGEST)) == LONGEST
            other = b"z" * 1000
            peer.store(cluster.machines[2].endpoint, other)
            await trio.sleep(1)
            assert (await cluster[0].get(Key.of(other))).value == other

    async def test_a_named_network_does_not_speak_to_it(self, virtual_clock: VirtualClock) -> None:
        config = attrs.evolve(config_with(), network="orchard")
        async with open_cluster(2, config=config) as cluster, classic_peers(cluster.network, 2) as (peer, other):
            assert not await peer.ping(cluster.machines[0].endpoint)
            assert await peer.find_node(cluster.machines[1].endpoint, peer.node_id) is None
            assert peer.received == []
            assert await peer.ping(other.endpoint)


class TestItsValues:
    @pytest.mark.parametrize("kind", [PUBLISH, REPLICATE], ids=["publish", "replicate"])
    async def test_they_are_kept_once_it_has_answered_us_and_read_everywhere(
        self, kind: int, virtual_clock: VirtualClock
    ) -> None:
        async with (
            open_cluster(6, config=config_with(classic=True, k=3)) as cluster,
            classic_peers(cluster.network, 1) as (peer,),
        ):
            key = Key.of(TEXT)
            peer.is_silent = True
            for machine in cluster.machines:
                peer.store(machine.endpoint, TEXT, kind)
            await trio.sleep(5)
            assert held(cluster, TEXT) == 0, "anybody could have forged its address"
            peer.is_silent = False
            await trio.sleep(60)
            peer.forgets = True
            for machine in cluster.machines:
                await peer.find_node(machine.endpoint, key)
            await trio.sleep(1)
            nearest = sorted(cluster.machines, key=lambda each: distance(each.node.id, key))
            heard = len(peer.received)
            for machine in nearest[:3]:
                peer.store(machine.endpoint, TEXT, kind)
            await trio.sleep(1)
            assert held(cluster, TEXT) == 3
            answers = [each for each in peer.received[heard:] if each.kind not in ANSWER_TO]
            assert answers == [], "a classic STORE is not answered"
            for node in cluster.nodes:
                found = await node.get(key)
                assert (found.value, found.live) == (TEXT, False)

    async def test_replicating_never_prolongs_them_and_after_a_day_they_are_gone(
        self, virtual_clock: VirtualClock
    ) -> None:
        async with open_cluster(2, config=CLASSIC) as cluster, classic_peers(cluster.network, 1) as (peer,):
            await join_classic(cluster.machines, [peer])
            peer.forgets = True
            key = Key.of(TEXT)
            for machine in cluster.machines:
                peer.store(machine.endpoint, TEXT)
            for hour in range(1, 31):
                await trio.sleep(HOUR)
                for machine in cluster.machines:
                    peer.store(machine.endpoint, TEXT, REPLICATE)
                await trio.sleep(1)
                if hour < 24:
                    assert (await cluster[hour % 2].get(key)).value == TEXT
                else:
                    assert held(cluster, TEXT) == 0
                    with pytest.raises(NotFound):
                        await cluster[hour % 2].get(key)
            with pytest.raises(NotFound):
                await cluster[0].forget(key)
            # A user of a classic node puts it anew.
            peer.store(cluster.machines[1].endpoint, TEXT)
            await trio.sleep(1)
            assert (await cluster[0].get(key)).value == TEXT

    async def test_nobody_forgets_them(self, virtual_clock: VirtualClock) -> None:
        async with open_cluster(3, config=CLASSIC) as cluster, classic_peers(cluster.network, 1) as (peer,):
            await join_classic(cluster.machines, [peer])
            peer.forgets = True
            peer.store(cluster.machines[1].endpoint, TEXT)
            await trio.sleep(1)
            for node in cluster.nodes:
                with pytest.raises(NotPublisher):
                    await node.forget(Key.of(TEXT))
            assert (await cluster[0].get(Key.of(TEXT))).value == TEXT

    async def test_1400_bytes_are_kept(self, virtual_clock: VirtualClock) -> None:
        async with open_cluster(3, config=CLASSIC) as cluster, classic_peers(cluster.network, 1) as (peer,):
            await join_classic(cluster.machines, [peer])
            value = b"w" * 1400
            peer.store(cluster.machines[0].endpoint, value)
            await trio.sleep(1)
            assert (await cluster[2].get(Key.of(value))).value == value
            assert isinstance(await peer.find_value(cluster.machines[0].endpoint, key_of(value)), list)

    async def test_they_fill_a_tenth_of_the_space_at_most(self, virtual_clock: VirtualClock) -> None:
        async with open_cluster(0, config=CLASSIC) as cluster, classic_peers(cluster.network, 1) as (peer,):
            await cluster.start(storage=MemoryStorage(max_bytes=100_000))
            door = cluster.machines[0].endpoint
            await join_classic(cluster.machines, [peer])
            peer.forgets = True
            values = [bytes([letter]) * 1000 for letter in range(65, 90)]
            for value in values:
                peer.store(door, value)
            await trio.sleep(1)
            assert [held(cluster, value) for value in values] == [1] * 10 + [0] * 15
            await trio.sleep(25 * HOUR)
            peer.store(door, values[-1])
            await trio.sleep(1)
            assert held(cluster, values[-1]) == 1, "those that ended have made room"

    async def test_a_value_that_was_forgotten_does_not_come_back_by_replicating(
        self, virtual_clock: VirtualClock
    ) -> None:
        config = config_with(classic=True, cache_life=0)
        async with open_cluster(5, config=config) as cluster, classic_peers(cluster.network, 1) as (peer,):
            await join_classic(cluster.machines, [peer])
            peer.forgets = True
            key = (await cluster[0].put(TEXT)).key
            await cluster[1].forget(key)
            for _ in range(5):
                for machine in cluster.machines:
                    peer.store(machine.endpoint, TEXT, REPLICATE)
                await trio.sleep(HOUR)
            assert held(cluster, TEXT) == 0

    async def test_a_classic_user_brings_a_forgotten_value_back(self, virtual_clock: VirtualClock) -> None:
        """Everybody reads it then: those that keep it, and those that have to ask."""
        async with (
            open_cluster(8, config=config_with(classic=True, k=3, cache_life=0)) as cluster,
            classic_peers(cluster.network, 1) as (peer,),
        ):
            await join_classic(cluster.machines, [peer])
            peer.forgets = True
            key = (await cluster[0].put(TEXT)).key
            await cluster[1].forget(key)
            for machine in cluster.machines:
                await peer.find_node(machine.endpoint, key)
            await trio.sleep(1)
            for machine in cluster.machines:
                peer.store(machine.endpoint, TEXT)
            await trio.sleep(1)
            for node in cluster.nodes:
                found = await node.get(key)
                assert (found.value, found.live) == (TEXT, False)
