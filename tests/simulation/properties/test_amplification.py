"""Nodes answer strangers with three times their bytes at most; one that sends more is seen."""

from __future__ import annotations

import random
from unittest import mock

import pytest
import trio

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import NodeId
from camomile_trio.kademlia.messages import VERSION as VERSION_1
from camomile_trio.kademlia.messages import Message, NodeList, Packet, Ping, Pong
from camomile_trio.node import inbox
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.properties.amplification import Amplification
from camomile_trio.simulation.raw_packets import SENDER, SESSION, Kind, field
from camomile_trio.simulation.strangers import Stranger, open_stranger
from camomile_trio.simulation.world import World
from camomile_trio.wire.codec import encode
from tests.simulation.worlds import broken_rules, run_world

STRANGER = Endpoint.parse("10.9.9.9:8118")
VERSION, PADDING = 10, 14


def find_node(rng: random.Random, padding: int) -> bytes:
    """A find of one of ours, from an id that nobody knows; the answer is longer than it."""
    packet = field(SESSION, rng.randbytes(32)) + field(SENDER, rng.randbytes(32))
    packet += field(Kind.FIND_NODE, field(1, rng.randbytes(32))) + field(VERSION, 1)
    return packet + (field(PADDING, bytes(padding)) if padding else b"")


async def a_stranger_asks(world: World, machines: list[Machine]) -> None:
    """From an address at which nobody answers, as if it were forged."""
    rng = world.generator("stranger")
    async with open_stranger(world.network, STRANGER, Stranger) as stranger:
        for padding in (0, 0, 100, 400):
            for machine in machines:
                stranger.transport.send(find_node(rng, padding), machine.endpoint)
            await trio.sleep(20)


async def crashes_and_returns(world: World, machines: list[Machine]) -> None:
    """Nodes that start again have forgotten who has proven itself, while others still know them."""
    await world.users.put_many(10)
    await world.crash_all(machines[2:5])
    for machine in machines[2:5]:
        await world.start(machine)
    await world.users.keep_busy(60, puts=1, gets=5)


def test_strangers_and_friends_get_no_more_than_they_may() -> None:
    assert not broken_rules(run_world(a_stranger_asks, Amplification))
    assert not broken_rules(run_world(crashes_and_returns, Amplification))


def test_more_than_that_is_seen() -> None:
    with mock.patch.object(inbox, "AMPLIFICATION", 30):
        outcome = run_world(a_stranger_asks, Amplification)
    assert broken_rules(outcome) == [Amplification.name]
    assert any(str(STRANGER) in each.expected for each in outcome.violations)


def packet(rng: random.Random, sender: NodeId, message: Message) -> bytes:
    return encode(Packet(rng.randbytes(32), sender, message, VERSION_1))


@pytest.mark.parametrize("requests", [2, 3])
def test_a_third_first_request_in_a_minute_is_seen(requests: int) -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        rng, judge = world.generator("stranger"), Amplification(world)
        for _ in range(requests):
            asked = packet(rng, machines[0].id, Ping(bytes(32)))
            judge.on_sent(world.now, machines[0].endpoint, STRANGER, asked)
            await trio.sleep(10)

    outcome = run_world(story)
    assert broken_rules(outcome) == ([Amplification.name] if requests == 3 else [])
    assert all("first requests" in each.expected for each in outcome.violations)


@pytest.mark.parametrize("pings", [0, 1])
def test_a_ping_that_goes_with_an_answer_counts_with_it(pings: int) -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        judge, own, rng = Amplification(world), machines[0].endpoint, world.generator("stranger")
        theirs, ours = NodeId(rng.randbytes(32)), machines[0].id
        question = packet(rng, theirs, Ping(bytes(32)))
        pong = packet(rng, ours, Pong(bytes(32), bytes(32), bytes(64), STRANGER, 1 << 40))
        ping = packet(rng, ours, Ping(bytes(32)))
        assert 3 * len(question) - len(ping) < len(pong) <= 3 * len(question)
        judge.on_received(world.now, STRANGER, own, question)
        judge.on_sent(world.now, own, STRANGER, pong)
        for _ in range(pings):
            judge.on_sent(world.now, own, STRANGER, ping)

    assert broken_rules(run_world(story)) == [Amplification.name] * pings


@pytest.mark.parametrize("somebody_else", [True, False])
def test_a_ping_belongs_to_what_is_being_received_and_not_to_what_came_just_before(somebody_else: bool) -> None:
    """Seed 1485 of the swarm: in the moment of a stranger's ping somebody else's answer named the stranger."""

    async def story(world: World, machines: list[Machine]) -> None:
        judge, own, friend = Amplification(world), machines[0].endpoint, machines[1].endpoint
        rng = world.generator("stranger")
        theirs, ours = NodeId(rng.randbytes(32)), NodeId(rng.randbytes(32))
        pong = Pong(bytes(32), bytes(32), bytes(64), STRANGER, 1 << 40)
        judge.on_received(world.now, STRANGER, own, packet(rng, theirs, Ping(bytes(32))))
        judge.on_sent(world.now, own, STRANGER, packet(rng, ours, pong))
        if somebody_else:
            judge.on_received(world.now, friend, own, packet(rng, ours, NodeList()))
        judge.on_sent(world.now, own, STRANGER, packet(rng, ours, Ping(bytes(32))))
        await trio.lowlevel.checkpoint()

    assert broken_rules(run_world(story)) == ([] if somebody_else else [Amplification.name])
