"""The journal: what was accepted and is not in the tables yet, in two files of the data directory.

Rules of this file: bytes in numbered entries; it knows no keys, and no event loop. One write takes all entries of one
turn. One file grows until its entries are to be absorbed into the tables; then the other file grows, and the first is
emptied once the tables have them. A failed write is cut off again. A file that could not be written or synced for
another reason than a full disk is spoiled: nothing is appended to it before it was emptied, since a second sync may
succeed without what the first one failed to write.

An entry is a mark, a CRC-32, the length of the body, its sequence number, and the body. The CRC is over all that
follows it. It finds torn writes and decayed disks, and takes a third of the time of BLAKE2b. Nothing here is proof
against an enemy, who could as well change the tables: values are checked against their keys, and records by their
signatures. An incomplete entry at the end is a write that was torn, and was not acknowledged. One that is followed by
complete ones, or whose number is missing, is damage; the next mark is where reading goes on then.
"""

from __future__ import annotations

import errno
import os
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from zlib import crc32

import attrs

from camomile_trio.errors import DiskFull, StorageError
from camomile_trio.storage.schema import SyncMode

JOURNAL_FILES = ("journal-0", "journal-1")
# Seconds: a write that takes longer holds up the event loop, and the next ones are made in a thread.
SLOW_WRITE = 0.02

_MARK = b"CaJ\x01"
_HEAD = struct.Struct(">4sI")
_NUMBERS = struct.Struct(">IQ")
_HEAD_BYTES = _HEAD.size + _NUMBERS.size


@attrs.frozen
class Entry:
    sequence: int
    body: bytes


def frame(sequence: int, body: bytes) -> bytes:
    """The entry as it stands in the file."""
    numbered = _NUMBERS.pack(len(body), sequence) + body
    return _HEAD.pack(_MARK, crc32(numbered)) + numbered


@attrs.frozen
class Contents:
    """What is in a file: its complete entries in order, where the last of them ends, and whether others are gone."""

    entries: list[Entry]
    end: int
    is_damaged: bool


def contents_of(data: bytes) -> Contents:
    entries: list[Entry] = []
    is_damaged = False
    end = at = 0
    while (start := data.find(_MARK, at)) >= 0:
        entry = _entry_at(data, start)
        # A lower number is what was there before the file was emptied.
        if entry is None or (entries and entry.sequence <= entries[-1].sequence):
            at = start + 1
            continue
        is_damaged |= start != end
        entries.append(entry)
        at = end = start + _HEAD_BYTES + len(entry.body)
    return Contents(entries, end, is_damaged)


def _entry_at(data: bytes, start: int) -> Entry | None:
    if len(data) < start + _HEAD_BYTES:
        return None
    _, checksum = _HEAD.unpack_from(data, start)
    length, sequence = _NUMBERS.unpack_from(data, start + _HEAD.size)
    body = data[start + _HEAD_BYTES : start + _HEAD_BYTES + length]
    numbers = data[start + _HEAD.size : start + _HEAD_BYTES]
    return Entry(sequence, body) if len(body) == length and crc32(body, crc32(numbers)) == checksum else None


@attrs.define(eq=False)
class JournalFile:
    """One of the two. `append`, `sync` and `empty` may run in a thread, `append` never beside `empty`."""

    path: Path
    _descriptor: int
    size: int = 0
    last: int = 0  # the sequence of the last entry that was, or is being, written to it
    is_spoiled: bool = False
    is_unsynced: bool = False  # it holds what only the operating system has

    @classmethod
    def open(cls, path: Path) -> JournalFile:
        """Makes the file if it is missing. StorageError."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _failed(path, error) from error
        return cls(path, descriptor)

    def read(self) -> Contents:
        """What is appended from now on stands behind that. StorageError."""
        try:
            contents = contents_of(self.path.read_bytes())
        except OSError as error:
            raise _failed(self.path, error) from error
        self.size, self.is_unsynced = contents.end, contents.end > 0
        self.last = contents.entries[-1].sequence if contents.entries else 0
        return contents

    def append(self, data: bytes, sync: SyncMode) -> None:
        """All of it, on the disk with "full", or nothing and a StorageError."""
        end = self.size
        try:
            length = len(data)
            written = os.pwrite(self._descriptor, data, end)
            while written < length:
                written += os.pwrite(self._descriptor, data[written:], end + written)
            if sync == "full":
                os.fdatasync(self._descriptor)
        except OSError as error:
            self.is_spoiled = not self._cut(end) or error.errno not in _NO_ROOM
            raise _failed(self.path, error) from error
        self.size = end + length
        self.is_unsynced = sync == "os"

    def sync(self) -> None:
        """Waits for the disk. StorageError, and the file is spoiled then."""
        self.is_unsynced = False
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            self.is_spoiled = True
            raise _failed(self.path, error) from error

    def empty(self) -> None:
        """Its entries are in the tables. StorageError: they are still here, and a start skips them."""
        if not self._cut(0):
            raise StorageError(f"the journal {self.path} cannot be emptied", remedy="look for a failing disk")
        self.size, self.is_spoiled, self.is_unsynced = 0, False, False

    def close(self) -> None:
        os.close(self._descriptor)

    def _cut(self, length: int) -> bool:
        try:
            os.ftruncate(self._descriptor, length)
        except OSError:
            return False
        return True


_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


def _sync_directory(directory: Path) -> None:
    """The names of the files have to outlive a loss of power, before anything in them is acknowledged."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _failed(directory, error) from error


