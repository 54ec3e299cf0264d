"""A whole network in one process: datagrams and streams between nodes, in real or in virtual time.

Rules of this file: as a node sees it, a `MemoryTransport` is a transport like any other (`transport/base.py`). One task
(`MemoryNetwork.run`) delivers everything; no task is made per datagram, and one for each answer to a stream. A
connection is kept and used again as by the real transport, and its end is known at both ends at once. How packets
travel is the business of `delivery.py`. In virtual time the same seed and the same sends give the same deliveries.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator

import attrs
import trio

from camomile_trio.errors import TransportError
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.simulation.delivery import (
    CLOSED,
    Connection,
    Delivery,
    Exchange,
    NetworkStatistics,
    Observer,
    Parcel,
)
from camomile_trio.simulation.links import LinkConditions, Links, require_seconds
from camomile_trio.transport.base import MAX_DATAGRAM, Caller, Conversation, Inbound, TransportStatistics
from camomile_trio.transport.stream import DEFAULT_LIMITS

FIRST_DYNAMIC_PORT = 49_152  # RFC 6335
_STREAM_PORTS = range(32_768, FIRST_DYNAMIC_PORT)  # the source ports of streams: nobody's endpoint


@attrs.define(eq=False)
class MemoryTransport:
    """One node's end of a `MemoryNetwork`. Made by `MemoryNetwork.open`."""

    _delivery: Delivery
    endpoint: Endpoint
    _max_streams: int
    statistics: TransportStatistics = attrs.field(init=False, factory=TransportStatistics)
    # Who receives here, and where its answers to streams run; None before and after `serve`.
    _receiver: tuple[Inbound, trio.Nursery] | None = attrs.field(init=False, default=None)
    _is_cut_off: bool = attrs.field(init=False, default=False)
    # Kept in order, as no set would: a crash fails them in the same order in every run.
    _asking: dict[Exchange, None] = attrs.field(init=False, factory=dict)
    _answering: dict[Exchange, None] = attrs.field(init=False, factory=dict)
    # Connections that this node has made, and those of them that are idle, the longest first; and those of its peers.
    _outbound: dict[Connection, None] = attrs.field(init=False, factory=dict)
    _idle: dict[Connection, None] = attrs.field(init=False, factory=dict)
    _inbound: dict[Connection, None] = attrs.field(init=False, factory=dict)
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

    def forge(self, datagram: bytes, to: Endpoint, *, source: Endpoint) -> None:
        """Sends a datagram that says that it comes from `source`; as any other it may be lost on the way from there."""
        self._send(Parcel(source, to, datagram))

    async def exchange(self, message: bytes, to: Endpoint, *, peer: bytes, caller: Callable[[], Caller]) -> bytes:
        """Sends `message` over a connection and returns the answer; else TransportError.

        A new connection costs two round trips, one that was kept costs one.
        """
        if self._is_cut_off:
            raise TransportError(f"the transport of {self.endpoint} is closed")
        kept = self._take(to, peer)
        if kept is not None:
            answer = await self._ask(kept, message, is_kept=True)
            if answer is not None:
                return answer
        connection = Connection(to, peer, caller())
        self._open(connection, self._outbound)
        self.statistics.streams_out += 1
        await self._begin(connection)
        answer = await self._ask(connection, message, is_kept=False)
        if answer is None:
            raise self._no_answer(to, CLOSED)
        return answer

    def close_ended(self) -> None:
        """Closes all connections whose caller or conversation is over; exchanges over them fail."""
        for connection in list(self._outbound):
            if connection.caller.is_over:
                connection.close()
        for connection in list(self._inbound):
            if connection.conversation is not None and connection.conversation.is_over:
                connection.close()
        for exchange in (*self._asking, *self._answering):
            if not exchange.connection.is_open:
                exchange.fail("the connection was closed")

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
                for connection in list(self._inbound):
                    connection.close()

    def receive(self, due: float, parcel: Parcel) -> None:
        """For the network alone, as the next three: a parcel has arrived here."""
        if self._is_paused:
            self._delivery.wait_in(self._unread, parcel)
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
            self._delivery.arrive(self._unread.popleft())
        while self._unsent:
            self._delivery.leave(self._unsent.popleft())

    def cut_off(self) -> None:
        """Ends all traffic at once. The node's tasks may go on, unheard."""
        self._is_cut_off = True
        self._receiver = None
        for queue in (self._unread, self._unsent):
            while queue:
                self._delivery.return_to_sender(queue.popleft())
        for exchange in (*self._asking, *self._answering):
            exchange.fail("the connection was reset")
        for connection in (*self._outbound, *self._inbound):
            connection.close()

    def _send(self, parcel: Parcel) -> None:
        self._delivery.accept(parcel)
        if self._is_paused:
            self._delivery.wait_in(self._unsent, parcel)
        else:
            self._delivery.leave(parcel)

    def _receive_datagram(self, due: float, parcel: Parcel) -> None:
        if self._receiver is None:
            self._delivery.return_to_sender(parcel)
            return
        self.statistics.datagrams_in += 1
        self.statistics.bytes_in += len(parcel.payload)
        self._delivery.receive(due, parcel)
        inbound = self._receiver[0]
        inbound.on_turn_begin()
        try:
            inbound.on_datagram(parcel.payload, parcel.source)
        finally:
            inbound.on_turn_end()

    # The asking side -------------------------------------------------------------------------------------------------

    async def _begin(self, connection: Connection) -> None:
        """The first message and its answer, or the connection is closed."""
        is_begun = False
        try:
            exchange = await self._talk(connection, connection.caller.first(), is_first=True)
            if exchange.answer is None:
                raise self._no_answer(connection.to, exchange.failure)
            connection.caller.on_first(exchange.answer)
            is_begun = True
        finally:
            if not is_begun:
                connection.close()

    async def _ask(self, connection: Connection, message: bytes, *, is_kept: bool) -> bytes | None:
        """The answer. None: the peer had closed a kept connection, which is closed now."""
        answer: bytes | None = None
        try:
            exchange = await self._talk(connection, await connection.caller.sealed(message), is_first=False)
            if exchange.answer is not None:
                answer = await connection.caller.opened(exchange.answer)
            elif not (is_kept and exchange.failure == CLOSED):
                raise self._no_answer(connection.to, exchange.failure)
            return answer
        finally:
            if answer is None:
                connection.close()
            elif connection.is_open:
                self._keep(connection)

    async def _talk(self, connection: Connection, message: bytes, *, is_first: bool) -> Exchange:
        """One message and its answer, or why there is none."""
        exchange = Exchange(connection, is_first)
        self._asking[exchange] = None
        self.statistics.bytes_out += len(message)
        try:
            self._send(Parcel(self.endpoint, connection.to, message, exchange))
            await exchange.over.wait()
        finally:
            exchange.fail("given up")
            self._delivery.settle(exchange)
            del self._asking[exchange]
        self.statistics.bytes_in += len(exchange.answer or b"")
        return exchange

    def _no_answer(self, to: Endpoint, why: str) -> TransportError:
        return TransportError(f"no answer over a stream from {to}: {why}")

    def _take(self, to: Endpoint, peer: bytes) -> Connection | None:
        """The connection to `peer` that was used last."""
        self._close_idle()
        for kept in reversed(self._idle):
            if kept.to == to and kept.peer == peer:
                del self._idle[kept]
                return kept
        return None

    def _keep(self, connection: Connection) -> None:
        connection.idle_since = trio.current_time()
        self._idle[connection] = None
        self._close_idle()

    def _close_idle(self) -> None:
        """Those idle for too long, and the longest idle of too many. No task does it: an end shows when one is used."""
        long_ago = trio.current_time() - DEFAULT_LIMITS.idle
        for connection in list(self._idle):
            if len(self._idle) <= DEFAULT_LIMITS.max_idle_outbound and connection.idle_since > long_ago:
                return
            connection.close()

    def _open(self, connection: Connection, at: dict[Connection, None]) -> None:
        """It is open at this end, as one of these."""
        at[connection] = None
        self.statistics.stream_connections += 1

        def on_closed() -> None:
            del at[connection]
            self._idle.pop(connection, None)
            self.statistics.stream_connections -= 1

        connection.on_closed.append(on_closed)

    # The accepting side ----------------------------------------------------------------------------------------------

    def _receive_message(self, due: float, parcel: Parcel, exchange: Exchange) -> None:
        if self._receiver is None:
            self._delivery.return_to_sender(parcel)
            return
        inbound, nursery = self._receiver
        connection = exchange.connection
        if exchange.is_first and self._has_room():
            # As over TCP: the ip is the asker's, the port is nobody's.
            port = _STREAM_PORTS[self.statistics.streams_in % len(_STREAM_PORTS)]
            connection.conversation = inbound.on_connection(Endpoint.of(parcel.source.ip, port))
            self._open(connection, self._inbound)
            self.statistics.streams_in += 1
        conversation = connection.conversation
        if conversation is None or connection not in self._inbound:
            self.statistics.streams_refused += exchange.is_first
            exchange.fail(CLOSED)
        elif not 0 < len(parcel.payload) <= conversation.most_bytes:
            self.statistics.streams_refused += 1
            exchange.fail(CLOSED)
            connection.close()
        else:
            self.statistics.bytes_in += len(parcel.payload)
            self._answering[exchange] = None
            self._delivery.receive(due, parcel)
            nursery.start_soon(self._answer, conversation, parcel, exchange)

    def _has_room(self) -> bool:
        """Whether a connection more may come, and be it that an idle one makes room."""
        if len(self._inbound) < self._max_streams:
            return True
        idle = [each for each in self._inbound if each.conversation is not None and each.conversation.peer]
        busy = {exchange.connection for exchange in self._answering}
        idle = [each for each in idle if each not in busy]
        if idle:
            min(idle, key=lambda connection: connection.idle_since).close()
        return bool(idle)

    async def _answer(self, conversation: Conversation, parcel: Parcel, exchange: Exchange) -> None:
        answer: bytes | None = None
        try:
            answer = await conversation.answer(parcel.payload)
        finally:
            del self._answering[exchange]
            if not self._is_cut_off:
                self.statistics.bytes_out += len(answer or b"")
                self._send(Parcel(self.endpoint, parcel.source, answer or b"", exchange, is_answer=True))

    def _receive_answer(self, due: float, parcel: Parcel, exchange: Exchange) -> None:
        most = exchange.connection.caller.most_bytes
        if not parcel.payload:
            exchange.fail(CLOSED)
        elif len(parcel.payload) > most:
            exchange.fail(f"its answer of {len(parcel.payload)} bytes is longer than {most}")
        else:
            self._delivery.receive(due, parcel)
            exchange.succeed(parcel.payload)


