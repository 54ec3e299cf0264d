"""Neighbours that one peer names: each is pinged, and what that costs its address is paid by the peer.

Rules of this file: the parts of a node on a line; the test plays its peers. Virtual time.
"""

from __future__ import annotations

import trio
import trio.testing

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.messages import Message, NodeList
from camomile_trio.node.neighbours import meet_named
from camomile_trio.peer.seams import Answer
from tests.fixtures.line import Line
from tests.fixtures.parts import open_parts
from tests.fixtures.peers import Behaviour, Peer, attend, truthful

COUNT = 20


def named(line: Line) -> list[Peer]:
    return [Peer.at(line, f"peer {number}", f"198.18.{number}.1:8118") for number in range(1, COUNT + 1)]


def answer_of(peer: Peer, contacts: tuple[Contact, ...]) -> Answer[Message]:
    return Answer(peer.contact, NodeList(contacts), 0, None)


def bytes_to(line: Line, peers: list[Peer]) -> int:
    endpoints: set[Endpoint] = {peer.endpoint for peer in peers}
    return sum(len(datagram) for to, datagram in line.sent if to in endpoints)


async def test_those_that_answer_are_all_met_though_their_teller_cannot_pay_for_all_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts() as (parts, line), trio.open_nursery() as nursery:
        teller, peers = Peer.at(line, "teller", "198.18.99.1:8118"), named(line)
        teller.introduce()
        parts.requests.sessions.table.peers[teller.contact.public].credit = 800  # four pings
        behaviours: dict[Peer, Behaviour] = dict.fromkeys(peers, truthful)
        nursery.start_soon(attend, behaviours)
        meet_named(parts.make_core(), answer_of(teller, tuple(peer.contact for peer in peers)))
        assert 600 < bytes_to(line, peers) <= 800
        await trio.sleep(1)
        assert {peer.contact for peer in peers} < set(parts.table)
        nursery.cancel_scope.cancel()


async def test_those_that_do_not_answer_cost_no_more_bytes_than_their_teller_has_sent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts() as (parts, line):
        teller, peers = Peer.at(line, "teller", "198.18.99.1:8118"), named(line)
        teller.introduce()
        parts.requests.sessions.table.peers[teller.contact.public].credit = 800
        core, answer = parts.make_core(), answer_of(teller, tuple(peer.contact for peer in peers))
        for _ in range(10):
            meet_named(core, answer)
            await trio.sleep(70)
        assert 600 < bytes_to(line, peers) <= 800
