"""Numbers about many numbers: percentiles, how unevenly something is spread.

Rules of this file: pure. Percentiles are by nearest rank, so that each is one of the numbers; nothing is interpolated.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import attrs

# Figures are for people: so many digits after the point are enough.
_DIGITS = 6


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of numbers in ascending order; 0 of none."""
    if not ordered:
        return 0.0
    return ordered[_rank(len(ordered), percent) - 1]


def _rank(count: int, percent: float) -> int:
    """The least rank, from 1, at or below which so many percent of `count` numbers are."""
    return min(max(math.ceil(percent * count / 100), 1), count)


def mean(numbers: Sequence[float]) -> float:
    """0 of none."""
    return rounded(sum(numbers) / len(numbers)) if numbers else 0.0


def rounded(number: float) -> float:
    return round(number, _DIGITS)


def curve(ordered: Sequence[float]) -> list[float]:
    """The percentiles 0, 1, … 100 of numbers in ascending order."""
    return [rounded(percentile(ordered, percent)) for percent in range(101)]


def gini(ordered: Sequence[float]) -> float:
    """How unevenly numbers (in ascending order, none below 0) are spread: 0 all alike, towards 1 all in one place."""
    total = sum(ordered)
    if not total:
        return 0.0
    count = len(ordered)
    weighted = sum(rank * number for rank, number in enumerate(ordered, 1))
    return rounded(2 * weighted / (count * total) - (count + 1) / count)


def lorenz(ordered: Sequence[float]) -> list[float]:
    """Which share of the total the least 0, 1, … 100 % have together, of numbers in ascending order; empty for none."""
    total = sum(ordered)
    if not total:
        return []
    sums = [0.0]
    for number in ordered:
        sums.append(sums[-1] + number)
    return [rounded(sums[round(percent * len(ordered) / 100)] / total) for percent in range(101)]


@attrs.define(eq=False)
class Tally:
    """Whole numbers of which there are very many and few different ones."""

    counts: Counter[int] = attrs.field(factory=Counter)

    def add(self, number: int) -> None:
        self.counts[number] += 1

    @property
    def total(self) -> int:
        """How many there are."""
        return self.counts.total()

    def mean(self) -> float:
        """0 of none."""
        return rounded(sum(each * count for each, count in self.counts.items()) / (self.total or 1))

    def most(self) -> int:
        """0 of none."""
        return max(self.counts, default=0)

    def percentile(self, percent: float) -> int:
        """By nearest rank; 0 of none."""
        left = _rank(self.total, percent)
        for number, count in sorted(self.counts.items()):
            left -= count
            if left <= 0:
                return number
        return 0

    def as_list(self) -> list[int]:
        """How often there is 0, 1, 2, … up to the largest."""
        return [self.counts[number] for number in range(self.most() + 1)] if self.counts else []
