"""A whole network in one process: datagrams and streams between nodes, in real or in virtual time.

Rules of this file: one task (`MemoryNetwork.run`) delivers everything, and no task is made per datagram. How parcels
travel is the business of `post_office.py`, what a node sees of it that of `memory_transport.py`; here is what can be
done to the network and to a node. Under `trio.testing.MockClock` the same seed and the same sends give the same
deliveries.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Iterable

import attrs
import trio

from camomile_trio.errors import TransportError
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.transport.latency import require_seconds
from camomile_trio.transport.links import LinkConditions, Links
from camomile_trio.transport.memory_transport import FIRST_DYNAMIC_PORT, MemoryTransport, StreamBounds
from camomile_trio.transport.post_office import NetworkStatistics, Observer, PostOffice

_DEFAULT_CONDITIONS = LinkConditions()


@attrs.frozen(eq=False, kw_only=True)
class MemoryNetwork:
    """The network. Making it starts nothing: start `run` in a nursery, and `open` a transport for each node."""

    seed: int = 0
    # Of all links for which `set_conditions` says nothing else.
    conditions: LinkConditions = _DEFAULT_CONDITIONS
    # Packets under way at once; past that they are lost. Bounds the memory of a simulation that runs away.
    max_in_flight: int = 1_000_000
    # Packets that wait in each direction at a paused node, as in the buffers of its socket.
    max_paused: int = 1024
    # The longest message that a stream takes, and the streams that a node answers at once.
    max_message: int = 2**20 + 2**16
    max_streams: int = 64
    # Packets arrive at whole multiples of so many seconds, those of one moment in the order of sending; 0: at any time.
    # In virtual time each moment costs a wake-up, so that a tick of 1 ms makes a busy network several times faster.
    tick: float = 0.0
    # Sees all that is received, in order: the trace of a run.
    observer: Observer | None = None
    # Sees every datagram as it is sent, whatever becomes of it.
    on_sent: Observer | None = None
    _bounds: StreamBounds = attrs.field(init=False)
    _links: Links = attrs.field(init=False)
    _post_office: PostOffice = attrs.field(init=False)
    _transports: dict[Endpoint, MemoryTransport] = attrs.field(init=False, factory=dict)
    _next_port: dict[bytes, int] = attrs.field(init=False, factory=dict)

    @_bounds.default
    def _make_bounds(self) -> StreamBounds:
        return StreamBounds(max_message=self.max_message, max_streams=self.max_streams)

    @_links.default
    def _make_links(self) -> Links:
        return Links(self.seed, self.conditions)

    @_post_office.default
    def _make_post_office(self) -> PostOffice:
        return PostOffice(
            links=self._links,
            max_in_flight=self.max_in_flight,
            max_paused=self.max_paused,
            tick=self.tick,
            observer=self.observer,
            on_sent=self.on_sent,
        )

    def __attrs_post_init__(self) -> None:
        require_seconds("tick", self.tick)

    @property
    def statistics(self) -> NetworkStatistics:
        """What became of all datagrams and streams so far."""
        return self._post_office.statistics

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The one task that delivers, until it is cancelled."""
        task_status.started()
        await self._post_office.run()

    @contextlib.asynccontextmanager
    async def open(self, endpoint: Endpoint) -> AsyncIterator[MemoryTransport]:
        """A transport at `endpoint` for the length of the block; port 0 takes the next free one of that ip.

        TransportError when it is taken. The place of a crashed node is free at once.
        """
        if endpoint.port == 0:
            endpoint = self._free_endpoint(endpoint.ip)
        if endpoint in self._transports:
            raise TransportError(f"cannot listen on {endpoint}: it is in use", remedy="choose another port")
        transport = self._transports[endpoint] = MemoryTransport(self._post_office, endpoint, self._bounds)
        self._post_office.receivers[endpoint] = transport.receive
        try:
            yield transport
        finally:
            # After a crash another one may be in its place already.
            if self._transports.get(endpoint) is transport:
                self._remove(endpoint)

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
        return not self._links.is_severed(source, destination)

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
        self._post_office.nats.put(endpoint, timeout)

    def partition(self, groups: Iterable[Iterable[Endpoint]], *, one_way: bool = False) -> None:
        """Only members of one group reach each other; all that are in none are one more group, the last.

        `one_way`: each group still hears the groups after it, and is not heard by them: of `[a, b]` nothing passes from
        a to b. A former partition ends. Cuts stay. ConfigError when an endpoint is in two groups.
        """
        self._links.partition(groups, one_way=one_way)

    def heal_all(self) -> None:
        """Ends the partition and all cuts. Conditions, slowness and NATs stay."""
        self._links.heal_all()

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
        del self._transports[endpoint], self._post_office.receivers[endpoint]

    def _free_endpoint(self, ip: bytes) -> Endpoint:
        first = self._next_port.get(ip, FIRST_DYNAMIC_PORT)
        for port in itertools.chain(range(first, 65_536), range(1024, first)):
            endpoint = Endpoint.of(ip, port)
            if endpoint not in self._transports:
                self._next_port[ip] = port + 1
                return endpoint
        raise TransportError(f"no port of {Endpoint.of(ip, 0).host} is free")
