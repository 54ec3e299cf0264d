"""Who may begin a put now, who waits for a while, and who is better told at once to come again later.

Rules of this file: what is taken on is answered in a time that makes sense. So few are under way at once, past which
all of them only become slower (Little's law tells how many that is); the others wait in the order in which they came.
As many as may ever be under way may always wait, more only while their turn is near: once those before them take
longer than `PATIENCE` puts of an idle node, the next one is refused. Nothing waits without a bound, and leaving by
cancellation leaves no turn taken.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from camomile_trio.alarm import Clock
from camomile_trio.errors import Overloaded

# How many times what a put takes at an idle node it may take in all before it is refused instead.
PATIENCE = 6.0
# How many may be under way, beside how many would be if none waited for another: one waits for the network while others
# use the processor, and where more would be done at once than is now, the limit grows until it is.
HEADROOM = 2.0
LEAST = 2
# How much of its old value a running average keeps at each sample. Puts that began together end together: the average
# of the intervals has to outlast that.
_IDLE_TIME_KEEPS = 0.8
_INTERVAL_KEEPS = 0.97


class Turns:
    """Of the puts of one node: `at_once` under way at the most, `waiting` at most behind them."""

    def __init__(self, *, at_once: int, waiting: int, clock: Clock) -> None:
        self.under_way = 0
        self.refused = 0
        self._at_once = at_once
        self._most_waiting = waiting
        self._clock = clock
        self._queue: deque[trio.Event] = deque()
        self._begun = 0
        self._idle_time: float | None = None  # seconds that a put takes while there is no other
        self._is_guess = True  # so far it is only the first put's, whatever there was beside it
        self._interval: float | None = None  # seconds from one end to the next while all turns are taken
        self._ended_at: float | None = None  # the last end, if all turns were taken then

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def limit(self) -> int:
        """How many may be under way now."""
        if self._idle_time is None or not self._interval:
            return self._at_once
        return min(self._at_once, max(LEAST, math.ceil(HEADROOM * self._idle_time / self._interval)))

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """For the length of one put. Overloaded at once if its turn would come too late."""
        if self.under_way >= self.limit:
            await self._wait()
        else:
            self.under_way += 1
        self._begun += 1
        began, number, was_first = self._clock(), self._begun, self.under_way == 1
        try:
            yield
            # What was broken off says nothing about how long it takes.
            self._learn(self._clock() - began, is_alone=was_first and number == self._begun)
        finally:
            self._end()

    async def _wait(self) -> None:
        before = self.under_way + len(self._queue)
        if len(self._queue) >= self._most_waiting or (before >= self._at_once and self._is_late(before)):
            self.refused += 1
            raise Overloaded(
                f"this node has {self.under_way} puts under way and {len(self._queue)} that wait",
                remedy="repeat the request in a moment, or at another node",
            )
        event = trio.Event()
        self._queue.append(event)
        try:
            await event.wait()
        except trio.Cancelled:
            if event.is_set():
                self._end()
            else:
                self._queue.remove(event)
            raise

    def _is_late(self, before: int) -> bool:
        """Whether one more would take too long, judged by what ends lately. Unknown is not late."""
        if self._idle_time is None or self._interval is None:
            return False
        return before * self._interval > PATIENCE * self._idle_time

    def _learn(self, took: float, *, is_alone: bool) -> None:
        """One put has ended that had no other beside it from its beginning to its end, or that may have had."""
        if is_alone:
            self._idle_time = _averaged(None if self._is_guess else self._idle_time, took, _IDLE_TIME_KEEPS)
            self._is_guess = False
        elif self._idle_time is None:
            self._idle_time = took

    def _end(self) -> None:
        now = self._clock()
        was_full = self.under_way >= self.limit
        if was_full and self._ended_at is not None:
            self._interval = _averaged(self._interval, now - self._ended_at, _INTERVAL_KEEPS)
        self._ended_at = now if was_full else None
        self.under_way -= 1
        while self._queue and self.under_way < self.limit:
            self.under_way += 1
            self._queue.popleft().set()


def _averaged(average: float | None, sample: float, keeps: float) -> float:
    return sample if average is None else keeps * average + (1 - keeps) * sample
