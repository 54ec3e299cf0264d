"""Messages over TCP, inbound: a 4-byte big-endian length, then so many bytes; answers go back the same way.

Rules of this file: everybody can connect, so each connection is bounded in number, size and time, and what it does
never reaches another one. There are two classes of places. A connection is a stranger's until its conversation says
that its peer is a member; strangers have one half of the places at most, so the other half is for members alone. Where
no stranger's place is free, a connection from the ip of a member has a member's place until its peer has proven a key.
A message has to keep a least rate, in both directions. When the places of a class are full, an idle connection of that
class makes room for a new one, or else one that is behind that rate: the slowest of the source that has most of these
places, so a source with one connection loses it last. A connection that keeps the rate never makes room, and neither
does one that waits for this node. A length is checked before anything is allocated, and memory grows with what has
arrived, not with what was promised. Every connection turned away is counted. Nothing here looks inside a message.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import attrs
import trio

from camomile_trio.accepting import accept
from camomile_trio.errors import ConfigError
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.networks import source_network
from camomile_trio.transport.base import Conversation, Inbound, TransportStatistics
from camomile_trio.transport.sockaddr import from_sockaddr

LENGTH_BYTES = 4
_MOST_AHEAD = 1.0  # s that quick bytes are good for: no peer pays with a burst for a long silence
_CHUNK = 64 * 1024  # the most asked of the system at once: what a liar's promise can make us allocate


@attrs.frozen(kw_only=True)
class StreamLimits:
    """The bounds of streams. Sizes in bytes, times in seconds."""

    # Until a connection to a peer stands. Short: links that lose packets fail. Long: a firewall that drops TCP is
    # noticed late.
    connect: float = attrs.field(default=4.0)
    # To the first byte of each message until the peer has proven its key. Short: distant peers fail. Long: silent
    # connections keep their places.
    first_byte: float = attrs.field(default=2.0)
    # Bytes a second at which a message has to come in, and an answer to be taken. High: slow links fail. Low: slow
    # peers hold places.
    least_rate: int = attrs.field(default=2**16)
    # How far behind that rate it may fall before it is given up. Short: links that lose packets fail. Long: as above.
    stall: float = attrs.field(default=5.0)
    # How far behind it makes room for a newcomer when the places are full. Short: a burst of messages displaces those
    # that this node has had no time to read. Long: newcomers that send nothing hold all places for so long.
    makes_room: float = attrs.field(default=0.02)
    # Connections of strangers from one ip (one /64 of IPv6), those of one member, and exchanges at once with one peer.
    # Small: nodes that share an address are in each other's way. Large: one peer can take all places.
    per_peer: int = attrs.field(default=8)
    # Connections of strangers from one source network (kademlia/networks.py). Small: newcomers of one data centre are
    # in each other's way. As large as half of `total`: one network can take all places of strangers.
    per_network: int = attrs.field(default=16)
    # Inbound connections in all. Half of them, and the odd one, are for strangers, the others for members only.
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

    @property
    def most_strangers(self) -> int:
        return self.total - self.total // 2

    @classmethod
    def within(cls, most: int) -> StreamLimits:
        """The limits of connections that take at most three in five of `most` descriptors: two for inbound ones, one
        for idle ones. The rest is for exchanges, which are bounded by those who ask for them."""
        usual = cls()
        total = min(usual.total, most * 2 // 5)
        return attrs.evolve(
            usual,
            total=total,
            per_network=min(usual.per_network, (total + 3) // 4),
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
    conversation: Conversation
    limits: StreamLimits
    source: bytes  # what counts as one address
    network: bytes  # its source network; empty for loopback
    has_members_place: bool = False
    is_unproven: bool = True  # its peer has proven no key yet
    idle_since: float | None = None  # set while it waits for a further message of a peer that has proven itself
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
                connection = self._admit(accepted, from_sockaddr(address), inbound)
                if connection is not None:
                    nursery.start_soon(self._converse, connection)

    def close_ended(self) -> None:
        """Closes the connections whose conversations are over, whatever they are doing."""
        for connection in [connection for connection in self._connections if connection.conversation.is_over]:
            self._release(connection)

    def _count_refused(self) -> None:
        self._statistics.streams_refused += 1

    def _admit(self, accepted: trio.socket.SocketType, source: Endpoint, inbound: Inbound) -> _Connection | None:
        # One who has one IPv6 address has its whole /64.
        ip = source.ip if source.is_ipv4 else source.ip[:8]
        network = source_network(source.ip)
        conversation = inbound.on_connection(source)
        is_strangers = self._has_strangers_place(ip, network)
        if not (is_strangers or (conversation.is_from_member and self._has_members_place(ip))):
            accepted.close()
            self._count_refused()
            return None
        stream = trio.SocketStream(accepted)
        connection = _Connection(stream, conversation, self._limits, ip, network, has_members_place=not is_strangers)
        connection.begin()
        self._connections.append(connection)
        self._statistics.streams_in += 1
        self._statistics.stream_connections += 1
        return connection

    def _has_strangers_place(self, ip: bytes, network: bytes) -> bool:
        """Whether one more stranger may come, and be it that another one makes room."""
        strangers = [connection for connection in self._connections if not connection.has_members_place]
        limits = self._limits
        crowds = (
            (limits.per_peer, [other for other in strangers if other.source == ip]),
            (limits.per_network, [other for other in strangers if other.network == network != b""]),
            (limits.most_strangers, strangers),
        )
        for most, crowd in crowds:
            if len(crowd) >= most:
                # What makes room here was in the larger crowds as well.
                return self._makes_room(crowd)
        # Members may use what strangers leave free, and give it back: a full house has more members than their half.
        return len(self._connections) < limits.total or self._makes_room(self._of_members())

    def _has_members_place(self, ip: bytes) -> bool:
        """Whether one more connection may come from a member's ip, which has yet to prove that it is that member's."""
        members, limits = self._of_members(), self._limits
        unproven = [connection for connection in members if connection.is_unproven and connection.source == ip]
        if len(unproven) >= limits.per_peer:
            return self._makes_room(unproven)
        return len(self._connections) < limits.total or self._makes_room(members)

    def _of_members(self) -> list[_Connection]:
        return [connection for connection in self._connections if connection.has_members_place]

    def _on_proven(self, connection: _Connection) -> bool:
        """The peer of a connection has proven its key. If it is a member with not too many connections, this one has a
        member's place. Whether it has any place still."""
        had_members_place, peer = connection.has_members_place, connection.conversation.peer
        connection.is_unproven = connection.has_members_place = False
        if connection.conversation.is_member:
            own = [each for each in self._of_members() if each.conversation.peer == peer]
            connection.has_members_place = len(own) < self._limits.per_peer or self._makes_room(own)
        return connection.has_members_place or not had_members_place

    def _makes_room(self, crowd: list[_Connection]) -> bool:
        """Whether one of these has been closed for another one."""
        # One that is idle loses nothing: its peer opens another when it has something to say.
        if idle := [connection for connection in crowd if connection.idle_since is not None]:
            self._release(min(idle, key=lambda connection: connection.idle_since or 0.0))
            return True
        now = trio.current_time()
        slow = [connection for connection in crowd if connection.behind(now) > self._limits.makes_room]
        if not slow:
            return False
        places = Counter(connection.source for connection in crowd)
        self._release(max(slow, key=lambda connection: (places[connection.source], connection.behind(now))))
        self._count_refused()
        return True

    def _release(self, connection: _Connection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
            self._statistics.stream_connections -= 1
            connection.stream.socket.close()

    async def _converse(self, connection: _Connection) -> None:
        conversation = connection.conversation
        try:
            message = await self._receive(connection)
            while message is not None:
                answer = await conversation.answer(message)
                has_place = True
                is_settled = not connection.is_unproven and connection.has_members_place == conversation.is_member
                if conversation.peer and not is_settled:
                    has_place = self._on_proven(connection)
                if not answer or not await self._send(connection, answer):
                    return
                if not has_place:
                    return  # it is no member, or has lost its seat in the table, and with it its place
                if conversation.peer:
                    connection.idle_since = trio.current_time()
                else:
                    connection.begin()
                message = await self._receive(connection)
        finally:
            self._release(connection)

    async def _receive(self, connection: _Connection) -> bytes | None:
        """The next message; None when there is none to come, or none that is acceptable."""
        is_idle = connection.idle_since is not None
        header = b""
        try:
            with trio.move_on_after(self._limits.idle if is_idle else self._limits.first_byte) as waiting:
                header = await connection.stream.receive_some(LENGTH_BYTES)
            if not header:
                if not is_idle and waiting.cancelled_caught:
                    self._count_refused()
                return None
            if is_idle:
                connection.begin()
            with connection.under_way:
                message = await self._receive_rest(connection, header)
                if message:
                    connection.wait_for_us()
                    self._statistics.bytes_in += len(message)
                    return message
            self._count_refused()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # reset by the peer, or closed by this node to make room
        return None

    async def _receive_rest(self, connection: _Connection, header: bytes) -> bytes:
        """The message whose length begins with `header`; empty if that length is out of bounds or a lie."""
        connection.move(len(header))
        header += await receive_up_to(connection.stream, LENGTH_BYTES - len(header), connection.move)
        length = int.from_bytes(header, "big")
        if len(header) < LENGTH_BYTES or length > connection.conversation.most_bytes:
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
