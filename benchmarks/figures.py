"""Figures: percentiles, medians over rounds with their spread, ratios, and who is far from a key.

Rules of this file: pure. Nothing is rounded before it is shown. A figure that could not be measured is None.
"""

from __future__ import annotations

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


def is_far(key: int, reader: int, nodes: Sequence[int], copies: int) -> bool:
    """Whether `reader` is not among the `copies` closest nodes to `key`, so that the value is held elsewhere."""
    closer = sum(1 for each in nodes if each != reader and each ^ key < reader ^ key)
    return closer >= copies
