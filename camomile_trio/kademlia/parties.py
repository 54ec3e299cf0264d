"""How far one lookup goes by the word of one party, which may name nodes that do not exist.

Rules of this file: pure. A party is a source network where nodes are counted by these, else one peer (`party_of` of the
shortlist says which). Of the nodes that it alone has named at most alpha are under way at a time. Each that is silent
for a retransmission timeout halves that, to one at least; each that answers adds one. What is asked after a silence
was seen costs the lookup another timeout, so after two of these rounds the party's other names are set aside. An
answer that is only late takes back what its silence did. Source: docs/protocol.md, Lookups.
"""

from __future__ import annotations

from typing import Final

import attrs

from camomile_trio.kademlia.contacts import Contact

MOST_ROUNDS: Final = 2


@attrs.define(eq=False)
class Party:
    """One that has named candidates of a lookup."""

    alpha: int
    under_way: int = 0
    rounds: int = 0  # of timeouts that its names have cost
    window: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.window = self.alpha

    @property
    def is_over(self) -> bool:
        """Whether no more is asked by its word."""
        return self.rounds >= MOST_ROUNDS

    @property
    def has_room(self) -> bool:
        """Whether one more of its names may be asked."""
        return self.under_way < self.window and not self.is_over

    def ask(self) -> Asked:
        """One of its names is asked."""
        self.under_way += 1
        return Asked(self, self.rounds)


@attrs.define(eq=False)
class Asked:
    """One of a party's names that was asked, in the round of that number."""

    party: Party
    _round: int
    _has_cost: bool = False  # its silence has ended a round

    def on_answer(self) -> None:
        """It has answered in time."""
        self.party.under_way -= 1
        self._widen()

    def on_silence(self) -> None:
        """A retransmission timeout has passed without an answer."""
        party = self.party
        party.under_way -= 1
        party.window = max(1, party.window // 2)
        if self._round == party.rounds:
            party.rounds += 1
            self._has_cost = True

    def on_late_answer(self) -> None:
        """It has answered after that."""
        self._widen()
        if self._has_cost:
            self.party.rounds -= 1

    def on_nothing(self) -> None:
        """It could not be asked, or was taken for silent at once: that has cost no time, and says nothing new."""
        self.party.under_way -= 1

    def _widen(self) -> None:
        self.party.window = min(self.party.alpha, self.party.window + 1)


@attrs.frozen(eq=False)
class Teller:
    """A peer that has named candidates, where it answered from, and its party."""

    contact: Contact
    party: Party
