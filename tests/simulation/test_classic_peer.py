"""Classic nodes among themselves: they put, find and replicate, so that what they do among ours means something."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from camomile_trio.simulation.classic_peer import ClassicPeer, open_classic_peers
from camomile_trio.simulation.network import MemoryNetwork
from camomile_trio.simulation.raw_packets import REPLICATE, key_of

pytestmark = pytest.mark.long

VALUE = b"an apple"


async def test_what_one_puts_another_finds(autojump_clock: trio.testing.MockClock) -> None:
    network = MemoryNetwork(seed=1)
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        async with open_classic_peers(network, 40, first="10.9.0.1:8118", seed=2) as peers:
            await acquaint(peers)
            told = await peers[3].put(VALUE)
            await trio.sleep(1)
            # Where it has asked, itself and who was asked take a place of the 32 in each answer.
            assert told in {31, 32}
            assert sum(key_of(VALUE) in peer.values for peer in peers) == told + 1
            for peer in peers:
                assert await peer.get(key_of(VALUE)) == VALUE
                assert await peer.get(key_of(b"nobody put this")) is None
        nursery.cancel_scope.cancel()


async def test_it_replicates_every_hour(autojump_clock: trio.testing.MockClock) -> None:
    network = MemoryNetwork(seed=1)
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        async with open_classic_peers(network, 3, first="10.9.0.1:8118", seed=2) as peers:
            await acquaint(peers)
            peers[0].values[key_of(VALUE)] = VALUE
            nursery.start_soon(peers[0].replicate)
            await trio.sleep(2.5 * 3600)
            assert [peer.stores(REPLICATE) for peer in peers[1:]] == [[VALUE, VALUE]] * 2
        nursery.cancel_scope.cancel()


async def acquaint(peers: list[ClassicPeer]) -> None:
    """Each joins through the first."""
    for peer in peers[1:]:
        await peer.ping(peers[0].endpoint)
        await peer.join(peers[0].endpoint)
