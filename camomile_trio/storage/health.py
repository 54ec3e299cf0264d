"""What fails of a storage, until when, and who is told.

Rules of this file: plain state with words for people; it does no I/O. Only the same thing, or more of it, ends a
failure: a read that failed has to succeed, a commit has to be as large as the one that failed or to follow a proof that
so much has room, what was acknowledged has to reach the tables. What cannot get well while the node runs stays until
the next start.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from camomile_trio.errors import StorageDamaged, StorageError, StorageMoved

# Reads that failed and are tried again. While some of these fail, others need not be remembered to be unready.
MAX_FAILED_READS = 16

# Called with why the storage fails when it begins to, and with nothing once it works again.
OnFailing = Callable[[str], None]


def nobody_listens(reason: str) -> None:
    """For a storage whose `failing` is asked for instead."""


@attrs.define(eq=False)
class Health:
    _on_failing: OnFailing = nobody_listens
    # The reads that failed last, each under what it read, to be tried again.
    failed_reads: dict[object, Callable[[], object]] = attrs.Factory(dict)
    room: int = 0  # bytes: a commit of this size failed, and no such one has succeeded since
    _lasting: str = ""  # damage, or files that are gone
    _commit: str = ""  # why a commit failed
    _read: str = ""
    _behind: str = ""  # why what was acknowledged did not get to the disk, or into the tables
    _told: tuple[bool, bool] = (False, False)
    _failed: trio.Event = attrs.Factory(trio.Event)

    @property
    def failing(self) -> str:
        return self._lasting or self._commit or self._read or self._behind

    @property
    def commits_fail(self) -> bool:
        return bool(self._commit)

    @property
    def is_behind(self) -> bool:
        return bool(self._behind)

    async def wait_worth_a_try(self) -> None:
        """Waits until something has failed that may work again."""
        while not (self._commit or self._behind or self.failed_reads):
            self._failed = trio.Event()
            await self._failed.wait()

    def on_commit(self, size: int) -> None:
        if self._commit and size >= self.room:
            self._commit, self.room = "", 0
            self._tell()

    def on_room(self) -> None:
        """So much as failed has room on the disk: the next commit that succeeds shows that all is well."""
        self.room = 0

    def on_failed_commit(self, error: StorageError, size: int) -> None:
        if isinstance(error, StorageMoved):
            self._on_lasting(error)
        else:
            self._commit, self.room = _words(error), max(self.room, size)
            self._failed.set()
        self._tell()

    def on_lost(self, error: StorageMoved | StorageDamaged) -> None:
        """What was acknowledged may be lost."""
        self._on_lasting(error)
        self._tell()

    def on_failed_read(self, error: StorageError, what: object, again: Callable[[], object]) -> None:
        if isinstance(error, StorageDamaged):
            self.failed_reads.pop(what, None)
            self._on_lasting(error)
        else:
            self._read = _words(error)
            if len(self.failed_reads) < MAX_FAILED_READS:
                self.failed_reads[what] = again
            self._failed.set()
        self._tell()

    def on_read_again(self, what: object) -> None:
        """What failed works."""
        self.failed_reads.pop(what, None)
        if not self.failed_reads:
            self._read = ""
            self._tell()

    def on_absorbed(self) -> None:
        self._behind = ""
        self._tell()

    def on_behind(self, error: StorageError) -> None:
        """What was acknowledged did not get to the disk, or into the tables."""
        if isinstance(error, StorageMoved | StorageDamaged):
            self._on_lasting(error)
        else:
            self._behind = _words(error)
            self._failed.set()
        self._tell()

    def _on_lasting(self, error: StorageError) -> None:
        self._lasting = self._lasting or _words(error)

    def _tell(self) -> None:
        # Once for each beginning and each end, however often it fails meanwhile and however its words change.
        now = bool(self.failing), bool(self._lasting)
        if now != self._told:
            self._told = now
            self._on_failing(self.failing)


def _words(error: StorageError) -> str:
    return f"{error}; {error.remedy}" if error.remedy else str(error)
