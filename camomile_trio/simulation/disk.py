"""A disk that outlives its node, and that can fail: what simulations run their nodes on.

Rules of this file: the contract is that of the real storage. Writes are readable at once, gather while a commit is
under way, and are acknowledged by `run` after the commit's latency. A crash loses what is not committed; a power loss
also what the operating system had not brought to the disk, the newest first and never with a hole. Either may tear a
commit, as it tears a write to the journal: its first changes are left, and the later ones are not. A crash is not a
cancellation: the storage of the old life commits nothing more and calls no `done`, although its tasks may still run.
All chance comes from the `rng`; time is Trio's.
"""

from __future__ import annotations

import math
import random

import attrs
import trio

from camomile_trio.errors import ConfigError, DataDirectoryInUse, DiskFull, StorageError
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import Durability
from camomile_trio.kademlia.registers import KeyState
from camomile_trio.storage.accounts import Charges, change
from camomile_trio.storage.base import Done, StorageStatistics, Timetable
from camomile_trio.storage.entries import Entries, Entry
from camomile_trio.storage.memory import MemoryStorage
from camomile_trio.storage.schema import SyncMode
from camomile_trio.storage.tally import (
    MAX_CONTACTS,
    MAX_PENDING_BYTES,
    MAX_PENDING_WRITES,
    busy,
    check_before,
    check_value,
    closed,
    full,
)

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


@attrs.define(eq=False)
class Changes:
    """A commit in the making, and once it is made, for as long as it can still be lost."""

    growth: int = 0  # by how much it makes the entries larger
    count: int = 0  # writes, replaced ones included
    value_bytes: int = 0  # of values that were written
    dones: list[Done] = attrs.Factory(list)
    on_disk_at: float = 0.0  # once it is made: when the disk will have it
    # What was there before each change of a key or of a note, in their order.
    _before: list[tuple[Key, Entry | None] | tuple[str, int]] = attrs.Factory(list)
    _contacts: list[Contact] | None = None

    def __len__(self) -> int:
        return len(self._before)

    def has_room(self, value: bytes | None) -> bool:
        """Whether one more write may wait. A value that is larger than the bound waits alone."""
        is_too_much = self.value_bytes and self.value_bytes + len(value or b"") > MAX_PENDING_BYTES
        return self.count < MAX_PENDING_WRITES and not is_too_much

    def put(
        self, entries: Entries, key: Key, old: Entry | None, entry: Entry | None, growth: int, charged: Charges
    ) -> None:
        """The arguments are those of `Entries.put`."""
        self._before.append((key, old))
        entries.put(key, old, entry, growth, charged)
        self.growth += growth
        self.count += 1

    def set_contacts(self, entries: Entries, contacts: list[Contact]) -> None:
        if self._contacts is None:
            self._contacts = entries.contacts
        entries.contacts = contacts

    def set_note(self, entries: Entries, name: str, number: int) -> None:
        self._before.append((name, entries.notes.get(name, 0)))
        entries.notes[name] = number

    def take_back(self, entries: Entries, keep: int = 0) -> None:
        """Puts back what was there before, but for the first `keep` changes. Nothing later may still be there."""
        while len(self._before) > keep:
            changed, before = self._before.pop()
            if isinstance(changed, str):
                assert isinstance(before, int)
                entries.notes[changed] = before
            else:
                assert not isinstance(before, int)
                entries.replace(changed, before)
        if self._contacts is not None:
            entries.contacts = self._contacts


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
        kept = len(self._unsynced) - rng.randint(0, len(self._unsynced))
        for changes in reversed(self._unsynced[kept + 1 :]):
            changes.take_back(self.entries)
        for torn in self._unsynced[kept : kept + 1]:
            torn.take_back(self.entries, keep=rng.randrange(len(torn)) if len(torn) > 1 else 0)
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


