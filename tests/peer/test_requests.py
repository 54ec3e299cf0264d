"""What becomes of requests between nodes: answers, silence, loss, restarts, moves, and bounds.

Rules of this file: one story a test, over `Requests` on the network in memory, in virtual time.
"""

from __future__ import annotations

import itertools
import random

import pytest
import trio
import trio.testing

from camomile_trio.config import Requests as Settings
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.peer.budget import HandshakeRates, Rate
from camomile_trio.peer.decisions import Initiated
from camomile_trio.peer.hellos import MOST_OWN_ENDPOINTS
from camomile_trio.peer.packets import (
    COOKIE,
    HELLO,
    HELLO_ANSWER,
    INITIATION,
    MOST_INNER,
    RESPONSE,
    SEALED,
    unframe_untrusted,
)
from camomile_trio.peer.pending import MOST_HANDSHAKES, MOST_WAITING, PendingRequests
from camomile_trio.peer.requests import PADDED_BYTES
from camomile_trio.peer.seams import Answer
from camomile_trio.peer.sessions import REKEY_AFTER
from tests.peer.mesh import ONE_WAY, WALL_MS, Asked, Mesh, MeshNode, Sent, lost, met, restarted, running, usual
from tests.peer.tiny_codec import Find, Get, Leave, Message, Nodes, Ping, Pong, Store, Stored, TinyCodec, Value

A, B, C = "198.18.1.1", "198.18.2.1", "198.18.3.1"
FIRST_RTO, DEADLINE = 0.25, 2.0
ROUND_TRIP = 2 * ONE_WAY


def two(mesh: Mesh, settings: Settings | None = None) -> tuple[MeshNode, MeshNode]:
    return MeshNode(mesh, "a", A, settings=settings), MeshNode(mesh, "b", B)


async def hear_much(node: MeshNode, teller: MeshNode) -> None:
    """The teller has sent this node so much that it can pay for a few initiations on its word."""
    await met(node, teller)
    await node.requests.ask(teller.contact, Find("much", b"1000"))
    node.mesh.sent.clear()


def stranger(number: int) -> Contact:
    """A node that does not exist."""
    node = MeshNode(Mesh(), f"stranger {number}", f"198.19.{number // 250}.{number % 250 + 1}")
    return node.contact


def losing(*numbers: int, of: MeshNode) -> None:
    """Of what leaves this node from now on, these datagrams are lost, counted from 0."""
    seen = iter(range(10**9))

    def fate(sent: Sent) -> tuple[float, ...]:
        return () if sent.source == of.endpoint and next(seen) in numbers else (ONE_WAY,)

    of.mesh.fate = fate


# First requests ------------------------------------------------------------------------------------------------------


