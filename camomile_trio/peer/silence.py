"""Whether a contact that was silent loses its seat in the routing table, or it may be we who are offline.

Rules of this file: plain calls. A contact loses its seat if another one has answered since it was asked. Else nothing
is decided until one answers, and some are asked for a sign of life. What was asked before that answer is asked again,
and so is the one that answered: where nobody asks for anything, no other would answer meanwhile.
Bounded: of more failures than can wait the contact stays for now, which is counted. Source: docs/protocol.md, the
routing table.
"""

from __future__ import annotations

import math
import random
from typing import Final, Protocol

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import NodeId
from camomile_trio.kademlia.routing import RoutingTable

CHECKED_AGAIN_AFTER: Final = 5.0  # seconds until a member may be checked again
# When a contact fails and nobody has answered since: how many others are asked for a sign of life, and how many
# contacts wait for one.
ASKED_AROUND: Final = 3
MOST_WAITING: Final = 256


class Check(Protocol):
    """Pings a contact, not more often than every `again_after` seconds."""

    def __call__(self, contact: Contact, *, again_after: float) -> object: ...


class Silence:
    """Of one node."""

    def __init__(self, table: RoutingTable, check: Check, rng: random.Random) -> None:
        self.dropped = 0  # failures that had no consequence, since too many waited for a sign of life
        self._table = table
        self._check = check
        self._rng = rng
        self.is_waiting = False  # whether any do
        self._waiting: dict[NodeId, Contact] = {}
        self._asked_around_at = -CHECKED_AGAIN_AFTER
        self._back_since = -math.inf  # the first answer after a time in which nobody answered
        self._witness: Contact | None = None  # whose answer that was

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def on_missed(self, contact: Contact, asked_at: float, now: float) -> bool:
        """It was asked at `asked_at` and has not answered before its deadline. Whether it has lost its seat."""
        table = self._table
        if asked_at < self._back_since:
            # We may have been offline when it was asked.
            if contact.id in table:
                self._check_beside(self._witness, contact)
            return False
        if contact.id not in table:
            return False
        if table.on_failure(contact.id, contact.endpoint, asked_at=asked_at, now=now):
            return True
        if table.last_answer is not None and table.last_answer > asked_at:
            # It was heard of since, or lives elsewhere now.
            return False
        if len(self._waiting) < MOST_WAITING:
            self._waiting[contact.id] = contact
            self.is_waiting = True
        else:
            self.dropped += 1
        if now - self._asked_around_at >= CHECKED_AGAIN_AFTER:
            self._asked_around_at = now
            others = [each for each in table if each.id != contact.id]
            for each in self._rng.sample(others, min(ASKED_AROUND, len(others))):
                self._check(each, again_after=CHECKED_AGAIN_AFTER)
        return False

    def on_answer(self, witness: Contact) -> None:
        """A contact has answered, so we are not offline now; whether we were when the others failed, nobody knows.

        So they are asked again, and the one that answered with them, as the witness that we still are not.
        """
        if not self._waiting:
            return
        self._back_since, self._witness = self._table.last_answer or self._back_since, witness
        waiting, self._waiting, self.is_waiting = self._waiting, {}, False
        waiting.pop(witness.id, None)
        self._check_beside(witness, *waiting.values())

    def _check_beside(self, witness: Contact | None, *contacts: Contact) -> None:
        for contact in contacts:
            self._check(contact, again_after=0.0)
        if contacts and witness is not None:
            self._check(witness, again_after=0.0)
