"""Floods and full tables: what those can spend that have no session, and what stays for those that have.

Rules of this file: rates and tables are tiny, so that a flood is a few dozen datagrams; no time is measured.
"""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.peer.budget import MOST_NETWORKS, Bucket, HandshakeRates, Rate, SharedBudget
from camomile_trio.peer.decisions import Dropped, Initiated, Opened, Reply, Responded
from camomile_trio.peer.responder import COOKIE_LIFE, MOST_ANSWERED, REPEATED_FOR
from camomile_trio.peer.strangers import Strangers
from tests.peer.nodes import A, B, Flying, Line, Node, met, whole

TINY = HandshakeRates(
    unproven=Rate(1, 8), unproven_of_network=Rate(1, 4), proven=Rate(1, 8), proven_of_network=Rate(1, 4)
)


def stranger(line: Line, number: int, host: str = "") -> Node:
    """A node of its own source network, unless `host` says otherwise. It leaves the line: only its datagrams arrive."""
    node = Node(line, number.to_bytes(4, "big"), host or f"203.{number // 250}.{number % 250}.1")
    del line.nodes[node.endpoint]
    return node


def test_forged_sources_leave_a_handshake_one_round_trip_longer_and_no_session_worse(line: Line) -> None:
    member, b = Node(line, b"m", "198.18.9.9"), Node(line, b"b", B, rates=TINY)
    met(line, member, b)
    forger = stranger(line, 1)
    for number in range(40):
        datagram = forger.initiate(b)
        forged = Endpoint.of(bytes([203, 7, number, 1]), 8118)
        line.flying[-1] = Flying(datagram, forged, b.endpoint)
        line.tick(0.001)
    decisions = line.deliver_all()
    assert sum(isinstance(each, Initiated) for each in decisions) < 8
    assert sum(isinstance(each, Reply) and each.why == "cookie" for each in decisions) > 30
    a = Node(line, b"a", A)
    a.initiate(b)
    assert [type(each) for each in line.deliver_all()] == [Reply, Reply, Initiated, Responded, Opened]
    member.seal(b, b"store")
    member.initiate(b)  # and a member's new handshake, too
    decisions = line.deliver_all()
    assert isinstance(decisions[0], Opened)
    assert isinstance(decisions[-1], Opened)


def test_one_source_network_spends_its_own_share_only(line: Line) -> None:
    b = Node(line, b"b", B, rates=TINY)
    for number in range(20):
        stranger(line, number, f"203.0.113.{number + 1}").initiate(b)
    decisions = line.deliver_all()
    assert sum(isinstance(each, Initiated) for each in decisions) == 4
    a = Node(line, b"a", A)
    a.initiate(b)
    assert [type(each) for each in line.deliver_all()] == [Initiated, Responded, Opened]


def test_a_source_network_with_cookies_is_bounded_too(line: Line) -> None:
    b = Node(line, b"b", B, rates=TINY, most_peers=4096)
    flooders = [Node(line, bytes([number]), f"203.0.113.{number + 1}") for number in range(20)]
    for node in flooders:
        node.initiate(b)
    line.deliver_all(1000)
    assert sum(b.has_session_with(node) for node in flooders) == 8  # four without a cookie, four with one
    assert b.sessions.dropped["over_budget"] == 12


def test_what_the_budget_refused_comes_back_with_time(line: Line) -> None:
    b = Node(line, b"b", B, rates=TINY)
    a = Node(line, b"a", A)
    for _ in range(4):
        line.tick(0.001)
        a.initiate(b)
        line.deliver_all()
    line.tick(0.001)
    a.initiate(b)
    assert len(line.deliver_all()) == 5
    line.tick(2)
    a.initiate(b)
    assert len(line.deliver_all()) == 3


def test_a_cookie_serves_the_next_initiation_to_the_same_peer_too(line: Line) -> None:
    b = Node(line, b"b", B, rates=attrs.evolve(TINY, unproven=Rate(0, 1)))
    a = Node(line, b"a", A)
    stranger(line, 1).initiate(b)
    line.deliver_all()
    a.initiate(b)
    line.deliver(line.flying.pop(0))
    line.deliver(line.flying.pop(0))  # the cookie has come
    line.take()
    line.tick(1)
    a.initiate(b)
    assert [type(each) for each in line.deliver_all()] == [Initiated, Responded, Opened]


