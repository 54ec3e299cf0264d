"""The short way to a value: plain requests to read or to store one, answered without Quart, for a third of the work.

Rules of this file: what it answers, counts and logs is what Quart's handler would, header for header, and a test sends
both the same requests. Only plain requests go this way (HTTP/1; GET and HEAD of a well-formed key that announce no
body; POST of a body that is the value, of a length that is told and possible), all others are Quart's. It knows neither
sockets nor nodes: values are read and stored by what `app` gives it.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Protocol

import attrs
import structlog
import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope

from camomile_trio.errors import BadKey, CamomileError
from camomile_trio.http.answers import Answer
from camomile_trio.http.budget import Share
from camomile_trio.http.problems import BUG, problem_of
from camomile_trio.http.refusals import BadRequest, SlowBody
from camomile_trio.http.values import Encoding
from camomile_trio.kademlia.ids import Key

# With one of these a request waits for more than what it says, or changes its protocol.
_NOT_PLAIN = frozenset({b"transfer-encoding", b"expect", b"upgrade"})
_LENGTH = b"content-length"
# What a put is told by headers, as their names are written.
_THAT_MATTER = {
    b"authorization": "Authorization",
    b"content-type": "Content-Type",
    b"camomile-ttl": "Camomile-TTL",
}
_MOST_DIGITS = 12
_KEY_PATH = 1 + 64
# Where the server says in a scope's extensions who the client is.
CLIENT = "camomile.client"

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

Work = Callable[[], Awaitable[Answer]]


class Client(Protocol):
    """The client of a connection that carries one request at a time."""

    def while_there(self) -> trio.CancelScope:
        """A scope that is cancelled once the client is gone."""

    def hold_next(self) -> None:
        """What is sent next waits for what is sent after it, and goes out with that."""


@attrs.frozen
class Upload:
    """A value on its way in: the texts of the headers that matter, and how to get the body within some seconds.

    Reading raises ValueTooLarge, SlowBody or Overloaded. `share` holds the bytes of the body.
    """

    authorization: str
    content_type: str
    ttl: str | None
    share: Share
    read_body: Callable[[float], Awaitable[bytes]]

    @classmethod
    def of(
        cls, headers: Iterable[tuple[bytes, bytes]], share: Share, read_body: Callable[[float], Awaitable[bytes]]
    ) -> Upload:
        """BadRequest if one of the headers that matter is there twice: two readers might each believe another one."""
        found: dict[bytes, str] = {}
        for name, value in headers:
            if name in _THAT_MATTER:
                if name in found:
                    raise BadRequest(f"the header {_THAT_MATTER[name]} is there twice", remedy="send it once")
                found[name] = value.decode("latin-1")
        return cls(
            found.get(b"authorization", ""),
            found.get(b"content-type", ""),
            found.get(b"camomile-ttl"),
            share,
            read_body,
        )


class Values(Protocol):
    """What `app` does with values, whichever way a request came. CamomileError."""

    largest_value: int

    async def read(self, key: Key, if_none_match: list[str], share: Share) -> Answer:
        """The value of a key for a client that already has what these lines of If-None-Match name.

        `share` then holds the value's bytes.
        """

    async def store(self, upload: Upload) -> Answer:
        """The value of a POST is put."""


def client_of(scope: HTTPScope) -> Client | None:
    """Who asks, over HTTP/1; None over HTTP/2, where requests share a connection, and from servers that do not say."""
    if not scope["http_version"].startswith("1"):
        return None
    client: Client | None = scope["extensions"].get(CLIENT)  # type: ignore[assignment]
    return client


async def answer_shortly(
    values: Values,
    scope: HTTPScope,
    share: Share,
    client: Client,
    receive: ASGIReceiveCallable,
    send: ASGISendCallable,
) -> bool:
    """Answers a plain request, and says whether it was one. No answer if the client goes away before there is one."""
    if scope["method"] == "POST":
        if not is_plain_upload(scope, values.largest_value):
            return False
        work: Work = functools.partial(_store, values, scope, share, receive)
    else:
        key = key_of(scope)
        if key is None:
            return False
        has_already = [value.decode("latin-1") for name, value in scope["headers"] if name == b"if-none-match"]
        work = functools.partial(values.read, key, has_already, share)
    answer: Answer | None = None
    with client.while_there(), suppress(_ClientGone):
        answer = await _answer_of(work, scope)
    if answer is not None:
        start, content = answer.as_events(with_body=scope["method"] != "HEAD")
        await send(start)
        await send(content)
    return True


def key_of(scope: HTTPScope) -> Key | None:
    """The key whose value is asked for, if the request may go the short way."""
    path = scope["path"]
    if len(path) != _KEY_PATH or scope["method"] not in {"GET", "HEAD"} or scope["query_string"]:
        return None
    if any(name in _NOT_PLAIN or name == _LENGTH for name, _ in scope["headers"]):
        return None
    try:
        return Key.parse(path[1:])
    except BadKey:
        return None


def is_plain_upload(scope: HTTPScope, largest_value: int) -> bool:
    """Whether the body that a POST announces is a value of a size that is possible, and nothing else."""
    if scope["path"] != "/" or scope["query_string"]:
        return False
    lengths = []
    content_type = b""
    for name, value in scope["headers"]:
        if name in _NOT_PLAIN:
            return False
        if name == _LENGTH:
            lengths.append(value)
        elif name == b"content-type":
            content_type = content_type or value
    if Encoding.of(content_type.decode("latin-1")).is_form or len(lengths) != 1:
        return False
    (length,) = lengths
    return length.isdigit() and len(length) <= _MOST_DIGITS and int(length) <= largest_value


async def _store(values: Values, scope: HTTPScope, share: Share, receive: ASGIReceiveCallable) -> Answer:
    return await values.store(Upload.of(scope["headers"], share, functools.partial(_read, receive)))


async def _answer_of(work: Work, scope: HTTPScope) -> Answer:
    try:
        return await work()
    except CamomileError as error:
        return Answer.of_problem(problem_of(error))
    except _ClientGone:
        raise
    except Exception:
        # The last frame of ours before the server, and what Quart does with a bug.
        log.exception("bug in an HTTP handler", method=scope["method"], path=scope["path"])
        return Answer.of_problem(BUG)


class _ClientGone(Exception):
    """The client has left before the end of its body."""


async def _read(receive: ASGIReceiveCallable, timeout: float) -> bytes:
    """What a client sends, no more than it has announced: the server sees to that. SlowBody, or _ClientGone."""
    # Not a list of what came: a client that sends byte for byte would have each of them kept as an object.
    body = io.BytesIO()
    has_ended = False
    with trio.move_on_after(timeout):
        while not has_ended:
            event = await receive()
            if event["type"] != "http.request":
                raise _ClientGone
            body.write(event["body"])
            has_ended = not event["more_body"]
    if not has_ended:
        raise SlowBody.after(timeout)
    return body.getvalue()  # itself, not a copy
