"""Reading what is put, piece by piece: hashed on its way, with a bar on a terminal.

Rules of this file: a value is never held in memory as a whole. The bar goes to standard error, and only to a terminal.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import attrs

from camomile_trio.kademlia.ids import ID_BYTES, Key

PIECE = 64 * 1024  # bytes


@attrs.define
class Hasher:
    """The key of what passed by."""

    _hash: hashlib.blake2b = attrs.field(factory=lambda: hashlib.blake2b(digest_size=ID_BYTES), init=False)

    def pieces(self, source: Iterator[bytes]) -> Iterator[bytes]:
        """The same pieces, hashed."""
        for piece in source:
            self._hash.update(piece)
            yield piece

    @property
    def key(self) -> Key:
        return Key(self._hash.digest())


def size_of(file: BinaryIO) -> int | None:
    """The bytes in a regular file from where it stands; None where nobody knows, as for a pipe."""
    try:
        found = os.fstat(file.fileno())
    except io.UnsupportedOperation:
        return None
    return found.st_size - file.tell() if stat.S_ISREG(found.st_mode) else None


def read_pieces(file: BinaryIO) -> Iterator[bytes]:
    """What is in the file, as it comes."""
    while piece := file.read(PIECE):
        yield piece


@contextmanager
def progress_bar(source: Iterator[bytes], size: int | None) -> Iterator[Iterator[bytes]]:
    """The same pieces, with a bar on standard error while the block runs if that is a terminal."""
    if not sys.stderr.isatty():
        yield source
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("put", total=size)

        def counted() -> Iterator[bytes]:
            for piece in source:
                yield piece
                progress.advance(task, len(piece))

        yield counted()
