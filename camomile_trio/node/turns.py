"""Who may begin a put now, who waits for a while, and who is better told at once to come again later.

Rules of this file: what is taken on is answered in a time that makes sense. So few are under way at once, past which
only the tail grows; the others wait in the order in which they came, and only while their turn is near: once those
before them take longer than `PATIENCE` puts of an idle node, the next one is refused. Nothing waits without a bound,
and leaving by cancellation leaves no turn taken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from camomile_trio.errors import Overloaded
from camomile_trio.node.deadlines import Clock

# How many times what a put takes at an idle node it may take in all before it is refused instead.
PATIENCE = 6.0
# A put that began beside at most so many others tells what a put takes at an idle node.
IDLE = 1
# How much of its old value a running average keeps at each sample. Puts that began together end together: the average
# of the intervals has to outlast that.
_IDLE_TIME_KEEPS = 0.8
_INTERVAL_KEEPS = 0.97


class Turns:
    """Of the puts of one node: `at_once` under way, `waiting` at most behind them."""

    def __init__(self, *, at_once: int, waiting: int, clock: Clock) -> None:
        self.under_way = 0
        self.refused = 0
        self._at_once = at_once
        self._most_waiting = waiting
        self._clock = clock
        self._queue: deque[trio.Event] = deque()
        self._idle_time: float | None = None  # seconds that a put takes at an idle node
        self._interval: float | None = None  # seconds from one end to the next while all turns are taken
        self._ended_at: float | None = None  # the last end, if all turns have been taken since

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """For the length of one put. Overloaded at once if its turn would come too late."""
        if self.under_way >= self._at_once:
            await self._wait()
        else:
            self.under_way += 1
        began, is_idle, is_done = self._clock(), self.under_way <= IDLE + 1, False
        try:
            yield
            is_done = True
        finally:
            # What was broken off says nothing about how long it takes.
            self._end(self._clock() - began if is_idle and is_done else None)

    async def _wait(self) -> None:
        if len(self._queue) >= self._most_waiting or self._is_late():
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
                self._end(None)
            else:
                self._queue.remove(event)
            raise

    def _is_late(self) -> bool:
        """Whether one more would take too long, judged by what ends lately. Unknown is not late."""
        if self._idle_time is None or self._interval is None:
            return False
        before = self.under_way + len(self._queue)
        return before * self._interval > PATIENCE * self._idle_time

    def _end(self, idle_time: float | None) -> None:
        if idle_time is not None:
            self._idle_time = _averaged(self._idle_time, idle_time, _IDLE_TIME_KEEPS)
        was_full = self.under_way >= self._at_once
        now = self._clock()
        if was_full and self._ended_at is not None:
            self._interval = _averaged(self._interval, now - self._ended_at, _INTERVAL_KEEPS)
        if self._queue:
            self._queue.popleft().set()  # who goes takes the turn over
            self._ended_at = now
        else:
            self.under_way -= 1
            self._ended_at = None


def _averaged(average: float | None, sample: float, keeps: float) -> float:
    return sample if average is None else keeps * average + (1 - keeps) * sample
