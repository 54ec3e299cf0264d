"""The words in which a question and its answer are told.

Rules of this file: one packet at a time, from what the trace says of it; nothing of the story around it.
"""

from __future__ import annotations

from camomile_trio.simulation.clock import EPOCH
from camomile_trio.simulation.explain.asks import Ask
from camomile_trio.simulation.trace import Happening


def name_of(who: str) -> str:
    """A machine by its number; anybody else, as a classic peer, by its endpoint."""
    return f"machine {who}" if who.isdecimal() else who.strip('"')


def question_words(ask: Ask) -> str:
    """What was asked."""
    if ask.kind == "store":
        what = "without the value" if ask.question.get("size") is None else f"{ask.question['size']} bytes"
        if _rows(ask.question) and _rows(ask.question)[0].get("kind") == "tombstone":
            what = "a tombstone"
        return f"store {what} ({ask.question.get('why')})"
    return ask.kind


def answer_words(ask: Ask, new: int | None, key: str) -> tuple[str, bool]:
    """What came back, and whether it is what the asker hoped for.

    `new`: how many contacts in it the asker did not know yet, None if nobody has counted them.
    """
    answer = ask.answer
    if answer is None:
        # Nobody answers a STORE of or to a classic peer.
        is_classic = ask.kind == "store" and not _rows(ask.question)
        return ("nobody answers that" if is_classic else "no answer arrived"), is_classic
    words, is_good = _words(answer, new, ask.at, key)
    return f"{words}, over a stream" if ask.is_by_stream else words, is_good


def _words(answer: Happening, new: int | None, at: float, key: str) -> tuple[str, bool]:
    match answer.get("kind"):
        case "node_list":
            return _contacts(answer, new), True
        case "value":
            if "size" not in answer:
                records = f"{_records(answer, at)}; " if _rows(answer) else ""
                return f"no value; {records}{_contacts(answer, new)}", True
            copy = "a cached copy" if answer.get("cached") else "the value"
            return f"{copy}, {answer['size']} bytes; {_records(answer, at)}", True
        case "store_result":
            status = str(answer.get("status"))
            if status == "stored":
                return f"stored, in {answer.get('durability')}", True
            records = f"; {_records(answer, at)}" if _rows(answer) else ""
            return f"refused: {status.replace('_', ' ')}{records}", False
        case "have_result":
            holdings = answer.get("holdings")
            assert isinstance(holdings, list)
            return next((_holding(each, at) for each in holdings if each.get("key") == key), "nothing"), True
        case "too_large":
            return f"the answer is too large for a datagram ({answer.get('size')} bytes)", True
        case kind:
            return str(kind), True


def _holding(holding: Happening, at: float) -> str:
    if not _rows(holding):
        return "has the value without a lease" if holding.get("has_value") else "has nothing of it"
    return ("has the value; " if holding.get("has_value") else "has no value; ") + _records(holding, at)


def _contacts(answer: Happening, new: int | None) -> str:
    contacts = answer.get("contacts")
    assert isinstance(contacts, list)
    if not contacts or new is None:
        return f"{len(contacts) or 'no'} contacts"
    return f"{len(contacts)} contacts, {f'{new} of them new' if new else 'all known'}"


def _records(happening: Happening, at: float) -> str:
    """Leases and tombstones, with how long they last."""
    told = []
    for row in _rows(happening):
        expires = row.get("expires")
        assert isinstance(expires, int)
        left = (expires - EPOCH) / 1000 - at
        told.append(f"{row.get('kind')} {'for ' + seconds_text(left) if left > 0 else 'that has ended'}")
    return " and ".join(told) or "no record"


def _rows(happening: Happening) -> list[Happening]:
    rows = happening.get("records", [])
    assert isinstance(rows, list)
    return rows


def seconds_text(seconds: float) -> str:
    """12 ms, 1.25 s, 3 min 20 s, 2 h 5 min, 6 d 4 h."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.2f} s"
    # Two units are enough: nobody wants the seconds of days.
    for unit, length, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        whole = round(seconds / part) * part
        if seconds + part / 120 >= length:
            rest = whole % length // part
            return f"{whole // length} {unit} {rest} {smaller}" if rest else f"{whole // length} {unit}"
    return f"{seconds:.0f} s"
