"""What a holder says of a key, and how what it knows ends (rules 4, 6, 7, 9, 11, 12 and 13)."""

from __future__ import annotations

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from camomile_trio.kademlia.admission import admit, admit_classic
from camomile_trio.kademlia.records import Record
from camomile_trio.kademlia.registers import (
    RULES,
    KeyState,
    answer,
    due,
    expire,
    forgotten,
    has_tombstone,
    is_evictable,
    is_live,
    is_served,
    taken_back,
    without_value,
)
from tests.kademlia.record_builders import (
    ALICE,
    BOB,
    CAROL,
    DAY,
    HOUR,
    KEY,
    MINUTE,
    NOW,
    SIZE,
    UPTIME,
    holding,
    lease,
    publisher,
    tombstone,
)


def left_of(state: KeyState, *, now: int, uptime: int = UPTIME) -> KeyState:
    left = expire(state, now=now, uptime=uptime)
    assert left is not None
    return left


def test_the_constants_of_the_network() -> None:
    assert (RULES.max_skew, RULES.max_lease, RULES.least_lease) == (10 * MINUTE, DAY, MINUTE)
    assert (RULES.tombstone_life, RULES.classic_life) == (7 * DAY, DAY)
    assert (RULES.max_publishers, RULES.max_unseen_tombstones, RULES.max_answer_records) == (16, 16, 4)
    assert (RULES.max_of_network, RULES.max_remembered) == (2, 32)


# Rule 4: live, and what goes into an answer.


def test_a_value_is_live_while_some_publisher_has_an_unexpired_lease() -> None:
    held = holding(lease(ALICE, life=HOUR), lease(BOB, life=2 * HOUR))
    assert is_live(held, NOW + 2 * HOUR - 1)
    assert not is_live(held, NOW + 2 * HOUR)


def test_a_live_lease_is_served_only_where_the_value_is() -> None:
    held = holding(lease())
    assert is_served(held, NOW)
    assert not is_served(without_value(held), NOW)
    assert is_live(without_value(held), NOW)


def test_a_tombstone_speaks_for_its_life_only() -> None:
    held = holding(lease(), tombstone())
    assert has_tombstone(held, NOW + 7 * DAY - 1)
    assert not has_tombstone(held, NOW + 7 * DAY)


def test_a_key_that_nobody_forgot_has_no_tombstone() -> None:
    assert not has_tombstone(KeyState(KEY), NOW)
    assert not has_tombstone(holding(lease()), NOW)


def test_an_answer_gives_live_leases_the_longest_first_and_then_tombstones() -> None:
    held = holding(tombstone(ALICE), lease(BOB, life=HOUR), lease(CAROL, life=DAY))
    assert answer(held, NOW) == [lease(CAROL, life=DAY), lease(BOB, life=HOUR), tombstone(ALICE)]


def test_an_answer_begins_with_the_register_of_the_publisher_that_was_asked_for() -> None:
    held = holding(*(lease(publisher(number), issued=NOW + number) for number in range(6)), now=NOW + 6)
    records = answer(held, NOW + 6, publisher=publisher(0))
    assert [record.publisher for record in records] == [publisher(number) for number in (0, 5, 4, 3)]
    forgotten_by_bob = holding(lease(ALICE), lease(BOB), tombstone(BOB))
    assert answer(forgotten_by_bob, NOW, publisher=BOB) == [tombstone(BOB), lease(ALICE)]


def test_an_answer_has_at_most_four_records() -> None:
    held = holding(*(lease(publisher(number)) for number in range(6)))
    assert len(answer(held, NOW)) == 4


# Rule 11 (and 12): ended registers are unserved, but there for whoever asks.


def test_an_ended_register_is_told_only_to_whoever_asks_for_ended_ones_or_for_its_publisher() -> None:
    held = left_of(holding(lease(ALICE, life=HOUR), lease(BOB)), now=NOW + HOUR)
    assert answer(held, NOW + HOUR) == [lease(BOB)]
    assert answer(held, NOW + HOUR, ended=True) == [lease(BOB), lease(ALICE, life=HOUR)]
    assert answer(held, NOW + HOUR, publisher=ALICE) == [lease(ALICE, life=HOUR), lease(BOB)]


# Rules 6 and 12: ends.


def test_while_a_lease_lives_nothing_ends() -> None:
    held = holding(lease())
    assert left_of(held, now=NOW + DAY - 1) is held
    assert due(held, now=NOW, uptime=UPTIME) == NOW + DAY


