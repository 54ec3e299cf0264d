"""Put, get and forget: every request for a value, from its head to its answer.

Rules of this file: Quart has no part in these requests, since they would cost twice as much with it
(docs/performance.md). A request is read, the node is called once, and one answer goes back; `problems` turns errors
into answers. A client that goes away cancels the work for it, and gets no answer. Sockets are not known here.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from email.utils import formatdate
from typing import Protocol

import attrs
import structlog
import trio
from hypercorn.typing import ASGIReceiveCallable, HTTPScope

from camomile_trio.errors import CamomileError, Overloaded
from camomile_trio.http.admission import BearerToken
from camomile_trio.http.answers import UNTRUSTED, Answer, type_of
from camomile_trio.http.budget import Share
from camomile_trio.http.problems import BUG, problem_of
from camomile_trio.http.refusals import BadRequest
from camomile_trio.http.served import ServedNode
from camomile_trio.http.settings import HttpSettings
from camomile_trio.http.uploads import ClientGone, Upload, receive_upload
from camomile_trio.http.values import Encoding, body_bound, ttl_of, value_of
from camomile_trio.kademlia.ids import Key

# Larger forms are read in a thread, so that the node goes on meanwhile.
READ_AT_ONCE = 256 * 1024
# What is told by headers that may be there once only, as their names are written.
_ONCE = {
    b"authorization": "Authorization",
    b"content-type": "Content-Type",
    b"camomile-ttl": "Camomile-TTL",
}
# Where the server says in a scope's extensions who the client is.
CLIENT = "camomile.client"

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Client(Protocol):
    """The client of one request."""

    def while_there(self) -> trio.CancelScope:
        """A scope that is cancelled once the client is gone."""

    def hold_next(self) -> None:
        """What is sent next waits for what is sent after it, and goes out with that."""


@attrs.frozen
class ValueRequest:
    """A request for a value as it came. `share` holds what it takes of the bytes that all requests have together."""

    scope: HTTPScope
    share: Share
    receive: ASGIReceiveCallable


Handler = Callable[[ValueRequest], Awaitable[Answer]]


def client_of(scope: HTTPScope) -> Client | None:
    """Who asks; None from servers that do not say."""
    client: Client | None = scope["extensions"].get(CLIENT)  # type: ignore[assignment]
    return client


class ValueHandlers:
    """The handlers of one served node, and the places that they share."""

    def __init__(self, node: ServedNode, settings: HttpSettings, token: BearerToken) -> None:
        self._node = node
        self._settings = settings
        self._largest_value = node.config.records.max_value_size
        self._token = token
        self._reader = trio.CapacityLimiter(1)
        self._served = 0

    def handler_of(self, scope: HTTPScope) -> Handler | None:
        """What answers a request; None if it is not for a value, or of a method that values do not have."""
        path, method = scope["path"], scope["method"]
        if path == "/":
            return self._put if method == "POST" else None
        if path.count("/") != 1:
            return None
        if method in {"GET", "HEAD"}:
            return self._get
        return self._forget if method == "DELETE" else None

    async def _get(self, request: ValueRequest) -> Answer:
        scope = request.scope
        key = Key.parse(scope["path"][1:])
        has_already = [value.decode("latin-1") for name, value in scope["headers"] if name == b"if-none-match"]
        with self._place():
            found = await self._node.get(key)
        request.share.hold(len(found.value))
        return Answer.of_value(key, found, has_already)

    async def _put(self, request: ValueRequest) -> Answer:
        told = _told_once(request.scope["headers"])
        self._check_token(told)
        ttl = ttl_of(told.get(b"camomile-ttl"))
        content_type = told.get(b"content-type", "")
        encoding = Encoding.of(content_type)
        upload = Upload(body_bound(encoding, self._largest_value), request.share)
        body = await receive_upload(request.receive, upload, self._settings.body_timeout)
        read = functools.partial(value_of, body, content_type, largest_value=self._largest_value)
        if len(body) <= READ_AT_ONCE or not encoding.is_form:
            value = read()
        else:
            # Some 15 ms for each MiB of escapes; one at a time, since each makes a copy.
            value = await trio.to_thread.run_sync(read, limiter=self._reader)
        request.share.hold(len(value))
        with self._place():
            stored = await self._node.put(value, ttl=ttl)
        # A form's sender sees what arrived; the sender of raw bytes knows them.
        echo = value if encoding.is_form else b""
        lasts = {} if stored.expires is None else {"Camomile-Expires": formatdate(stored.expires // 1000, usegmt=True)}
        request.share.hold(len(echo))
        headers = {
            "Location": f"/{stored.key}",
            "Camomile-Replicas": str(stored.replicas),
            "Camomile-Durable": str(stored.durable),
            **lasts,
            **UNTRUSTED,
            "Content-Type": type_of(echo),
        }
        return Answer(202, headers, echo)

    async def _forget(self, request: ValueRequest) -> Answer:
        self._check_token(_told_once(request.scope["headers"]))
        key = Key.parse(request.scope["path"][1:])
        with self._place():
            forgotten = await self._node.forget(key)
        others = forgotten.other_publishers
        return Answer(204, {"Camomile-Publishers": str(others)} if others else {}, None)

    def _check_token(self, told: dict[bytes, str]) -> None:
        if self._token.is_asked_for:
            self._token.require(told.get(b"authorization", ""))

    @contextmanager
    def _place(self) -> Iterator[None]:
        """One of the places of `max_requests`; Overloaded at once if all are taken."""
        if self._served >= self._settings.max_requests:
            raise Overloaded(f"this node already serves {self._served} requests")
        self._served += 1
        try:
            yield
        finally:
            self._served -= 1


async def answer_of(handler: Handler, request: ValueRequest, client: Client | None) -> Answer | None:
    """The answer to a request, a refusal if the handler raises; None if the client goes away before there is one."""
    answer = None
    with trio.CancelScope() if client is None else client.while_there(), suppress(ClientGone):
        try:
            answer = await handler(request)
        except CamomileError as error:
            answer = Answer.of_problem(problem_of(error))
        except ClientGone:
            raise
        except Exception as error:
            # The last frame of ours before the server, and what Quart does with a bug.
            about = {"method": request.scope["method"], "path": request.scope["path"][:80]}
            log.error("bug in an HTTP handler", exc_info=error, **about)
            answer = Answer.of_problem(BUG)
    return answer


def _told_once(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, str]:
    """The texts of those of `_ONCE` that are there.

    BadRequest if one of them is there twice: two readers might each believe another one.
    """
    found: dict[bytes, str] = {}
    for name, value in headers:
        if name in _ONCE:
            if name in found:
                raise BadRequest(f"the header {_ONCE[name]} is there twice", remedy="send it once")
            found[name] = value.decode("latin-1")
    return found
