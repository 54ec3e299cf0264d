"""HTTP/1 with one client: Hypercorn's protocol, where its answers, its waits and its errors are not good enough.

Rules of this file: it knows Hypercorn and h11, and of the application only that it is ASGI's.

- `100 Continue` is sent when the application first asks for the body, so a refusal comes before it.
- An answer that begins before its request has ended says `Connection: close`. What still comes is then dropped, for
  `DRAIN_SECONDS` at most: a connection that is closed on unread bytes is reset, and its client loses the answer.
- A client that has only ended its sending side gets its answer. It looks like one that has left, until something is
  sent: when its answer takes longer, `102 Processing` is sent first, and a client that has left resets the connection.
- A GET or HEAD waits in a queue until it may begin. A plain one that has waited for too long is answered 503 from bytes
  that were made before, at a tenth of what its handler costs; any other one begins late.
- No protocol is upgraded to: an `Upgrade` is ignored (RFC 9110 §7.8 allows it). HTTP/2 is for who begins with it.
- What the protocol itself refuses is answered with a problem document too.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import cast

import h11
import structlog
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.events import Body, EndBody, Request, Response
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H2ProtocolAssumedError, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import MAX_RECV, TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import (
    AppWrapper,
    ASGIFramework,
    ASGIReceiveEvent,
    ASGISendEvent,
    ConnectionState,
    H11SendableEvent,
    Scope,
)
from hypercorn.utils import UnexpectedMessageError, parse_socket_addr

from camomile_trio.errors import Overloaded
from camomile_trio.http.answers import Answer
from camomile_trio.http.clients import DRAIN_SECONDS, ClientStream, IdleTimer, SendLock
from camomile_trio.http.problems import BUG, SLOW_HEAD, problem_of, problem_of_protocol
from camomile_trio.http.request_queue import RequestQueue
from camomile_trio.http.value_handlers import CLIENT

_KEEP_ALIVE_SECONDS = 60.0
# How long a client that has ended its side is left without a word; twice as long after each.
_SILENCE_SECONDS = 1.0
# Pieces of a body, of at most MAX_RECV bytes each, that wait for the application; the client waits with the rest.
_MOST_PIECES_WAITING = 2

# The whole of a request that may be answered unparsed: one head, no body after it, and a connection that stays. A line
# that ends, or begins, in any other way is the parser's to judge.
_PLAIN = re.compile(
    rb"(GET|HEAD) /[^ \r\n]* HTTP/1\.1\r\n"
    rb"(?:(?!content-length|transfer-encoding|connection(?!: ?keep-alive\r)|[ \t])[^\r\n]+\r\n)*\r\n",
    re.IGNORECASE,
)
# Where the path of a request for an operator begins, at the latest.
_OPERATORS_PATH = b" /-/"
_QUEUED = frozenset({b"GET ", b"HEAD"})
_LONGEST_METHOD = 7

_Send = Callable[[ASGISendEvent | None], Awaitable[None]]

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class ClientServer(TCPServer):
    """What serves the connection of one client, from its first request to its last."""

    protocol: ProtocolWrapper

    def __init__(
        self,
        app: ASGIFramework,
        config: Config,
        context: WorkerContext,
        client: ClientStream,
        queues: tuple[RequestQueue, RequestQueue],
    ) -> None:
        """`queues` are those of requests for values, and of what operators and orchestrators ask."""
        # Both are typed for more than is asked of them: an application with threads, a stream with TLS.
        stream = cast("trio.SSLStream[trio.SocketStream]", client)
        super().__init__(cast("AppWrapper", app), config, context, {}, stream)
        self.send_lock = cast("trio.Lock", SendLock())
        self.idle_task = IdleTimer(_KEEP_ALIVE_SECONDS, client, context.terminated)
        self.client = client
        self._queue, self._operators_queue = queues
        self._reading = trio.CancelScope()
        self._drops = False  # what still comes is read and thrown away
        self._has_ended = False  # nothing more comes

    async def run(self) -> None:
        """Serves until either side is done with the connection."""
        connected = self.client.socket
        try:
            async with _Tasks(self) as tasks:
                self._task_group = tasks
                self._http1 = _Http1(
                    self.app,
                    self.config,
                    self.context,
                    tasks,
                    ConnectionState(self.state),
                    False,
                    parse_socket_addr(connected.family, connected.getpeername()),
                    parse_socket_addr(connected.family, connected.getsockname()),
                    self.protocol_send,
                )
                self.protocol = _Protocol(self._http1)
                await self.idle_task.restart(tasks, self._idle_timeout)
                with self._reading:
                    await self._read_data()
                self.client.note_gone()
                await self.protocol.handle(Closed())
        except OSError:
            pass  # the client went away
        finally:
            await self._close()

    async def _read_data(self) -> None:
        while not self._has_ended:
            try:
                data = await self.client.receive_some(MAX_RECV)
            except (trio.ClosedResourceError, trio.BrokenResourceError):
                return
            self._has_ended = not data
            if not self._drops and (self._http1.stream is not None or await self._may_begin(data)):
                await self.protocol.handle(RawData(bytes(data)))
        await self._http1.wait_answered()

    async def _may_begin(self, data: bytes | bytearray) -> bool:
        """Waits for the turn of a request that begins with `data`. False if it was answered 503 instead."""
        if _OPERATORS_PATH in data[: _LONGEST_METHOD + len(_OPERATORS_PATH)]:
            await self._operators_queue.turn()
            return True
        if data[:4].upper() not in _QUEUED:
            return True  # puts have places of their own, and are not to wait for gets
        if await self._queue.turn() or not (self._http1.is_idle and _PLAIN.fullmatch(data)):
            return True
        self._queue.refused += 1
        await self.protocol_send(RawData(_LATE_HEAD if data[:4].upper() == b"HEAD" else _LATE))
        await self.protocol_send(Updated(idle=True))
        return False

    async def protocol_send(self, event: Event) -> None:
        """Called by the protocol, with what goes to the client or what has become of the connection."""
        if isinstance(event, Closed) and not (self._has_ended or self.client.is_gone):
            self._drops = True
            self._reading.deadline = trio.current_time() + DRAIN_SECONDS
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
                await self.client.send_eof()
            await self.protocol.handle(event)
        else:
            await super().protocol_send(event)

    async def go_on(self) -> None:
        """An application wants the body of its request."""
        if self.protocol.protocol is self._http1:
            await self._http1.go_on()

    async def _idle_timeout(self) -> None:
        with trio.CancelScope(shield=True):
            await self._http1.refuse_slow_head()
            await self._initiate_server_close()


class _Protocol(ProtocolWrapper):
    """The protocol of a connection: HTTP/1 until the client begins with HTTP/2's preface."""

    def __init__(self, http1: _Http1) -> None:
        super().__init__(
            http1.app,
            http1.config,
            http1.context,
            http1.task_group,
            http1.connection_state,
            http1.ssl,
            http1.client,
            http1.server,
            http1.send,
        )
        self.protocol = http1


