"""What stands between the server and Quart: one ASGI call that measures, and turns away what Quart stumbles over.

Rules of this file: every request passes here, so it costs a microsecond or two and awaits nothing of its own. It knows
paths and statuses, nothing of values.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from typing import cast
from urllib.parse import urlsplit

import trio
from hypercorn.typing import (
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    HTTPScope,
    Scope,
)

from camomile_trio.http.metrics import Metrics
from camomile_trio.http.problems import Problem

AsgiApp = Callable[[Scope, ASGIReceiveCallable, ASGISendCallable], Awaitable[None]]

_METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"})
ANSWER_PATIENCE = 60.0  # seconds for a client of HTTP/2 to take one piece of an answer
_GONE = "gone"  # the status of a request whose client left before an answer

_BAD_TARGET = Problem(400, "Bad request", "the request names no path on this server", "GET / says what there is")


class Front:
    """An ASGI application around another one."""

    def __init__(self, app: AsgiApp, metrics: Metrics, fixed_routes: frozenset[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._fixed_routes = fixed_routes

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "http":
            await self._measured(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000, "reason": None})
        else:
            await self._app(scope, receive, send)

    async def _measured(self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        started = time.perf_counter()
        status = _GONE
        answered = unread = False
        # Over HTTP/1 the connection sees to it that nobody is waited for without end. HTTP/2 waits in here instead,
        # for the client to open the window of its stream.
        patience = math.inf if scope["http_version"].startswith("1") else ANSWER_PATIENCE

        async def noting_send(event: ASGISendEvent) -> None:
            nonlocal status, answered, unread
            if event["type"] == "http.response.start":
                status = str(event["status"])
            elif event["type"] == "http.response.body":
                answered = not event.get("more_body", False)
            if not unread:
                with trio.move_on_after(patience) as waiting:
                    await send(event)
                unread = waiting.cancelled_caught

        async def receive_until_answered() -> ASGIReceiveEvent:
            event = await receive()
            if answered and event["type"] == "http.disconnect":
                # Hypercorn says this while it sends the end of the answer. Quart would cancel that very send, and the
                # connection would be neither reused nor closed. Quart ends this call itself once the send is done.
                await trio.sleep_forever()
            return event

        path = _path_of(scope["path"])
        try:
            if path is None:
                await _refuse(noting_send, _BAD_TARGET)
            else:
                scope["path"] = path
                await self._app(scope, receive_until_answered, noting_send)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            labels = (method, self._route(path or ""), status)
            self._metrics.requests.observe(labels, time.perf_counter() - started)

    def _route(self, path: str) -> str:
        if path in self._fixed_routes:
            return path
        return "/{key}" if path.count("/") == 1 else "other"


def _path_of(target: str) -> str | None:
    """The path that a request's target names: itself, or an absolute URL's (RFC 9112 §3.2). None if there is none."""
    if target.startswith("/"):
        return target
    try:
        path = urlsplit(target).path or "/"
    except ValueError:
        return None
    return path if path.startswith("/") and "://" in target else None


async def _refuse(send: ASGISendCallable, problem: Problem) -> None:
    body = problem.body()
    headers = {**problem.all_headers(), "Content-Length": str(len(body))}
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send(cast("ASGISendEvent", {"type": "http.response.start", "status": problem.status, "headers": encoded}))
    await send({"type": "http.response.body", "body": body, "more_body": False})
