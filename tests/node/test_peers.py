"""What is remembered of endpoints: round trips by the numbers of RFC 6298, proofs, misses, and bounds."""

from __future__ import annotations

import math

import pytest

from camomile_trio.config import Requests
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.node.peers import NARROW_FOR, SURELY_PASSES, Peers
from camomile_trio.transport.base import MAX_SENT_DATAGRAM

BOB = Endpoint.parse("10.0.0.2:8118")


def endpoint(number: int) -> Endpoint:
    return Endpoint.of(number.to_bytes(4, "big"), 8118)


def test_a_stranger_has_the_first_timeout() -> None:
    assert Peers(Requests()).get(BOB).rto == 0.25


def test_round_trips_are_smoothed_as_rfc_6298_says() -> None:
    """§2.2: SRTT = R, RTTVAR = R/2. §2.3, for each further one: RTTVAR = 3/4 RTTVAR + 1/4 |SRTT - R'|, with the SRTT
    from before; SRTT = 7/8 SRTT + 1/8 R'. The timeout is SRTT + 4 RTTVAR."""
    peers = Peers(Requests())
    peer = peers.on_answer(BOB, 0.0, round_trip=0.1, version=1)
    assert (peer.smoothed, peer.variation) == (0.1, 0.05)
    assert peer.rto == pytest.approx(0.3)
    peers.on_answer(BOB, 1.0, round_trip=0.2, version=1)
    assert peer.variation == pytest.approx(0.75 * 0.05 + 0.25 * 0.1)
    assert peer.smoothed == pytest.approx(0.875 * 0.1 + 0.125 * 0.2)
    assert peer.rto == pytest.approx(0.1125 + 4 * 0.0625)
    for _ in range(200):
        peers.on_answer(BOB, 2.0, round_trip=0.2, version=1)
    assert peer.smoothed == pytest.approx(0.2)
    assert peer.rto == pytest.approx(0.25, abs=1e-3)


def test_a_peer_that_never_varies_may_still_be_a_little_late() -> None:
    """§2.3: SRTT + max(G, 4 RTTVAR). Without the floor the first answer that waits its turn comes after the timeout."""
    peers = Peers(Requests(least_rto=0.05))
    for _ in range(200):
        peers.on_answer(BOB, 0.0, round_trip=0.08, version=1)
    assert peers.get(BOB).rto == pytest.approx(0.08 + 0.05)


def test_the_timeout_stays_within_its_bounds() -> None:
    peers = Peers(Requests())
    assert peers.on_answer(BOB, 0.0, round_trip=0.0001, version=1).rto == pytest.approx(0.0501)
    assert peers.on_answer(endpoint(1), 0.0, round_trip=1.9, version=1).rto == 1.0


def test_an_answer_to_either_of_two_transmissions_is_no_sample() -> None:
    """Karn's rule: nobody knows which of the two it answers."""
    peers = Peers(Requests())
    peer = peers.on_answer(BOB, 0.0, round_trip=0.1, version=1)
    before = (peer.smoothed, peer.variation, peer.rto)
    peers.on_answer(BOB, 1.0, round_trip=None, version=1)
    assert (peer.smoothed, peer.variation, peer.rto) == before


def test_a_retransmission_doubles_the_time_to_the_next_until_there_is_a_sample() -> None:
    peers = Peers(Requests())
    peers.on_retransmitted(BOB)
    assert peers.resend_after(BOB) == 0.5
    for _ in range(100):
        peers.on_retransmitted(BOB)
    assert peers.resend_after(BOB) == 1.0  # the most
    assert peers.get(BOB).rto == 0.25  # as long as ever is it waited for
    peers.on_answer(BOB, 0.0, round_trip=None, version=1)
    assert peers.resend_after(BOB) == 1.0
    assert peers.on_answer(BOB, 0.0, round_trip=0.1, version=1).rto == pytest.approx(0.3)
    assert peers.resend_after(BOB) == pytest.approx(0.3)


def test_what_is_usual_is_told_without_the_slack() -> None:
    peers = Peers(Requests())
    peer = peers.on_answer(BOB, 0.0, round_trip=0.004, version=1)
    assert peer.usual == pytest.approx(0.012)
    assert peer.rto == pytest.approx(0.054)


def test_how_far_away_a_peer_is_its_shortest_round_trip_tells() -> None:
    peers = Peers(Requests())
    assert peers.get(BOB).least == math.inf
    for round_trip in (0.3, 0.004, None, 0.2):
        peers.on_answer(BOB, 0.0, round_trip=round_trip, version=1)
    assert peers.get(BOB).least == 0.004


def test_who_is_overdue_twice_in_turn_is_suspect_until_it_answers() -> None:
    peers = Peers(Requests())
    for sent_at, now in ((0.0, 0.25), (0.1, 0.35)):  # the second was under way when the first became overdue
        peers.on_overdue(BOB, sent_at, now)
        assert not peers.get(BOB).is_suspect(now)
    peers.on_overdue(BOB, 0.3, 0.55)
    assert peers.get(BOB).is_suspect(0.55)
    peers.on_answer(BOB, 0.6, round_trip=None, version=1)
    assert not peers.get(BOB).is_suspect(0.6)
    peers.on_overdue(BOB, 0.7, 0.95)
    assert not peers.get(BOB).is_suspect(0.95)


