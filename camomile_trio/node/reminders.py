"""Whom this node still has to tell of what, since they were silent, or could not store, when everybody was told.

Rules of this file: plain state without I/O; the caller tells the time, and does the telling. What is owed is a look at
a key together, not a message: what counts is what this node holds when the other is there. Bounded in nodes and in
keys; what is past a bound, or was tried in vain often enough, is left to replication, and counted.
"""

from __future__ import annotations

import attrs
import trio

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key, NodeId

# Seconds from one try to the next. Who has been away for longer compares its records when it comes back.
PAUSES = (4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)
# After a sign of life: long enough for the other to have settled.
MOMENT = 0.5
MAX_NODES = 256
MAX_KEYS = 4096


@attrs.define(eq=False)
class _Owed:
    contact: Contact
    due: float
    keys: dict[Key, None] = attrs.field(factory=dict)  # a set that keeps its order
    tries: int = 0


class Reminders:
    """What is owed, by node. Times are seconds of Trio's clock."""

    def __init__(self) -> None:
        self.dropped = 0  # keys that were left to replication
        self.told = 0  # keys that were told at last
        self.keys = 0  # how many wait now
        self.changed = trio.Event()  # something is due earlier than it was
        self._owed: dict[NodeId, _Owed] = {}

    def add(self, contact: Contact, key: Key, now: float) -> None:
        """`contact` should have been told what is known of `key`, and has not taken it."""
        owed = self._owed.get(contact.id)
        if self.keys >= MAX_KEYS or (owed is None and len(self._owed) >= MAX_NODES):
            self.dropped += 1
            return
        if owed is None:
            owed = self._owed[contact.id] = _Owed(contact, now + PAUSES[0])
        if key not in owed.keys:
            owed.keys[key] = None
            self.keys += 1
        self.changed.set()

    def on_heard(self, contact: Contact, now: float) -> None:
        """`contact` has shown a sign of life: what is owed to it is due in a moment."""
        owed = self._owed.get(contact.id)
        if owed is None:
            return
        owed.contact = contact
        owed.due = min(owed.due, now + MOMENT)
        self.changed.set()

    def due(self, now: float) -> list[tuple[Contact, list[Key]]]:
        """Who is to be told now, and of what."""
        return [(owed.contact, list(owed.keys)) for owed in self._owed.values() if owed.due <= now]

    def next_due(self) -> float | None:
        return min((owed.due for owed in self._owed.values()), default=None)

    def on_told(self, contact: Contact, keys: list[Key]) -> None:
        """It was there, and these keys are settled with it. Keys that came in meanwhile stay owed."""
        owed = self._owed.get(contact.id)
        if owed is None:
            return
        for key in keys:
            if key in owed.keys:
                del owed.keys[key]
                self.keys -= 1
                self.told += 1
        if not owed.keys:
            del self._owed[contact.id]

    def on_silent(self, contact: Contact, now: float) -> None:
        """It was not there, or could not: once more later, and not for ever."""
        owed = self._owed.get(contact.id)
        if owed is None:
            return
        owed.tries += 1
        if owed.tries < len(PAUSES):
            owed.due = now + PAUSES[owed.tries]
            return
        del self._owed[contact.id]
        self.keys -= len(owed.keys)
        self.dropped += len(owed.keys)
