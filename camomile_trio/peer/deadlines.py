"""One heap of deadlines with one sleeping task, for all requests of a node.

Rules of this file: setting a deadline is a plain call, costs a heap push and starts no task. What becomes due is
called from the one task, in order of time, then of setting; it must return at once. The deadline of what is done stays
in the heap until it comes first or its time comes: with thousands a second and lives of a second that is cheaper than
finding it. It wakes nobody once `rest` was called.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from typing import Protocol

import trio

from camomile_trio.alarm import Alarm, Clock


class Awaited(Protocol):
    """What a deadline is for. Once it is done, nobody needs to be called."""

    done: bool


class Deadlines:
    """Calls back at given times of Trio's clock while `run` runs."""

    def __init__(self, clock: Clock = trio.current_time) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Callable[..., None], tuple[object, ...], Awaited | None]] = []
        self._order = itertools.count()
        self._alarm = Alarm()

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, time: float, call: Callable[..., None], *of: object, awaited: Awaited | None = None) -> None:
        """Calls `call(*of)` at `time`, or soon after; not if what is `awaited` is done by then."""
        heapq.heappush(self._heap, (time, next(self._order), call, of, awaited))
        if time < self._alarm.until:
            self._alarm.advance(time)

    def rest(self) -> None:
        """Much of what was awaited is done: the task sleeps until something is due that is not."""
        self._alarm.delay(self._forget_done())

    async def run(self) -> None:
        """The one sleeping task."""
        heap = self._heap
        while True:
            now = self._clock()
            while self._forget_done() <= now:
                _, _, call, of, _ = heapq.heappop(heap)
                call(*of)
            await self._alarm.wait(heap[0][0] if heap else math.inf)

    def _forget_done(self) -> float:
        """When the first is due that is not done; inf if there is none."""
        heap = self._heap
        while heap:
            awaited = heap[0][4]
            if awaited is None or not awaited.done:
                return heap[0][0]
            heapq.heappop(heap)
        return math.inf
