"""From the start of a program's event loop to its orderly end.

Rules of this file: the first stop signal asks for an orderly end, which has a limit; what the second one does is in
`stop_signals.py`. It knows nothing of nodes.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable

import attrs
import structlog
import trio

from camomile_trio.cli.failures import CommandFailed
from camomile_trio.cli.stop_signals import StopSignals

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


async def run_until_stopped(
    body: Callable[[Stop], Awaitable[None]],
    *,
    limit: float,
    signals: StopSignals | None = None,
    reload: Callable[[], object] | None = None,
) -> None:
    """Runs `body`, which ends soon after a stop was requested, by a signal or by itself.

    `body` says by `has_started` from when on it wants to end in order. CommandFailed if that takes longer than `limit`
    seconds: it was cancelled then. A signal that `signals` have caught before counts. `reload` is called by the event
    loop for a signal that asks for a reload.
    """
    stop = Stop(limit)
    loop = trio.lowlevel.current_trio_token()

    def tell(name: str) -> None:
        loop.run_sync_soon(stop.request, name)

    soon = functools.partial(loop.run_sync_soon, reload, idempotent=True) if reload is not None else None
    with (signals or StopSignals()).telling(tell, soon), stop.scope:
        await body(stop)
    if stop.scope.cancelled_caught and stop.has_started:
        raise CommandFailed(
            f"stopping took longer than {limit:g} s and was cut short", remedy="what was acknowledged is kept"
        )
