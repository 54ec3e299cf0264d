"""Two nodes with one key, from a copied data directory: the copy finds out, the others do, and they say so."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import attrs
import structlog
import trio
import trio.testing

from camomile_trio.config import Config
from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.messages import FindNode, Message, NodeList
from camomile_trio.simulation.clocks import VirtualClock
from tests.fixtures.cluster import config_with, open_cluster
from tests.fixtures.line import SELF_CONTACT, Line, one_node
from tests.fixtures.peers import Behaviour, Peer, attend, truthful
from tests.fixtures.speaker import Heard

LINE = "another node names the key of this one as its own"  # of the copy
LINE_OF_OTHERS = "two nodes have the same key"
ALICE, COPY = Endpoint.parse("10.0.0.1:8118"), Endpoint.parse("10.0.0.2:8118")


def told_of(logs: Sequence[Any]) -> list[str]:
    return [each["at"] for each in logs if each["event"] == LINE]


def said_by_others(logs: Sequence[Any]) -> list[tuple[str, str]]:
    """The two places that each line names, the one that was heard of last first."""
    return [(each["at"], each["and_at"]) for each in logs if each["event"] == LINE_OF_OTHERS]


async def test_a_copy_that_joins_its_original_says_why_it_does_not_get_in(
    virtual_clock: VirtualClock,
) -> None:
    key = KeyPair.new(random.Random(1))
    with structlog.testing.capture_logs() as logs:
        async with open_cluster(0) as cluster:
            original = (await cluster.start(identity=key, endpoint=ALICE)).node
            copy = (await cluster.start(identity=key, endpoint=COPY, wait=False)).node
            await trio.sleep(5)
            assert not copy.ready
            assert str(ALICE) in copy.not_ready_because
            assert "copied data directory" in copy.not_ready_because
            assert sorted(told_of(logs)) == [str(ALICE)]
            assert original.ready
            await trio.sleep(500)
            assert len(told_of(logs)) == 1  # it is tried every half minute, and said every ten minutes
            await cluster.lose(cluster.machines[0])
            await cluster.start(endpoint=ALICE, config=attrs.evolve(config_with(), join=("10.0.0.9:8118",), first=True))
            await copy.wait_ready()  # another node is there now


async def test_a_copy_that_joins_through_others_is_found_by_them(virtual_clock: VirtualClock) -> None:
    key = KeyPair.new(random.Random(1))
    with structlog.testing.capture_logs() as logs:
        async with open_cluster(4) as cluster:
            original, copy = Endpoint.parse("10.0.0.7:8118"), Endpoint.parse("10.0.0.8:8118")
            await cluster.start(identity=key, endpoint=original)
            await trio.sleep(60)
            await cluster.start(identity=key, endpoint=copy)
            await trio.sleep(60)
            assert told_of(logs) == [str(original)]
            await trio.sleep(3600)
            both = {str(original), str(copy)}
            # Once each of them has spoken, at most once in ten minutes at each of four.
            said = said_by_others(logs)
            assert said
            assert all(set(places) == both for places in said)
            assert len(said) <= 4 * 7


async def test_a_node_that_moved_is_no_copy_of_itself(virtual_clock: VirtualClock) -> None:
    key = KeyPair.new(random.Random(1))
    with structlog.testing.capture_logs() as logs:
        async with open_cluster(4) as cluster:
            before = await cluster.start(identity=key, endpoint=Endpoint.parse("10.0.0.7:8118"))
            await trio.sleep(60)
            await cluster.lose(before)
            await cluster.start(identity=key, endpoint=Endpoint.parse("10.0.0.8:8118"))
            await trio.sleep(60)
    assert told_of(logs) == []
    assert said_by_others(logs) == []


async def test_a_peer_that_names_our_key_at_many_addresses_makes_us_ask_one_of_them(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Each is asked twice by a hello, and has 38 bytes in the answer: any number of them would amplify it fourfold."""
    line = Line()
    mallory = Peer.at(line, "mallory", "10.9.0.9:8118")
    victims = [Endpoint.parse(f"10.66.0.{number + 1}:8118") for number in range(20)]
    answers = 0

    def behave(heard: Heard) -> Message | None:
        nonlocal answers
        if not isinstance(heard.message, FindNode):
            return truthful(heard)
        answers += 1
        return NodeList(tuple(Contact(SELF_CONTACT.id, each, SELF_CONTACT.public) for each in victims))

    config = Config(join=f"{mallory.endpoint}#{mallory.contact.public.hex()}")
    async with trio.open_nursery() as nursery:
        behaviours: dict[Peer, Behaviour] = {mallory: behave}
        nursery.start_soon(attend, behaviours)
        async with one_node(config, line=line):
            await trio.sleep(20)
        nursery.cancel_scope.cancel()
    hellos = [to for to, _ in line.sent if to in victims]
    assert answers
    assert 0 < len(hellos) <= 2 * answers