def _failed(path: Path, error: OSError) -> StorageError:
    if error.errno in _NO_ROOM:
        return DiskFull(f"the disk of the journal {path} is full: {error.strerror}")
    return StorageError(
        f"the journal {path} failed: {error.strerror}",
        remedy="look for a failing or read-only disk, and for its permissions",
    )


class Journal:
    """Both files, and the number of the last entry."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.perf_counter) -> None:
        """Opens the files, or makes them. StorageError."""
        self.sequence = 0
        self.is_slow = False  # the last write held up its caller
        self.slow_writes = 0
        self._clock = clock
        self._files = [JournalFile.open(directory / name) for name in JOURNAL_FILES]
        _sync_directory(directory)

    @property
    def paths(self) -> list[Path]:
        return [file.path for file in self._files]

    @property
    def size(self) -> int:
        return self._files[0].size + self._files[1].size

    @property
    def is_spoiled(self) -> bool:
        return self._files[0].is_spoiled

    def read(self, absorbed: int | None) -> tuple[list[Entry], list[Path]]:
        """The entries above `absorbed` in their order, and the files that are damaged. Later entries follow these.

        None: it is not known which were absorbed. StorageError if a file cannot be read.
        """
        contents = {file.path: file.read() for file in self._files}
        self._files.sort(key=lambda file: file.last, reverse=True)
        found: list[Entry] = []
        damaged: list[Path] = []
        before = absorbed
        for file in reversed(self._files):
            is_damaged = contents[file.path].is_damaged
            for entry in contents[file.path].entries:
                if entry.sequence > (absorbed or 0):
                    is_damaged |= before is not None and entry.sequence != before + 1
                    before = entry.sequence
                    found.append(entry)
            if is_damaged:
                damaged.append(file.path)
        self.sequence = max(absorbed or 0, self._files[0].last)
        return found, damaged

    def append(self, bodies: Sequence[bytes], sync: SyncMode) -> None:
        """Numbers the entries and writes all of them, or none and a StorageError. May run in a thread, but never twice
        at once and never beside `turn`."""
        file, last = self._files[0], self.sequence
        framed = []
        for body in bodies:
            last += 1
            framed.append(frame(last, body))
        file.last = last
        began = self._clock()
        try:
            file.append(framed[0] if len(framed) == 1 else b"".join(framed), sync)
        except StorageError:
            # The numbers are given again, unless something of the failed write may be left.
            if file.is_spoiled:
                self.sequence = last
            else:
                file.last = self.sequence
            raise
        self.sequence = last
        # With "full" it is in a thread anyway.
        self.is_slow = sync == "os" and self._clock() - began > SLOW_WRITE
        self.slow_writes += self.is_slow

    def turn(self) -> bool:
        """Lets the other file grow from now on, unless its entries are still being absorbed."""
        if self._files[1].size:
            return False
        self._files.reverse()
        return True

    def unsynced(self) -> list[JournalFile]:
        """The older one first: what is lost with the power is what was written last."""
        return [file for file in reversed(self._files) if file.is_unsynced]

    def absorbed(self, sequence: int, *, nothing_is_under_way: bool) -> list[JournalFile]:
        """The files that may be emptied once the tables have all up to `sequence`."""
        files = self._files if nothing_is_under_way else self._files[1:]
        return [file for file in files if file.size and file.last <= sequence]

    def close(self) -> None:
        for file in self._files:
            file.close()
