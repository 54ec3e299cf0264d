"""The short way to a value: GET and HEAD of a key, answered without Quart, for a third of the work.

Rules of this file: what it answers, counts and logs is what Quart's handler would, header for header, and a test sends
both the same requests. Only plain requests go this way (HTTP/1, a well-formed key, nothing that announces a body), all
others are Quart's. It knows neither sockets nor nodes: a value is read by what `app` gives it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog
import trio
from hypercorn.typing import ASGISendCallable, HTTPScope

from camomile_trio.errors import BadKey, CamomileError
from camomile_trio.http.answers import Answer
from camomile_trio.http.problems import BUG, problem_of
from camomile_trio.kademlia.ids import Key

# With one of these a request may have a body, which is to be waited for, or changes its protocol.
_NOT_PLAIN = frozenset({b"content-length", b"transfer-encoding", b"expect", b"upgrade"})
_KEY_PATH = 1 + 64
# Where the server says in a scope's extensions who the client is.
CLIENT = "camomile.client"

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

# Reads the value of a key for a client that already has what these lines of If-None-Match name.
ReadValue = Callable[[Key, list[str]], Awaitable[Answer]]


class Client(Protocol):
    """The client of a connection that carries one request at a time."""

    def while_there(self) -> trio.CancelScope:
        """A scope that is cancelled once the client is gone."""

    def hold_next(self) -> None:
        """What is sent next waits for what is sent after it, and goes out with that."""


def client_of(scope: HTTPScope) -> Client | None:
    """Who asks, over HTTP/1; None over HTTP/2, where requests share a connection, and from servers that do not say."""
    if not scope["http_version"].startswith("1"):
        return None
    client: Client | None = scope["extensions"].get(CLIENT)  # type: ignore[assignment]
    return client


def key_of(scope: HTTPScope) -> Key | None:
    """The key whose value is asked for, if the request may go the short way."""
    path = scope["path"]
    if len(path) != _KEY_PATH or scope["method"] not in {"GET", "HEAD"} or scope["query_string"]:
        return None
    if any(name in _NOT_PLAIN for name, _ in scope["headers"]):
        return None
    try:
        return Key.parse(path[1:])
    except BadKey:
        return None


async def answer_shortly(
    key: Key, scope: HTTPScope, client: Client, read_value: ReadValue, send: ASGISendCallable
) -> None:
    """Answers a request that `key_of` let pass; without an answer if the client goes away before there is one."""
    has_already = [value.decode("latin-1") for name, value in scope["headers"] if name == b"if-none-match"]
    answer: Answer | None = None
    with client.while_there():
        try:
            answer = await read_value(key, has_already)
        except CamomileError as error:
            answer = Answer.of_problem(problem_of(error))
        except Exception:
            # The last frame of ours before the server, and what Quart does with a bug.
            log.exception("bug in an HTTP handler", method=scope["method"], path=scope["path"])
            answer = Answer.of_problem(BUG)
    if answer is not None:
        start, body = answer.as_events(with_body=scope["method"] != "HEAD")
        await send(start)
        await send(body)
