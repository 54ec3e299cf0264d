"""One lookup: stories of good, silent, slow, dead and lying peers.

Rules of this file: nothing is sent and no time passes; each test says what happens, in the order in which it happens.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.counting import Counting, Density, Diversity
from camomile_trio.kademlia.ids import NodeId, as_int
from camomile_trio.kademlia.messages import MAX_CONTACTS
from camomile_trio.kademlia.shortlist import MAX_CANDIDATES, PeerState, Shortlist

TARGET = b"\x00"
OWN = NodeId(b"\xff")


def peer(number: int, *, width: int = 1, host: int = 1) -> Contact:
    """A contact that is `number` away from the target."""
    return Contact(NodeId(number.to_bytes(width, "big")), Endpoint.of(bytes([127, 0, 0, host]), 1 + number % 65535))


def peers(*numbers: int) -> list[Contact]:
    return [peer(number) for number in numbers]


def lookup_from(*numbers: int, k: int = 2, alpha: int = 2) -> Shortlist:
    return Shortlist(TARGET, k=k, alpha=alpha, own=OWN, start=peers(*numbers))


def answers(lookup: Shortlist, number: int, *told: int) -> None:
    lookup.on_reply(peer(number).id, peers(*told))


def has_ended(lookup: Shortlist) -> bool:
    """`finished`, in a form of which the type checker does not believe that it stays as it is."""
    return lookup.finished


# The way of a lookup


def test_the_closest_are_asked_first_and_no_more_than_alpha_at_a_time() -> None:
    lookup = lookup_from(7, 3, 5, 9, k=4, alpha=2)
    assert lookup.next_queries() == peers(3, 5)
    assert lookup.next_queries() == []
    assert (lookup.asked, lookup.count(PeerState.ASKED)) == (2, 2)


def test_one_of_the_alpha_closest_may_be_asked_before_all_others() -> None:
    lookup = lookup_from(7, 3, 5, 9, k=4, alpha=3)
    costs = {3: 2.0, 5: 1.0, 7: 4.0, 9: 0.5}
    assert lookup.first_query(lambda contact: costs[contact.id[0]]) == peer(5)
    assert (lookup.asked, lookup.state(peer(5).id)) == (1, PeerState.ASKED)
    assert lookup.next_queries() == peers(3, 7)


def test_nobody_is_asked_first_if_all_cost_infinitely_much() -> None:
    lookup = lookup_from(7, 3, 5)
    assert lookup.first_query(lambda contact: math.inf) is None
    assert lookup_from().first_query(lambda contact: 1.0) is None
    assert lookup.next_queries() == peers(3, 5)


def test_each_answer_frees_one_slot_for_the_closest_there_is_by_then() -> None:
    lookup = lookup_from(7, 3, 5, 9, k=4, alpha=2)
    lookup.next_queries()
    answers(lookup, 5, 1, 8)
    assert lookup.next_queries() == peers(1)
    answers(lookup, 3)
    assert lookup.next_queries() == peers(7)


def test_it_ends_when_the_k_closest_have_answered_and_asks_nobody_beyond_them() -> None:
    lookup = lookup_from(5, 6, 9, k=2, alpha=3)
    assert lookup.next_queries() == peers(5, 6), "a slot is free, but 9 is not among the two closest"
    answers(lookup, 5, 3, 4)
    assert lookup.next_queries() == peers(3, 4)
    assert not has_ended(lookup)
    answers(lookup, 4)
    assert not has_ended(lookup)
    answers(lookup, 3)
    assert has_ended(lookup), "6 is still in flight, and of no interest any more"
    assert lookup.result() == peers(3, 4)
    assert lookup.next_queries() == []
    assert (lookup.asked, lookup.count(PeerState.ANSWERED)) == (4, 3)


def test_in_a_small_network_it_ends_with_all_there_are() -> None:
    lookup = lookup_from(5, k=4)
    lookup.next_queries()
    answers(lookup, 5, 6)
    lookup.next_queries()
    answers(lookup, 6, 5)
    assert has_ended(lookup)
    assert lookup.result() == peers(5, 6)


def test_with_nobody_to_ask_it_has_ended_before_it_begins() -> None:
    lookup = lookup_from()
    assert has_ended(lookup)
    assert lookup.next_queries() == lookup.result() == []
    assert lookup.hops == 0


def test_before_it_ends_the_result_is_what_has_answered_so_far() -> None:
    lookup = lookup_from(5, 6, 7, k=2, alpha=2)
    lookup.next_queries()
    answers(lookup, 6, 1)
    assert not has_ended(lookup)
    assert lookup.result() == peers(6)


def test_hops_count_the_answers_that_led_to_the_farthest_found() -> None:
    lookup = lookup_from(9, k=2, alpha=1)
    lookup.next_queries()
    assert lookup.hops == 0
    answers(lookup, 9, 5)
    assert lookup.hops == 1
    lookup.next_queries()
    answers(lookup, 5, 1)
    lookup.next_queries()
    answers(lookup, 1, 9, 5)
    assert lookup.result() == peers(1, 5)
    assert lookup.hops == 3


def test_hops_are_those_of_the_result_only() -> None:
    lookup = lookup_from(1, 9, k=1, alpha=2)
    lookup.next_queries()
    answers(lookup, 1)
    assert lookup.hops == 1
    lookup = lookup_from(9, k=2, alpha=1)
    lookup.next_queries()
    answers(lookup, 9, 5, 4)
    assert lookup.next_queries() == peers(4)
    answers(lookup, 4, 1)
    lookup.next_queries()
    answers(lookup, 1, 2)
    lookup.next_queries()
    answers(lookup, 2)
    assert (lookup.result(), lookup.hops) == (peers(1, 2), 4)


def test_how_far_it_got_with_a_peer_can_be_asked() -> None:
    lookup = lookup_from(1, 2, 3, 4, 5, k=5, alpha=4)
    lookup.next_queries()
    answers(lookup, 1)
    lookup.on_overdue(peer(2).id)
    lookup.on_failed(peer(3).id)
    seen = [lookup.state(peer(number).id) for number in range(1, 7)]
    assert seen == [
        PeerState.ANSWERED,
        PeerState.OVERDUE,
        PeerState.FAILED,
        PeerState.ASKED,
        PeerState.UNASKED,
        None,
    ]
    assert [lookup.count(state) for state in PeerState] == [1, 1, 1, 1, 1, 0]


# Silent, slow and dead peers


def test_a_silent_peer_costs_its_slot_for_one_timeout_only() -> None:
    lookup = lookup_from(1, 2, 3, k=2, alpha=1)
    assert lookup.next_queries() == peers(1)
    lookup.on_overdue(peer(1).id)
    assert lookup.next_queries() == peers(2)
    answers(lookup, 2)
    assert lookup.next_queries() == peers(3), "1 is not counted on, so 3 is among the two closest"
    answers(lookup, 3)
    assert has_ended(lookup)
    assert lookup.result() == peers(2, 3)


def test_a_slow_peer_that_answers_late_still_counts() -> None:
    lookup = lookup_from(4, 5, k=2, alpha=2)
    lookup.next_queries()
    lookup.on_overdue(peer(4).id)
    answers(lookup, 4, 1)
    assert lookup.next_queries() == peers(1)
    answers(lookup, 1)
    assert has_ended(lookup)
    assert lookup.result() == peers(1, 4)
    assert lookup.count(PeerState.OVERDUE) == 0


def test_a_late_answer_does_not_free_a_second_slot() -> None:
    lookup = lookup_from(1, 2, 3, 4, 5, k=5, alpha=1)
    lookup.next_queries()
    lookup.on_overdue(peer(1).id)
    assert lookup.next_queries() == peers(2)
    answers(lookup, 1)
    assert lookup.next_queries() == []


def test_while_nobody_has_answered_it_waits_for_the_slowest() -> None:
    lookup = lookup_from(1, 2)
    lookup.next_queries()
    lookup.on_overdue(peer(1).id)
    lookup.on_overdue(peer(2).id)
    assert not has_ended(lookup)
    assert lookup.next_queries() == []
    lookup.on_failed(peer(1).id)
    assert not has_ended(lookup)
    answers(lookup, 2)
    assert has_ended(lookup)
    assert lookup.result() == peers(2)


def test_when_all_are_dead_it_ends_with_nothing() -> None:
    lookup = lookup_from(1, 2, 3)
    asked = []
    while not lookup.finished:
        for contact in lookup.next_queries():
            asked.append(contact)
            lookup.on_overdue(contact.id)
            lookup.on_failed(contact.id)
    assert asked == peers(1, 2, 3)
    assert lookup.result() == []
    assert lookup.count(PeerState.FAILED) == 3


def test_a_dead_peer_frees_its_slot_and_its_place() -> None:
    lookup = lookup_from(1, 2, 3, k=1, alpha=1)
    assert lookup.next_queries() == peers(1)
    lookup.on_failed(peer(1).id)
    assert lookup.next_queries() == peers(2)
    answers(lookup, 2, 1)
    assert has_ended(lookup)
    assert lookup.result() == peers(2)


def test_a_peer_that_failed_is_not_asked_again_at_the_same_endpoint() -> None:
    lookup = lookup_from(1, 5, k=2, alpha=2)
    lookup.next_queries()
    lookup.on_failed(peer(1).id)
    lookup.on_reply(peer(5).id, [peer(1), peer(2)])
    assert lookup.next_queries() == peers(2)


def test_a_peer_that_has_moved_is_asked_where_others_say_it_is() -> None:
    """Two nodes have swapped their addresses: who knows the old ones finds both all the same."""
    lookup = lookup_from(1, 5, k=2, alpha=2)
    lookup.next_queries()
    lookup.on_failed(peer(1).id)
    lookup.on_reply(peer(5).id, [peer(1, host=2)])
    assert lookup.next_queries() == [peer(1, host=2)]
    lookup.on_reply(peer(1).id, [])
    assert lookup.result() == [peer(1, host=2), peer(5)]


def test_the_other_endpoint_waits_until_the_first_has_failed() -> None:
    lookup = lookup_from(1, 5, k=2, alpha=2)
    lookup.next_queries()
    lookup.on_reply(peer(5).id, [peer(1, host=2)])
    assert lookup.next_queries() == []
    lookup.on_overdue(peer(1).id)
    assert lookup.next_queries() == []
    lookup.on_failed(peer(1).id)
    assert lookup.next_queries() == [peer(1, host=2)]


def test_nobody_is_asked_at_a_third_endpoint() -> None:
    lookup = lookup_from(1, 4, 5, k=3, alpha=3)
    lookup.next_queries()
    lookup.on_failed(peer(1).id)
    lookup.on_reply(peer(5).id, [peer(1, host=2)])
    assert lookup.next_queries() == [peer(1, host=2)]
    lookup.on_failed(peer(1).id)
    lookup.on_reply(peer(4).id, [peer(1, host=3)])
    assert lookup.next_queries() == []
    assert lookup.finished


def test_another_endpoint_of_who_has_answered_is_of_no_interest() -> None:
    lookup = lookup_from(1, 5, k=2, alpha=2)
    lookup.next_queries()
    lookup.on_reply(peer(1).id, [])
    assert lookup.on_reply(peer(5).id, [peer(1, host=2)], never) == 0
    assert lookup.next_queries() == []


def test_only_new_endpoints_are_looked_at_and_senseless_ones_left_out() -> None:
    lookup = lookup_from(1, 5, k=3, alpha=3)
    lookup.next_queries()
    looked_at: list[Endpoint] = []

    def is_sensible(endpoint: Endpoint) -> bool:
        looked_at.append(endpoint)
        return endpoint == peer(2).endpoint

    assert lookup.on_reply(peer(1).id, [peer(5), peer(2), peer(3)], is_sensible) == 1
    assert looked_at == [peer(2).endpoint, peer(3).endpoint]
    assert lookup.next_queries() == peers(2)
    assert lookup.state(peer(3).id) is None


def test_a_long_answer_leads_past_the_dead_that_it_begins_with() -> None:
    lookup = lookup_from(1, 2, 9, k=2, alpha=2)
    lookup.next_queries()
    lookup.on_failed(peer(1).id)
    lookup.on_failed(peer(2).id)
    assert lookup.next_queries() == peers(9)
    answers(lookup, 9, 1, 2, 3, 4)
    assert lookup.next_queries() == peers(3, 4)


def test_a_failure_told_twice_is_one_failure() -> None:
    lookup = lookup_from(1, 2, 3, k=3, alpha=1)
    lookup.next_queries()
    lookup.on_failed(peer(1).id)
    lookup.on_failed(peer(1).id)
    assert lookup.count(PeerState.FAILED) == 1
    assert lookup.next_queries() == peers(2)


def test_a_peer_that_cannot_be_asked_is_out_before_it_was_asked() -> None:
    lookup = lookup_from(1, 2, k=1)
    lookup.on_failed(peer(1).id)
    assert lookup.next_queries() == peers(2)
    assert (lookup.asked, lookup.count(PeerState.ASKED)) == (1, 1)


def test_an_answer_after_the_deadline_comes_too_late() -> None:
    lookup = lookup_from(1, 2)
    lookup.next_queries()
    lookup.on_failed(peer(1).id)
    answers(lookup, 1, 3)
    assert lookup.state(peer(1).id) is PeerState.FAILED
    assert lookup.state(peer(3).id) is None


@pytest.mark.parametrize("event", [Shortlist.on_overdue, Shortlist.on_failed])
def test_who_has_answered_can_no_longer_be_overdue_or_fail(event: Callable[[Shortlist, NodeId], None]) -> None:
    lookup = lookup_from(1)
    lookup.next_queries()
    answers(lookup, 1)
    event(lookup, peer(1).id)
    assert has_ended(lookup)
    assert lookup.result() == peers(1)


@pytest.mark.parametrize("event", [Shortlist.on_overdue, Shortlist.on_failed])
def test_the_troubles_of_a_stranger_are_not_ours(event: Callable[[Shortlist, NodeId], None]) -> None:
    lookup = lookup_from(1)
    event(lookup, peer(2).id)
    assert lookup.state(peer(2).id) is None


def test_who_was_not_asked_cannot_be_overdue() -> None:
    lookup = lookup_from(1)
    lookup.on_overdue(peer(1).id)
    assert lookup.next_queries() == peers(1)


# Lying peers


def test_nobody_is_heard_who_was_not_asked() -> None:
    lookup = lookup_from(1, 2, k=2, alpha=1)
    lookup.next_queries()
    answers(lookup, 2, 0)
    answers(lookup, 9, 0)
    assert lookup.count(PeerState.ANSWERED) == 0
    assert lookup.state(peer(0).id) is None


def test_nobody_is_heard_twice() -> None:
    lookup = lookup_from(5, 6)
    lookup.next_queries()
    answers(lookup, 5)
    answers(lookup, 5, 1)
    assert lookup.count(PeerState.ANSWERED) == 1
    assert lookup.state(peer(1).id) is None


def test_a_peer_that_names_itself_and_us_gains_nothing() -> None:
    lookup = lookup_from(5)
    lookup.next_queries()
    lookup.on_reply(peer(5).id, [peer(5, host=9), Contact(OWN, peer(1).endpoint)])
    assert lookup.next_queries() == []
    assert has_ended(lookup)
    assert lookup.result() == peers(5)


def test_we_are_not_asked_when_our_own_table_names_us() -> None:
    own = NodeId(b"\x01")
    lookup = Shortlist(TARGET, k=2, alpha=2, own=own, start=peers(1, 2))
    assert lookup.next_queries() == peers(2)


def test_the_endpoint_that_was_told_first_stands() -> None:
    lookup = lookup_from(5, 6, 7, k=4, alpha=2)
    lookup.next_queries()
    lookup.on_reply(peer(5).id, [peer(1), peer(1, host=9)])
    lookup.on_reply(peer(6).id, [peer(1, host=8), peer(7, host=8)])
    assert lookup.next_queries() == peers(1, 7)


def test_far_nodes_that_a_liar_names_are_not_asked() -> None:
    lookup = lookup_from(1, 2, k=2, alpha=2)
    lookup.next_queries()
    answers(lookup, 1, *range(100, 140))
    answers(lookup, 2, *range(140, 180))
    assert has_ended(lookup)
    assert lookup.next_queries() == []
    assert lookup.asked == 2


def test_junk_from_one_liar_costs_no_more_than_alpha_timeouts_at_once_and_one_more() -> None:
    lookup = lookup_from(200, 201, k=4, alpha=2)
    lookup.next_queries()
    answers(lookup, 200, *range(128, 0, -1))
    answers(lookup, 201, 150, 151, 152, 153)
    junk = []
    while not lookup.finished:
        for contact in lookup.next_queries():
            if as_int(contact.id) < 129:
                junk.append(contact)
                lookup.on_overdue(contact.id)
            else:
                lookup.on_reply(contact.id, peers(150, 151, 152, 153))
    assert junk == peers(1, 2, 3)
    assert lookup.result() == peers(150, 151, 152, 153)


def test_of_one_answer_no_more_is_read_than_may_be_in_it() -> None:
    lookup = lookup_from(250, k=MAX_CONTACTS + 50)
    lookup.next_queries()
    told = iter(peers(*range(1, 200)))
    lookup.on_reply(peer(250).id, told)
    assert lookup.count(PeerState.UNASKED) == MAX_CONTACTS
    assert next(told) == peer(MAX_CONTACTS + 1)


def test_sybils_that_invent_ever_closer_ones_cannot_keep_a_lookup_for_ever() -> None:
    target = bytes(32)
    number = 1 << 255
    liar = peer(number, width=32)
    lookup = Shortlist(target, k=20, alpha=3, own=None, start=[liar])
    while not lookup.finished:
        for contact in lookup.next_queries():
            number -= 100
            lookup.on_reply(contact.id, [peer(number + step, width=32) for step in range(20)])
    assert lookup.asked <= MAX_CANDIDATES
    assert len(lookup.result()) == 20


def test_a_flood_pushes_out_the_farthest_who_were_not_asked_and_nobody_else() -> None:
    def far(number: int) -> Contact:
        return peer(number, width=2)

    first = [far(number) for number in range(1000, 1000 + MAX_CANDIDATES)]
    lookup = Shortlist(bytes(2), k=3, alpha=3, own=None, start=first)
    asked = lookup.next_queries()
    assert asked == first[:3]
    lookup.on_failed(asked[0].id)
    lookup.on_overdue(asked[1].id)
    lookup.on_reply(asked[2].id, [far(1), far(2), far(50_000)])
    assert lookup.state(far(50_000).id) is None, "farther than all there are"
    assert [lookup.state(contact.id) for contact in first[-3:]] == [PeerState.UNASKED, None, None]
    assert [lookup.state(contact.id) for contact in asked] == [PeerState.FAILED, PeerState.OVERDUE, PeerState.ANSWERED]
    assert sum(lookup.count(state) for state in PeerState) == MAX_CANDIDATES
    assert lookup.next_queries() == [far(1), far(2)], "the third of the three closest has answered"


def test_once_as_many_were_asked_as_may_be_nobody_new_is_admitted() -> None:
    start = [peer(number, width=2) for number in range(1000, 1000 + MAX_CANDIDATES)]
    lookup = Shortlist(bytes(2), k=MAX_CANDIDATES, alpha=MAX_CANDIDATES, own=None, start=start)
    assert len(lookup.next_queries()) == MAX_CANDIDATES
    lookup.on_reply(start[0].id, [peer(1, width=2)])
    assert lookup.state(peer(1, width=2).id) is None
    for contact in start[1:]:
        lookup.on_failed(contact.id)
    assert has_ended(lookup)
    assert lookup.result() == start[:1]


def never(endpoint: Endpoint) -> bool:
    """Who is asked about an endpoint that is no news."""
    raise AssertionError(f"{endpoint} is known")


# Those that are certain


def test_those_within_reach_are_asked_at_once_and_nobody_else_beside_them() -> None:
    lookup = lookup_from(1, 3, 5, 9, 12, k=4, alpha=2)
    assert lookup.next_queries(reach=5) == peers(1, 3, 5)
    assert lookup.next_queries(reach=5) == []
    answers(lookup, 1)
    assert lookup.next_queries(reach=5) == []
    answers(lookup, 3)
    assert lookup.next_queries(reach=5) == peers(9)


def test_a_wide_reach_asks_no_more_than_the_k_closest() -> None:
    lookup = lookup_from(1, 3, 5, 9, k=2, alpha=1)
    assert lookup.next_queries(reach=100) == peers(1, 3)


def test_those_that_have_answered_are_told_apart_by_reach() -> None:
    lookup = lookup_from(1, 3, 5, k=2, alpha=3)
    lookup.next_queries()
    answers(lookup, 3)
    assert lookup.answered_within(-1) == []
    assert lookup.answered_within(2) == []
    assert lookup.answered_within(3) == peers(3)
    lookup.on_overdue(peer(1).id)
    assert lookup.candidates() == peers(3, 5)


# Answers that had no room for their last contacts


def shortened(lookup: Shortlist, number: int, *told: int) -> None:
    lookup.on_reply(peer(number).id, peers(*told), is_shortened=True)


def test_the_nearest_are_asked_again_for_what_their_answers_had_no_room_for() -> None:
    lookup = lookup_from(2, 6, k=3, alpha=1)
    assert lookup.next_queries() == peers(2)
    shortened(lookup, 2, 4)
    assert lookup.next_queries() == peers(4), "whoever has not been asked comes first"
    answers(lookup, 4, 2, 6)
    assert lookup.next_queries() == peers(6)
    answers(lookup, 6, 2, 4)
    assert not has_ended(lookup), "2 may know one that is nearer than 6, and farther than 4"
    assert lookup.next_queries() == peers(2)
    assert lookup.next_queries() == []
    assert lookup.result() == peers(2, 4, 6), "it has answered, meanwhile too"
    answers(lookup, 2, 4, 5, 6)
    assert lookup.next_queries() == peers(5)
    answers(lookup, 5)
    assert has_ended(lookup)
    assert lookup.result() == peers(2, 4, 5)


def test_a_shortened_answer_that_reaches_beyond_the_k_closest_is_as_good_as_a_full_one() -> None:
    lookup = lookup_from(1, k=2, alpha=1)
    lookup.next_queries()
    shortened(lookup, 1, 3, 4)
    assert lookup.next_queries() == peers(3)
    answers(lookup, 3, 1)
    assert has_ended(lookup)


def test_only_the_closest_few_are_asked_again_and_once() -> None:
    lookup = lookup_from(1, 2, 3, k=4, alpha=1)
    assert lookup.next_queries() == peers(1)
    shortened(lookup, 1, 2)
    assert lookup.next_queries() == peers(2)
    shortened(lookup, 2, 1)
    assert lookup.next_queries() == peers(3)
    shortened(lookup, 3, 1)
    assert lookup.next_queries() == peers(1, 2), "twice alpha of them, at once"
    shortened(lookup, 1, 2)
    assert lookup.next_queries() == []
    assert not has_ended(lookup)
    shortened(lookup, 2, 1)
    assert lookup.next_queries() == []
    assert has_ended(lookup)
    assert lookup.asked == 5


@pytest.mark.parametrize("fate", ["on_overdue", "on_failed"])
def test_one_that_does_not_answer_again_stays_one_that_has_answered(fate: str) -> None:
    lookup = lookup_from(1, k=2, alpha=1)
    lookup.next_queries()
    shortened(lookup, 1)
    assert lookup.next_queries() == peers(1)
    assert not has_ended(lookup)
    getattr(lookup, fate)(peer(1).id)
    assert has_ended(lookup)
    answers(lookup, 1, 2)
    assert has_ended(lookup), "it came too late"
    assert lookup.result() == peers(1)
    assert lookup.silent() == []


# Which candidates matter (the cover of `counting.py`)


@attrs.define
class Known:
    """What a table knows."""

    density: Density | None = None
    diversity: Diversity | None = None
    version: int = 0

    def density_at(self, target: int) -> Density | None:
        return self.density


# In a network of 256 nodes with ids of two bytes the next one is 256 farther.
EVEN = [peer(256 * place, width=2, host=2) for place in range(1, 100)]


def counting_lookup(start: list[Contact], *, k: int = 8, known: Known | None = None) -> Shortlist:
    known = known or Known(Density(k, 256 * k, 1))
    rule = Counting(bytes(2), known)
    return Shortlist(bytes(2), k=k, alpha=3, own=None, start=start, counting=rule)


def look(lookup: Shortlist, knowing: list[Contact], *, silent: list[Contact] | None = None) -> None:
    """Until it ends. All answer, but for the silent, and name the closest three of those that are known."""
    while queries := lookup.next_queries():
        for contact in queries:
            if contact in (silent or []):
                lookup.on_overdue(contact.id)
                lookup.on_failed(contact.id)
            else:
                lookup.on_reply(contact.id, knowing[:3])


def test_among_nodes_that_are_spread_evenly_the_k_closest_are_asked() -> None:
    lookup = counting_lookup(EVEN[:40])
    look(lookup, EVEN)
    assert lookup.finished
    assert lookup.result() == lookup.counted() == EVEN[:8]
    assert [contact for contact in EVEN if lookup.counts(contact)] == EVEN[:8]
    assert lookup.asked == 8


def test_ids_beside_a_target_are_asked_and_honest_nodes_behind_them_as_well() -> None:
    liars = [peer(number, width=2) for number in range(1, 9)]
    both = sorted([*liars, *EVEN], key=lambda each: each.id)
    lookup = counting_lookup(both)
    look(lookup, both)
    assert lookup.finished
    assert lookup.result() == both[: lookup.asked]
    counted = lookup.counted()
    lies = [contact for contact in counted if contact in liars]
    assert len(lies) <= 2
    assert len(counted) >= 8
    assert lookup.edge == as_int(lookup.result()[-1].id)
    assert set(EVEN[:6]) < set(counted)
    assert not lookup.is_inconclusive()


def test_liars_that_are_silent_leave_a_lookup_conclusive_and_honest_nodes_that_are_do_not() -> None:
    liars = [peer(number, width=2) for number in range(1, 9)]
    both = [*liars, *EVEN]
    lookup = counting_lookup(both)
    look(lookup, both, silent=liars)
    assert lookup.finished
    assert lookup.result() == EVEN[:8]
    assert lookup.silent() == liars
    assert not lookup.is_inconclusive()
    lookup = counting_lookup(EVEN[:60])
    look(lookup, EVEN, silent=EVEN[:6])
    assert lookup.result() == EVEN[6:14]
    assert lookup.is_inconclusive(), "most of the eight closest are silent"


def test_those_of_one_source_network_are_asked_and_more_beyond_them() -> None:
    crowd = [Contact(peer(number, width=2).id, Endpoint.from_host(f"198.18.1.{number}", 1)) for number in range(1, 7)]
    known = Known(diversity=Diversity())
    lookup = counting_lookup([*crowd, *EVEN], known=known)
    look(lookup, EVEN)
    assert lookup.result() == crowd + EVEN[:6]
    assert lookup.counted() == crowd[:2] + EVEN[:6]
    assert [contact for contact in (*crowd, *EVEN) if lookup.counts(contact)] == crowd[:2] + EVEN[:6]


def test_what_is_learned_of_the_network_while_a_lookup_goes_on_counts() -> None:
    """A node that joins knows little at first: it goes on farther, until it knows who is around."""
    known = Known(Density(2, 1 << 16, 1))
    lookup = counting_lookup(EVEN[:60], known=known)
    assert lookup.next_queries() == EVEN[:3]
    assert lookup.edge == as_int(EVEN[59].id)
    known.density, known.version = Density(8, 256 * 8, 1), 1
    assert lookup.edge == as_int(EVEN[7].id)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_the_cover_is_that_of_the_hopeful_whatever_has_happened(data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(1, 40) | st.integers(1, 60_000), min_size=1, max_size=90, unique=True))
    people = [peer(number, width=2) for number in ids]
    begin = data.draw(st.integers(1, len(people)))
    known = Known(Density(5, data.draw(st.integers(1, 1 << 16)), 1))
    lookup = counting_lookup(people[:begin], k=5, known=known)
    asked: list[Contact] = []
    for _ in range(data.draw(st.integers(0, 40))):
        asked += lookup.next_queries()
        if not asked:
            break
        contact = data.draw(st.sampled_from(asked))
        happening = data.draw(st.sampled_from(["answers", "is overdue", "fails"]))
        if happening == "answers":
            lookup.on_reply(contact.id, data.draw(st.lists(st.sampled_from(people), max_size=5)))
        elif happening == "is overdue":
            lookup.on_overdue(contact.id)
        else:
            lookup.on_failed(contact.id)
        cover = Counting(bytes(2), known).cover(lookup.candidates(), 5)
        expected = lookup.candidates()[: cover.width]
        assert lookup.edge == (as_int(expected[-1].id) if expected else 0)
        is_answered = all(lookup.state(each.id) is PeerState.ANSWERED for each in expected)
        if not lookup.finished:
            nobody_yet = not lookup.count(PeerState.ANSWERED) and lookup.count(PeerState.OVERDUE)
            assert nobody_yet or not is_answered
        elif expected:
            assert is_answered
            assert lookup.result() == expected
            assert lookup.counted() == cover.counted
