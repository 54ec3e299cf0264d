"""How far a lookup goes by the word of one party: stories of liars, and of honest peers that name the dead.

Rules of this file: nothing is sent and no time passes. A peer below 100 is `number` away from the target; who names it
is told by the test.
"""

from __future__ import annotations

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.parties import Party
from camomile_trio.kademlia.shortlist import MAX_CANDIDATES, MOST_TELLERS, PeerState, Shortlist
from tests.kademlia.test_shortlist import OWN, TARGET, answers, has_ended, peer, peers

# Known to the node that looks. The first two are of one party.
LIAR, ACCOMPLICE, HONEST, OTHER = 200, 201, 202, 203


def party_of(contact: Contact) -> bytes:
    number = contact.id[0]
    return b"liars" if number in (LIAR, ACCOMPLICE) else bytes([number])


def a_lookup(*start: int, k: int = 8, alpha: int = 3) -> Shortlist:
    """All of the start have been asked."""
    lookup = Shortlist(TARGET, k=k, alpha=alpha, own=OWN, start=peers(*start), party_of=party_of)
    lookup.next_queries()
    return lookup


def silence(lookup: Shortlist, *numbers: int) -> None:
    for number in numbers:
        lookup.on_overdue(peer(number).id)


def states(lookup: Shortlist, *numbers: int) -> set[PeerState | None]:
    return {lookup.state(peer(number).id) for number in numbers}


def test_a_window_is_halved_by_each_silence_and_widened_by_each_answer() -> None:
    party = Party(8)
    asked = [party.ask() for _ in range(8)]
    assert not party.has_room
    asked.pop().on_silence()
    assert (party.window, party.under_way, party.rounds) == (4, 7, 1)
    asked.pop().on_silence()  # of the same round
    assert (party.window, party.rounds) == (2, 1)
    for _ in range(3):
        asked.pop().on_silence()
    assert (party.window, party.under_way, party.rounds) == (1, 3, 1)
    asked.pop().on_answer()
    assert (party.window, party.under_way) == (2, 2)
    asked.pop().on_nothing()
    assert (party.window, party.under_way, party.has_room) == (2, 1, True)
    assert not party.is_over


def test_of_names_that_are_all_dead_alpha_are_tried_and_one_more() -> None:
    lookup = a_lookup(LIAR, HONEST)
    answers(lookup, LIAR, *range(1, 9))
    answers(lookup, HONEST, 50, 51)
    assert lookup.next_queries() == peers(1, 2, 3)
    silence(lookup, 1)
    # One of the liar's is under way still, so the slot is for the next that another one has named.
    assert lookup.next_queries() == peers(50)
    silence(lookup, 2, 3)
    assert lookup.next_queries() == peers(4, 51)
    silence(lookup, 4)
    assert states(lookup, 5, 6, 7, 8) == {PeerState.SET_ASIDE}
    answers(lookup, 50)
    answers(lookup, 51)
    assert has_ended(lookup)
    assert lookup.result() == peers(50, 51, LIAR, HONEST)


def test_those_of_one_source_network_are_one_party() -> None:
    lookup = a_lookup(LIAR, ACCOMPLICE, HONEST)
    answers(lookup, LIAR, *range(1, 6))
    answers(lookup, ACCOMPLICE, *range(11, 16))
    answers(lookup, HONEST)
    silence(lookup, *(each.id[0] for each in lookup.next_queries()))
    (last,) = lookup.next_queries()
    silence(lookup, last.id[0])
    assert lookup.next_queries() == []
    assert has_ended(lookup)


def test_a_node_that_another_party_names_too_is_asked_by_that_ones_word() -> None:
    lookup = a_lookup(LIAR, HONEST, alpha=4)
    answers(lookup, LIAR, *range(1, 9))
    assert lookup.next_queries() == peers(1, 2, 3)
    silence(lookup, 1, 2, 3)
    assert lookup.next_queries() == peers(4)
    silence(lookup, 4)
    assert states(lookup, 5, 6, 7, 8) == {PeerState.SET_ASIDE}
    answers(lookup, HONEST, 6, 8)
    assert lookup.next_queries() == peers(6, 8)


def test_a_late_answer_takes_back_what_its_silence_did() -> None:
    """As where the first round trip is longer than the timeout before it is known."""
    lookup = a_lookup(HONEST, OTHER)
    answers(lookup, HONEST, *range(1, 9))
    answers(lookup, OTHER)
    lookup.next_queries()
    silence(lookup, 1, 2, 3)
    assert lookup.next_queries() == peers(4)
    silence(lookup, 4)
    assert states(lookup, 5, 6, 7, 8) == {PeerState.SET_ASIDE}
    answers(lookup, 1)
    assert states(lookup, 5, 6, 7, 8) == {PeerState.UNASKED}
    answers(lookup, 2)
    answers(lookup, 3)
    answers(lookup, 4)
    assert lookup.next_queries() == peers(5, 6, 7)


