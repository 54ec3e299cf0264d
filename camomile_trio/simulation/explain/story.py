"""The story of one key or one operation, from the trace of a run: who asked whom, in order, and what came of it.

Rules of this file: it turns what is in the file into chapters and lines of plain words; how they look on a terminal is
the command's business. It claims nothing that the trace does not show.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from camomile_trio.errors import CallerError
from camomile_trio.simulation.explain.asks import Ask, Asks, collect_asks
from camomile_trio.simulation.explain.cast import Cast, counted, number
from camomile_trio.simulation.explain.chapters import Chapter, Story
from camomile_trio.simulation.explain.way import lines_of
from camomile_trio.simulation.explain.words import name_of, seconds_text
from camomile_trio.simulation.trace import Happening
from camomile_trio.simulation.trace_file import PacketLine, TraceFile

# What an operation began goes on after its end: STOREs that were not needed for the majority, a copy for the cache.
AFTERMATH = 5.0  # virtual s
PAUSE = 30.0  # virtual s without a word between what belongs together

# What each operation asks others.
_KINDS = {
    "put": ("find_node", "store", "have"),
    "get": ("find_value", "find_node", "store"),
    "forget": ("find_node", "have", "store", "find_value"),
}


class NoSuchStory(CallerError):
    """Nothing in the trace is about what was asked for."""


def story_of_key(file: TraceFile, prefix: str) -> Story:
    """Everything about a key, or about the target of lookups, that begins with these hexadecimal digits."""
    run = file.run()
    cast = Cast.of(file, has_target=lambda target: target.startswith(prefix))
    key = _only_one(prefix, cast)
    asks = _asks_about(file, key)
    operations = [each for each in cast.operations if each["key"] == key]
    chapters = [_of_operation(each, own, asks, cast) for each, own in _shared_out(operations, asks)]
    chapters += _of_lookups(key, asks, cast)
    chapters += _of_the_rest(key, asks, cast)
    holders = {line.who: None for chapter in chapters for line in chapter.lines if line.is_good}
    if chapters:
        last = max(chapter.at for chapter in chapters)
        chapters += _of_accidents(cast, list(holders), min(chapter.at for chapter in chapters), last)
        chapters += _of_lost_forgets(key, cast)
    chapters.sort(key=lambda each: each.at)
    return Story(f"key {key}", run, tuple(chapters))


def story_of_operation(file: TraceFile, which: int) -> Story:
    """One put, get or forget of a user."""
    run = file.run()
    cast = Cast.of(file)
    operation = next((each for each in cast.operations if each["number"] == which), None)
    if operation is None:
        most = f"they are numbered 0 to {len(cast.operations) - 1}" if cast.operations else "nobody used this network"
        raise NoSuchStory(f"the trace has no operation {which}", remedy=most)
    key = str(operation["key"])
    asks = _asks_about(file, key)
    shares = _shared_out([each for each in cast.operations if each["key"] == key], asks)
    own = next(each for of, each in shares if of is operation)
    return Story(f"operation {which}, key {key}", run, (_of_operation(operation, own, asks, cast),))


def _only_one(prefix: str, cast: Cast) -> str:
    """The one key that begins with it, of users' keys first, else of the targets of lookups."""
    for source, field in ((cast.operations, "key"), (cast.lookups, "target")):
        found = {str(each[field]): None for each in source if str(each[field]).startswith(prefix)}
        if len(found) == 1:
            return next(iter(found))
        if found:
            some = ", ".join(each[: len(prefix) + 4] for each in list(found)[:4])
            raise NoSuchStory(f"{len(found)} keys begin with {prefix}: {some}, …", remedy="give more digits")
    some = ", ".join(str(each["key"])[:12] for each in cast.operations[:4])
    raise NoSuchStory(
        f"nothing in the trace is about a key that begins with {prefix}",
        remedy=f"the first keys in it are {some}" if some else "",
    )


def _asks_about(file: TraceFile, key: str) -> Asks:
    def is_about(line: PacketLine) -> bool:
        return line.kind != "ping" and key in line.text

    return collect_asks(file, is_about)


def _shared_out(operations: list[Happening], asks: Asks) -> list[tuple[Happening, list[Ask]]]:
    """Operations on one key, each with its questions, which are taken out of `asks`.

    A question is of the operation that was under way at its machine, the latest one if there were more; else of one
    that had just ended.
    """
    shares: list[tuple[Happening, list[Ask]]] = [(operation, []) for operation in operations]

    def is_somebodys(ask: Ask) -> bool:
        fits = [
            (ask.at <= number(operation["time"]), number(operation["began"]), place)
            for place, (operation, _) in enumerate(shares)
            if str(operation["machine"]) == ask.asker
            and ask.kind in _KINDS[str(operation["event"])]
            and number(operation["began"]) <= ask.at <= number(operation["time"]) + AFTERMATH
        ]
        if fits:
            shares[max(fits)[-1]][1].append(ask)
        return bool(fits)

    asks.take(is_somebodys)
    return shares


