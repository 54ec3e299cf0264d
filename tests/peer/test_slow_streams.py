"""Strangers hold slow TCP streams to a node, and its members exchange messages with it. Sockets and time are real.

Rules of this file: nothing is measured. A member that is told nothing within its deadline counts as failed.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from contextlib import AsyncExitStack

import pytest
import trio

from camomile_trio.errors import TransportError
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.peer.local import Local, StaticKey
from camomile_trio.peer.streams import Answering, Streams
from camomile_trio.peer.suite import NaclSuite
from camomile_trio.transport.stream import StreamLimits
from camomile_trio.transport.udp import UdpTransport, open_udp
from tests.networks.slow_streams import EACH, hold, stranger
from tests.peer.nodes import OPEN
from tests.transport.peers import ANY_PORT

pytestmark = pytest.mark.real_time

MEMBERS, ROUNDS = 8, 12
PAUSE = 0.1  # s between two messages of a member, at most
HOSTILE = [f"127.0.9.{number}" for number in range(1, 9)]


class Node:
    def __init__(self, transport: UdpTransport, seed: bytes, members: set[bytes]) -> None:
        self.connections = 0
        self.is_crowded = trio.Event()  # strangers want all places, and come back for them
        static = StaticKey.from_seed(NaclSuite(), seed * 32)
        self.transport = transport
        self.contact = Contact.of(static.public, transport.endpoint)
        self.streams = Streams(
            transport=transport,
            local=Local.start(static, (OPEN,), NaclSuite(), random.SystemRandom()),
            wall_ms=lambda: time.time_ns() // 10**6,
            max_message=10_000,
            handle=self.handle,
            is_member=members.__contains__,
            afford=lambda source: True,
        )

    async def handle(self, contact: Contact, message: bytes) -> bytes:
        return message

    def on_datagram(self, datagram_untrusted: bytes, source: Endpoint) -> None:
        raise AssertionError

    def on_connection(self, source: Endpoint) -> Answering:
        self.connections += 1
        if self.connections > 2 * EACH * len(HOSTILE):
            self.is_crowded.set()
        return self.streams.on_connection(source)


@pytest.mark.parametrize("proven", ["none", "half"])
async def test_members_exchange_messages_while_strangers_hold_64_slow_streams(proven: str) -> None:
    members: set[bytes] = set()
    ends: list[str] = []
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        nodes = []
        for number in range(MEMBERS + 1):
            # Every second member makes a new connection for each message, which has to get in among strangers again.
            limits = StreamLimits(max_idle_outbound=number % 2)
            transport = await stack.enter_async_context(open_udp(ANY_PORT, limits=limits))
            node = Node(transport, bytes([number + 1]), members)
            await nursery.start(node.transport.serve, node)
            nodes.append(node)
        holder, *askers = nodes
        members |= {each.contact.public for each in askers}
        for number in range(EACH * len(HOSTILE)):
            ip = HOSTILE[number % len(HOSTILE)]
            is_proven = proven == "half" and number % 16 >= 8
            own = stranger(OPEN) if is_proven else None
            nursery.start_soon(hold, holder.contact.endpoint, ip, own, holder.contact.public)
        await holder.is_crowded.wait()
        assert holder.transport.statistics.stream_connections <= 32

        async def ask(node: Node) -> None:
            for number in range(ROUNDS):
                message = bytes([number]) * 5000
                await trio.sleep(PAUSE * random.random())
                end = "nothing within 5 s"
                with trio.move_on_after(5.0):
                    try:
                        answer = await node.streams.exchange(holder.contact, message)
                        end = "answered" if answer == message else "another answer"
                    except TransportError as error:
                        end = str(error)
                ends.append(end)

        async with trio.open_nursery() as asking:
            for node in askers:
                asking.start_soon(ask, node)
        assert holder.transport.statistics.stream_connections <= 64
        nursery.cancel_scope.cancel()
    assert ends.count("answered") >= 0.95 * MEMBERS * ROUNDS, Counter(ends)
