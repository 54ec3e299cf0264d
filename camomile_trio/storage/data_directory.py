"""The directory in which one node keeps its database: made when missing, and locked while it is in use.

Rules of this file: the lock is the kernel's (flock on the file `lock`), so it ends with the process however that dies,
and the file itself means nothing and stays. Errors of the file system are translated here.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from camomile_trio.errors import DataDirectoryInUse, DiskFull, StorageError

LOCK_FILE = "lock"
SCRATCH_FILE = "scratch"


class DataDirectory:
    """A directory that this process has to itself until `release`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor

    @classmethod
    def open(cls, path: Path) -> DataDirectory:
        """Makes `path` (mode 0700, with its parents) if it is missing, and locks it.

        DataDirectoryInUse if it is locked already, by another process or by this one; StorageError if it cannot be
        made or written.
        """
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Only for whoever is refused, so that the message can name the process to stop.
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        except BlockingIOError:
            owner = os.pread(descriptor, 20, 0).decode("ascii", "replace")
            os.close(descriptor)
            raise DataDirectoryInUse(
                f"the data directory {path} is in use" + (f" by process {owner}" if owner.isdecimal() else "")
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise _unusable(path, error) from error
        return cls(path, descriptor)

    def try_to_write(self, size: int) -> None:
        """Writes a scratch file of `size` bytes through to the disk and removes it; StorageError if that fails.

        Blocks for the disk.
        """
        scratch = self.path / SCRATCH_FILE
        try:
            descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, size)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
                scratch.unlink()
        except OSError as error:
            raise _unusable(self.path, error) from error

    def release(self) -> None:
        """Gives up the lock. Safe to call twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _unusable(path: Path, error: OSError) -> StorageError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFull(f"the disk of the data directory {path} is full: {error.strerror}")
    return StorageError(
        f"the data directory {path} cannot be used: {error.strerror or error}",
        remedy="give a --data-dir that this user may write to",
    )
