"""What one commit changes, and what was there before: enough to take it back.

Rules of this file: plain state; it knows neither when a commit happens nor what can go wrong. What changes is changed
in the entries at once, so that every read sees it; whoever loses commits takes them back, the newest first.
"""

from __future__ import annotations

import attrs

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key
from camomile_trio.storage.base import Done
from camomile_trio.storage.entries import Entries, Entry
from camomile_trio.storage.tally import MAX_PENDING_BYTES, MAX_PENDING_WRITES


@attrs.define(eq=False)
class Changes:
    """A commit in the making, and once it is made, for as long as it can still be lost."""

    growth: int = 0  # by how much it makes the entries larger
    count: int = 0  # writes, replaced ones included
    value_bytes: int = 0  # of values that were written
    dones: list[Done] = attrs.Factory(list)
    on_disk_at: float = 0.0  # once it is made: when the disk will have it
    # What was there before.
    _entries: dict[Key, Entry | None] = attrs.Factory(dict)
    _contacts: list[Contact] | None = None
    _notes: dict[str, int] = attrs.Factory(dict)

    def has_room(self, value: bytes | None) -> bool:
        """Whether one more write may wait. A value that is larger than the bound waits alone."""
        is_too_much = self.value_bytes and self.value_bytes + len(value or b"") > MAX_PENDING_BYTES
        return self.count < MAX_PENDING_WRITES and not is_too_much

    def replace(self, entries: Entries, key: Key, entry: Entry | None) -> None:
        self._entries.setdefault(key, entries.get(key))
        before = entries.bytes
        entries.replace(key, entry)
        self.growth += entries.bytes - before
        self.count += 1

    def set_contacts(self, entries: Entries, contacts: list[Contact]) -> None:
        if self._contacts is None:
            self._contacts = entries.contacts
        entries.contacts = contacts

    def set_note(self, entries: Entries, name: str, number: int) -> None:
        self._notes.setdefault(name, entries.notes.get(name, 0))
        entries.notes[name] = number

    def take_back(self, entries: Entries) -> None:
        """Puts back what was there before. Nothing that was changed later may still be there."""
        for key, entry in self._entries.items():
            entries.replace(key, entry)
        if self._contacts is not None:
            entries.contacts = self._contacts
        entries.notes.update(self._notes)
