"""Things that arrive later: a heap ordered by (time, sequence), and one task that hands them over when they are due.

Rules of this file: it knows nothing of what it delivers. Posting never delivers, so that even without delay a thing
arrives in a later step; things due at the same time arrive in the order in which they were posted. Times are trio's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Generic, TypeVar

import attrs
import trio

Item = TypeVar("Item")

_TURN = 256  # deliveries before the other tasks have their turn


@attrs.define(eq=False)
class Delivery(Generic[Item]):
    """`deliver` is called with when a thing was due, and the thing. At most `max_waiting` wait at once."""

    _deliver: Callable[[float, Item], None]
    _max_waiting: int
    _heap: list[tuple[float, int, Item]] = attrs.field(init=False, factory=list)
    _sequence: int = attrs.field(init=False, default=0)
    # The scope in which `run` sleeps: moving its deadline wakes it for something that is due earlier.
    _alarm: trio.CancelScope | None = attrs.field(init=False, default=None)

    def __len__(self) -> int:
        return len(self._heap)

    def post(self, item: Item, delay: float) -> bool:
        """To be delivered in `delay` seconds. False: too many wait already."""
        if len(self._heap) >= self._max_waiting:
            return False
        due = trio.current_time() + delay
        self._sequence += 1
        heappush(self._heap, (due, self._sequence, item))
        if self._alarm is not None and due < self._alarm.deadline:
            self._alarm.deadline = due
        return True

    async def run(self) -> None:
        """Delivers until it is cancelled."""
        while True:
            # A deadline that has passed already makes this a checkpoint.
            with trio.CancelScope(deadline=self._heap[0][0] if self._heap else math.inf) as self._alarm:
                await trio.sleep_forever()
            self._alarm = None
            self._take_turn()

    def _take_turn(self) -> None:
        now, last = trio.current_time(), self._sequence
        for _ in range(_TURN):
            # What is posted in this turn waits for the next one.
            if not self._heap or self._heap[0][0] > now or self._heap[0][1] > last:
                return
            due, _sequence, item = heappop(self._heap)
            self._deliver(due, item)
