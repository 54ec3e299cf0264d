"""Which keys may be in the tables: it saves the read before the first write of a key.

Rules of this file: bits in memory, no I/O. A key sets two bits, which its first 8 bytes name: keys are hashes, so these
are as good as random. "No" is certain once the filter is complete. "Maybe" is wrong for one absent key of 70 while no
more keys are here than it was made for. A key that was removed stays. It takes 2 bytes a key, from 32 KiB on and 4 MiB
at most: with more than two million keys it says "maybe" more often.
"""

from __future__ import annotations

from camomile_trio.kademlia.ids import Key

_LEAST_BYTES = 32 * 1024
_MOST_BYTES = 4 * 2**20
_BYTES_PER_KEY = 2


class KeyFilter:
    def __init__(self, keys: int) -> None:
        """For so many keys, and as many more."""
        size = _LEAST_BYTES
        while size < min(2 * keys * _BYTES_PER_KEY, _MOST_BYTES):
            size *= 2
        self._bits = bytearray(size)
        self._mask = 8 * size - 1
        self._room = size // _BYTES_PER_KEY
        self.is_complete = False  # all keys that are there have been added
        self.is_outgrown = False  # a larger one would say "no" more often

    def add(self, key: Key) -> None:
        number = int.from_bytes(key[:8], "little")
        bits, mask = self._bits, self._mask
        first, second = number & mask, number >> 32 & mask
        bits[first >> 3] |= 1 << (first & 7)
        bits[second >> 3] |= 1 << (second & 7)
        self._room -= 1
        if self._room < 0:
            self.is_outgrown = len(bits) < _MOST_BYTES

    def may_have(self, key: Key) -> bool:
        if not self.is_complete:
            return True
        number = int.from_bytes(key[:8], "little")
        bits, mask = self._bits, self._mask
        first, second = number & mask, number >> 32 & mask
        return bits[first >> 3] >> (first & 7) & bits[second >> 3] >> (second & 7) & 1 != 0
