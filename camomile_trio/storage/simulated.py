"""A disk that outlives its node, and that can fail: what simulations run their nodes on.

Rules of this file: how a life on the disk begins and ends, as SQLite would have it. A crash loses what is not
committed; a power loss also what the operating system had not brought to the disk, the newest first and never with a
hole. A crash is not a cancellation: the storage of the old life commits nothing more and calls nobody, although its
tasks may still run. All chance comes from the `rng`.
"""

from __future__ import annotations

import random

from camomile_trio.errors import DataDirectoryInUse
from camomile_trio.kademlia.ids import Key
from camomile_trio.storage.entries import Entries
from camomile_trio.storage.medium import COMMIT_LATENCY, DiskFaults, Medium, unreadable
from camomile_trio.storage.schema import SyncMode
from camomile_trio.storage.simulated_life import SimulatedStorage

_NO_FAULTS = DiskFaults()


class SimulatedDisk:
    """One node's disk for all of its lives. `open` begins one; its `close`, a crash or a power loss ends it."""

    __slots__ = ("_life", "_medium", "_rng")

    def __init__(
        self, *, sync: SyncMode, max_bytes: int, rng: random.Random, commit_latency: float | None = None
    ) -> None:
        """`commit_latency`: seconds from a write to its acknowledgement; None for what is usual with this `sync`."""
        if commit_latency is None:
            commit_latency = COMMIT_LATENCY[sync]
        self._medium = Medium(sync=sync, max_bytes=max_bytes, commit_latency=commit_latency, faults=_NO_FAULTS)
        self._life: SimulatedStorage | None = None
        self._rng = rng

    @property
    def faults(self) -> DiskFaults:
        return self._medium.faults

    @property
    def entries(self) -> Entries:
        """What a life reads, for whoever judges it from outside."""
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

        Of a commit that was under way only chance says whether it was made. Nothing happens if the disk is not open.
        """
        if self._life is not None and self._medium.is_in_use:
            self._life.cut_off(makes_commit=self._rng.random() < 0.5)
        self._life = None

    def lose_power(self) -> None:
        """A crash, and of the commits that only the operating system had a chance number, the newest ones, is lost."""
        self.crash()
        self._medium.lose_unsynced(self._rng)

    def wipe(self) -> None:
        """A crash after which the node comes back on an empty disk."""
        self.crash()
        self._medium.wipe()

    def set_faults(self, faults: DiskFaults = _NO_FAULTS) -> None:
        """What is wrong from now on, instead of what was. A commit that is under way feels it at its end."""
        self._medium.set_faults(faults)

    def damage(self, rng: random.Random) -> Key | None:
        """Changes one byte of one stored value, and says of which key; None if there is no value to damage."""
        return self._medium.damage(rng)
