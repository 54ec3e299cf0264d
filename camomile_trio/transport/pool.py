"""Messages over TCP, outbound: one exchange at a time per connection, connections kept for a while and used again.

Rules of this file: a connection goes back into the pool only after a whole answer; whatever else happens to an
exchange, cancellation included, closes it. A connection is used again only with the peer that it was begun with; what
goes over it is sealed and opened by its `Caller`. Errors of sockets leave as TransportError. Only connecting has a
deadline here: for the rest the exchange's own caller has one.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
from collections.abc import Callable

import attrs
import trio

from camomile_trio.errors import TransportError
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.transport.base import Caller, TransportStatistics
from camomile_trio.transport.sockaddr import from_sockaddr, keep_segments_small, to_sockaddr
from camomile_trio.transport.stream import LENGTH_BYTES, StreamLimits, framed, receive_up_to


@attrs.define(eq=False)
class _Connection:
    """A connection that stands, and who it is with."""

    stream: trio.SocketStream
    to: Endpoint
    peer: bytes
    caller: Caller
    idle_since: float = math.inf
    is_used: bool = False  # a message has been answered over it


@attrs.define(eq=False)
class StreamPool:
    """Connections to peers. `source_ip` says which address (packed) a peer is to see; None leaves it to the system."""

    _source_ip: Callable[[Endpoint], bytes | None]
    _limits: StreamLimits
    _statistics: TransportStatistics
    _idle: list[_Connection] = attrs.field(init=False, factory=list)  # the longest idle first
    _open: dict[_Connection, None] = attrs.field(init=False, factory=dict)
    _turns: dict[Endpoint, trio.CapacityLimiter] = attrs.field(init=False, factory=dict)
    _exchanges: int = attrs.field(init=False, default=0)
    _first_idle: trio.Event = attrs.field(init=False, factory=trio.Event)
    _closed: bool = attrs.field(init=False, default=False)

    async def exchange(self, message: bytes, to: Endpoint, *, peer: bytes, caller: Callable[[], Caller]) -> bytes:
        """Sends `message` to the peer and returns its answer; TransportError when there is none.

        A peer gets at most `per_peer` exchanges at once, as many as it accepts from one address; more wait their turn.
        """
        if self._closed:
            raise TransportError(f"cannot reach {to} by TCP: the transport is closed")
        if self._exchanges >= self._limits.max_exchanges:
            raise TransportError(f"{self._exchanges} exchanges are under way already", remedy="repeat it later")
        turns = self._turns.setdefault(to, trio.CapacityLimiter(self._limits.per_peer))
        self._exchanges += 1
        try:
            async with turns:
                return await self._exchange(message, to, peer, caller)
        finally:
            self._exchanges -= 1
            if not turns.borrowed_tokens and not turns.statistics().tasks_waiting:
                self._turns.pop(to, None)

    async def _exchange(self, message: bytes, to: Endpoint, peer: bytes, caller: Callable[[], Caller]) -> bytes:
        connection = self._take(to, peer)
        if connection is not None:
            answer = await self._ask(connection, message)
            if answer is not None:
                return answer
        connection = _Connection(await self._connect(to), to, peer, caller())
        self._open[connection] = None
        self._statistics.streams_out += 1
        self._statistics.stream_connections += 1
        await self._begin(connection)
        answer = await self._ask(connection, message)
        if answer is None:
            raise TransportError(f"{to} closed the stream without an answer")
        return answer

    async def _begin(self, connection: _Connection) -> None:
        """The first message and its answer, or the connection is closed."""
        is_begun = False
        try:
            answer_untrusted = await self._talk(connection, connection.caller.first())
            if answer_untrusted is None:
                raise TransportError(f"{connection.to} closed the stream without an answer to its first message")
            connection.caller.on_first(answer_untrusted)
            is_begun = True
        finally:
            if not is_begun:
                self._drop(connection)

    async def _ask(self, connection: _Connection, message: bytes) -> bytes | None:
        """The answer. None: the peer had closed a kept connection, which is closed now."""
        answer: bytes | None = None
        try:
            answer_untrusted = await self._talk(connection, await connection.caller.sealed(message))
            if answer_untrusted is not None:
                answer = await connection.caller.opened(answer_untrusted)
                connection.is_used = True
            return answer
        finally:
            if answer is None:
                self._drop(connection)
            else:
                self._keep(connection)

    async def _talk(self, connection: _Connection, message: bytes) -> bytes | None:
        """None: the peer closed before a byte of an answer. A kept connection may just have been too old for it."""
        stream, to = connection.stream, connection.to
        header = b""
        try:
            await stream.send_all(framed(message))
            self._statistics.bytes_out += len(message)
            header = await receive_up_to(stream, LENGTH_BYTES)
            if not header:
                return None
            if len(header) < LENGTH_BYTES:
                raise TransportError(f"{to} closed the stream after {len(header)} of {LENGTH_BYTES} bytes of a length")
            length, most = int.from_bytes(header, "big"), connection.caller.most_bytes
            if not 0 < length <= most:
                raise TransportError(f"{to} answered with a length of {length} bytes, not 1 to {most}")
            answer_untrusted = await receive_up_to(stream, length)
            if len(answer_untrusted) < length:
                raise TransportError(f"{to} closed the stream after {len(answer_untrusted)} of {length} bytes")
            self._statistics.bytes_in += length
            return answer_untrusted
        except trio.BrokenResourceError as error:
            if connection.is_used and not header:
                return None
            raise TransportError(f"the stream to {to} broke: {error.__cause__ or error}") from error
        except trio.ClosedResourceError as error:
            raise TransportError(f"the stream to {to} was closed by this node") from error

    async def _connect(self, to: Endpoint) -> trio.SocketStream:
        family = socket.AF_INET if to.is_ipv4 else socket.AF_INET6
        failure = ""
        connecting: trio.socket.SocketType | None = None
        is_connected = False
        try:
            connecting = trio.socket.socket(family, socket.SOCK_STREAM)
            keep_segments_small(connecting)
            source_ip = self._source_ip(to)
            if source_ip is not None and len(source_ip) == len(to.ip):
                # An address that is ours no longer cannot be bound: then the system chooses.
                with contextlib.suppress(OSError):
                    await connecting.bind(to_sockaddr(Endpoint.of(source_ip, 0), family))
            with trio.move_on_after(self._limits.connect) as waiting:
                await connecting.connect(to_sockaddr(to, family))
            if self._closed:
                failure = "the transport was closed"
            elif waiting.cancelled_caught:
                failure = f"no answer within {self._limits.connect:g} s"
            elif from_sockaddr(connecting.getsockname()) == to:
                # A connection to a free port of this machine meets itself, when the system picks that port for it.
                failure = "nobody listens there"
            is_connected = not failure
        except OSError as error:
            failure = os.strerror(error.errno) if error.errno else str(error)
        finally:
            if connecting is not None and not is_connected:
                connecting.close()
        if failure or connecting is None:
            raise TransportError(f"cannot reach {to} by TCP: {failure}")
        return trio.SocketStream(connecting)

    def _take(self, to: Endpoint, peer: bytes) -> _Connection | None:
        """The connection to `peer` that was used last, if that has not closed it meanwhile."""
        for kept in [kept for kept in reversed(self._idle) if kept.to == to and kept.peer == peer]:
            self._idle.remove(kept)
            # Nothing is to come on an idle connection: what can be read is its end, or babble.
            if not kept.stream.socket.is_readable():
                return kept
            self._drop(kept)
        return None

    def _keep(self, connection: _Connection) -> None:
        if self._closed or not self._limits.max_idle_outbound or connection not in self._open:
            self._drop(connection)
            return
        if len(self._idle) >= self._limits.max_idle_outbound:
            self._drop(self._idle.pop(0))
        connection.idle_since = trio.current_time()
        self._idle.append(connection)
        self._first_idle.set()

    def _drop(self, connection: _Connection) -> None:
        if connection in self._open:
            del self._open[connection]
            self._statistics.stream_connections -= 1
        connection.stream.socket.close()

    async def close_idle(self) -> None:
        """A task: closes what has been idle for `limits.idle` seconds, until it is cancelled."""
        while True:
            if not self._idle:
                self._first_idle = trio.Event()
                await self._first_idle.wait()
            # It may be taken out and put back while we sleep; then it is no longer due.
            await trio.sleep_until(self._idle[0].idle_since + self._limits.idle if self._idle else trio.current_time())
            due = trio.current_time() - self._limits.idle
            while self._idle and self._idle[0].idle_since <= due:
                self._drop(self._idle.pop(0))

    def close_ended(self) -> None:
        """Closes the connections whose callers are over, those in use as well: their exchanges fail."""
        self._idle = [connection for connection in self._idle if not connection.caller.is_over]
        for connection in [connection for connection in self._open if connection.caller.is_over]:
            self._drop(connection)

    def close(self) -> None:
        """Closes every connection, those in use as well: their exchanges fail."""
        self._closed = True
        self._idle.clear()
        for connection in list(self._open):
            self._drop(connection)
