"""What a node sends to the addresses that its peers name, and who pays for it.

Rules of this file: nodes on the network in memory; the victim is an address where nothing answers. Virtual time.
"""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from camomile_trio.config import Requests as Settings
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import NodeId
from camomile_trio.peer.paths import Path
from camomile_trio.peer.table import Peer
from camomile_trio.peer.tellers import ALLOWED, ANSWERED_WITHIN, MOST_CREDIT, Tellers
from tests.peer.mesh import Mesh, MeshNode, met, running
from tests.peer.tiny_codec import Find, Ping, Pong

A, MALLORY, BOB, DAVE = "198.18.1.1", "198.18.2.1", "198.18.3.1", "198.18.4.1"
VICTIM, PRIVATE = "198.19.1.1", "10.9.0.1"


def named(number: int, host: str = VICTIM) -> Contact:
    """A contact with a key that no node has, at the victim's address."""
    node = MeshNode(Mesh(), f"named {number}", host)
    return Contact.of(node.contact.public, Endpoint.of(node.endpoint.ip, 1000 + number))


def bytes_to(mesh: Mesh, host: str) -> int:
    ip = Endpoint.parse(f"{host}:1").ip
    return sum(len(sent.datagram) for sent in mesh.sent if sent.to.ip == ip)


def bytes_from(mesh: Mesh, node: MeshNode) -> int:
    return sum(len(sent.datagram) for sent in mesh.sent if sent.source == node.endpoint)


async def test_a_node_sends_a_victim_no_more_than_those_that_name_it_have_sent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, mallory = MeshNode(mesh, "a", A), MeshNode(mesh, "m", MALLORY)
    async with running(mesh, a, mallory):
        for number in range(20):
            await a.requests.ask(mallory.contact, Find(str(number), b"600"))
            for each in range(20):
                a.ask(named(20 * number + each), Find("x"), told_by=(mallory.contact,))
            await trio.sleep(5)
        sent, received = bytes_to(mesh, VICTIM), bytes_from(mesh, mallory)
        assert 0.8 * received < sent <= received
        assert a.requests.statistics.dropped["teller_without_credit"] > 100


async def test_what_is_sent_to_a_private_address_costs_the_teller_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, mallory = MeshNode(mesh, "a", A), MeshNode(mesh, "m", MALLORY)
    async with running(mesh, a, mallory):
        await met(a, mallory)
        for number in range(20):
            a.ask(named(number, PRIVATE), Find("x"), told_by=(mallory.contact,))
        await trio.sleep(5)
        assert bytes_to(mesh, PRIVATE) > 20 * 2 * 150
        assert not a.requests.statistics.dropped


