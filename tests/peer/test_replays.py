"""Replayed, forged, changed, reordered: what datagrams of others, or at another time, can do to a node.

Rules of this file: the attacker knows the network key, as in an open network, and no secret of a node.
"""

from __future__ import annotations

import attrs
import pytest

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.peer.budget import HandshakeRates, Rate
from camomile_trio.peer.decisions import Dropped, Opened, Reply, Responded
from camomile_trio.peer.handshake import mac2_of, read_cookie_reply, write_cookie_reply, write_initiation
from camomile_trio.peer.initiator import MOST_COOKIES, MOST_FAILURES
from camomile_trio.peer.packets import (
    INITIATION,
    RESPONSE,
    CookieReply,
    Initiation,
    InitiationPayload,
    Response,
    unframe_untrusted,
)
from camomile_trio.peer.responder import COOKIE_LIFE, MOST_RUNS, REPEATED_FOR
from camomile_trio.peer.session import WINDOW
from camomile_trio.peer.suite import CipherSuite, NaclSuite
from camomile_trio.peer.table import INDEX_RESTS
from camomile_trio.simulation.suite import ToySuite
from tests.peer.nodes import OPEN, A, B, C, Flying, Line, Node, met, two, whole
from tests.peer.test_noise import flipped


def test_an_initiation_that_is_replayed_later_is_answered_by_a_cookie(line: Line) -> None:
    a, b = two(line)
    a.initiate(b)
    initiation = line.flying[0]
    line.deliver_all()
    line.tick(REPEATED_FOR)
    b.handled.clear()
    assert line.deliver(initiation) == Reply(line.flying[-1].datagram, "cookie")
    assert len(line.flying[-1].datagram) < len(initiation.datagram)
    assert not b.handled


def test_a_recorded_initiation_cannot_be_given_the_cookie_of_another_address(line: Line) -> None:
    """In an open network the key of the cookie reply is known to all, so the thief can read its cookie."""
    a, b = two(line)
    thief = Node(line, b"t", C)
    a.initiate(b)
    recorded = line.flying[0].datagram
    line.deliver_all()
    b.handled.clear()
    reply = b.sessions.on_datagram(recorded, thief.endpoint, line.now, line.wall_ms)
    assert isinstance(reply, Reply)
    initiation = Initiation.decode_untrusted(unframe_untrusted(recorded)[1])
    cookie = read_cookie_reply(
        OPEN, b.suite, b.public, initiation.mac1, CookieReply.decode_untrusted(unframe_untrusted(reply.datagram)[1])
    )
    forged = attrs.evolve(initiation, mac2=mac2_of(cookie, initiation.before_mac2)).encode()
    assert b.sessions.on_datagram(forged, thief.endpoint, line.now, line.wall_ms) == Dropped("wrong_tag")
    assert not b.handled


def test_an_initiation_with_a_cookie_cannot_be_replayed_while_the_cookie_is_good(line: Line) -> None:
    a, b = two(line)
    met(line, a, b)
    line.tick(REPEATED_FOR)
    slow = Node(line, b"a", A, run=1, skew_ms=-3_600_000)
    slow.initiate(b)
    line.deliver(line.flying.pop(0))  # a cookie is needed
    line.deliver(line.flying.pop(0))
    with_cookie = line.flying[0]
    line.deliver_all()
    assert slow.has_session_with(b)
    assert b.has_session_with(a)
    for seconds in (REPEATED_FOR, COOKIE_LIFE):
        line.tick(seconds)
        assert line.deliver(with_cookie) == Dropped("replayed")


def test_nor_once_a_cookie_of_a_later_secret_was_used(line: Line) -> None:
    """The secret before the present one is good, too."""
    a, b = two(line)
    met(line, a, b)
    slow = Node(line, b"a", A, run=1, skew_ms=-3_600_000)
    with_cookies = []
    for seconds in (COOKIE_LIFE, COOKIE_LIFE - 1):
        slow.initiate(b)
        line.deliver(line.flying.pop(0))
        line.deliver(line.flying.pop(0))
        with_cookies += line.flying
        line.deliver_all()
        line.tick(seconds)
    assert not b.sessions.dropped
    assert [line.deliver(flying) for flying in with_cookies] == [Dropped("replayed")] * 2


def test_a_node_that_restarts_again_and_again_with_its_clock_set_back_is_let_in_a_few_times(line: Line) -> None:
    a, b = two(line)
    met(line, a, b)

    def is_met(run: int) -> bool:
        line.tick(1)
        slow = Node(line, b"a", A, run=run, skew_ms=-3_600_000 * run)
        slow.initiate(b)
        line.deliver_all()
        return slow.has_session_with(b)

    assert [is_met(run) for run in range(1, MOST_RUNS + 2)] == [True] * MOST_RUNS + [False]
    line.tick(2 * COOKIE_LIFE)
    assert is_met(99)


