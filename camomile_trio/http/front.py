"""What stands between the server and Quart: one ASGI call that measures, turns away what `admission` refuses and what
Quart stumbles over, and has requests for values and health answered without Quart.

Rules of this file: every request passes here, so it costs a microsecond or two and awaits nothing of its own. It knows
paths and statuses, nothing of values. At the level debug it logs each request, with no more of a key than 8 digits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import structlog
import trio
from hypercorn.typing import (
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    HTTPScope,
    Scope,
)

from camomile_trio.http.admission import Admission
from camomile_trio.http.answers import Answer
from camomile_trio.http.budget import SHARE, Share
from camomile_trio.http.clients import DRAIN_SECONDS
from camomile_trio.http.metrics import Metrics
from camomile_trio.http.problems import Problem
from camomile_trio.http.value_handlers import Client, Handler, ValueRequest, answer_of, client_of

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("camomile.http")

AsgiApp = Callable[[Scope, ASGIReceiveCallable, ASGISendCallable], Awaitable[None]]

_METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"})
MOST_SHOWN = 9  # characters of a path that only one request may have: a slash and 8 digits of a key
ANSWER_PATIENCE = 60.0  # seconds for a client of HTTP/2 to take one piece of an answer
_GONE = "gone"  # the status of a request whose client left before an answer

_BAD_TARGET = Problem(400, "Bad request", "the request names no path on this server", "GET / says what there is")
# Quart takes //-/node for /-/node. Whoever stands before this server and allows some paths only would not.
_NO_SUCH_PATH = Problem(404, "No such path", "nothing is served under this path", "GET / says what there is")


class Front:
    """An ASGI application around another one, which gets what `handler_of` has no handler for."""

    def __init__(
        self,
        app: AsgiApp,
        metrics: Metrics,
        fixed_routes: frozenset[str],
        admission: Admission,
        handler_of: Callable[[HTTPScope], Handler | None] = lambda _: None,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._fixed_routes = fixed_routes
        self._admission = admission
        self._handler_of = handler_of
        # Asked once: the level does not change while a server runs, and a request costs nothing for it.
        self._shows_requests = logging.getLogger("camomile.http").isEnabledFor(logging.DEBUG)

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "http":
            await self._measured(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000, "reason": None})
        else:
            await self._app(scope, receive, send)

    async def _measured(self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        started = time.perf_counter()
        client = client_of(scope)
        exchange = _Exchange(receive, send, client, is_http_1=scope["http_version"].startswith("1"))
        path = _path_of(scope["raw_path"].decode("latin-1"))
        try:
            with self._admission.budget.share() as share:
                refusal = _BAD_TARGET if path is None else self._refusal(path, scope, share)
                if refusal is not None:
                    await exchange.answer(Answer.of_problem(refusal))
                    return
                scope["extensions"][SHARE] = share  # type: ignore[assignment]
                handler = self._handler_of(scope)
                if handler is None:
                    await self._app(scope, exchange.receive, exchange.send)
                    return
                answer = await answer_of(handler, ValueRequest(scope, share, exchange.receive), client)
                if answer is not None:
                    await exchange.answer(answer)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            labels = (method, self._route(path or ""), exchange.status)
            seconds = time.perf_counter() - started
            self._metrics.requests.observe(labels, seconds)
            if self._shows_requests:
                shown = self._shown(path or "")
                log.debug("request", method=method, path=shown, status=exchange.status, seconds=round(seconds, 5))

    def _shown(self, path: str) -> str:
        if path in self._fixed_routes or len(path) <= MOST_SHOWN:
            shown = path
        else:
            shown = path[:MOST_SHOWN] + "…"
        return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in shown)

    def _refusal(self, path: str, scope: HTTPScope, share: Share) -> Problem | None:
        # As it was sent: no path of this server has a character that has to be escaped.
        scope["path"] = path
        refusal = self._admission.refusal(scope, share)
        return _NO_SUCH_PATH if refusal is None and path.startswith("//") else refusal

    def _route(self, path: str) -> str:
        if path in self._fixed_routes:
            return path
        return "/{key}" if path.count("/") == 1 else "other"


class _Exchange:
    """One request and its answer, as they pass."""

    __slots__ = ("_answered", "_client", "_has_ended", "_is_http_1", "_receive", "_send", "_start", "_unread", "status")

    def __init__(
        self, receive: ASGIReceiveCallable, send: ASGISendCallable, client: Client | None, *, is_http_1: bool
    ) -> None:
        self._receive = receive
        self._send = send
        self._client = client
        self._is_http_1 = is_http_1
        self._start: ASGISendEvent | None = None
        self._answered = self._unread = False
        self._has_ended = trio.Event()  # the client's side of the exchange
        self.status = _GONE

    async def send(self, event: ASGISendEvent) -> None:
        if event["type"] == "http.response.start":
            self.status = str(event["status"])
            if self._client is not None:
                # ASGI has no answer begin before the first of its body is there. Both then leave in one segment.
                self._start = event
                return
        elif event["type"] == "http.response.body":
            self._answered = not event.get("more_body", False)
            if self._start is not None and self._client is not None:
                start, self._start = self._start, None
                self._client.hold_next()
                await self._send(start)
        # Over HTTP/1 the connection sees to it that nobody is waited for without end. HTTP/2 waits in here instead,
        # for the client to open the window of its stream.
        if self._is_http_1:
            await self._send(event)
        elif not self._unread:
            if self._answered:
                # Hypercorn forgets an answered stream, and then takes what still comes of it for a mistake of its own.
                with trio.move_on_after(DRAIN_SECONDS):
                    await self._has_ended.wait()
            with trio.move_on_after(ANSWER_PATIENCE) as waiting:
                await self._send(event)
            self._unread = waiting.cancelled_caught

    async def receive(self) -> ASGIReceiveEvent:
        event = await self._receive()
        if event["type"] != "http.request" or not event["more_body"]:
            self._has_ended.set()
        if self._answered and event["type"] == "http.disconnect":
            # Hypercorn says this while it sends the end of the answer. Quart would cancel that very send, and the
            # connection would be neither reused nor closed. Quart ends this call itself once the send is done.
            await trio.sleep_forever()
        return event

    async def answer(self, answer: Answer) -> None:
        if not self._is_http_1:
            with trio.move_on_after(DRAIN_SECONDS):
                while not self._has_ended.is_set():
                    await self.receive()
        for event in answer.as_events():
            await self.send(event)


def _path_of(target: str) -> str | None:
    """The path that a request's target names: itself, or an absolute URL's (RFC 9112 §3.2). None if there is none."""
    if target.startswith("/"):
        return target
    try:
        path = urlsplit(target).path or "/"
    except ValueError:
        return None
    return path if path.startswith("/") and "://" in target else None
