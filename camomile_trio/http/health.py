"""Whether a node works and is ready: what orchestrators ask every few seconds, and most of all of a busy node.

Rules of this file: as in `value_handlers`, Quart has no part in these requests: with it an answer takes five times as
many passes of Trio's loop, and each of these is long while a node is busy. They take none of the places for requests.
"""

from __future__ import annotations

from hypercorn.typing import HTTPScope

from camomile_trio.errors import NotJoined
from camomile_trio.http.answers import TEXT_TYPE, Answer
from camomile_trio.http.served import ServedNode
from camomile_trio.http.value_handlers import Handler, ValueRequest

HEALTHY, READY = "/-/healthy", "/-/ready"


class HealthHandlers:
    """The handlers of one served node."""

    def __init__(self, node: ServedNode) -> None:
        self._node = node

    def handler_of(self, scope: HTTPScope) -> Handler | None:
        """What answers a request; None if it is for something else, or of another method."""
        if scope["method"] not in {"GET", "HEAD"}:
            return None
        if scope["path"] == HEALTHY:
            return self._healthy
        return self._ready if scope["path"] == READY else None

    async def _healthy(self, _: ValueRequest) -> Answer:
        return _plain("healthy\n")

    async def _ready(self, _: ValueRequest) -> Answer:
        if not self._node.ready:
            raise NotJoined(
                f"not ready: {self._node.not_ready_because}", remedy="do what the reason says, else wait and ask again"
            )
        return _plain("ready\n")


def _plain(text: str) -> Answer:
    return Answer(200, {"Content-Type": TEXT_TYPE, "Cache-Control": "no-store"}, text.encode())
