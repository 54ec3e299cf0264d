"""Things that arrive later: what is due at each moment, a heap of those moments, and one task that hands over.

Rules of this file: it knows nothing of what it delivers. Posting never delivers, so that even without delay a thing
arrives in a later step; things due at the same time arrive in the order in which they were posted. Times are trio's.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Generic, TypeVar

import attrs
import trio

from camomile_trio.alarm import Alarm

Item = TypeVar("Item")

_TURN = 256  # deliveries before the other tasks have their turn
_HAIR = 1e-6  # of a tick: so much late is not late, for sums of floats are not exact


@attrs.define(eq=False)
class Delivery(Generic[Item]):
    """`deliver` is called with when a thing was due, and the thing. At most `max_waiting` wait at once.

    With a `tick` (seconds) things are due at whole ticks only, and as many as possible at the same: each moment costs
    a wake-up, more than all else. 0: each thing has its own time.
    """

    _deliver: Callable[[float, Item], None]
    _max_waiting: int
    _tick: float = 0.0
    _waiting: int = attrs.field(init=False, default=0)
    # What is due at each moment, in order of posting; the heap has each of these moments once.
    _due_at: dict[float, list[Item]] = attrs.field(init=False, factory=dict)
    _moments: list[float] = attrs.field(init=False, factory=list)
    # What was due when the last turn began, and did not fit into it.
    _left: deque[tuple[float, Item]] = attrs.field(init=False, factory=deque)
    _alarm: Alarm = attrs.field(init=False, factory=Alarm)
    # Trio's time; while it runs without the way through wrappers, for it is asked for every packet.
    _time: Callable[[], float] = attrs.field(init=False, default=trio.current_time)

    def __len__(self) -> int:
        return self._waiting

    def post(self, item: Item, delay: float) -> bool:
        """To be delivered in `delay` seconds, or at the next tick after them. False: too many wait already."""
        if self._waiting >= self._max_waiting:
            return False
        self._waiting += 1
        due = self._time() + delay
        if self._tick:
            due = math.ceil(due / self._tick - _HAIR) * self._tick
        items = self._due_at.get(due)
        if items is not None:
            items.append(item)
            return True
        self._due_at[due] = [item]
        heappush(self._moments, due)
        self._alarm.advance(due)
        return True

    async def run(self) -> None:
        """Delivers until it is cancelled."""
        self._time = trio.lowlevel.current_clock().current_time
        while True:
            if self._left or (self._moments and self._moments[0] <= self._time()):
                await trio.lowlevel.checkpoint()
            else:
                await self._alarm.wait(self._moments[0] if self._moments else math.inf)
            self._take_turn()

    def _take_turn(self) -> None:
        now = self._time()
        # All that is due is taken out first: what is posted in this turn waits for a later one.
        left, moments = self._left, self._moments
        while moments and moments[0] <= now:
            due = heappop(moments)
            left.extend([(due, item) for item in self._due_at.pop(due)])
        count = min(_TURN, len(left))
        for _ in range(count):
            due, item = left.popleft()
            self._deliver(due, item)
        self._waiting -= count
