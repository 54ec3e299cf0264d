"""Ten thousand strangers prove a key each to one node, one after another, and are never heard of again.

Rules of this file: whole nodes, in virtual time. The handshakes are complete: each stranger has a session at the node.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter

import pytest
import trio
from trio.testing import MockClock

from camomile_trio.errors import Unavailable
from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.peer.packets import INITIATION, SEALED, unframe_untrusted
from camomile_trio.peer.sessions import MOST_PEERS
from camomile_trio.peer.table import STRANGERS
from camomile_trio.simulation.network import MemoryNetwork, MemoryTransport
from camomile_trio.simulation.strangers import Stranger, open_stranger
from tests.fixtures.cluster import open_cluster
from tests.fixtures.speaker import Speaker

pytestmark = pytest.mark.long

MANY = 10_000
AT_ONCE, PAUSE = 50, 0.25  # how many come together, and s until the next do: the budget for handshakes takes so many
EACH_PUT = 100  # strangers before the next put


class Passer(Stranger):
    """It makes a handshake, and answers nothing that it is asked then."""

    def __init__(self, transport: MemoryTransport, number: int) -> None:
        super().__init__(transport)
        self.speaker = Speaker(KeyPair.new(random.Random(number)), transport.endpoint, transport.send)

    def on_datagram(self, datagram_untrusted: bytes, source: Endpoint) -> None:
        self.speaker.receive(datagram_untrusted, source)


async def pass_by(network: MemoryNetwork, number: int, node: Contact) -> None:
    """Each has a source network of its own."""
    endpoint = Endpoint.parse(f"{11 + number // 60_000}.{number // 250}.{number % 250}.1:8118")
    async with open_stranger(network, endpoint, lambda transport: Passer(transport, number)) as passer:
        passer.speaker.meet(node)
        await trio.sleep(PAUSE)
        assert passer.speaker.has_session(node.public)


async def test_members_keep_their_sessions_and_puts_succeed(autojump_clock: MockClock) -> None:
    async with open_cluster(8) as cluster:
        node = cluster.machines[3]
        members = {machine.endpoint for machine in cluster.machines}
        among_members = Counter[int]()

        def on_sent(time: float, source: Endpoint, destination: Endpoint, payload: bytes) -> None:
            if members.issuperset((source, destination)) and node.endpoint in (source, destination):
                among_members[unframe_untrusted(payload)[0]] += 1

        stored = tried = 0
        strangers: list[float] = []
        with cluster.network.watched(on_sent):
            for first in range(0, MANY, AT_ONCE):
                async with trio.open_nursery() as nursery:
                    for number in range(first, first + AT_ONCE):
                        nursery.start_soon(pass_by, cluster.network, number, node.contact)
                strangers.append(node.node.statistics().gauges["session_tables", (("table", "strangers"),)])
                if first % EACH_PUT == 0:
                    tried += 1
                    with contextlib.suppress(Unavailable):
                        stored += (await node.node.put(b"put %d" % first)).replicas > 0
        # It is full, and never fuller. Where one of them gets a seat there is a place until the next one comes.
        assert max(strangers) == MOST_PEERS // STRANGERS // 2
        assert min(strangers[len(strangers) // 2 :]) >= max(strangers) - AT_ONCE
        assert among_members[SEALED] > 2 * tried
        assert not among_members[INITIATION]
        assert stored >= 0.95 * tried
