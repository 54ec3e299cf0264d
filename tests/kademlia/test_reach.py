"""How far from a key candidates are certain. Ids are two bytes, the target is 0, so a node's number is its distance."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import NodeId
from camomile_trio.kademlia.reach import EVERYBODY, NOBODY, Reach

TARGET = bytes(2)
OWN = 0xFFFF


def node(number: int) -> NodeId:
    return NodeId(number.to_bytes(2, "big"))


def contacts(*numbers: int) -> list[Contact]:
    return [Contact(node(number), Endpoint.of(bytes([127, 0, 0, 1]), 1 + number)) for number in numbers]


def looking(*, k: int = 3, own: int = OWN) -> Reach:
    return Reach(TARGET, k=k, own=node(own))


def test_one_node_alone_makes_nothing_certain() -> None:
    reach = looking()
    reach.on_answer(node(1), contacts(4, 9, 14))
    assert reach.up_to(1) == NOBODY


def test_what_two_nodes_vouch_for_is_certain_up_to_the_block_of_the_kth_that_they_name() -> None:
    reach = looking()
    reach.on_answer(node(1), contacts(4, 9, 15))
    reach.on_answer(node(4), contacts(1, 9, 15))
    assert reach.up_to(15) == 7
    # Node 4 knows the three closest to itself, which of the block 8 to 15 need not be the closest to the target.
    reach.on_answer(node(2), contacts(1, 9, 15))
    assert reach.up_to(15) == 11
    assert reach.holds(node(11))
    assert not reach.holds(node(12))


def test_a_node_farther_away_than_those_that_it_names_vouches_for_nobody() -> None:
    reach = looking()
    for far in (0x1000, 0x2000, 0x3000):
        reach.on_answer(node(far), contacts(4, 9, 15))
    assert reach.up_to(EVERYBODY) == NOBODY


def test_the_last_contact_of_a_shortened_answer_bounds_what_it_vouches_for() -> None:
    reach = looking(own=2)
    reach.on_answer(node(1), contacts(4, 9), is_shortened=True)
    reach.on_answer(node(4), contacts(1, 9, 15))
    assert reach.up_to(15) == 7
    reach.on_answer(node(3), contacts(), is_shortened=True)
    assert reach.up_to(15) == 7


def test_an_answer_with_fewer_contacts_says_nothing_unless_it_says_that_it_was_shortened() -> None:
    reach = looking()
    for close in (1, 2, 3):
        reach.on_answer(node(close), contacts(9, 15))
    assert reach.up_to(EVERYBODY) == NOBODY


def test_who_asks_is_not_named_and_may_be_one_of_those_that_are_known() -> None:
    reach = looking(own=5)
    for close in (1, 2):
        reach.on_answer(node(close), contacts(4, 9, 15))
    assert reach.up_to(EVERYBODY) == 7  # 4, 5 and 9 are the three that they are sure to know


def test_the_density_around_ourselves_tells_who_is_close_before_anybody_has_answered() -> None:
    reach = looking(own=0x4000)
    reach.on_neighbours(contacts(0x4010, 0x4080, 0x4100))
    assert reach.distance == 0x80


def test_where_there_are_fewer_than_k_nodes_all_are_certain() -> None:
    reach = looking()
    reach.on_neighbours(contacts(0x4010, 3))
    assert reach.holds(node(0xFFFE))


def test_answers_are_judged_when_what_was_judged_does_not_reach_far_enough() -> None:
    reach = looking()
    reach.on_answer(node(1), contacts(4, 9, 15))
    reach.on_answer(node(4), contacts(1, 9, 15))
    reach.on_answer(node(2), contacts(1, 9, 15))
    assert reach.up_to(3) == reach.up_to(7) == 7
    assert reach.up_to(8) == 11


@given(st.integers(0, 2**32), st.integers(2, 5), st.integers(8, 40))
def test_where_nodes_know_their_neighbours_nobody_within_reach_is_unknown(seed: int, k: int, count: int) -> None:
    """Each node knows the k closest to itself, whoever they are, and a few others; nobody knows more."""
    rng = random.Random(seed)
    everybody = rng.sample(range(1, OWN), count)
    reach = looking(k=k)
    told: set[int] = set()
    for number in sorted(everybody)[: 2 * k]:
        others = [each for each in everybody if each != number]
        neighbours = sorted(others, key=number.__xor__)[:k]
        known = sorted({*neighbours, *rng.sample(others, 2)})[:k]
        told |= {number, *known}
        reach.on_answer(node(number), contacts(*known))
        reach.up_to(EVERYBODY)
        within = [each for each in everybody if reach.holds(node(each))]
        assert told.issuperset(within)
