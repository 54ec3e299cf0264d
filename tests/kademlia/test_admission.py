"""What a holder accepts of publishers (rules 2, 3, 4, 5, 6, 8 and 9)."""

from __future__ import annotations

import attrs
import pytest

from camomile_trio.kademlia.admission import Admission, Verdict, admit, is_against_clock
from camomile_trio.kademlia.records import PublisherKey, Record
from camomile_trio.kademlia.registers import (
    CARRIED,
    PUBLISHED,
    REPLICATED,
    RULES,
    KeyState,
    answer,
    expire,
    is_live,
    is_served,
    offered,
    said,
)
from tests.kademlia.record_builders import (
    ALICE,
    BOB,
    CAROL,
    DAY,
    HOUR,
    KEY,
    NOW,
    SECOND,
    SIZE,
    UPTIME,
    holding,
    lease,
    publisher,
    tombstone,
)

EMPTY = KeyState(KEY)
SKEW = RULES.max_skew


def offer(state: KeyState, record: Record, *, now: int = NOW, with_value: bool = True) -> Admission:
    return admit(state, record, now=now, value_size=SIZE if with_value else None)


def winner(state: KeyState, by: PublisherKey = ALICE) -> Record:
    register = state.register(by)
    assert register is not None
    return register.record


def test_a_first_lease_is_stored_with_its_value() -> None:
    admission = offer(EMPTY, lease())
    assert admission.verdict is Verdict.STORED
    assert admission.changed
    assert admission.state.size == SIZE
    assert winner(admission.state) == lease()
    assert is_served(admission.state, NOW)


# Rule 2: merging is the maximum.


def test_a_later_put_replaces_the_lease_and_keeps_the_stored_value() -> None:
    admission = offer(holding(lease(seq=1)), lease(seq=2), with_value=False)
    assert admission.verdict is Verdict.STORED
    assert winner(admission.state).seq == 2
    assert admission.state.size == SIZE
    assert len(admission.state.registers) == 1


def test_the_same_record_again_changes_nothing_and_counts_as_stored() -> None:
    held = holding(lease())
    admission = offer(held, lease(), now=NOW + HOUR, with_value=False)
    assert (admission.verdict, admission.changed, admission.state) == (Verdict.SAME, False, held)


def test_two_renewals_of_one_stamp_are_the_same_to_whoever_offers_them_but_converge() -> None:
    lesser, greater = lease(signature=bytes(64)), lease(signature=b"\x01" * 64)
    late = offer(holding(greater), lesser)
    assert (late.verdict, late.state) == (Verdict.SAME, holding(greater))
    early = offer(holding(lesser), greater)
    assert (early.verdict, winner(early.state)) == (Verdict.STORED, greater)


def test_the_publishers_of_a_key_have_registers_of_their_own_in_the_order_in_which_they_came() -> None:
    held = holding(lease(CAROL), lease(ALICE), lease(BOB), lease(CAROL, seq=NOW + 1))
    assert [register.record.publisher for register in held.registers] == [CAROL, ALICE, BOB]


# Rule 3: seq.


def test_a_seq_up_to_two_skews_ahead_is_accepted_and_not_one_more() -> None:
    assert offer(EMPTY, lease(seq=NOW + 2 * SKEW)).verdict is Verdict.STORED
    assert offer(EMPTY, lease(seq=NOW + 2 * SKEW + 1)).verdict is Verdict.NOT_YET
    assert offer(holding(lease()), tombstone(seq=NOW + 2 * SKEW + 1)).verdict is Verdict.NOT_YET


def test_a_stale_put_brings_back_the_record_that_beat_it() -> None:
    admission = offer(holding(lease(seq=NOW)), lease(seq=NOW - 1))
    assert (admission.verdict, admission.winner) == (Verdict.STALE, lease(seq=NOW))


def test_a_lease_of_the_same_seq_that_ends_earlier_is_stale() -> None:
    renewed = lease(issued=NOW + HOUR)
    admission = offer(holding(lease(), renewed, now=NOW + HOUR), lease(), now=NOW + HOUR)
    assert (admission.verdict, admission.winner) == (Verdict.STALE, renewed)


# Rule 4: many publishers.


