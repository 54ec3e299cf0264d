"""New sessions in the place of old ones: both sides at once, after an hour, under load; and the indexes of all.

Rules of this file: one story a test; time moves when the test moves it.
"""

from __future__ import annotations

import random

import pytest

from camomile_trio.kademlia.ids import ID_BYTES, NodeId
from camomile_trio.peer.decisions import Dropped, Opened
from camomile_trio.peer.packets import (
    SEALED,
    frame,
)
from camomile_trio.peer.session import MOST_PACKETS, REKEY_AFTER_PACKETS
from camomile_trio.peer.sessions import REKEY_AFTER
from camomile_trio.peer.table import SessionTable
from tests.peer.nodes import Handled, Line, Node, met, two


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_if_both_begin_at_once_both_are_answered_and_the_lower_ids_session_is_current(
    line: Line, order: list[int]
) -> None:
    a, b = two(line)
    low, high = sorted([a, b], key=lambda node: node.static.node_id)
    a.initiate(b, b"from a")
    b.initiate(a, b"from b")
    line.flying = [line.flying[number] for number in order]
    line.deliver_all()
    assert Handled(b.public, b"answer to from a", True) in a.handled
    assert Handled(a.public, b"answer to from b", True) in b.handled
    for node, other in ((a, b), (b, a)):
        current = node.sessions.table.peers[other.public].current
        assert current is not None
        assert current.is_initiator == (node is low)
    low.seal(high, b"1")
    high.seal(low, b"2")
    assert [type(each) for each in line.deliver_all()] == [Opened, Opened]


def test_a_session_is_due_for_a_new_one_after_an_hour_first_at_the_side_that_began(line: Line) -> None:
    a, b = two(line)
    met(line, a, b)

    def due(node: Node, other: Node) -> bool:
        sealed = node.sessions.seal(other.public, b"", line.now)
        assert sealed is not None
        return sealed.rekey_due

    line.tick(REKEY_AFTER - 1)
    assert not due(a, b)
    line.tick(1)
    assert due(a, b)
    assert not due(b, a)
    line.tick(REKEY_AFTER / 8)
    assert due(b, a)
    a.initiate(b)
    assert not due(a, b)  # under way
    line.tick(1)
    assert due(a, b)
    a.initiate(b)
    line.take()
    line.tick(1)
    assert not due(a, b)  # at doubling intervals
    line.tick(1)
    a.initiate(b)
    line.deliver_all()
    assert not due(a, b)
    assert not due(b, a)


def test_a_session_is_due_for_a_new_one_long_before_its_counter_runs_out(line: Line) -> None:
    a, b = two(line)
    met(line, a, b)
    session = a.sessions.table.peers[b.public].current
    assert session is not None
    session.sent = REKEY_AFTER_PACKETS - 2
    for is_due in (False, True):
        sealed = a.sessions.seal(b.public, b"", line.now)
        assert sealed is not None
        assert sealed.rekey_due == is_due
        assert isinstance(b.on_datagram(sealed.datagram, a.endpoint), Opened)
    session.sent = MOST_PACKETS
    assert a.sessions.seal(b.public, b"", line.now) is None
    # Nor is such a packet opened, should the peer go on.
    counter = MOST_PACKETS.to_bytes(8, "big")
    body = session.peer_index + counter + a.suite.seal(session.send_key, MOST_PACKETS, b"", b"one too many")
    assert b.on_datagram(frame(SEALED, body), a.endpoint) == Dropped("wrong_counter")


@pytest.mark.parametrize("both", [False, True])
def test_rekeying_under_load_loses_no_packet(line: Line, both: bool) -> None:
    a, b = two(line)
    met(line, a, b)
    sent = 0
    for step in range(60):
        line.tick(0.01)
        if step % 10 == 5:
            a.initiate(b, b"rekey")
            if both:
                b.initiate(a, b"rekey")
        a.seal(b, b"packet %d" % sent)
        b.seal(a, b"packet %d" % sent)
        sent += 1
        for _ in range(3):  # so a few packets are always under way
            if len(line.flying) > 4:
                line.deliver(line.flying.pop(0))
    line.deliver_all(1000)
    for node in (a, b):
        packets = [handled.inner for handled in node.handled if handled.inner.startswith(b"packet")]
        assert sorted(packets) == sorted(b"packet %d" % number for number in range(sent))
        assert not node.sessions.dropped


def test_what_is_under_way_when_both_rekey_at_once_is_opened(line: Line) -> None:
    """Two sessions are made then, and the one before is still in use."""
    a, b = two(line)
    met(line, a, b)
    a.seal(b, b"under way")
    slow = line.flying.pop()
    a.initiate(b)
    b.initiate(a)
    line.deliver_all()
    assert isinstance(line.deliver(slow), Opened)


def test_sessions_of_one_peer_are_bounded(line: Line) -> None:
    a, b = two(line)
    for _ in range(20):
        line.tick(1)
        a.initiate(b)
        line.deliver_all()
    for node, other in ((a, b), (b, a)):
        assert len(node.sessions.table.by_index) == 3
        assert len(node.sessions.table.peers[other.public].older) == 2


def test_an_index_is_not_used_again_for_three_minutes() -> None:
    indexes = [b"1111", b"1111", b"2222", b"1111", b"2222", b"3333", b"1111"]

    class Scripted(random.Random):
        def randbytes(self, n: int) -> bytes:
            return indexes.pop(0)

    table = SessionTable(NodeId(bytes(ID_BYTES)), 64, Scripted())
    assert table.new_index(0.0) == b"1111"
    assert table.new_index(0.0) == b"2222"
    table.rest(b"1111", 0.0)
    assert table.new_index(179.9) == b"3333"
    assert table.new_index(180.1) == b"1111"
