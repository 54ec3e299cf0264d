"""The values that classic nodes can hold, and what this room uses of the node's own holdings.

Rules of this file: facts about classic values, and nothing of how they travel. Source: docs/protocol.md, Classic nodes.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Protocol

from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import StoreKind

MAX_CLASSIC_VALUE: Final = 1000  # bytes; classic nodes cut a longer value
# Keys, some 3 MB of them. Of a key that is forgotten the value is replicated once more than it had to be.
MAX_REPLICATED: Final = 16_384


def is_for_classic(value: bytes) -> bool:
    """Whether a classic node would take the value as it is: it drops a packet whose value is not valid UTF-8."""
    if not 0 < len(value) <= MAX_CLASSIC_VALUE:
        return False
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


class ClassicHoldings(Protocol):
    """What the node holds. Calls return at once and raise nothing."""

    def served(self, key: Key) -> bytes | None:
        """The value that this node would serve; None if it has none, or cannot read it now."""

    def store(self, key: Key, value: bytes, kind: StoreKind) -> None:
        """A classic node stores a value of any size under its hash. Whether it is kept is for the holdings to say."""


class Replicated:
    """When classic nodes replicated a value to this node: another holder has done this interval's work then."""

    def __init__(self) -> None:
        self._at: OrderedDict[Key, float] = OrderedDict()  # in the order of time

    def __len__(self) -> int:
        return len(self._at)

    def add(self, key: Key, now: float) -> None:
        """A REPLICATE came. The oldest one is forgotten when there are too many."""
        self._at[key] = now
        self._at.move_to_end(key)
        if len(self._at) > MAX_REPLICATED:
            self._at.popitem(last=False)

    def is_since(self, key: Key, time: float) -> bool:
        """Whether a REPLICATE of this key came after `time`."""
        at = self._at.get(key)
        return at is not None and at > time