def test_one_publishers_forgetting_leaves_anothers_lease_and_the_value() -> None:
    held = holding(lease(ALICE), lease(BOB), tombstone(ALICE))
    assert is_live(held, NOW)
    assert is_served(held, NOW)
    assert winner(held, BOB) == lease(BOB)


def test_the_last_forgetting_takes_the_value_and_keeps_the_tombstones() -> None:
    held = holding(lease(ALICE), lease(BOB), tombstone(ALICE), tombstone(BOB))
    assert held.size is None
    assert not is_live(held, NOW)
    assert len(held.registers) == 2


def test_a_seventeenth_publisher_is_refused_and_those_here_go_on() -> None:
    crowd = holding(*(lease(publisher(number)) for number in range(16)))
    assert offer(crowd, lease(publisher(16))).verdict is Verdict.TOO_MANY_PUBLISHERS
    assert offer(crowd, lease(publisher(3), seq=NOW + 1)).verdict is Verdict.STORED
    assert offer(crowd, tombstone(publisher(3))).verdict is Verdict.STORED


def test_a_publisher_who_has_forgotten_holds_no_place() -> None:
    crowd = holding(*(lease(publisher(number)) for number in range(16)), tombstone(publisher(0)))
    admission = offer(crowd, lease(publisher(16)))
    assert admission.verdict is Verdict.STORED
    again = lease(publisher(0), seq=NOW + SKEW + 1)
    assert offer(admission.state, again).verdict is Verdict.TOO_MANY_PUBLISHERS


def test_a_lease_that_has_ended_holds_no_place() -> None:
    crowd = holding(lease(publisher(0), life=HOUR), *(lease(publisher(number)) for number in range(1, 16)))
    late = lease(publisher(16), seq=NOW + HOUR, issued=NOW + HOUR)
    assert offer(crowd, late, now=NOW + HOUR).verdict is Verdict.STORED


def test_tombstones_of_publishers_never_seen_do_not_keep_a_lease_out() -> None:
    strangers = holding(*(tombstone(publisher(100 + number)) for number in range(16)))
    crowd = holding(*(lease(publisher(number)) for number in range(16)), state=strangers)
    assert len(crowd.registers) == 32


def test_tombstones_of_publishers_never_seen_are_bounded_apart() -> None:
    strangers = holding(lease(BOB), *(tombstone(publisher(100 + number)) for number in range(16)))
    assert offer(strangers, tombstone(publisher(99))).verdict is Verdict.TOO_MANY_PUBLISHERS
    assert offer(strangers, tombstone(BOB)).verdict is Verdict.STORED


def test_a_stranger_who_puts_after_all_becomes_one_of_the_sixteen() -> None:
    crowd = holding(tombstone(CAROL), *(lease(publisher(100 + number)) for number in range(16)))
    again = lease(CAROL, seq=NOW + SKEW + 1)
    assert offer(crowd, again).verdict is Verdict.TOO_MANY_PUBLISHERS
    few = holding(tombstone(CAROL), *(lease(publisher(100 + number)) for number in range(15)), again)
    assert offer(few, lease(publisher(99))).verdict is Verdict.TOO_MANY_PUBLISHERS


def thirty_two_ended(*, published: bool) -> tuple[KeyState, int]:
    """As many publishers as are remembered, sixteen after sixteen, and none of them need be."""
    crowd, later = KeyState(KEY), NOW
    for half in range(2):
        numbers = range(16 * half, 16 * half + 16)
        crowd = holding(
            *(lease(publisher(number), seq=later, issued=later + number) for number in numbers),
            now=later + 32,
            state=attrs.evolve(crowd, published=False),
        )
        crowd = attrs.evolve(crowd, published=published)
        for number in numbers:
            left = expire(crowd, now=later + DAY + number, uptime=UPTIME + number)
            assert left is not None
            crowd = left
        later += DAY + 64
    return crowd, later


def test_a_lease_that_is_only_kept_since_it_ended_makes_room_for_a_new_publisher() -> None:
    crowd, later = thirty_two_ended(published=False)
    admission = offer(crowd, lease(publisher(99), seq=later, issued=later), now=later)
    assert admission.verdict is Verdict.STORED
    assert [register.record.publisher for register in admission.state.registers] == [
        publisher(number) for number in (*range(1, 32), 99)
    ]


