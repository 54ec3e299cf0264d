"""Numbers about numbers: known cases by hand, laws by hypothesis."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camomile_trio.simulation.distribution import Tally, curve, gini, lorenz, percentile

AMOUNTS = st.lists(st.integers(0, 10_000), min_size=1, max_size=200).map(sorted)
PERCENTS = st.integers(0, 100)


@pytest.mark.parametrize(("percent", "expected"), [(0, 15), (5, 15), (30, 20), (40, 20), (50, 35), (100, 50)])
def test_percentiles_are_by_nearest_rank(percent: int, expected: int) -> None:
    assert percentile([15, 20, 35, 40, 50], percent) == expected


def test_of_twenty_numbers_one_is_beyond_the_95th_percentile() -> None:
    assert percentile(list(range(1, 21)), 95) == 19
    assert percentile([], 95) == 0


@given(AMOUNTS, PERCENTS)
def test_a_percentile_is_the_least_number_that_is_not_below_its_share(numbers: list[int], percent: int) -> None:
    found = percentile(numbers, percent)
    assert found in numbers
    assert sum(each <= found for each in numbers) * 100 >= percent * len(numbers)
    smaller = [each for each in numbers if each < found]
    assert len(smaller) * 100 < percent * len(numbers) or not smaller


@given(AMOUNTS, PERCENTS)
def test_a_tally_agrees_with_the_numbers_in_it(numbers: list[int], percent: int) -> None:
    tally = Tally()
    for number in numbers:
        tally.add(number)
    assert tally.percentile(percent) == percentile(numbers, percent)
    assert tally.mean() == pytest.approx(sum(numbers) / len(numbers), abs=1e-6)
    assert (tally.total, tally.most()) == (len(numbers), numbers[-1])
    assert sum(tally.as_list()) == len(numbers)


def test_an_empty_tally_has_nothing() -> None:
    tally = Tally()
    assert (tally.percentile(50), tally.mean(), tally.most(), tally.as_list()) == (0, 0.0, 0, [])


@given(AMOUNTS)
def test_a_curve_of_percentiles_rises_from_the_least_to_the_largest(numbers: list[int]) -> None:
    found = curve(numbers)
    assert found == sorted(found)
    assert (len(found), found[0], found[-1]) == (101, numbers[0], numbers[-1])


def test_what_is_alike_is_even_and_what_is_in_one_place_is_not() -> None:
    assert gini([3, 3, 3, 3]) == 0
    assert gini([0, 0, 0, 12]) == 0.75
    assert gini([0, 0]) == 0
    assert lorenz([0, 0, 0, 12])[75] == 0
    assert lorenz([3, 3, 3, 3])[50] == 0.5
    assert lorenz([]) == []


@given(AMOUNTS)
def test_the_less_loaded_half_never_has_more_than_half(numbers: list[int]) -> None:
    assert 0 <= gini(numbers) < 1
    shares = lorenz(numbers)
    assert all(share <= (percent + 1) / 100 + 1 / len(numbers) for percent, share in enumerate(shares))
    assert shares == sorted(shares)
