"""How far a simulated run has come, on a terminal: phase, virtual time, messages a second, time left.

Rules of this file: it goes to standard error, and only to a terminal. It draws when the run beats, in the run's own
thread: beside a run that shall be the same every time there is no other.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from camomile_trio.simulation.run import Watcher

if TYPE_CHECKING:
    from camomile_trio.simulation.world import World

EVERY = 0.1  # s between two drawings


@contextmanager
def bar_on_terminal() -> Iterator[Watcher | None]:
    """Gives what is to be called at every beat; None where there is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from camomile_trio.cli.outcome_page import seconds_text

    began = drawn = time.monotonic()
    phase = ""
    progress = Progress(
        TextColumn("{task.description}", style="bold"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[virtual]} virtual"),
        TextColumn("{task.fields[rate]} messages/s"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        auto_refresh=False,
    )
    task = progress.add_task("starting", total=None, virtual="0 s", rate="0")

    def draw(world: World) -> None:
        nonlocal drawn, phase
        now, found = time.monotonic(), world.progress
        if now - drawn < EVERY:
            return
        drawn = now
        if found.phase != phase:
            phase = found.phase
            progress.reset(task, total=found.total or None, description=phase)
        rate = f"{world.trace.messages / (now - began):,.0f}"
        progress.update(task, completed=found.done, virtual=seconds_text(world.now), rate=rate)
        progress.refresh()

    with progress:
        yield draw