def test_the_leases_that_may_wake_a_publication_make_no_room() -> None:
    crowd, later = thirty_two_ended(published=True)
    admission = offer(crowd, lease(publisher(99), seq=later, issued=later), now=later)
    assert admission.verdict is Verdict.TOO_MANY_PUBLISHERS


# Rule 4: who is entitled to a place, and who takes free ones only.


def network(number: int, *, how: bytes = PUBLISHED) -> bytes:
    """How a register came here from a source network of a public IPv4 address."""
    return how + bytes([198, 18, number])


def bring(state: KeyState, brought_by: bytes, *records: Record, own: PublisherKey | None = None) -> KeyState:
    for record in records:
        admission = admit(state, record, now=NOW, value_size=SIZE, own=own, brought_by=brought_by)
        assert admission.verdict is Verdict.STORED, (admission.verdict, record)
        state = admission.state
    return state


def leases_of(*numbers: int) -> list[Record]:
    return [lease(publisher(number)) for number in numbers]


def live(state: KeyState) -> list[int]:
    return [register.record.publisher[0] for register in state.registers if register.is_live(NOW)]


OWNER = publisher(200)


def publish_and_forget(state: KeyState, brought_by: bytes, numbers: range) -> KeyState:
    """As many as the node takes."""
    for number in numbers:
        for record in (lease(publisher(number)), tombstone(publisher(number))):
            state = admit(state, record, now=NOW, value_size=SIZE, brought_by=brought_by).state
    return state


@pytest.mark.parametrize("networks", [1, 7])
def test_whatever_few_networks_publish_and_forget_the_owner_of_a_value_gets_a_place(networks: int) -> None:
    state = EMPTY
    for each in range(networks):
        state = publish_and_forget(state, network(each), range(20 * each, 20 * each + 20))
        for number in range(20 * each, 20 * each + 20):
            again = lease(publisher(number), seq=NOW + SKEW + 1)
            state = admit(state, again, now=NOW, value_size=SIZE, brought_by=network(each)).state
    assert len(live(state)) == 16
    state = bring(state, network(99), lease(OWNER))
    assert 200 in live(state)
    assert len(live(state)) == 16
    assert len(state.registers) <= 2 * RULES.max_remembered


def test_the_third_publisher_of_a_network_takes_a_free_place_and_yields_it_the_newest_first() -> None:
    crowd = bring(EMPTY, network(1), *leases_of(*range(16)))
    assert offer(crowd, lease(publisher(16))).verdict is Verdict.TOO_MANY_PUBLISHERS
    crowd = bring(crowd, network(2), *leases_of(20, 21))
    assert live(crowd) == [*range(14), 20, 21]
    third = admit(crowd, lease(publisher(22)), now=NOW, value_size=SIZE, brought_by=network(2))
    assert (third.verdict, third.changed) == (Verdict.TOO_MANY_PUBLISHERS, False)


@pytest.mark.parametrize("how", [CARRIED, REPLICATED], ids=["a holder", "a stranger"])
def test_what_is_replicated_takes_free_places_only(how: bytes) -> None:
    crowd = bring(EMPTY, network(1, how=how), *leases_of(*range(16)))
    other = admit(crowd, lease(publisher(16)), now=NOW, value_size=SIZE, brought_by=network(2, how=how))
    assert other.verdict is Verdict.TOO_MANY_PUBLISHERS
    # What others have replicated takes nothing from those who publish there.
    assert live(bring(crowd, network(1), *leases_of(20, 21))) == [*range(14), 20, 21]


def test_where_no_network_is_told_nobody_yields() -> None:
    crowd = bring(EMPTY, b"", *leases_of(*range(16)))
    assert offer(crowd, lease(publisher(16))).verdict is Verdict.TOO_MANY_PUBLISHERS


def test_those_who_are_entitled_to_a_place_never_yield_it() -> None:
    crowd = EMPTY
    for number in range(8):
        crowd = bring(crowd, network(number), *leases_of(2 * number, 2 * number + 1))
    late = admit(crowd, lease(publisher(16)), now=NOW, value_size=SIZE, brought_by=network(8))
    assert late.verdict is Verdict.TOO_MANY_PUBLISHERS


