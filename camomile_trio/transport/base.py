"""The seam between a node and its network.

Rules of this file: types only. A transport moves datagrams (which may be lost, doubled, reordered) and, for what does
not fit into one, whole messages over connections. It never looks inside them: each end of a connection has an object
(`Caller`, `Conversation`) that seals and opens them and knows whose they are. Sending a datagram never waits; receiving
one is a plain call into the node, so that no task and no queue stands between the socket and the handler. Those that
are there at one moment are a turn, of which the node hears the beginning and the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs
import trio

from camomile_trio.kademlia.contacts import Endpoint

MAX_DATAGRAM = 65_507  # the largest payload of UDP over IPv4: what we receive
MAX_SENT_DATAGRAM = 1232  # 1280 of IPv6 less its headers: what we send


@attrs.define
class TransportStatistics:
    """Counters since the start. Drops are never silent: each kind has one."""

    datagrams_in: int = 0
    datagrams_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    dropped_in: int = 0  # too much had come: of their source or in all, and they were of no session
    dropped_out: int = 0  # the socket's buffer was full, or the system refused the address
    streams_in: int = 0
    streams_out: int = 0
    streams_refused: int = 0  # over a bound, too slow, lying about a length
    stream_connections: int = 0  # open now
    send_errors: int = 0


class Conversation(Protocol):
    """The accepting side of one connection. `answer` is called with one message after another, and never twice at once.

    The first message and its answer only begin it. So a peer has proven itself with its second one at the earliest.
    """

    @property
    def most_bytes(self) -> int:
        """How long the next message may be. Small as long as nothing is proven: anybody can make a node wait for it."""

    @property
    def peer(self) -> bytes:
        """The key that the peer has proven in this connection; empty before."""

    @property
    def is_member(self) -> bool:
        """Whether the peer has proven the key of a member of the routing table. Only then it has a member's place."""

    @property
    def is_from_member(self) -> bool:
        """Whether a member of the routing table lives at the ip that the connection comes from. It may be the member's,
        and can have a member's place until its peer has proven a key."""

    @property
    def is_over(self) -> bool:
        """Whether what this connection was begun under is accepted no more."""

    async def answer(self, message_untrusted: bytes) -> bytes | None:
        """What goes back over the connection; None closes it. Raises nothing."""


class Caller(Protocol):
    """The asking side of one connection."""

    @property
    def most_bytes(self) -> int:
        """How long the next answer may be."""

    @property
    def is_over(self) -> bool:
        """As with a conversation."""

    def first(self) -> bytes:
        """The first message."""

    def on_first(self, answer_untrusted: bytes) -> None:
        """Its answer. TransportError if it is not the peer's."""

    async def sealed(self, message: bytes) -> bytes:
        """A further message, as it travels. All of it has to be sent, before the next one is sealed."""

    async def opened(self, answer_untrusted: bytes) -> bytes:
        """The answer to a further message. TransportError if it is not the peer's."""


class Inbound(Protocol):
    """What a transport calls when something arrives."""

    def on_datagram(self, datagram_untrusted: bytes, source: Endpoint) -> None:
        """A datagram came from `source` (an address that nobody has proven). Must not block or raise."""

    def is_expected(self, datagram_untrusted: bytes, source: Endpoint) -> bool:
        """Whether the datagram names a secret that this node shares with exactly this source: a session's index.

        Asked only where more arrives than can be handled (`shares.py`), and cheap: nothing is decrypted.
        """

    def has_session_at(self, prefix: bytes) -> bool:
        """Whether a peer has a session at an address that begins so: 4 bytes are an IPv4 address, 8 an IPv6 network."""

    def on_turn_begin(self) -> None:
        """Datagrams are about to be handed over, before the other tasks have their turn."""

    def on_turn_end(self) -> None:
        """They were, all of this turn. What was decided about them can be written at once, and answered. Comes after
        each `on_turn_begin`, also where `on_datagram` has raised."""

    def on_connection(self, source: Endpoint) -> Conversation:
        """A connection came. The ip of `source` is proven by the handshake of TCP; its port is nobody's endpoint."""


class Transport(Protocol):
    """A bound way to send and receive. Open it as an async context manager; `serve` runs in the node's nursery."""

    @property
    def endpoint(self) -> Endpoint:
        """Where it is bound: the real port, even when port 0 was asked for."""

    @property
    def statistics(self) -> TransportStatistics: ...

    def send(self, datagram: bytes, to: Endpoint) -> bool:
        """Sends now or not at all, and never waits. False: dropped, and counted."""

    async def exchange(self, message: bytes, to: Endpoint, *, peer: bytes, caller: Callable[[], Caller]) -> bytes:
        """Sends `message` over a connection to `to` and returns the answer.

        Connections are kept for a while and used again by exchanges with the same `to` and `peer`: bytes that stand for
        all that a connection depends on. For each new one `caller` is called once. TransportError when the peer cannot
        be reached, closes, or answers what its caller refuses. No deadline of its own: who asks has one. When a kept
        connection turns out closed, the message is sent once more over a new one, so a peer may see it twice.
        """

    def close_ended(self) -> None:
        """Closes all connections whose caller or conversation says that it is over; exchanges over them fail."""

    async def serve(self, inbound: Inbound, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Receives until it is cancelled. Calls `task_status.started()` once both ways in are open."""
