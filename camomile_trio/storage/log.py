"""SQLite's log, on its way to the disk: it is synced within a second, and brought into the tables when it is long.

Rules of this file: for sync "os", where commits do not wait for the disk; on the event loop, with a thread for whatever
does wait. It knows no groups and acknowledges nothing. One commit waits for the disk all the same, the first after the
whole log went into the tables: it begins the log anew, and SQLite syncs the new header before the pages behind it, or a
power loss could bring the old ones back. `may_begin_anew` says when that may happen, so that it does in a thread.
"""

from __future__ import annotations

import attrs
import trio

from camomile_trio.errors import StorageError
from camomile_trio.storage.base import StorageStatistics
from camomile_trio.storage.database import Database
from camomile_trio.storage.health import Health

# From the first commit that only the operating system has until the log is synced: what remains of the second is the
# disk's.
SYNC_AFTER = 0.8
# A log of about this size is brought into the tables. To sync it costs one call, a checkpoint some hundreds; but a
# start reads all of the log, and it grows until it begins anew.
CHECKPOINT_BYTES = 4 * 2**20
# A log this long that commits keep ahead of the checkpoints makes commits wait for one, or it would never begin anew.
LONG_LOG_FRAMES = 16_384


@attrs.define(eq=False)
class Log:
    _database: Database
    _health: Health
    _statistics: StorageStatistics
    # The length by estimate, since SQLite tells it only with a checkpoint.
    _bytes: int = attrs.field(init=False)
    _is_spent: bool = attrs.field(init=False)
    _is_checkpointing: bool = attrs.field(init=False, default=False)
    _is_long: bool = attrs.field(init=False, default=False)
    _commits: int = attrs.field(init=False, default=0)
    _unsynced: trio.Event = attrs.field(init=False, factory=trio.Event)
    # Checkpoints share a connection, so there is one at a time, and a sync beside one would be for nothing.
    _thread: trio.CapacityLimiter = attrs.field(init=False, factory=lambda: trio.CapacityLimiter(1))

    def __attrs_post_init__(self) -> None:
        self._bytes = self._database.log_bytes
        self._is_spent = not self._bytes
        if self._bytes:
            self._unsynced.set()

    @property
    def is_long(self) -> bool:
        """Whether the next commit has to wait for a checkpoint."""
        return self._is_long

    def may_begin_anew(self) -> bool:
        """Whether the commit that is made now may. As long as a checkpoint is under way, nobody knows."""
        may, self._is_spent = self._is_spent or self._is_checkpointing, False
        return may

    def on_commit(self, size: int) -> None:
        self._bytes += size
        self._commits += 1
        self._unsynced.set()

    def on_failed_commit(self) -> None:
        """It may have been the one that was to begin the log anew."""
        self._is_spent = True

    async def sync_regularly(self) -> None:
        while True:
            await self._unsynced.wait()
            await trio.sleep(SYNC_AFTER)
            self._unsynced = trio.Event()
            # After a sync that failed the system may take for written what is not: only a checkpoint writes it again.
            if self._health.syncs_fail or self._bytes >= CHECKPOINT_BYTES:
                await self.checkpoint()
            else:
                await self._sync()

    async def checkpoint(self) -> None:
        commits = self._commits
        self._is_checkpointing, self._is_long = True, False
        try:
            in_log, done = await trio.to_thread.run_sync(self._database.checkpoint, limiter=self._thread)
        except StorageError as error:
            self._on_failure(error)
        else:
            self._health.on_sync()
            self._is_long = done < in_log and in_log > LONG_LOG_FRAMES
            self._is_spent |= done == in_log
            if done == in_log and self._commits == commits:
                self._bytes = 0
        finally:
            self._is_checkpointing = False

    async def _sync(self) -> None:
        try:
            await trio.to_thread.run_sync(self._database.sync_log, limiter=self._thread)
        except StorageError as error:
            self._on_failure(error)

    def _on_failure(self, error: StorageError) -> None:
        self._health.on_failed_sync(error)
        self._statistics.failures += 1
        self._unsynced.set()  # to try again
