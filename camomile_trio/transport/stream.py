"""Messages over TCP, inbound: a 4-byte big-endian length, then so many bytes; answers go back the same way.

Rules of this file: everybody can connect, so each connection is bounded in number, size and time, and what it does
never reaches another one. A message has to keep a least rate, in both directions. When the places are full, an idle
connection makes room for a new one, or else the one that is furthest behind that rate. A connection that keeps the rate
never makes room, and neither does one that waits for this node. A length is checked before anything is allocated, and
memory grows with what has arrived, not with what was promised. Every connection turned away is counted. Nothing here
looks inside a message.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs
import trio

from camomile_trio.accepting import accept
from camomile_trio.errors import ConfigError
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.networks import source_network
from camomile_trio.transport.base import Inbound, TransportStatistics
from camomile_trio.transport.sockaddr import from_sockaddr

LENGTH_BYTES = 4
_MOST_AHEAD = 1.0  # s that quick bytes are good for: no peer pays with a burst for a long silence
_CHUNK = 64 * 1024  # the most asked of the system at once: what a liar's promise can make us allocate


@attrs.frozen(kw_only=True)
class StreamLimits:
    """The bounds of streams. Sizes in bytes, times in seconds."""

    # The longest message accepted. Small: large values cannot come in. Large: `total` times as much memory at worst.
    max_message: int = attrs.field(default=2**20 + 2**16)
    # Until a connection to a peer stands. Short: links that lose packets fail. Long: a firewall that drops TCP is
    # noticed late.
    connect: float = attrs.field(default=4.0)
    # From accepting a connection to its first byte. Long: silent connections keep their places.
    first_byte: float = attrs.field(default=2.0)
    # Bytes a second at which a message has to come in, and an answer to be taken. High: slow links fail. Low: slow
    # peers hold places.
    least_rate: int = attrs.field(default=2**16)
    # How far behind that rate it may fall before it is given up. Short: links that lose packets fail. Long: as above.
    stall: float = attrs.field(default=5.0)
    # How far behind it makes room for a newcomer when the places are full. Short: a burst of messages displaces those
    # that this node has had no time to read. Long: newcomers that send nothing hold all places for so long.
    makes_room: float = attrs.field(default=0.02)
    # Connections from one ip (one /64 of IPv6), and exchanges at once with one peer. Small: nodes that share an address
    # are in each other's way. Large: one peer can take all places.
    per_peer: int = attrs.field(default=8)
    # Inbound connections from one source network (kademlia/networks.py). Small: nodes of one data
    # centre are in each other's way. As large as `total`: one network can take all places.
    per_network: int = attrs.field(default=32)
    # Inbound connections in all.
    total: int = attrs.field(default=64)
    # A connection without traffic is kept so long for a further message. Short: handshakes. Long: descriptors.
    idle: float = attrs.field(default=30.0)
    # Idle connections that we keep to others, in all.
    max_idle_outbound: int = attrs.field(default=32)
    # Exchanges that we have under way or waiting for their turn, in all; past that they fail at once.
    max_exchanges: int = attrs.field(default=1024)

    def __attrs_post_init__(self) -> None:
        for name, value in attrs.asdict(self).items():
            if not (value > 0 or (value == 0 and name == "max_idle_outbound")):
                raise ConfigError(f"{name} is {value}", remedy=f"choose a {name.replace('_', ' ')} above 0")
        if self.max_message >= 2 ** (8 * LENGTH_BYTES):
            raise ConfigError(
                f"max_message is {self.max_message}", remedy="choose less than 4 GiB: a length has 32 bits"
            )

    @classmethod
    def within(cls, most: int, *, max_message: int) -> StreamLimits:
        """The limits of streams that take at most three in five of `most` descriptors: two for inbound ones, one for
        idle ones. The rest is for exchanges, which are bounded by those who ask for them."""
        usual = cls(max_message=max_message)
        total = min(usual.total, most * 2 // 5)
        return attrs.evolve(
            usual,
            total=total,
            per_network=min(usual.per_network, (total + 1) // 2),
            max_idle_outbound=min(usual.max_idle_outbound, most // 5),
        )


DEFAULT_LIMITS = StreamLimits()


def framed(message: bytes) -> bytes:
    """The message as it travels: behind its length."""
    return len(message).to_bytes(LENGTH_BYTES, "big") + message


async def receive_up_to(
    stream: trio.SocketStream, count: int, on_moved: Callable[[int], object] | None = None
) -> bytes:
    """`count` bytes, or fewer if the peer ends the stream before. `on_moved` is told of each piece, how long it is."""
    received = bytearray()
    while len(received) < count:
        chunk = await stream.receive_some(min(count - len(received), _CHUNK))
        if not chunk:
            break
        received += chunk
        if on_moved is not None:
            on_moved(len(chunk))
    return bytes(received)


@attrs.define(eq=False)
class _Connection:
    """One accepted connection, and how its peer keeps up with the message that is under way."""

    stream: trio.SocketStream
    source: Endpoint
    limits: StreamLimits
    peer: bytes  # what counts as one address
    network: bytes  # its source network; empty for loopback
    idle_since: float | None = None  # set while it waits for a further message
    # The time until which the bytes so far keep the least rate; no end while the message waits for this node.
    _kept_until: float = math.inf
    under_way: trio.CancelScope = attrs.field(factory=trio.CancelScope)  # ends a message that is too far behind

    def begin(self) -> None:
        """The peer's part begins: to send a message, or to take one."""
        self.idle_since = None
        self.under_way = trio.CancelScope()
        self._kept_until = trio.current_time()
        self.move(0)

    def move(self, count: int) -> None:
        """So many bytes more have come, or were taken."""
        kept_until = self._kept_until + count / self.limits.least_rate
        self._kept_until = min(kept_until, trio.current_time() + _MOST_AHEAD)
        self.under_way.deadline = self._kept_until + self.limits.stall

    def wait_for_us(self) -> None:
        """The message is there; what follows is this node's part."""
        self._kept_until = math.inf

    def behind(self, now: float) -> float:
        """How many seconds the peer is behind the least rate; negative if it keeps it."""
        return now - self._kept_until


