"""A running node that a signal tells to reload.

Rules of this file: a reload that fails changes nothing and ends nothing. It is an error in the log, and the next one
may succeed.
"""

from __future__ import annotations

import attrs
import structlog
import trio

from camomile_trio.errors import ConfigError
from camomile_trio.http.served import ServedNode

log = structlog.get_logger("camomile")


@attrs.define(eq=False)
class Reloads:
    """Reloads of one node, on request. Requests that come while there is no node are one for the node to come."""

    _requested: trio.Event = attrs.field(factory=trio.Event, init=False)

    def request(self) -> None:
        """Asks for one, soon."""
        self._requested.set()

    async def run(self, node: ServedNode) -> None:
        """Carries them out until cancelled."""
        while True:
            await self._requested.wait()
            self._requested = trio.Event()
            try:
                node.reload()
            except ConfigError as error:
                log.error("not reloaded, what was before goes on", because=str(error), remedy=error.remedy)
