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
from camomile_trio.kademlia.messages import SESSION_BYTES, FindNode, NodeList, Packet
from camomile_trio.node.join import LOOK_AGAIN
from camomile_trio.node.neighbours import meet_named
from camomile_trio.node.node import Node
from tests.stories.measuring import HEALTHY, VALUE, rpc_of, timed_get, timed_put
from tests.stories.village import Inhabitant, Village, small, village

DOORS = ("10.8.0.1:8118", "10.8.1.1:8118")  # of two networks


def full_buckets(node: Node) -> dict[int, set[Contact]]:
    k = node.config.kademlia.k
    return {bucket.index: set(bucket.contacts) for bucket in rpc_of(node).table.buckets() if len(bucket.contacts) == k}


async def test_a_full_bucket_keeps_its_living_members(autojump_clock: trio.testing.MockClock) -> None:
    """However many newcomers come: members are pinged, answer, and stay."""
    config = small(k=2, refresh=120.0, cache_life=0)
    async with village(12, config=config) as place:
        await trio.sleep(60)
        before = {node.id: full_buckets(node) for node in place.nodes}
        assert sum(map(len, before.values())) >= 12
        for _ in range(4):
            await place.open()
            await trio.sleep(70)
        for node in place.nodes[:12]:
            after = full_buckets(node)
            for index, members in before[node.id].items():
                assert after[index] == members


async def test_a_dead_member_gives_its_place_to_who_waits_for_it(autojump_clock: trio.testing.MockClock) -> None:
    config = small(k=2, refresh=120.0, cache_life=0)
    async with village(14, config=config) as place:
        await trio.sleep(120)
        dead = place.inhabitants[5]
        knew = [
            (node, index)
            for node in place.nodes
            for index, members in full_buckets(node).items()
            if dead.node.id in {contact.id for contact in members}
        ]
        assert knew
        await place.lose(dead)
        await trio.sleep(300)
        for node in place.nodes:
            assert dead.node.id not in rpc_of(node).table
        refilled = [index in full_buckets(node) for node, index in knew if node in place.nodes]
        assert any(refilled)


async def test_a_node_that_is_offline_evicts_nobody_and_recovers(autojump_clock: trio.testing.MockClock) -> None:
    config = small(refresh=120.0, cache_life=0)
    async with village(12, config=config) as place:
        await place[1].put(VALUE)
        await trio.sleep(30)
        hermit = place.inhabitants[5]
        before = set(hermit.node.contacts())
        assert len(before) == 11
        place.network.partition([[hermit.endpoint]])
        for _ in range(8):
            with pytest.raises(Unreachable):
                await hermit.node.put(b"nobody hears this")
            await trio.sleep(60)
        assert set(hermit.node.contacts()) == before
        place.network.heal_all()
        assert await timed_put(hermit.node, b"somebody hears this") <= 1.0
        await trio.sleep(30)
        assert set(hermit.node.contacts()) == before
        assert await timed_get(hermit.node) <= HEALTHY


async def test_who_died_while_we_were_offline_is_gone_in_the_end(autojump_clock: trio.testing.MockClock) -> None:
    config = small(refresh=120.0, cache_life=0)
    async with village(12, config=config) as place:
        await trio.sleep(30)
        hermit, dead = place.inhabitants[5], place.inhabitants[7]
        place.network.partition([[hermit.endpoint]])
        await trio.sleep(300)
        await place.lose(dead)
        await trio.sleep(300)
        place.network.heal_all()
        await trio.sleep(300)
        assert {contact.id for contact in hermit.node.contacts()} == {
            node.id for node in place.nodes if node is not hermit.node
        }


