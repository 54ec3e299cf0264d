"""What was accepted and is not in the tables yet, laid over what the database says.

Rules of this file: synchronous state of the event loop; the database is only asked, through what is passed in. A change
is readable here at once, and belongs to a group until the journal has it: a group that the journal did not get is taken
back, after all later ones. A batch is a copy of what the journal has and the tables do not, which a thread may read. A
key that is spoken of here is answered from here, whatever the database says of it: a batch may be in the tables before
the event loop knows.
"""

from __future__ import annotations

import enum
import heapq
from collections.abc import Callable
from typing import TypeVar

import attrs

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.registers import KeyState
from camomile_trio.storage.accounts import Account, Charges
from camomile_trio.storage.base import Done, Timetable
from camomile_trio.storage.tally import Tally

# Keys with their times, in the order in which the database lists them.
Moments = list[tuple[int, Key]]
# What a change of one key adds to the database's log beside its value: some 8 pages. Many in one batch share pages.
_LOG_BYTES = 16 * 1024
# How many keys of a list are looked for here before the database is asked for a long one.
_FEW_MORE = 8

Name = TypeVar("Name")
Thing = TypeVar("Thing")


class _Nothing(enum.Enum):
    WAS_HERE = 0


_ABSENT = _Nothing.WAS_HERE


@attrs.define(eq=False)
class Write:
    """What is to be stored about a key. `value` None keeps what is stored, if `state.size` says that something is.

    Nothing changes one that lies over the tables. They are not frozen, since these take longer to make.
    """

    state: KeyState
    timetable: Timetable
    evictable: bool
    value: bytes | None
    registers: bytes  # packed when it was handed over: a state that cannot be packed is its caller's bug


# A key of which nothing is to be left has None.
Writes = dict[Key, Write | None]


class Group:
    """What is written to the journal at once, in the order in which it was handed over, and what was here before.

    Each turn of the loop that stores anything makes one.
    """

    __slots__ = ("accounts", "bodies", "bytes", "count", "dones", "keys", "notes", "size", "values", "writes")

    def __init__(self, tally: Tally) -> None:
        self.keys, self.values, self.bytes = tally.keys, tally.values, tally.bytes
        self.bodies: list[bytes] = []  # of the journal's entries
        self.dones: list[Done] = []
        self.size = 0  # of the bodies
        self.count = 0  # writes, replaced ones included
        self.writes: dict[Key, Write | _Nothing | None] = {}
        self.accounts: dict[Account, int | _Nothing] = {}
        self.notes: dict[str, int | _Nothing] = {}


@attrs.define(eq=False)
class Batch:
    """What one transaction brings into the tables: the last change of each thing."""

    tally: Tally  # what is stored then
    writes: Writes = attrs.Factory(dict)
    accounts: Charges = attrs.Factory(dict)  # what each of those that change holds then
    notes: dict[str, int] = attrs.Factory(dict)
    contacts: list[Contact] | None = None
    sequence: int = 0  # of the last entry of the journal that is in it

    @property
    def log_bytes(self) -> int:
        """About how long this makes the database's log, at most."""
        values = sum(
            len(write.value) for write in self.writes.values() if write is not None and write.value is not None
        )
        return _LOG_BYTES * len(self.writes) + values

    def take_back(self, group: Group) -> None:
        """As it was before the group, which has to be the last one in it."""
        self.tally = Tally(group.keys, group.values, group.bytes)
        _restore(self.writes, group.writes)
        _restore(self.accounts, group.accounts)
        _restore(self.notes, group.notes)


def _restore(there: dict[Name, Thing], before: dict[Name, Thing | _Nothing]) -> None:
    for name, thing in before.items():
        if isinstance(thing, _Nothing):
            there.pop(name, None)
        else:
            there[name] = thing


