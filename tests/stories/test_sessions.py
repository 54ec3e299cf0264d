"""Sessions in the life of a network: nodes restart, networks and versions stay apart, keys are renewed, and the suite
that seals changes nothing in the story."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterable, MutableMapping
from typing import Any

import attrs
import pytest
import structlog.testing
import trio
import trio.testing

from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import Key, NodeId, distance
from camomile_trio.kademlia.messages import Ping
from camomile_trio.node.join import NOBODY_ANSWERS
from camomile_trio.peer.suite import CipherSuite, NaclSuite
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.simulation.delivery import NetworkStatistics
from camomile_trio.simulation.disk import SimulatedDisk
from camomile_trio.simulation.links import LinkConditions
from camomile_trio.simulation.network import MemoryNetwork
from camomile_trio.simulation.scheduling import deterministic_scheduling
from camomile_trio.simulation.suite import ToySuite
from tests.fixtures.cluster import HEALTHY, Cluster, Machine, config_with, open_cluster, timed_put
from tests.fixtures.counts import count
from tests.fixtures.peers import NetworkPeer

pytestmark = pytest.mark.long

BACK_WITHIN = 1.5  # s
HOUR = 3600.0
NOWHERE = "10.99.0.1:8118"
LOGGED_AGAIN = 600.0  # s


def nearest(machines: Iterable[Machine], key: Key, k: int) -> list[Machine]:
    return sorted(machines, key=lambda each: distance(each.node.id, key))[:k]


# Restarts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asks_others", [True, False])
async def test_a_node_that_restarts_takes_puts_again_at_once_and_delays_no_quorum(
    virtual_clock: VirtualClock, asks_others: bool
) -> None:
    """Its peers have sessions with it that it knows nothing of. If it asks them they know at once that it has
    restarted, and else from its silence."""
    config = config_with(k=8, cache_life=0)
    async with open_cluster(23, config=config) as cluster:
        disk = SimulatedDisk(sync="os", max_bytes=2**24, rng=random.Random(1), commit_latency=0.0)
        machine = await cluster.start(storage=disk.open())
        await trio.sleep(120)
        putting = next(each for each in cluster.machines[1:] if machine.node.id in each.table)
        values = (value for value in map(b"value %d".__mod__, range(10_000)) if is_near(cluster, machine, value))
        await putting.node.put(next(values))
        if not asks_others:
            machine.storage.save_contacts([])
        await cluster.lose(machine)
        disk.crash()
        again = await cluster.start(
            config=config if asks_others else attrs.evolve(config, join=(NOWHERE,)),
            storage=disk.open(),
            identity=machine.identity,
            endpoint=machine.endpoint,
            wait=False,
        )
        began = trio.current_time()
        early = []
        while trio.current_time() < began + BACK_WITHIN:
            early.append(next(values))
            # One retransmission timeout (50 ms) is the most that a silent node costs.
            assert await timed_put(putting.node, early[-1]) < 2 * HEALTHY
            await trio.sleep(0.1)
        for _ in range(20):
            value = next(values)
            assert await timed_put(putting.node, value) < HEALTHY
            await trio.sleep(HEALTHY)
            assert again.holds(Key.of(value))
        assert again.node.id in putting.table
        # What was put while it was silent it gets by hinted handoff.
        await trio.sleep(10)
        assert all(again.holds(Key.of(value)) for value in early)


def is_near(cluster: Cluster, machine: Machine, value: bytes) -> bool:
    others = [each for each in cluster.machines if each.endpoint != machine.endpoint]
    return machine in nearest([*others, machine], Key.of(value), cluster.config.kademlia.k)


# Who cannot speak with each other ------------------------------------------------------------------------------------


def warnings(logs: Iterable[MutableMapping[str, Any]]) -> list[MutableMapping[str, Any]]:
    return [each for each in logs if each["log_level"] == "warning"]


@pytest.mark.parametrize("is_pinned", [False, True])
async def test_nodes_of_different_networks_do_not_meet_and_one_warning_names_the_address(
    virtual_clock: VirtualClock, is_pinned: bool
) -> None:
    """Whether the newcomer has to ask for the key there (a hello), or knows it (an initiation)."""
    async with open_cluster(2) as cluster:
        named = f"{cluster.machines[0].endpoint}" + f"#{cluster.machines[0].public.hex()}" * is_pinned
        config = attrs.evolve(cluster.config, network="another", join=(named,))
        with structlog.testing.capture_logs() as logs:
            other = await cluster.start(config=config, wait=False)
            await trio.sleep(LOGGED_AGAIN - 10)
        assert other.node.not_ready_because == NOBODY_ANSWERS
        assert len(other.table) == 0
        assert all(other.node.id not in each.table for each in cluster.machines)
        (told,) = warnings(logs)
        assert told["at"] == str(other.endpoint)
        assert "another network" in told["meaning"]
        # It asks again and again, so it is said again, once in a while.
        with structlog.testing.capture_logs() as logs:
            await trio.sleep(LOGGED_AGAIN)
        assert len(warnings(logs)) == 1


async def test_a_peer_of_another_version_does_not_get_in_and_one_warning_names_its_address(
    virtual_clock: VirtualClock,
) -> None:
    async with open_cluster(2) as cluster:
        peer = NetworkPeer(KeyPair.new(random.Random("later")), Endpoint.parse("10.66.0.1:8118"), version=3)
        await cluster.nursery.start(peer.live, cluster.network)
        with structlog.testing.capture_logs() as logs:
            for _ in range(20):
                peer.ask(Ping(), cluster.machines[0].contact)
                await trio.sleep(20)
        assert not peer.received
        assert all(peer.id not in each.table for each in cluster.machines)
        (told,) = warnings(logs)
        assert told["at"] == str(peer.endpoint)
        assert "another version" in told["meaning"]


# Rekeying ------------------------------------------------------------------------------------------------------------


async def test_rekeying_under_puts_loses_nothing(virtual_clock: VirtualClock) -> None:
    """Sessions are an hour old, and packets of the old ones and of the new ones overtake each other on their way."""
    network = MemoryNetwork(seed=1, conditions=LinkConditions(latency=0.005, jitter=0.01))
    async with open_cluster(5, config=config_with(cache_life=0), network=network) as cluster:
        await trio.sleep_until(HOUR - 5)
        names = ("handshakes_begun_total", "handshakes_renewed_total", "rpc_retransmissions_total")
        before = [counted(cluster, name) for name in names]
        keys: list[Key] = []

        async def put(number: int) -> None:
            stored = await cluster[number % 5].put(b"value %d" % number)
            assert stored.replicas >= 3
            keys.append(stored.key)

        async with trio.open_nursery() as nursery:
            for number in range(600):
                nursery.start_soon(put, number)
                await trio.sleep(0.05)
        await trio.sleep(1)
        assert len(keys) == 600
        assert all(machine.holds(key) for machine in cluster.machines for key in keys)
        begun, renewed, retransmitted = (counted(cluster, name) - had for name, had in zip(names, before, strict=True))
        assert renewed == begun == 10  # one for each pair
        assert retransmitted == 0


def counted(cluster: Cluster, name: str) -> float:
    return sum(count(node, name) for node in cluster.nodes)


# The suite -----------------------------------------------------------------------------------------------------------


class ToyOfRealKeys(ToySuite):
    """The toy suite, with the real one's public keys: so nodes have the same ids under both."""

    _real = NaclSuite()

    @staticmethod
    @functools.cache
    def _public(secret: bytes) -> bytes:
        return ToyOfRealKeys._real.public(secret)

    def public(self, secret: bytes) -> bytes:
        return self._public(secret)

    def check_public_untrusted(self, public_untrusted: bytes) -> None:
        self._real.check_public_untrusted(public_untrusted)


