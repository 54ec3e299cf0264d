"""The medium of a simulated disk: what is on it, how far each commit has got, and what is wrong with it.

Rules of this file: what a power loss may take, in the order in which it may; it knows no node, no tasks and nobody who
waits. Time is Trio's and only read, never waited for: nothing here wakes anybody.
"""

from __future__ import annotations

import random

import attrs
import trio

from camomile_trio.errors import ConfigError, DiskFull, StorageError
from camomile_trio.kademlia.ids import Key
from camomile_trio.storage.changes import Changes
from camomile_trio.storage.entries import Entries
from camomile_trio.storage.schema import SyncMode

# Seconds from a write to its acknowledgement.
COMMIT_LATENCY: dict[SyncMode, float] = {"os": 0.0002, "full": 0.003}
# With sync "os" a node that runs brings each commit to the disk within a second. Of a node that was killed before it
# could, the operating system does it: Linux after 30 s, for which it looks every 5 s.
SYNC_WITHIN = 1.0
WRITE_BACK_WITHIN = 35.0

_REMEDY = "switch the simulated fault off"


def unreadable() -> StorageError:
    return StorageError("the simulated disk failed: it cannot be read", remedy=_REMEDY)


def unwritable() -> StorageError:
    return StorageError("the simulated disk failed: it cannot be written", remedy=_REMEDY)


@attrs.frozen(kw_only=True)
class DiskFaults:
    """What is wrong with a disk. A frozen value, so that a scenario can print it."""

    is_full: bool = False  # the device: what makes anything larger fails to commit; `max_bytes` is another bound
    fails_reads: bool = False
    fails_writes: bool = False  # commits fail, and what was committed does not get further than the system
    slowness: float = 1.0  # commits take so many times as long

    def __attrs_post_init__(self) -> None:
        if not 0.0 < self.slowness < float("inf"):
            raise ConfigError(f"slowness is {self.slowness}", remedy="choose a slowness above 0; 1 is as usual")


@attrs.define(eq=False, kw_only=True)
class Medium:
    """What outlives the node. `entries` has every change at once, those that are not committed too."""

    sync: SyncMode
    max_bytes: int
    commit_latency: float
    faults: DiskFaults = DiskFaults()
    entries: Entries = attrs.Factory(Entries)
    is_in_use: bool = False  # by a node that runs, and so brings commits to the disk
    # Commits that only the operating system has, oldest first.
    _unsynced: list[Changes] = attrs.Factory(list)

    @property
    def has_unsynced(self) -> bool:
        """Whether a power loss could take a commit back."""
        self._drop_synced()
        return bool(self._unsynced)

    def commit(self, changes: Changes) -> StorageError | None:
        """Makes a commit, or says why it fails and leaves it to be taken back."""
        if self.faults.fails_writes:
            return unwritable()
        if self.faults.is_full and changes.growth > 0:
            return DiskFull("the simulated disk failed: it is full", remedy=_REMEDY)
        if self.sync == "os":
            self._drop_synced()
            changes.on_disk_at = self._next_sync()
            self._unsynced.append(changes)
        return None

    def set_faults(self, faults: DiskFaults) -> None:
        self._drop_synced()
        before, self.faults = self.faults, faults
        if before.fails_writes != faults.fails_writes:
            self._reschedule()

    def begin_use(self) -> None:
        self._drop_synced()
        self.is_in_use = True
        self._reschedule()

    def end_use(self, *, in_good_order: bool) -> None:
        """A node that closes brings everything to the disk, unless that fails; one that crashes nothing."""
        self._drop_synced()
        self.is_in_use = False
        if in_good_order and not self.faults.fails_writes:
            self._unsynced.clear()
        self._reschedule()

    def lose_unsynced(self, rng: random.Random) -> None:
        """The power goes: of the commits that were not synced a chance number, the newest ones, is lost."""
        self._drop_synced()
        for _ in range(rng.randint(0, len(self._unsynced))):
            self._unsynced.pop().take_back(self.entries)
        self._unsynced.clear()

    def wipe(self) -> None:
        self.entries = Entries()
        self._unsynced.clear()

    def damage(self, rng: random.Random) -> Key | None:
        """Changes one byte of one stored value, and says of which key; None if there is no value to damage."""
        entries = self.entries
        stored = [(key, entries.get(key)) for key in entries.keys(None, len(entries))]
        damageable = [(key, entry, entry.value) for key, entry in stored if entry is not None and entry.value]
        if not damageable:
            return None
        key, entry, value = rng.choice(damageable)
        place = rng.randrange(len(value))
        changed = bytes([value[place] ^ rng.randint(1, 255)])
        entries.replace(key, attrs.evolve(entry, value=value[:place] + changed + value[place + 1 :]))
        return key

    def _drop_synced(self) -> None:
        """They are on the disk: nothing takes them back."""
        synced = 0
        while synced < len(self._unsynced) and self._unsynced[synced].on_disk_at <= trio.current_time():
            synced += 1
        del self._unsynced[:synced]

    def _reschedule(self) -> None:
        """Who brings the commits to the disk, or whether anybody can, has changed."""
        for changes in self._unsynced:
            changes.on_disk_at = self._next_sync()

    def _next_sync(self) -> float:
        if self.faults.fails_writes:
            return float("inf")
        return trio.current_time() + (SYNC_WITHIN if self.is_in_use else WRITE_BACK_WITHIN)
