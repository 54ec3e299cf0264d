"""Whom whole nodes keep in their tables: the living, through crowds of newcomers and hours of being cut off."""

from __future__ import annotations

import random

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.errors import Unreachable
from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import NodeId, distance
from camomile_trio.kademlia.messages import FindNode, Message, NodeList, Ping
from camomile_trio.node.join import LOOK_AGAIN
from camomile_trio.peer.local import StaticKey
from camomile_trio.simulation.clocks import VirtualClock
from tests.fixtures.cluster import (
    HEALTHY,
    SUITE,
    VALUE,
    Cluster,
    Machine,
    config_with,
    open_cluster,
    timed_get,
    timed_put,
)
from tests.fixtures.peers import accepting, network_peer, silent
from tests.fixtures.speaker import Heard

pytestmark = pytest.mark.long

DOORS = ("10.8.0.1:8118", "10.8.1.1:8118")  # of two networks


def full_buckets(machine: Machine) -> dict[int, set[Contact]]:
    table = machine.table
    return {bucket.index: set(bucket.contacts) for bucket in table.buckets() if len(bucket.contacts) == table.k}


async def test_a_full_bucket_keeps_its_living_members(virtual_clock: VirtualClock) -> None:
    """However many newcomers come: members are pinged, answer, and stay."""
    config = config_with(k=2, refresh=120.0, cache_life=0)
    async with open_cluster(12, config=config) as cluster:
        await trio.sleep(60)
        before = {machine: full_buckets(machine) for machine in cluster.machines}
        assert sum(map(len, before.values())) >= 12
        for _ in range(4):
            await cluster.start()
            await trio.sleep(70)
        for machine, buckets in before.items():
            after = full_buckets(machine)
            for index, members in buckets.items():
                assert after[index] == members


async def test_a_dead_member_gives_its_place_to_who_waits_for_it(virtual_clock: VirtualClock) -> None:
    config = config_with(k=2, refresh=120.0, cache_life=0)
    async with open_cluster(14, config=config) as cluster:
        await trio.sleep(120)
        dead = cluster.machines[5]
        knew = [
            (machine, index)
            for machine in cluster.machines
            for index, members in full_buckets(machine).items()
            if dead.node.id in {contact.id for contact in members}
        ]
        assert knew
        await cluster.lose(dead)
        await trio.sleep(300)
        for machine in cluster.machines:
            assert dead.node.id not in machine.table
        refilled = [index in full_buckets(machine) for machine, index in knew if machine in cluster.machines]
        assert any(refilled)


async def test_a_node_that_is_offline_evicts_nobody_and_recovers(virtual_clock: VirtualClock) -> None:
    config = config_with(refresh=120.0, cache_life=0)
    async with open_cluster(12, config=config) as cluster:
        await cluster[1].put(VALUE)
        await trio.sleep(30)
        hermit = cluster.machines[5]
        before = set(hermit.node.contacts())
        assert len(before) == 11
        cluster.network.partition([[hermit.endpoint]])
        for _ in range(8):
            with pytest.raises(Unreachable):
                await hermit.node.put(b"nobody hears this")
            await trio.sleep(60)
        assert set(hermit.node.contacts()) == before
        cluster.network.heal_all()
        assert await timed_put(hermit.node, b"somebody hears this") <= 1.0
        await trio.sleep(30)
        assert set(hermit.node.contacts()) == before
        assert await timed_get(hermit.node) <= HEALTHY


async def test_who_died_while_we_were_offline_is_gone_in_the_end(virtual_clock: VirtualClock) -> None:
    config = config_with(refresh=120.0, cache_life=0)
    async with open_cluster(12, config=config) as cluster:
        await trio.sleep(30)
        hermit, dead = cluster.machines[5], cluster.machines[7]
        cluster.network.partition([[hermit.endpoint]])
        await trio.sleep(300)
        await cluster.lose(dead)
        await trio.sleep(300)
        cluster.network.heal_all()
        await trio.sleep(300)
        assert {contact.id for contact in hermit.node.contacts()} == {
            node.id for node in cluster.nodes if node is not hermit.node
        }


async def test_nodes_without_a_place_for_each_other_do_not_ping_for_ever(
    virtual_clock: VirtualClock,
) -> None:
    """k is 1, so nearly everybody is a stranger to nearly everybody. A ping is a request of a stranger, too."""
    async with open_cluster(8, config=config_with(k=1, refresh=7 * 86400.0, replicate=7 * 86400.0)) as cluster:
        await cluster[1].put(VALUE)
        for _ in range(5):
            await trio.sleep(1)
            assert cluster.network.statistics.sent < 3000
        await trio.sleep(120)
        assert any(len(each.table) < 7 for each in cluster.machines)
        before = cluster.network.statistics.sent
        for minute in range(1, 61):
            await trio.sleep(60)
            # What is left is the look at the named nodes, once a minute for each, with its answer and its pings.
            assert cluster.network.statistics.sent - before <= 7 * 8 * (minute + 1)


