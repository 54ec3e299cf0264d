"""The one place that reaches into Trio: its scheduler shuffles what can run at the same moment, and asks the system
for input at every step.

Rules of this file: nothing else in this package imports what is private to Trio, and `tests/test_layering.py` holds
that. Trio has the switch for its own tests with Hypothesis: with it, tasks that can run at the same moment are sorted
by age, then shuffled by a generator of its own, which is seeded here. So tasks still meet in many orders, one a seed.
A simulation has no input but signals, so the system is asked for it now and then only.
"""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import trio._core._run as trio_run

_Ask = Callable[[object, float], Any]

# Steps of the event loop between two looks for a signal, while there is something to do: a millisecond or so.
STEPS = 128


def _seldom(ask: _Ask) -> _Ask:
    """Asks the system for events once in `STEPS` steps, while there is something to do."""
    steps = itertools.count(1)

    def get_events(manager: object, timeout: float) -> Any:
        return [] if timeout <= 0 and next(steps) % STEPS else ask(manager, timeout)

    return get_events


@contextmanager
def deterministic_scheduling(seed: int) -> Iterator[None]:
    """Runs of Trio that begin in this block schedule their tasks by `seed` alone, and wait for nobody outside."""
    was_deterministic, generator = trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r
    # Of epoll or kqueue; the one of Windows counts its events instead of listing them, and is left as it is.
    manager: Any = vars(trio_run)["TheIOManager"]
    ask = manager.get_events
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    trio_run._r = random.Random(seed)
    if sys.platform != "win32":
        manager.get_events = _seldom(ask)
    try:
        yield
    finally:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING = was_deterministic  # type: ignore[misc]
        trio_run._r = generator
        manager.get_events = ask
