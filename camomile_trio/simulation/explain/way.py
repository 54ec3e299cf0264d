"""The way of an asker through the network: one line for each question, with the hop in which it found whom it asked.

Rules of this file: a hop is told as far as a trace shows it. A peer that the asker had an answer from before counts as
one of its own table, whoever names it again.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from camomile_trio.kademlia.ids import ID_BITS, ID_BYTES, distance
from camomile_trio.simulation.explain.asks import Ask, Asks
from camomile_trio.simulation.explain.cast import Cast
from camomile_trio.simulation.explain.chapters import Line
from camomile_trio.simulation.explain.words import answer_words, name_of, question_words
from camomile_trio.simulation.telling import ID_DIGITS


def lines_of(own: Sequence[Ask], key: str, asks: Asks, cast: Cast) -> tuple[Line, ...]:
    """One line for each question, in the order of their arrival."""
    way = _Way(asks, cast, own[0].at if own else 0.0)
    answers = sorted(
        ((each.answered_at, each) for each in own if each.answered_at is not None), key=lambda pair: pair[0]
    )
    for ask in own:
        while answers and answers[0][0] <= ask.at:
            way.learn(answers.pop(0)[1])
        way.ask(ask)
    for _, answer in answers:
        way.learn(answer)
    target = bytes.fromhex(key)
    return tuple(_line(ask, target, way, cast) for ask in own)


@attrs.define
class _Way:
    """How an asker finds its way: in which hop it got to know each id, and how many new ones each answer brought."""

    _asks: Asks
    _cast: Cast
    _began: float
    hop_of: dict[str, int] = attrs.field(init=False, factory=dict)  # by session
    new_in: dict[str, int] = attrs.field(init=False, factory=dict)
    _found_in: dict[str, int] = attrs.field(init=False, factory=dict)  # by id

    def ask(self, ask: Ask) -> None:
        """A question arrives."""
        identifier = self._cast.id_at(ask.asked, ask.at)
        known = identifier.hex()[:ID_DIGITS] if identifier is not None else ask.asked
        is_own = self._asks.had_met(ask.asker, ask.asked, self._began)
        self.hop_of[ask.session] = 1 if is_own else self._found_in.get(known, 1)
        self._found_in.setdefault(known, self.hop_of[ask.session])

    def learn(self, ask: Ask) -> None:
        """Its answer arrives, with contacts."""
        contacts = ask.answer.get("contacts", []) if ask.answer is not None else []
        assert isinstance(contacts, list)
        new = 0
        for contact in contacts:
            who = self._cast.whose(contact)
            if contact not in self._found_in and who != ask.asker:
                self._found_in[contact] = self.hop_of[ask.session] + 1
                new += not self._asks.had_met(ask.asker, who, self._began)
        self.new_in[ask.session] = new


def _line(ask: Ask, target: bytes, way: _Way, cast: Cast) -> Line:
    identifier = cast.id_at(ask.asked, ask.at)
    bits = None
    if identifier is not None and len(target) == len(identifier) == ID_BYTES:
        bits = ID_BITS - distance(target, identifier).bit_length()
    came, is_good = answer_words(ask, way.new_in.get(ask.session), target.hex())
    again = f", arrived {ask.arrivals} times" if ask.arrivals > 1 and not ask.is_by_stream else ""
    # A store goes to whom the lookup has found: it is no step of the way.
    is_step = ask.kind in ("find_node", "find_value")
    return Line(
        at=ask.at,
        until=ask.answered_at,
        bits=bits,
        hop=way.hop_of[ask.session] if is_step else 0,
        who=name_of(ask.asked),
        what=f"{question_words(ask)}{again} → {came}",
        is_good=is_good,
    )
