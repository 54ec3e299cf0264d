"""A node that has had a network does not stand alone: it says that it is cut off, and waits for the others or a word of
its operator. A deployment says how many nodes it has, so that its first put has a quorum of copies."""

from __future__ import annotations

import random

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.errors import NoMajority, NotFound, NotJoined, Unavailable, Unreachable
from camomile_trio.kademlia.ids import Key
from camomile_trio.node.node import Node
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.simulation.disk import SimulatedDisk
from tests.fixtures.cluster import Cluster, Machine, config_with, open_cluster

VALUE = b"put while bootstrap was away"
WITHIN = 30.0  # s, until a node says that it is cut off
NAMES = ("10.0.0.1:8118", "10.0.0.2:8118")
FIRST = attrs.evolve(config_with(cache_life=0), first=True, join=NAMES)


def new_disk() -> SimulatedDisk:
    return SimulatedDisk(sync="os", max_bytes=2**20, rng=random.Random(1))


def is_ready(node: Node) -> bool:
    return node.ready


def leave_alone(cluster: Cluster, machine: Machine) -> None:
    """It can reach nobody, and nobody it."""
    others = [each.endpoint for each in cluster.machines if each is not machine]
    cluster.network.partition([others, [machine.endpoint]])


async def bootstrap_back_without_a_network(cluster: Cluster, disk: SimulatedDisk) -> Machine:
    """The flow of a deployment: bootstrap is stopped, a replica takes a put, bootstrap is cut off and started."""
    bootstrap = await cluster.start(config=FIRST, storage=disk.open())
    await cluster.start(config=attrs.evolve(config_with(), join=NAMES))
    await trio.sleep(1)
    cluster.machines.remove(bootstrap)
    await bootstrap.leave()
    await cluster.start(config=attrs.evolve(config_with(), join=NAMES))
    await cluster[0].put(VALUE)
    cluster.network.partition([[each.endpoint for each in cluster.machines], [bootstrap.endpoint]])
    return await cluster.start(config=FIRST, storage=disk.open(), endpoint=bootstrap.endpoint, wait=False)


async def test_a_first_node_that_comes_back_and_finds_nobody_is_unready_and_answers_neither_404_nor_202(
    virtual_clock: VirtualClock,
) -> None:
    async with open_cluster(0) as cluster:
        back = await bootstrap_back_without_a_network(cluster, new_disk())
        await trio.sleep(120)
        assert not is_ready(back.node)
        assert "--expect 1" in back.node.not_ready_because
        for operation in (lambda: back.node.get(Key.of(VALUE)), lambda: back.node.put(b"one copy")):
            with pytest.raises(NotJoined, match="--expect 1"):
                await operation()
        cluster.network.heal_all()
        await back.node.wait_ready()
        assert (await back.node.get(Key.of(VALUE))).value == VALUE


async def test_an_explicit_expect_of_one_lets_it_go_on_alone(virtual_clock: VirtualClock) -> None:
    async with open_cluster(0) as cluster:
        disk = new_disk()
        back = await bootstrap_back_without_a_network(cluster, disk)
        await cluster.lose(back)
        config = attrs.evolve(config_with(cache_life=0), expect=1, join=NAMES)
        alone = await cluster.start(config=config, storage=disk.open(), endpoint=back.endpoint)
        key = (await alone.node.put(b"one copy")).key
        assert (await alone.node.get(key)).value == b"one copy"
        with pytest.raises(NotFound):
            await alone.node.get(Key.of(b"nobody put this"))
        await trio.sleep(600)
        assert is_ready(alone.node)


async def test_the_first_contact_is_noted_at_once(virtual_clock: VirtualClock) -> None:
    async with open_cluster(0) as cluster:
        disk = new_disk()
        first = await cluster.start(config=FIRST, storage=disk.open())
        other = await cluster.start(config=attrs.evolve(config_with(), join=NAMES), wait=False)
        await trio.sleep(0.2)
        assert len(first.node.contacts()) == 1
        for machine in (first, other):
            await cluster.lose(machine)
        back = await cluster.start(config=FIRST, storage=disk.open(), endpoint=first.endpoint, wait=False)
        await trio.sleep(120)
        assert not is_ready(back.node)


