"""How parcels travel in a simulated network: from one endpoint to another, late, twice, damaged, or not at all.

Rules of this file: every datagram handed over ends in exactly one counter for each of its copies. What a link does to a
packet is decided when it leaves (`links.py`). Posting never delivers, so that even without delay a parcel arrives in a
later step; parcels due at the same time arrive in the order in which they were posted. A message over a stream always
gets there or fails, and its failure takes as long as its arrival would have. Nothing here knows what the bytes mean.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Generic, TypeVar

import attrs
import trio

from camomile_trio.alarm import Alarm
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.simulation.links import Links, Nats, StreamFault
from camomile_trio.transport.base import Caller, Conversation

Item = TypeVar("Item")

_TURN = 256  # deliveries before the other tasks have their turn
_HAIR = 1e-6  # of a tick: so much late is not late, for sums of floats are not exact


@attrs.define(eq=False)
class Schedule(Generic[Item]):
    """`deliver` is called with when a thing was due, and the thing. At most `max_waiting` wait at once.

    With a `tick` (seconds) things are due at whole ticks only, and as many as possible at the same: each moment costs
    a wake-up, more than all else. 0: each thing has its own time.
    """

    _deliver: Callable[[float, Item], None]
    _max_waiting: int
    _tick: float = 0.0
    _waiting: int = attrs.field(init=False, default=0)
    # What is due at each moment, in order of posting; the heap has each of these moments once.
    _due_at: dict[float, list[Item]] = attrs.field(init=False, factory=dict)
    _moments: list[float] = attrs.field(init=False, factory=list)
    # What was due when the last turn began, and did not fit into it.
    _left: deque[tuple[float, Item]] = attrs.field(init=False, factory=deque)
    _alarm: Alarm = attrs.field(init=False, factory=Alarm)
    # Trio's time; while it runs without the way through wrappers, for it is asked for every packet.
    _time: Callable[[], float] = attrs.field(init=False, default=trio.current_time)

    def __len__(self) -> int:
        return self._waiting

    def post(self, item: Item, delay: float) -> bool:
        """To be delivered in `delay` seconds, or at the next tick after them. False: too many wait already."""
        if self._waiting >= self._max_waiting:
            return False
        self._waiting += 1
        due = self._time() + delay
        if self._tick:
            due = math.ceil(due / self._tick - _HAIR) * self._tick
        items = self._due_at.get(due)
        if items is not None:
            items.append(item)
            return True
        self._due_at[due] = [item]
        heappush(self._moments, due)
        self._alarm.advance(due)
        return True

    async def run(self) -> None:
        """Delivers until it is cancelled."""
        self._time = trio.lowlevel.current_clock().current_time
        while True:
            if self._left or (self._moments and self._moments[0] <= self._time()):
                await trio.lowlevel.checkpoint()
            else:
                await self._alarm.wait(self._moments[0] if self._moments else math.inf)
            self._take_turn()

    def _take_turn(self) -> None:
        now = self._time()
        # All that is due is taken out first: what is posted in this turn waits for a later one.
        left, moments = self._left, self._moments
        while moments and moments[0] <= now:
            due = heappop(moments)
            left.extend([(due, item) for item in self._due_at.pop(due)])
        count = min(_TURN, len(left))
        for _ in range(count):
            due, item = left.popleft()
            self._deliver(due, item)
        self._waiting -= count


# Told of every datagram and stream message that is received: when (by trio's clock, s), from where, to where, and what.
Observer = Callable[[float, Endpoint, Endpoint, bytes], None]


@attrs.define
class NetworkStatistics:
    """Counters of the whole network. `sent + duplicated` is the sum of the next six and of what is under way.

    `streams` is the sum of answered and failed ones and of those that wait still; the last four are among the failed.
    """

    sent: int = 0
    duplicated: int = 0
    delivered: int = 0
    lost: int = 0  # by chance
    cut: int = 0  # by a cut or a partition
    unasked: int = 0  # stopped by the NAT in front of the destination
    undeliverable: int = 0  # nobody at the destination, or it does not receive
    overflowed: int = 0  # over a bound: too many under way, or waiting at a paused node
    damaged: int = 0  # came, or would have come, with other bytes than were sent; among those above
    streams: int = 0  # exchanges begun, two over a new connection; the counters above are of datagrams only
    streams_answered: int = 0
    streams_failed: int = 0  # for any cause; given up by the asker is one
    streams_refused: int = 0  # by chance, as the next two
    streams_reset: int = 0
    streams_stalled: int = 0
    streams_unasked: int = 0  # to a node behind a NAT


CLOSED = "the peer closed it without an answer"


@attrs.define(eq=False)
class Connection:
    """A connection between two transports, as both ends have it. When one end closes it, it is closed for both."""

    to: Endpoint
    peer: bytes
    caller: Caller
    conversation: Conversation | None = None  # once the first message has arrived
    is_open: bool = True
    idle_since: float = -math.inf
    on_closed: list[Callable[[], object]] = attrs.field(factory=list)  # told at its end

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            for told in self.on_closed:
                told()


@attrs.define(eq=False)
class Exchange:
    """One message over a connection and its answer. `over` is set once there is an answer or a failure."""

    connection: Connection
    is_first: bool  # of its connection: it can be refused, and nothing worse happens to it
    # What chance has for it, once the question has set out.
    fault: StreamFault | None = None
    answer: bytes | None = None
    failure: str = ""
    over: trio.Event = attrs.field(factory=trio.Event)

    def succeed(self, answer: bytes) -> None:
        if not self.over.is_set():
            self.answer = answer
            self.over.set()

    def fail(self, cause: str) -> None:
        if not self.over.is_set():
            self.failure = cause
            self.over.set()


@attrs.define(eq=False)
class Parcel:
    """Something on its way: a datagram, or one of the two messages of an exchange (an empty answer closes it)."""

    source: Endpoint
    destination: Endpoint
    payload: bytes
    exchange: Exchange | None = None
    is_answer: bool = False
    # It has come to its destination, which was paused: what befalls the way does not befall it any more.
    has_arrived: bool = False


# Takes in what has arrived at one endpoint; the first argument is when it was due.
Receive = Callable[[float, Parcel], None]


@attrs.define(eq=False, kw_only=True)
class Delivery:
    """Carries parcels over `links` and past `nats`. `receivers` says who takes them in at which endpoint."""

    links: Links
    nats: Nats = attrs.field(init=False, factory=Nats)
    # Parcels under way at once, and parcels that wait in each direction at a paused node; more are lost.
    max_in_flight: int
    max_paused: int
    # Parcels arrive at whole ticks only, in seconds; 0: at any time.
    tick: float = 0.0
    observer: Observer | None
    on_sent: tuple[Observer, ...] = ()  # told of every datagram as it is sent
    receivers: dict[Endpoint, Receive] = attrs.field(init=False, factory=dict)
    statistics: NetworkStatistics = attrs.field(init=False, factory=NetworkStatistics)
    _schedule: Schedule[Parcel] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._schedule = Schedule(self._deliver, self.max_in_flight, self.tick)

    async def run(self) -> None:
        """Delivers until it is cancelled."""
        await self._schedule.run()

    def accept(self, parcel: Parcel) -> None:
        """A node sends a parcel."""
        if parcel.exchange is None:
            self.statistics.sent += 1
            for told in self.on_sent:
                told(trio.current_time(), parcel.source, parcel.destination, parcel.payload)
        elif not parcel.is_answer:
            self.statistics.streams += 1

    def settle(self, exchange: Exchange) -> None:
        """An accepted exchange is over."""
        if exchange.answer is None:
            self.statistics.streams_failed += 1
        else:
            self.statistics.streams_answered += 1

    def leave(self, parcel: Parcel) -> None:
        """An accepted parcel sets out from its source."""
        delay = self.links.plain_delay
        if parcel.exchange is not None:
            self._send_message(parcel, parcel.exchange)
        elif delay is None or self.nats.behind:
            self._send_datagram(parcel)
        elif not self._schedule.post(parcel, delay):
            self._overflow(parcel)

    def arrive(self, parcel: Parcel) -> None:
        """What has waited at a paused node reaches it now."""
        parcel.has_arrived = True
        self._post(parcel, 0.0)

    def wait_in(self, queue: deque[Parcel], parcel: Parcel) -> None:
        """The parcel waits at a paused node, if there is room."""
        if len(queue) < self.max_paused:
            queue.append(parcel)
        else:
            self._overflow(parcel)

    def receive(self, due: float, parcel: Parcel) -> None:
        """A node takes the parcel in."""
        if parcel.exchange is None:
            self.statistics.delivered += 1
        if self.observer is not None:
            self.observer(due, parcel.source, parcel.destination, parcel.payload)

    def return_to_sender(self, parcel: Parcel) -> None:
        """Nobody takes the parcel in."""
        if parcel.exchange is None:
            self.statistics.undeliverable += 1
        else:
            parcel.exchange.fail("nobody listens there")

    def _send_datagram(self, parcel: Parcel) -> None:
        source, destination, payload = parcel.source, parcel.destination, parcel.payload
        # The NAT is next to the node: it remembers what was lost or cut off farther out, too.
        if self.nats.behind:
            self.nats.note(trio.current_time(), source, destination)
        if self.links.has_cuts and self.links.is_cut(source, destination):
            self.statistics.cut += 1
            return
        copies = self.links.copies(source, destination, payload)
        if not copies:
            self.statistics.lost += 1
        elif len(copies) > 1:
            self.statistics.duplicated += 1
        for delay, brought in copies:
            if brought is not payload:
                self.statistics.damaged += 1
            # Each copy is a parcel of its own: the one may have to wait where the other does not.
            alone = brought is payload and len(copies) == 1
            self._post(parcel if alone else Parcel(source, destination, brought), delay)

    def _send_message(self, parcel: Parcel, exchange: Exchange) -> None:
        if not parcel.is_answer:
            fault = self.links.stream_fault(parcel.source, parcel.destination)
            if fault is not None and (fault.kind == "refused") is exchange.is_first:
                exchange.fault = fault
        self._post(parcel, self.links.stream_delay(parcel.source, parcel.destination, len(parcel.payload)))

    def _post(self, parcel: Parcel, delay: float) -> None:
        if not self._schedule.post(parcel, delay):
            self._overflow(parcel)

    def _overflow(self, parcel: Parcel) -> None:
        if parcel.exchange is None:
            self.statistics.overflowed += 1
        else:
            parcel.exchange.fail("too much is under way")

    def _deliver(self, due: float, parcel: Parcel) -> None:
        if parcel.exchange is not None:
            if parcel.exchange.over.is_set() or self._is_message_stopped(parcel, parcel.exchange):
                return
        elif (self.links.plain_delay is None or self.nats.behind) and self._is_datagram_stopped(due, parcel):
            return
        receive = self.receivers.get(parcel.destination)
        if receive is None:
            self.return_to_sender(parcel)
        else:
            receive(due, parcel)

    def _is_datagram_stopped(self, due: float, parcel: Parcel) -> bool:
        if parcel.has_arrived:
            return False
        if self.links.has_cuts and self.links.is_cut(parcel.source, parcel.destination):
            self.statistics.cut += 1
            return True
        if self.nats.behind and not self.nats.lets_in(due, parcel.source, parcel.destination):
            self.statistics.unasked += 1
            return True
        return False

    def _is_message_stopped(self, parcel: Parcel, exchange: Exchange) -> bool:
        """Whether the message goes no further. Its exchange has failed then, unless it has stalled."""
        if parcel.has_arrived:
            return False
        if not self.links.carries_streams(parcel.source, parcel.destination):
            exchange.fail("there is no way")
            return True
        if not parcel.is_answer and parcel.destination in self.nats.behind:
            self.statistics.streams_unasked += 1
            exchange.fail("it is behind a NAT")
            return True
        fault = exchange.fault
        if fault is None or fault.is_late != parcel.is_answer:
            return False
        if fault.kind == "stalled":
            self.statistics.streams_stalled += 1
        elif fault.kind == "reset":
            self.statistics.streams_reset += 1
            exchange.fail("the connection was reset")
        else:
            self.statistics.streams_refused += 1
            exchange.fail("the connection was refused")
        return True
