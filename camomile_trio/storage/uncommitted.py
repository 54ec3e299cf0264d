"""What was handed over and is not committed, laid over what the database says.

Rules of this file: synchronous state of the event loop; the database is only asked, through what is passed in. There
are at most two groups, the one that fills and the one that is being committed. A key that either of them speaks of is
answered from here, whatever the database says of it: a commit in a thread may be done before the event loop knows.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key
from camomile_trio.storage.accounts import Charges
from camomile_trio.storage.group import Group, Write, Writes
from camomile_trio.storage.tally import Tally

# Keys with their times, in the order in which the database lists them.
Moments = list[tuple[int, Key]]


class Uncommitted:
    """The groups between a write and its commit."""

    def __init__(self, tally: Tally) -> None:
        self.filling = Group(tally)
        self.committing: Group | None = None

    @property
    def groups(self) -> tuple[Group, ...]:
        """Newest first."""
        return (self.filling,) if self.committing is None else (self.filling, self.committing)

    @property
    def writes(self) -> Writes:
        """The latest write of each key, whichever group it is in."""
        if self.committing is None:
            return self.filling.writes
        return {**self.committing.writes, **self.filling.writes}

    @property
    def count(self) -> int:
        """How many writes were handed over."""
        return sum(group.count for group in self.groups)

    def cut(self) -> Group:
        """The group that was filling is to be committed, and a new one fills."""
        self.committing, self.filling = self.filling, Group(self.filling.tally)
        return self.committing

    def drop(self, tally: Tally) -> list[Group]:
        """Starts anew on what the database has. Returns what was dropped, oldest first."""
        dropped = [*reversed(self.groups)]
        self.filling, self.committing = Group(tally), None
        return dropped

    def speaks_of(self, key: Key) -> bool:
        # Asked several times for every STORE, so without a generator and a tuple of groups for each.
        return key in self.filling.writes or (self.committing is not None and key in self.committing.writes)

    def write_of(self, key: Key) -> Write | None:
        """The latest write of a key that these groups speak of; None if the key is to be removed."""
        return next(group.writes[key] for group in self.groups if key in group.writes)

    def value_of(self, key: Key) -> bytes | None:
        """The bytes that the latest write of the key brought, or kept from one here; None if none here has them."""
        for group in self.groups:
            write = group.writes.get(key)
            if write is not None and write.value is not None:
                return write.value
        return None

    def contacts(self) -> list[Contact] | None:
        """The contacts that wait to be saved; None if none do."""
        return next((group.contacts for group in self.groups if group.contacts is not None), None)

    def note(self, name: str) -> int | None:
        """The note that waits to be saved; None if it does not."""
        return next((group.notes[name] for group in self.groups if name in group.notes), None)

    def accounts(self) -> Charges:
        """What the accounts hold that these groups speak of."""
        if self.committing is None:
            return self.filling.accounts
        return {**self.committing.accounts, **self.filling.accounts}

    # Of each list the database gives as many entries more as there are keys here, since these do not count.

    def keys(self, stored: Callable[[Key | None, int], list[Key]], after: Key | None, limit: int) -> list[Key]:
        """Up to `limit` keys greater than `after`, in order."""
        writes = self.writes
        keys = [key for key in stored(after, limit + len(writes)) if key not in writes]
        keys += [key for key, write in writes.items() if write is not None and (after is None or key > after)]
        return heapq.nsmallest(limit, keys)

    def moments(
        self, stored: Callable[[int, int], Moments], time_of: Callable[[Write], int], until: int, limit: int
    ) -> Moments:
        """Up to `limit` keys whose time is at or before `until`, and not 0 which is never, earliest first."""
        writes = self.writes
        moments = [moment for moment in stored(until, limit + len(writes)) if moment[1] not in writes]
        for key, write in writes.items():
            if write is not None and 0 < time_of(write) <= until:
                moments.append((time_of(write), key))
        return heapq.nsmallest(limit, moments)

    def evictable(self, stored: Callable[[int], Moments], limit: int) -> list[Key]:
        """Up to `limit` evictable keys, those with the earliest due first, those that are never due last."""
        writes = self.writes
        moments = [moment for moment in stored(limit + len(writes)) if moment[1] not in writes]
        moments += [(w.timetable.due, key) for key, w in writes.items() if w is not None and w.evictable]
        return [key for _, key in heapq.nsmallest(limit, moments, key=lambda moment: (moment[0] == 0, moment))]