async def test_a_first_node_that_has_met_nobody_stands_alone_at_each_start(
    virtual_clock: VirtualClock,
) -> None:
    async with open_cluster(0) as cluster:
        disk = new_disk()
        for _ in range(2):
            first = await cluster.start(config=FIRST, storage=disk.open())
            await first.node.put(VALUE)
            assert (await first.node.get(Key.of(VALUE))).value == VALUE
            with pytest.raises(NotFound):
                await first.node.get(Key.of(b"nobody put this"))
            await cluster.lose(first)


async def test_a_node_in_memory_counts_alone_until_its_first_contact(virtual_clock: VirtualClock) -> None:
    async with open_cluster(1, config=config_with(cache_life=0)) as cluster:
        await cluster[0].put(b"before anybody came")
        other = await cluster.start()
        await cluster.lose(other)
        for ttl in (None, 3600):
            with pytest.raises(Unreachable) as caught:
                await cluster[0].put(b"after everybody left", ttl=ttl)
            assert "--expect 1" in caught.value.remedy
        with pytest.raises(Unreachable) as caught:
            await cluster[0].get(Key.of(b"nobody put this"))
        assert "--expect 1" in caught.value.remedy


async def test_one_that_was_forgotten_here_may_have_been_put_again_elsewhere(
    virtual_clock: VirtualClock,
) -> None:
    async with open_cluster(3, config=config_with(cache_life=0)) as cluster:
        key = (await cluster[0].put(VALUE)).key
        await cluster[0].forget(key)
        await trio.sleep(5)
        leave_alone(cluster, cluster.machines[2])
        await cluster[0].put(VALUE)
        with pytest.raises(Unreachable):
            await cluster[2].get(key)


# How many a deployment has ------------------------------------------------------------------------------------------


async def deployment(cluster: Cluster, count: int, *, expect: int, disks: list[SimulatedDisk] | None = None) -> None:
    """`count` nodes that start together, as Compose starts them."""
    for number in range(count):
        config = attrs.evolve(FIRST if number == 0 else attrs.evolve(config_with(), join=NAMES), expect=expect)
        storage = disks[number].open() if disks else None
        await cluster.start(config=config, storage=storage, wait=False)


async def test_a_deployment_is_ready_once_all_have_met_and_its_first_put_has_a_quorum(
    virtual_clock: VirtualClock,
) -> None:
    async with open_cluster(0) as cluster:
        await deployment(cluster, 2, expect=3)
        await trio.sleep(300)
        for node in cluster.nodes:
            assert node.not_ready_because == "it has met 1 of the 2 other nodes that --expect 3 waits for"
            with pytest.raises(NotJoined):
                await node.put(VALUE)
        await cluster.start(config=attrs.evolve(config_with(), join=NAMES, expect=3))
        for node in cluster.nodes:
            await node.wait_ready()
        assert (await cluster[0].put(VALUE)).replicas >= 2
        # One of three is killed, and nothing changes.
        await cluster.lose(cluster.machines[1])
        assert (await cluster[1].put(b"another")).replicas == 2
        assert (await cluster[0].get(Key.of(VALUE))).value == VALUE
        await trio.sleep(600)
        assert all(node.ready for node in cluster.nodes)


async def test_two_of_three_killed_and_the_last_one_takes_nothing(virtual_clock: VirtualClock) -> None:
    async with open_cluster(0) as cluster:
        await deployment(cluster, 3, expect=3)
        for node in cluster.nodes:
            await node.wait_ready()
        for _ in range(2):
            await cluster.lose(cluster.machines[1])
        with pytest.raises(Unavailable):
            await cluster[0].put(VALUE)