def test_one_that_was_silent_shortly_before_costs_no_round() -> None:
    lookup = a_lookup(HONEST)
    answers(lookup, HONEST, *range(1, 9))
    for number in range(1, 8):
        assert peer(number) in lookup.next_queries() or lookup.state(peer(number).id) is PeerState.ASKED
        lookup.on_overdue(peer(number).id, is_suspect=True)
    lookup.next_queries()
    assert states(lookup, 8) == {PeerState.ASKED}


def test_what_the_node_that_looks_knows_by_itself_is_not_bounded() -> None:
    lookup = a_lookup(HONEST)
    lookup.on_reply(peer(HONEST).id, peers(*range(1, 8)), knows=lambda contact: True)
    for number in range(1, 8):
        lookup.next_queries()
        assert lookup.tellers(peer(number).id) == ()
        silence(lookup, number)
    assert lookup.count(PeerState.OVERDUE) == 7
    assert lookup.silent() == peers(*range(1, 8))


def test_silent_are_only_those_that_more_than_one_party_has_named_or_that_are_known() -> None:
    lookup = a_lookup(LIAR, ACCOMPLICE, HONEST, k=3)
    answers(lookup, LIAR, 1, 2)
    answers(lookup, ACCOMPLICE, 1, 2)
    answers(lookup, HONEST, 2)
    lookup.next_queries()
    silence(lookup, 1, 2)
    assert lookup.silent() == peers(2)


def test_an_endpoint_where_a_liar_names_a_node_does_not_keep_it_from_being_asked_where_it_is() -> None:
    lookup = a_lookup(LIAR, HONEST)
    wrong = [peer(number, host=9) for number in range(1, 9)]
    lookup.on_reply(peer(LIAR).id, wrong)
    answers(lookup, HONEST, *range(1, 9))
    lookup.next_queries()
    silence(lookup, 1, 2, 3)  # the liar's first three: they are asked where the honest one has named them
    asked = [1, 2, 3]
    for _ in range(10):
        for contact in lookup.next_queries():
            if contact.endpoint == peer(contact.id[0]).endpoint:
                answers(lookup, contact.id[0])
            else:
                asked.append(contact.id[0])
                silence(lookup, contact.id[0])
    assert asked == [1, 2, 3, 4]
    assert has_ended(lookup)
    assert lookup.result() == peers(*range(1, 9))


def test_one_that_nobody_can_pay_for_waits_for_an_answer_and_no_longer() -> None:
    lookup = a_lookup(HONEST, OTHER)
    answers(lookup, HONEST, 1, 2)
    assert lookup.next_queries() == peers(1, 2)
    lookup.on_unpaid(peer(2).id)
    assert lookup.next_queries() == []
    answers(lookup, 1)
    assert lookup.next_queries() == peers(2)
    lookup.on_unpaid(peer(2).id)
    assert lookup.next_queries() == []  # the other one of the start is under way
    answers(lookup, OTHER, 2)
    assert lookup.next_queries() == peers(2)
    assert lookup.tellers(peer(2).id) == (peer(HONEST), peer(OTHER))
    lookup.on_unpaid(peer(2).id)
    assert lookup.next_queries() == []
    assert lookup.state(peer(2).id) is PeerState.SET_ASIDE
    assert has_ended(lookup)
    assert lookup.asked == 3


def test_only_a_few_tellers_are_remembered_and_none_twice() -> None:
    start = list(range(200, 208))
    lookup = Shortlist(TARGET, k=8, alpha=8, own=OWN, start=peers(*start), party_of=party_of)
    lookup.next_queries()
    for number in start:
        answers(lookup, number, 1)
    assert lookup.tellers(peer(1).id) == tuple(peers(*start[:MOST_TELLERS]))


def test_names_that_were_set_aside_make_room_for_others() -> None:
    start = [peer(60_000 + number, width=2) for number in range(41)]
    honest = start.pop()
    lookup = Shortlist(
        bytes(2),
        k=41,
        alpha=41,
        own=None,
        start=[*start, honest],
        party_of=lambda contact: b"honest" if contact == honest else b"liars",
    )
    lookup.next_queries()
    lookup.on_reply(start[0].id, [peer(number, width=2) for number in (1, 2)])
    for number in (1, 2):
        assert lookup.next_queries() == [peer(number, width=2)] or number == 2
        lookup.on_overdue(peer(number, width=2).id)
    for number, each in enumerate(start[1:]):
        lookup.on_reply(each.id, [peer(1000 + 20 * number + other, width=2) for other in range(20)])
        for contact in lookup.next_queries():
            lookup.on_overdue(contact.id)
    assert sum(lookup.count(state) for state in PeerState) == MAX_CANDIDATES
    assert lookup.count(PeerState.SET_ASIDE) > 400
    lookup.on_reply(honest.id, [peer(number, width=2) for number in range(100, 110)])
    assert lookup.next_queries() == [peer(number, width=2) for number in range(100, 110)]
    assert sum(lookup.count(state) for state in PeerState) == MAX_CANDIDATES