class SimulatedStorage(MemoryStorage):
    """One life on a disk: what is read is read as in memory, and what is written has to be committed.

    Made by `SimulatedDisk.open`.
    """

    def __init__(self, medium: Medium) -> None:
        super().__init__(max_bytes=medium.max_bytes)
        self._entries = medium.entries
        self._medium = medium
        # What was handed over and not committed: what still gathers, and before it what is being committed.
        self._filling: Changes | None = None
        self._committing: Changes | None = None
        self._commit_failure = ""
        self._is_cut_off = False

    @property
    def statistics(self) -> StorageStatistics:
        waiting = (self._filling, self._committing)
        pending = sum(changes.count for changes in waiting if changes is not None)
        return attrs.evolve(super().statistics, pending=pending)

    @property
    def durability(self) -> Durability:
        return Durability.DISK if self._medium.sync == "full" else Durability.SYSTEM

    @property
    def failing(self) -> str:
        faults = self._medium.faults
        if faults.fails_reads:
            return str(unreadable())
        if not self._commit_failure and faults.fails_writes and self._medium.has_unsynced:
            return str(unwritable())
        # SQLite's storage tries again by itself; here a look at the faults says how that would end.
        return self._commit_failure if faults.fails_writes or faults.is_full else ""

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
        self._check_open()
        key, entries = state.key, self._entries
        old = entries.get(key)
        check_before(before, None if old is None else old.state, state)
        check_value(before, state, value)
        if self._filling is not None and not self._filling.has_room(value):
            self._statistics.busy += 1
            raise busy()
        growth, charged = change(before, state)
        if growth > 0 and entries.bytes + growth > self._medium.max_bytes and not even_if_full:
            self._statistics.refused += 1
            raise full(self._medium.max_bytes)
        changes = self._hand_over_to_commit()
        changes.value_bytes += len(value or b"")
        if value is None and old is not None and state.size is not None:
            value = old.value
        changes.put(entries, key, old, Entry(state, timetable, evictable, value), growth, charged)
        if done is not None:
            changes.dones.append(done)

    def remove(self, key: Key) -> None:
        self._check_open()
        old = self._entries.get(key)
        if old is not None:
            self._hand_over_to_commit().put(self._entries, key, old, None, *change(old.state, None))

    def begin_turn(self) -> None:
        pass  # a commit takes its latency, and so it is the writer's in any case

    def end_turn(self) -> None:
        pass

    def confirm(self) -> Durability:
        self._check_alive()
        return self.durability

    def save_contacts(self, contacts: list[Contact]) -> None:
        self._check_alive()
        self._hand_over_to_commit().set_contacts(self._entries, contacts[:MAX_CONTACTS])

    def set_note(self, name: str, number: int) -> None:
        self._check_alive()
        self._hand_over_to_commit().set_note(self._entries, name, number)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        while True:
            if self._committing is None:
                if self._filling is None:
                    await self._alarm.wait(math.inf)
                # Whatever else is written in this pass of the event loop joins the commit.
                await trio.lowlevel.checkpoint()
                self._cut()
            await self._alarm.wait(trio.current_time() + self._medium.commit_latency * self._medium.faults.slowness)
            self._commit()

    def close(self) -> None:
        if self._is_closed or self._is_cut_off:
            return
        self._is_closed = True
        # A writer that was cancelled may have left one on its way.
        self._commit()
        self._cut()
        self._commit()
        if not self._is_cut_off:
            self._medium.end_use(in_good_order=True)

    def cut_off(self, *, chance: float) -> None:
        """For the disk alone: the process is gone. `chance`, from 0 to 1, says how many changes are left of a commit
        that was under way: all, some of the first, or none."""
        self._is_cut_off = True
        if self._filling is not None:
            self._filling.take_back(self._entries)
        changes = self._committing
        if changes is not None:
            keep = len(changes) - int(chance * (len(changes) + 1))
            if keep < len(changes) or not keep:
                changes.take_back(self._entries, keep)
            if keep and self._medium.commit(changes) is not None:
                changes.take_back(self._entries)
        self._filling = self._committing = None
        self._medium.end_use(in_good_order=False)

    def _hand_over_to_commit(self) -> Changes:
        """What the change that is about to be made belongs to."""
        if self._filling is None:
            self._filling = Changes()
            if self._committing is None:
                self._alarm.advance_to_now()
        return self._filling

    def _cut(self) -> None:
        """What has gathered is to be committed."""
        self._committing, self._filling = self._filling, None

    def _commit(self) -> None:
        changes, self._committing = self._committing, None
        if changes is None:
            return
        error = self._medium.commit(changes)
        if error is not None:
            self._fail(changes, error)
            return
        if not self._medium.faults.is_full:
            # On a full disk a commit that makes nothing larger shows nothing about those that do.
            self._commit_failure = ""
        self._statistics.commits += 1
        self._statistics.committed_writes += changes.count
        self._tell(changes, self.durability)

    def _fail(self, changes: Changes, error: StorageError) -> None:
        """Later writes build on earlier ones, so what has gathered meanwhile goes as well."""
        later, self._filling = self._filling or Changes(), None
        later.take_back(self._entries)
        changes.take_back(self._entries)
        self._commit_failure = str(error)
        self._statistics.failures += 1
        self._tell(changes, error)
        self._tell(later, error)

    def _tell(self, changes: Changes, outcome: Durability | StorageError) -> None:
        dones, changes.dones = changes.dones, []
        for done in dones:
            # One of them may have brought the crash.
            if self._is_cut_off:
                return
            done(outcome)

    def _check_open(self) -> None:
        self._check_alive()
        if self._medium.faults.fails_reads:
            raise unreadable()

    def _check_alive(self) -> None:
        if self._is_cut_off:
            raise StorageError("the storage is gone: its node has crashed")
        if self._is_closed:
            raise closed()