def test_an_answer_proves_an_endpoint_and_a_request_does_not() -> None:
    peers = Peers(Requests())
    peers.get(BOB)
    assert not peers.is_proven(BOB)
    peers.on_answer(BOB, 0.0, round_trip=0.1, version=1)
    assert peers.is_proven(BOB)
    assert peers.get(BOB).is_proven


def test_an_unproven_endpoint_is_asked_twice_a_minute() -> None:
    peer = Peers(Requests()).get(BOB)
    assert [peer.may_ask_first(now) for now in (0.0, 10.0, 20.0, 59.9)] == [True, True, False, False]
    assert peer.may_ask_first(60.0)
    assert not peer.may_ask_first(69.9)
    assert peer.may_ask_first(70.0)


def test_a_missed_deadline_is_held_against_it_for_a_minute_or_until_it_answers() -> None:
    peers = Peers(Requests())
    peer = peers.on_answer(BOB, 0.0, round_trip=0.1, version=1)
    peer.knows_us, peer.token = True, b"token"
    peers.on_missed(BOB, 10.0)
    assert peer.is_suspect(69.9)
    assert not peer.is_suspect(70.0)
    # It may have been restarted, and know nothing of us any more.
    assert not peer.knows_us
    assert not peer.token
    peers.on_missed(BOB, 80.0)
    peers.on_answer(BOB, 81.0, round_trip=None, version=1)
    assert not peer.is_suspect(81.0)


def test_a_flood_of_strangers_makes_us_forget_no_real_peer() -> None:
    peers = Peers(Requests(max_peers=64))
    known = peers.on_answer(BOB, 0.0, round_trip=0.1, version=1)
    for number in range(1000):
        peers.get(endpoint(number))
    assert peers.known(BOB) is known
    assert len(peers) == 65


def test_the_one_used_least_recently_is_forgotten_first() -> None:
    peers = Peers(Requests(max_peers=64))
    for number in range(64):
        peers.get(endpoint(number))
        peers.on_answer(endpoint(1000 + number), 0.0, round_trip=0.1, version=1)
    peers.get(endpoint(0))
    peers.get(endpoint(1000))
    peers.get(endpoint(5000))
    peers.on_answer(endpoint(6000), 0.0, round_trip=0.1, version=1)
    assert peers.known(endpoint(0)) is not None
    assert peers.known(endpoint(1)) is None
    assert peers.known(endpoint(1000)) is not None
    assert peers.known(endpoint(1001)) is None
    assert len(peers) <= 128


def test_a_store_goes_only_to_who_would_take_it() -> None:
    peers = Peers(Requests())
    peer = peers.on_answer(BOB, 0.0, round_trip=None, version=1)
    assert not peer.takes_stores(0.0)  # neither has it a proof of us, nor did it give us a token
    peer.token, peer.token_at = b"token", 0.0
    assert peer.takes_stores(3599.0)
    assert not peer.takes_stores(3600.0)
    peer.knows_us = True
    assert peer.takes_stores(3600.0)
    peer.stores_nothing = True
    assert not peer.takes_stores(3600.0)
    peer.stores_nothing = False
    peer.version = 0
    assert not peer.takes_stores(3600.0)
    peer.version = 1
    peers.on_missed(BOB, 3600.0)
    peer.knows_us = True
    assert not peer.takes_stores(3601.0)


def test_a_path_is_narrow_after_three_exchanges_in_turn_that_only_a_stream_carried() -> None:
    peers = Peers(Requests())
    peer = peers.get(BOB)
    for now in (0.0, 1.0):
        peers.on_vanished(BOB, 1200, now)
    assert not peer.is_narrow_for(1200, False, 1.0)
    peers.on_vanished(BOB, 1100, 2.0)
    assert peer.is_narrow_for(1100, False, 2.0)
    assert not peer.is_narrow_for(1099, False, 2.0)
    assert peer.is_narrow_for(106, True, 2.0)  # the answer may be as large
    assert not peer.is_narrow_for(1200, True, 2.0 + NARROW_FOR)
    peers.on_vanished(BOB, 1200, 2.0 + NARROW_FOR)  # tried again, and it is as it was
    assert peer.is_narrow_for(1200, False, 2.0 + NARROW_FOR)


def test_a_datagram_as_large_as_what_was_lost_shows_that_it_was_chance() -> None:
    peers = Peers(Requests())
    peer = peers.get(BOB)
    for now in range(3):
        peers.on_vanished(BOB, 1100, float(now))
    peer.on_passed(1099)
    assert peer.is_narrow_for(1100, False, 3.0)
    peer.on_passed(1100)
    assert not peer.is_narrow_for(1100, False, 3.0)
    peers.on_vanished(BOB, 1100, 4.0)
    assert not peer.is_narrow_for(1100, False, 4.0)


@pytest.mark.parametrize("size", [106, SURELY_PASSES, MAX_SENT_DATAGRAM + 1])
def test_what_every_path_carries_or_no_datagram_does_says_nothing_of_a_path(size: int) -> None:
    peers = Peers(Requests())
    for now in range(10):
        peers.on_vanished(BOB, size, float(now))
    assert not peers.get(BOB).is_narrow_for(1232, True, 10.0)
