"""How two nodes meet, and what a lost first, second or third message costs.

Rules of this file: one story a test, by what `Sessions` decides; the real cipher suite only where it matters.
"""

from __future__ import annotations

import pytest

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.peer.decisions import Dropped, Initiated, Opened, Reply, Responded
from camomile_trio.peer.packets import (
    LARGEST_DATAGRAM,
    About,
)
from camomile_trio.peer.responder import MOST_REPEATED
from camomile_trio.peer.suite import CipherSuite, NaclSuite
from camomile_trio.simulation.suite import ToySuite
from tests.peer.nodes import RTO, Handled, Line, two, whole


@pytest.mark.parametrize("suite", [NaclSuite(), ToySuite()], ids=["nacl", "toy"])
def test_a_first_request_is_answered_in_one_round_trip_and_then_both_know_each_other(
    line: Line, suite: CipherSuite
) -> None:
    a, b = two(line, suite)
    a.initiate(b, b"find")
    decisions = line.deliver_all()
    assert [type(each) for each in decisions] == [Initiated, Responded, Opened]
    assert b.handled == [Handled(a.public, b"find", False)]
    assert a.handled == [Handled(b.public, b"answer to find", True)]
    b.seal(a, b"hello")
    a.seal(b, b"store")
    line.deliver_all()
    assert a.handled[-1] == Handled(b.public, b"hello", True)
    assert b.handled[-1] == Handled(a.public, b"store", True)
    assert not a.sessions.dropped
    assert not b.sessions.dropped


def test_both_sides_tell_of_themselves_in_the_handshake(line: Line) -> None:
    a, b = two(line)
    a.sessions.local.advertised, a.sessions.local.flags = Endpoint.parse("198.18.9.9:1"), 1
    a.initiate(b)
    initiated, responded, _ = line.deliver_all()
    assert isinstance(initiated, Initiated)
    assert isinstance(responded, Responded)
    assert initiated.about == a.sessions.local.about(a.wall_ms)
    assert responded.about == b.sessions.local.about(b.wall_ms)
    assert (initiated.contact, responded.contact) == tuple(Contact.of(node.public, node.endpoint) for node in (a, b))


def test_what_an_initiator_tells_of_itself_is_kept_until_its_session_is_confirmed(line: Line) -> None:
    a, b = two(line)
    a.sessions.local.advertised = Endpoint.parse("198.18.9.9:1")
    about = a.sessions.local.about(a.wall_ms)
    a.initiate(b)
    line.deliver(line.flying.pop(0))
    waiting = b.sessions.table.peers[a.public].unconfirmed
    assert waiting is not None
    assert waiting.about == about
    a.sessions.local.advertised = b""
    line.tick(5)
    opened = line.deliver_all()[-1]
    assert isinstance(opened, Opened)
    assert opened.about == about
    a.seal(b, b"more")
    (opened,) = line.deliver_all()
    assert isinstance(opened, Opened)
    assert opened.about is None
    # It is not kept for as long as the session, of which there are thousands.
    assert [session.about for node in (a, b) for session in node.sessions.table.by_index.values()] == [None, None]


def test_if_both_begin_at_once_each_learns_what_the_other_tells_of_itself_in_each_handshake(line: Line) -> None:
    a, b = two(line)
    a.initiate(b)
    b.initiate(a)
    told: dict[bytes, list[About]] = {a.public: [], b.public: []}
    for decision in line.deliver_all():
        if isinstance(decision, Opened | Responded) and decision.about is not None:
            told[decision.contact.public].append(decision.about)
    # Of the four ends of two sessions the one that the higher id began there may not be confirmed at the lower.
    assert all(told.values())
    assert {each for abouts in told.values() for each in abouts} == {
        node.sessions.local.about(node.wall_ms) for node in (a, b)
    }


def test_a_responder_seals_nothing_before_the_initiator_has_confirmed(line: Line) -> None:
    a, b = two(line)
    a.initiate(b)
    line.deliver(line.flying.pop(0))
    assert b.seal(a, b"too early") is None
    line.deliver_all()
    assert b.seal(a, b"now") is not None


