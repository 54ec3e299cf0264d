"""A node behind another address is reached where it says."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import trio
import trio.testing

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import NodeId
from camomile_trio.node.node import Node, open_node
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.simulation.network import MemoryNetwork
from camomile_trio.transport.base import Caller, Conversation, Inbound, Transport, TransportStatistics
from tests.fixtures.cluster import SUITE, VALUE, config_with, open_cluster
from tests.fixtures.records import EPOCH

LARGE = bytes(5000)


@attrs.define(eq=False)
class Router:
    """A transport behind a fixed port mapping: what it says of its own accord has the router's passing address, at
    which only those it spoke to reach it; `mapped` is open to everybody."""

    passing: Transport
    mapped: Transport
    # By which way each peer is answered: the one by which it came last.
    ways: dict[Endpoint, Transport] = attrs.field(factory=dict)
    refused: int = 0

    @property
    def endpoint(self) -> Endpoint:
        return self.passing.endpoint

    @property
    def statistics(self) -> TransportStatistics:
        return self.passing.statistics

    def send(self, datagram: bytes, to: Endpoint) -> bool:
        return self.ways.setdefault(to, self.passing).send(datagram, to)

    async def exchange(self, message: bytes, to: Endpoint, *, peer: bytes, caller: Callable[[], Caller]) -> bytes:
        return await self.passing.exchange(message, to, peer=peer, caller=caller)

    def close_ended(self) -> None:
        self.passing.close_ended()
        self.mapped.close_ended()

    async def serve(self, inbound: Inbound, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.passing.serve, Side(self, self.passing, inbound))
            await nursery.start(self.mapped.serve, Side(self, self.mapped, inbound))
            task_status.started()


@attrs.define(eq=False)
class Side:
    router: Router
    way: Transport
    inbound: Inbound

    def on_datagram(self, datagram_untrusted: bytes, source: Endpoint) -> None:
        if self.way is self.router.passing and source not in self.router.ways:
            self.router.refused += 1
            return
        self.router.ways[source] = self.way
        self.inbound.on_datagram(datagram_untrusted, source)

    def on_turn_begin(self) -> None:
        self.inbound.on_turn_begin()

    def on_turn_end(self) -> None:
        self.inbound.on_turn_end()

    def on_connection(self, source: Endpoint) -> Conversation:
        return self.inbound.on_connection(source)


async def test_a_node_behind_another_address_is_reached_there(virtual_clock: VirtualClock) -> None:
    async with open_cluster(6, config=config_with(cache_life=0)) as cluster:
        passing, mapped = Endpoint.parse("10.50.0.1:40000"), Endpoint.parse("10.50.0.2:8118")
        config = attrs.evolve(cluster.config, join=(str(cluster.machines[0].endpoint),), advertise=mapped)

        @asynccontextmanager
        async def routed(network: MemoryNetwork) -> AsyncIterator[Router]:
            async with network.open(passing) as outside, network.open(mapped) as open_side:
                yield Router(outside, open_side)

        async with open_node(
            config,
            transport=routed(cluster.network),
            wall_clock=lambda: EPOCH + round(trio.current_time() * 1000),
            rng=random.Random(11),
            publisher=cluster.publisher,
            suite=SUITE,
        ) as node:
            await node.wait_ready()
            await node.put(VALUE)
            await node.put(LARGE)
            await trio.sleep(30)
            for each in cluster.nodes:
                assert places(each)[node.id] == mapped
            newcomer = await cluster.start()
            await trio.sleep(30)
            assert places(newcomer.node)[node.id] == mapped
            assert (await newcomer.node.ping(node.id)).endpoint == mapped
            before = node.status().values
            await newcomer.node.put(LARGE + b"!")
            await trio.sleep(5)
            assert node.status().values == before + 1  # by a stream to there


def places(node: Node) -> dict[NodeId, Endpoint]:
    return {contact.id: contact.endpoint for contact in node.contacts()}
