"""Merging is total, commutative, associative and idempotent (rule 2), whatever records come in whatever order."""

from __future__ import annotations

import random

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from camomile_trio.kademlia import admission, registers
from camomile_trio.kademlia.admission import Admission, Verdict, admit
from camomile_trio.kademlia.records import PublisherKey, Record
from camomile_trio.kademlia.registers import CARRIED, PUBLISHED, REPLICATED, RULES, KeyState
from tests.kademlia.record_builders import (
    ALICE,
    BOB,
    DAY,
    HOUR,
    KEY,
    MINUTE,
    NOW,
    SIZE,
    lease,
    publisher,
    tombstone,
)

EMPTY = KeyState(KEY)


def offer(state: KeyState, record: Record) -> Admission:
    return admit(state, record, now=NOW, value_size=SIZE)


def winner(state: KeyState, by: PublisherKey = ALICE) -> Record:
    register = state.register(by)
    assert register is not None
    return register.record


ALIVE = st.builds(
    lease,
    by=st.sampled_from([ALICE, BOB]),
    seq=st.integers(1, 3),
    issued=st.sampled_from([NOW - MINUTE, NOW]),
    life=st.sampled_from([HOUR, HOUR + MINUTE, DAY]),
    renewable=st.booleans(),
    signature=st.sampled_from([bytes(64), b"\x01" * 64]),
) | st.builds(
    tombstone,
    by=st.sampled_from([ALICE, BOB]),
    seq=st.integers(1, 3),
    issued=st.sampled_from([NOW - MINUTE, NOW]),
)


def knowledge(state: KeyState) -> tuple[object, ...]:
    """What must not depend on the order in which records came."""
    return state.size, {register.record: register.remembered_until for register in state.registers}


def merge(state: KeyState, records: list[Record]) -> KeyState:
    for record in records:
        state = offer(state, record).state
    return state


@settings(max_examples=100, deadline=None)
@given(st.lists(ALIVE, max_size=6), st.randoms(use_true_random=False))
def test_merging_is_commutative(records: list[Record], rng: random.Random) -> None:
    shuffled = list(records)
    rng.shuffle(shuffled)
    assert knowledge(merge(EMPTY, records)) == knowledge(merge(EMPTY, shuffled))


@settings(max_examples=100, deadline=None)
@given(st.lists(ALIVE, max_size=6))
def test_merging_is_total_and_gives_the_maximum(records: list[Record]) -> None:
    held = merge(EMPTY, records)
    for by in (ALICE, BOB):
        said = [record for record in records if record.publisher == by]
        if said:
            assert winner(held, by) == max(said, key=lambda record: record.rank)
        else:
            assert held.register(by) is None


@settings(max_examples=100, deadline=None)
@given(st.lists(ALIVE, max_size=6))
def test_merging_is_idempotent(records: list[Record]) -> None:
    held = merge(EMPTY, records)
    for record in records:
        admission = offer(held, record)
        assert not admission.changed
        assert admission.verdict in {Verdict.SAME, Verdict.STALE}
        assert (admission.verdict is Verdict.STALE) == (record.stamp != winner(held, record.publisher).stamp)


@settings(max_examples=100, deadline=None)
@given(st.lists(ALIVE, max_size=4), st.lists(ALIVE, max_size=4), st.lists(ALIVE, max_size=4))
def test_merging_is_associative_so_holders_converge_after_a_partition(
    a: list[Record], b: list[Record], c: list[Record]
) -> None:
    def winners(state: KeyState) -> list[Record]:
        return sorted((register.record for register in state.registers), key=lambda record: record.publisher)

    left = merge(merge(EMPTY, winners(merge(merge(EMPTY, a), b))), winners(merge(EMPTY, c)))
    right = merge(merge(EMPTY, winners(merge(EMPTY, a))), winners(merge(merge(EMPTY, b), c)))
    assert winners(left) == winners(right)
    assert left.size == right.size


