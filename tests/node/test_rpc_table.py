"""Whom a node keeps in its table, and where it believes them to live."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.messages import (
    FindNode,
    NodeList,
    Ping,
)
from tests.fixtures.line import HERE
from tests.fixtures.parts import TARGET, ask, known_peers, open_parts
from tests.fixtures.peers import Behaviour, Peer, attend, truthful


async def test_an_advertised_endpoint_replaces_the_source_once_the_same_node_answers_there(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts() as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")
        there = Peer(line, "bob", Endpoint.parse("10.9.0.3:9000"), bob.key)
        ask(rpc, bob, FindNode(TARGET))
        bob.answer(bob.heard()[0], NodeList(), advertised=there.endpoint)
        assert rpc.table.get(bob.id) == bob.contact
        (ping,) = there.heard()
        assert rpc.table.get(bob.id) == bob.contact
        there.pong(ping, advertised=there.endpoint)
        assert rpc.table.get(bob.id) == Contact(bob.id, there.endpoint)


async def test_somebody_else_at_the_advertised_endpoint_changes_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts() as (parts, line):
        rpc, mallory = parts.rpc, Peer.at(line, "mallory", "10.9.0.2:8118")
        carol = Peer.at(line, "carol", "10.9.0.3:8118")
        ask(rpc, mallory, FindNode(TARGET))
        mallory.answer(mallory.heard()[0], NodeList(), advertised=carol.endpoint)
        carol.pong(carol.heard()[0])
        await trio.sleep(5)
        assert rpc.table.get(mallory.id) == mallory.contact


@pytest.mark.parametrize(
    "nowhere", ["127.0.0.1:22", "224.0.0.1:8118", "0.0.0.0:8118", "255.255.255.255:8118", str(HERE)]
)
async def test_a_senseless_advertised_endpoint_is_never_contacted(
    autojump_clock: trio.testing.MockClock, nowhere: str
) -> None:
    async with open_parts() as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")
        ask(rpc, bob, FindNode(TARGET))
        bob.answer(bob.heard()[0], NodeList(), advertised=Endpoint.parse(nowhere))
        await trio.sleep(5)
        assert {to for to, _ in line.sent} == {bob.endpoint}


async def test_a_private_endpoint_is_not_contacted_on_a_public_peers_word(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts() as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "8.8.8.8:8118")
        ask(rpc, bob, FindNode(TARGET))
        bob.answer(bob.heard()[0], NodeList(), advertised=Endpoint.parse("192.168.0.1:80"))
        assert {to for to, _ in line.sent} == {bob.endpoint}


async def test_who_died_and_came_back_is_let_in_within_seconds(autojump_clock: trio.testing.MockClock) -> None:
    """It was pinged while it was dead; what it asks once it is back is worth a ping before a minute has passed."""
    async with open_parts() as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.1.1:8118")
        bob.introduce()
        await trio.sleep(1)
        rpc.table.on_gone(bob.id, bob.endpoint)
        rpc.prove(bob.contact, again_after=0.0)
        await trio.sleep(6)
        bob.heard()
        bob.ask(FindNode(TARGET), padding=600)
        (ping,) = [packet for packet in bob.heard() if isinstance(packet.message, Ping)]
        bob.pong(ping)
        assert bob.id in rpc.table
        # One that answers is asked no more often than before.
        bob.ask(FindNode(TARGET), padding=600)
        assert not [packet for packet in bob.heard() if isinstance(packet.message, Ping)]


async def test_who_misses_a_deadline_while_others_answer_is_gone(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, _), trio.open_nursery() as nursery:
        rpc = parts.rpc
        bob, *others = known_peers(parts, 5)
        living: dict[Peer, Behaviour] = dict.fromkeys(others, truthful)
        nursery.start_soon(attend, living)
        ask(rpc, bob, FindNode(TARGET))
        await trio.sleep(0.5)
        ask(rpc, others[0], FindNode(TARGET))
        await trio.sleep(3)
        assert {contact.id for contact in rpc.table} == {peer.id for peer in others}
        nursery.cancel_scope.cancel()


async def test_a_node_that_is_cut_off_evicts_nobody(autojump_clock: trio.testing.MockClock) -> None:
    """Everything seems dead, so it is we who are offline; and when the first one answers again, the others get their
    chance before anybody is judged."""
    async with open_parts() as (parts, _), trio.open_nursery() as nursery:
        rpc = parts.rpc
        peers = known_peers(parts, 12)
        await trio.sleep(10)
        for _ in range(5):
            for peer in peers:
                ask(rpc, peer, FindNode(TARGET))
            await trio.sleep(30)
        assert len(rpc.table) == 12
        for peer in peers:
            peer.heard()
        # The line is back, and two have died meanwhile.
        living: dict[Peer, Behaviour] = dict.fromkeys(peers[:10], truthful)
        nursery.start_soon(attend, living)
        ask(rpc, peers[0], FindNode(TARGET))
        await trio.sleep(60)  # at the latest once nobody has answered for 20 s somebody is asked for a sign of life
        assert {contact.id for contact in rpc.table} == {peer.id for peer in peers[:10]}
        nursery.cancel_scope.cancel()


async def test_who_failed_while_nobody_answered_is_asked_around_for(autojump_clock: trio.testing.MockClock) -> None:
    """A quiet network: nobody else was heard of since the dead one was asked, so others are asked for a sign."""
    async with open_parts() as (parts, line), trio.open_nursery() as nursery:
        rpc = parts.rpc
        bob, *others = peers = [Peer.at(line, f"peer {number}", f"10.9.1.{number}:8118") for number in range(1, 6)]
        for peer in peers:
            rpc.prove(peer.contact)
            peer.pong(peer.heard()[0])
        await trio.sleep(100)
        living: dict[Peer, Behaviour] = dict.fromkeys(others, truthful)
        nursery.start_soon(attend, living)
        ask(rpc, bob, FindNode(TARGET))
        await trio.sleep(10)
        assert {contact.id for contact in rpc.table} == {peer.id for peer in others}
        # Three for a sign, the dead one once more, and the first that answered beside it; and before its deadline, the
        # dead one, since small datagrams might have passed.
        assert rpc.statistics.requests["ping"] == len(peers) + 3 + 1 + 1 + 1
        nursery.cancel_scope.cancel()
