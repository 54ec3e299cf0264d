"""Classic nodes among the nodes of a story, each of which is checked at the end.

Rules of this file: what a classic node does is the simulation's business; here is what stories ask of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.simulation.classic_peer import ClassicPeer, open_classic_peers
from camomile_trio.simulation.network import MemoryNetwork


@asynccontextmanager
async def classic_peers(
    network: MemoryNetwork, count: int, *, first: str = "10.9.0.1:8118", seed: int = 9
) -> AsyncIterator[list[ClassicPeer]]:
    """`count` classic nodes that know nobody yet. On leaving, each checks all that it was ever sent."""
    async with open_classic_peers(network, count, first=first, seed=seed) as peers:
        yield peers
        for peer in peers:
            peer.check({each.endpoint for each in peers})


async def greet(through: Endpoint, peers: list[ClassicPeer]) -> None:
    """The peers join through one node, one after another, and know each other."""
    for peer in peers:
        await peer.join(through)
        for other in peers:
            if other is not peer:
                peer.learn(other.node_id, other.endpoint)
    await trio.sleep(1)