@attrs.define(eq=False)
class StreamServer:
    """Accepts connections on a listening socket and answers the messages that come over them."""

    _listener: trio.socket.SocketType
    _limits: StreamLimits
    _statistics: TransportStatistics
    _connections: list[_Connection] = attrs.field(init=False, factory=list)

    async def serve(self, inbound: Inbound) -> None:
        """Accepts until it is cancelled; its connections end with it."""
        async with trio.open_nursery() as nursery:
            while True:
                accepted, address = await accept(self._listener, self._count_refused)
                connection = self._admit(accepted, from_sockaddr(address))
                if connection is not None:
                    nursery.start_soon(self._converse, connection, inbound)

    def _count_refused(self) -> None:
        self._statistics.streams_refused += 1

    def _admit(self, accepted: trio.socket.SocketType, source: Endpoint) -> _Connection | None:
        # Whoever has one IPv6 address has its whole /64.
        peer = source.ip if source.is_ipv4 else source.ip[:8]
        network = source_network(source.ip)
        if not (
            self._has_room(self._limits.per_peer, lambda other: other.peer == peer)
            and self._has_room(self._limits.per_network, lambda other: other.network == network != b"")
            and self._has_room(self._limits.total, lambda other: True)
        ):
            accepted.close()
            self._count_refused()
            return None
        connection = _Connection(trio.SocketStream(accepted), source, self._limits, peer, network)
        connection.begin()
        self._connections.append(connection)
        self._statistics.streams_in += 1
        self._statistics.stream_connections += 1
        return connection

    def _has_room(self, most: int, is_counted: Callable[[_Connection], bool]) -> bool:
        """Whether one more of those that `is_counted` chooses may come, and be it that another one makes room."""
        crowd = [connection for connection in self._connections if is_counted(connection)]
        if len(crowd) < most:
            return True
        # One that is idle loses nothing: its peer opens another when it has something to say.
        if idle := [connection for connection in crowd if connection.idle_since is not None]:
            self._release(min(idle, key=lambda connection: connection.idle_since or 0.0))
            return True
        now = trio.current_time()
        slowest = max(crowd, key=lambda connection: connection.behind(now))
        if slowest.behind(now) <= self._limits.makes_room:
            return False
        self._release(slowest)
        self._count_refused()
        return True

    def _release(self, connection: _Connection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
            self._statistics.stream_connections -= 1
            connection.stream.socket.close()

    async def _converse(self, connection: _Connection, inbound: Inbound) -> None:
        try:
            message = await self._receive(connection)
            while message is not None:
                answer = await inbound.on_stream_message(message, connection.source)
                if not answer or not await self._send(connection, answer):
                    return
                connection.idle_since = trio.current_time()
                message = await self._receive(connection)
        finally:
            self._release(connection)

    async def _receive(self, connection: _Connection) -> bytes | None:
        """The next message; None when there is none to come, or none that is acceptable."""
        is_first = connection.idle_since is None
        header = b""
        try:
            with trio.move_on_after(self._limits.first_byte if is_first else self._limits.idle) as waiting:
                header = await connection.stream.receive_some(LENGTH_BYTES)
            if not header:
                if is_first and waiting.cancelled_caught:
                    self._count_refused()
                return None
            if not is_first:
                connection.begin()
            with connection.under_way:
                message = await self._receive_rest(connection, header)
                if message:
                    connection.wait_for_us()
                    self._statistics.bytes_in += len(message)
                    return message
            self._count_refused()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # reset by the peer, or closed by `_has_room`
        return None

    async def _receive_rest(self, connection: _Connection, header: bytes) -> bytes:
        """The message whose length begins with `header`; empty if that length is out of bounds or a lie."""
        connection.move(len(header))
        header += await receive_up_to(connection.stream, LENGTH_BYTES - len(header), connection.move)
        length = int.from_bytes(header, "big")
        if len(header) < LENGTH_BYTES or length > self._limits.max_message:
            return b""
        message = await receive_up_to(connection.stream, length, connection.move)
        return message if len(message) == length else b""

    async def _send(self, connection: _Connection, answer: bytes) -> bool:
        try:
            connection.begin()
            with connection.under_way:
                message = memoryview(framed(answer))
                for start in range(0, len(message), _CHUNK):
                    piece = message[start : start + _CHUNK]
                    await connection.stream.send_all(piece)
                    connection.move(len(piece))
                self._statistics.bytes_out += len(answer)
                return True
            self._count_refused()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer went away without waiting for its answer
        return False
