"""Two clocks of a simulated world: Trio's, which jumps, and the wall clocks of its machines, which may be wrong.

Rules of this file: neither ever looks at the real time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from heapq import heappop, heappush

import attrs
import trio

from camomile_trio.alarm import Alarm, WakingClock

# When virtual time begins on a right wall clock, in ms since the epoch.
EPOCH = 1_800_000_000_000


class VirtualClock(WakingClock):
    """Starts at 0 and stands still while anybody can run; then it is at once as late as the next deadline.

    Trio asks how long to sleep only when nobody can run, so that is the moment to jump. `trio.testing.MockClock` does
    the same by waiting for an idle loop, at several times the cost. Alarms it wakes by itself, in order of time, then
    of their setting.
    """

    def __init__(self) -> None:
        self._now = 0.0
        # One that was moved meanwhile stays in here, and does not ring.
        self._alarms: list[tuple[float, int, Alarm]] = []
        self._order = itertools.count()

    def start_clock(self) -> None:
        """Nothing to start."""

    def current_time(self) -> float:
        return self._now

    def wake_at(self, time: float, alarm: Alarm) -> None:
        """A `WakingClock`."""
        heappush(self._alarms, (time, next(self._order), alarm))

    def deadline_to_sleep_time(self, deadline: float) -> float:
        alarms = self._alarms
        while alarms and alarms[0][2].until != alarms[0][0]:
            heappop(alarms)
        if alarms and alarms[0][0] <= deadline:
            self._now = max(self._now, alarms[0][0])
            while alarms and alarms[0][0] <= self._now:
                time, _, alarm = heappop(alarms)
                alarm.ring(time)
            return 0.0
        if deadline == math.inf:
            # All tasks wait for each other. Only a signal can end that.
            return math.inf
        self._now = max(self._now, deadline)
        return 0.0


@attrs.define(eq=False)
class WallClock:
    """A machine's wall clock, in ms since the epoch: off by an error, drifting, or set in between."""

    error: float = 0.0  # ms
    drift: float = 0.0  # seconds gained per second
    _now: Callable[[], float] = trio.current_time
    _since: float = 0.0  # when the drift began

    def __call__(self) -> int:
        now = self._now()
        return EPOCH + round(now * 1000 + self.error + self.drift * (now - self._since) * 1000)

    @property
    def off_by(self) -> float:
        """ms ahead of the right time; negative if it is behind."""
        # The judge asks all clocks for every value that is served, and nearly none drifts.
        return self.error + self.drift * (self._now() - self._since) * 1000 if self.drift else self.error

    def jump(self, ms: float) -> None:
        """It is set forward, or back if negative."""
        self.error += ms

    def set_drift(self, drift: float) -> None:
        """From now on it gains `drift` seconds per second; what it has gained so far stays."""
        now = self._now()
        self.error += self.drift * (now - self._since) * 1000
        self._since, self.drift = now, drift
