"""How parcels travel in a simulated network: from one endpoint to another, late, twice, or not at all.

Rules of this file: every datagram handed over ends in exactly one counter for each of its copies. What a link does to a
packet is decided when it leaves (`links.py`), when it arrives by `delivery.py`. A message over a stream always gets
there or fails, and its failure takes as long as its arrival would have. Nothing here knows what the bytes mean.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import attrs
import trio

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.transport.delivery import Delivery
from camomile_trio.transport.links import Links

# Told of every datagram and stream message that is received: when (by trio's clock, s), from where, to where, and what.
Observer = Callable[[float, Endpoint, Endpoint, bytes], None]


@attrs.define
class NetworkStatistics:
    """Counters of the whole network. `sent + duplicated` is the sum of the other five and of what is under way."""

    sent: int = 0
    duplicated: int = 0
    delivered: int = 0
    lost: int = 0  # by chance
    severed: int = 0  # by a cut or a partition
    undeliverable: int = 0  # nobody at the destination, or it does not receive
    overflowed: int = 0  # over a bound: too many under way, or waiting at a paused node
    streams: int = 0  # exchanges begun; the others count datagrams only


@attrs.define(eq=False)
class Exchange:
    """One message over a stream and its answer. `over` is set once there is an answer or a failure."""

    max_answer: int
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


class Parcel(NamedTuple):
    """Something on its way: a datagram, or one of the two messages of an exchange (an empty answer closes it)."""

    source: Endpoint
    destination: Endpoint
    payload: bytes
    exchange: Exchange | None = None
    is_answer: bool = False


# Takes in what has arrived at one endpoint; the first argument is when it was due.
Receive = Callable[[float, Parcel], None]


@attrs.define(eq=False, kw_only=True)
class PostOffice:
    """Carries parcels over `links`. `receivers` says who takes them in at which endpoint."""

    links: Links
    # Parcels under way at once, and parcels that wait in each direction at a paused node; more are lost.
    max_in_flight: int
    max_paused: int
    observer: Observer | None
    receivers: dict[Endpoint, Receive] = attrs.field(init=False, factory=dict)
    statistics: NetworkStatistics = attrs.field(init=False, factory=NetworkStatistics)
    _delivery: Delivery[Parcel] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._delivery = Delivery(self._deliver, self.max_in_flight)

    async def run(self) -> None:
        """Delivers until it is cancelled."""
        await self._delivery.run()

    def accept(self, parcel: Parcel) -> None:
        """A node sends a parcel."""
        if parcel.exchange is None:
            self.statistics.sent += 1
        elif not parcel.is_answer:
            self.statistics.streams += 1

    def leave(self, parcel: Parcel) -> None:
        """An accepted parcel sets out from its source."""
        source, destination = parcel.source, parcel.destination
        if parcel.exchange is not None:
            self._post(parcel, self.links.stream_delay(source, destination))
            return
        if self.links.is_severed(source, destination):
            self.statistics.severed += 1
            return
        delays = self.links.delays(source, destination)
        if not delays:
            self.statistics.lost += 1
        elif len(delays) > 1:
            self.statistics.duplicated += 1
        for delay in delays:
            self._post(parcel, delay)

    def arrive(self, parcel: Parcel) -> None:
        """What has waited at a paused node reaches it now."""
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

    def _post(self, parcel: Parcel, delay: float) -> None:
        if not self._delivery.post(parcel, delay):
            self._overflow(parcel)

    def _overflow(self, parcel: Parcel) -> None:
        if parcel.exchange is None:
            self.statistics.overflowed += 1
        else:
            parcel.exchange.fail("too much is under way")

    def _deliver(self, due: float, parcel: Parcel) -> None:
        receive = self.receivers.get(parcel.destination)
        exchange = parcel.exchange
        if exchange is None and self.links.is_severed(parcel.source, parcel.destination):
            self.statistics.severed += 1
        elif exchange is not None and not self.links.carries_streams(parcel.source, parcel.destination):
            exchange.fail("there is no way")
        elif receive is None:
            self.return_to_sender(parcel)
        elif exchange is None or not exchange.over.is_set():
            receive(due, parcel)