class _Http1(H11Protocol):
    """Requests and answers, one after another."""

    stream: HTTPStream | None
    _answered: trio.Event | None = None  # set once nothing is under way; None unless that is waited for

    @property
    def _h11(self) -> h11.Connection:
        # Hypercorn puts something else there for websockets only.
        return cast("h11.Connection", self.connection)

    @property
    def is_idle(self) -> bool:
        """Nothing of a request has come, or all that came is answered."""
        return self._h11.their_state is h11.IDLE and not self._h11.trailing_data[0]

    async def go_on(self) -> None:
        """The body is received. Its client is told so if it waits for that, unless the body is only to be dropped."""
        is_wanted = self.stream is not None and self.stream.scope["method"] == "POST"
        if is_wanted and self._h11.they_are_waiting_for_100_continue:
            await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))

    async def wait_answered(self) -> None:
        """Until nothing is under way for a client that sends nothing more, or until that client is gone."""
        patience = _SILENCE_SECONDS
        while self.stream is not None:
            self._answered = trio.Event()
            with trio.move_on_after(patience) as silence:
                await self._answered.wait()
            if silence.cancelled_caught and self._h11.our_state is h11.SEND_RESPONSE:
                patience *= 2
                # A client of HTTP/1.0 knows no interim answers (RFC 9110 §15.2).
                if self._h11.their_http_version != b"1.0":
                    await self._send_h11_event(h11.InformationalResponse(status_code=102, headers=[]))

    async def refuse_slow_head(self) -> None:
        """Tells a client, which has sent only a part of a request's head, that its time is over."""
        if self._h11.our_state is h11.IDLE and self._h11.trailing_data[0]:
            await self._answer(Answer.of_problem(SLOW_HEAD))

    async def stream_send(self, event: StreamEvent) -> None:
        """Called by the stream, with a part of its answer."""
        if isinstance(event, Response) and self._h11.their_state is h11.SEND_BODY:
            others = [header for header in event.headers if header[0] != b"connection"]
            event = Response(event.stream_id, [*others, (b"connection", b"close")], event.status_code)
        await super().stream_send(event)

    async def _handle_events(self) -> None:
        while True:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                if self._h11.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                    await self._answer(Answer.of_problem(problem_of_protocol(error.error_status_hint, str(error))))
                await self.send(Closed())
                return
            if isinstance(event, h11.Request):
                await self._begin(event)
            elif event is h11.PAUSED:
                await self.can_read.clear()
                await self.can_read.wait()
            elif event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed) or self.stream is None:
                return
            elif isinstance(event, h11.Data):
                await self.stream.handle(Body(STREAM_ID, event.data))
            elif isinstance(event, h11.EndOfMessage):
                await self.stream.handle(EndBody(STREAM_ID))

    async def _begin(self, request: h11.Request) -> None:
        await self.send(Updated(idle=False))
        if request.method == b"PRI" and request.target == b"*" and request.http_version == b"2.0":
            raise H2ProtocolAssumedError(b"PRI * HTTP/2.0\r\n\r\n" + self._h11.trailing_data[0])
        self.stream = HTTPStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        await self.stream.handle(
            Request(
                STREAM_ID,
                list(request.headers),
                request.http_version.decode(),
                request.method.decode("ascii").upper(),
                request.target,
                self.connection_state,
            )
        )

    async def _answer(self, answer: Answer) -> None:
        """Answers without the application, as the last thing on this connection."""
        headers = [*answer.raw_headers(), (b"connection", b"close"), *self.config.response_headers("h11")]
        await self._send_h11_event(h11.Response(status_code=answer.status, headers=headers))
        if self.stream is None or self.stream.scope["method"] != "HEAD":
            await self._send_h11_event(h11.Data(data=answer.body or b""))
        await self._send_h11_event(h11.EndOfMessage())

    async def _send_h11_event(self, event: H11SendableEvent) -> None:
        if not isinstance(event, h11.Data):
            await super()._send_h11_event(event)
            return
        try:
            # As Hypercorn's, but a value is sent from where it is, not copied first.
            pieces = self._h11.send_with_data_passthrough(event) or []
        except h11.LocalProtocolError:
            if self._h11.their_state is not h11.ERROR:
                raise
        else:
            for piece in pieces:
                await self.send(RawData(piece))

    async def _close_stream(self) -> None:
        await super()._close_stream()
        if self._answered is not None:
            self._answered.set()


