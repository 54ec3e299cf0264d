"""The REST service: a Quart-Trio application around one node, for what an operator asks. Values have `value_handlers`,
orchestrators `health`.

Rules of this file: a handler reads its request, makes one call on the node and writes one answer; errors go up, and
`problems` turns them into documents. A client that goes away cancels its handler, and with it the node's work for it:
nothing here may outlive its request. Handlers are asynchronous functions all, since Quart runs others in threads.
"""

from __future__ import annotations

from types import TracebackType

import structlog
from hypercorn.typing import HTTPScope
from quart import Response
from quart_trio import QuartTrio

from camomile_trio.http.admission import Admission, BearerToken
from camomile_trio.http.answers import TEXT_TYPE
from camomile_trio.http.budget import ByteBudget
from camomile_trio.http.documents import json_response, node_document, peers_document
from camomile_trio.http.front import Front
from camomile_trio.http.health import HEALTHY, READY, HealthHandlers
from camomile_trio.http.metrics import Metrics, ProcessStatistics
from camomile_trio.http.openapi import openapi_document
from camomile_trio.http.pages import PAGE, PAGE_POLICY, TEXT
from camomile_trio.http.problems import answer_with_problems
from camomile_trio.http.refusals import NoToken
from camomile_trio.http.reloading import reload_node
from camomile_trio.http.served import ServedNode
from camomile_trio.http.settings import HttpSettings
from camomile_trio.http.uploads import current_request, receive_bounded_bodies
from camomile_trio.http.value_handlers import Handler, ValueHandlers
from camomile_trio.http.values import Encoding, body_bound
from camomile_trio.http.web_pages import WebPages, names_of_this_node
from camomile_trio.operations.results import Statistics

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

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
    receive_bounded_bodies(app, largest_body=largest_value)
    token = BearerToken(settings.token)
    # Answered before Quart, which has to know of them all the same: for OPTIONS, and to refuse other methods.
    app.add_url_rule("/", endpoint="values", methods=["POST"])
    app.add_url_rule("/<key>", endpoint="value", methods=["GET", "DELETE"])
    app.add_url_rule(HEALTHY, endpoint="healthy", methods=["GET"])
    app.add_url_rule(READY, endpoint="ready", methods=["GET"])
    operator = _OperatorHandlers(node, metrics, token)
    fixed_routes = {
        "/": operator.front_page,
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
    values, health = ValueHandlers(node, settings, token), HealthHandlers(node)

    def handler_of(scope: HTTPScope) -> Handler | None:
        return values.handler_of(scope) or health.handler_of(scope)

    routes = frozenset({*fixed_routes, HEALTHY, READY, RELOAD})
    app.asgi_app = Front(app.asgi_app, metrics, routes, admission, handler_of)  # type: ignore[method-assign]
    return app


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