def test_a_cookie_lets_no_older_initiation_without_one_in(line: Line) -> None:
    a, b = two(line)
    a.initiate(b)
    recorded = line.flying[0]
    line.deliver_all()
    slow = Node(line, b"a", A, run=1, skew_ms=-3_600_000)
    slow.initiate(b)
    line.deliver_all()
    line.tick(REPEATED_FOR)
    decision = line.deliver(recorded)
    assert isinstance(decision, Reply)
    assert decision.why == "cookie"


@pytest.mark.parametrize("suite", [NaclSuite(), ToySuite()], ids=["nacl", "toy"])
def test_a_member_of_the_network_can_change_no_bit_either_by_making_mac1_anew(line: Line, suite: CipherSuite) -> None:
    """In an open network that is everybody. The index is in the clear, and sealed all the same."""
    plenty = HandshakeRates(unproven=Rate(0, 1e6), unproven_of_network=Rate(0, 1e6))
    a, b = Node(line, b"a", A, suite=suite), Node(line, b"b", B, suite=suite, rates=plenty)
    a.initiate(b)
    flying = line.flying[0]
    initiation = Initiation.decode_untrusted(unframe_untrusted(flying.datagram)[1])
    before = initiation.before_mac1
    for bit in range(8 * len(before)):
        wrong = flipped(before, bit)
        mac1 = b.sessions.local.network_keys[0].mac1(b.public, INITIATION, wrong)
        forged = attrs.evolve(initiation, index=wrong[:4], message=wrong[4:], mac1=mac1)
        decision = line.deliver(attrs.evolve(flying, datagram=forged.encode()))
        assert isinstance(decision, Dropped)
        assert decision.reason in {"wrong_tag", "key_not_canonical"}


@pytest.mark.parametrize("suite", [NaclSuite(), ToySuite()], ids=["nacl", "toy"])
def test_no_bit_of_any_message_can_be_changed(line: Line, suite: CipherSuite) -> None:
    """A changed mac2 is a wrong one, and its answer is a cookie; everything else is dropped without an answer."""
    a, b = two(line, suite)
    a.initiate(b, b"")
    while line.flying:
        flying = line.flying.pop(0)
        receiver = line.nodes[flying.to].sessions
        field = unframe_untrusted(flying.datagram)[0]
        for bit in range(8 * len(flying.datagram)):
            wrong = flipped(flying.datagram, bit)
            decision = receiver.on_datagram(wrong, flying.source, line.now, line.wall_ms)
            if field == INITIATION and bit >= 8 * (len(flying.datagram) - 16):
                assert isinstance(decision, Reply), bit
                assert decision.why == "cookie"
            else:
                assert isinstance(decision, Dropped), (field, bit, decision)
        line.deliver(flying)
    assert a.has_session_with(b)
    assert b.has_session_with(a)


def test_no_message_can_be_cut_short_or_lengthened(line: Line) -> None:
    a, b = two(line)
    a.initiate(b, b"find")
    while line.flying:
        flying = line.flying.pop(0)
        receiver = line.nodes[flying.to].sessions
        for wrong in [*(flying.datagram[:length] for length in range(len(flying.datagram))), flying.datagram + b"\0"]:
            assert isinstance(receiver.on_datagram(wrong, flying.source, line.now, line.wall_ms), Dropped)
        line.deliver(flying)
    assert b.has_session_with(a)


def test_sealed_packets_may_overtake_each_other_but_come_once(line: Line) -> None:
    a, b = two(line)
    met(line, a, b)
    for number in range(WINDOW + 2):
        a.seal(b, b"%d" % number)
    packets = line.flying[:]
    line.flying.clear()
    newest = packets.pop()
    line.deliver(newest)
    for flying in reversed(packets[2:]):
        line.deliver(flying)
    assert len(b.handled) == WINDOW
    for flying in packets:
        assert line.deliver(flying) == Dropped("replayed")
    assert line.deliver(newest) == Dropped("replayed")
    assert len(b.handled) == WINDOW


def test_a_packet_far_ahead_clears_the_window_and_lets_nothing_in_twice(line: Line) -> None:
    a, b = two(line)
    met(line, a, b)
    a.seal(b, b"one")
    one = line.flying[-1]
    line.deliver_all()
    session = a.sessions.table.peers[b.public].current
    assert session is not None
    for jump in (1, WINDOW - 1, WINDOW, WINDOW + 1, 2**40):
        session.sent += jump
        a.seal(b, b"more")
        assert isinstance(line.deliver_all()[0], Opened)
        assert line.deliver(one) == Dropped("replayed")


