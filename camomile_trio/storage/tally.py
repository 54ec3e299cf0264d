"""What is counted of a storage's content, what may be handed over, and the bounds that are not the operator's to set.

Rules of this file: pure arithmetic and plain checks, the same for every storage.
"""

from __future__ import annotations

import attrs

from camomile_trio.errors import StorageError, StorageFull
from camomile_trio.kademlia.registers import KeyState

# What the tables and indexes of SQLite take for one key beside its registers and its value, measured and rounded up.
KEY_BYTES = 256
# A packed register: the record's row and 17 bytes about it.
REGISTER_BYTES = 140

# Handed over and not acknowledged yet. Past either bound the disk is not keeping up, and the peer should hear it now.
MAX_PENDING_WRITES = 4096
MAX_PENDING_BYTES = 64 * 2**20
# Keys, and bytes of the journal, that are acknowledged and not in the tables yet. Past either bound the tables are not
# keeping up, and the next writes are acknowledged when they are in the tables.
MAX_JOURNAL_WRITES = 4096
MAX_JOURNAL_BYTES = 64 * 2**20
# A node saves some hundreds; more is cut off.
MAX_CONTACTS = 1024


@attrs.define
class Tally:
    """How much is stored. Changed in place: what a failed commit has changed is undone by a copy from before."""

    keys: int = 0
    values: int = 0
    bytes: int = 0

    def copy(self) -> Tally:
        return Tally(self.keys, self.values, self.bytes)


def check_value(before: KeyState | None, state: KeyState, value: bytes | None) -> None:
    """Raises ValueError, a bug of the caller, unless `value` is what `state` says after what `before` said."""
    if before is not None and before.key != state.key:
        raise ValueError(f"the state of key {before.key} is not what key {state.key} had")
    if value is not None:
        if state.size != len(value):
            raise ValueError(f"the state says {state.size} bytes, the value has {len(value)}")
    elif state.size is not None and (before is None or before.size != state.size):
        raise ValueError(f"the state says {state.size} bytes, and no such value was given or is stored")


def check_before(before: KeyState | None, stored: KeyState | None, state: KeyState) -> None:
    """Raises ValueError, a bug of the caller, unless `before` is what is stored of the key of `state`."""
    if before is not stored and before != stored:
        raise ValueError(f"the state of key {state.key} builds on another one than what is stored")


def full(max_bytes: int) -> StorageFull:
    return StorageFull(f"the storage holds as much as it may, {max_bytes} bytes")


def busy() -> StorageError:
    return StorageError("the storage is busy: too many writes wait for the disk", remedy="repeat it a little later")


def closed() -> StorageError:
    return StorageError("the storage is closed", remedy="open the node again")