def test_this_nodes_own_publisher_never_yields_and_others_yield_to_it() -> None:
    crowd = bring(EMPTY, b"", *leases_of(*range(15)), lease(ALICE, seq=NOW + 1), lease(OWNER), own=OWNER)
    assert live(crowd) == [*range(15), 200]
    crowd = bring(crowd, network(1), *leases_of(20, 21), own=OWNER)
    assert live(crowd) == [*range(13), 200, 20, 21]
    full = bring(EMPTY, b"", *leases_of(*range(16)))
    assert live(bring(full, b"", lease(OWNER), own=OWNER)) == [*range(15), 200]


def test_a_lease_that_yielded_stays_remembered_and_comes_back_to_a_free_place() -> None:
    third = lease(publisher(15), seq=NOW + SKEW + 1)
    crowd = bring(EMPTY, network(1), *leases_of(*range(16)), tombstone(publisher(15)), third)
    crowd = bring(crowd, network(2), lease(OWNER))
    assert live(crowd) == [*range(15), 200]
    # What it had beaten does not come back in its stead, and itself it has no place.
    stale = admit(crowd, lease(publisher(15)), now=NOW, value_size=SIZE, brought_by=network(3))
    assert (stale.verdict, stale.winner) == (Verdict.STALE, third)
    assert admit(crowd, third, now=NOW, value_size=SIZE, brought_by=network(1)).verdict is Verdict.TOO_MANY_PUBLISHERS
    freed = bring(crowd, network(1), tombstone(publisher(0)))
    assert live(bring(freed, network(1), third)) == [*range(1, 16), 200]
    # Its publisher can still forget it, however many others there are.
    last = tombstone(publisher(15), seq=NOW + 2 * SKEW)
    assert winner(bring(crowd, network(3), last), publisher(15)) == last


def test_a_lease_that_yielded_is_neither_told_nor_offered_and_the_value_stays_for_the_others() -> None:
    crowd = bring(EMPTY, network(1), *(lease(publisher(number), life=HOUR) for number in range(16)))
    last = lease(publisher(15), life=HOUR)
    assert last in offered(crowd, NOW)
    crowd = bring(crowd, network(2), lease(OWNER))
    assert last not in offered(crowd, NOW)
    assert last.row() not in said(crowd, NOW).rows
    assert all(record.publisher != publisher(15) for record in answer(crowd, NOW))
    assert is_served(crowd, NOW + HOUR)  # the owner's
    alone = attrs.evolve(crowd, registers=tuple(r for r in crowd.registers if r.record == last))
    assert not is_live(alone, NOW)


def test_a_lease_that_takes_a_place_anew_is_judged_by_the_node_that_brings_it_now() -> None:
    """Otherwise a stranger who publishes the owner's lease first would decide over its next one."""
    crowd = bring(EMPTY, network(1), *leases_of(0, 1), lease(OWNER))
    crowd = bring(crowd, network(1), tombstone(OWNER), *leases_of(*range(2, 16)))
    again = lease(OWNER, seq=NOW + SKEW + 1)
    assert admit(crowd, again, now=NOW, value_size=SIZE, brought_by=network(1)).verdict is Verdict.TOO_MANY_PUBLISHERS
    assert 200 in live(bring(crowd, network(2), again))


def test_a_publisher_that_comes_by_another_network_takes_no_place_from_those_of_that_network() -> None:
    crowd = bring(EMPTY, b"", lease(publisher(0)), tombstone(publisher(0)), *leases_of(*range(1, 15)))
    crowd = bring(crowd, network(1), *leases_of(20, 21))
    again = lease(publisher(0), seq=NOW + SKEW + 1)
    late = admit(crowd, again, now=NOW, value_size=SIZE, brought_by=network(1))
    assert late.verdict is Verdict.TOO_MANY_PUBLISHERS
    crowd = bring(crowd, network(2), again)
    assert live(crowd) == [*range(1, 14), 20, 21, 0]


def test_who_has_a_place_keeps_it_whoever_brings_its_next_lease() -> None:
    crowd = bring(EMPTY, network(1), lease(ALICE))
    for later in lease(seq=NOW + 1), tombstone(), tombstone(seq=NOW + SKEW + 1):
        crowd = bring(crowd, network(2, how=CARRIED), later)
        assert [register.brought_by for register in crowd.registers] == [network(1)]


