"""What is kept in memory: a node's keys, in every order in which a `Storage` lists them, its contacts and its notes.

Rules of this file: plain state, with no idea of who may write, of commits or of time. A simulation has ten thousand of
these in one process, so an empty one is small, and one that is changed moves no more than it must.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort

import attrs

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.registers import KeyState
from camomile_trio.storage.accounts import Charges, Sort, change
from camomile_trio.storage.base import Timetable

# Later than any time: an evictable key that is never due comes after the others.
_NEVER = 2**128

# Keys in the order of their times, then of themselves.
_Schedule = list[tuple[int, Key]]


@attrs.define
class Entry:
    """All that is stored about a key. Nothing changes one; they are not frozen, since these take longer to make."""

    state: KeyState
    timetable: Timetable
    evictable: bool
    value: bytes | None


@attrs.define(eq=False)
class Entries:
    values: int = 0  # keys with a value
    bytes: int = 0  # what all keys count for
    contacts: list[Contact] = attrs.Factory(list)
    notes: dict[str, int] = attrs.Factory(dict)
    accounts: Charges = attrs.Factory(dict)
    _by_key: dict[Key, Entry] = attrs.Factory(dict)
    _keys: list[Key] = attrs.Factory(list)
    _due: _Schedule = attrs.Factory(list)
    _renewable: _Schedule = attrs.Factory(list)
    _evictable: _Schedule = attrs.Factory(list)

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, key: Key) -> Entry | None:
        return self._by_key.get(key)

    def replace(self, key: Key, entry: Entry | None) -> None:
        """Stores `entry` in the place of what is there about the key; None leaves nothing."""
        old = self._by_key.get(key)
        self.put(key, old, entry, *change(None if old is None else old.state, None if entry is None else entry.state))

    def put(self, key: Key, old: Entry | None, entry: Entry | None, growth: int, charged: Charges) -> None:
        """As `replace`, where `old` is what is there, and `growth` and `charged` are what the change makes of bytes and
        accounts."""
        self.bytes += growth
        was_due = was_renew = was_evictable = due = renew = evictable = 0
        if old is not None:
            self.values -= old.value is not None
            timetable = old.timetable
            was_due, was_renew = timetable.due, timetable.renew
            if old.evictable:
                was_evictable = was_due or _NEVER
        if entry is not None:
            self.values += entry.value is not None
            timetable = entry.timetable
            due, renew = timetable.due, timetable.renew
            if entry.evictable:
                evictable = due or _NEVER
            self._by_key[key] = entry
            if old is None:
                insort(self._keys, key)
        elif old is not None:
            del self._by_key[key]
            del self._keys[bisect_left(self._keys, key)]
        accounts = self.accounts
        for account in charged:
            held = charged[account]
            if account in accounts:
                held += accounts[account]
            if held:
                accounts[account] = held
            else:
                accounts.pop(account, None)
        if due != was_due:
            _move(self._due, key, was_due, due)
        if renew != was_renew:
            _move(self._renewable, key, was_renew, renew)
        if evictable != was_evictable:
            _move(self._evictable, key, was_evictable, evictable)

    def largest(self, sort: Sort) -> int:
        return max((held for account, held in self.accounts.items() if account.startswith(sort.value)), default=0)

    def keys(self, after: Key | None, limit: int) -> list[Key]:
        """The lists are those of `Storage`."""
        start = 0 if after is None else bisect_right(self._keys, after)
        return self._keys[start : start + limit]

    def due(self, now: int, limit: int) -> list[Key]:
        return _until(self._due, now, limit)

    def renewable(self, now: int, limit: int) -> list[Key]:
        return _until(self._renewable, now, limit)

    def evictable(self, limit: int) -> list[Key]:
        return [key for _, key in self._evictable[:limit]]

    def next_due(self) -> int | None:
        first = [schedule[0][0] for schedule in (self._due, self._renewable) if schedule]
        return min(first, default=None)


def _move(schedule: _Schedule, key: Key, old: int, new: int) -> None:
    """From one time to another, either of which may be 0: then the key does not stand there."""
    if old:
        del schedule[bisect_left(schedule, (old, key))]
    if new:
        insort(schedule, (new, key))


def _until(schedule: _Schedule, moment: int, limit: int) -> list[Key]:
    end = bisect_left(schedule, (moment + 1,))
    return [key for _, key in schedule[: min(end, limit)]]
