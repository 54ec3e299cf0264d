"""Strangers publish somebody's value, and forget it, under as many keys as they like."""

from __future__ import annotations

import random

import pytest
import trio

from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import Key
from camomile_trio.operations.results import Found
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.simulation.network import MemoryNetwork
from tests.fixtures.cluster import Cluster, config_with

VALUE = b"what its owner wants to keep"
STRANGERS = 18


@pytest.mark.parametrize("networks", [1, 3])
async def test_keys_that_publish_and_forget_a_value_do_not_keep_its_owner_out(
    networks: int, virtual_clock: VirtualClock
) -> None:
    network = MemoryNetwork(seed=5)
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        cluster = Cluster(nursery, network, config_with(replicate=600.0), seed=5)
        owner = (await cluster.start(endpoint=Endpoint.parse("198.18.0.1:8118"))).node
        strangers = [
            (
                await cluster.start(
                    endpoint=Endpoint.parse(f"198.18.{1 + number % networks}.{number + 1}:8118"),
                    publisher=KeyPair.new(random.Random(number)),
                )
            ).node
            for number in range(STRANGERS)
        ]
        for stranger in strangers:
            await stranger.put(VALUE)
            await stranger.forget(Key.of(VALUE))
        await owner.put(VALUE)
        for stranger in strangers[:3]:
            found: Found = await stranger.get(Key.of(VALUE))
            assert found.value == VALUE
        # Nor while they keep it all.
        await owner.forget(Key.of(VALUE))
        for stranger in strangers[:16]:
            await stranger.put(VALUE)
        await owner.put(VALUE)
        nursery.cancel_scope.cancel()
