"""A stranger who puts all he can into a public network gets his share of it, and its people keep theirs."""

from __future__ import annotations

import random

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.config import StorageConfig
from camomile_trio.errors import StorageFull
from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.node.node import Node
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.simulation.network import MemoryNetwork
from tests.fixtures.cluster import Cluster, config_with
from tests.fixtures.counts import counts

CONFIG = attrs.evolve(config_with(replicate=600.0), storage=StorageConfig(max_storage=128 * 1024))


def value(number: int) -> bytes:
    return number.to_bytes(4, "big") * 250


async def put_until_refused(nodes: list[Node]) -> tuple[int, str]:
    """How many values got in, put through one node after the other, and why the next one did not."""
    for number in range(200):
        try:
            await nodes[number % len(nodes)].put(value(number))
        except StorageFull as error:
            return number, str(error)
    raise AssertionError("there was no end to it")


async def test_a_stranger_fills_his_share_and_no_more(virtual_clock: VirtualClock) -> None:
    network = MemoryNetwork(seed=3)
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        cluster = Cluster(nursery, network, CONFIG, seed=3)
        for number in range(1, 5):
            # All of one network, as a hosting company's machines are.
            await cluster.start(endpoint=Endpoint.parse(f"8.8.8.{number}:8118"))
        stranger = (
            await cluster.start(
                endpoint=Endpoint.parse("9.9.9.9:8118"), publisher=KeyPair.new(random.Random("stranger"))
            )
        ).node

        got_in, reason = await put_until_refused([stranger])
        assert "no more of this publisher" in reason
        assert 30 < got_in < 60
        # The people of the cluster have the other half, nearly to the last byte.
        for number in range(1000, 1000 + 30):
            await cluster[number % 4].put(value(number))

        # One who comes later is given all of it by neighbours that are in one network.
        newcomer = (await cluster.start(endpoint=Endpoint.parse("7.7.7.7:8118"))).node
        await trio.sleep(1800)
        assert newcomer.status().values == got_in + 30
        assert not counts(newcomer, "store_refused_total", "reason")
        assert newcomer.statistics().gauges["largest_carrier_bytes", ()] > 0
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("place", "counts_for_networks"), [("127.0.0", False), ("10.0.0", True)])
async def test_six_publishers_on_private_addresses_share_a_store_and_loopback_is_no_source_network(
    place: str, counts_for_networks: bool, virtual_clock: VirtualClock
) -> None:
    """Each node has a publisher of its own here. A private address is a source network by itself."""
    network = MemoryNetwork(seed=4)
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        cluster = Cluster(nursery, network, CONFIG, seed=4)
        for number in range(6):
            endpoint = Endpoint.parse(f"{place}.{number + 1}:8118")
            await cluster.start(endpoint=endpoint, publisher=KeyPair.new(random.Random(number)))
        stored, _ = await put_until_refused(cluster.nodes)
        # Six that want the same get twice six thirteenths of three quarters of it together.
        assert stored * (1000 + 396) > 0.66 * 128 * 1024
        assert (cluster[0].statistics().gauges["largest_network_bytes", ()] > 0) == counts_for_networks
        nursery.cancel_scope.cancel()