class _Tasks(TaskGroup):
    """The tasks of a connection. An application that has ended holds up nobody who has still something for it."""

    def __init__(self, server: ClientServer) -> None:
        super().__init__()
        self._server = server

    async def spawn_app(
        self, app: AppWrapper, config: Config, scope: Scope, send: _Send
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        """Starts the application for one request. What is returned hands it what comes from the client."""
        inbox = _Inbox(self._server)
        if scope["type"] == "http":
            inbox.has_connection = scope["http_version"].startswith("1")
            scope["extensions"][CLIENT] = inbox  # type: ignore[assignment]
        self.spawn(_run_app, cast("ASGIFramework", app), scope, inbox, send)
        return inbox.put


class _Inbox:
    """What came for one request and was not received yet: a few pieces, since the client waits for the application.

    To `value_handlers` it stands for the client of its request.
    """

    __slots__ = ("_put", "_server", "_take", "_there", "has_connection")

    def __init__(self, server: ClientServer) -> None:
        self._server = server
        self._there = trio.CancelScope()
        self.has_connection = False  # to itself, as over HTTP/1; over HTTP/2 requests share one
        self._put, self._take = trio.open_memory_channel[ASGIReceiveEvent](_MOST_PIECES_WAITING)

    def while_there(self) -> trio.CancelScope:
        """The one scope that is cancelled once the client is gone, or the request is answered."""
        return self._there

    def hold_next(self) -> None:
        """What is sent next waits for what is sent after it, if nobody else sends on this connection."""
        if self.has_connection:
            self._server.client.hold_next()

    async def put(self, event: ASGIReceiveEvent) -> None:
        """Waits for room; not for the client's leave, and not for an application that has ended."""
        if event["type"] == "http.disconnect":
            self._put.close()
            self._there.cancel()
            return
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._put.send(event)

    async def receive(self) -> ASGIReceiveEvent:
        """For the application: the next that came."""
        await self._server.go_on()
        try:
            return await self._take.receive()
        except trio.EndOfChannel:
            return {"type": "http.disconnect"}

    def close(self) -> None:
        """The application has ended."""
        self._take.close()


async def _run_app(app: ASGIFramework, scope: Scope, inbox: _Inbox, send: _Send) -> None:
    try:
        await app(scope, inbox.receive, send)
    except* Exception as errors:
        # The last frame of ours: a bug of the application costs one client its answer.
        log.error("bug below an HTTP handler", exc_info=errors)
        with suppress(UnexpectedMessageError):
            for event in Answer.of_problem(BUG).as_events():
                await send(event)
    finally:
        inbox.close()
        await send(None)


def _head_of(answer: Answer) -> bytes:
    """The head of an answer after which the connection goes on."""
    lines = [b"HTTP/1.1 %d " % answer.status, *(b": ".join(header) for header in answer.raw_headers())]
    return b"\r\n".join([*lines, b"", b""])


_TOO_LATE = Answer.of_problem(problem_of(Overloaded("this node has more requests than it can answer in time")))
_LATE_HEAD = _head_of(_TOO_LATE)
_LATE = _LATE_HEAD + (_TOO_LATE.body or b"")