class SimulatedDisk:
    """One node's disk for all of its lives. `open` begins one; its `close`, a crash or a power loss ends it."""

    __slots__ = ("_life", "_medium", "_rng")

    def __init__(
        self, *, sync: SyncMode, max_bytes: int, rng: random.Random, commit_latency: float | None = None
    ) -> None:
        """`commit_latency`: seconds from a write to its acknowledgement; None for what is usual with this `sync`."""
        if commit_latency is None:
            commit_latency = COMMIT_LATENCY[sync]
        self._medium = Medium(sync=sync, max_bytes=max_bytes, commit_latency=commit_latency, faults=DiskFaults())
        self._life: SimulatedStorage | None = None
        self._rng = rng

    @property
    def faults(self) -> DiskFaults:
        return self._medium.faults

    @property
    def entries(self) -> Entries:
        """What a life reads, for a judge outside of it."""
        return self._medium.entries

    def open(self) -> SimulatedStorage:
        """The storage of the node's next life. DataDirectoryInUse while it has one; StorageError if reads fail."""
        if self._medium.is_in_use:
            raise DataDirectoryInUse("the simulated disk is in use")
        if self._medium.faults.fails_reads:
            raise unreadable()
        self._medium.begin_use()
        self._life = SimulatedStorage(self._medium)
        return self._life

    def crash(self) -> None:
        """The process is killed. What was not committed is lost, and nobody hears of it; a new life may open at once.

        Of a commit that was under way only chance says how much was made. Nothing happens if the disk is not open.
        """
        if self._life is not None and self._medium.is_in_use:
            self._life.cut_off(chance=self._rng.random())
        self._life = None

    def lose_power(self) -> None:
        """A crash, and of the commits that only the operating system had a chance number, the newest ones, is lost."""
        self.crash()
        self._medium.lose_unsynced(self._rng)

    def wipe(self) -> None:
        """A crash after which the node comes back on an empty disk."""
        self.crash()
        self._medium.wipe()

    def set_faults(self, faults: DiskFaults = DiskFaults()) -> None:
        """What is wrong from now on, instead of what was. A commit that is under way feels it at its end."""
        self._medium.set_faults(faults)

    def damage(self, rng: random.Random) -> Key | None:
        """Changes one byte of one stored value, and says of which key; None if there is no value to damage."""
        return self._medium.damage(rng)
