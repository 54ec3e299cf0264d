"""Partitions, both ways and one way. Single cuts are in test_links.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camomile_trio.errors import ConfigError
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.simulation.links import Cuts

ENDPOINTS = [Endpoint.parse(f"10.0.0.{number}:8118") for number in range(1, 7)]
ALICE, BOB, CAROL, DAVE, *_ = ENDPOINTS


def test_one_way_the_first_side_hears_the_second_which_does_not_hear_it() -> None:
    severance = Cuts()
    severance.partition([[ALICE], [BOB, CAROL]], one_way=True)
    assert not severance.block(BOB, ALICE)
    assert severance.block(ALICE, BOB)
    assert not severance.block(BOB, CAROL)
    # Dave is in no group, so in the last: heard by all, and hearing none of the others.
    assert not severance.block(DAVE, ALICE)
    assert not severance.block(DAVE, BOB)
    assert severance.block(ALICE, DAVE)
    assert severance.block(BOB, DAVE)


@given(st.lists(st.integers(0, 3), min_size=6, max_size=6))
def test_a_one_way_partition_severs_one_way_what_a_full_one_severs_both_ways(groups: list[int]) -> None:
    sides = [[endpoint for endpoint, group in zip(ENDPOINTS, groups, strict=True) if group == n] for n in range(3)]
    full, one_way = Cuts(), Cuts()
    full.partition(sides)
    one_way.partition(sides, one_way=True)
    for a in ENDPOINTS:
        for b in ENDPOINTS:
            assert full.block(a, b) == full.block(b, a) == (one_way.block(a, b) or one_way.block(b, a))
            assert not (one_way.block(a, b) and one_way.block(b, a))


def test_nobody_is_on_two_sides() -> None:
    severance = Cuts()
    severance.partition([[ALICE], [BOB]])
    with pytest.raises(ConfigError, match="two groups"):
        severance.partition([[ALICE, BOB], [CAROL, BOB]])
    assert severance.block(ALICE, BOB)
    severance.partition([[ALICE, ALICE], [BOB]])
    assert severance.block(ALICE, BOB)


def test_a_new_partition_ends_the_former_one_and_leaves_cuts() -> None:
    severance = Cuts()
    severance.cut(CAROL, DAVE)
    severance.partition([[ALICE], [BOB]], one_way=True)
    severance.partition([[ALICE, BOB]])
    assert not severance.block(ALICE, BOB)
    assert severance.block(CAROL, DAVE)
    severance.heal_all()
    assert not severance
    assert not severance.block(CAROL, DAVE)
