"""Who is who in the trace of a run, and what happened in it besides packets.

Rules of this file: it reads a trace once and sorts what is in it; what it means for a story is the stories' business.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from camomile_trio.simulation.telling import ID_DIGITS
from camomile_trio.simulation.trace import Happening
from camomile_trio.simulation.trace_file import TraceFile

OPERATIONS = ("put", "get", "forget")


@attrs.frozen
class Cast:
    """Who is who in a trace, and what users did: everything in it but the packets."""

    ids: dict[int, list[tuple[float, bytes]]]  # of each machine: from when on it had which id
    operations: list[Happening]
    lookups: list[Happening]
    events: list[Happening]  # what befell machines and network
    _whose: dict[str, str] = attrs.field(init=False, factory=dict)

    @classmethod
    def of(cls, file: TraceFile, *, has_target: Callable[[str], bool] = lambda target: True) -> Cast:
        """Reads the file once. Of lookups only those are kept whose target is wanted: there may be very many."""
        cast = cls({}, [], [], [])
        for event in file.events():
            name = event.get("event")
            if name == "scenario_over":
                break  # all machines are taken down then
            if name in OPERATIONS:
                cast.operations.append(event)
            elif name == "lookup":
                if has_target(str(event["target"])):
                    cast.lookups.append(event)
            elif name not in ("run", "end"):
                cast.events.append(event)
                if name == "start":
                    raw = bytes.fromhex(str(event["id"]))
                    cast.ids.setdefault(int(number(event["machine"])), []).append((number(event["time"]), raw))
                    cast._whose[raw.hex()[:ID_DIGITS]] = str(event["machine"])
        return cast

    def id_at(self, who: str, time: float) -> bytes | None:
        """The id that a machine had then; None of anybody else."""
        had = self.ids.get(int(who), []) if who.isdecimal() else []
        return next((each for since, each in reversed(had) if since <= time), None)

    def whose(self, short_id: str) -> str:
        """The machine that has, or had, the id of which these are the first digits; empty if none."""
        return self._whose.get(short_id, "")


def number(value: object) -> float:
    """A number of a trace."""
    assert isinstance(value, (int, float))
    return float(value)


def counted(value: object, what: str) -> str:
    """1 hop, 2 hops."""
    return f"{value} {what}" if value == 1 else f"{value} {what}s"