def test_a_first_packet_that_asks_for_something_confirms_and_is_handled(line: Line) -> None:
    a, b = two(line)
    a.initiate(b)
    line.deliver(line.flying.pop(0))
    line.deliver(line.flying.pop(0))
    line.take()  # the empty packet is lost
    a.seal(b, b"store")
    about = a.sessions.local.about(a.wall_ms)
    assert line.deliver_all() == [Opened(Contact.of(a.public, a.endpoint), b"store", about)]


def test_a_lost_initiation_is_sent_again_byte_for_byte(line: Line) -> None:
    a, b = two(line)
    first = a.initiate(b)
    line.take()
    line.tick(RTO)
    a.retransmit(b)
    assert [flying.datagram for flying in line.flying] == [first]
    line.deliver_all()
    assert a.has_session_with(b)
    assert b.has_session_with(a)


def test_a_lost_response_is_repeated_and_the_request_handled_once(line: Line) -> None:
    a, b = two(line)
    a.initiate(b)
    line.deliver(line.flying.pop(0))
    response = line.take()
    line.tick(RTO)
    a.retransmit(b)
    line.deliver(line.flying.pop(0))
    assert [flying.datagram for flying in line.flying] == response
    line.deliver_all()
    assert b.handled == [Handled(a.public, b"find", False)]
    assert b.has_session_with(a)


def test_a_response_is_repeated_a_few_times_only(line: Line) -> None:
    a, b = two(line)
    a.initiate(b)
    initiation = line.flying[0]
    line.deliver_all()
    again = [line.deliver(initiation) for _ in range(MOST_REPEATED + 2)]
    assert [type(each) for each in again] == [Reply] * MOST_REPEATED + [Dropped] * 2
    assert b.sessions.dropped["repeated_too_often"] == 2


def test_an_initiation_that_is_still_being_answered_is_not_handled_again(line: Line) -> None:
    a, b = two(line)
    a.initiate(b)
    initiation = line.flying.pop()
    first = b.sessions.on_datagram(initiation.datagram, a.endpoint, line.now, line.wall_ms)
    assert isinstance(first, Initiated)
    assert line.deliver(initiation) == Dropped("being_answered")
    assert b.sessions.responder.respond(first, b"", line.now, line.wall_ms) is not None


def test_an_answer_that_comes_after_a_later_initiation_was_answered_displaces_nothing(line: Line) -> None:
    a, b = two(line)
    a.initiate(b)
    slow = b.sessions.on_datagram(line.flying.pop().datagram, a.endpoint, line.now, line.wall_ms)
    assert isinstance(slow, Initiated)
    line.tick(1)
    a.initiate(b)
    line.deliver(line.flying.pop(0))
    assert b.sessions.responder.respond(slow, b"", line.now, line.wall_ms) is None
    assert whole(b.sessions)
    line.deliver_all()
    assert b.has_session_with(a)


def test_no_response_has_more_than_three_times_the_size_of_its_initiation(line: Line) -> None:
    a, b = two(line)
    for padded_to in (0, 200, 420, LARGEST_DATAGRAM):
        line.tick(1)
        datagram = a.initiate(b, b"find" * 10, padded_to)
        assert len(datagram) >= padded_to
        line.flying.clear()
        initiated = b.sessions.on_datagram(datagram, a.endpoint, line.now, line.wall_ms)
        assert isinstance(initiated, Initiated)
        assert initiated.request == b"find" * 10
        with pytest.raises(ValueError, match="room"):
            b.sessions.responder.respond(initiated, bytes(initiated.room + 1), line.now, line.wall_ms)
        response = b.sessions.responder.respond(initiated, bytes(initiated.room), line.now, line.wall_ms)
        assert response is not None
        assert len(response) == min(3 * len(datagram), LARGEST_DATAGRAM)
