"""What takes long with a value of many MiB, done in a thread so that the node goes on meanwhile.

Rules of this file: a value that is not very large costs no thread. Those of simulations never are, since virtual time
does not wait for threads.
"""

from __future__ import annotations

from typing import Final

import trio

from camomile_trio.kademlia.ids import Key

# Bytes from which on reading a value from the disk is worth a thread.
LARGE: Final = 256 * 2**10
# Bytes from which on hashing one is: it takes 1 to 3 ms for each MiB.
VERY_LARGE: Final = 4 * 2**20


async def key_of(value: bytes) -> Key:
    """As `Key.of`."""
    return Key.of(value) if len(value) <= VERY_LARGE else await trio.to_thread.run_sync(Key.of, value)
