"""What a command writes: a file that appears whole or not at all, or standard output.

Rules of this file: a device, a pipe or standard output takes what comes as it comes, and is never replaced by a file.
A new file is open to nobody to whom the umask closes it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from camomile_trio.cli.option_types import STREAM


@contextmanager
def file_or_stdout(path: Path | None, *, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A `whole_file`, or standard output where no path or `-` was given."""
    if path not in (None, STREAM):
        with whole_file(path, mode=mode) as out:
            yield out
        return
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()


@contextmanager
def whole_file(path: Path, *, mode: int) -> Iterator[BinaryIO]:
    """A file of this mode, less the umask, to write into; it takes the place of `path` when the block ends well."""
    target = path.resolve()
    if target.exists() and not target.is_file():
        with target.open("wb") as out:
            yield out
        return
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
            yield out
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
