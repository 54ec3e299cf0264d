"""When a put or forget has succeeded. Ids are one byte, the target is 0, so a node's number is its distance."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camomile_trio.kademlia.acknowledgement import Acknowledgements, Failed, Refused, Success
from camomile_trio.kademlia.ids import NodeId
from camomile_trio.kademlia.messages import Durability, StoreStatus

TARGET = b"\x00"
OWN = 200  # far from the target, unless a story says otherwise


def node(number: int) -> NodeId:
    return NodeId(bytes([number]))


def tally(k: int, *, own: int = OWN, alone: bool = False, least: int = 1) -> Acknowledgements:
    return Acknowledgements(k, target=TARGET, own=node(own), alone=alone, least=least)


def looked_up(k: int, *, closest: list[int], own: int = OWN, least: int = 1) -> Acknowledgements:
    """A tally whose lookup has ended with these nodes as the closest."""
    acknowledgements = tally(k, own=own, least=least)
    for number in closest:
        acknowledgements.on_answered(node(number))
    acknowledgements.on_lookup_end([node(number) for number in closest])
    return acknowledgements


def acknowledge(acknowledgements: Acknowledgements, *numbers: int) -> None:
    for number in numbers:
        acknowledgements.on_acknowledged(node(number), Durability.SYSTEM)


@pytest.mark.parametrize(("m", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_a_majority_among_the_closest_is_success_and_one_less_is_not(m: int, needed: int) -> None:
    acknowledgements = looked_up(5, closest=list(range(1, m + 1)))
    acknowledge(acknowledgements, *range(1, needed))
    assert acknowledgements.outcome is None
    acknowledge(acknowledgements, needed)
    assert acknowledgements.outcome == Success()


def test_a_holder_beyond_the_closest_shows_among_the_replicas_and_does_not_count() -> None:
    acknowledgements = looked_up(3, closest=[1, 2, 3])
    acknowledge(acknowledgements, 1, 9, 10)
    assert acknowledgements.outcome is None
    assert acknowledgements.replicas == 3


def test_where_more_than_k_count_the_majority_is_that_of_all_of_them() -> None:
    acknowledgements = looked_up(3, closest=[1, 2, 3, 8, 9])
    acknowledge(acknowledgements, 1, 2)
    assert acknowledgements.outcome is None
    acknowledge(acknowledgements, 9)
    assert acknowledgements.outcome == Success()


def test_this_node_counts_where_it_is_among_the_closest_and_only_there() -> None:
    near = looked_up(3, closest=[1, 2, 3], own=2)
    near.on_own_copy(Durability.DISK)
    acknowledge(near, 1)
    assert near.outcome == Success()
    far = looked_up(3, closest=[1, 2, 3], own=200)
    far.on_own_copy(Durability.DISK)
    acknowledge(far, 1)
    assert far.outcome is None


# Before the lookup's end.


def test_before_the_end_a_majority_of_k_among_the_closest_so_far_is_enough() -> None:
    acknowledgements = tally(5)
    for number in (1, 2, 3, 4, 5, 6):
        acknowledgements.on_answered(node(number))
    acknowledge(acknowledgements, 1, 3)
    assert acknowledgements.outcome is None
    acknowledge(acknowledgements, 5)
    assert acknowledgements.outcome == Success()


def test_before_the_end_the_acknowledgements_of_farther_nodes_do_not_count() -> None:
    acknowledgements = tally(5)
    for number in (1, 2, 3, 4, 5, 6, 7, 8):
        acknowledgements.on_answered(node(number))
    acknowledge(acknowledgements, 6, 7, 8)
    assert acknowledgements.outcome is None


def test_before_the_end_a_majority_of_those_that_are_there_is_not_enough() -> None:
    acknowledgements = tally(5)
    acknowledgements.on_answered(node(1))
    acknowledge(acknowledgements, 1, 2)
    assert acknowledgements.outcome is None
    acknowledgements.on_lookup_end([node(1), node(2)])
    assert acknowledgements.outcome == Success()


def test_before_the_end_nothing_is_lost_however_many_refuse() -> None:
    acknowledgements = tally(3)
    for number in (5, 6, 7):
        acknowledgements.on_answered(node(number))
        acknowledgements.on_refused(node(number), StoreStatus.FULL)
    assert acknowledgements.outcome is None
    acknowledge(acknowledgements, 1, 2)
    assert acknowledgements.outcome == Success()


# Failure and refusal.


def test_it_fails_as_soon_as_no_majority_is_possible() -> None:
    acknowledgements = looked_up(5, closest=[1, 2, 3, 4, 5])
    acknowledge(acknowledgements, 1)
    acknowledgements.on_failed(node(2))
    acknowledgements.on_refused(node(3), StoreStatus.BUSY)
    assert acknowledgements.outcome is None
    acknowledgements.on_failed(node(4))
    assert acknowledgements.outcome == Failed()


def test_a_majority_that_refuses_for_one_reason_gives_that_reason() -> None:
    acknowledgements = looked_up(5, closest=[1, 2, 3, 4, 5])
    for number in (1, 2, 3):
        assert acknowledgements.outcome is None
        acknowledgements.on_refused(node(number), StoreStatus.TOO_LARGE)
    assert acknowledgements.outcome == Refused(StoreStatus.TOO_LARGE)


def test_full_disks_and_full_storages_are_one_reason() -> None:
    acknowledgements = looked_up(3, closest=[1, 2, 3])
    acknowledge(acknowledgements, 1)
    acknowledgements.on_refused(node(2), StoreStatus.NO_ROOM)
    acknowledgements.on_refused(node(3), StoreStatus.FULL)
    assert acknowledgements.outcome == Refused(StoreStatus.FULL)


def test_a_reason_that_may_still_find_a_majority_is_waited_for() -> None:
    acknowledgements = looked_up(4, closest=[1, 2, 3, 4])
    acknowledgements.on_failed(node(1))
    acknowledgements.on_refused(node(2), StoreStatus.TOO_LARGE)
    assert acknowledgements.outcome is None  # hopeless, but one dead node is not to hide the reason of the others
    acknowledgements.on_refused(node(3), StoreStatus.TOO_LARGE)
    acknowledgements.on_refused(node(4), StoreStatus.TOO_LARGE)
    assert acknowledgements.outcome == Refused(StoreStatus.TOO_LARGE)


def test_refusals_are_counted_by_their_reason() -> None:
    acknowledgements = looked_up(4, closest=[1, 2, 3, 4])
    acknowledgements.on_refused(node(1), StoreStatus.FULL)
    acknowledgements.on_refused(node(2), StoreStatus.FULL)
    acknowledgements.on_refused(node(3), StoreStatus.QUOTA)
    acknowledgements.on_failed(node(4))
    assert acknowledgements.refusals == {StoreStatus.FULL: 2, StoreStatus.QUOTA: 1}


def test_refusals_for_several_reasons_are_a_failure_without_a_reason() -> None:
    acknowledgements = looked_up(3, closest=[1, 2, 3])
    acknowledgements.on_refused(node(1), StoreStatus.FULL)
    acknowledgements.on_refused(node(2), StoreStatus.QUOTA)
    assert acknowledgements.outcome is None
    acknowledgements.on_refused(node(3), StoreStatus.BUSY)
    assert acknowledgements.outcome == Failed()


def test_an_acknowledgement_after_a_refusal_counts_and_not_the_other_way_round() -> None:
    acknowledgements = looked_up(3, closest=[1, 2, 3])
    acknowledgements.on_refused(node(1), StoreStatus.VALUE_NEEDED)
    acknowledge(acknowledgements, 1)
    acknowledgements.on_failed(node(1))
    acknowledgements.on_failed(node(2))
    assert acknowledgements.outcome is None
    acknowledge(acknowledgements, 3)
    assert acknowledgements.outcome == Success()


def test_the_outcome_stays_once_it_is_there() -> None:
    acknowledgements = looked_up(3, closest=[1, 2, 3])
    for number in (1, 2):
        acknowledgements.on_failed(node(number))
    acknowledge(acknowledgements, 1, 2, 3)
    assert acknowledgements.outcome == Failed()
    assert acknowledgements.replicas == 3


# As many as there are at least.


@pytest.mark.parametrize(("m", "least", "needed"), [(2, 3, 2), (3, 3, 2), (3, 4, 3), (3, 5, 3), (5, 3, 3), (5, 9, 3)])
def test_a_majority_is_that_of_as_many_as_there_are_at_least_and_of_k_at_most(m: int, least: int, needed: int) -> None:
    acknowledgements = looked_up(5, closest=list(range(1, m + 1)), least=least)
    acknowledge(acknowledgements, *range(1, needed))
    assert acknowledgements.outcome is None
    acknowledge(acknowledgements, needed)
    assert acknowledgements.outcome == Success()


def test_fewer_than_a_majority_of_those_cannot_acknowledge() -> None:
    acknowledgements = looked_up(5, closest=[1], least=3)
    assert acknowledgements.outcome == Failed(short=True)


def test_a_first_node_that_is_not_the_only_one_does_not_count_alone() -> None:
    acknowledgements = tally(20, own=1, alone=True, least=3)
    acknowledgements.on_answered(node(1))
    acknowledgements.on_lookup_end([node(1)])
    assert acknowledgements.outcome == Failed(short=True)


def test_before_the_end_a_majority_of_k_is_one_of_any_that_there_may_be() -> None:
    acknowledgements = tally(3, least=9)
    for number in (1, 2):
        acknowledgements.on_answered(node(number))
    acknowledge(acknowledgements, 1, 2)
    assert acknowledgements.outcome == Success()


# A node by itself.


def test_a_node_of_which_no_contact_answers_acknowledges_nothing_alone() -> None:
    acknowledgements = tally(1, own=1)
    acknowledgements.on_answered(node(1))
    acknowledgements.on_own_copy(Durability.DISK)
    assert acknowledgements.outcome is None
    acknowledgements.on_lookup_end([node(1)])
    assert acknowledgements.outcome == Failed(alone=True)


def test_the_first_node_of_a_network_counts_alone() -> None:
    acknowledgements = tally(20, own=1, alone=True)
    acknowledgements.on_answered(node(1))
    acknowledgements.on_lookup_end([node(1)])
    assert acknowledgements.outcome is None
    acknowledgements.on_own_copy(Durability.SYSTEM)
    assert acknowledgements.outcome == Success()


@pytest.mark.parametrize("alone", [True, False])
def test_a_put_to_which_no_node_answers_succeeds_by_the_publishers_copy_where_that_counts_alone(alone: bool) -> None:
    acknowledgements = tally(3, alone=alone)
    acknowledgements.on_lookup_end([])
    acknowledgements.on_own_copy(Durability.DISK)
    assert acknowledgements.outcome == (Success() if alone else Failed(alone=True))


def test_where_no_node_answers_a_refusal_of_our_own_is_the_reason() -> None:
    acknowledgements = tally(3, alone=True)
    acknowledgements.on_lookup_end([])
    acknowledgements.on_refused(node(OWN), StoreStatus.FULL)
    assert acknowledgements.outcome == Refused(StoreStatus.FULL)


# What the caller is told.


def test_durable_counts_what_reached_the_system_or_the_disk() -> None:
    acknowledgements = looked_up(5, closest=[1, 2, 3, 4])
    for number, durability in enumerate((Durability.MEMORY, Durability.SYSTEM, Durability.DISK), start=1):
        acknowledgements.on_acknowledged(node(number), durability)
    assert (acknowledgements.replicas, acknowledgements.durable) == (3, 2)
    assert acknowledgements.outcome == Success()  # memory counts for the majority like the others


def test_a_node_that_acknowledges_twice_counts_once_with_the_better_word() -> None:
    acknowledgements = looked_up(3, closest=[1, 2, 3])
    for durability in (Durability.MEMORY, Durability.DISK, Durability.MEMORY):
        acknowledgements.on_acknowledged(node(1), durability)
    assert (acknowledgements.replicas, acknowledgements.durable) == (1, 1)
    assert acknowledgements.outcome is None


WORDS = st.sampled_from(["stored", StoreStatus.FULL, StoreStatus.QUOTA, "silent"])


@settings(max_examples=100, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_the_outcome_is_that_of_all_words_in_whatever_order_they_come(
    words: list[str | StoreStatus], rng: random.Random
) -> None:
    acknowledgements = looked_up(8, closest=list(range(1, len(words) + 1)))
    order = list(enumerate(words, start=1))
    rng.shuffle(order)
    for number, word in order:
        if word == "stored":
            acknowledge(acknowledgements, number)
        elif isinstance(word, StoreStatus):
            acknowledgements.on_refused(node(number), word)
        else:
            acknowledgements.on_failed(node(number))
    majority = len(words) // 2 + 1
    agreed = [word for word in words if words.count(word) >= majority and word != "silent"]
    if not agreed:
        assert acknowledgements.outcome == Failed()
    elif isinstance(agreed[0], StoreStatus):
        assert acknowledgements.outcome == Refused(agreed[0])
    else:
        assert acknowledgements.outcome == Success()


def test_before_the_end_a_candidate_that_has_not_answered_keeps_those_behind_it_from_counting() -> None:
    acknowledgements = tally(3)
    candidates = [node(1), node(2), node(5)]
    acknowledgements.candidates = lambda: candidates
    acknowledge(acknowledgements, 5, 9)
    assert acknowledgements.outcome is None  # 9 is none of the three closest
    candidates[1:] = [node(5), node(9)]
    acknowledgements.on_answered(node(12))
    assert acknowledgements.outcome == Success()


def test_before_the_end_more_than_k_that_count_need_a_majority_of_all_of_them() -> None:
    acknowledgements = tally(3)
    acknowledgements.candidates = lambda: [node(number) for number in range(1, 8)]
    acknowledge(acknowledgements, 1, 2, 3)
    assert acknowledgements.outcome is None
    acknowledge(acknowledgements, 7)
    assert acknowledgements.outcome == Success()


def test_after_the_end_candidates_count_no_more() -> None:
    acknowledgements = tally(3)
    acknowledgements.candidates = lambda: [node(1), node(2)]
    acknowledge(acknowledgements, 5, 9)
    acknowledgements.on_lookup_end([node(5), node(9), node(12)])
    assert acknowledgements.outcome == Success()