async def test_a_node_that_answers_gives_its_teller_back_what_was_paid_and_costs_nothing_for_an_hour(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, bob, dave = MeshNode(mesh, "a", A), MeshNode(mesh, "b", BOB), MeshNode(mesh, "d", DAVE)
    async with running(mesh, a, bob, dave):
        await a.requests.ask(bob.contact, Find("much", b"300"))
        peer = a.sessions.table.peers[bob.contact.public]
        before = peer.credit
        assert before > 300
        asked = a.ask(dave, Ping("1"), told_by=(bob.contact,))
        assert before - peer.credit == bytes_to(mesh, DAVE) > 150
        await trio.sleep(1)
        assert asked.answer == Pong("1")
        assert peer.credit == before
        # Its session is lost, and so the next request takes an initiation; the teller has no credit at all.
        a.sessions.table.remove(dave.contact.public, trio.current_time())
        peer.credit = 0
        asked = a.ask(dave, Ping("2"), told_by=(bob.contact,))
        await trio.sleep(ANSWERED_WITHIN + 1)
        assert asked.answer == Pong("2")
        a.sessions.table.remove(dave.contact.public, trio.current_time())
        assert a.ask(dave, Ping("3"), told_by=(bob.contact,)).pending is None


async def test_a_peer_that_the_operator_has_named_can_name_the_first_nodes_and_pays_for_the_others(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """In a network of three its answer is shorter than the initiation that asks the third node."""
    mesh = Mesh()
    a, seed, dave = MeshNode(mesh, "a", A), MeshNode(mesh, "s", BOB), MeshNode(mesh, "d", DAVE)
    async with running(mesh, a, seed, dave):
        await met(a, seed)
        assert a.ask(dave, Ping("1"), told_by=(seed.contact,)).pending is None
        for _ in range(3):
            a.requests.on_named_by_operator(seed.contact.public)
        asked = a.ask(dave, Ping("2"), told_by=(seed.contact,))
        await trio.sleep(1)
        assert asked.answer == Pong("2")
        for number in range(100):
            a.ask(named(number), Ping("x"), told_by=(seed.contact,))
        await trio.sleep(3)
        assert 0.9 * ALLOWED < bytes_to(mesh, VICTIM) < 1.1 * ALLOWED


async def test_what_a_node_knows_by_itself_needs_no_credit(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, bob = MeshNode(mesh, "a", A), MeshNode(mesh, "b", BOB)
    async with running(mesh, a, bob):
        asked = a.ask(bob, Ping("1"))
        await trio.sleep(1)
        assert asked.answer == Pong("1")


async def test_a_retransmission_is_paid_as_well_or_does_not_leave(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, mallory = MeshNode(mesh, "a", A), MeshNode(mesh, "m", MALLORY)
    async with running(mesh, a, mallory):
        await met(a, mallory)
        a.sessions.table.peers[mallory.contact.public].credit = 250  # an initiation, and not another one
        asked = a.ask(named(1), Find("x"), told_by=(mallory.contact,))
        await trio.sleep(5)
        assert len(asked.failed_at) == 1
        assert [sent.to for sent in mesh.sent if sent.to.ip == named(1).endpoint.ip] == [named(1).endpoint]
        assert a.requests.statistics.retransmitted == 0


async def test_an_unconfirmed_handshake_earns_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """Its source may be forged: whoever sends it pays for nothing with it."""
    mesh = Mesh()
    a, mallory = MeshNode(mesh, "a", A), MeshNode(mesh, "m", MALLORY)
    async with running(mesh, a, mallory):
        mesh.fate = lambda sent: () if sent.source == a.endpoint else (0.01,)
        mallory.ask(a, Find("1"))
        await trio.sleep(1)
        assert a.sessions.table.peers[mallory.contact.public].credit == 0
        assert a.ask(named(1), Ping("x"), told_by=(mallory.contact,)).pending is None


async def test_hellos_to_an_address_that_a_peer_names_are_paid(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, mallory = MeshNode(mesh, "a", A), MeshNode(mesh, "m", MALLORY)
    async with running(mesh, a, mallory):
        await met(a, mallory)
        a.sessions.table.peers[mallory.contact.public].credit = 170  # two hellos, and no third
        victim = Endpoint.parse(f"{VICTIM}:8118")
        assert await a.requests.hellos.public_key_at(victim, told_by=(mallory.contact,)) is None
        assert await a.requests.hellos.public_key_at(victim, told_by=(mallory.contact,)) is None
        assert 150 < bytes_to(mesh, VICTIM) <= 170


PUBLIC = Endpoint.parse(f"{VICTIM}:8118")
STEPS = st.lists(
    st.tuples(st.sampled_from(["earn", "pay", "answer"]), st.integers(0, 2), st.integers(1, 2000)), max_size=60
)


@given(STEPS)
def test_no_teller_pays_more_than_it_has_earned_for_what_did_not_answer(steps: list[tuple[str, int, int]]) -> None:
    publics = [bytes([number]) * 32 for number in range(3)]
    peers = {public: Peer(public, NodeId.of(public)) for public in publics}
    tellers, paths = Tellers(peers), [Path(Settings(), rto=0.25) for _ in range(3)]
    earned, unanswered = [0, 0, 0], [0, 0, 0]
    for number, (step, which, size) in enumerate(steps):
        if step == "earn":
            peers[publics[which]].credit += size
            earned[which] += size
        elif step == "answer":
            # Another teller may have paid for a part of it.
            if paths[which].paid:
                unanswered[publics.index(paths[which].paid_by)] -= paths[which].paid
            tellers.give_back(paths[which])
        else:
            teller = Contact.of(publics[which], PUBLIC)
            if tellers.pay(paths[number % 3], (teller,), PUBLIC, size, float(number)):
                unanswered[which] += size
    assert all(spent <= income for spent, income in zip(unanswered, earned, strict=True))


@pytest.mark.parametrize("credit", [MOST_CREDIT, 10 * MOST_CREDIT])
def test_what_was_saved_in_long_peace_is_bounded(credit: int) -> None:
    public = b"m" * 32
    peer = Peer(public, NodeId.of(public), credit=credit)
    tellers, teller = Tellers({public: peer}), Contact.of(public, PUBLIC)
    assert (
        sum(1000 for _ in range(1000) if tellers.pay(None, (teller,), PUBLIC, 1000, 0.0)) == MOST_CREDIT // 1000 * 1000
    )
