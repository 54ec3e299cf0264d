"""The file of one run's events: JSON lines, in the order in which things happened.

Rules of this file: how a line is written and found again, not what it means. The first line says which run it was, the
last how it ended; a run that was cut short has no last one. Lines of packets begin with the same fields in the same
order, so that a reader finds its way through millions of them without parsing each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

from camomile_trio.errors import CallerError
from camomile_trio.simulation.outcome import Outcome
from camomile_trio.simulation.run import Plan
from camomile_trio.simulation.trace import Happening

FORMAT: Final = 1
_BUFFER = 2**20  # bytes

_encode: Callable[[Happening], str] = json.JSONEncoder(separators=(",", ":"), default=str).encode
_PACKET = re.compile(
    r'\{"time":(?P<time>[^,]+),"event":"packet","session":"(?P<session>[0-9a-f]*)","kind":"(?P<kind>\w+)"'
    r',"from":(?P<source>"[^"]*"|\d+),"to":(?P<destination>"[^"]*"|\d+),'
)


class NotATrace(CallerError):
    """The file is none that `camomile simulate --trace` has written."""

    default_remedy = "make one with camomile simulate --trace FILE"


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


@attrs.frozen
class PacketLine:
    """A packet, as far as its line was read: who wrote to whom, and in which session."""

    text: str
    time: float
    session: str
    kind: str
    source: str  # as in JSON: a machine's number, or somebody else's endpoint in quotes
    destination: str

    def parse(self) -> Happening:
        """All of it."""
        return _parsed(self.text)


@attrs.frozen
class TraceFile:
    """A file that is there, read anew from its start as often as somebody wants. Whatever is wrong: `NotATrace`."""

    path: Path

    def run(self) -> Happening:
        """The first line: which run this was."""
        with self.path.open(encoding="utf-8", errors="replace") as file:
            first = _parsed(file.readline(10_000))
        if first.get("event") != "run" or first.get("format") != FORMAT:
            raise NotATrace(f"{self.path} holds no trace of a simulation")
        return first

    def events(self) -> Iterator[Happening]:
        """All that happened but the packets."""
        for text in self._lines():
            if '"event":"packet"' not in text[:60]:
                yield _parsed(text)

    def packets(self) -> Iterator[PacketLine]:
        """The packets."""
        for text in self._lines():
            if found := _PACKET.match(text):
                yield PacketLine(
                    text, float(found["time"]), found["session"], found["kind"], found["source"], found["destination"]
                )

    def _lines(self) -> Iterator[str]:
        with self.path.open(encoding="utf-8", errors="replace", buffering=_BUFFER) as file:
            for text in file:
                # The last line of a run that was killed may have been cut short.
                if text.endswith("\n"):
                    yield text


def _parsed(text: str) -> Happening:
    try:
        found = json.loads(text)
    except ValueError:
        raise NotATrace(f"a line is no JSON: {text[:60]!r}") from None
    if not isinstance(found, dict):
        raise NotATrace(f"a line is no event: {text[:60]!r}")
    return found
