"""One heap of deadlines with one sleeping task, for all requests of a node.

Rules of this file: setting a deadline is a plain call, costs a heap push and starts no task. What becomes due is
called from the one task, in order of time, then of setting; it must return at once. The deadline of what is done stays
in the heap until it comes first or its time comes: with thousands a second and lives of a second that is cheaper than
finding it. But it wakes nobody.
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
        self._heap: list[tuple[float, int, Callable[[], None], Awaited | None]] = []
        self._order = itertools.count()
        self._alarm = Alarm()

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, time: float, call: Callable[[], None], *, awaited: Awaited | None = None) -> None:
        """Calls `call` at `time`, or soon after; not if what is `awaited` is done by then."""
        heapq.heappush(self._heap, (time, next(self._order), call, awaited))
        self._alarm.advance(time)

    async def run(self) -> None:
        """The one sleeping task."""
        while True:
            now = self._clock()
            heap = self._heap
            while heap:
                time, _, call, awaited = heap[0]
                is_done = awaited is not None and awaited.done
                if time > now and not is_done:
                    break
                heapq.heappop(heap)
                if not is_done:
                    call()
            await self._alarm.wait(heap[0][0] if heap else math.inf)