def _of_operation(operation: Happening, own: list[Ask], asks: Asks, cast: Cast) -> Chapter:
    kind, machine, key = str(operation["event"]), str(operation["machine"]), str(operation["key"])
    began, ended = number(operation["began"]), number(operation["time"])
    lookups = [
        each
        for each in cast.lookups
        if str(each["machine"]) == machine and each["target"] == key and began <= number(each["time"]) <= ended
    ]
    outcome = str(operation["outcome"])
    ending = f"{outcome} after {seconds_text(ended - began)}"
    if lookups:
        ending += (
            f"; its lookup took {counted(lookups[-1]['hops'], 'hop')} and {counted(lookups[-1]['requests'], 'request')}"
        )
    elif not own and kind == "get":
        ending += "; it had the value itself and asked nobody" if outcome == "ok" else "; it asked nobody"
    title = f"{kind} at machine {machine} (operation {operation['number']})"
    return Chapter(began, title, lines_of(own, key, asks, cast), ending, outcome == "ok")


def _of_lookups(key: str, asks: Asks, cast: Cast) -> list[Chapter]:
    """Lookups of nodes for their own sake: of themselves when they join, of far regions when they refresh."""
    chapters = []
    for lookup in cast.lookups:
        began, ended, machine = number(lookup["began"]), number(lookup["time"]), str(lookup["machine"])
        if lookup["target"] != key:
            continue
        own = asks.take(functools.partial(_is_of_lookup, machine, began, ended))
        if not own:
            continue
        own_id = cast.id_at(machine, ended)
        is_self = own_id is not None and own_id.hex() == key
        title = f"machine {machine} looks {'itself' if is_self else 'for the nodes closest to it'} up"
        ending = f"over after {seconds_text(ended - began)}, {counted(lookup['hops'], 'hop')} and "
        ending += counted(lookup["requests"], "request")
        chapters.append(Chapter(began, title, lines_of(own, key, asks, cast), ending))
    return chapters


def _is_of_lookup(machine: str, began: float, ended: float, ask: Ask) -> bool:
    return ask.asker == machine and ask.kind in ("find_node", "find_value") and began <= ask.at <= ended


_UNASKED = {
    "replicate": "offers its copy to other holders",
    "publish": "publishes or renews it",
    "cache": "leaves a copy for those who ask next",
    "have": "compares with others what they hold",
    "find_node": "looks for its holders",
    "find_value": "looks for the value",
}


def _of_the_rest(key: str, asks: Asks, cast: Cast) -> list[Chapter]:
    """What nodes did without a user: replication, renewal, repair, hand-over."""
    open_chapters: dict[tuple[str, str], list[Ask]] = {}
    chapters: list[list[Ask]] = []
    for ask in asks.all:
        about = (ask.asker, _about(ask))
        last = open_chapters.get(about)
        if last is None or ask.at - last[-1].at > PAUSE:
            last = open_chapters[about] = []
            chapters.append(last)
        last.append(ask)
    return [
        Chapter(
            each[0].at,
            f"{name_of(each[0].asker)} {_why(each[0], key, cast)}",
            lines_of(each, key, asks, cast),
        )
        for each in chapters
    ]


def _about(ask: Ask) -> str:
    return str(ask.question.get("why", ask.kind))


def _why(ask: Ask, key: str, cast: Cast) -> str:
    own = cast.id_at(ask.asker, ask.at)
    if own is not None and own.hex() == key:
        return "asks whom it was told of for the nodes closest to it"
    return _UNASKED.get(_about(ask), "asks for it")


_ACCIDENTS = {"crash": "crashes", "leave": "leaves", "start": "starts", "no_start": "cannot start"}


def _of_accidents(cast: Cast, known: Sequence[str], since: float, until: float) -> list[Chapter]:
    """What befell the network, or the machines of this story, while it went on."""
    chapters = []
    for event in cast.events:
        time, name = number(event["time"]), str(event["event"])
        if not since <= time <= until:
            continue
        if name in ("trouble", "trouble_over"):
            over = " is over" if name == "trouble_over" else ""
            chapters.append(Chapter(time, f"trouble: {event['name']}{over}", (), "", name == "trouble_over"))
        elif name in _ACCIDENTS and f"machine {event['machine']}" in known:
            chapters.append(Chapter(time, f"machine {event['machine']} {_ACCIDENTS[name]}", (), "", name == "start"))
    return chapters


def _of_lost_forgets(key: str, cast: Cast) -> list[Chapter]:
    """From when on nobody could know any more that it was forgotten."""
    return [
        Chapter(number(event["time"]), f"the last tombstone is gone (operation {event['number']})", (), "", False)
        for event in cast.events
        if event["event"] == "forget_lost" and event["key"] == key
    ]
