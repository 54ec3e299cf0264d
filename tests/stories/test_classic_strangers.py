"""An address that nobody has proven, in classic packets: what it is sent is bounded, for it may have been forged."""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.config import Config, Requests
from camomile_trio.simulation.classic_peer import ClassicPeer
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.simulation.raw_packets import PUBLISH, Kind, field, key_of
from tests.fixtures.cluster import config_with, open_cluster
from tests.fixtures.peers import classic_peers

LONGEST = b"x" * 1000
BUDGET = 4096
# Nodes that speak with classic ones.
CLASSIC = config_with(classic=True)


def with_budget(budget: int) -> Config:
    return attrs.evolve(CLASSIC, requests=Requests(classic_budget=budget))


def weight(peer: ClassicPeer) -> int:
    """All bytes that ever reached it."""
    return sum(len(each.datagram) for each in peer.received)


REQUESTS = {
    "ping": (Kind.PING, field(1, bytes(32))),
    "find_node": (Kind.FIND_NODE, field(1, bytes(32))),
    "a hit": (Kind.FIND_VALUE, field(1, key_of(LONGEST))),
    "a miss": (Kind.FIND_VALUE, field(1, bytes(32))),
    "store": (Kind.STORE, field(1, PUBLISH) + field(3, b"v")),
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_one_packet_costs_at_most_three_times_its_bytes(name: str, virtual_clock: VirtualClock) -> None:
    """Whatever goes there on its account: the answer, our ping, and the ping's retransmission."""
    async with open_cluster(8, config=with_budget(0)) as cluster, classic_peers(cluster.network, 1) as (peer,):
        await cluster[0].put(LONGEST)
        await trio.sleep(1)
        peer.is_silent = True
        before = peer.transport.statistics.bytes_out
        peer.send(cluster.machines[0].endpoint, *REQUESTS[name])
        await trio.sleep(30)
        sent = peer.transport.statistics.bytes_out - before
        assert 0 < weight(peer) <= 3 * sent


async def test_a_flood_costs_three_times_its_bytes_and_the_budget(virtual_clock: VirtualClock) -> None:
    """The budget is that of all strangers together."""
    async with (
        open_cluster(8, config=with_budget(BUDGET)) as cluster,
        classic_peers(cluster.network, 3) as peers,
    ):
        await cluster[0].put(LONGEST)
        await trio.sleep(1)
        began = trio.current_time()
        for peer in peers:
            peer.is_silent = True
        for _ in range(40):
            for peer in peers:
                for kind, message in REQUESTS.values():
                    peer.send(cluster.machines[0].endpoint, kind, message)
            await trio.sleep(0.05)
        elapsed = trio.current_time() - began
        sent = sum(peer.transport.statistics.bytes_out for peer in peers)
        got = sum(map(weight, peers))
        assert got <= 3 * sent + BUDGET * (1 + elapsed)
        hits = [each for peer in peers for each in peer.received if each.value == LONGEST]
        assert 1 <= len(hits) <= BUDGET * (1 + elapsed) / (1000 - 3 * 104)
