"""What fails of a storage, and when it is tried again.

Rules of this file: plain state with words for people; it does no I/O. A failed commit or read is over once the same
thing works again; damage stays until the next start.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from camomile_trio.errors import StorageDamaged, StorageError


@attrs.define(eq=False)
class Health:
    commit: str = ""  # why the last commit failed
    sync: str = ""  # why what was committed did not get to the disk
    damage: str = ""
    # The read that failed last, to be tried again.
    failed_read: Callable[[], object] | None = None
    _read: str = ""
    _failed: trio.Event = attrs.Factory(trio.Event)

    @property
    def failing(self) -> str:
        return self.damage or self.commit or self._read or self.sync

    @property
    def is_worth_a_try(self) -> bool:
        """Whether something failed that may work again."""
        return bool(self.commit or self._read)

    async def wait_worth_a_try(self) -> None:
        while not self.is_worth_a_try:
            self._failed = trio.Event()
            await self._failed.wait()

    def on_failed_commit(self, error: StorageError) -> None:
        self.commit = str(error)
        self._failed.set()

    def on_failed_read(self, error: StorageError, again: Callable[[], object]) -> None:
        if isinstance(error, StorageDamaged):
            self.damage = f"{error}; {error.remedy}"
        else:
            self._read, self.failed_read = str(error), again
            self._failed.set()

    def on_read(self) -> None:
        self._read, self.failed_read = "", None
