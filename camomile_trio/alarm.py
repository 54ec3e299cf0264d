"""One task's wake-up time, which whoever has something for it may move earlier.

Rules of this file: it knows of Trio and of nothing else here. An alarm belongs to one task, the only one that calls
`wait`; anybody in the same thread may call `advance`. Tasks that wake for every packet sleep on these, because a clock
that is asked can wake them at a fraction of what a cancel scope costs: the virtual clock of simulations does. What the
two clocks of a node are is said here too, for the rooms that are given one and may not know who makes it.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable

import trio

Clock = Callable[[], float]  # monotonic, in seconds
WallClock = Callable[[], int]  # milliseconds since 1970


class WakingClock(trio.abc.Clock):
    """A clock that wakes alarms by itself."""

    @abc.abstractmethod
    def wake_at(self, time: float, alarm: Alarm) -> None:
        """Calls `alarm.ring(time)` at `time`, or as soon as nobody can run if that is past."""


class Alarm:
    """Sleep on it with `wait`; `until` says when it will end by itself, -inf while nobody sleeps."""

    def __init__(self) -> None:
        self.until = -math.inf
        self._scope: trio.CancelScope | None = None
        self._clock: WakingClock | None = None
        self._sleeper: trio.lowlevel.Task | None = None

    async def wait(self, until: float) -> None:
        """Sleeps until that time of Trio's clock (s), or one that `advance` names meanwhile. A checkpoint."""
        clock = trio.lowlevel.current_clock()
        self.until = until
        try:
            if isinstance(clock, WakingClock):
                await self._wait_for(clock)
            else:
                with trio.CancelScope(deadline=until) as self._scope:
                    await trio.sleep_forever()
        finally:
            self._scope = None
            self.until = -math.inf

    def advance(self, time: float) -> None:
        """The sleeper wakes at `time`, unless it does so sooner, or nobody sleeps."""
        if time >= self.until:
            return
        self.until = time
        if self._scope is not None:
            self._scope.deadline = time
        elif self._clock is not None:
            self._clock.wake_at(time, self)

    def advance_to_now(self) -> None:
        """The sleeper wakes as soon as nobody else can run, or in the loop's next step. Also outside of Trio."""
        self.advance(-math.inf)

    def ring(self, time: float) -> None:
        """For the clock alone: it is `time`. Nothing happens if the alarm has been moved, or has rung, since."""
        if self._sleeper is not None and time == self.until:
            sleeper, self._sleeper = self._sleeper, None
            trio.lowlevel.reschedule(sleeper)

    async def _wait_for(self, clock: WakingClock) -> None:
        def abort(raise_cancel: object) -> trio.lowlevel.Abort:
            self._sleeper = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._clock = clock
        self._sleeper = trio.lowlevel.current_task()
        if self.until < math.inf:
            clock.wake_at(self.until, self)
        await trio.lowlevel.wait_task_rescheduled(abort)
