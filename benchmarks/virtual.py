"""Runs a simulated network for a measurement: in virtual time, the same each time, and without its logs.

Rules of this file: it reaches the simulation by its two seams, clock and scheduling, and leaves structlog as it was.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
import trio

from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.simulation.scheduling import deterministic_scheduling


def run_virtually(main: Callable[[], Awaitable[None]], seed: int) -> None:
    """Runs `main` to its end."""
    before = structlog.get_config()
    structlog.configure(processors=[_drop])
    try:
        with deterministic_scheduling(seed):
            trio.run(main, clock=VirtualClock())
    finally:
        structlog.configure(**before)


def _drop(logger: object, name: str, event: object) -> str:
    raise structlog.DropEvent
