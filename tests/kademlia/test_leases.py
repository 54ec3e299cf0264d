"""The publisher's side: what a put, a forget and a renewal sign, which leases a put replaces, whose turn a renewal is,
and rule 12's one case."""

from __future__ import annotations

import math

import pytest

from camomile_trio.kademlia.admission import Verdict, admit
from camomile_trio.kademlia.leases import (
    is_replaced,
    is_shortened_by,
    kept_until,
    new_lease,
    new_tombstone,
    renewal,
    renewal_due,
    revival,
    revived,
    stands_for,
)
from camomile_trio.kademlia.records import Record
from camomile_trio.kademlia.registers import RULES, KeyState, expire, has_tombstone, is_live
from tests.kademlia.record_builders import ALICE, DAY, HOUR, KEY, NOW, SIZE, UPTIME, holding, lease, tombstone

SKEW = RULES.max_skew
K = 20


def put(*, seen: int = 0, now: int = NOW, life_ms: int = DAY) -> Record:
    return new_lease(KEY, ALICE, seen=seen, now=now, life_ms=life_ms)


# Rule 3: only a put or a forget raises seq.


def test_a_put_takes_the_time_as_its_seq_or_one_more_than_was_seen() -> None:
    assert (put().seq, put(seen=NOW - 1).seq, put(seen=NOW).seq, put(seen=NOW + 7).seq) == (NOW, NOW, NOW + 1, NOW + 8)


def test_a_forget_takes_a_seq_one_skew_ahead_or_one_more_than_was_seen() -> None:
    assert new_tombstone(KEY, ALICE, seen=0, now=NOW).seq == NOW + SKEW
    assert new_tombstone(KEY, ALICE, seen=NOW + SKEW, now=NOW).seq == NOW + SKEW + 1


def test_what_a_publisher_signs_is_accepted_by_holders_whose_clocks_are_a_skew_apart() -> None:
    for apart in (-SKEW, 0, SKEW):
        held = admit(KeyState(KEY), put(), now=NOW + apart, value_size=SIZE)
        assert held.verdict is Verdict.STORED
        gone = admit(held.state, new_tombstone(KEY, ALICE, seen=NOW, now=NOW), now=NOW + apart, value_size=None)
        assert gone.verdict is Verdict.STORED
        assert not is_live(gone.state, NOW + apart)
        assert has_tombstone(gone.state, NOW + apart)


def test_a_forget_beats_a_put_just_before_it_by_a_clock_that_is_ahead() -> None:
    held = holding(put(now=NOW + SKEW - 1), now=NOW)
    unseeing = new_tombstone(KEY, ALICE, seen=0, now=NOW)
    assert not is_live(holding(unseeing, state=held), NOW)


def test_a_put_that_was_refused_as_stale_wins_once_it_knows_the_winner() -> None:
    held = holding(lease(), tombstone())
    refused = admit(held, put(), now=NOW, value_size=SIZE)
    assert refused.winner is not None
    assert is_live(holding(put(seen=refused.winner.seq), state=held), NOW)


def test_the_terms_of_a_put_and_a_forget() -> None:
    lasting = put(life_ms=HOUR)
    assert (lasting.issued, lasting.expires, lasting.signature) == (NOW, NOW + HOUR, b"")
    assert lasting.is_renewable
    assert not new_lease(KEY, ALICE, seen=0, now=NOW, life_ms=HOUR, renewable=False).is_renewable
    ending = new_tombstone(KEY, ALICE, seen=0, now=NOW)
    assert (ending.issued, ending.expires, ending.is_tombstone) == (NOW, NOW + 7 * DAY, True)


@pytest.mark.parametrize("life_ms", [0, RULES.least_lease - 1, RULES.max_lease + 1])
def test_a_life_that_the_network_refuses_is_not_signed(life_ms: int) -> None:
    with pytest.raises(ValueError, match="a lease lasts"):
        put(life_ms=life_ms)
    with pytest.raises(ValueError, match="a lease lasts"):
        renewal(lease(), now=NOW + HOUR, life_ms=life_ms)
    with pytest.raises(ValueError, match="a lease lasts"):
        revived(lease(), now=NOW + DAY, life_ms=life_ms)


