"""What is counted of a storage's content, what a write costs, and the bounds that are not the operator's to set.

Rules of this file: pure arithmetic and plain checks, the same for every storage, so that one `max_storage` means one
thing. The cost of a key follows from its state alone, so counters can be carried along and never need a scan.
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


def cost(state: KeyState) -> int:
    """The bytes that a key counts for: its value, its registers and a fixed allowance."""
    size = KEY_BYTES + (state.size or 0)
    for register in state.registers:
        size += REGISTER_BYTES + len(register.brought_by)
    return size


@attrs.frozen
class Tally:
    """How much is stored. A value: what a failed commit would have changed is undone by keeping the old one."""

    keys: int = 0
    values: int = 0
    bytes: int = 0

    def with_change(self, before: KeyState | None, after: KeyState | None) -> Tally:
        """The tally once `after` has taken the place of `before`, either of which may be nothing."""
        keys, values, size = self.keys, self.values, self.bytes
        if before is not None:
            keys -= 1
            values -= before.size is not None
            size -= cost(before)
        if after is not None:
            keys += 1
            values += after.size is not None
            size += cost(after)
        return Tally(keys, values, size)


def check_value(before: KeyState | None, state: KeyState, value: bytes | None) -> None:
    """Raises ValueError, a bug of the caller, unless `value` is what `state` says after what `before` said."""
    if value is not None:
        if state.size != len(value):
            raise ValueError(f"the state says {state.size} bytes, the value has {len(value)}")
    elif state.size is not None and (before is None or before.size != state.size):
        raise ValueError(f"the state says {state.size} bytes, and no such value was given or is stored")


def full(max_bytes: int) -> StorageFull:
    return StorageFull(f"the storage holds as much as it may, {max_bytes} bytes")


def busy() -> StorageError:
    return StorageError("the storage is busy: too many writes wait for the disk", remedy="repeat it a little later")


def closed() -> StorageError:
    return StorageError("the storage is closed", remedy="open the node again")