def test_the_publishers_that_are_remembered_are_bounded_and_the_owner_is_not_one_of_them() -> None:
    # Tombstones of leases never seen are bounded apart; forgetting what was not taken makes no more of them.
    unseen = RULES.max_unseen_tombstones
    crowd = bring(EMPTY, network(1), *(tombstone(publisher(255 - number)) for number in range(unseen)))
    crowd = publish_and_forget(crowd, network(1), range(100))
    assert len(crowd.registers) == RULES.max_of_network + RULES.max_remembered + unseen
    more = admit(crowd, lease(publisher(100)), now=NOW, value_size=SIZE, brought_by=network(1))
    assert more.verdict is Verdict.TOO_MANY_PUBLISHERS
    crowd = bring(crowd, network(2), lease(OWNER))
    # Nor does it get out of hand with any number of networks.
    for each in range(3, 50):
        crowd = publish_and_forget(crowd, network(each), range(100 + 2 * each, 102 + 2 * each))
    assert len(crowd.registers) == 2 * RULES.max_remembered + unseen
    assert live(crowd) == [200]


# Rule 5: nothing but the publisher's word extends a life.


def test_a_replicated_lease_ends_when_it_would_have_ended_anyway() -> None:
    held = holding(lease())
    for hour in range(1, 24):
        held = offer(held, answer(held, NOW)[0], now=NOW + hour * HOUR).state
    assert held == holding(lease())
    assert not is_live(held, NOW + DAY)


# Rule 6: terms.


@pytest.mark.parametrize(
    ("record", "verdict"),
    [
        (lease(issued=NOW + SKEW), Verdict.STORED),
        (lease(issued=NOW + SKEW + 1), Verdict.NOT_YET),
        (lease(life=DAY), Verdict.STORED),
        (lease(life=DAY + 1), Verdict.BAD_TERMS),
        (lease(life=60 * SECOND), Verdict.STORED),
        (lease(life=60 * SECOND - 1), Verdict.BAD_TERMS),
        (lease(life=-DAY), Verdict.BAD_TERMS),
        (lease(issued=NOW - DAY + 1), Verdict.STORED),
        (lease(issued=NOW - DAY), Verdict.EXPIRED),
        (tombstone(issued=NOW + SKEW, seq=NOW + 2 * SKEW), Verdict.STORED),
        (tombstone(issued=NOW + SKEW + 1), Verdict.NOT_YET),
        (tombstone(issued=NOW - 7 * DAY + 1), Verdict.STORED),
        (tombstone(issued=NOW - 7 * DAY), Verdict.EXPIRED),
        (tombstone(life=7 * DAY - 1), Verdict.BAD_TERMS),
        (tombstone(life=7 * DAY + 1), Verdict.BAD_TERMS),
    ],
)
def test_the_terms_of_a_record_to_the_millisecond(record: Record, verdict: Verdict) -> None:
    admission = offer(EMPTY, record)
    assert admission.verdict is verdict
    assert admission.changed == (verdict is Verdict.STORED)
    if verdict is not Verdict.STORED:
        assert admission.state == EMPTY


@pytest.mark.parametrize(
    "record",
    [lease(issued=NOW + SKEW + 1), lease(seq=NOW + 2 * SKEW + 1), tombstone(issued=NOW + SKEW + 1)],
    ids=["a lease", "its seq", "a tombstone"],
)
def test_a_record_of_the_future_speaks_against_the_clock(record: Record) -> None:
    assert is_against_clock(record, NOW)
    assert not is_against_clock(record, NOW + 1)


def test_a_record_that_ended_more_than_a_skew_ago_speaks_against_the_clock() -> None:
    assert not is_against_clock(lease(), NOW + DAY)
    assert not is_against_clock(lease(), NOW + DAY + SKEW)
    assert is_against_clock(lease(), NOW + DAY + SKEW + 1)
    assert not is_against_clock(tombstone(), NOW + 7 * DAY + SKEW)
    assert is_against_clock(tombstone(), NOW + 7 * DAY + SKEW + 1)


def test_a_record_that_no_clock_would_accept_says_nothing_about_a_clock() -> None:
    for record in (lease(life=DAY + 1), tombstone(life=7 * DAY - 1), lease(issued=NOW + DAY, life=0)):
        for now in (NOW, NOW + 30 * DAY):
            assert not is_against_clock(record, now)


def test_the_end_of_a_lease_is_not_acknowledged_as_the_same() -> None:
    assert offer(holding(lease()), lease(), now=NOW + DAY).verdict is Verdict.EXPIRED


