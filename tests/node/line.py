"""One whole node on a line whose other end the test holds: what it sends is kept, what comes is what a peer says.

Rules of this file: no network, no decisions. A peer here does nothing by itself: each of its words is a call.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import attrs
import trio

from camomile_trio.config import Config
from camomile_trio.errors import TransportError
from camomile_trio.identity import KeyPair, network_id, sign_pong, sign_record
from camomile_trio.kademlia import leases
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import FindNode, FindValue, Message, NodeList, Packet, Ping, Pong, Value
from camomile_trio.kademlia.records import Record
from camomile_trio.kademlia.routing import RoutingTable
from camomile_trio.node.events import Events
from camomile_trio.node.inbox import Inbox
from camomile_trio.node.node import Node, open_node
from camomile_trio.node.peers import Peers
from camomile_trio.node.rpc import Rpc
from camomile_trio.transport.base import Inbound, TransportStatistics
from camomile_trio.wire.codec import decode_untrusted, encode

EPOCH = 1_800_000_000_000  # ms; when virtual time begins
HERE = Endpoint.parse("10.9.0.1:8118")
NETWORK = network_id("camomile")

Answerer = Callable[[bytes, Endpoint], Awaitable[bytes]]


async def _refuse(message: bytes, to: Endpoint) -> bytes:
    raise TransportError("nobody listens there")


@attrs.define(eq=False)
class Line:
    """The node's transport. `streams` answers what it sends over one; by default nobody listens."""

    endpoint: Endpoint = HERE
    statistics: TransportStatistics = attrs.field(factory=TransportStatistics)
    sent: list[tuple[Endpoint, bytes]] = attrs.field(factory=list)
    streams: Answerer = _refuse
    streamed: list[Packet] = attrs.field(factory=list)
    inbound: Inbound | None = None

    def send(self, datagram: bytes, to: Endpoint) -> bool:
        self.sent.append((to, datagram))
        return True

    async def exchange(self, message: bytes, to: Endpoint, *, max_answer: int) -> bytes:
        self.streamed.append(decode_untrusted(message))
        return await self.streams(message, to)

    async def serve(self, inbound: Inbound, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self.inbound = inbound
        task_status.started()
        await trio.sleep_forever()

    def bring(self, datagram: bytes, source: Endpoint) -> None:
        assert self.inbound is not None
        self.inbound.on_datagram(datagram, source)


@attrs.define(eq=False)
class Peer:
    """Somebody at the other end, with a key and an address."""

    line: Line
    name: str
    endpoint: Endpoint
    key: KeyPair
    _sessions: itertools.count[int] = attrs.field(factory=lambda: itertools.count(1))
    _heard: int = 0

    @classmethod
    def at(cls, line: Line, name: str, endpoint: str) -> Peer:
        return cls(line, name, Endpoint.parse(endpoint), KeyPair.new(random.Random(name)))

    @property
    def id(self) -> NodeId:
        return self.key.node_id

    @property
    def contact(self) -> Contact:
        return Contact(self.id, self.endpoint)

    def ask(self, message: Message, *, version: int = 1, padding: int = 0, network: bytes = b"") -> bytes:
        """Sends the node a request; the bytes of it."""
        number = next(self._sessions)
        session = (self.name.encode() + number.to_bytes(4, "big")).rjust(32, b"-")[-32:]
        datagram = encode(Packet(session, self.id, message, version, network, padding=padding))
        self.line.bring(datagram, self.endpoint)
        return datagram

    def answer(
        self,
        request: Packet,
        message: Message,
        *,
        version: int = 1,
        sender: NodeId | None = None,
        source: Endpoint | None = None,
        session: bytes | None = None,
        advertised: Endpoint | None = None,
    ) -> None:
        """Answers a request of the node, truly unless told otherwise."""
        packet = Packet(session or request.session, sender or self.id, message, version, advertised=advertised)
        self.line.bring(encode(packet), source or self.endpoint)

    def pong(self, request: Packet, *, advertised: Endpoint | None = None) -> None:
        self.answer(request, self.true_pong(request), advertised=advertised)

    def true_pong(self, request: Packet) -> Pong:
        assert isinstance(request.message, Ping)
        challenge = request.message.challenge
        return Pong(challenge, self.key.public, sign_pong(challenge, self.key, NETWORK), HERE, EPOCH)

    def heard(self) -> list[Packet]:
        """What the node has sent here since the last call."""
        return [decode_untrusted(datagram) for datagram in self.heard_bytes()]

    def heard_bytes(self) -> list[bytes]:
        all_of_it = [datagram for to, datagram in self.line.sent if to == self.endpoint]
        news, self._heard = all_of_it[self._heard :], len(all_of_it)
        return news

    def introduce(self) -> None:
        """Says something, and answers the ping that comes of it: the node knows this peer now, and it the node."""
        self.ask(Ping(bytes(32)), padding=200)
        # A ping alone moves nobody whose bucket is full.
        self.ask(FindNode(self.id), padding=600 - 106)
        for packet in self.heard():
            if isinstance(packet.message, Ping):
                self.pong(packet)


@asynccontextmanager
async def one_node(
    config: Config | None = None, *, line: Line | None = None, publisher: KeyPair | None = None
) -> AsyncIterator[tuple[Node, Line]]:
    """A node that stands alone, ready. Use it under `autojump_clock`."""
    line = line or Line()

    @asynccontextmanager
    async def bound() -> AsyncIterator[Line]:
        yield line

    def wall_clock() -> int:
        return EPOCH + round(trio.current_time() * 1000)

    async with open_node(
        config, transport=bound(), wall_clock=wall_clock, rng=random.Random(7), publisher=publisher
    ) as node:
        await node.wait_ready()
        yield node, line


def bare_rpc(line: Line) -> Rpc:
    """The requests of a node that does nothing of its own accord and serves nobody. Start its `run`."""
    rng = random.Random(7)
    own = KeyPair.new(rng).node_id
    config = Config()
    rpc = Rpc(
        own=own,
        network=NETWORK,
        is_named=False,
        transport=line,
        table=RoutingTable(own, config.kademlia.k),
        peers=Peers(config.requests),
        settings=config.requests,
        max_value_size=config.records.max_value_size,
        rng=rng,
        events=Events(),
    )
    line.inbound = Inbox(rpc, lambda request: None)
    return rpc


def rpc_of(node: Node) -> Rpc:
    return node._core.rpc


def lease_of(publisher: KeyPair, key: Key, *, issued: int = EPOCH, life: float = 3600.0, seen: int = 0) -> Record:
    """A signed lease; times as in `leases.new_lease`."""
    unsigned = leases.new_lease(key, publisher.public, seen=seen, now=issued, life_ms=int(life * 1000))
    return sign_record(unsigned, publisher, NETWORK)


def tombstone_of(publisher: KeyPair, key: Key, *, issued: int = EPOCH, seen: int = 0) -> Record:
    unsigned = leases.new_tombstone(key, publisher.public, seen=seen, now=issued)
    return sign_record(unsigned, publisher, NETWORK)


def crowd(count: int) -> NodeList:
    """An answer that names `count` nodes that nobody has heard of."""
    rng = random.Random(count)
    return NodeList(
        tuple(Contact(NodeId(rng.randbytes(32)), Endpoint.parse(f"10.77.0.{i + 1}:8118")) for i in range(count))
    )


Behaviour = Callable[[Peer, Packet], None]


def truthful(peer: Peer, packet: Packet) -> None:
    """Answers pings, and knows nobody and nothing else."""
    match packet.message:
        case Ping():
            peer.pong(packet)
        case FindNode():
            peer.answer(packet, NodeList())
        case FindValue():
            peer.answer(packet, Value())


def silent(peer: Peer, packet: Packet) -> None:
    """Says nothing."""


async def attend(behaviours: dict[Peer, Behaviour]) -> None:
    """Each peer answers as it does what the node sends to it, within 5 ms; until cancelled."""
    while True:
        for peer, behave in list(behaviours.items()):
            for packet in peer.heard():
                behave(peer, packet)
        await trio.sleep(0.005)
