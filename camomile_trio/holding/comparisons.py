"""Which of the records from before this start have been compared with the neighbours since, and which are asked for.

Rules of this file: plain state without I/O. What was stored or compared since the start may be served; the rest not
yet, for it may have been forgotten while this node was away. What users ask for goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from camomile_trio.kademlia.ids import Key

# How many keys are remembered one by one, and how many that were asked for wait for their turn.
MAX_REMEMBERED = 200_000
MAX_WANTED = 256


class Comparisons:
    """Of one node. `is_done` from the beginning where it starts with nothing."""

    def __init__(self, *, is_done: bool) -> None:
        self.is_done = is_done
        self.up_to: Key | None = None  # the walk through all keys, in order, has come so far
        self.on_wanted: Callable[[], None] = lambda: None  # something is asked for
        self._since_start: OrderedDict[Key, None] = OrderedDict()
        self._wanted: dict[Key, None] = {}

    def __len__(self) -> int:
        return len(self._since_start)

    def may_serve(self, key: Key) -> bool:
        """Whether what is stored of the key is from after the start, or was compared with the neighbours since."""
        return self.is_done or key in self._since_start or (self.up_to is not None and key <= self.up_to)

    def on_stored(self, key: Key) -> None:
        """Something was stored of the key, or it was compared on its own."""
        if not self.is_done:
            self._since_start[key] = None
            if len(self._since_start) > MAX_REMEMBERED:
                self._since_start.popitem(last=False)

    def want(self, key: Key) -> None:
        """Somebody asks for the key: if it is to be compared yet, it is next."""
        if not self.may_serve(key) and len(self._wanted) < MAX_WANTED:
            self._wanted[key] = None
            self.on_wanted()

    def take_wanted(self) -> list[Key]:
        """The keys that were asked for, once."""
        wanted, self._wanted = [key for key in self._wanted if not self.may_serve(key)], {}
        return wanted