@pytest.mark.parametrize("why", ["hello", "cookie", "repeated"])
def test_answers_without_diffie_hellman_have_a_budget(line: Line, why: str) -> None:
    b = Node(line, b"b", B, rates=HandshakeRates(replies=Rate(1, 2)))
    a = Node(line, b"a", A)
    a.initiate(b)
    initiation = line.flying[0]
    line.deliver_all()
    if why == "cookie":
        line.tick(10)
    for _ in range(3):
        if why == "hello":
            a.send(a.sessions.initiator.hello(b.endpoint, line.now), b.endpoint)
        else:
            line.flying.append(initiation)
    for flying in line.flying[:]:
        line.deliver(flying)
    assert b.sessions.replied[why] == 2
    assert b.sessions.dropped["over_budget"] == 1
    line.tick(1)
    line.deliver(line.flying[0])
    assert b.sessions.replied[why] == 3


def test_where_nothing_is_left_an_initiation_is_dropped_before_its_mac_is_looked_at_unless_it_has_a_cookie(
    line: Line,
) -> None:
    spent = HandshakeRates(unproven=Rate(0, 0), replies=Rate(0, 1))
    b, a = Node(line, b"b", B, rates=spent), Node(line, b"a", A)
    a.initiate(b)
    assert [type(each) for each in line.deliver_all(2)] == [Reply, Reply]  # the only cookie
    forger = Node(line, b"f", "198.18.7.7")
    asked = forger.sessions.initiator.hello(b.endpoint, line.now)
    assert isinstance(b.on_datagram(asked, forger.endpoint), Reply)  # the only answer to a hello
    line.take()
    datagram = forger.initiate(b)
    line.flying.pop()
    for index in (40, len(datagram) - 20):  # in the message, and in mac1
        broken = bytearray(datagram)
        broken[index] ^= 1
        assert b.on_datagram(bytes(broken), forger.endpoint) == Dropped("over_budget")
    hello = bytearray(forger.sessions.initiator.hello(b.endpoint, line.now))
    hello[-1] ^= 1
    assert b.on_datagram(bytes(hello), forger.endpoint) == Dropped("over_budget")
    a.initiate(b)
    assert [type(each) for each in line.deliver_all()] == [Initiated, Responded, Opened]


def test_hellos_cookies_and_repeated_responses_take_nothing_from_each_other(line: Line) -> None:
    b = Node(line, b"b", B, rates=attrs.evolve(TINY, unproven=Rate(0, 1), replies=Rate(0, 1)))
    forger, a = Node(line, b"f", "198.18.7.7"), Node(line, b"a", A)
    for _ in range(3):
        hello = forger.sessions.initiator.hello(b.endpoint, line.now)
        b.on_datagram(hello, forger.endpoint)
    initiation = Flying(forger.initiate(b), forger.endpoint, b.endpoint)
    line.deliver_all()
    for _ in range(3):
        line.deliver(initiation)
    line.take()
    a.initiate(b)
    assert [type(each) for each in line.deliver_all()] == [Reply, Reply, Initiated, Responded, Opened]
    assert b.sessions.replied == {"hello": 1, "repeated": 1, "cookie": 1}
    assert b.sessions.dropped["over_budget"] == 4


def test_streams_take_nothing_from_handshakes_with_a_cookie_nor_these_from_streams(line: Line) -> None:
    b = Node(line, b"b", B, rates=attrs.evolve(TINY, unproven=Rate(0, 0), streams=Rate(0, 2), proven=Rate(0, 1)))
    a, c = Node(line, b"a", A), Node(line, b"c", "198.18.3.1")
    assert [b.sessions.responder.afford_stream(a.endpoint.ip, line.now) for _ in range(3)] == [True, True, False]
    for node in (a, c):
        node.initiate(b)
        line.deliver_all()
    assert [b.has_session_with(node) for node in (a, c)] == [True, False]
    other = Node(line, b"o", B, rates=attrs.evolve(TINY, unproven=Rate(0, 0), streams=Rate(0, 1), proven=Rate(0, 1)))
    for node in (a, c):
        node.initiate(other)
        line.deliver_all()
    assert other.sessions.responder.afford_stream(a.endpoint.ip, line.now)


def test_what_strangers_spend_keeps_no_member_from_a_new_handshake_or_stream(line: Line) -> None:
    """They have real addresses in many networks, so cookies do not hold them back."""
    spent = attrs.evolve(TINY, unproven=Rate(0, 3), proven=Rate(0, 8), streams=Rate(0, 8), members=Rate(0, 2))
    b = Node(line, b"b", B, rates=attrs.evolve(spent, replies=Rate(0, 30)), most_peers=4096)
    member = Node(line, b"m", "198.18.9.9")
    met(line, member, b)
    b.sessions.table.keep(member.public)
    others = [Node(line, bytes([number]), f"203.0.{number}.1") for number in range(40)]
    for node in others:
        node.initiate(b)
        line.deliver_all()
        b.sessions.responder.afford_stream(node.endpoint.ip, line.now)
    assert sum(b.has_session_with(node) for node in others) == 10
    assert not b.sessions.responder.afford_stream(A.encode(), line.now)
    line.tick(0.001)
    member.initiate(b)
    assert [type(each) for each in line.deliver_all()] == [Reply, Reply, Initiated, Responded, Opened]
    assert b.sessions.responder.afford_stream(member.endpoint.ip, line.now)
    # Once it is a member no more, it has what all have.
    b.sessions.table.release(member.public, line.now)
    assert not b.sessions.responder.afford_stream(member.endpoint.ip, line.now)
    assert whole(b.sessions)


