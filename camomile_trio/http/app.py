"""The REST service: put, get and forget, and what an operator asks. A Quart-Trio application around one node.

Rules of this file: a handler reads its request, makes one call on the node and writes one answer; errors go up, and
`problems` turns them into documents. A client that goes away cancels its handler, and with it the node's work for it:
nothing here may outlive its request. Handlers are asynchronous functions all, since Quart runs others in threads.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from types import TracebackType

import structlog
import trio
from quart import Response
from quart_trio import QuartTrio

from camomile_trio.errors import NotJoined, Overloaded
from camomile_trio.http.admission import Admission, BearerToken
from camomile_trio.http.answers import TEXT_TYPE, UNTRUSTED, Answer, type_of
from camomile_trio.http.budget import ByteBudget, Share
from camomile_trio.http.documents import json_response, node_document, peers_document
from camomile_trio.http.front import Front
from camomile_trio.http.metrics import Metrics, ProcessStatistics
from camomile_trio.http.openapi import openapi_document
from camomile_trio.http.pages import PAGE, PAGE_POLICY, TEXT
from camomile_trio.http.problems import answer_with_problems
from camomile_trio.http.refusals import NoToken
from camomile_trio.http.reloading import reload_node
from camomile_trio.http.served import ServedNode
from camomile_trio.http.settings import HttpSettings
from camomile_trio.http.short_way import Upload
from camomile_trio.http.uploads import current_request, receive_bounded_bodies
from camomile_trio.http.values import Encoding, body_bound, ttl_of, value_of
from camomile_trio.http.web_pages import WebPages, names_of_this_node
from camomile_trio.kademlia.ids import Key
from camomile_trio.node.results import Statistics

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

# Larger forms are read in a thread, so that the node goes on meanwhile.
READ_AT_ONCE = 256 * 1024
RELOAD = "/-/reload"

ExceptionInfo = tuple[type, BaseException, TracebackType] | tuple[None, None, None]


class RestService(QuartTrio):
    """A Quart-Trio application that keeps its metrics at hand and logs its bugs through structlog."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__(__name__, static_folder=None)
        self.metrics = metrics
        # Quart's own limit would cut a long answer to a slow client; the connection has a bound of its own.
        self.config["RESPONSE_TIMEOUT"] = None
        # A path is taken as it is: no redirects.
        self.url_map.merge_slashes = False

    def log_exception(self, exception_info: ExceptionInfo) -> None:
        """Called by Quart for what no error handler knows: a bug of ours."""
        request = current_request()
        log.error("bug in an HTTP handler", method=request.method, path=request.path[:80], exc_info=exception_info)


def make_app(node: ServedNode, settings: HttpSettings, process: ProcessStatistics = Statistics) -> RestService:
    """The service for `node`. Its `metrics` want the node's events (`node.events.watch(app.metrics.observe)`)."""
    metrics = Metrics(node, process)
    app = RestService(metrics)
    answer_with_problems(app)
    largest_value = node.config.records.max_value_size
    receive_bounded_bodies(app, largest_value=largest_value)
    token = BearerToken(settings.token)
    values = _ValueHandlers(node, settings, token)
    app.add_url_rule("/", view_func=values.put, methods=["POST"])
    app.add_url_rule("/<key>", view_func=values.get, methods=["GET"])
    app.add_url_rule("/<key>", view_func=values.forget, methods=["DELETE"])
    operator = _OperatorHandlers(node, metrics, token)
    fixed_routes = {
        "/": operator.front_page,
        "/-/healthy": operator.healthy,
        "/-/ready": operator.ready,
        "/-/node": operator.node,
        "/-/peers": operator.peers,
        "/-/metrics": operator.exposition,
        "/-/openapi.json": operator.openapi,
    }
    for path, handler in fixed_routes.items():
        app.add_url_rule(path, view_func=handler, methods=["GET"])
    app.add_url_rule(RELOAD, view_func=operator.reload, methods=["POST"])
    budget = metrics.http_bytes = ByteBudget(max(settings.max_bytes, body_bound(Encoding.URLENCODED, largest_value)))
    admission = Admission(budget, largest_value, token, WebPages(names_of_this_node(settings.host_names)))
    app.asgi_app = Front(app.asgi_app, metrics, frozenset({*fixed_routes, RELOAD}), admission, values)  # type: ignore[method-assign]
    return app