# More publishers than have places (rule 4). Few enough places that hypothesis fills them.

PLACES = attrs.evolve(RULES, max_publishers=3, max_remembered=5, max_unseen_tombstones=2)
OWN = publisher(0)
CROWD = st.tuples(
    st.builds(lease, by=st.integers(0, 9).map(publisher), seq=st.integers(1, 4), life=st.sampled_from([HOUR, DAY]))
    | st.builds(tombstone, by=st.integers(0, 9).map(publisher), seq=st.integers(1, 4)),
    st.sampled_from(
        [b"", *(how + bytes([1, 1, which]) for how in (PUBLISHED, CARRIED, REPLICATED) for which in (1, 2))]
    ),
)
Offers = list[tuple[Record, bytes]]


def take(state: KeyState, record: Record, brought_by: bytes) -> Admission:
    return admit(state, record, now=NOW, value_size=SIZE, own=OWN, brought_by=brought_by)


@pytest.fixture
def few_places(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (admission, registers):
        monkeypatch.setattr(module, "RULES", PLACES)


@pytest.mark.usefixtures("few_places")
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CROWD, max_size=40))
def test_in_a_crowd_nothing_is_forgotten_and_nobody_loses_a_place_to_whom_it_is_not_owed(offers: Offers) -> None:
    state = EMPTY
    for record, brought_by in offers:
        taken = take(state, record, brought_by)
        for before in state.registers:
            after = taken.state.register(before.record.publisher)
            # What is remembered against replays stays so (rules 6 and 8).
            assert after is not None
            assert after.record.rank >= before.record.rank
            assert after.remembered_until >= before.remembered_until
            if before.is_live(NOW) and after.has_yielded:
                assert before.record.publisher != OWN
                of_network = [r for r in state.registers if r.had_lease and r.brought_by == before.brought_by]
                is_entitled = before.brought_by.startswith(PUBLISHED) and before in of_network[: PLACES.max_of_network]
                assert not is_entitled
                newcomer = taken.state.register(record.publisher)
                assert newcomer is not None
                assert newcomer.brought_by.startswith(PUBLISHED) or record.publisher == OWN
        state = taken.state
        assert sum(register.is_live(NOW) for register in state.registers) <= PLACES.max_publishers
        publishers = sum(register.had_lease for register in state.registers)
        assert publishers <= 2 * PLACES.max_remembered
        assert len(state.registers) - publishers <= PLACES.max_unseen_tombstones


@pytest.mark.usefixtures("few_places")
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CROWD, max_size=30), st.randoms(use_true_random=False))
def test_in_a_crowd_holders_may_have_others_but_never_two_words_of_one_publisher_that_differ_for_good(
    offers: Offers, rng: random.Random
) -> None:
    """Which publishers have places depends on who came first. What a publisher said last does not (rule 2)."""
    here = there = EMPTY
    for record, brought_by in offers:
        here = take(here, record, brought_by).state
    for record, brought_by in rng.sample(offers, len(offers)):
        there = take(there, record, brought_by).state
    for register in here.registers:
        other = there.register(register.record.publisher)
        if other is None or other.record.rank == register.record.rank:
            continue
        lesser, greater = sorted((register, other), key=lambda each: each.record.rank)
        state = here if lesser is register else there
        told = take(state, greater.record, b"c\1\1\1")
        if told.verdict is Verdict.TOO_MANY_PUBLISHERS:
            assert not greater.record.is_tombstone
            assert not lesser.is_live(NOW)
        else:
            assert winner(told.state, greater.record.publisher) == greater.record


@pytest.mark.usefixtures("few_places")
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CROWD, max_size=30))
def test_in_a_crowd_merging_what_is_here_already_changes_nothing(offers: Offers) -> None:
    state = EMPTY
    for record, brought_by in offers:
        state = take(state, record, brought_by).state
    for register in state.registers:
        if not register.has_yielded:
            assert not take(state, register.record, register.brought_by).changed
