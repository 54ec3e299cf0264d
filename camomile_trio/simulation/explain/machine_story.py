"""The story of one machine, from the trace of a run: its lives, its users, its lookups, and what befell it.

Rules of this file: as `story.py`. Packets are counted, and told one by one only for who wants them all.
"""

from __future__ import annotations

from collections import Counter

import attrs

from camomile_trio.simulation.explain.asks import collect_asks
from camomile_trio.simulation.explain.cast import Cast, counted, number
from camomile_trio.simulation.explain.chapters import Chapter, Line, Story
from camomile_trio.simulation.explain.story import NoSuchStory
from camomile_trio.simulation.explain.words import answer_words, name_of, question_words
from camomile_trio.simulation.trace import Happening
from camomile_trio.simulation.trace_file import TraceFile

KINDS_TOLD = 6  # of packets, the most frequent first

_WORDS = {
    "crash": "crashes",
    "leave": "begins to leave",
    "no_start": "could not start",
    "ready": "has joined, and serves",
    "not_ready": "does not serve any more",
    "clock_jump": "somebody sets its clock",
}
_BAD = ("crash", "no_start", "not_ready", "violation")


@attrs.define
class _Life:
    """From one start to the next."""

    at: float
    title: str
    lines: list[Line] = attrs.field(factory=list)
    received: Counter[str] = attrs.field(factory=Counter)
    sent: Counter[str] = attrs.field(factory=Counter)
    peers: dict[str, None] = attrs.field(factory=dict)

    def chapter(self) -> Chapter:
        ending = f"{counted(len(self.peers), 'peer')}; received {_counts(self.received)}; sent, as far as it arrived, "
        ending += _counts(self.sent)
        return Chapter(self.at, self.title, tuple(sorted(self.lines, key=lambda line: line.at)), ending)


def story_of_machine(file: TraceFile, which: int, *, with_packets: bool = False) -> Story:
    """Machine `which` of the world."""
    run = file.run()
    who = str(which)
    lives: list[_Life] = []
    cast = Cast.of(file)
    happened = [each for each in (*cast.events, *cast.operations, *cast.lookups) if each.get("machine") == which]
    for event in sorted(happened, key=_time):
        if event["event"] == "start":
            title = f"life {event['life']} of machine {which}: node {str(event['id'])[:16]}…"
            lives.append(_Life(_time(event), title))
        elif lives:
            lives[-1].lines.append(_told(event, cast.id_at(who, _time(event))))
    if not lives:
        last = max(cast.ids, default=-1)
        raise NoSuchStory(
            f"the trace has no machine {which}", remedy=f"they are numbered 0 to {last}" if last >= 0 else ""
        )
    _count_packets(file, who, lives)
    if with_packets:
        for ask in collect_asks(file, lambda line: line.source == who, (who,)).all:
            words, is_good = answer_words(ask, None, str(ask.question.get("key", "")))
            what = f"{question_words(ask)} → {words}"
            _at(lives, ask.at).lines.append(
                Line(ask.at, what, until=ask.answered_at, who=name_of(ask.asked), is_good=is_good)
            )
    return Story(f"machine {which}", run, tuple(each.chapter() for each in lives))


def _told(event: Happening, own_id: bytes | None) -> Line:
    name, time = str(event["event"]), _time(event)
    if name == "lookup":
        target = str(event["target"])
        whom = "itself" if own_id is not None and own_id.hex() == target else f"{target[:12]}…"
        what = f"looked {whom} up: {counted(event['hops'], 'hop')}, {counted(event['requests'], 'request')}"
        return Line(number(event["began"]), what, until=time)
    if "outcome" in event:
        what = f"{name} {str(event['key'])[:12]}… (operation {event['number']}): {event['outcome']}"
        return Line(number(event["began"]), what, until=time, is_good=event["outcome"] == "ok")
    if name == "violation":
        return Line(time, f"{event['rule']}: expected {event['expected']}, saw {event['seen']}", is_good=False)
    because = f": {event['because']}" if event.get("because") else ""
    return Line(time, _WORDS.get(name, name.replace("_", " ")) + because, is_good=name not in _BAD)


def _count_packets(file: TraceFile, who: str, lives: list[_Life]) -> None:
    for line in file.packets():
        if who in (line.source, line.destination):
            life = _at(lives, line.time)
            is_sent = line.source == who
            (life.sent if is_sent else life.received)[line.kind] += 1
            life.peers[line.destination if is_sent else line.source] = None


def _at(lives: list[_Life], time: float) -> _Life:
    return next((each for each in reversed(lives) if each.at <= time), lives[0])


def _counts(counter: Counter[str]) -> str:
    told = ", ".join(f"{count} {kind}" for kind, count in counter.most_common(KINDS_TOLD))
    return f"{counter.total()} packets ({told}{', …' if len(counter) > KINDS_TOLD else ''})" if told else "nothing"


def _time(event: Happening) -> float:
    return number(event["time"])
