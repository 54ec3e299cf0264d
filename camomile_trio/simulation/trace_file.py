"""The file of one run's events: JSON lines, in the order in which things happened.

Rules of this file: how a line is written, not what it means. The first line says which run it was, the last how it
ended; a run that was cut short has no last one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

from camomile_trio.simulation.outcome import Outcome
from camomile_trio.simulation.run import Plan
from camomile_trio.simulation.trace import Happening

FORMAT: Final = 1
_BUFFER = 2**20  # bytes

_encode: Callable[[Happening], str] = json.JSONEncoder(separators=(",", ":"), default=str).encode


@attrs.frozen
class Writer:
    """Writes happenings to a file that is open."""

    _write: Callable[[str], object]

    def tell(self, happening: Happening) -> None:
        """One thing that happened."""
        self._write(_encode(happening) + "\n")

    def end(self, outcome: Outcome) -> None:
        """How the run ended."""
        self.tell(
            {
                "time": outcome.virtual_seconds,
                "event": "end",
                "trace": outcome.trace,
                "messages": outcome.messages,
                "passed": outcome.passed,
                "interrupted": outcome.interrupted,
            }
        )


@contextmanager
def writing(path: Path, plan: Plan) -> Iterator[Writer]:
    """A new file for the run of `plan`, written in large pieces and complete when the block is left."""
    with path.open("w", buffering=_BUFFER, encoding="utf-8") as file:
        writer = Writer(file.write)
        writer.tell(
            {
                "time": 0.0,
                "event": "run",
                "format": FORMAT,
                "scenario": plan.scenario.name,
                "nodes": plan.node_count,
                "seed": plan.seed,
                "repeat": plan.command,
            }
        )
        yield writer