# Rule 3: no put shortens a life.


def passing(*, life: int = HOUR, seq: int = NOW) -> Record:
    """A lease that nobody may renew."""
    return lease(seq=seq, life=life, renewable=False)


def test_a_lease_keeps_its_value_to_its_end_and_one_that_may_be_renewed_until_a_forget() -> None:
    assert kept_until(passing()) == NOW + HOUR
    assert kept_until(lease(life=HOUR)) == math.inf


def test_a_put_has_succeeded_with_a_live_lease_that_lasts_as_long_as_was_asked() -> None:
    assert stands_for(passing(), passing(seq=NOW - 1), now=NOW)
    assert stands_for(lease(life=HOUR), passing(life=DAY), now=NOW)
    assert stands_for(lease(life=HOUR), lease(life=DAY), now=NOW)


def test_a_put_has_not_succeeded_with_a_lease_that_ends_earlier_or_has_ended_or_with_a_tombstone() -> None:
    assert not stands_for(passing(life=HOUR - 1), passing(), now=NOW)
    assert not stands_for(passing(life=DAY), lease(life=HOUR), now=NOW)
    assert stands_for(lease(life=HOUR), passing(), now=NOW + HOUR - 1)
    assert not stands_for(lease(life=HOUR), passing(), now=NOW + HOUR)
    assert not stands_for(tombstone(), passing(), now=NOW)


def test_a_put_replaces_the_live_lease_of_an_earlier_put() -> None:
    assert is_replaced(passing(life=DAY), passing(seq=NOW + 1), now=NOW)
    assert is_replaced(lease(), passing(seq=NOW + 1), now=NOW + DAY - 1)


def test_a_renewal_replaces_no_lease_and_neither_does_a_forget() -> None:
    renewed = renewal(lease(), now=NOW + HOUR, life_ms=DAY)
    assert renewed is not None
    assert not is_replaced(lease(), renewed, now=NOW + HOUR)
    assert not is_replaced(lease(), tombstone(), now=NOW)


def test_what_has_ended_or_was_forgotten_is_not_replaced() -> None:
    later = passing(seq=NOW + DAY, life=2 * DAY)
    assert not is_replaced(lease(), later, now=NOW + DAY)
    assert not is_replaced(tombstone(), later, now=NOW)


def test_a_life_is_shortened_by_a_put_that_would_end_it_earlier() -> None:
    assert is_shortened_by(lease(life=HOUR), passing(life=DAY), now=NOW)
    assert is_shortened_by(passing(), passing(life=HOUR - 1), now=NOW)
    assert not is_shortened_by(passing(), passing(), now=NOW)
    assert not is_shortened_by(lease(), lease(life=HOUR), now=NOW)
    assert not is_shortened_by(passing(), passing(life=DAY), now=NOW)


def test_a_life_that_is_over_is_shortened_by_nothing() -> None:
    assert is_shortened_by(lease(life=HOUR), passing(life=DAY), now=NOW + HOUR - 1)
    assert not is_shortened_by(lease(life=HOUR), passing(life=DAY), now=NOW + HOUR)
    assert not is_shortened_by(tombstone(), passing(), now=NOW)


def test_a_forget_may_end_any_life() -> None:
    assert not is_shortened_by(lease(), tombstone(), now=NOW)


# Renewing (rules 3, 9 and 12).


def test_a_renewal_keeps_seq_and_moves_issued_and_expires() -> None:
    renewed = renewal(lease(signature=b"\x01" * 64), now=NOW + HOUR, life_ms=DAY)
    assert renewed == Record(KEY, lease().kind, 1, ALICE, NOW, NOW + HOUR, NOW + HOUR + DAY, b"")


def test_a_renewal_under_way_does_not_undo_a_forgetting() -> None:
    renewed = renewal(lease(), now=NOW + HOUR, life_ms=DAY)
    assert renewed is not None
    told = holding(lease(), tombstone())
    assert admit(told, renewed, now=NOW + HOUR, value_size=SIZE).verdict is Verdict.STALE


