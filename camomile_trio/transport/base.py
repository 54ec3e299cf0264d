"""The seam between a node and its network.

Rules of this file: types only. A transport moves datagrams (which may be lost, doubled, reordered) and, for what does
not fit into one, whole messages over a stream. It never looks inside them. Sending a datagram never waits; receiving
one is a plain call into the node, so that no task and no queue stands between the socket and the handler.
"""

from __future__ import annotations

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
    dropped_in: int = 0  # unseen: their source had cost more than its share
    dropped_out: int = 0  # the socket's buffer was full, or the system refused the address
    streams_in: int = 0
    streams_out: int = 0
    streams_refused: int = 0  # over a bound, too slow, lying about a length
    stream_connections: int = 0  # open now
    send_errors: int = 0


class Inbound(Protocol):
    """What a transport calls when something arrives. Implemented by `node.rpc`."""

    def on_datagram(self, datagram_untrusted: bytes, source: Endpoint) -> None:
        """A datagram came from `source` (an address that nobody has proven). Must not block or raise."""

    async def on_stream_message(self, message_untrusted: bytes, source: Endpoint) -> bytes | None:
        """A whole message came over a stream; the result goes back over it, None closes the stream without an answer.

        The ip of `source` is proven by the handshake of TCP; its port is nobody's endpoint.
        """


class Transport(Protocol):
    """A bound way to send and receive. Open it as an async context manager; `serve` runs in the node's nursery."""

    @property
    def endpoint(self) -> Endpoint:
        """Where it is bound: the real port, even when port 0 was asked for."""

    @property
    def statistics(self) -> TransportStatistics: ...

    def send(self, datagram: bytes, to: Endpoint) -> bool:
        """Sends now or not at all, and never waits. False: dropped, and counted."""

    async def exchange(self, message: bytes, to: Endpoint, *, max_answer: int) -> bytes:
        """Sends `message` over a stream to `to` and returns the answer, of at most `max_answer` bytes.

        TransportError when the peer cannot be reached, closes, or answers more than that. No deadline of its own: the
        caller has one. Connections are kept for a while and used again.
        """

    async def serve(self, inbound: Inbound, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Receives until it is cancelled. Calls `task_status.started()` once both ways in are open."""