def test_a_session_is_good_for_its_own_address_only(line: Line) -> None:
    a, b = two(line)
    met(line, a, b)
    a.seal(b, b"store")
    flying = line.flying.pop()
    stolen = attrs.evolve(flying, source=Endpoint.parse(f"{C}:8118"))
    assert line.deliver(stolen) == Dropped("other_address")
    assert isinstance(line.deliver(flying), Opened)


def test_a_response_from_another_address_is_dropped(line: Line) -> None:
    a, b = two(line)
    a.initiate(b)
    line.deliver(line.flying.pop(0))
    response = line.flying.pop()
    assert line.deliver(attrs.evolve(response, source=Endpoint.parse(f"{C}:8118"))) == Dropped("other_address")
    assert isinstance(line.deliver(response), Responded)


def test_forged_responses_use_an_initiation_up_only_with_a_right_mac1(line: Line) -> None:
    """That takes its index, seen on the way, and the initiator's public key, which is sealed in it."""
    a, b = two(line)
    a.initiate(b)
    line.deliver(line.flying.pop(0))
    flying = line.flying.pop()
    for _ in range(50):
        forged = attrs.evolve(flying, datagram=flipped(flying.datagram, 8 * 60))
        assert line.deliver(forged) == Dropped("wrong_response_mac")
    response = Response.decode_untrusted(unframe_untrusted(flying.datagram)[1])
    wrong = flipped(response.message, 300)
    mac1 = a.sessions.local.network_keys[0].mac1(a.public, RESPONSE, response.receiver + wrong)
    forged = attrs.evolve(flying, datagram=attrs.evolve(response, message=wrong, mac1=mac1).encode())
    for _ in range(MOST_FAILURES):
        assert line.deliver(forged) == Dropped("wrong_tag")
    assert line.deliver(flying) == Dropped("too_many_responses")
    a.initiate(b)
    assert isinstance(line.deliver_all()[-1], Opened)


def test_only_a_few_cookies_are_taken_for_one_initiation(line: Line) -> None:
    """As for a node whose address changes with each datagram: the cookie of another address never fits."""
    a, b = Node(line, b"a", A), Node(line, b"b", B, rates=HandshakeRates(unproven=Rate(0, 0)))
    a.initiate(b)
    decisions = []
    for number in range(MOST_COOKIES + 1):
        elsewhere = Endpoint.of(bytes([203, 0, 113, number]), 8118)
        reply = b.sessions.on_datagram(line.flying[-1].datagram, elsewhere, line.now, line.wall_ms)
        assert isinstance(reply, Reply)
        assert reply.why == "cookie"
        decisions.append(line.deliver(Flying(reply.datagram, b.endpoint, a.endpoint)))
    assert [type(each) for each in decisions] == [Reply] * MOST_COOKIES + [Dropped]
    assert decisions[-1] == Dropped("too_many_cookies")
    # Each of them made another initiation; given up together, they leave no index behind after three minutes.
    assert a.sessions.counts()["initiations"] == 1 + MOST_COOKIES
    a.initiate(b)
    assert a.sessions.counts()["resting_indexes"] == 1 + MOST_COOKIES
    line.tick(INDEX_RESTS)
    a.initiate(b)
    assert a.sessions.counts()["indexes"] == 2
    assert whole(a.sessions)


def test_a_forged_cookie_does_not_spoil_the_response_that_is_under_way(line: Line) -> None:
    """In an open network an observer can make one: it has seen mac1, and may know the responder's public key."""
    a, b = two(line)
    a.initiate(b)
    initiation = Initiation.decode_untrusted(unframe_untrusted(line.flying[0].datagram)[1])
    line.deliver(line.flying.pop(0))
    response = line.flying.pop()
    local = b.sessions.local
    for _ in range(MOST_COOKIES):
        forged = write_cookie_reply(
            local.network_keys[0], local.suite, b.public, initiation, b"no such cookie !", local.rng
        )
        decision = line.deliver(Flying(forged.encode(), b.endpoint, a.endpoint))
        assert isinstance(decision, Reply)
        assert decision.why == "with_cookie"
    line.take()
    assert isinstance(line.deliver(response), Responded)
    line.deliver_all()
    assert b.has_session_with(a)
    assert a.sessions.counts()["initiations"] == 0


def test_a_node_has_no_session_with_its_own_key(line: Line) -> None:
    a, b = two(line)
    with pytest.raises(ValueError, match="itself"):
        a.initiate(a)
    # Another machine with a copy of the key can make such an initiation.
    local = Node(line, b"b", C).sessions.local
    _, initiation = write_initiation(
        local.network_keys[0],
        local.suite,
        local.static.key,
        local.static.public,
        ephemeral=local.ephemeral(),
        index=b"1234",
        payload=InitiationPayload(1, local.about(1), b""),
    )
    flying = Flying(initiation.encode(), Endpoint.parse(f"{C}:8118"), b.endpoint)
    assert line.deliver(flying) == Dropped("own_key")