def node_id(identity: KeyPair) -> NodeId:
    return StaticKey.from_seed(SUITE, identity.seed).node_id


async def grow_apart(cluster: Cluster, names: tuple[str, ...]) -> list[list[Machine]]:
    """Two networks, with one neighbourhood between them: each half knows all whom its neighbours know, and the first
    machine of each lives far off. The first half joins by `names`; nothing passes between the two until both are."""
    rng = random.Random(5)
    identities = [KeyPair.new(rng) for _ in range(200)]
    far = [each for each in identities if node_id(each)[0] >> 7 == 0][:2]
    first, *near = [each for each in identities if node_id(each)[0] >> 6 == 3][:6]
    near.sort(key=lambda each: distance(node_id(first), node_id(each)))
    grown: list[list[Machine]] = []
    homes = [[Endpoint.parse(f"10.8.{number}.{host}:8118") for host in range(1, 5)] for number in range(2)]
    cluster.network.partition(homes)
    for number, half in enumerate(((first, near[1], near[2]), (near[0], near[3], near[4]))):
        door, *rest = homes[number]
        alone = attrs.evolve(cluster.config, join=("10.9.9.9:8118",), first=True, first_patience=0.1)
        seed = await cluster.start(identity=far[number], endpoint=door, config=alone)
        join = attrs.evolve(cluster.config, join=names if number == 0 else (DOORS[1],))
        built = [
            await cluster.start(identity=each, endpoint=home, config=join)
            for each, home in zip(half, rest, strict=True)
        ]
        grown.append([seed, *built])
    await trio.sleep(90)  # newcomers look at their neighbourhood again and again for a minute
    cluster.network.heal_all()
    assert grown[1][1].node.id not in grown[0][1].table
    return grown


async def test_two_halves_of_one_neighbourhood_find_each_other_through_those_outside(
    virtual_clock: VirtualClock,
) -> None:
    """They meet at one seam: of those outside one that the first half knows knows the other. As in the swarm's seed
    1388."""
    async with open_cluster(0, config=config_with(k=2, refresh=120.0, cache_life=0)) as cluster:
        grown = await grow_apart(cluster, DOORS[:1])
        one, door = grown[0][1], grown[1][0]
        one.table.on_answer(door.contact, trio.current_time())
        # Each refresh asks one of those far off, by chance: the door or the seed of its own half.
        for _ in range(20):
            if grown[1][1].node.id in one.table:
                break
            await trio.sleep(120)
        await trio.sleep(120)
        await are_one(cluster, grown)


async def test_they_find_each_other_through_whom_the_operator_has_named(
    virtual_clock: VirtualClock,
) -> None:
    """Long before anybody refreshes anything, and without a seam. As in the swarm's seed 1837."""
    async with open_cluster(0, config=config_with(k=2, cache_life=0)) as cluster:
        grown = await grow_apart(cluster, DOORS)
        await trio.sleep(3 * LOOK_AGAIN)
        await are_one(cluster, grown)


async def test_a_liar_that_names_many_neighbours_has_few_of_them_contacted(
    virtual_clock: VirtualClock,
) -> None:
    """Those that it names first are pinged, and the closest are asked in a lookup: of each no more than k."""
    k = 2
    async with open_cluster(1, config=config_with(k=k, refresh=120.0)) as cluster:
        victim = cluster[0].id
        named = [network_peer(f"named {number}", number, near=victim, behave=silent) for number in range(1, 31)]
        lies = tuple(peer.contact for peer in named)

        def naming_many(heard: Heard) -> Message | None:
            return NodeList(lies) if heard.message == FindNode(victim) else accepting(heard)

        liar = network_peer("liar", 99, near=bytes(each ^ 0xFF for each in victim), behave=naming_many)
        for peer in named:
            await cluster.nursery.start(peer.live, cluster.network)
        await liar.join(cluster)
        await cluster.grow(5)
        assert liar.contact in cluster[0].contacts()
        await trio.sleep(3600)  # a refresh asks a far contact for our neighbours, one of each bucket by chance
        pinged = [peer for peer in named if any(isinstance(heard.message, Ping) for heard in peer.received)]
        assert len(pinged) == k
        assert k <= sum(bool(peer.received) for peer in named) <= 2 * k


async def are_one(cluster: Cluster, grown: list[list[Machine]]) -> None:
    assert grown[1][1].node.id in grown[0][1].table
    key = (await grown[0][2].node.put(VALUE)).key
    await trio.sleep(60)
    for machine in cluster.machines:
        assert (await machine.node.get(key)).value == VALUE