def test_a_lease_that_may_not_be_renewed_leaves_nothing_behind() -> None:
    assert expire(holding(lease(renewable=False)), now=NOW + DAY, uptime=UPTIME) is None


def test_the_value_goes_with_its_last_lease_and_the_register_stays_unserved() -> None:
    held = left_of(holding(lease()), now=NOW + DAY, uptime=UPTIME)
    assert held.size is None
    assert [register.ended_at for register in held.registers] == [UPTIME]
    assert not is_served(held, NOW + DAY)
    assert answer(held, NOW + DAY) == []


def test_an_ended_lease_is_kept_for_a_tombstones_life_of_uptime_however_long_the_node_slept() -> None:
    ended = left_of(holding(lease()), now=NOW + DAY, uptime=UPTIME)
    month = NOW + 30 * DAY
    asleep = left_of(ended, now=month, uptime=UPTIME + 7 * DAY - 1)
    assert asleep == ended
    assert due(asleep, now=month, uptime=UPTIME + 7 * DAY - 1) == month + 1
    assert expire(asleep, now=month, uptime=UPTIME + 7 * DAY) is None


def test_an_ended_tombstone_is_kept_like_an_ended_lease() -> None:
    ended = left_of(holding(tombstone()), now=NOW + 7 * DAY, uptime=UPTIME)
    assert [register.record for register in ended.registers] == [tombstone()]
    assert left_of(ended, now=NOW + 30 * DAY, uptime=UPTIME + 7 * DAY - 1) == ended
    assert expire(ended, now=NOW + 30 * DAY, uptime=UPTIME + 7 * DAY) is None


def test_a_register_outlives_its_lease_until_the_latest_expiry_it_merged() -> None:
    held = holding(lease(renewable=False), lease(seq=NOW + 1, life=HOUR, renewable=False))
    ended = left_of(held, now=NOW + HOUR)
    assert ended.size is None
    assert left_of(ended, now=NOW + DAY - 1).registers == ended.registers
    assert expire(ended, now=NOW + DAY, uptime=UPTIME) is None


def test_a_renewed_lease_starts_anew() -> None:
    ended = left_of(holding(lease()), now=NOW + DAY)
    revived = holding(lease(issued=NOW + DAY), now=NOW + DAY, state=ended)
    assert [register.ended_at for register in revived.registers] == [None]
    assert is_served(revived, NOW + DAY)


def test_wall_time_says_what_is_valid_and_uptime_says_nothing_of_it() -> None:
    held = holding(lease())
    assert left_of(held, now=NOW + HOUR, uptime=1000 * DAY) is held


def test_an_ended_classic_copy_is_remembered_for_a_day_and_then_gone() -> None:
    held = admit_classic(KeyState(KEY), publish=True, now=NOW, value_size=SIZE, closer=0, k=20).state
    assert due(held, now=NOW, uptime=UPTIME) == NOW + DAY
    ended = left_of(held, now=NOW + DAY)
    assert (ended.size, ended.classic_until) == (None, NOW + DAY)
    assert due(ended, now=NOW + DAY, uptime=UPTIME) == NOW + 2 * DAY
    assert expire(ended, now=NOW + 2 * DAY, uptime=UPTIME) is None


# Rule 9: the node that accepted a put keeps the value until it is forgotten.


def test_a_publication_keeps_its_value_and_its_ended_lease_without_end() -> None:
    published = attrs.evolve(holding(lease()), published=True)
    asleep = left_of(published, now=NOW + DAY, uptime=UPTIME)
    assert (asleep.size, asleep.published) == (SIZE, True)
    assert not is_served(asleep, NOW + DAY)
    assert left_of(asleep, now=NOW + 1000 * DAY, uptime=UPTIME + 900 * DAY) == asleep
    assert due(asleep, now=NOW + 1000 * DAY, uptime=UPTIME + 900 * DAY) == 0
    assert not is_evictable(asleep, NOW + 1000 * DAY)


def test_a_publication_that_nobody_may_renew_ends_with_its_lease() -> None:
    published = attrs.evolve(holding(lease(renewable=False)), published=True)
    assert left_of(published, now=NOW + DAY - 1).published
    assert expire(published, now=NOW + DAY, uptime=UPTIME) is None


