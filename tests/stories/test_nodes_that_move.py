"""Nodes come back at other addresses: each is found where it is now, and misses no forget."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing

from camomile_trio.errors import Forgotten
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.simulation.disk import SimulatedDisk
from tests.fixtures.cluster import config_with, open_cluster

pytestmark = pytest.mark.long


async def test_two_nodes_that_swapped_addresses_hear_of_every_forget(virtual_clock: VirtualClock) -> None:
    async with open_cluster(10, config=config_with(cache_life=0)) as cluster:
        keys = [(await cluster[1].put(b"value %d" % number)).key for number in range(20)]
        movers = cluster.machines[4], cluster.machines[7]
        endpoints = [mover.endpoint for mover in movers]
        identities = [mover.identity for mover in movers]
        for mover in movers:
            await cluster.lose(mover)
        moved = [
            await cluster.start(identity=identity, endpoint=endpoint)
            for identity, endpoint in zip(identities, reversed(endpoints), strict=True)
        ]
        await trio.sleep(2 * 3600)  # they are given their records anew, by replication at the latest
        assert all(each.holds(key) for each in moved for key in keys)
        for number, key in enumerate(keys):
            await cluster[number % len(cluster.nodes)].forget(key)
        await trio.sleep(5)
        for each in moved:
            for key in keys:
                assert each.state(key).size is None
                with pytest.raises(Forgotten):
                    await each.node.get(key)


async def test_a_put_that_asks_them_at_their_old_places_does_not_wait_and_they_get_it_once_they_are_met(
    virtual_clock: VirtualClock,
) -> None:
    """The sessions of the node that puts lead to the old places, and what is sealed for one of the two the other one
    there cannot open: both are silent, until a handshake tells where they are now."""
    async with open_cluster(10, config=config_with(cache_life=0)) as cluster:
        await trio.sleep(120)
        putter, *movers = (cluster.machines[index] for index in (2, 4, 7))
        endpoints = [mover.endpoint for mover in movers]
        identities = [mover.identity for mover in movers]
        for mover in movers:
            await cluster.lose(mover)
        for endpoint in endpoints:
            cluster.network.cut(putter.endpoint, endpoint)
        moved = [
            await cluster.start(identity=identity, endpoint=endpoint)
            for identity, endpoint in zip(identities, reversed(endpoints), strict=True)
        ]
        await trio.sleep(5)
        cluster.network.heal_all()
        began = trio.current_time()
        key = (await putter.node.put(b"worth keeping")).key
        assert trio.current_time() - began < putter.node.config.requests.deadline
        assert not any(each.holds(key) for each in moved)
        await trio.sleep(30)
        assert all(each.holds(key) for each in moved)
        assert {each.contact for each in moved} <= set(putter.node.contacts())


async def test_they_are_told_from_the_first_seconds_on(virtual_clock: VirtualClock) -> None:
    """Their own questions show where they are now: nobody waits for a lookup that fails at the old cluster."""
    disks = [SimulatedDisk(sync="os", max_bytes=2**20, rng=random.Random(number)) for number in range(2)]
    async with open_cluster(8, config=config_with(cache_life=0)) as cluster:
        movers = [await cluster.start(storage=disk.open()) for disk in disks]
        keys = [(await cluster[1].put(b"value %d" % number)).key for number in range(20)]
        await trio.sleep(60)
        endpoints = [mover.endpoint for mover in movers]
        identities = [mover.identity for mover in movers]
        for mover, disk in zip(movers, disks, strict=True):
            await cluster.lose(mover)
            disk.crash()
        moved = [
            await cluster.start(identity=identity, endpoint=endpoint, storage=disk.open())
            for identity, endpoint, disk in zip(identities, reversed(endpoints), disks, strict=True)
        ]
        await trio.sleep(5)
        for number, key in enumerate(keys):
            await cluster[number % 8].forget(key)
        await trio.sleep(5)
        for each in moved:
            assert [key for key in keys if each.holds(key)] == []