def test_a_lease_without_its_value_says_that_it_needs_it() -> None:
    assert offer(EMPTY, lease(), with_value=False).verdict is Verdict.VALUE_NEEDED
    lost = attrs.evolve(holding(lease()), size=None)
    assert offer(lost, lease(), with_value=False).verdict is Verdict.VALUE_NEEDED
    restored = offer(lost, lease())
    assert (restored.verdict, restored.state) == (Verdict.STORED, holding(lease()))


def test_a_tombstone_needs_no_value_and_brings_none() -> None:
    admission = offer(EMPTY, tombstone(), with_value=True)
    assert (admission.verdict, admission.state.size) == (Verdict.STORED, None)


def test_a_short_lease_is_remembered_for_as_long_as_the_one_it_replaced() -> None:
    long, short = lease(seq=NOW, life=DAY), lease(seq=NOW + 1, life=HOUR)
    for held in (holding(long, short), offer(holding(short), long).state):
        left = expire(held, now=NOW + DAY - 1, uptime=UPTIME)
        assert left is not None
        admission = offer(left, long, now=NOW + DAY - 1)
        assert (admission.verdict, admission.winner) == (Verdict.STALE, short)
        assert not is_live(admission.state, NOW + DAY - 1)


def test_a_stale_lease_that_is_already_remembered_longer_changes_nothing() -> None:
    held = holding(lease(seq=NOW, life=DAY))
    assert not offer(held, lease(seq=NOW - 1, life=HOUR)).changed
    assert not offer(held, lease(seq=NOW - 1, issued=NOW - DAY)).changed


def test_a_put_after_a_forget_is_remembered_for_the_life_of_the_tombstone() -> None:
    register = holding(lease(), tombstone(), lease(seq=NOW + SKEW + 1)).register(ALICE)
    assert register is not None
    assert register.remembered_until == NOW + 7 * DAY


# Rule 8: whoever offers a stale lease gets the tombstone.


def test_a_holder_that_missed_the_forgetting_learns_of_it_by_replicating() -> None:
    told, missed = holding(lease(), tombstone()), holding(lease())
    admission = offer(told, answer(missed, NOW)[0])
    assert (admission.verdict, admission.changed) == (Verdict.STALE, False)
    assert admission.winner == tombstone()
    adopted = offer(missed, admission.winner, with_value=False).state
    assert not is_live(adopted, NOW)
    assert adopted.size is None


def test_a_put_after_the_forgetting_is_live_again() -> None:
    held = holding(lease(), tombstone(), lease(seq=NOW + SKEW + 1))
    assert is_served(held, NOW)


def test_a_kept_tombstone_that_has_ended_still_beats_an_older_lease() -> None:
    kept = expire(holding(lease(), tombstone()), now=NOW + 7 * DAY, uptime=UPTIME)
    assert kept is not None
    renewed_in_a_partition = lease(issued=NOW + 7 * DAY)
    admission = offer(kept, renewed_in_a_partition, now=NOW + 7 * DAY)
    assert (admission.verdict, admission.winner) == (Verdict.STALE, tombstone())


# Rule 9: the publication at the node that accepted the put.


def published(*records: Record) -> KeyState:
    return attrs.evolve(holding(*records), published=True)


def test_our_own_tombstone_ends_our_publication() -> None:
    held = published(lease(ALICE), lease(BOB))
    gone = admit(held, tombstone(ALICE), now=NOW, value_size=None, own=ALICE).state
    assert not gone.published
    assert gone.size == SIZE  # for bob
    assert admit(held, tombstone(BOB), now=NOW, value_size=None, own=ALICE).state.published


def test_a_strangers_tombstone_takes_nothing_from_a_publication_that_sleeps() -> None:
    asleep = expire(published(lease(ALICE)), now=NOW + DAY, uptime=UPTIME)
    assert asleep is not None
    later = NOW + DAY
    told = admit(asleep, tombstone(BOB, seq=later, issued=later), now=later, value_size=None, own=ALICE).state
    assert told.published
    assert told.size == SIZE


def test_the_tombstone_of_the_only_publisher_ends_the_publication_and_takes_the_value() -> None:
    gone = admit(published(lease()), tombstone(), now=NOW, value_size=None).state
    assert (gone.published, gone.size) == (False, None)
