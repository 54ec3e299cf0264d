"""Connections of HTTP clients, served by Hypercorn, ended in bounded time.

Rules of this file: it knows sockets and an ASGI application, nothing of nodes or values. Every wait on a client has a
bound. Hypercorn speaks HTTP on each connection, but this file accepts and closes them: `hypercorn.trio.serve` shields
its sends from cancellation, so that one client which does not read would hold up a shutdown for ever, and whatever
one connection's parser raises would end the server, and with it the node.
"""

from __future__ import annotations

import ipaddress
import socket
from collections import Counter
from collections.abc import Callable

import attrs
import structlog
import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework

from camomile_trio.accepting import accept
from camomile_trio.http.clients import ClientStream
from camomile_trio.http.http1 import ClientServer
from camomile_trio.http.metrics import Metrics
from camomile_trio.http.request_queue import RequestQueue

# How long requests under way may go on once the server stops.
GRACE_SECONDS = 2.0
_BACKLOG = 256
# How many gets begin in one pass of Trio's loop, each of some 0.3 ms: few, so that a pass is short; not fewer, since
# passes are long while there are puts. What operators and orchestrators ask waits for its own kind alone.
_AT_ONCE = 16
_OPERATORS_AT_ONCE = 2

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


@attrs.define(eq=False)
class Connections:
    """The open connections of one server: at most `most`, and at most `most_per_address` of one client address."""

    app: ASGIFramework
    metrics: Metrics
    most: int
    most_per_address: int
    _of_address: Counter[str] = attrs.field(factory=Counter, init=False)
    _clients: set[ClientStream] = attrs.field(factory=set, init=False)
    _all_gone: trio.Event = attrs.field(factory=trio.Event, init=False)
    _stopping: trio.Event = attrs.field(factory=trio.Event, init=False)
    _context: WorkerContext = attrs.field(factory=lambda: WorkerContext(None), init=False)
    _config: HypercornConfig = attrs.field(init=False)
    _requests: RequestQueue = attrs.field(factory=lambda: RequestQueue(_AT_ONCE), init=False)
    _operators: RequestQueue = attrs.field(factory=lambda: RequestQueue(_OPERATORS_AT_ONCE), init=False)

    def __attrs_post_init__(self) -> None:
        self._config = _hypercorn_config()
        self.metrics.http_requests = self._requests

    async def serve(self, listening: socket.socket, started: Callable[[], None]) -> None:
        """Serves a listening socket until cancelled; then gives what is under way its grace, and ends.

        Owns the socket. Calls `started` once clients are accepted.
        """
        listener = trio.socket.from_stdlib_socket(listening)
        with listener:
            await self._accept_all(listener, started)

    async def _accept_all(self, listener: trio.socket.SocketType, started: Callable[[], None]) -> None:
        async with trio.open_nursery() as nursery:
            opened: list[trio.Nursery] = []
            is_open = trio.Event()
            # Not `nursery.start`: cancelled in there, it would wait for a task that waits for `_stopping`.
            nursery.start_soon(self._keep, opened, is_open)
            try:
                await is_open.wait()
                started()
                while True:
                    accepted, _ = await accept(listener, self._count_refused)
                    opened[0].start_soon(self._serve_client, trio.SocketStream(accepted))
            finally:
                self._stopping.set()

    def _count_refused(self) -> None:
        self.metrics.refused_connections += 1

    async def _keep(self, opened: list[trio.Nursery], is_open: trio.Event) -> None:
        # Shielded, so that a cancelled server still gives answers under way their grace, which is bounded.
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as clients_nursery:
                clients_nursery.start_soon(self._requests.run)
                clients_nursery.start_soon(self._operators.run)
                opened.append(clients_nursery)
                is_open.set()
                await self._stopping.wait()
                await self._context.terminated.set()  # idle connections close at once
                if self._clients:
                    with trio.move_on_after(GRACE_SECONDS):
                        await self._all_gone.wait()
                clients_nursery.cancel_scope.cancel()
                for client in self._clients:
                    client.cut()

    async def _serve_client(self, stream: trio.SocketStream) -> None:
        address = _client_address(stream.socket)
        if len(self._clients) >= self.most or self._of_address[address] >= self.most_per_address:
            self._count_refused()
            stream.socket.close()
            return
        client = ClientStream(stream)
        server = ClientServer(self.app, self._config, self._context, client, (self._requests, self._operators))
        self._clients.add(client)
        self._of_address[address] += 1
        self.metrics.open_connections += 1
        try:
            await server.run()
        except* Exception as errors:  # noqa: BLE001 (the reason stands below)
            # The application's errors never come here: this is the server library stumbling over what one client
            # sent, of whatever type that is. It costs the client its connection, and nobody else anything, a line in
            # the log included.
            self.metrics.broken_connections += 1
            log.debug("bug in the HTTP server", kinds=sorted({type(error).__name__ for error in _leaves(errors)}))
        finally:
            client.cut()
            self._clients.discard(client)
            self._of_address[address] -= 1
            if not self._of_address[address]:
                del self._of_address[address]
            self.metrics.open_connections -= 1
            if self._stopping.is_set() and not self._clients:
                self._all_gone.set()


def _client_address(connected: trio.socket.SocketType) -> str:
    """Whom a connection counts for: an IPv4 address, or a /64 of IPv6, which one client has as a whole.

    All clients of a Unix socket are one, and so are clients that have left already.
    """
    if connected.family == socket.AF_UNIX:
        return ""
    try:
        host = str(connected.getpeername()[0])
    except OSError:
        return ""
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.version == 4:
        return host
    return str(address.ipv4_mapped or ipaddress.IPv6Network((address, 64), strict=False))


def listen_on(family: socket.AddressFamily, address: tuple[str, int] | str) -> socket.socket:
    """A socket that listens on an address. OSError as the system gives it."""
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family != socket.AF_UNIX:
            # A restarted node takes its port over from connections in TIME_WAIT.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def _hypercorn_config() -> HypercornConfig:
    config = HypercornConfig()
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    # Hypercorn ends a connection after 1000 requests; a busy client would see a lost request now and then.
    config.keep_alive_max_requests = 10**9
    config.h2_max_concurrent_streams = 32
    config.websocket_max_message_size = 1  # there are no websockets here
    return config


def _leaves(group: BaseExceptionGroup[Exception]) -> list[Exception]:
    leaves: list[Exception] = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves
