"""From the start of a process to its orderly end.

Rules of this file: the first SIGINT or SIGTERM asks for an orderly end, which has a limit; the second one ends the
process at once, whatever it is doing. It knows nothing of nodes.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable

import attrs
import structlog
import trio

from camomile_trio.cli.failures import CommandFailed

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

log = structlog.get_logger("camomile")


@attrs.define
class Stop:
    """A request to stop, and how long the stopping may take (`limit`, seconds)."""

    limit: float
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    # Before there is something to end in order, a request just cancels.
    has_started: bool = attrs.field(default=False, init=False)
    _requested: trio.Event = attrs.field(factory=trio.Event, init=False)

    def request(self, because: str) -> None:
        """Asks for the end. Asking again changes nothing."""
        if self._requested.is_set():
            return
        log.info("stopping", because=because)
        self._requested.set()
        self.scope.deadline = trio.current_time() + (self.limit if self.has_started else 0)

    async def requested(self) -> None:
        """Returns once the end was asked for."""
        await self._requested.wait()


async def run_until_stopped(body: Callable[[Stop], Awaitable[None]], *, limit: float) -> None:
    """Runs `body`, which ends soon after a stop was requested, by a signal or by itself.

    `body` says by `has_started` from when on it wants to end in order. CommandFailed if that takes longer than `limit`
    seconds: it was cancelled then.
    """
    stop = Stop(limit)
    async with trio.open_nursery() as nursery:
        await nursery.start(_await_signal, stop)
        with stop.scope:
            await body(stop)
        nursery.cancel_scope.cancel()
    if stop.scope.cancelled_caught and stop.has_started:
        raise CommandFailed(
            f"stopping took longer than {limit:g} s and was cut short", remedy="what was acknowledged is kept"
        )


async def _await_signal(stop: Stop, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    with trio.open_signal_receiver(*STOP_SIGNALS) as arriving:
        task_status.started()
        async for number in arriving:
            stop.request(signal.Signals(number).name)
            break
    # The system's own way to end a process works even where the event loop hangs. It stays until the process is gone.
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
