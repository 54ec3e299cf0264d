"""One node of ours among classic nodes, on a simulated network: the classic room alone, without the rest of a node.

Rules of this file: the classic nodes are those of the simulation, which are made of raw bytes. On leaving, all that the
node ever sent is checked to be what a classic node could have sent.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from camomile_trio.classic.network import ClassicNetwork
from camomile_trio.config import Kademlia, Requests
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import StoreKind
from camomile_trio.simulation.classic_peer import ClassicPeer, open_classic_peers
from camomile_trio.simulation.network import MemoryNetwork, MemoryTransport
from camomile_trio.simulation.raw_packets import SENDER, SESSION, Kind, content, fields_of
from camomile_trio.simulation.strangers import Stranger, open_stranger, recorded
from camomile_trio.transport.base import MAX_SENT_DATAGRAM

HERE = Endpoint.parse("10.0.0.1:8118")
FIRST = "10.9.0.1:8118"
OWN = NodeId(b"our node" * 4)


@attrs.define(eq=False)
class Holdings:
    """Holds what it is told to serve, and notes what it was told to store."""

    values: dict[Key, bytes] = attrs.field(factory=dict)
    stored: list[tuple[Key, bytes, StoreKind]] = attrs.field(factory=list)

    def served(self, key: Key) -> bytes | None:
        return self.values.get(key)

    def store(self, key: Key, value: bytes, kind: StoreKind) -> None:
        self.stored.append((key, value, kind))

    def hold(self, value: bytes) -> Key:
        key = Key.of(value)
        self.values[key] = value
        return key


@attrs.define(eq=False)
class OurNode(Stranger):
    """The classic room of one node of ours, with the least around it."""

    holdings: Holdings
    ours: set[Endpoint]  # where other nodes of ours are known to live
    requests: Requests
    kademlia: Kademlia
    classic: ClassicNetwork = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.classic = ClassicNetwork(
            own=OWN,
            send=self.transport.send,
            requests=self.requests,
            kademlia=self.kademlia,
            rng=random.Random(3),
            clock=trio.current_time,
            holdings=self.holdings,
            is_ours=self.ours.__contains__,
            own_endpoints=lambda: (HERE,),
        )

    def on_datagram(self, datagram_untrusted: bytes, source: Endpoint) -> None:
        self.classic.on_datagram(datagram_untrusted, source)

    async def find(self, key: Key) -> bytes | None:
        """The value alone."""
        found = await self.classic.find_value(key)
        return None if found is None else found.value

    def dropped(self, reason: str) -> int:
        return self.classic.statistics.dropped[reason]

    def knows(self, peer: ClassicPeer) -> bool:
        known = self.classic.table.get(NodeId(peer.node_id))
        return known is not None and known.endpoint == peer.endpoint


@attrs.define(eq=False)
class World:
    network: MemoryNetwork
    node: OurNode
    peers: list[ClassicPeer]

    def cut_off(self) -> None:
        """The node hears of no peer any more."""
        self.network.partition([[HERE], [peer.endpoint for peer in self.peers]])

    async def meet_all(self) -> None:
        """The classic nodes know each other, and the node joins through the first."""
        acquaint(self.peers)
        assert await self.node.classic.meet(self.peers[0].endpoint)
        await trio.sleep(1)


def acquaint(peers: list[ClassicPeer]) -> None:
    for peer in peers:
        for other in peers:
            if other is not peer:
                peer.learn(other.node_id, other.endpoint)


@asynccontextmanager
async def open_world(
    count: int, *, k: int = 20, refresh_interval: float = 3600.0, requests: Requests | None = None
) -> AsyncIterator[World]:
    """Our node and `count` classic ones that know no other node yet."""
    network = MemoryNetwork(seed=1)
    kademlia = Kademlia(k=k, refresh_interval=refresh_interval)

    def make(transport: MemoryTransport) -> OurNode:
        return OurNode(transport, Holdings(), set(), requests or Requests(), kademlia)

    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        with recorded(network, HERE) as recording:
            async with (
                open_classic_peers(network, count, first=FIRST, seed=2) as peers,
                open_stranger(network, HERE, make) as node,
            ):
                await nursery.start(node.classic.run)
                yield World(network, node, peers)
        for each in recording.datagrams:
            if each.source == HERE:
                check_sent(each.payload)
        nursery.cancel_scope.cancel()


def check_sent(datagram: bytes) -> None:
    """Nothing but a classic message is in it, and it is not too large."""
    numbers = [number for number, _ in fields_of(datagram)]
    assert numbers[:2] == [SESSION, SENDER]
    assert len(numbers) == 3
    assert numbers[2] in set(Kind) - {Kind.UNKNOWN}
    assert content(fields_of(datagram), SENDER) == OWN
    assert len(datagram) <= MAX_SENT_DATAGRAM
