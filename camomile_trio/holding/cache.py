"""Copies of other nodes' values, in memory, for as long as they may be served without asking.

Rules of this file: a copy was looked up, or a holder confirmed it, at most `cache_life` ago, and its lease lives. A
copy that another node pushed is a hint until a holder confirms it: it is never served, and makes no room for itself.
Nothing here outlives the process or is handed on as a replica. Bounded in bytes: hints go first, then the least
recently used.
"""

from __future__ import annotations

from collections import Counter, OrderedDict

import attrs

from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.records import Record

# What a copy weighs beside its value: key, records, the objects around them.
COPY_OVERHEAD = 1024


@attrs.frozen
class CachedCopy:
    value: bytes
    records: tuple[Record, ...]
    origin: NodeId
    fresh_until: float  # seconds of Trio's clock
    is_hint: bool = False


class Cache:
    """The copies, by use."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._copies: OrderedDict[Key, CachedCopy] = OrderedDict()
        self.bytes = 0
        self.evicted = 0
        self.hints: Counter[str] = Counter()  # what became of them: kept, confirmed, refused, unanswered

    def __len__(self) -> int:
        return len(self._copies)

    def get(self, key: Key, now: float) -> CachedCopy | None:
        """The copy, if it may still be served."""
        copy = self._copies.get(key)
        if copy is None or copy.is_hint:
            return None
        if copy.fresh_until <= now:
            self.drop(key)
            return None
        self._copies.move_to_end(key)
        return copy

    def hint(self, key: Key, now: float) -> CachedCopy | None:
        """The copy, if it may be served once a holder has confirmed it."""
        copy = self._copies.get(key)
        return copy if copy is not None and copy.is_hint and now < copy.fresh_until else None

    def keep(self, key: Key, copy: CachedCopy) -> None:
        self.drop(key)
        size = len(copy.value) + COPY_OVERHEAD
        if size > self._max_bytes:
            return
        self._copies[key] = copy
        self.bytes += size
        if copy.is_hint:
            self._copies.move_to_end(key, last=False)
        while self.bytes > self._max_bytes:
            self.drop(next(iter(self._copies)))
            self.evicted += 1

    def drop(self, key: Key) -> None:
        copy = self._copies.pop(key, None)
        if copy is not None:
            self.bytes -= len(copy.value) + COPY_OVERHEAD

    def expire(self, now: float) -> None:
        """Drops what may not be served any more."""
        for key in [key for key, copy in self._copies.items() if copy.fresh_until <= now]:
            self.drop(key)