async def test_a_first_request_is_answered_in_one_round_trip(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        began = trio.current_time()
        asked = a.ask(b, Find("1"))
        await trio.sleep(1)
        assert asked.answer == Nodes("1", bytes(100))
        assert asked.replied_at == [pytest.approx(began + ROUND_TRIP)]
        assert mesh.fields() == [INITIATION, RESPONSE, SEALED]  # the last is empty, and confirms
        assert [request.is_confirmed for request in b.handled] == [False]
        assert [contact for contact, _ in a.responded] == [b.contact]
        about = a.sessions.local.about(WALL_MS + int(1000 * began))
        assert b.confirmed == [(a.contact, about)]
        assert a.confirmed == []
        back = b.ask(a, Store("2"))
        await trio.sleep(1)
        assert back.answer == Stored("2")
        assert mesh.fields() == [SEALED, SEALED]


async def test_a_store_to_a_peer_never_met_leaves_as_soon_as_there_is_a_session(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        began = trio.current_time()
        asked = a.ask(b, Store("1"))
        await trio.sleep(1)
        assert asked.replied_at == [pytest.approx(began + 2 * ROUND_TRIP)]
        assert mesh.fields(a) == [INITIATION, SEALED]  # the STORE itself confirms
        assert [(request.message.name, request.is_confirmed) for request in b.handled] == [("", False), ("1", True)]
        assert len(a.answered) == 1  # the ping that began it tells nothing


async def test_what_is_asked_meanwhile_waits_for_the_handshake_and_leaves_in_order(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        asked = [a.ask(b, Find("0")), a.ask(b, Store("1")), a.ask(b, Find("2"))]
        assert mesh.fields() == [INITIATION]
        await trio.sleep(1)
        assert [each.answer.name for each in asked] == ["0", "1", "2"]
        assert b.names() == ["0", "1", "2"]
        assert mesh.fields(a) == [SEALED, SEALED]
        assert a.requests.statistics.initiated == 1
        # What waited has a time of its own: it was sent late, and its round trip is that of its packet.
        assert asked[1].replies[0].round_trip == pytest.approx(ROUND_TRIP)


async def test_a_find_is_padded_unless_its_address_is_known_by_a_peers_word_alone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    c, teller = MeshNode(mesh, "c", C), MeshNode(mesh, "d", "198.18.4.1")
    async with running(mesh, a, b, c, teller):
        await hear_much(a, teller)
        padded, plain = a.ask(b, Find("1", b"2000")), a.ask(c, Find("2", b"2000"), told_by=(teller.contact,))
        first, second = (len(sent.datagram) for sent in mesh.sent)
        assert first == PADDED_BYTES
        assert second < 220
        await trio.sleep(1)
        assert len(padded.answer.body) > 1000
        assert len(plain.answer.body) < 3 * second
        for sent in mesh.sent:
            if sent.field == RESPONSE:
                assert len(sent.datagram) <= 3 * (first if sent.source == b.endpoint else second)


async def test_a_value_that_a_response_has_no_room_for_takes_one_round_trip_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    c = MeshNode(mesh, "c", C)
    async with running(mesh, a, b, c):
        await hear_much(a, c)
        began = trio.current_time()
        asked = a.ask(b, Get("1", b"1000"), told_by=(c.contact,))
        await trio.sleep(1)
        assert asked.answer == Value("1", bytes(1000))
        assert asked.replied_at == [pytest.approx(began + 2 * ROUND_TRIP)]
        assert mesh.fields(a) == [INITIATION, SEALED]
        assert a.requests.statistics.retransmitted == 0
        assert mesh.streams == 0


async def test_such_a_value_comes_even_if_the_response_was_late(autojump_clock: trio.testing.MockClock) -> None:
    """So late that the handshake had been given up."""
    mesh = Mesh()
    a, b = two(mesh)
    c = MeshNode(mesh, "c", C)
    async with running(mesh, a, b, c):
        await hear_much(a, c)
        mesh.fate = lambda sent: (1.2,) if sent.field == RESPONSE else (ONE_WAY,)
        asked = a.ask(b, Get("1", b"1000"), told_by=(c.contact,))
        await trio.sleep(1.1)
        assert a.requests.handshakes == 0
        await trio.sleep(3)
        assert asked.answer == Value("1", bytes(1000))


async def test_a_first_request_that_is_too_long_for_an_initiation_follows_a_ping(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        asked = a.ask(b, Ping("1", bytes(1100)))
        await trio.sleep(1)
        assert asked.answer == Pong("1")
        assert b.names() == ["", "1"]


async def test_an_initiation_that_is_answered_after_a_later_one_is_not_answered(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        b.answer_of = lambda message: None
        a.ask(b, Find("1"))
        await trio.sleep(2.1)
        a.ask(b, Find("2"))
        await trio.sleep(0.1)
        mesh.sent.clear()
        for request in reversed(b.handled):
            request.answer(Nodes(request.message.name))
        assert mesh.fields(b) == [RESPONSE]
        assert b.requests.statistics.dropped["answered_a_later_one"] == 1


async def test_both_may_ask_first_at_once(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        asked = [a.ask(b, Find("a1")), b.ask(a, Find("b1")), a.ask(b, Store("a2")), b.ask(a, Store("b2"))]
        await trio.sleep(3)
        assert [each.answer.name for each in asked] == ["a1", "b1", "a2", "b2"]
        for node, other in ((a, b), (b, a)):
            told = {(contact, about.run) for contact, about in (*node.responded, *node.confirmed)}
            assert told == {(other.contact, other.sessions.local.run)}
        assert not a.missed
        assert not b.missed
        mesh.sent.clear()
        more = [a.ask(b, Store("a3")), b.ask(a, Store("b3"))]
        await trio.sleep(3)
        assert [each.ends for each in more] == [1, 1]
        assert mesh.fields() == [SEALED] * 4
        indexes = {sent.datagram[3:7] for sent in mesh.sent}
        assert len(indexes) <= 2  # one session, whose ends have an index each


async def test_where_both_ask_at_once_one_handshake_is_enough_for_all_that_waits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Of a's own one no response comes back, and that of b confirms."""
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        mesh.fate = lambda sent: () if sent.field == RESPONSE and sent.source == b.endpoint else (ONE_WAY,)
        asked = [a.ask(b, Find("a1")), a.ask(b, Store("a2"))]
        b.ask(a, Find("b1"))
        await trio.sleep(3)
        assert [each.answer.name for each in asked] == ["a1", "a2"]
        assert asked[1].replied_at == [pytest.approx(5 * ONE_WAY)]  # as soon as b's handshake was confirmed
        assert asked[0].replied_at == [pytest.approx(FIRST_RTO + ROUND_TRIP)]


async def test_what_waited_is_overdue_one_timeout_after_it_was_sent(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        mesh.fate = lambda sent: (0.1,)
        asked = a.ask(b, Store("1"))
        await trio.sleep(3)
        assert asked.replied_at == [pytest.approx(0.4)]
        assert not asked.overdue_at


# Loss, silence -------------------------------------------------------------------------------------------------------


async def test_a_lost_initiation_leaves_again_byte_for_byte(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        losing(0, of=a)
        began = trio.current_time()
        asked = a.ask(b, Find("1"))
        await trio.sleep(3)
        first, again = (sent for sent in mesh.sent if sent.field == INITIATION)
        assert first.datagram == again.datagram
        assert asked.overdue_at == [pytest.approx(began + FIRST_RTO)]
        assert asked.replied_at == [pytest.approx(began + FIRST_RTO + ROUND_TRIP)]
        assert not asked.failed_at
        assert asked.replies[0].round_trip is None  # Karn


async def test_a_lost_response_is_repeated_and_its_request_handled_once(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        losing(0, of=b)
        asked = a.ask(b, Find("1"))
        await trio.sleep(3)
        assert asked.answer.name == "1"
        assert b.names() == ["1"]


async def test_a_lost_confirmation_costs_the_responder_a_handshake_of_its_own(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        losing(1, of=a)
        a.ask(b, Find("1"))
        await trio.sleep(3)
        assert not b.confirmed
        asked = b.ask(a, Store("2"))
        await trio.sleep(3)
        assert asked.answer == Stored("2")


async def test_a_lost_request_leaves_again_sealed_and_under_the_same_number(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        losing(0, of=a)
        asked = a.ask(b, Store("1"))
        await trio.sleep(3)
        assert asked.answer == Stored("1")
        assert asked.replies[0].round_trip is None
        assert b.names() == ["1"]
        assert mesh.fields(a) == [SEALED, SEALED]
        assert a.requests.statistics.retransmitted == 1


async def test_a_node_that_is_not_there_is_sent_one_initiation_twice_and_given_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, _ = two(mesh)
    async with running(mesh, a):
        began = trio.current_time()
        asked = a.ask(stranger(1), Find("1"))
        await trio.sleep(10)
        assert mesh.fields() == [INITIATION, INITIATION]
        assert asked.overdue_at == [pytest.approx(began + FIRST_RTO)]
        assert asked.failed_at == [pytest.approx(began + DEADLINE)]
        assert a.missed == [stranger(1)]
        assert (a.requests.pending, a.requests.handshakes, len(a.requests.deadlines)) == (0, 0, 0)
        assert a.requests.statistics.failed == {"find": 1}


async def test_what_waits_for_a_node_that_is_not_there_ends_at_deadlines_of_its_own(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, _ = two(mesh)
    async with running(mesh, a):
        began = trio.current_time()
        first = a.ask(stranger(1), Store("1"))
        await trio.sleep(0.1)
        second = a.ask(stranger(1), Store("2"))
        await trio.sleep(10)
        assert first.overdue_at == [pytest.approx(began + FIRST_RTO)]
        assert second.overdue_at == [pytest.approx(began + 0.1 + FIRST_RTO)]
        assert first.failed_at == [pytest.approx(began + DEADLINE)]
        assert second.failed_at == [pytest.approx(began + 0.1 + DEADLINE)]
        # They were never sent, so their deadlines say nothing of the peer.
        assert not a.missed
        assert a.requests.statistics.dropped["never_sent"] == 2


async def test_a_node_that_comes_up_late_is_reached_by_what_waits(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        mesh.fate = lost
        a.ask(b, Find("1"))
        await trio.sleep(0.5)
        second = a.ask(b, Find("2"))
        mesh.fate = usual
        await trio.sleep(3)
        assert second.answer.name == "2"


async def test_initiations_to_a_node_that_is_not_there_leave_at_doubling_intervals(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, _ = two(mesh)
    contact = stranger(1)
    async with running(mesh, a):
        refused = 0
        for number in range(200):
            refused += a.ask(contact, Find(str(number))).pending is None
            await trio.sleep(0.1)
        initiations = {sent.datagram: sent.at for sent in reversed(mesh.sent)}
        times = sorted(initiations.values())
        intervals = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert intervals == pytest.approx([1, 2, 4, 8], abs=0.15)
        assert refused == a.requests.statistics.dropped["too_soon"] > 0


async def test_a_late_answer_counts(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        mesh.fate = lambda sent: (1.9,) if sent.source == b.endpoint else (ONE_WAY,)
        asked = a.ask(b, Store("1"))
        await trio.sleep(10)
        assert len(asked.overdue_at) == 1
        assert asked.answer == Stored("1")
        assert not asked.failed_at
        assert not a.missed


async def test_an_answer_after_the_deadline_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        mesh.fate = lambda sent: (2.5,) if sent.source == b.endpoint else (ONE_WAY,)
        asked = a.ask(b, Store("1"))
        await trio.sleep(10)
        assert (asked.replies, len(asked.failed_at), a.missed) == ([], 1, [b.contact])
        assert a.requests.statistics.dropped["unknown_number"] >= 1
        assert asked.pending is not None
        assert a.requests.paths.get(b.contact).is_suspect(trio.current_time())


async def test_the_second_transmission_leaves_at_the_peers_own_timeout(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        mesh.fate = lambda sent: (0.05,)
        await met(a, b)
        await trio.sleep(3)
        mesh.fate = lost
        began = trio.current_time()
        asked = a.ask(b, Store("1"))
        await trio.sleep(1)
        assert asked.overdue_at == [pytest.approx(began + 0.3)]  # 100 ms and four times half of it


async def test_a_peer_slower_than_its_timeout_is_measured_in_the_end(autojump_clock: trio.testing.MockClock) -> None:
    """Every request to it would go out twice and give no sample, if the timeout did not double (RFC 6298, §5.5)."""
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        mesh.fate = lambda sent: (0.2,)
        for number in range(3):
            a.ask(b, Find(str(number)))
            await trio.sleep(3)
        assert a.requests.statistics.retransmitted == 1
        assert a.requests.paths.get(b.contact).smoothed == pytest.approx(0.4)


async def test_no_timeout_is_longer_than_the_deadline(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh, Settings(first_rto=5.0, deadline=1.0))
    mesh.fate = lost
    async with running(mesh, a):
        began = trio.current_time()
        asked = a.ask(b, Find("1"))
        await trio.sleep(10)
        assert asked.failed_at == [pytest.approx(began + 1.0)]


async def test_a_contact_that_missed_a_deadline_is_suspect_until_it_answers(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        mesh.fate = lost
        asked = a.ask(b, Store("1"))
        assert asked.pending is not None
        assert not asked.pending.is_suspect
        await trio.sleep(3)
        mesh.fate = usual
        again = a.ask(b, Store("2"))
        assert again.pending is not None
        assert again.pending.is_suspect
        await trio.sleep(3)
        last = a.ask(b, Store("3"))
        assert last.pending is not None
        assert not last.pending.is_suspect


# Restarts, moves, new sessions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("idle", [0.0, 60.0])
@pytest.mark.parametrize("message", [Find("1"), Store("1"), Ping("1")])
async def test_a_peer_that_restarted_answers_within_a_second_and_a_half(
    autojump_clock: trio.testing.MockClock, message: Message, idle: float
) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        await trio.sleep(idle)
        b = restarted(b)
        async with running(mesh, b):
            began = trio.current_time()
            asked = a.ask(b, message)
            await trio.sleep(5)
            assert asked.answer.name == "1"
            assert asked.replied_at[0] < began + 1.5
            assert mesh.fields(a)[:3] == [SEALED, SEALED, INITIATION]
            assert not a.missed
            assert mesh.streams == 0


async def test_all_that_is_under_way_reaches_a_peer_that_restarted(autojump_clock: trio.testing.MockClock) -> None:
    """What was asked while the new handshake was under way, too, without a wait of its own."""
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        await trio.sleep(10)
        b = restarted(b)
        async with running(mesh, b):
            asked = [a.ask(b, Store(str(number))) for number in range(5)]
            await trio.sleep(2 * 0.07 + 0.005)  # two timeouts
            assert mesh.sent[-1].field == INITIATION
            began = trio.current_time()
            late = a.ask(b, Store("late"))
            await trio.sleep(5)
            assert [each.answer.name for each in asked] == ["0", "1", "2", "3", "4"]
            assert late.replied_at == [pytest.approx(began - 0.005 + 2 * ROUND_TRIP)]
            assert a.requests.statistics.initiated == 2  # with the one of `met`


async def test_a_peer_that_restarted_and_asks_first_has_a_session_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        b = restarted(b)
        async with running(mesh, b):
            waiting = a.ask(b, Store("1"))
            await trio.sleep(0.05)
            b.ask(a, Find("2"))
            began = trio.current_time()
            await trio.sleep(5)
            assert waiting.answer == Stored("1")
            assert waiting.replied_at[0] < began + FIRST_RTO + ROUND_TRIP
            assert INITIATION not in mesh.fields(a)


async def test_a_node_that_is_heard_makes_no_new_handshake(autojump_clock: trio.testing.MockClock) -> None:
    """An overloaded peer that answers some requests and not others has lost no session."""
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        b.answer_of = lambda message: Pong(message.name) if isinstance(message, Ping) else None
        asked = []
        for number in range(40):
            asked.append(a.ask(b, Store(str(number))))
            a.ask(b, Ping("still there"))
            await trio.sleep(0.2)
        assert len(asked[0].failed_at) == len(asked[29].failed_at) == 1
        assert a.requests.statistics.initiated == 1


@pytest.mark.parametrize("message", [Store("1"), Ping("1")])
async def test_one_request_makes_several_initiations_to_a_peer_it_had_a_session_with(
    autojump_clock: trio.testing.MockClock, message: Message
) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        await trio.sleep(60)
        b = restarted(b)
        async with running(mesh, b):
            losing(2, 3, of=a)  # the first initiation, twice
            asked = a.ask(b, message)
            await trio.sleep(3)
            assert asked.answer.name == "1"
            assert mesh.fields(a) == [SEALED, SEALED, INITIATION, INITIATION, INITIATION, SEALED]


async def test_a_request_whose_session_is_given_up_meanwhile_makes_a_new_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        losing(0, of=a)
        asked = a.ask(b, Find("1"))
        a.sessions.table.remove(b.contact.public, trio.current_time())
        await trio.sleep(3)
        assert asked.answer.name == "1"
        assert asked.replies[0].round_trip is None


async def test_a_silent_peer_with_a_session_is_tried_anew_at_doubling_intervals(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        mesh.fate = lost
        for number in range(300):
            a.ask(b, Store(str(number)))
            await trio.sleep(0.1)
        initiations = {sent.datagram: sent.at for sent in reversed(mesh.sent) if sent.field == INITIATION}
        times = sorted(initiations.values())
        assert len(times) in {5, 6}  # at about 1, 2, 4, 8, 16 and 24 s


async def test_a_peer_that_moved_is_reached_at_its_new_address(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        b.move("198.18.9.1")
        asked = a.ask(b, Find("1"))
        await trio.sleep(3)
        assert asked.answer.name == "1"
        assert asked.replies[0].contact == b.contact
        # And from there on by the new session alone.
        mesh.sent.clear()
        again = a.ask(b, Store("2"))
        await trio.sleep(3)
        assert again.answer.name == "2"
        assert mesh.fields() == [SEALED, SEALED]


async def test_a_wrong_address_for_a_peer_with_a_session_is_not_used(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        elsewhere = b.contact._replace(endpoint=Endpoint.parse("203.0.113.1:8118"))
        asked = a.ask(elsewhere, Find("1"))
        await trio.sleep(3)
        assert asked.replies[0].contact == b.contact  # where it answered from
        assert {sent.to for sent in mesh.sent} == {a.endpoint, b.endpoint}


async def test_wrong_addresses_for_a_peer_never_met_do_not_hide_the_right_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        wrong = [
            a.ask(b.contact._replace(endpoint=Endpoint.of(bytes([203, 0, 113, n]), 1)), Store("w")) for n in (1, 2)
        ]
        asked = a.ask(b, Find("1"))
        await trio.sleep(3)
        assert asked.replied_at[0] == pytest.approx(ROUND_TRIP)
        # They go by the session, too, as soon as there is one.
        assert [each.replied_at[0] for each in wrong] == pytest.approx([2 * ROUND_TRIP] * 2)
        assert not a.missed


async def test_an_address_is_proven_by_a_handshake_there_and_nowhere_else(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        elsewhere = b.contact._replace(endpoint=Endpoint.parse("198.18.9.1:8118"))
        assert await a.requests.ask(elsewhere, Ping("1"), only_there=True) is None
        assert not b.names()
        mesh.nodes[elsewhere.endpoint] = b  # a host with two addresses

        def from_there(datagram: bytes, to: Endpoint) -> None:
            source = elsewhere.endpoint if unframe_untrusted(datagram)[0] == RESPONSE else b.endpoint
            mesh.send(datagram, source, to)

        monkeypatch.setattr(b, "send", from_there)
        await trio.sleep(1)
        answer = await a.requests.ask(elsewhere, Ping("2"), only_there=True)
        assert answer is not None
        assert answer.contact == elsewhere
        assert a.responded[-1][0] == elsewhere


async def test_a_session_is_renewed_by_the_hour_while_it_works_on(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        await trio.sleep(REKEY_AFTER - 1)
        # Requests take longer than the handshake, so some are under way when it ends. They are not sent again.
        mesh.fate = lambda sent: (0.03,) if sent.field == SEALED else (ONE_WAY,)
        asked = []
        for number in range(100):
            asked.append(a.ask(b, Store(str(number))))
            asked.append(b.ask(a, Store(str(number))))
            await trio.sleep(0.05)
        await trio.sleep(3)
        assert [each.ends for each in asked] == [1] * 200
        assert all(each.replies for each in asked)
        assert a.requests.statistics.renewed == 1
        assert b.requests.statistics.renewed == 0
        assert mesh.fields().count(INITIATION) == 1
        assert a.requests.statistics.retransmitted == b.requests.statistics.retransmitted == 0


async def test_a_renewal_that_fails_is_tried_again_and_says_nothing_of_the_peer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        await trio.sleep(REKEY_AFTER)
        mesh.fate = lambda sent: () if sent.field == INITIATION else (ONE_WAY,)
        for number in range(50):
            a.ask(b, Store(str(number)))
            await trio.sleep(0.5)
        await trio.sleep(3)
        assert len(a.answered) == 50
        assert not a.missed
        tries = a.requests.statistics.renewed
        assert 3 <= tries <= 7
        mesh.fate = usual
        await trio.sleep(10)
        a.ask(b, Store("last"))
        await trio.sleep(1)
        before = a.requests.statistics.renewed
        a.ask(b, Store("after"))
        await trio.sleep(1)
        assert a.requests.statistics.renewed == before == tries + 1


async def test_renewals_that_fail_make_no_peer_suspect(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        await trio.sleep(REKEY_AFTER)
        mesh.fate = lambda sent: () if sent.field == INITIATION else (ONE_WAY,)
        for _ in range(20):
            a.requests.tell(b.contact, Leave("1"))
            await trio.sleep(0.5)
        assert a.requests.statistics.renewed > 2
        assert not a.requests.paths.get(b.contact).is_suspect(trio.current_time())


async def test_two_runs_of_one_key_that_alternate_are_told(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    copy = MeshNode(mesh, "b", "198.18.8.1", run=1)
    async with running(mesh, a, b, copy):
        for number, node in enumerate((b, copy, b)):
            await a.requests.ask(node.contact, Ping(str(number)), only_there=True)
            await trio.sleep(1.1)
            node.sessions.table.remove(a.contact.public, trio.current_time())
            a.sessions.table.peers[node.contact.public].current = None
        assert a.copied == [b.contact]


# Cookies, hellos, leaving --------------------------------------------------------------------------------------------


async def test_a_cookie_costs_a_round_trip_and_no_more(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    none = Rate(0.0, 0.0)
    a = MeshNode(mesh, "a", A)
    b = MeshNode(mesh, "b", B, rates=HandshakeRates(unproven=none))
    async with running(mesh, a, b):
        mesh.fate = lambda sent: (0.1,)
        asked = a.ask(b, Find("1"))
        await trio.sleep(3)
        assert asked.replied_at == [pytest.approx(0.4)]
        assert asked.replies[0].round_trip is None
        # The new initiation has its own time: it is not sent again 250 ms after the first one.
        assert mesh.fields() == [INITIATION, COOKIE, INITIATION, RESPONSE, SEALED]


async def test_a_node_known_by_its_address_alone_is_asked_for_its_key_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        public = await a.requests.hellos.public_key_at(b.endpoint)
        assert public == b.contact.public
        answer = await a.requests.ask(Contact.of(public, b.endpoint), Find("1"), only_there=True)
        assert answer is not None
        assert answer.message == Nodes("1", bytes(100))
        assert trio.current_time() == pytest.approx(2 * ROUND_TRIP)
        await trio.sleep(1)
        assert mesh.fields() == [HELLO, HELLO_ANSWER, INITIATION, RESPONSE, SEALED]


async def test_several_that_ask_an_address_at_once_all_learn_its_key(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    named: list[bytes | None] = []

    async def ask() -> None:
        named.append(await a.requests.hellos.public_key_at(b.endpoint))

    async with running(mesh, a, b):
        losing(0, 1, of=a)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)
        assert named == [b.contact.public] * 3


async def test_an_address_without_a_node_is_asked_twice_and_given_up(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a):
        hellos = a.requests.hellos
        assert await hellos.public_key_at(Endpoint.parse("198.18.7.1:1")) is None
        assert trio.current_time() == pytest.approx(DEADLINE)
        assert mesh.fields() == [HELLO, HELLO]
        with trio.move_on_after(0.1) as scope:
            await hellos.public_key_at(Endpoint.parse("198.18.7.1:1"))
        assert scope.cancelled_caught
        assert not hellos.own_endpoints
        # An address that only says that it is b is not b's.
        liar = MeshNode(mesh, "liar", C)
        liar.sessions.local.static = b.sessions.local.static
        mesh.fate = lambda sent: () if sent.field == INITIATION else (ONE_WAY,)
        public = await hellos.public_key_at(liar.endpoint)
        assert public == b.contact.public
        assert await a.requests.ask(Contact.of(public, liar.endpoint), Find("1"), only_there=True) is None
        assert len(hellos) == 0


async def test_our_own_address_is_found_at_once_and_remembered(autojump_clock: trio.testing.MockClock) -> None:
    """By the address itself, by another one of this host, and by one that a NAT sends back."""
    mesh = Mesh()
    a, _ = two(mesh)
    hellos = a.requests.hellos
    second = Endpoint.parse("198.18.9.1:8118")
    mesh.nodes[second] = a
    async with running(mesh, a):
        for number, own in enumerate((a.endpoint, second), start=1):
            began = trio.current_time()
            assert await hellos.public_key_at(own) is None
            assert trio.current_time() == pytest.approx(began + ONE_WAY)
            assert list(hellos.own_endpoints) == [a.endpoint, second][:number]
        assert mesh.fields() == [HELLO, HELLO]  # neither was answered
        assert a.sessions.dropped == {"own_hello": 2}
        assert a.ask(a, Find("1")).pending is None
        assert a.requests.statistics.dropped["own_key"] == 1


async def test_each_of_several_addresses_answers_for_itself(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    c = MeshNode(mesh, "c", C)
    named: dict[Endpoint, bytes | None] = {}

    async def ask(endpoint: Endpoint) -> None:
        named[endpoint] = await a.requests.hellos.public_key_at(endpoint)

    async with running(mesh, a, b, c), trio.open_nursery() as nursery:
        for node in (a, b, c):
            nursery.start_soon(ask, node.endpoint)
    assert named == {a.endpoint: None, b.endpoint: b.contact.public, c.endpoint: c.contact.public}


async def test_an_address_that_another_node_has_now_is_ours_no_more(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    hellos = a.requests.hellos
    outer = Endpoint.parse("198.18.9.1:8118")
    mesh.nodes[outer] = a
    async with running(mesh, a, b):
        assert await hellos.public_key_at(outer) is None
        assert outer in hellos.own_endpoints
        b.move("198.18.9.1")
        assert await hellos.public_key_at(outer) == b.contact.public
        assert not hellos.own_endpoints


async def test_of_too_many_own_addresses_the_oldest_goes(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, _ = two(mesh)
    hellos = a.requests.hellos
    own = [Endpoint.parse(f"198.18.9.1:{port}") for port in range(1, MOST_OWN_ENDPOINTS + 2)]
    async with running(mesh, a):
        for endpoint in (own[1], own[0], own[1], *own[2:]):  # the second was found again after the first
            mesh.nodes[endpoint] = a
            assert await hellos.public_key_at(endpoint) is None
        assert list(hellos.own_endpoints) == own[1:]


async def test_an_address_that_names_our_own_key_has_a_copy_of_it(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, _ = two(mesh)
    copy = MeshNode(mesh, "a", C, run=1)
    async with running(mesh, a, copy):
        assert await a.requests.hellos.public_key_at(copy.endpoint) == a.contact.public
        assert not a.requests.hellos.own_endpoints


class VaryingCodec(TinyCodec):
    """As protobuf does, it writes a greater number and flags in more bytes."""

    def encode(self, number: int, message: Message, flags: int) -> bytes:
        return super().encode(number, message, flags) + bytes(number.bit_length() // 7 + bool(flags))


@pytest.mark.parametrize(("more", "fits"), [(0, True), (1, False), (10**8, False)])
async def test_a_message_fits_a_datagram_if_it_does_with_any_number_and_flags(more: int, fits: bool) -> None:
    a, _ = two(Mesh())
    a.requests.codec = VaryingCodec()
    around = len(a.requests.codec.encode(2**32 - 1, Store(""), 0xFF))
    assert a.requests.fits_datagram(Store("", bytes(MOST_INNER - around + more))) == fits


async def test_whether_a_very_large_message_fits_is_known_without_making_it(monkeypatch: pytest.MonkeyPatch) -> None:
    a, _ = two(Mesh())
    monkeypatch.setattr(a.requests.codec, "encode", None)
    assert not a.requests.fits_datagram(Store("", bytes(MOST_INNER + 1)))


async def test_there_is_a_session_once_it_is_confirmed(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        assert not a.requests.has_session(b.contact.public)
        mesh.fate = lambda sent: () if sent.field == SEALED else (ONE_WAY,)
        a.ask(b, Find("1"))
        await trio.sleep(1)
        assert a.requests.has_session(b.contact.public)
        assert not b.requests.has_session(a.contact.public)
        mesh.fate = usual
        a.ask(b, Find("2"))
        await trio.sleep(1)
        assert b.requests.has_session(a.contact.public)


async def test_a_message_without_an_answer_goes_to_peers_with_a_session_only(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        assert not a.requests.tell(b.contact, Leave("1"))
        assert not mesh.sent
        await met(a, b)
        assert a.requests.tell(b.contact, Leave("2"))
        await trio.sleep(1)
        assert b.names() == ["2"]
        assert mesh.fields() == [SEALED]
        assert a.requests.pending == 0


# Answers, and their requests -----------------------------------------------------------------------------------------


async def test_an_answer_of_another_kind_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        b.answer_of = lambda message: Pong(message.name)
        asked = a.ask(b, Store("1"))
        await trio.sleep(1)
        assert asked.ends == 0
        assert a.requests.statistics.dropped["wrong_answer"] >= 1
        assert not a.answered


async def test_an_answer_of_another_peer_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    """It guesses the number, which is no secret."""
    mesh = Mesh()
    a, b = two(mesh)
    c = MeshNode(mesh, "c", C)
    async with running(mesh, a, b, c):
        await met(a, b)
        await met(a, c)
        b.answer_of = lambda message: None
        asked = a.ask(b, Store("1"))
        assert asked.pending is not None
        c.requests.seal(a.contact.public, TinyCodec().encode(asked.pending.number, Stored("1"), 0))
        await trio.sleep(0.1)
        assert asked.ends == 0
        assert a.requests.statistics.dropped["unknown_number"] == 1


async def test_an_answer_counts_once(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        mesh.fate = lambda sent: (ONE_WAY, 2 * ONE_WAY)
        asked = a.ask(b, Store("1"))
        await trio.sleep(3)
        assert asked.ends == 1
        assert b.names() == ["1"]
        assert a.sessions.dropped["replayed"] == 1


async def test_an_answer_may_come_late_and_only_once(autojump_clock: trio.testing.MockClock) -> None:
    """As after a commit."""
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        b.answer_of = lambda message: None
        asked = a.ask(b, Store("1"))
        await trio.sleep(0.1)
        b.handled[0].answer(Stored("1"))
        b.handled[0].answer(Stored("again"))
        await trio.sleep(1)
        assert asked.answer == Stored("1")
        assert not a.requests.statistics.dropped


async def test_what_a_peer_that_has_confirmed_nothing_may_not_ask_is_dropped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        for number, message in enumerate((Store("1"), Leave("2"), Stored("3"))):
            inner = TinyCodec().encode(number, message, 0)
            datagram = a.sessions.initiator.initiate(b.contact.public, b.endpoint, inner, 0.0, WALL_MS)
            a.send(datagram, b.endpoint)
            await trio.sleep(1)
        assert not b.handled
        assert b.requests.statistics.dropped["not_a_first_request"] == 3
        assert RESPONSE not in mesh.fields()


async def test_a_response_without_an_answer_still_makes_a_session(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        sessions = b.sessions

        def respond(datagram: bytes, source: Endpoint) -> None:
            decision = sessions.on_datagram(datagram, source, trio.current_time(), WALL_MS)
            assert isinstance(decision, Initiated)
            response = sessions.responder.respond(decision, b"\xff", trio.current_time(), WALL_MS)
            assert response is not None
            monkeypatch.undo()
            b.send(response, source)

        monkeypatch.setattr(b.inbox, "on_datagram", respond)
        asked = a.ask(b, Find("1"))
        await trio.sleep(0.2)
        assert asked.answer.name == "1"
        assert a.requests.statistics.dropped["wrong_message"] == 1


async def test_a_flood_of_garbage_changes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        rng = random.Random(1)
        asked = a.ask(b, Find("1"))
        real = [sent.datagram for sent in mesh.sent]
        for _ in range(3000):
            garbage = bytearray(rng.choice([*real, rng.randbytes(rng.randrange(1300))]))
            if garbage:
                garbage[rng.randrange(len(garbage))] ^= rng.randrange(1, 256)
            for node in (a, b):
                node.inbox.on_datagram(bytes(garbage), Endpoint.parse(rng.choice([f"{A}:8118", f"{B}:8118", f"{C}:1"])))
        await trio.sleep(3)
        assert asked.answer.name == "1"
        assert (a.names(), b.names()) == ([], ["1"])
        assert sum(b.sessions.dropped.values()) == 3000
        assert (a.requests.pending, b.requests.pending) == (0, 0)


async def test_garbage_inside_of_a_session_is_counted(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        for inner in (b"\xff", b"\0\0\0\0\xff\0\0", b"\0\0\0\0\0\0\x05ab"):
            a.requests.seal(b.contact.public, inner)
        await trio.sleep(1)
        assert b.requests.statistics.dropped["wrong_message"] == 3
        assert not b.handled


async def test_a_request_in_the_place_of_an_answer_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        b.answer_of = lambda message: Find(message.name)
        asked = a.ask(b, Find("1"))
        await trio.sleep(ROUND_TRIP + 0.001)
        assert asked.ends == 0
        assert not a.handled
        assert a.requests.statistics.dropped["wrong_answer"] == 1


def test_numbers_go_round_and_leave_out_those_under_way() -> None:
    pending: PendingRequests[Message] = PendingRequests(16, last=2**32 - 3)
    assert [pending.new_number() for _ in range(4)] == [2**32 - 2, 2**32 - 1, 1, 2]


async def test_a_number_under_way_is_not_used_again(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, _ = two(mesh)
    async with running(mesh, a):
        asked = a.ask(stranger(1), Find("1")).pending
        assert asked is not None
        pending: PendingRequests[Message] = PendingRequests(16, last=asked.number - 1)
        pending.by_number[asked.number] = asked
        assert pending.new_number() == asked.number + 1


# Callers, and bounds -------------------------------------------------------------------------------------------------


async def test_a_caller_that_has_gone_is_not_called(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        asked, unanswered = a.ask(b, Find("1")), a.ask(stranger(1), Find("2"))
        for each in (asked, unanswered):
            assert each.pending is not None
            each.pending.detach()
        await trio.sleep(5)
        for each in (asked, unanswered):
            assert (each.replies, each.overdue_at, each.failed_at) == ([], [], [])
        # What the answer, or its absence, says of the peer is learned all the same.
        assert [answer.contact for answer in a.answered] == [b.contact]
        assert a.missed == [stranger(1)]


async def test_leaving_an_ask_leaves_no_waiter(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    answers: list[Answer[Message] | None] = []

    async def ask(contact: Contact) -> None:
        answers.append(await a.requests.ask(contact, Ping("2")))

    async with running(mesh, a, b):
        with trio.move_on_after(0.001) as scope:
            await a.requests.ask(b.contact, Ping("1"))
        assert scope.cancelled_caught
        await trio.sleep(1)
        assert a.requests.pending == 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, stranger(1))
        assert answers == [None]


async def test_only_so_many_requests_are_under_way(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh, Settings(max_pending=16))
    async with running(mesh, a, b):
        mesh.fate = lost
        asked = [a.ask(stranger(number), Find("1")) for number in range(20)]
        assert [each.pending is not None for each in asked] == [True] * 16 + [False] * 4
        assert a.requests.statistics.dropped["too_many_pending"] == 4
        await trio.sleep(3)
        assert [each.ends for each in asked] == [1] * 16 + [0] * 4
        assert a.ask(b, Find("1")).pending is not None


async def test_only_so_many_requests_wait_for_one_handshake(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        asked = [a.ask(b, Store(str(number))) for number in range(MOST_WAITING + 5)]
        assert sum(each.pending is not None for each in asked) == MOST_WAITING
        assert a.requests.statistics.dropped["too_many_waiting"] == 5
        await trio.sleep(3)
        assert sum(len(each.replies) for each in asked) == MOST_WAITING


async def test_only_so_many_handshakes_are_under_way(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        mesh.fate = lost
        asked = [a.ask(stranger(number), Find("1")) for number in range(MOST_HANDSHAKES + 3)]
        assert sum(each.pending is not None for each in asked) == MOST_HANDSHAKES == a.requests.handshakes
        assert a.requests.statistics.dropped["too_many_handshakes"] == 3
        mesh.fate = usual
        await trio.sleep(3)
        assert a.requests.handshakes == 0
        assert (await a.requests.ask(b.contact, Find("1"))) is not None


async def test_keys_named_at_the_address_of_a_node_do_not_keep_its_own_key_from_being_tried_there(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Whoever it is that names the true one: this node itself, a liar that it has answered before, or another peer."""
    mesh = Mesh()
    a, b = two(mesh)
    liar, c = MeshNode(mesh, "liar", "198.18.4.1"), MeshNode(mesh, "c", C)
    async with running(mesh, a, b, liar, c):
        for teller in (liar, c):
            await hear_much(a, teller)
        named = [stranger(number)._replace(endpoint=b.endpoint) for number in range(3)]
        asked = [a.ask(each, Find("1"), told_by=(liar.contact,)) for each in (*named, b.contact)]
        assert [each.pending is not None for each in asked] == [True, True, False, False]
        assert (await a.requests.ask(b.contact, Find("2"))) is not None
        a.sessions.table.remove(b.contact.public, trio.current_time())
        assert a.ask(b, Find("3"), told_by=(liar.contact,)).pending is not None
    mesh = Mesh()
    a, b = two(mesh)
    liar, c = MeshNode(mesh, "liar", "198.18.4.1"), MeshNode(mesh, "c", C)
    async with running(mesh, a, b, liar, c):
        for teller in (liar, c):
            await hear_much(a, teller)
        for each in named:
            a.ask(each, Find("1"), told_by=(liar.contact,))
        asked_there = a.ask(b, Find("2"), told_by=(c.contact,))
        await trio.sleep(1)
        assert asked_there.answer.name == "2"


async def test_however_many_keys_a_peer_names_at_an_address_it_costs_two_handshakes_a_minute(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    teller, neighbour = (MeshNode(mesh, f"teller {number}", f"198.18.4.{number}") for number in (1, 2))
    mesh.nodes.pop(b.endpoint)
    async with running(mesh, a, teller, neighbour):
        await hear_much(a, teller)
        named = [stranger(number)._replace(endpoint=b.endpoint) for number in range(20)]
        asked = [a.ask(each, Find("1"), told_by=(teller.contact,)) for each in named]
        assert [each.pending is not None for each in asked] == [True] * 2 + [False] * 18
        assert a.requests.statistics.dropped["too_many_keys_there"] == 18
        await trio.sleep(58)
        assert mesh.fields() == [INITIATION] * 4  # each of the two left twice
        # Another one of the same network is the same party.
        await hear_much(a, neighbour)
        assert [a.ask(each, Find("2"), told_by=(neighbour.contact,)).pending for each in named[2:]] == [None] * 18
        assert all(each.failed_at == each.overdue_at == [] for each in asked[2:])  # no call for what was never sent
        await trio.sleep(2)
        await hear_much(a, teller)
        assert a.ask(named[6], Find("4"), told_by=(teller.contact,)).pending is not None


async def test_a_node_with_another_key_at_the_address_of_an_earlier_one_is_asked_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        for number in range(5):
            a.ask(stranger(number)._replace(endpoint=b.endpoint), Find("1"))
        replaced = MeshNode(mesh, "another", B)
        asked = a.ask(replaced, Find("1"))
        await trio.sleep(1)
        assert asked.replied_at == [pytest.approx(trio.current_time() - 1 + ROUND_TRIP)]


async def test_a_key_that_no_node_has_is_not_asked(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, _ = two(mesh)
    async with running(mesh, a):
        for message in (Find("1"), Store("2")):
            assert a.ask(Contact.of(bytes(32), Endpoint.parse(f"{C}:8118")), message).pending is None
        assert a.requests.statistics.dropped["key_of_low_order"] == 2
        assert (a.requests.pending, a.requests.handshakes) == (0, 0)
        assert not mesh.sent


async def test_a_full_table_of_sessions_takes_nothing_from_its_members(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = MeshNode(mesh, "a", A, most_peers=16), MeshNode(mesh, "b", B)
    strangers = [MeshNode(mesh, f"s{number}", f"198.18.{100 + number}.1") for number in range(30)]
    async with running(mesh, a, b, *strangers):
        await met(b, a)
        assert a.sessions.table.keep(b.contact.public)
        for each in strangers:
            each.ask(a, Find("1"))
        await trio.sleep(3)
        assert a.sessions.table.forgotten > 0
        mesh.sent.clear()
        asked = [a.ask(b, Store("2")), b.ask(a, Store("3"))]
        await trio.sleep(0.1)
        assert [each.ends for each in asked] == [1, 1]
        assert mesh.fields() == [SEALED] * 4
        # A stranger that was forgotten is served again, after a new handshake.
        again = [each.ask(a, Find("4")) for each in strangers]
        await trio.sleep(5)
        assert [each.ends for each in again] == [1] * 30
        assert all(each.replies for each in again)


async def test_a_request_and_its_handshake_are_measured(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        asked: Asked = a.ask(b, Find("1"))
        await trio.sleep(1)
        assert asked.replies[0].round_trip == pytest.approx(ROUND_TRIP)
        path = a.requests.paths.get(b.contact)
        assert path.smoothed == pytest.approx(0.02)
        assert path.rto == pytest.approx(0.07)
        assert a.requests.statistics.requests == {"find": 1}
        assert a.requests.statistics.answered == {"find": 1}
        assert a.requests.statistics.received == {"nodes": 1}
        assert b.requests.statistics.received == {"find": 1}
