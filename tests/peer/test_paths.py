"""What is remembered of the path to a contact: round trips by the numbers of RFC 6298, silence, sizes, and bounds."""

from __future__ import annotations

import math

import pytest

from camomile_trio.config import Requests
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.peer.packets import LARGEST_DATAGRAM
from camomile_trio.peer.paths import NARROW_FOR, SURELY_PASSES, Path, Paths


def contact(number: int, address: int = 1) -> Contact:
    return Contact.of(number.to_bytes(32, "big"), Endpoint.of(address.to_bytes(4, "big"), 8118))


BOB = contact(1)


def path_to_bob(settings: Requests | None = None, *round_trips: float) -> Path:
    paths = Paths(settings or Requests())
    for round_trip in round_trips:
        paths.on_answer(BOB, 0.0, round_trip, 0)
    return paths.get(BOB)


def test_a_contact_that_was_never_asked_has_the_first_timeout() -> None:
    assert path_to_bob().rto == 0.25
    assert not path_to_bob().is_answering


def test_round_trips_are_smoothed_as_rfc_6298_says() -> None:
    """§2.2: SRTT = R, RTTVAR = R/2. §2.3, for each further one: RTTVAR = 3/4 RTTVAR + 1/4 |SRTT - R'|, with the SRTT
    from before; SRTT = 7/8 SRTT + 1/8 R'. The timeout is SRTT + 4 RTTVAR."""
    path = path_to_bob(None, 0.1)
    assert (path.smoothed, path.variation) == (0.1, 0.05)
    assert path.rto == pytest.approx(0.3)
    path.on_answer(1.0, 0.2)
    assert path.variation == pytest.approx(0.75 * 0.05 + 0.25 * 0.1)
    assert path.smoothed == pytest.approx(0.875 * 0.1 + 0.125 * 0.2)
    assert path.rto == pytest.approx(0.1125 + 4 * 0.0625)
    for _ in range(200):
        path.on_answer(2.0, 0.2)
    assert path.smoothed == pytest.approx(0.2)
    assert path.rto == pytest.approx(0.25, abs=1e-3)


def test_a_peer_that_never_varies_may_still_be_a_little_late() -> None:
    """§2.3: SRTT + max(G, 4 RTTVAR). Without the floor the first answer that waits in a queue comes after it."""
    assert path_to_bob(Requests(least_rto=0.05), *[0.08] * 200).rto == pytest.approx(0.08 + 0.05)


def test_the_timeout_stays_within_its_bounds() -> None:
    assert path_to_bob(None, 0.0001).rto == pytest.approx(0.0501)
    assert path_to_bob(None, 1.9).rto == 1.0


def test_an_answer_to_either_of_two_transmissions_is_no_sample() -> None:
    """Karn's rule: which of the two it answers is not known."""
    path = path_to_bob(None, 0.1)
    before = (path.smoothed, path.variation, path.rto)
    path.on_answer(1.0, None)
    assert (path.smoothed, path.variation, path.rto) == before
    assert path.is_answering


def test_a_retransmission_doubles_the_time_to_the_next_until_there_is_a_sample() -> None:
    path = path_to_bob()
    path.on_retransmitted()
    assert path.resend_after == 0.5
    for _ in range(100):
        path.on_retransmitted()
    assert path.resend_after == 1.0  # the most
    assert path.rto == 0.25  # it is overdue as soon as ever
    path.on_answer(0.0, None)
    assert path.resend_after == 1.0
    path.on_answer(0.0, 0.1)
    assert path.rto == pytest.approx(0.3)
    assert path.resend_after == pytest.approx(0.3)


def test_what_is_usual_is_told_without_the_slack() -> None:
    path = path_to_bob(None, 0.004)
    assert path.usual == pytest.approx(0.012)
    assert path.rto == pytest.approx(0.054)


def test_the_shortest_round_trip_tells_how_far_away_a_peer_is() -> None:
    assert path_to_bob().least == math.inf
    assert path_to_bob(None, 0.3, 0.004, 0.2).least == 0.004


def test_a_contact_that_is_overdue_twice_in_turn_is_suspect_until_it_answers() -> None:
    path = path_to_bob()
    for sent_at, now in ((0.0, 0.25), (0.1, 0.35)):  # the second was under way when the first became overdue
        path.on_overdue(sent_at, now)
        assert not path.is_suspect(now)
    path.on_overdue(0.3, 0.55)
    assert path.is_suspect(0.55)
    path.on_answer(0.6, None)
    assert not path.is_suspect(0.6)
    path.on_overdue(0.7, 0.95)
    assert not path.is_suspect(0.95)