class _ValueHandlers:
    """Put, get and forget."""

    def __init__(self, node: ServedNode, settings: HttpSettings, token: BearerToken) -> None:
        self._node = node
        self._settings = settings
        self.largest_value = node.config.records.max_value_size
        self._token = token
        self._reader = trio.CapacityLimiter(1)
        self._served = 0

    async def put(self) -> Response:
        request = current_request()
        upload = Upload.of(request.scope["headers"], request.share, request.body.read)
        return (await self.store(upload)).as_response()

    async def store(self, upload: Upload) -> Answer:
        """What is answered to who puts a value, whichever way the request came."""
        self._check_token(upload.authorization)
        ttl = ttl_of(upload.ttl)
        value = await self._value_of(upload)
        upload.share.hold(len(value))
        with self._place():
            stored = await self._node.put(value, ttl=ttl)
        # A form's sender sees what arrived; who sends raw bytes knows them.
        echo = value if Encoding.of(upload.content_type).is_form else b""
        lasts = {} if stored.expires is None else {"Camomile-Expires": formatdate(stored.expires // 1000, usegmt=True)}
        upload.share.hold(len(echo))
        headers = {
            "Location": f"/{stored.key}",
            "Camomile-Replicas": str(stored.replicas),
            "Camomile-Durable": str(stored.durable),
            **lasts,
            **UNTRUSTED,
            "Content-Type": type_of(echo),
        }
        return Answer(202, headers, echo)

    async def _value_of(self, upload: Upload) -> bytes:
        body = await upload.read_body(self._settings.body_timeout)
        read = functools.partial(value_of, body, upload.content_type, largest_value=self.largest_value)
        if len(body) <= READ_AT_ONCE or not Encoding.of(upload.content_type).is_form:
            return read()
        # Some 15 ms for each MiB of escapes; one at a time, since each makes a copy.
        return await trio.to_thread.run_sync(read, limiter=self._reader)

    async def get(self, key: str) -> Response:
        request = current_request()
        answer = await self.read(Key.parse(key), request.headers.getlist("If-None-Match"), request.share)
        return answer.as_response()

    async def read(self, key: Key, if_none_match: list[str], share: Share) -> Answer:
        """What is answered to who asks for `key`, whichever way the request came."""
        with self._place():
            found = await self._node.get(key)
        share.hold(len(found.value))
        return Answer.of_value(key, found, if_none_match)

    async def forget(self, key: str) -> Response:
        self._check_token(current_request().headers.get("Authorization", ""))
        wanted = Key.parse(key)
        with self._place():
            forgotten = await self._node.forget(wanted)
        others = forgotten.other_publishers
        return Answer(204, {"Camomile-Publishers": str(others)} if others else {}, None).as_response()

    def _check_token(self, authorization: str) -> None:
        if self._token.is_asked_for:
            self._token.require(authorization)

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


class _OperatorHandlers:
    """The front page and everything under /-/. These take no place: they answer when all places are taken."""

    def __init__(self, node: ServedNode, metrics: Metrics, token: BearerToken) -> None:
        self._node = node
        self._metrics = metrics
        self._token = token

    async def front_page(self) -> Response:
        if "text/html" in current_request().headers.get("Accept", ""):
            headers = {"Content-Security-Policy": PAGE_POLICY, "X-Content-Type-Options": "nosniff", "Vary": "Accept"}
            return Response(PAGE, content_type="text/html; charset=utf-8", headers=headers)
        return Response(TEXT, content_type=TEXT_TYPE, headers={"Vary": "Accept"})

    async def healthy(self) -> Response:
        return Response("healthy\n", content_type=TEXT_TYPE, headers={"Cache-Control": "no-store"})

    async def ready(self) -> Response:
        if not self._node.ready:
            raise NotJoined(
                f"not ready: {self._node.not_ready_because}", remedy="do what the reason says, else wait and ask again"
            )
        return Response("ready\n", content_type=TEXT_TYPE, headers={"Cache-Control": "no-store"})

    async def node(self) -> Response:
        return json_response(node_document(self._node.status()))

    async def peers(self) -> Response:
        return json_response(peers_document(self._node.peers()))

    async def reload(self) -> Response:
        # It changes what the operator has set. Who may write values here is not the operator for that.
        if not self._token.is_asked_for:
            raise NoToken("a node without a token is reloaded over its control socket only")
        self._token.require(current_request().headers.get("Authorization", ""))
        return await reload_node(self._node)

    async def exposition(self) -> Response:
        text, content_type = self._metrics.exposition(current_request().headers.get("Accept", ""))
        return Response(text, content_type=content_type, headers={"Cache-Control": "no-store"})

    async def openapi(self) -> Response:
        return json_response(openapi_document(self._node.status().version))
