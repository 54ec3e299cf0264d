"""What other holders have shown lately: the keys that this node need not offer to them for an interval.

Rules of this file: plain state without I/O. A word is that the holder holds the latest records which are held here, or
that it asks all holders of them. It counts only from another of the key's holders: a member of the table that counts in
the cover of the key. Each word is good for one interval, and the same holder's next one only after a round of this
node's own or the words of `WORDS` other holders. So a holder that lies keeps no key quiet for longer than an interval,
and as many as the rule of counting leaves beside a key not for ever. What is written of a key ends what was heard of
it, but not whose word was taken. Bounded: the key heard of longest ago is forgotten, and offered once more.
"""

from __future__ import annotations

import math
from collections import OrderedDict

from camomile_trio.alarm import Clock
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.routing import RoutingTable

MAX_HEARD = 200_000
# Of 20 holders five are as many as ids that were ground beside a key can be and count. Each further word costs rounds:
# at rest 1.4 in an interval for each key with none remembered, 1.7 with six.
WORDS = 6
_BEGIN_BYTES = 8  # of a holder's id


class Heard:
    """Of one node."""

    def __init__(self, table: RoutingTable, clock: Clock) -> None:
        self._table = table
        self._clock = clock
        # When the key was heard of (-inf: not since something was written), and the holders whose words were taken.
        self._by_key: OrderedDict[Key, tuple[float, bytes]] = OrderedDict()

    def at(self, key: Key) -> float | None:
        """When another holder showed, to this node's round or by a word that was taken, that it has the latest."""
        at, _ = self._by_key.get(key, (-math.inf, b""))
        return None if at == -math.inf else at

    def from_holder(self, key: Key, holder: NodeId) -> None:
        """A word of `holder`, if it is one."""
        begin = holder[:_BEGIN_BYTES]
        _, taken = self._by_key.get(key, (-math.inf, b""))
        if any(taken.startswith(begin, at) for at in range(0, len(taken), _BEGIN_BYTES)):
            return
        if self._table.counts(holder, key):
            self._note(key, self._clock(), (taken + begin)[-WORDS * _BEGIN_BYTES :])

    def in_own_round(self, key: Key) -> None:
        """Another holder has shown in a round of this node's own that it holds the same: all are asked."""
        self._note(key, self._clock(), b"")

    def on_written(self, key: Key) -> None:
        """What was heard was about what was here before."""
        known = self._by_key.get(key)
        if known is not None:
            self._by_key[key] = (-math.inf, known[1])

    def drop(self, key: Key) -> None:
        """Nothing is known of the key any more."""
        self._by_key.pop(key, None)

    def _note(self, key: Key, at: float, taken: bytes) -> None:
        self._by_key[key] = (at, taken)
        self._by_key.move_to_end(key)
        while len(self._by_key) > MAX_HEARD:
            self._by_key.popitem(last=False)
