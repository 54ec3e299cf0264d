"""Hellos, network keys that change, other versions, copied data directories, and the bounds of what is under way.

Rules of this file: one story a test, by what `Sessions` decides.
"""

from __future__ import annotations

import attrs
import pytest

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.peer.decisions import Dropped, Initiated, Introduced, Opened, OwnHello, Reply
from camomile_trio.peer.handshake import NetworkKey
from camomile_trio.peer.initiator import HELLO_LIFE, MOST_FAILURES, MOST_HELLOS, MOST_INITIATING
from camomile_trio.peer.table import MOST_RESTING
from tests.peer.nodes import NETWORK, A, B, C, Flying, Line, Node, met, two, whole


def test_an_address_that_is_asked_hello_names_its_key(line: Line) -> None:
    a, b = two(line)
    hello = a.sessions.initiator.hello(b.endpoint, line.now)
    a.send(hello, b.endpoint)
    reply, introduced = line.deliver_all()
    assert isinstance(reply, Reply)
    assert len(reply.datagram) == len(hello)
    assert introduced == Introduced(b.public, b.endpoint)


def test_an_answer_to_a_hello_that_was_not_asked_is_dropped(line: Line) -> None:
    a, b = two(line)
    hello = a.sessions.initiator.hello(b.endpoint, line.now)
    answer = b.sessions.on_datagram(hello, a.endpoint, line.now, line.wall_ms)
    assert isinstance(answer, Reply)
    flying = Flying(answer.datagram, b.endpoint, a.endpoint)
    assert line.deliver(attrs.evolve(flying, source=Endpoint.parse(f"{C}:8118"))) == Dropped("not_asked")
    assert isinstance(line.deliver(flying), Introduced)
    assert line.deliver(flying) == Dropped("not_asked")
    late = a.sessions.initiator.hello(b.endpoint, line.now)
    answer = b.sessions.on_datagram(late, a.endpoint, line.now, line.wall_ms)
    assert isinstance(answer, Reply)
    line.tick(10)
    assert line.deliver(attrs.evolve(flying, datagram=answer.datagram)) == Dropped("not_asked")


def test_hellos_under_way_are_bounded(line: Line) -> None:
    a, b = two(line)
    for _ in range(MOST_HELLOS + 5):
        a.sessions.initiator.hello(b.endpoint, line.now)
    assert a.sessions.counts()["hellos"] == MOST_HELLOS


def network(letter: bytes, network_id: bytes = NETWORK) -> NetworkKey:
    return NetworkKey.of(letter * 32, network_id)


@pytest.mark.parametrize(
    "other", [(network(b"y"),), (network(b"x", b"m" * 32),)], ids=["another key", "another network"]
)
def test_a_node_without_the_network_key_gets_no_byte_back(line: Line, other: tuple[NetworkKey, ...]) -> None:
    b = Node(line, b"b", B, keys=(network(b"x"),))
    a = Node(line, b"a", A, keys=other)
    a.initiate(b)
    a.send(a.sessions.initiator.hello(b.endpoint, line.now), b.endpoint)
    a.send(b"\xa2\x01\x28" + bytes(40), b.endpoint)
    assert line.deliver_all() == [Dropped("wrong_mac1"), Dropped("wrong_mac1"), Dropped("unknown_index")]
    assert not line.flying


def test_a_network_changes_its_key_without_a_session_lost(line: Line) -> None:
    old, new = network(b"x"), network(b"y")
    a, b = Node(line, b"a", A, keys=(old,)), Node(line, b"b", B, keys=(old,))
    met(line, a, b)
    for node in (a, b):  # added as second everywhere
        node.sessions.change_keys((old, new), line.now)
    a.sessions.change_keys((new, old), line.now)  # promoted, here first
    sealed = a.sessions.seal(b.public, b"still under the old one", line.now)
    assert sealed is not None
    assert sealed.rekey_due
    a.send(sealed.datagram, sealed.endpoint)
    a.initiate(b)
    line.deliver_all()
    b.sessions.change_keys((new, old), line.now)
    for node, other in ((a, b), (b, a)):
        sealed = node.sessions.seal(other.public, b"", line.now)
        assert sealed is not None
        assert not sealed.rekey_due
        node.sessions.change_keys((new,), line.now)  # the old one is removed
    a.seal(b, b"under the new one")
    line.deliver_all()
    assert [each.inner for each in b.handled] == [b"still under the old one", b"find", b"under the new one"]


