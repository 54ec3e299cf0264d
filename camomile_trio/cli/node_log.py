"""What the log says of a node while it runs: whether it is ready, and at the level debug each operation.

Rules of this file: a normal start is no reason for a warning. "not ready" is of the level info until the node has been
ready once, for as long as a start usually takes. After that it is a warning.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import trio

from camomile_trio.http.served import ServedNode
from camomile_trio.operations.events import Event, OperationEnded, ReadyChanged

# Seconds that a start may take before it is suspicious. A node that joins is ready in some 3 s, and the other replicas
# of a deployment, which start at the same time, may be slower.
USUAL_START = 30.0

log = structlog.get_logger("camomile")


@contextmanager
def logging_operations(node: ServedNode) -> Iterator[None]:
    """Logs, for the block, what users do through the node, if the level is debug when the block begins."""

    def on_event(event: Event) -> None:
        if isinstance(event, OperationEnded):
            log.debug(
                "operation",
                node=node.id.hex()[:8],
                operation=event.operation,
                outcome=event.outcome,
                seconds=round(event.seconds, 5),
            )

    if not logging.getLogger("camomile").isEnabledFor(logging.DEBUG):
        yield
        return
    with node.events.watch(on_event):
        yield


class ReadinessLog:
    """The readiness of one node."""

    def __init__(self, node: ServedNode) -> None:
        self._node = node
        self._is_starting = True

    async def run(self) -> None:
        """Until cancelled."""
        self._on_event(ReadyChanged(self._node.ready, self._node.not_ready_because))
        with self._node.events.watch(self._on_event):
            await trio.sleep(USUAL_START)
            if self._is_starting:
                self._is_starting = False
                log.warning("not ready", because=self._node.not_ready_because, for_seconds=USUAL_START)
            await trio.sleep_forever()

    def _on_event(self, event: Event) -> None:
        if not isinstance(event, ReadyChanged):
            return
        if event.ready:
            self._is_starting = False
            log.info("ready")
        else:
            tell = log.info if self._is_starting else log.warning
            tell("not ready", because=event.because)