def test_a_recorded_initiation_with_a_cookie_spends_nothing_of_the_network_that_it_came_from(line: Line) -> None:
    b = Node(line, b"b", B, rates=attrs.evolve(TINY, unproven=Rate(0, 0), proven_of_network=Rate(0, 2)))
    a = Node(line, b"a", A)
    a.initiate(b)
    line.deliver(line.flying.pop(0))
    line.deliver(line.flying.pop(0))
    recorded = line.flying[-1]
    line.deliver_all()
    assert b.has_session_with(a)
    line.tick(REPEATED_FOR)
    for _ in range(20):
        assert line.deliver(recorded) == Dropped("replayed")
    assert b.sessions.counts()["let_in"] == 1
    line.tick(COOKIE_LIFE)
    a.initiate(b)
    assert isinstance(line.deliver_all()[-1], Opened)
    line.tick(2 * COOKIE_LIFE)
    assert isinstance(line.deliver(recorded), Reply)  # its cookie is too old


def test_the_stranger_that_was_used_last_stays_longest(line: Line) -> None:
    b = Node(line, b"b", B, most_peers=64)  # four places for strangers that have confirmed
    nodes = [Node(line, bytes([number]), f"198.18.{number}.9") for number in range(6)]
    for node in nodes[:4]:
        met(line, node, b)
    nodes[0].seal(b, b"request")
    line.deliver_all()
    assert b.seal(nodes[1], b"request") is not None
    for node in nodes[4:]:
        met(line, node, b)
    assert [b.has_session_with(node) for node in nodes] == [True, True, False, False, True, True]


def test_two_thousand_strangers_leave_members_their_sessions(line: Line) -> None:
    plenty = HandshakeRates(unproven=Rate(0, 1e9), unproven_of_network=Rate(0, 1e9))
    b = Node(line, b"b", B, most_peers=256, rates=plenty)
    members = [Node(line, b"m" + bytes([number]), f"198.18.{number}.9") for number in range(20)]
    for member in members:
        met(line, member, b)
        assert b.sessions.table.keep(member.public)
    for number in range(2000):
        flooder = Node(line, number.to_bytes(4, "big"), f"203.{number // 250}.{number % 250}.1")
        flooder.initiate(b)
        line.deliver_all()
        del line.nodes[flooder.endpoint]
        line.tick(0.01)
    table = b.sessions.table
    assert len(table.peers) <= 256 // 8 + len(members)
    assert len(table.by_index) <= 256 // 8 + len(members)
    assert whole(b.sessions)
    assert table.forgotten >= 1900
    for member in members:
        member.seal(b, b"store")
        b.seal(member, b"stored")
        assert [type(each) for each in line.deliver_all()] == [Opened, Opened]


def test_strangers_that_confirm_nothing_push_out_none_that_have(line: Line) -> None:
    plenty = HandshakeRates(unproven=Rate(0, 1e9), unproven_of_network=Rate(0, 1e9))
    b = Node(line, b"b", B, most_peers=64, rates=plenty)
    friends = [Node(line, b"f" + bytes([number]), f"198.18.{number}.9") for number in range(4)]
    for friend in friends:
        met(line, friend, b)
    for number in range(200):
        stranger(line, number).initiate(b)
    line.deliver_all(1000)
    assert all(b.has_session_with(friend) for friend in friends)
    assert len(b.sessions.table.peers) == 8
    assert whole(b.sessions)


def test_responses_that_are_kept_are_bounded(line: Line) -> None:
    plenty = HandshakeRates(unproven=Rate(0, 1e9), unproven_of_network=Rate(0, 1e9))
    b = Node(line, b"b", B, rates=plenty)
    a = stranger(line, 1)
    for _ in range(MOST_ANSWERED + 10):
        line.tick(0.001)
        a.initiate(b)
    line.deliver_all(5000)
    assert b.sessions.counts()["responses"] == MOST_ANSWERED
    line.tick(REPEATED_FOR)
    stranger(line, 2).initiate(b)
    line.deliver_all(5)
    assert b.sessions.counts()["responses"] == 1, "those that are not repeated any more"


