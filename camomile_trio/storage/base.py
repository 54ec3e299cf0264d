"""The seam between a node and what it keeps.

Rules of this file: types only. Reads are direct, synchronous and quick (some µs). A read sees every write that was
handed over before it, committed or not. Writes gather in groups. What comes in one turn of receiving is committed at
the end of the turn, and all else by the one writer; `done` is called once the group is committed, never before, from
the event loop. Nothing here judges a record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import attrs
import trio

from camomile_trio.errors import StorageError
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import Durability
from camomile_trio.kademlia.registers import KeyState
from camomile_trio.storage.accounts import Account, Sort

# Called after the commit with how far it got, or with why it failed.
Done = Callable[[Durability | StorageError], None]


@attrs.frozen
class Timetable:
    """When a key needs attention, in wall-clock ms; 0 means never. Stored beside the key and indexed."""

    due: int = 0  # something about it ends or is to be forgotten: `expire` has work then
    renew: int = 0  # a lease of ours wants renewing


@attrs.define
class StorageStatistics:
    keys: int = 0  # all keys of which anything is stored
    values: int = 0  # those with a value
    bytes: int = 0  # counted against max_bytes: values and registers, with a fixed allowance for each key
    max_bytes: int = 0
    pending: int = 0  # writes not acknowledged yet
    journalled: int = 0  # keys of which an acknowledged write is in the journal and not in the tables yet
    commits: int = 0
    committed_writes: int = 0
    refused: int = 0  # writes refused because the storage is full
    busy: int = 0  # writes refused because too many were waiting for their commit
    failures: int = 0  # commits that failed
    slow: int = 0  # commits that held up the event loop


class Storage(Protocol):
    """Open and locked when it is made, closed by `close`. `run` is its writer, a task of the node."""

    @property
    def statistics(self) -> StorageStatistics: ...

    @property
    def durability(self) -> Durability:
        """What a commit of this storage means."""

    @property
    def failing(self) -> str:
        """Why commits or reads fail, empty when they do not: the node is not ready while this says something.

        A storage that fails tries by itself whether it works again. A lesser success than what failed ends nothing.
        """

    def read(self, key: Key) -> KeyState | None:
        """What is stored about a key. StorageError if the disk fails."""

    def read_all(self, keys: Sequence[Key]) -> dict[Key, KeyState]:
        """What is stored about each of some keys, of which those are left out that are not there. At one go, since most
        of what a read costs is its beginning. StorageError if the disk fails for one of them."""

    def value(self, key: Key) -> bytes | None:
        """The value's bytes. They are *not* hashed here; StorageError if the disk fails."""

    async def fetch(self, key: Key) -> bytes | None:
        """As `value`, for a large one: it is read beside the event loop."""

    def write(
        self,
        before: KeyState | None,
        state: KeyState,
        timetable: Timetable,
        *,
        value: bytes | None = None,
        even_if_full: bool = False,
        evictable: bool = False,
        done: Done | None = None,
    ) -> None:
        """Puts `state` in the place of `before`: of what `read(state.key)` has given, with nothing written about the
        key in between. None: nothing is stored.

        `value`: the bytes, when `state.size` says there is a value and it is not stored yet (None keeps the stored
        one). With `state.size` None the stored value goes. `evictable` marks a key that goes first when space is
        short. StorageFull, at once and without calling `done`, when it makes more of what would not fit and
        `even_if_full` is not set; StorageError likewise when too many writes wait, or the disk fails. ValueError if
        `value` is not what `state` says, and, where that can be told without reading, if `before` is not what is
        stored. Later writes of one key replace earlier ones; `done` of each is called.
        """

    def remove(self, key: Key) -> None:
        """Forgets that the key was ever there."""

    def begin_turn(self) -> None:
        """From now until `end_turn`, which comes before the event loop goes on, what is written is of one turn."""

    def end_turn(self) -> None:
        """Commits what was handed over, and calls its `done`s, if that can be done at once and the commit costs the
        event loop some µs. Else the writer does, as with what is handed over outside of a turn: by a `done`, too."""

    def confirm(self) -> Durability:
        """How far what was committed has got, for an acknowledgement without a commit of its own. StorageError once the
        files were deleted, moved or replaced: what was committed may be lost then, and nothing is acknowledged."""

    def keys(self, after: Key | None, limit: int) -> list[Key]:
        """Up to `limit` keys greater than `after`, in order; None starts at the first. For bounded walks."""

    def due(self, now: int, limit: int) -> list[Key]:
        """Up to `limit` keys whose timetable says due at or before `now` (ms), earliest first."""

    def renewable(self, now: int, limit: int) -> list[Key]:
        """Up to `limit` keys whose timetable says renew at or before `now` (ms), earliest first."""

    def evictable(self, limit: int) -> list[Key]:
        """Up to `limit` keys that were marked evictable, those with the earliest due first, never last."""

    def held(self, account: Account) -> int:
        """The bytes that are charged to an account (`accounts.charges`), 0 for one that nobody has heard of."""

    def largest(self, sort: Sort) -> int:
        """The bytes of the account of this sort that holds most."""

    def next_due(self) -> int | None:
        """The earliest due or renew time of all keys, None if there is none."""

    def contacts(self) -> list[Contact]:
        """The contacts that were saved last."""

    def save_contacts(self, contacts: list[Contact]) -> None:
        """Replaces the saved contacts (at most some hundreds); committed with the next group."""

    def note(self, name: str) -> int:
        """A small number kept under a name, 0 if there is none. The node keeps its uptime here."""

    def set_note(self, name: str, number: int) -> None: ...

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The writer. Runs until cancelled; what was handed over before is committed by `close`."""

    def close(self) -> None:
        """Commits what is pending, calls its `done`s, and gives up the lock. Safe to call twice; only after `run`.

        Every other call raises StorageError from then on.
        """