def test_a_missed_deadline_is_held_against_it_for_a_minute_or_until_it_answers() -> None:
    path = path_to_bob(None, 0.1)
    path.on_missed(10.0)
    assert path.is_suspect(69.9)
    assert not path.is_suspect(70.0)
    assert not path.is_answering
    path.on_missed(80.0)
    path.on_answer(81.0, None)
    assert not path.is_suspect(81.0)


def test_the_flags_are_those_of_the_latest_answer() -> None:
    paths = Paths(Requests())
    for flags in (3, 1):
        paths.on_answer(BOB, 0.0, None, flags)
        assert paths.get(BOB).flags == flags


def test_the_same_node_at_a_wrong_address_has_a_path_of_its_own() -> None:
    paths = Paths(Requests())
    paths.on_answer(BOB, 0.0, 0.1, 0)
    paths.get(contact(1, 2)).on_missed(1.0)
    assert not paths.get(BOB).is_suspect(1.0)


def test_a_flood_of_names_makes_us_forget_no_peer_that_has_answered() -> None:
    paths = Paths(Requests(max_peers=64))
    known = paths.on_answer(BOB, 0.0, 0.1, 0)
    for number in range(1000):
        paths.get(contact(2 + number))
    assert paths.known(BOB) is known
    assert len(paths) == 65
    assert paths.forgotten == 1000 - 64


def test_the_one_used_least_recently_is_forgotten_first() -> None:
    paths = Paths(Requests(max_peers=64))
    for number in range(64):
        paths.get(contact(number))
        paths.on_answer(contact(1000 + number), 0.0, 0.1, 0)
    paths.get(contact(0))
    paths.get(contact(1000))
    paths.get(contact(5000))
    paths.on_answer(contact(6000), 0.0, 0.1, 0)
    assert paths.known(contact(0)) is not None
    assert paths.known(contact(1)) is None
    assert paths.known(contact(1000)) is not None
    assert paths.known(contact(1001)) is None
    assert len(paths) <= 128


def test_all_paths_that_are_in_use_are_spared_once_and_there_is_always_one_to_forget() -> None:
    paths = Paths(Requests(max_peers=64))
    for number in range(64):
        paths.get(contact(number))
        paths.get(contact(number)).was_used = True
    paths.get(contact(1000))
    assert len(paths) == 64
    assert paths.known(contact(0)) is None  # all were used, and it was the oldest
    paths.get(contact(1001))
    assert paths.known(contact(1)) is None


def test_a_path_that_was_forgotten_says_so() -> None:
    paths = Paths(Requests(max_peers=64))
    kept = [paths.on_answer(contact(number), 0.0, 0.1, 0) for number in range(65)]
    assert [path.is_kept for path in kept] == [False] + [True] * 64
    assert paths.answered(contact(0)) is not kept[0]


def test_a_path_is_narrow_after_three_exchanges_in_turn_that_only_a_stream_carried() -> None:
    path = path_to_bob()
    for now in (0.0, 1.0):
        path.on_vanished(1200, now)
    assert not path.is_narrow_for(1200, False, 1.0)
    path.on_vanished(1100, 2.0)
    assert path.is_narrow_for(1100, False, 2.0)
    assert not path.is_narrow_for(1099, False, 2.0)
    assert path.is_narrow_for(106, True, 2.0)  # the answer may be as large
    assert not path.is_narrow_for(1200, True, 2.0 + NARROW_FOR)
    path.on_vanished(1200, 2.0 + NARROW_FOR)  # tried again, and it is as it was
    assert path.is_narrow_for(1200, False, 2.0 + NARROW_FOR)


def test_a_datagram_as_large_as_what_was_lost_shows_that_it_was_chance() -> None:
    path = path_to_bob()
    for now in range(3):
        path.on_vanished(1100, float(now))
    path.on_passed(1099)
    assert path.is_narrow_for(1100, False, 3.0)
    path.on_passed(1100)
    assert not path.is_narrow_for(1100, False, 3.0)
    path.on_vanished(1100, 4.0)
    assert not path.is_narrow_for(1100, False, 4.0)


@pytest.mark.parametrize("size", [106, SURELY_PASSES, LARGEST_DATAGRAM + 1])
def test_what_every_path_carries_or_no_datagram_does_says_nothing_of_a_path(size: int) -> None:
    path = path_to_bob()
    for now in range(10):
        path.on_vanished(size, float(now))
    assert not path.is_narrow_for(1232, True, 10.0)