def test_a_node_says_how_full_each_of_its_tables_is(line: Line) -> None:
    b = Node(line, b"b", B)
    member, friend, loner, silent = (Node(line, bytes([number]), f"198.18.{number}.9") for number in range(10, 14))
    met(line, member, b)
    assert b.sessions.table.keep(member.public)
    met(line, friend, b)
    line.tick(1)
    met(line, friend, b)  # the session before is kept, too
    loner.initiate(b)
    line.deliver(line.flying.pop(0))
    line.take()  # so it confirms nothing
    b.initiate(silent)
    b.initiate(silent)
    b.sessions.initiator.hello(silent.endpoint, line.now)
    assert b.sessions.counts() == {
        "members": 1,
        "strangers": 1,
        "unconfirmed_strangers": 1,
        "sessions": 4,
        "indexes": 6,
        "resting_indexes": 1,
        "handshakes": 1,
        "initiations": 1,
        "hellos": 1,
        "responses": 4,
        "let_in": 0,
        "networks": 3,
    }
    assert whole(b.sessions)


def test_members_are_bounded_and_one_that_leaves_makes_room(line: Line) -> None:
    b = Node(line, b"b", B, most_peers=8)
    nodes = [Node(line, bytes([number]), f"198.18.{number}.9") for number in range(8)]
    kept = []
    for node in nodes:
        met(line, node, b)
        kept.append(b.sessions.table.keep(node.public))
        assert b.sessions.table.keep(node.public) == kept[-1]
    assert kept == [True] * 6 + [False] * 2
    assert not b.sessions.table.keep(b"nobody")
    b.sessions.table.release(nodes[0].public, line.now)
    met(line, nodes[7], b)
    assert b.sessions.table.keep(nodes[7].public)
    b.sessions.table.remove(nodes[1].public, line.now)
    assert not b.has_session_with(nodes[1])
    met(line, nodes[6], b)
    assert b.sessions.table.keep(nodes[6].public)


# The parts ------------------------------------------------------------------------------------------------------------


def test_a_bucket_is_refilled_by_time_and_never_above_its_burst() -> None:
    bucket = Bucket.full(Rate(2, 3), 10.0)
    assert [bucket.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(10.5), bucket.take(10.5), bucket.take(9.0)] == [True, False, False]
    assert [bucket.take(1000.0) for _ in range(4)] == [True, True, True, False]


def test_what_the_bucket_of_all_refuses_costs_a_network_nothing() -> None:
    budget = SharedBudget(Rate(1, 1), Rate(0, 2), 0.0)
    assert budget.take(b"net", 0.0)
    assert not budget.take(b"net", 0.0)
    assert not budget.take(b"", 0.0)
    assert budget.take(b"net", 1.0)
    assert not budget.take(b"net", 2.0)  # its own two are spent
    assert budget.take(b"", 2.0)


def test_networks_that_are_remembered_are_bounded() -> None:
    budget = SharedBudget(Rate(0, 1e9), Rate(0, 1), 0.0)
    for number in range(MOST_NETWORKS + 5):
        assert budget.take(b"%d" % number, 0.0)
        assert number == 0 or not budget.take(b"0", 0.0)  # the first is used all the time, and so stays
    assert len(budget) == MOST_NETWORKS
    assert not budget.take(b"%d" % MOST_NETWORKS, 0.0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "use", "discard"]),
            st.sampled_from([b"%d" % number for number in range(12)]),
            st.sampled_from([b"", b"x", b"y", b"z"]),
        ),
        max_size=60,
    )
)
def test_strangers_are_as_a_plain_list_would_keep_them(steps: list[tuple[str, bytes, bytes]]) -> None:
    strangers, plain = Strangers(6, 2), list[tuple[bytes, bytes]]()
    for step, public, network in steps:
        mine = next((each for each in plain if each[0] == public), None)
        if step == "use":
            strangers.use(public)
            if mine is not None:
                plain.remove(mine)
                plain.append(mine)
            continue
        if mine is not None:
            plain.remove(mine)
        if step == "discard":
            strangers.discard(public)
            continue
        same = [each for each in plain if each[1] == network]
        gone = same[0] if network and len(same) >= 2 else plain[0] if len(plain) >= 6 else None
        if gone is not None:
            plain.remove(gone)
        plain.append((public, network))
        assert strangers.add(public, network) == (gone[0] if gone else None)
    assert {public for public, _ in plain} == {b"%d" % n for n in range(12) if b"%d" % n in strangers}
    assert len(strangers) == len(plain)