def test_a_publication_given_up_takes_the_value_only_if_nothing_else_is_live() -> None:
    published = attrs.evolve(holding(lease()), published=True)
    assert forgotten(published, NOW) == holding(lease())
    assert forgotten(left_of(published, now=NOW + DAY), NOW + DAY).size is None


# Rule 7: what a node signed, and the others refused, does not stay behind.


def test_a_first_put_that_was_refused_leaves_nothing_behind() -> None:
    assert taken_back(holding(lease()), lease(), None, NOW) == KeyState(KEY)


def test_the_register_before_a_refused_put_comes_back_and_the_other_publishers_go_on() -> None:
    before = holding(lease(ALICE), lease(BOB))
    refused = lease(ALICE, seq=NOW + 1, life=HOUR)
    assert taken_back(holding(refused, state=before), refused, before.register(ALICE), NOW) == before


def test_a_refused_forget_is_taken_back_too() -> None:
    before = holding(lease(ALICE), lease(BOB))
    assert taken_back(holding(tombstone(), state=before), tombstone(), before.register(ALICE), NOW) == before


def test_a_value_that_was_here_only_for_the_refused_put_goes() -> None:
    before = holding(tombstone())
    refused = lease(seq=NOW + HOUR)
    assert taken_back(holding(refused, now=NOW + HOUR, state=before), refused, before.register(ALICE), NOW).size is None


def test_what_has_come_after_a_refused_put_stays() -> None:
    later = holding(lease(), lease(seq=NOW + 1))
    assert taken_back(later, lease(), None, NOW) is later
    of_others = holding(lease(BOB))
    assert taken_back(of_others, lease(ALICE), None, NOW) is of_others


# Rules 6 and 12: what goes first when space is short.


def test_only_what_has_ended_and_need_not_be_remembered_may_be_evicted() -> None:
    assert not is_evictable(holding(lease()), NOW)
    assert not is_evictable(holding(lease(), tombstone()), NOW + 7 * DAY - 1)
    assert is_evictable(left_of(holding(lease()), now=NOW + DAY), NOW + DAY)
    assert is_evictable(left_of(holding(tombstone()), now=NOW + 7 * DAY), NOW + 7 * DAY)
    remembered = left_of(holding(lease(), lease(seq=NOW + 1, life=HOUR)), now=NOW + HOUR)
    assert not is_evictable(remembered, NOW + DAY - 1)
    assert due(remembered, now=NOW + HOUR, uptime=UPTIME) == NOW + DAY
    assert is_evictable(remembered, NOW + DAY)


RECORDS = st.builds(
    lease,
    by=st.sampled_from([ALICE, BOB]),
    seq=st.integers(1, 3),
    life=st.sampled_from([MINUTE, HOUR, DAY]),
    renewable=st.booleans(),
) | st.builds(tombstone, by=st.sampled_from([ALICE, BOB]), seq=st.integers(1, 3))


@settings(max_examples=100, deadline=None)
@given(
    records=st.lists(RECORDS, max_size=5),
    classic=st.booleans(),
    published=st.booleans(),
    naps=st.lists(st.integers(0, 30 * DAY), min_size=12, max_size=12),
    glance=st.floats(0, 1, exclude_max=True),
)
def test_nothing_ends_before_it_is_due_and_everything_ends_in_a_few_steps(
    records: list[Record], classic: bool, published: bool, naps: list[int], glance: float
) -> None:
    state = KeyState(KEY)
    if classic:
        state = admit_classic(state, publish=True, now=NOW, value_size=SIZE, closer=0, k=20).state
    for record in records:
        state = admit(state, record, now=NOW, value_size=SIZE).state
    state = attrs.evolve(state, published=published)
    now, uptime = NOW, UPTIME
    for nap in naps:
        at = due(state, now=now, uptime=uptime)
        if at == 0:
            assert expire(state, now=now + 100 * DAY, uptime=uptime + 100 * DAY) in {state, None}
            assert state.published or not state.registers
            return
        assert at >= now
        if at > now:
            before = now + int((at - now) * glance)
            assert expire(state, now=before, uptime=uptime + before - now) is state
            assert is_evictable(state, before) == is_evictable(state, now)
        uptime += at - now
        now = at
        left = expire(state, now=now, uptime=uptime)
        if left is None:
            return
        following = due(left, now=now, uptime=uptime)
        assert following == 0 or following > now
        assert left.size is None or is_served(left, now) or left.published
        state, now = left, now + nap  # the node sleeps: time passes, its uptime does not
    raise AssertionError("a key that never comes to rest")
