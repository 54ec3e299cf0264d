"""The spare copies: values that this node keeps though it is none of their holders, nor has published them.

Rules of this file: plain state without I/O. A copy is not given up because others say that they have it. It stays until
its lease ends, which nobody prolongs here, and is the first to go when space is short, the one that became spare first
before the others. Bounded: a copy that finds no room here is noted in a later round.
"""

from __future__ import annotations

from itertools import islice

from camomile_trio.kademlia.ids import Key

MAX_SPARES = 65_536


class Spares:
    """Of one node."""

    def __init__(self) -> None:
        self._sizes: dict[Key, int] = {}
        self.bytes = 0  # of the values
        self.given_up = 0

    def __len__(self) -> int:
        return len(self._sizes)

    def __contains__(self, key: object) -> bool:
        return key in self._sizes

    def note(self, key: Key, size: int) -> None:
        """This node is no holder of the key now, and has a value of `size` bytes."""
        if key not in self._sizes and len(self._sizes) < MAX_SPARES:
            self._sizes[key] = size
            self.bytes += size

    def drop(self, key: Key) -> None:
        """It is a holder again, or the value is gone."""
        self.bytes -= self._sizes.pop(key, 0)

    def earliest(self, count: int) -> list[Key]:
        return list(islice(self._sizes, count))