@attrs.frozen
class Story:
    ids: list[NodeId]
    replicas: list[int]
    holders: list[list[int]]  # of each value the numbers of the machines that hold it
    statistics: NetworkStatistics  # of all packets


def story_of(suite: CipherSuite) -> Story:
    """40 nodes, values put and read from everywhere, and some nodes that leave or crash."""

    async def tell() -> Story:
        async with open_cluster(40, config=config_with(k=8, replicate=300.0), suite=suite) as cluster:
            everybody = list(cluster.machines)
            stored = [await cluster[number].put(b"value %d" % number) for number in range(40)]
            await trio.sleep(60)
            leaving = cluster.machines.pop(7)
            await leaving.leave()
            for number in (30, 20, 10):
                await cluster.lose(cluster.machines[number])
            await trio.sleep(400)
            for number, each in enumerate(stored):
                found = await cluster[number * 5 % 36].get(each.key)
                assert found.value == b"value %d" % number
            left = [(number, each) for number, each in enumerate(everybody) if each in cluster.machines]
            holders = [[number for number, machine in left if machine.holds(each.key)] for each in stored]
            ids = [NodeId(machine.table.own) for machine in everybody]
            return Story(ids, [each.replicas for each in stored], holders, attrs.evolve(cluster.network.statistics))

    with deterministic_scheduling(1):
        return trio.run(tell, clock=VirtualClock())


def test_forty_nodes_tell_the_same_story_under_the_toy_and_the_real_suite() -> None:
    """To the packet: as many are sent, with as many bytes, and only what is sealed differs."""
    real = story_of(NaclSuite())
    assert all(len(holders) >= 8 for holders in real.holders)
    assert story_of(ToyOfRealKeys()) == real
