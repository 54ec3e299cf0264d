"""One node's end of a simulated network: what it sends and receives, and what becomes of that while it is paused.

Rules of this file: as the node sees it, this is a transport like any other (`base.py`). How its parcels travel is the
business of `post_office.py`. Nothing here makes a task per datagram; each answer to a stream is one.
"""

from __future__ import annotations

from collections import deque

import attrs
import trio

from camomile_trio.errors import TransportError
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.transport.base import MAX_DATAGRAM, Inbound, TransportStatistics
from camomile_trio.transport.post_office import Exchange, Parcel, PostOffice

FIRST_DYNAMIC_PORT = 49_152  # RFC 6335
_STREAM_PORTS = range(32_768, FIRST_DYNAMIC_PORT)  # the source ports of streams: nobody's endpoint


@attrs.frozen(kw_only=True)
class StreamBounds:
    """The longest message that a stream takes, and the streams that a node answers at once."""

    max_message: int
    max_streams: int


@attrs.define(eq=False)
class MemoryTransport:
    """One node's end of a `MemoryNetwork`. Made by `MemoryNetwork.open`."""

    _post_office: PostOffice
    endpoint: Endpoint
    _bounds: StreamBounds
    statistics: TransportStatistics = attrs.field(init=False, factory=TransportStatistics)
    # Who receives here, and where its answers to streams run; None before and after `serve`.
    _receiver: tuple[Inbound, trio.Nursery] | None = attrs.field(init=False, default=None)
    _is_cut_off: bool = attrs.field(init=False, default=False)
    # Kept in order, as no set would: a crash fails them in the same order in every run.
    _asking: dict[Exchange, None] = attrs.field(init=False, factory=dict)
    _answering: dict[Exchange, None] = attrs.field(init=False, factory=dict)
    # While the node is paused: what has come to it and what it sends, in order.
    _is_paused: bool = attrs.field(init=False, default=False)
    _unread: deque[Parcel] = attrs.field(init=False, factory=deque)
    _unsent: deque[Parcel] = attrs.field(init=False, factory=deque)

    def send(self, datagram: bytes, to: Endpoint) -> bool:
        """Sends now or not at all, and never waits. False: dropped, and counted."""
        if self._is_cut_off or len(datagram) > MAX_DATAGRAM:
            self.statistics.dropped_out += 1
            self.statistics.send_errors += 1
            return False
        self.statistics.datagrams_out += 1
        self.statistics.bytes_out += len(datagram)
        self._send(Parcel(self.endpoint, to, datagram))
        return True

    async def exchange(self, message: bytes, to: Endpoint, *, max_answer: int) -> bytes:
        """Sends `message` over a stream and returns the answer, of 1 to `max_answer` bytes; else TransportError."""
        if self._is_cut_off:
            raise TransportError(f"the transport of {self.endpoint} is closed")
        exchange = Exchange(max_answer)
        self._asking[exchange] = None
        self.statistics.streams_out += 1
        self.statistics.stream_connections += 1
        self.statistics.bytes_out += len(message)
        try:
            self._send(Parcel(self.endpoint, to, message, exchange))
            await exchange.over.wait()
        finally:
            exchange.fail("given up")
            self._post_office.settle(exchange)
            del self._asking[exchange]
            self.statistics.stream_connections -= 1
        if exchange.answer is None:
            raise TransportError(f"no answer over a stream from {to}: {exchange.failure}")
        self.statistics.bytes_in += len(exchange.answer)
        return exchange.answer

    async def serve(self, inbound: Inbound, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Receives until it is cancelled; so do the answers to streams that are being made then."""
        async with trio.open_nursery() as nursery:
            try:
                if not self._is_cut_off:
                    self._receiver = inbound, nursery
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._receiver = None

    def receive(self, due: float, parcel: Parcel) -> None:
        """For the network alone, as the next three: a parcel has arrived here."""
        if self._is_paused:
            self._post_office.wait_in(self._unread, parcel)
        elif parcel.exchange is None:
            self._receive_datagram(due, parcel)
        elif parcel.is_answer:
            self._receive_answer(due, parcel, parcel.exchange)
        else:
            self._receive_message(due, parcel, parcel.exchange)

    def pause(self) -> None:
        """From now on parcels wait, in both directions."""
        self._is_paused = True

    def resume(self) -> None:
        """What waits moves on, in order."""
        self._is_paused = False
        while self._unread:
            self._post_office.arrive(self._unread.popleft())
        while self._unsent:
            self._post_office.leave(self._unsent.popleft())

    def cut_off(self) -> None:
        """Ends all traffic at once. The node's tasks may go on, unheard."""
        self._is_cut_off = True
        self._receiver = None
        for queue in (self._unread, self._unsent):
            while queue:
                self._post_office.return_to_sender(queue.popleft())
        for exchange in (*self._asking, *self._answering):
            exchange.fail("the connection was reset")

    def _send(self, parcel: Parcel) -> None:
        self._post_office.accept(parcel)
        if self._is_paused:
            self._post_office.wait_in(self._unsent, parcel)
        else:
            self._post_office.leave(parcel)

    def _receive_datagram(self, due: float, parcel: Parcel) -> None:
        if self._receiver is None:
            self._post_office.return_to_sender(parcel)
            return
        self.statistics.datagrams_in += 1
        self.statistics.bytes_in += len(parcel.payload)
        self._post_office.receive(due, parcel)
        self._receiver[0].on_datagram(parcel.payload, parcel.source)

    def _receive_message(self, due: float, parcel: Parcel, exchange: Exchange) -> None:
        if self._receiver is None:
            self._post_office.return_to_sender(parcel)
            return
        has_room = len(self._answering) < self._bounds.max_streams
        if not has_room or not 0 < len(parcel.payload) <= self._bounds.max_message:
            self.statistics.streams_refused += 1
            exchange.fail("the peer closed it without an answer")
            return
        inbound, nursery = self._receiver
        # As over TCP: the ip is the asker's, the port is nobody's.
        port = _STREAM_PORTS[self.statistics.streams_in % len(_STREAM_PORTS)]
        source = Endpoint.of(parcel.source.ip, port)
        self.statistics.streams_in += 1
        self.statistics.stream_connections += 1
        self.statistics.bytes_in += len(parcel.payload)
        self._answering[exchange] = None
        self._post_office.receive(due, parcel)
        nursery.start_soon(self._answer, inbound, parcel, exchange, source)

    def _receive_answer(self, due: float, parcel: Parcel, exchange: Exchange) -> None:
        if not parcel.payload:
            exchange.fail("the peer closed it without an answer")
        elif len(parcel.payload) > exchange.max_answer:
            exchange.fail(f"its answer of {len(parcel.payload)} bytes is longer than {exchange.max_answer}")
        else:
            self._post_office.receive(due, parcel)
            exchange.succeed(parcel.payload)

    async def _answer(self, inbound: Inbound, parcel: Parcel, exchange: Exchange, source: Endpoint) -> None:
        answer: bytes | None = None
        try:
            answer = await inbound.on_stream_message(parcel.payload, source)
        finally:
            del self._answering[exchange]
            self.statistics.stream_connections -= 1
            if not self._is_cut_off:
                self.statistics.bytes_out += len(answer or b"")
                self._send(Parcel(self.endpoint, parcel.source, answer or b"", exchange, is_answer=True))
