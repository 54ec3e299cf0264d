"""Requests that have come to a server and have not begun: their order, and how many begin at a time.

Trio runs all tasks that are ready, one half of the times in the order in which they became ready and else in the
reverse one, and only then looks for input again. So 64 clients that ask all the time are answered after anything up to
twice what 64 answers take, and all else that comes meanwhile, from peers too, waits for all of them.

Rules of this file: it knows Trio, and of requests only that they wait.

- `at_once` requests begin in each pass of Trio's loop, in the order in which they came. So a pass stays short, and the
  requests that wait are in this queue, where their order is known, and hardly any in the sockets.
- A request that has waited for longer than PATIENCE is to be refused in its turn: what begins has never waited longer,
  however many come. The order is first in, first out, since all requests here cost about the same.
- A request that is cancelled leaves nothing behind.
"""

from __future__ import annotations

import trio

PATIENCE = 0.05  # s; what some hundred requests for values at hand take


class RequestQueue:
    """One queue, whose `run` is to run beside the requests."""

    def __init__(self, at_once: int) -> None:
        self.refused = 0  # counted by what refuses them
        self._at_once = at_once
        self._begun = 0  # in this pass of the loop
        self._waiting = trio.lowlevel.ParkingLot()
        self._resting = trio.lowlevel.ParkingLot()  # `run`, while there is nothing to count

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def run(self) -> None:
        """Lets the next requests begin, in each pass of the loop."""
        while True:
            # Those that are woken here begin in the next pass, as does what follows here.
            self._begun = len(self._waiting.unpark(count=self._at_once))
            if self._begun:
                await trio.lowlevel.checkpoint()
            else:
                await self._resting.park()

    async def turn(self) -> bool:
        """Waits until it is this request's turn. Returns whether that came in time."""
        if self._begun < self._at_once and not self._waiting:
            if not self._begun:
                self._resting.unpark()
            self._begun += 1
            return True
        came = trio.current_time()
        await self._waiting.park()
        return trio.current_time() - came <= PATIENCE
