"""The key file of a closed network, and its copies on the machines of a simulated world.

Rules of this file: the files are real ones, in a directory that is gone with the block, so that nodes read and re-read
them as in production. The operator changes a file of its own and hands a copy to each machine; what a node makes of
it is the node's business. Nothing that is random of the directory's name reaches a trace.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from camomile_trio.network_keys import (
    add_network_key,
    create_network_key,
    load_network_keys,
    promote_network_key,
    remove_network_key,
)


@attrs.frozen
class KeyFiles:
    """The operator's file, and where each machine has its copy."""

    _directory: Path
    _rng: random.Random

    @property
    def keys(self) -> tuple[bytes, ...]:
        """What is in the operator's file; the first is the key to send under."""
        return load_network_keys(self._own)

    def add(self) -> None:
        add_network_key(self._own, self._rng)

    def promote(self) -> None:
        promote_network_key(self._own)

    def remove(self) -> None:
        remove_network_key(self._own)

    def copy_to(self, machine: int) -> Path:
        """Puts what the operator has now where this machine's copy is, whole or not at all."""
        copy = self._directory / f"machine-{machine}.key"
        new = copy.with_suffix(".new")
        shutil.copy(self._own, new)  # with its mode
        return new.replace(copy)

    @property
    def _own(self) -> Path:
        return self._directory / "network.key"


@contextmanager
def key_files(rng: random.Random) -> Iterator[KeyFiles]:
    """A new key in a new file, in a directory of its own for the length of the block."""
    with tempfile.TemporaryDirectory(prefix="camomile-keys-") as directory:
        files = KeyFiles(Path(directory), rng)
        create_network_key(Path(directory) / "network.key", rng)
        yield files