@attrs.frozen(eq=False, kw_only=True)
class MemoryNetwork:
    """The network. Making it starts nothing: start `run` in a nursery, and `open` a transport for each node."""

    seed: int = 0
    # Of all links for which `set_conditions` says nothing else.
    conditions: LinkConditions = attrs.field(factory=LinkConditions)
    # Packets under way at once; past that they are lost. Bounds the memory of a simulation that runs away.
    max_in_flight: int = 1_000_000
    # Packets that wait in each direction at a paused node, as in the buffers of its socket.
    max_paused: int = 1024
    # The connections of others at a node; idle ones make room.
    max_streams: int = 64
    # Packets arrive at whole multiples of so many seconds, those of one moment in the order of sending; 0: at any time.
    # In virtual time each moment costs a wake-up, so that a tick of 1 ms makes a busy network several times faster.
    tick: float = 0.0
    # Sees all that is received, in order: the trace of a run.
    observer: Observer | None = None
    _links: Links = attrs.field(init=False)
    _delivery: Delivery = attrs.field(init=False)
    _transports: dict[Endpoint, MemoryTransport] = attrs.field(init=False, factory=dict)
    _next_port: dict[bytes, int] = attrs.field(init=False, factory=dict)

    @_links.default
    def _make_links(self) -> Links:
        return Links(self.seed, self.conditions)

    @_delivery.default
    def _make_delivery(self) -> Delivery:
        return Delivery(
            links=self._links,
            max_in_flight=self.max_in_flight,
            max_paused=self.max_paused,
            tick=self.tick,
            observer=self.observer,
        )

    def __attrs_post_init__(self) -> None:
        require_seconds("tick", self.tick)

    @property
    def statistics(self) -> NetworkStatistics:
        """What became of all datagrams and streams so far."""
        return self._delivery.statistics

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The one task that delivers, until it is cancelled."""
        task_status.started()
        await self._delivery.run()

    @contextlib.asynccontextmanager
    async def open(self, endpoint: Endpoint) -> AsyncIterator[MemoryTransport]:
        """A transport at `endpoint` for the length of the block; port 0 takes the next free one of that ip.

        TransportError when it is taken. The place of a crashed node is free at once.
        """
        if endpoint.port == 0:
            endpoint = self._free_endpoint(endpoint.ip)
        if endpoint in self._transports:
            raise TransportError(f"cannot listen on {endpoint}: it is in use", remedy="choose another port")
        transport = self._transports[endpoint] = MemoryTransport(self._delivery, endpoint, self.max_streams)
        self._delivery.receivers[endpoint] = transport.receive
        try:
            yield transport
        finally:
            # After a crash another one may be in its place already.
            if self._transports.get(endpoint) is transport:
                self._remove(endpoint)

    @contextlib.contextmanager
    def watched(self, on_sent: Observer) -> Iterator[None]:
        """In the block `on_sent` sees every datagram as it is sent, whatever becomes of it."""
        self._delivery.on_sent += (on_sent,)
        try:
            yield
        finally:
            self._delivery.on_sent = tuple(each for each in self._delivery.on_sent if each is not on_sent)

    def set_conditions(
        self, source: Endpoint | None, destination: Endpoint | None, conditions: LinkConditions | None
    ) -> None:
        """Sets the conditions of packets from `source` to `destination`; None is any. The most specific holds.

        A link's own come first, then its source's, then its destination's. `conditions` None takes them back.
        """
        self._links.set_conditions(source, destination, conditions)

    def cut(self, a: Endpoint, b: Endpoint, *, one_way: bool = False) -> None:
        """Nothing passes from a to b and, unless `one_way`, from b to a. What is under way is lost as well."""
        self._links.cut(a, b)
        if not one_way:
            self._links.cut(b, a)

    def heal(self, a: Endpoint, b: Endpoint, *, one_way: bool = False) -> None:
        """Takes a cut back, from a to b and, unless `one_way`, from b to a."""
        self._links.heal(a, b)
        if not one_way:
            self._links.heal(b, a)

    def connects(self, source: Endpoint, destination: Endpoint) -> bool:
        """Whether no cut and no partition keeps packets from passing this way."""
        return not self._links.is_cut(source, destination)

    def set_slowness(self, endpoint: Endpoint, slowness: float) -> None:
        """All that comes to `endpoint` and all that leaves it takes so many seconds more than its links do; 0: no more.

        As a node looks whose machine is too busy. It comes on top of all conditions.
        """
        self._links.set_slowness(endpoint, slowness)

    def slowness(self, a: Endpoint, b: Endpoint) -> float:
        """How many seconds longer a packet between the two takes because they are slow."""
        return self._links.slowness(a, b)

    def set_nat(self, endpoint: Endpoint, timeout: float | None) -> None:
        """Puts `endpoint` behind a NAT: a datagram reaches it only from where it has sent one in the last `timeout` s.

        Streams to it fail, streams from it do not. Each call is a new NAT, which knows nobody yet; None removes it.
        """
        self._delivery.nats.put(endpoint, timeout)

    def partition(self, groups: Iterable[Iterable[Endpoint]], *, one_way: bool = False) -> None:
        """Only members of one group reach each other; all that are in none are one more group, the last.

        `one_way`: each group still hears the groups after it, and is not heard by them: of `[a, b]` nothing passes from
        a to b. A former partition ends. Cuts stay. ConfigError when an endpoint is in two groups.
        """
        self._links.partition(groups, one_way=one_way)

    def heal_all(self) -> None:
        """Ends the partition and all cuts. Conditions, slowness and NATs stay."""
        self._links.heal_all()

    def is_open(self, endpoint: Endpoint) -> bool:
        """Whether anybody has a transport at this endpoint."""
        return endpoint in self._transports

    def crash(self, endpoint: Endpoint) -> None:
        """Cuts a node off before it can clean up: it sends and receives nothing any more, whatever its tasks do."""
        self._remove(endpoint)

    def pause(self, endpoint: Endpoint) -> None:
        """As SIGSTOP looks from outside: what comes to the node, and what its tasks still send, waits for `resume`."""
        self._at(endpoint).pause()

    def resume(self, endpoint: Endpoint) -> None:
        """Ends a pause: what has waited arrives and leaves now, in order."""
        self._at(endpoint).resume()

    def _at(self, endpoint: Endpoint) -> MemoryTransport:
        transport = self._transports.get(endpoint)
        if transport is None:
            raise TransportError(f"nobody is at {endpoint}")
        return transport

    def _remove(self, endpoint: Endpoint) -> None:
        self._at(endpoint).cut_off()
        del self._transports[endpoint], self._delivery.receivers[endpoint]

    def _free_endpoint(self, ip: bytes) -> Endpoint:
        first = self._next_port.get(ip, FIRST_DYNAMIC_PORT)
        for port in itertools.chain(range(first, 65_536), range(1024, first)):
            endpoint = Endpoint.of(ip, port)
            if endpoint not in self._transports:
                self._next_port[ip] = port + 1
                return endpoint
        raise TransportError(f"no port of {Endpoint.of(ip, 0).host} is free")