async def test_nodes_without_a_place_for_each_other_do_not_ping_for_ever(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """k is 1, so nearly everybody is a stranger to nearly everybody. A ping is a request of a stranger, too."""
    async with village(8, config=small(k=1, refresh=7 * 86400.0, replicate=7 * 86400.0)) as place:
        await place[1].put(VALUE)
        for _ in range(5):
            await trio.sleep(1)
            assert place.network.statistics.sent < 3000
        await trio.sleep(120)
        assert any(len(rpc_of(node).table) < 7 for node in place.nodes)
        before = place.network.statistics.sent
        for minute in range(1, 61):
            await trio.sleep(60)
            # What is left is the look at the named nodes, once a minute for each, with its answer and its pings.
            assert place.network.statistics.sent - before <= 7 * 8 * (minute + 1)


async def grow_apart(place: Village, names: tuple[str, ...]) -> list[list[Inhabitant]]:
    """Two networks, with one neighbourhood between them: each half knows all whom its neighbours know, and the first
    inhabitant of each lives far off. The first half joins by `names`; nothing passes between the two until both are."""
    rng = random.Random(5)
    identities = [KeyPair.new(rng) for _ in range(200)]
    far = [each for each in identities if each.node_id[0] >> 7 == 0][:2]
    first, *near = [each for each in identities if each.node_id[0] >> 6 == 3][:6]
    near.sort(key=lambda each: distance(first.node_id, each.node_id))
    grown: list[list[Inhabitant]] = []
    homes = [[Endpoint.parse(f"10.8.{number}.{host}:8118") for host in range(1, 5)] for number in range(2)]
    place.network.partition(homes)
    for number, half in enumerate(((first, near[1], near[2]), (near[0], near[3], near[4]))):
        door, *rest = homes[number]
        alone = attrs.evolve(place.config, join=("10.9.9.9:8118",), first=True, first_patience=0.1)
        seed = await place.open(identity=far[number], endpoint=door, config=alone)
        join = attrs.evolve(place.config, join=names if number == 0 else (DOORS[1],))
        built = [
            await place.open(identity=each, endpoint=home, config=join) for each, home in zip(half, rest, strict=True)
        ]
        grown.append([seed, *built])
    await trio.sleep(90)  # newcomers look at their neighbourhood again and again for a minute
    place.network.heal_all()
    assert grown[1][1].node.id not in rpc_of(grown[0][1].node).table
    return grown


async def test_two_halves_of_one_neighbourhood_find_each_other_through_those_outside(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """They meet at one seam: of those outside one that the first half knows knows the other. As in the swarm's seed
    1388."""
    async with village(0, config=small(k=2, refresh=120.0, cache_life=0)) as place:
        grown = await grow_apart(place, DOORS[:1])
        one, door = grown[0][1], grown[1][0]
        assert await rpc_of(one.node).ask(door.endpoint, FindNode(one.node.id), node=door.node.id) is not None
        # Each refresh asks one of those far off, by chance: the door or the seed of its own half.
        for _ in range(20):
            if grown[1][1].node.id in rpc_of(one.node).table:
                break
            await trio.sleep(120)
        await trio.sleep(120)
        await are_one(place, grown)


async def test_they_find_each_other_through_whom_the_operator_has_named(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Long before anybody refreshes anything, and without a seam. As in the swarm's seed 1837."""
    async with village(0, config=small(k=2, cache_life=0)) as place:
        grown = await grow_apart(place, DOORS)
        await trio.sleep(3 * LOOK_AGAIN)
        await are_one(place, grown)


async def test_a_liar_that_names_many_neighbours_has_k_of_them_pinged(autojump_clock: trio.testing.MockClock) -> None:
    async with village(4, config=small(k=2)) as place:
        node, liar = place[1], place.inhabitants[2]
        rpc = rpc_of(node)
        beside_us = [NodeId(node.id[:-1] + bytes((node.id[-1] ^ number,))) for number in range(1, 31)]
        lies = tuple(Contact(each, Endpoint.parse(f"10.7.0.{number}:8118")) for number, each in enumerate(beside_us, 1))
        before = rpc.statistics.requests["ping"]
        meet_named(node.core, liar.endpoint, Packet(bytes(SESSION_BYTES), liar.node.id, NodeList(lies, b"")))
        assert rpc.statistics.requests["ping"] - before == 2


async def are_one(place: Village, grown: list[list[Inhabitant]]) -> None:
    assert grown[1][1].node.id in rpc_of(grown[0][1].node).table
    key = (await grown[0][2].node.put(VALUE)).key
    await trio.sleep(60)
    for inhabitant in place.inhabitants:
        assert (await inhabitant.node.get(key)).value == VALUE