def test_two_that_disagree_about_the_first_key_do_not_renew_each_others_sessions_for_ever(line: Line) -> None:
    """`a` has promoted the new key, `b` has not yet: whichever of them begins a session, it is good for the other."""
    old, new = network(b"x"), network(b"y")
    a, b = Node(line, b"a", A, keys=(old, new)), Node(line, b"b", B, keys=(old, new))
    met(line, a, b)
    line.tick(5)
    a.sessions.change_keys((new, old), line.now)
    assert due(a, b)
    assert not due(b, a)
    line.tick(5)
    a.initiate(b)
    line.deliver_all()
    for beginning, other in ((b, a), (a, b), (b, a)):
        assert not due(a, b)
        assert not due(b, a)
        line.tick(5)
        beginning.initiate(other)
        line.deliver_all()
    current = a.sessions.table.current(b.public)
    assert current is not None
    assert current.network_psk == old.psk
    b.sessions.change_keys((new, old), line.now)  # it was the last, and `b` renews what it began
    assert not due(a, b)
    assert due(b, a)


def due(node: Node, other: Node) -> bool:
    """Whether a packet to the other node would begin a new handshake."""
    is_due = node.sessions.under_former_key(other.public) is not None
    assert (other.public in node.sessions.under_former_keys()) == is_due
    sealed = node.sessions.seal(other.public, b"", node.line.now)
    assert sealed is not None
    assert sealed.rekey_due == is_due
    return is_due


def test_a_key_that_is_added_or_removed_makes_no_session_due_for_a_new_one(line: Line) -> None:
    old, new = network(b"x"), network(b"y")
    a, b = Node(line, b"a", A, keys=(old,)), Node(line, b"b", B, keys=(old, new))
    met(line, a, b)
    line.tick(5)
    a.sessions.change_keys((old, new), line.now)
    assert not due(a, b)
    a.sessions.change_keys((old,), line.now)
    assert not due(a, b)


def test_a_promotion_that_is_taken_back_makes_the_sessions_since_then_due(line: Line) -> None:
    old, new = network(b"x"), network(b"y")
    a, b = Node(line, b"a", A, keys=(new, old)), Node(line, b"b", B, keys=(old, new))
    met(line, a, b)
    line.tick(5)
    a.sessions.change_keys((old, new), line.now)
    assert due(a, b)


def test_sessions_are_counted_by_their_key_as_long_as_anything_comes_by_them(line: Line) -> None:
    old, new = network(b"x"), network(b"y")
    b = Node(line, b"b", B, keys=(old, new))
    a, c = Node(line, b"a", A, keys=(old,)), Node(line, b"c", C, keys=(new,))
    c.initiate(b)  # and it is never confirmed
    line.deliver(line.flying.pop())
    line.take()
    met(line, a, b)
    assert b.sessions.table.count_by_key(line.now) == {old.psk: 1}
    line.tick(1)
    met(line, c, b)
    assert b.sessions.table.count_by_key(line.now - 1) == {old.psk: 1, new.psk: 1}
    assert b.sessions.table.count_by_key(line.now) == {new.psk: 1}
    a.seal(b, b"here")
    line.deliver_all()
    assert b.sessions.table.count_by_key(line.now) == {old.psk: 1, new.psk: 1}


def test_a_removed_key_ends_its_sessions_and_initiations(line: Line) -> None:
    old, new = network(b"x"), network(b"y")
    a, b = Node(line, b"a", A, keys=(old,)), Node(line, b"b", B, keys=(old,))
    c = Node(line, b"c", C, keys=(old,))
    met(line, a, b)
    a.initiate(c)
    a.initiate(b)
    recorded = line.flying.pop()
    line.deliver(recorded)
    line.flying.pop()
    b.sessions.change_keys((new,), line.now)
    assert whole(b.sessions)
    assert line.deliver(recorded) == Dropped("wrong_mac1")
    b.sessions.change_keys((new, old), line.now)  # and what was answered is not repeated after that
    assert isinstance(b.sessions.on_datagram(recorded.datagram, a.endpoint, line.now, line.wall_ms), Initiated)
    b.sessions.change_keys((new,), line.now)
    b.handled.clear()
    a.seal(b, b"too late")
    a.sessions.change_keys((new,), line.now)
    assert a.sessions.initiator.retransmission(c.public, c.endpoint) is None
    assert a.seal(b, b"nor so") is None
    assert whole(a.sessions)
    c_decision, b_decision = line.deliver_all()[0], line.deliver_all()
    assert isinstance(c_decision, Initiated)
    assert b_decision == []
    assert b.sessions.dropped["unknown_index"] == 1
    assert not b.handled


