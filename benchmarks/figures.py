"""Figures: percentiles, medians over rounds with the least and the most, ratios, and who is far from a key.

Rules of this file: pure. Nothing is rounded before it is shown. A figure that could not be measured is None.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import attrs


def percentile(times: Sequence[float], share: float) -> float | None:
    """Of sorted times: the least that at least `share` of them do not exceed (nearest rank)."""
    if not times:
        return None
    return times[max(0, -int(-len(times) * share // 1) - 1)]


@attrs.frozen
class Figure:
    """The median over rounds, with the least and the most."""

    median: float
    least: float
    most: float
    rounds: int


def over_rounds(measured: Sequence[float | None]) -> Figure | None:
    """None if no round has it."""
    known = [each for each in measured if each is not None]
    return Figure(statistics.median(known), min(known), max(known), len(known)) if known else None


def ratio(ours: Figure | None, theirs: Figure | None) -> float | None:
    """Of the medians."""
    return ours.median / theirs.median if ours is not None and theirs is not None and theirs.median else None


Pairs = Sequence[tuple[float | None, float | None]]
CONFIDENCE = 0.95


@attrs.frozen
class PairedRatio:
    """The median of the ratios of figures that were taken one right after the other, and an interval around it."""

    median: float
    low: float
    high: float
    pairs: int


def paired_ratio(pairs: Pairs) -> PairedRatio | None:
    """Of the pairs that have both figures. None if there is none.

    The interval has the true median with a probability of at least 95 %, whatever the ratios' distribution is, if they
    are independent: it goes from the k-th smallest to the k-th largest (the sign test's interval). Fewer than six
    ratios cannot give that, and the interval is then from the least to the most.
    """
    ratios = sorted(ours / theirs for ours, theirs in pairs if ours is not None and theirs)
    if not ratios:
        return None
    count, outer = len(ratios), 0
    while 2 * sum(math.comb(count, each) for each in range(outer + 2)) <= (1 - CONFIDENCE) * 2**count:
        outer += 1
    return PairedRatio(statistics.median(ratios), ratios[outer], ratios[-1 - outer], count)


def is_far(key: int, reader: int, nodes: Sequence[int], copies: int) -> bool:
    """Whether `reader` is not among the `copies` closest nodes to `key`, so that the value is held elsewhere."""
    closer = sum(1 for each in nodes if each != reader and each ^ key < reader ^ key)
    return closer >= copies
