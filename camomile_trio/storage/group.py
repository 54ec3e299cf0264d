"""The writes that wait to be committed together, and what they change about a read until then.

Rules of this file: plain state; it knows neither the database nor the event loop. A group is filled on the event loop,
and once it has been handed to the commit nobody changes it, so that a thread may read it.
"""

from __future__ import annotations

import attrs

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.registers import KeyState
from camomile_trio.storage.accounts import Charges
from camomile_trio.storage.base import Done, Timetable
from camomile_trio.storage.tally import Tally

# What a write of one key adds to the log beside its value: some 8 pages. Many writes in one group share pages.
_LOG_BYTES = 16 * 1024


@attrs.frozen
class Write:
    """What is to be stored about a key. `value` None keeps what is stored, if `state.size` says that something is."""

    state: KeyState
    timetable: Timetable
    evictable: bool
    value: bytes | None
    registers: bytes  # packed when it was handed over: a state that cannot be packed is its caller's bug


# A key of which nothing is to be left has None.
Writes = dict[Key, Write | None]


@attrs.define
class Group:
    """One transaction in the making. The last write of a key wins; the `done`s of all of them are kept, in order."""

    tally: Tally  # what is stored once this group and all before it are
    writes: Writes = attrs.Factory(dict)
    dones: list[Done] = attrs.Factory(list)
    contacts: list[Contact] | None = None
    notes: dict[str, int] = attrs.Factory(dict)
    accounts: Charges = attrs.Factory(dict)  # those that change: what each holds once this group is committed
    count: int = 0  # writes handed over, replaced ones included
    value_bytes: int = 0

    @property
    def is_empty(self) -> bool:
        return not (self.writes or self.notes or self.dones) and self.contacts is None

    @property
    def log_bytes(self) -> int:
        """About how long this makes the database's log, at most."""
        return _LOG_BYTES * max(len(self.writes), 1) + self.value_bytes

    def add(self, write: Write, done: Done | None) -> None:
        """Takes a write; a value that an earlier write of the key brought stays with a later one that keeps it."""
        key = write.state.key
        earlier = self.writes.get(key)
        if earlier is not None and earlier.value is not None:
            self.value_bytes -= len(earlier.value)
            if write.value is None and write.state.size is not None:
                write = attrs.evolve(write, value=earlier.value)
        if write.value is not None:
            self.value_bytes += len(write.value)
        self.writes[key] = write
        self.count += 1
        if done is not None:
            self.dones.append(done)

    def remove(self, key: Key) -> None:
        earlier = self.writes.get(key)
        if earlier is not None and earlier.value is not None:
            self.value_bytes -= len(earlier.value)
        self.writes[key] = None
        self.count += 1