def test_a_member_stays_remembered_without_a_session_until_it_is_released(line: Line) -> None:
    old, new = network(b"x"), network(b"y")
    a, b = Node(line, b"a", A, keys=(old,)), Node(line, b"b", B, keys=(old,))
    met(line, a, b)
    table = b.sessions.table
    assert table.keep(a.public)
    b.sessions.change_keys((new,), line.now)
    assert table.peers[a.public].current is None
    assert table.keep(a.public)
    table.release(a.public, line.now)
    assert not table.peers


def test_a_peer_that_is_removed_leaves_no_session(line: Line) -> None:
    a, b = two(line)
    for _ in range(5):
        line.tick(1)
        a.initiate(b)
        line.deliver_all()
    line.tick(1)
    a.initiate(b)
    line.deliver(line.flying.pop(0))  # one more, not confirmed
    b.sessions.table.remove(a.public, line.now)
    b.sessions.table.remove(a.public, line.now)
    assert not b.sessions.table.by_index
    assert whole(b.sessions)
    line.deliver(line.flying.pop(0))
    assert line.deliver_all() == [Dropped("unknown_index")]


def test_indexes_at_rest_are_bounded(line: Line) -> None:
    a, _ = two(line)
    table = a.sessions.table
    for number in range(MOST_RESTING + 10):
        table.rest(number.to_bytes(4, "big"), line.now)
    table.new_index(line.now)
    assert table.counts()["resting_indexes"] == MOST_RESTING


def test_two_runs_of_one_key_that_alternate_are_a_copied_data_directory(line: Line) -> None:
    b = Node(line, b"b", B)
    original, copy = Node(line, b"a", A, run=1), Node(line, b"a", C, run=2)

    def meet(node: Node) -> bool:
        line.tick(1)
        node.initiate(b)
        opened = line.deliver_all()[-1]
        assert isinstance(opened, Opened)
        return opened.is_copied

    assert [meet(original), meet(original), meet(copy), meet(original), meet(copy)] == [False, False, False, True, True]


def test_a_host_with_two_addresses_is_not_accused(line: Line) -> None:
    a, b = two(line)
    elsewhere = Endpoint.parse(f"{C}:8118")
    for endpoint in (elsewhere, Endpoint.parse(f"{A}:8118"), elsewhere):
        line.tick(1)
        a.endpoint = endpoint
        line.nodes[endpoint] = a
        a.initiate(b)
        opened = line.deliver_all()[-1]
        assert isinstance(opened, Opened)
        assert not opened.is_copied


def test_initiations_under_way_are_bounded(line: Line) -> None:
    a, b = two(line)
    for number in range(MOST_INITIATING + 10):
        a.sessions.initiator.initiate(
            b.public, Endpoint.of(bytes([10, 0, number // 256, number % 256]), 1), b"", line.now, line.wall_ms
        )
    counts = a.sessions.counts()
    assert counts["initiations"] == counts["handshakes"] == MOST_INITIATING


# Versions -------------------------------------------------------------------------------------------------------------


def test_an_initiation_of_another_version_makes_no_session(line: Line) -> None:
    a, b = two(line)
    a.sessions.local.version = 3
    a.initiate(b)
    assert line.deliver_all() == [Dropped("other_version")]
    assert not b.sessions.table.peers
    assert b.sessions.counts()["responses"] == 0
    a.sessions.local.version = 2
    a.initiate(b)
    assert isinstance(line.deliver_all()[-1], Opened)


def test_a_response_of_another_version_makes_no_session(line: Line) -> None:
    a, b = two(line)
    a.initiate(b)
    line.deliver(line.flying.pop(0))
    (flying,) = line.flying
    a.sessions.local.version = 3
    for _ in range(MOST_FAILURES):
        assert line.deliver(flying) == Dropped("other_version")
    assert line.deliver(flying) == Dropped("too_many_responses")  # each has cost a Diffie-Hellman
    assert not a.sessions.table.peers
    assert whole(a.sessions)


# Our own addresses ----------------------------------------------------------------------------------------------------


def test_a_hello_that_comes_back_to_its_node_is_not_answered(line: Line) -> None:
    a, b = two(line)
    outer = Endpoint.parse(f"{C}:8118")
    hello = a.sessions.initiator.hello(outer, line.now)
    from_outer = Flying(hello, outer, a.endpoint)
    assert [line.deliver(from_outer) for _ in range(2)] == [OwnHello(outer)] * 2
    assert a.sessions.dropped == {"own_hello": 2}
    assert not line.flying
    assert isinstance(line.deliver(attrs.evolve(from_outer, to=b.endpoint)), Reply)  # of b it asks what it should
    line.tick(HELLO_LIFE)
    assert isinstance(line.deliver(from_outer), Reply)  # its nonce is forgotten
