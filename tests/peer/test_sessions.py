"""What two or three nodes live through with each other: loss, replay, restarts, moves, rekeying.

Rules of this file: one story a test, by what `Sessions` decides; the real cipher suite only where it matters.
"""

from __future__ import annotations

import attrs
import pytest

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.peer.budget import HandshakeRates, Rate
from camomile_trio.peer.decisions import Dropped, Initiated, Introduced, Opened, Reply, Responded
from camomile_trio.peer.handshake import NetworkKey, cookie_for, mac2_of, write_cookie_reply, write_initiation
from camomile_trio.peer.initiator import LONGEST_WAIT, MOST_COOKIES, MOST_FAILURES, MOST_HELLOS, MOST_INITIATING
from camomile_trio.peer.packets import (
    INITIATION,
    LARGEST_DATAGRAM,
    RESPONSE,
    SEALED,
    Initiation,
    InitiationPayload,
    Response,
    frame,
    unframe_untrusted,
)
from camomile_trio.peer.responder import COOKIE_LIFE, MOST_REPEATED, MOST_RUNS, REPEATED_FOR
from camomile_trio.peer.session import MOST_PACKETS, REKEY_AFTER_PACKETS, WINDOW
from camomile_trio.peer.sessions import REKEY_AFTER
from camomile_trio.peer.suite import CipherSuite, NaclSuite
from camomile_trio.peer.table import MOST_RESTING
from tests.peer.nodes import NETWORK, RTO, Flying, Handled, Line, Node, met, whole
from tests.peer.test_noise import flipped
from tests.peer.toy_suite import ToySuite

A, B, C = "198.18.1.1", "198.18.2.1", "198.18.3.1"


@pytest.fixture
def line() -> Line:
    return Line()


def two(line: Line, suite: CipherSuite | None = None) -> tuple[Node, Node]:
    return Node(line, b"a", A, suite=suite), Node(line, b"b", B, suite=suite)


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
    assert (initiated.node_id, responded.node_id) == (a.static.node_id, b.static.node_id)


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
    assert line.deliver_all() == [Opened(a.public, a.static.node_id, a.endpoint, b"store", True, False)]


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


# Replays, and what is forged ------------------------------------------------------------------------------------------


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
    for secret in b.sessions.responder._secrets:
        initiation = Initiation.decode_untrusted(unframe_untrusted(recorded)[1])
        cookie = cookie_for(secret, thief.endpoint)
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
        assert line.deliver(forged) == Dropped("wrong_mac1")
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
    a, b = two(line)
    a.initiate(b)
    initiation, decisions = line.flying[0], []
    for _ in range(MOST_COOKIES + 1):
        initiation = line.flying.pop() if line.flying else initiation
        other = Endpoint.parse(f"{C}:8118")  # the cookie of another address never fits
        reply = b.sessions.responder._send_cookie(
            b.sessions.local.network_keys[0],
            Initiation.decode_untrusted(unframe_untrusted(initiation.datagram)[1]),
            other,
            line.now,
        )
        assert isinstance(reply, Reply)
        decisions.append(line.deliver(Flying(reply.datagram, b.endpoint, a.endpoint)))
    assert [type(each) for each in decisions] == [Reply] * MOST_COOKIES + [Dropped]


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
    assert not a.sessions.initiator._by_index


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


# Restarts, clocks, addresses ----------------------------------------------------------------------------------------


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
    assert a.sessions.initiator.may_initiate_at(b.public) <= line.now
    a.initiate(b, b"request")
    line.deliver_all()
    assert a.handled == [Handled(b.public, b"answer to request", True)]
    assert b.seal(a, b"more") is not None


def test_new_initiations_to_a_silent_peer_leave_at_doubling_intervals(line: Line) -> None:
    a, b = two(line)
    met(line, a, b)
    heard = line.now
    assert a.sessions.initiator.may_initiate_at(b.public) == heard + 1
    left = []
    for _ in range(6):
        line.now = a.sessions.initiator.may_initiate_at(b.public)
        left.append(line.now - heard)
        a.initiate(b)
        line.take()
    assert left == [1, 2, 4, 8, 8 + LONGEST_WAIT, 8 + 2 * LONGEST_WAIT]
    line.tick(LONGEST_WAIT)
    a.initiate(b)
    line.deliver_all()
    assert a.sessions.initiator.may_initiate_at(b.public) == line.now + 1


def test_what_is_heard_from_a_peer_puts_a_new_initiation_off(line: Line) -> None:
    a, b = two(line)
    met(line, a, b)
    line.tick(10)
    b.seal(a, b"still here")
    line.deliver_all()
    assert a.sessions.initiator.may_initiate_at(b.public) == line.now + 1


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


# Both at once, and rekeying -------------------------------------------------------------------------------------------


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


def test_an_index_is_not_used_again_for_three_minutes(line: Line) -> None:
    a, _ = two(line)
    table = a.sessions.table
    indexes = [b"1111", b"1111", b"2222", b"1111", b"2222", b"3333", b"1111"]

    class Scripted:
        def randbytes(self, count: int) -> bytes:
            return indexes.pop(0)

    table._rng = Scripted()  # type: ignore[assignment]
    assert table.new_index(line.now) == b"1111"
    assert table.new_index(line.now) == b"2222"
    table.rest(b"1111", line.now)
    assert table.new_index(line.now + 179.9) == b"3333"
    assert table.new_index(line.now + 180.1) == b"1111"


# Hellos, keys, runs -----------------------------------------------------------------------------------------------


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
    assert len(a.sessions.initiator._hellos) == MOST_HELLOS


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
    assert line.deliver_all() == [Dropped("wrong_mac1"), Dropped("wrong_mac"), Dropped("unknown_index")]
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
    assert len(table._resting) == MOST_RESTING


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
    assert len(a.sessions.initiator._by_index) == len(a.sessions.initiator._to) == MOST_INITIATING


def test_a_cookie_is_good_for_two_lives_of_its_secret_at_most(line: Line) -> None:
    _, b = two(line)
    responder = b.sessions.responder
    first = responder._present_secrets(line.now)[0]
    line.tick(COOKIE_LIFE)
    assert responder._present_secrets(line.now)[1] == first
    line.tick(COOKIE_LIFE)
    assert first not in responder._present_secrets(line.now)
    second = responder._present_secrets(line.now)[0]
    line.tick(10 * COOKIE_LIFE)
    assert second not in responder._present_secrets(line.now)
