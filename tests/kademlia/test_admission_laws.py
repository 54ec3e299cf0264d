"""Merging is total, commutative, associative and idempotent (rule 2), whatever records come in whatever order."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from camomile_trio.kademlia.admission import Admission, Verdict, admit
from camomile_trio.kademlia.records import PublisherKey, Record
from camomile_trio.kademlia.registers import KeyState
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
    return state.size, [(register.record, register.remembered_until) for register in state.registers]


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
        return [register.record for register in state.registers]

    left = merge(merge(EMPTY, winners(merge(merge(EMPTY, a), b))), winners(merge(EMPTY, c)))
    right = merge(merge(EMPTY, winners(merge(EMPTY, a))), winners(merge(merge(EMPTY, b), c)))
    assert winners(left) == winners(right)
    assert left.size == right.size
