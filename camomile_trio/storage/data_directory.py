"""The directory in which one node keeps its database: made when missing, and locked while it is in use.

Rules of this file: the lock is the kernel's (flock on the file `lock`), so it ends with the process however that dies,
and the file itself means nothing and stays. A directory that others may write to is refused, as PostgreSQL and OpenSSH
refuse theirs: they could change the key and the records, and no check at the start would notice that later. Nothing is
written through a name that may have been planted there. A process goes on with files that were deleted, moved or
replaced under it: `require_in_place` says so. Errors of the file system are translated here.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
import stat
import time
from collections.abc import Iterable
from pathlib import Path

from camomile_trio.errors import DataDirectoryInUse, DiskFull, StorageError, StorageMoved

LOCK_FILE = "lock"
SCRATCH_FILE = "scratch"
# File systems count the time of a change in ticks of some ms: two changes within one tick look like one.
_TICK_NS = 100_000_000


class DataDirectory:
    """A directory that this process has to itself until `release`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor
        # The directory and the files that are watched, with their identities.
        self._opened: list[tuple[str, tuple[int, int]]] = []
        # When a file of the directory was made, deleted or renamed, by the last look at all of them; 0 for unknown.
        self._changed = 0
        self._moved = ""
        self.has_moved = False  # by the last look

    @classmethod
    def open(cls, path: Path) -> DataDirectory:
        """Makes `path` (mode 0700, with its parents) if it is missing, and locks it.

        DataDirectoryInUse if it is locked already, by another process or by this one; StorageError if it cannot be
        made or written, if other users may write to it, or if it holds a symbolic link, a pipe or a device.
        """
        lock = path / LOCK_FILE
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _require_own(path)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(path, error) from error
        try:
            _require_lock(lock, os.fstat(descriptor))
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
        except StorageError:
            os.close(descriptor)
            raise
        return cls(path, descriptor)

    def require_room(self, size: int) -> None:
        """DiskFull if the file system says that it has no room for so many bytes."""
        try:
            found = os.statvfs(self.path)
        except OSError as error:
            raise _unusable(self.path, error) from error
        if found.f_bavail * found.f_frsize < size:
            raise DiskFull(f"the disk of the data directory {self.path} is full: the tables cannot grow")

    def try_to_write(self, size: int) -> None:
        """Writes a scratch file of `size` bytes through to the disk and removes it; StorageError if that fails.

        Blocks for the disk.
        """
        scratch = self.path / SCRATCH_FILE
        try:
            # One that a killed process left, or that is another file's second name.
            scratch.unlink(missing_ok=True)
            descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, size)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
                scratch.unlink()
        except OSError as error:
            raise _unusable(self.path, error) from error

    def watch(self, opened: Iterable[Path]) -> None:
        """The directory and these files of it have to stay where they are. StorageError if one cannot be looked at."""
        try:
            # While they are open, no other file can get their numbers.
            self._opened = [(str(each), _identity(os.stat(each))) for each in (self.path, *opened)]
        except OSError as error:
            raise _unusable(self.path, error) from error

    def require_in_place(self) -> None:
        """StorageMoved unless all that is watched is where it was opened; then always, since writes may have been lost
        meanwhile. Asked before each acknowledgement, so one look at the directory is enough if nothing in it changed.
        """
        if not self._moved:
            try:
                path, (device, number) = self._opened[0]
                status = os.stat(path)
                if self._changed == status.st_mtime_ns and status.st_ino == number and status.st_dev == device:
                    return
                self._changed = status.st_mtime_ns if time.time_ns() - status.st_mtime_ns > _TICK_NS else 0
            except OSError:
                pass
            self._moved = self._what_moved()
            self.has_moved = self._moved != ""
        if self._moved:
            raise StorageMoved(self._moved)

    def _what_moved(self) -> str:
        for path, opened in self._opened[1:]:
            try:
                is_there, why = _identity(os.stat(path)) == opened, "another file is there"
            except OSError as error:
                is_there, why = False, str(error.strerror)
            if not is_there:
                return f"the file {path} was deleted, moved or replaced while it was in use: {why}"
        return ""

    def release(self) -> None:
        """Gives up the lock. Safe to call twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _require_own(path: Path) -> None:
    """StorageError if other users may change what is in the directory, or if what is in it leads elsewhere."""
    status = path.stat()
    if not _is_ours(status) and status.st_uid != 0:
        raise StorageError(
            f"the data directory {path} belongs to another user (uid {status.st_uid})",
            remedy="run the node as that user, or give a --data-dir of this user",
        )
    if status.st_mode & 0o022:
        command = f"chmod go-w {shlex.quote(str(path))}"
        raise StorageError(
            f"other users may write to the data directory {path} (mode {stat.S_IMODE(status.st_mode):04o})",
            remedy=f"run `{command}`, or give a --data-dir inside it, which the node makes for its user alone",
        )
    with os.scandir(path) as entries:
        for entry in entries:
            mode = entry.stat(follow_symlinks=False).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISSOCK(mode)):
                kind = "symbolic link" if stat.S_ISLNK(mode) else "device or a pipe"
                raise StorageError(
                    f"{entry.path} is a {kind}, and a node follows none in its data directory",
                    remedy="move it away; the directory itself may be a link",
                )


def _require_lock(lock: Path, status: os.stat_result) -> None:
    """StorageError unless the file is nothing but a lock of ours: it is about to be emptied."""
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1 or not _is_ours(status):
        raise StorageError(
            f"{lock} is no file of this user that has this one name, and was left as it is", remedy="move it away"
        )


def _is_ours(status: os.stat_result) -> bool:
    # Root starts nodes in the directories of others, as in a container with a mounted directory.
    return os.geteuid() in (0, status.st_uid)


def _unusable(path: Path, error: OSError) -> StorageError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFull(f"the disk of the data directory {path} is full: {error.strerror}")
    return StorageError(
        f"the data directory {path} cannot be used: {error.strerror or error}",
        remedy="give a --data-dir that this user may write to",
    )
