"""Questions and their answers, found in a trace: who asked whom, when it arrived, and what came back.

Rules of this file: it pairs packets, it does not judge them. A trace has what arrived. So a question that was lost on
its way is not here at all, and one whose answer was lost stands without it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import attrs

from camomile_trio.simulation.trace import Happening
from camomile_trio.simulation.trace_file import PacketLine, TraceFile

QUESTIONS = ("find_node", "find_value", "store", "have", "ping")
ANSWERS = ("node_list", "value", "store_result", "have_result", "pong", "too_large")


@attrs.define(eq=False)
class Ask:
    """One question, however often it arrived. Machines go by their names in a trace: a number, or a quoted endpoint."""

    session: str
    kind: str
    asker: str
    asked: str
    at: float  # when it first arrived, virtual s
    question: Happening
    arrivals: int = 1
    answered_at: float | None = None
    answer: Happening | None = None
    is_by_stream: bool = False  # the answer was too large for a datagram, and came once more over a stream


@attrs.define(eq=False)
class Asks:
    """What was asked, in the order of arrival; and from when on each asker had answers from whom."""

    all: list[Ask]
    met: dict[str, dict[str, float]]

    def had_met(self, asker: str, asked: str, time: float) -> bool:
        """Whether the one had had an answer from the other by then."""
        return self.met.get(asker, {}).get(asked, time) < time

    def take(self, is_wanted: Callable[[Ask], bool]) -> list[Ask]:
        """Takes some out: they are told."""
        taken: list[Ask] = []
        left: list[Ask] = []
        for each in self.all:
            (taken if is_wanted(each) else left).append(each)
        self.all = left
        return taken


def collect_asks(
    file: TraceFile, is_wanted: Callable[[PacketLine], bool], askers: Collection[str] | None = None
) -> Asks:
    """All questions that `is_wanted` takes, with their answers.

    `askers`: nobody else's acquaintances are remembered, which costs time and memory; None: everybody's.
    """
    asks: dict[str, Ask] = {}
    met: dict[str, dict[str, float]] = {}
    for line in file.packets():
        if line.kind in ANSWERS:
            ask = asks.get(line.session)
            if ask is not None and (line.source, line.destination) == (ask.asked, ask.asker):
                _take_answer(ask, line)
            if askers is None or line.destination in askers:
                met.setdefault(line.destination, {}).setdefault(line.source, line.time)
        elif line.session in asks:
            asks[line.session].arrivals += 1
        elif line.kind in QUESTIONS and is_wanted(line):
            asks[line.session] = Ask(line.session, line.kind, line.source, line.destination, line.time, line.parse())
    return Asks(list(asks.values()), met)


def _take_answer(ask: Ask, line: PacketLine) -> None:
    if ask.answer is None:
        ask.answered_at, ask.answer = line.time, line.parse()
    elif ask.answer.get("kind") == "too_large":
        ask.answered_at, ask.answer, ask.is_by_stream = line.time, line.parse(), True
