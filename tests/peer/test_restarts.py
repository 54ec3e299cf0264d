"""Restarts of either side, clocks that go back, and addresses that change.

Rules of this file: one story a test; time moves when the test moves it.
"""

from __future__ import annotations

import math

import pytest

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.peer.decisions import Dropped, Initiated, Opened, Reply, Responded
from camomile_trio.peer.initiator import LONGEST_WAIT
from tests.peer.nodes import RTO, A, B, C, Handled, Line, Node, met, two


def test_a_responder_that_restarted_is_met_again_after_a_second_of_silence(line: Line) -> None:
    a, b = two(line)
    met(line, a, b)
    line.tick(60)
    b = Node(line, b"b", B, run=1)
    a.seal(b, b"request")
    line.tick(RTO)
    a.seal(b, b"request")  # its retransmission is sealed, too
    assert line.deliver_all() == [Dropped("unknown_index")] * 2
    line.tick(RTO)
    assert a.sessions.initiator.may_initiate_at(b.public, b.endpoint) <= line.now
    a.initiate(b, b"request")
    line.deliver_all()
    assert a.handled == [Handled(b.public, b"answer to request", True)]
    assert b.seal(a, b"more") is not None


def test_new_initiations_to_a_silent_peer_leave_at_doubling_intervals(line: Line) -> None:
    a, b = two(line)
    met(line, a, b)
    heard = line.now
    assert a.sessions.initiator.may_initiate_at(b.public, b.endpoint) == heard + 1
    left = []
    for _ in range(6):
        line.now = a.sessions.initiator.may_initiate_at(b.public, b.endpoint)
        left.append(line.now - heard)
        a.initiate(b)
        line.take()
    assert left == [1, 2, 4, 8, 8 + LONGEST_WAIT, 8 + 2 * LONGEST_WAIT]
    line.tick(LONGEST_WAIT)
    a.initiate(b)
    line.deliver_all()
    assert a.sessions.initiator.may_initiate_at(b.public, b.endpoint) == line.now + 1


def test_initiations_to_a_peer_that_was_never_met_leave_at_doubling_intervals_too(line: Line) -> None:
    a, b = two(line)
    assert a.sessions.initiator.may_initiate_at(b.public, b.endpoint) == -math.inf
    began, left = line.now, []
    for _ in range(5):
        a.initiate(b)
        line.take()
        line.now = a.sessions.initiator.may_initiate_at(b.public, b.endpoint)
        left.append(line.now - began)
    assert left == [1, 3, 7, 7 + LONGEST_WAIT, 7 + 2 * LONGEST_WAIT]


def test_a_session_elsewhere_puts_off_no_initiation_to_another_address(line: Line) -> None:
    a, b = two(line)
    met(line, a, b)
    elsewhere = Endpoint.parse(f"{C}:8118")
    assert a.sessions.initiator.may_initiate_at(b.public, elsewhere) == -math.inf
    # Nor is the session's own peer waited for any longer, though others can name it at any address.
    before = a.sessions.initiator.may_initiate_at(b.public, b.endpoint)
    for _ in range(3):
        line.tick(0.1)
        a.sessions.initiator.initiate(b.public, elsewhere, b"find", line.now, line.wall_ms)
    assert a.sessions.initiator.may_initiate_at(b.public, b.endpoint) == before


def test_what_is_heard_from_a_peer_puts_a_new_initiation_off(line: Line) -> None:
    a, b = two(line)
    met(line, a, b)
    line.tick(10)
    b.seal(a, b"still here")
    line.deliver_all()
    assert a.sessions.initiator.may_initiate_at(b.public, b.endpoint) == line.now + 1


def test_an_initiator_that_restarted_is_met_again(line: Line) -> None:
    a, b = two(line)
    met(line, a, b)
    line.tick(1)
    a = Node(line, b"a", A, run=1)
    a.initiate(b, b"again")
    line.deliver_all()
    assert a.handled == [Handled(b.public, b"answer to again", True)]
    assert b.seal(a, b"to the new run") is not None
    line.deliver_all()
    assert a.handled[-1].inner == b"to the new run"


def test_what_is_replayed_to_a_responder_that_restarted_confirms_nothing(line: Line) -> None:
    a, b = two(line)
    a.initiate(b, b"first request")
    recorded = line.flying[:]
    line.deliver_all()
    a.seal(b, b"store")
    recorded += line.flying
    line.deliver_all()
    line.tick(60)
    b = Node(line, b"b", B, run=1)
    for flying in recorded:
        line.deliver(flying)
    assert b.handled == [Handled(a.public, b"first request", False)]
    assert not b.has_session_with(a)
    line.take()
    a.initiate(b, b"request")
    line.deliver_all()
    assert b.has_session_with(a)


@pytest.mark.parametrize("by_ms", [1, 1000, 30 * 365 * 86_400_000])
def test_an_initiator_whose_clock_went_back_needs_one_more_round_trip(line: Line, by_ms: int) -> None:
    a, b = two(line)
    met(line, a, b)
    a = Node(line, b"a", A, run=1, skew_ms=-by_ms)
    a.initiate(b, b"find")
    decisions = line.deliver_all()
    assert [type(each) for each in decisions] == [Reply, Reply, Initiated, Responded, Opened]
    assert b.handled == [Handled(a.public, b"find", False)]
    assert b.has_session_with(a)


def test_a_clock_before_1970_is_no_error(line: Line) -> None:
    a, b = two(line)
    line.wall_ms = -5
    a.initiate(b)
    line.deliver_all()
    assert b.has_session_with(a)


def test_a_peer_at_a_new_address_makes_a_new_handshake_and_is_answered_there(line: Line) -> None:
    a, b = two(line)
    met(line, a, b)
    line.tick(5)
    del line.nodes[a.endpoint]
    a.endpoint = Endpoint.parse(f"{C}:8118")
    line.nodes[a.endpoint] = a
    a.seal(b, b"from elsewhere")
    assert line.deliver_all() == [Dropped("other_address")]
    a.initiate(b)
    line.deliver_all()
    b.seal(a, b"found you")
    assert line.flying[-1].to == a.endpoint
    line.deliver_all()
    assert a.handled[-1].inner == b"found you"


def test_a_handshake_that_is_not_confirmed_displaces_no_session(line: Line) -> None:
    """What is replayed, or made with a stolen node key, ends before it is confirmed."""
    a, b = two(line)
    met(line, a, b)
    line.tick(1)
    before = b.sessions.table.peers[a.public].current
    a.initiate(b)
    line.deliver(line.flying.pop(0))
    line.take()
    assert b.sessions.table.peers[a.public].current is before
    b.seal(a, b"as before")
    line.deliver_all()
    assert a.handled[-1].inner == b"as before"