@pytest.mark.parametrize(
    ("record", "now"),
    [
        (tombstone(), NOW + HOUR),
        (lease(renewable=False), NOW + HOUR),
        (lease(), NOW + DAY),
        (lease(), NOW),
        (lease(), NOW - HOUR),
    ],
    ids=["a tombstone", "not renewable", "ended", "lasts as long already", "lasts longer already"],
)
def test_what_is_not_renewed(record: Record, now: int) -> None:
    assert renewal(record, now=now, life_ms=DAY) is None


def test_a_lease_is_renewed_to_its_last_millisecond() -> None:
    assert renewal(lease(), now=NOW + DAY - 1, life_ms=DAY) is not None


def test_holders_renew_from_half_life_on_each_in_its_turn_and_then_the_publishing_node() -> None:
    turns = [renewal_due(lease(), rank=rank, published_here=False, k=K) for rank in range(K)]
    assert turns[0] == NOW + DAY // 2
    assert turns == sorted(set(turns))
    assert turns[-1] < renewal_due(lease(), rank=K, published_here=True, k=K) == NOW + DAY * 3 // 4


def test_a_publishing_node_that_holds_the_value_renews_in_its_turn() -> None:
    assert renewal_due(lease(), rank=0, published_here=True, k=K) == NOW + DAY // 2


def test_who_has_seen_the_renewal_has_its_turn_half_a_life_later() -> None:
    renewed = lease(issued=NOW + DAY // 2)
    assert renewal_due(renewed, rank=1, published_here=False, k=K) > NOW + DAY


def test_who_never_renews() -> None:
    assert renewal_due(lease(), rank=K, published_here=False, k=K) == 0
    assert renewal_due(tombstone(), rank=0, published_here=True, k=K) == 0
    assert renewal_due(lease(renewable=False), rank=0, published_here=True, k=K) == 0


# Rule 12: the one case in which a lease that has ended comes back.


def test_a_whole_network_that_slept_for_a_month_wakes_with_everything() -> None:
    month = NOW + 30 * DAY
    holders = [expire(holding(lease()), now=month, uptime=UPTIME) for _ in range(K)]
    reported = [state.registers[0].record for state in holders if state is not None]
    assert revival(lease(), reported[:11], group=K, now=month)
    again = revived(lease(), now=month, life_ms=DAY)
    assert again.stamp == (lease().seq, lease().kind, month + DAY)
    assert all(is_live(holding(again, now=month, state=state), month) for state in holders)


def test_a_single_publisher_that_comes_back_after_a_month_resurrects_nothing() -> None:
    month = NOW + 30 * DAY
    assert not revival(lease(), [lease(), *[None] * 19], group=K, now=month)
    assert not revival(lease(), [lease()], group=K, now=month)


@pytest.mark.parametrize(("group", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (20, 11)])
def test_a_majority_of_the_whole_group_must_hold_the_lease_silent_nodes_counted(group: int, needed: int) -> None:
    later = NOW + DAY
    assert revival(lease(), [lease()] * needed, group=group, now=later)
    assert not revival(lease(), [lease()] * (needed - 1), group=group, now=later)


def test_one_tombstone_over_the_lease_forbids_its_return() -> None:
    later = NOW + DAY
    assert not revival(lease(), [*[lease()] * 19, tombstone()], group=K, now=later)
    assert revival(lease(), [*[lease()] * 19, tombstone(seq=NOW - 1)], group=K, now=later)


def test_holders_of_another_word_of_the_publisher_do_not_count() -> None:
    older, newer = lease(issued=NOW - HOUR), lease(seq=NOW + 1)
    assert not revival(lease(), [lease()] * 10 + [older] * 5 + [newer] * 5, group=K, now=NOW + DAY)


@pytest.mark.parametrize(
    ("record", "now"), [(lease(renewable=False), NOW + DAY), (tombstone(), NOW + 7 * DAY), (lease(), NOW + DAY - 1)]
)
def test_only_a_renewable_lease_that_has_ended_needs_reviving(record: Record, now: int) -> None:
    assert not revival(record, [record] * K, group=K, now=now)
