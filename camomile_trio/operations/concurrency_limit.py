"""How many puts of users are under way at once, how long others wait for a place, and which are refused.

By Little's law a put takes (puts in the node) / (puts a second), once more of them only share the processor. So few are
under way: many that begin together hold up the event loop, and with it health and peers. Some wait behind them, in a
lasting overload too. A burst is another thing: it ends by itself, and refusing a part of it would gain nothing.

Rules of this file:

- Puts get free places in the order in which they came. Adaptive LIFO, where the last in goes first, is for queues that
  outlast the patience of clients; this one is short exactly when it stands, and its order hardly matters.
- NEAR times as many puts as there are places may always wait: so many clients at once are never refused.
- Any other put waits for PATIENCE at most, and for TARGET only if within the last INTERVAL one waited longer than that,
  or was refused: a queue that stands is no burst (CoDel by Nichols and Jacobson, ACM Queue 2012; for servers Maurer,
  "Fail at Scale", ACM Queue 2015). Nothing is learnt about how long puts take.
- More than `most_waiting` never wait. A put that leaves, wherever it stands, leaves no place taken.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from camomile_trio.errors import Overloaded

NEAR = 3  # times as many puts as places
PATIENCE = 1.0  # s that a put of a burst may wait
TARGET = 0.01  # s that a put may wait in a lasting overload; short beside what it takes in its place
INTERVAL = 1.0  # s without a long wait after which an overload is over


@attrs.define
class Shedding:
    """How long a put may wait that comes now. Times are seconds of one clock."""

    _overloaded_until: float = -math.inf

    def patience(self, now: float) -> float:
        return TARGET if now < self._overloaded_until else PATIENCE

    def on_place(self, waited: float, now: float) -> None:
        """A put has its place, after so many seconds."""
        if waited > TARGET:
            self._overloaded_until = now + INTERVAL

    def on_refused(self, now: float) -> None:
        self._overloaded_until = now + INTERVAL


class ConcurrencyLimit:
    """`places` for puts, and a queue before them of `most_waiting`."""

    def __init__(self, *, places: int, most_waiting: int) -> None:
        self.under_way = 0
        self.refused = 0
        self._places = places
        self._most_waiting = most_waiting
        self._shedding = Shedding()
        self._queue = trio.lowlevel.ParkingLot()

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place for the length of the block. Overloaded if none gets free in time, or too many wait already."""
        if self.under_way < self._places:
            self.under_way += 1
        else:
            await self._wait()
        try:
            yield
        finally:
            # The first in the queue has the place from now on. Once it is woken, Trio cancels it in the block only.
            if not self._queue.unpark():
                self.under_way -= 1

    async def _wait(self) -> None:
        came = trio.current_time()
        if len(self._queue) >= self._most_waiting:
            raise self._refusal(came)
        is_near = len(self._queue) < NEAR * self._places
        with trio.move_on_at(came + (PATIENCE if is_near else self._shedding.patience(came))) as patience:
            await self._queue.park()
        now = trio.current_time()
        if patience.cancelled_caught:
            raise self._refusal(now)
        self._shedding.on_place(now - came, now)

    def _refusal(self, now: float) -> Overloaded:
        self._shedding.on_refused(now)
        self.refused += 1
        return Overloaded(
            f"this node has {self.under_way} puts under way and {self.waiting} that wait",
            remedy="repeat the request in a moment, or at another node",
        )
