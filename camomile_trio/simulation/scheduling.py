"""The one place that reaches into Trio: its scheduler shuffles what can run at the same moment.

Rules of this file: nothing else in this package imports what is private to Trio, and `tests/test_layering.py` holds
that. Trio has the switch for its own tests with Hypothesis: with it, tasks that can run at the same moment are sorted
by age, then shuffled by a generator of its own, which is seeded here. So tasks still meet in many orders, one a seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import trio._core._run as trio_run


@contextmanager
def deterministic_scheduling(seed: int) -> Iterator[None]:
    """Runs of Trio that begin in this block schedule their tasks by `seed` alone."""
    was_deterministic, generator = trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    trio_run._r = random.Random(seed)
    try:
        yield
    finally:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING = was_deterministic  # type: ignore[misc]
        trio_run._r = generator