async def test_fewer_answer_than_a_majority_of_those_that_are_expected(virtual_clock: VirtualClock) -> None:
    async with open_cluster(0) as cluster:
        await deployment(cluster, 5, expect=5)
        for node in cluster.nodes:
            await node.wait_ready()
        for _ in range(3):
            await cluster.lose(cluster.machines[1])
        with pytest.raises(NoMajority, match="--expect") as caught:
            await cluster[0].put(VALUE)
        assert "lower --expect" in caught.value.remedy
        await trio.sleep(60)
        assert all(node.ready for node in cluster.nodes)


async def test_a_deployment_waits_for_all_its_nodes_only_once(virtual_clock: VirtualClock) -> None:
    async with open_cluster(0) as cluster:
        disks = [new_disk() for _ in range(3)]
        await deployment(cluster, 3, expect=3, disks=disks)
        for node in cluster.nodes:
            await node.wait_ready()
        homes = [each.endpoint for each in cluster.machines]
        for machine in list(cluster.machines):
            await cluster.lose(machine)
        for number in range(2):
            config = attrs.evolve(config_with(), join=NAMES, expect=3)
            await cluster.start(config=config, storage=disks[number].open(), endpoint=homes[number], wait=False)
        with trio.fail_after(60):
            for node in cluster.nodes:
                await node.wait_ready()
        assert (await cluster[1].put(VALUE)).replicas == 2


# Readiness ----------------------------------------------------------------------------------------------------------


async def test_a_node_whose_contacts_have_all_died_says_so_within_half_a_minute(
    virtual_clock: VirtualClock,
) -> None:
    async with open_cluster(5) as cluster:
        await trio.sleep(300)
        dead = cluster.machines[1:]
        for machine in dead:
            await cluster.lose(machine)
        await trio.sleep(WITHIN)
        left = cluster[0]
        assert not is_ready(left)
        assert "no other node answers" in left.not_ready_because
        gauges = left.statistics().gauges
        assert (gauges["ready", ()], gauges["contacts", ()], gauges["peers_answering", ()]) == (0, 4, 0)
        await trio.sleep(3600)
        assert len(left.contacts()) == 4

        await cluster.start(endpoint=dead[0].endpoint)
        await trio.sleep(15)  # the newcomer has asked it, and it asks a few every 5 s
        assert is_ready(left)
        assert left.statistics().gauges["peers_answering", ()] == 1


async def test_one_that_answers_is_enough(virtual_clock: VirtualClock) -> None:
    async with open_cluster(20) as cluster:
        await trio.sleep(300)
        for machine in cluster.machines[2:]:
            await cluster.lose(machine)
        for _ in range(600):
            await trio.sleep(1)
            assert all(node.ready for node in cluster.nodes)
        assert [len(node.contacts()) for node in cluster.nodes] == [1, 1]


async def test_a_node_that_is_cut_off_keeps_its_contacts_and_is_ready_again_at_the_first_answer(
    virtual_clock: VirtualClock,
) -> None:
    async with open_cluster(12) as cluster:
        await trio.sleep(300)
        lonely = cluster.machines[3]
        leave_alone(cluster, lonely)
        await trio.sleep(WITHIN)
        assert not is_ready(lonely.node)
        await trio.sleep(600)
        assert len(lonely.node.contacts()) == 11
        cluster.network.heal_all()
        await trio.sleep(10)
        assert is_ready(lonely.node)
        await trio.sleep(60)
        assert len(lonely.node.contacts()) == 11


async def test_at_rest_a_node_asks_for_a_sign_of_life_three_or_four_times_a_minute(
    virtual_clock: VirtualClock,
) -> None:
    async with open_cluster(5) as cluster:
        await trio.sleep(300)
        pings = ("rpc_requests_total", (("kind", "ping"),))
        before = cluster[2].statistics().counters[pings]
        await trio.sleep(1800)
        assert cluster[2].statistics().counters[pings] - before <= 30 * 4