class Overlay:
    """All that is not in the tables, and of this the groups that the journal does not have."""

    def __init__(self, tally: Tally) -> None:
        self.all = Batch(tally.copy())
        self.filling = Group(tally)
        self.writing: Group | None = None

    # What is handed over.

    def put(self, key: Key, write: Write | None, body: bytes, held: Charges) -> None:
        """A change of a key, and what each account that it changes holds then. None: nothing is left of the key.

        A value that an earlier write of the key brought stays with a later one that keeps it.
        """
        group = self.filling
        writes, accounts = self.all.writes, self.all.accounts
        if key in writes:
            earlier = writes[key]
            if earlier is not None and write is not None and write.value is None and write.state.size is not None:
                write.value = earlier.value
            if key not in group.writes:
                group.writes[key] = earlier
        elif key not in group.writes:
            group.writes[key] = _ABSENT
        writes[key] = write
        before = group.accounts
        for account in held:
            if account not in before:
                before[account] = accounts.get(account, _ABSENT)
            accounts[account] = held[account]
        group.bodies.append(body)
        group.size += len(body)
        group.count += 1

    def note(self, name: str, number: int, body: bytes) -> None:
        group = self.filling
        group.notes.setdefault(name, self.all.notes.get(name, _ABSENT))
        self.all.notes[name] = number
        group.bodies.append(body)
        group.size += len(body)

    # Its way through the journal into the tables.

    @property
    def unwritten(self) -> list[Group]:
        """The groups that the journal does not have, newest first."""
        return [self.filling] if self.writing is None else [self.filling, self.writing]

    def cut(self) -> Group:
        """The group that was filling is to be written, and a new one fills."""
        self.writing, self.filling = self.filling, Group(self.all.tally)
        return self.writing

    def on_written(self) -> list[Group]:
        """The journal, or the tables, have everything. Returns the groups that were not written, oldest first."""
        written = self.unwritten[::-1]
        self.filling, self.writing = Group(self.all.tally), None
        return written

    def drop_unwritten(self) -> list[Group]:
        """Later groups build on earlier ones, so all are taken back. Returns them, oldest first."""
        for group in self.unwritten:
            self.all.take_back(group)
        return self.on_written()

    def batch(self, sequence: int, *, without: list[Group]) -> Batch:
        """A copy, without the groups that are named, newest first."""
        everything = self.all
        batch = Batch(
            everything.tally.copy(),
            everything.writes.copy(),
            everything.accounts.copy(),
            everything.notes.copy(),
            everything.contacts,
            sequence,
        )
        for group in without:
            batch.take_back(group)
        return batch

    def on_absorbed(self, batch: Batch) -> None:
        """The tables have the batch: what has changed since stays."""
        everything = self.all
        for key, write in batch.writes.items():
            if everything.writes.get(key, _ABSENT) is write:
                del everything.writes[key]
        for account, held in batch.accounts.items():
            if everything.accounts.get(account) == held:
                del everything.accounts[account]
        for name, number in batch.notes.items():
            if everything.notes.get(name) == number:
                del everything.notes[name]
        if everything.contacts is batch.contacts:
            everything.contacts = None

    def _elsewhere(
        self, stored: Callable[[int], list[Thing]], key_of: Callable[[Thing], Key], limit: int
    ) -> list[Thing]:
        """What the database lists, without the keys that are here, since it does not know better of them: `limit`
        things at least, if it has so many. Mostly it need not list as many more as there are keys here."""
        writes = self.all.writes
        kept: list[Thing] = []
        for more in (_FEW_MORE, len(writes)):
            listed = stored(limit + more)
            kept = [thing for thing in listed if key_of(thing) not in writes]
            if len(kept) >= limit or len(listed) < limit + more:
                break
        return kept

    def keys(self, stored: Callable[[Key | None, int], list[Key]], after: Key | None, limit: int) -> list[Key]:
        """Up to `limit` keys greater than `after`, in order."""
        writes = self.all.writes
        keys = self._elsewhere(lambda many: stored(after, many), lambda key: key, limit)
        keys += [key for key, write in writes.items() if write is not None and (after is None or key > after)]
        return heapq.nsmallest(limit, keys)

    def moments(
        self, stored: Callable[[int, int], Moments], time_of: Callable[[Write], int], until: int, limit: int
    ) -> Moments:
        """Up to `limit` keys whose time is at or before `until`, and not 0 which is never, earliest first."""
        writes = self.all.writes
        moments = self._elsewhere(lambda many: stored(until, many), lambda moment: moment[1], limit)
        for key, write in writes.items():
            if write is not None and 0 < time_of(write) <= until:
                moments.append((time_of(write), key))
        return heapq.nsmallest(limit, moments)

    def evictable(self, stored: Callable[[int], Moments], limit: int) -> list[Key]:
        """Up to `limit` evictable keys, those with the earliest due first, those that are never due last."""
        writes = self.all.writes
        moments = self._elsewhere(stored, lambda moment: moment[1], limit)
        moments += [(w.timetable.due, key) for key, w in writes.items() if w is not None and w.evictable]
        return [key for _, key in heapq.nsmallest(limit, moments, key=lambda moment: (moment[0] == 0, moment))]
