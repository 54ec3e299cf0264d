"""Disks without room under whole nodes: whoever puts hears the reason, all the more so when most of them are full."""

from __future__ import annotations

import random

import pytest

from camomile_trio.errors import DiskFull, NoMajority, StorageFull
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.simulation.disk import DiskFaults, SimulatedDisk
from tests.fixtures.cluster import Cluster, config_with, open_cluster

VALUE = b"larger than the room that is left"


async def settle_with_disks(cluster: Cluster, count: int) -> list[SimulatedDisk]:
    disks = [SimulatedDisk(sync="os", max_bytes=2**20, rng=random.Random(number)) for number in range(count)]
    for disk in disks:
        await cluster.start(storage=disk.open())
    return disks


async def test_when_most_disks_are_full_the_caller_hears_that(virtual_clock: VirtualClock) -> None:
    async with open_cluster(0, config=config_with(cache_life=0)) as cluster:
        disks = await settle_with_disks(cluster, 5)
        for disk in disks[:3]:
            disk.set_faults(DiskFaults(is_full=True))
        for node in cluster.nodes:
            with pytest.raises(DiskFull) as refused:
                await node.put(VALUE)
            assert refused.value.remedy == "make room on these disks, or add nodes"
        for disk in disks:
            disk.set_faults()
        assert (await cluster[0].put(VALUE)).replicas >= 3


async def test_storages_that_hold_as_much_as_they_may_name_the_setting_and_not_the_disk(
    virtual_clock: VirtualClock,
) -> None:
    async with open_cluster(0, config=config_with(cache_life=0)) as cluster:
        for number in range(3):
            await cluster.start(storage=SimulatedDisk(sync="os", max_bytes=100, rng=random.Random(number)).open())
        with pytest.raises(StorageFull) as refused:
            await cluster[0].put(VALUE)
        assert "--max-storage" in refused.value.remedy
        assert "disk" not in f"{refused.value} {refused.value.remedy}"


async def test_full_disks_and_full_storages_are_one_reason_and_both_remedies_are_named(
    virtual_clock: VirtualClock,
) -> None:
    async with open_cluster(0, config=config_with(cache_life=0)) as cluster:
        disks = await settle_with_disks(cluster, 2)
        for number in (2, 3):
            await cluster.start(storage=SimulatedDisk(sync="os", max_bytes=100, rng=random.Random(number)).open())
        for disk in disks:
            disk.set_faults(DiskFaults(is_full=True))
        with pytest.raises(StorageFull, match="2 have no room on their disks, 2 hold as much") as refused:
            await cluster[3].put(VALUE)
        assert "make room on the disks, raise --max-storage" in refused.value.remedy


async def test_reasons_of_fewer_than_most_are_said_too(virtual_clock: VirtualClock) -> None:
    """Half is enough to leave no majority, and not enough to speak for all."""
    async with open_cluster(0, config=config_with(cache_life=0)) as cluster:
        disks = await settle_with_disks(cluster, 4)
        for disk in disks[:2]:
            disk.set_faults(DiskFaults(is_full=True))
        with pytest.raises(NoMajority, match="2 said no room"):
            await cluster[3].put(VALUE)


async def test_disks_that_fail_are_not_called_full(virtual_clock: VirtualClock) -> None:
    async with open_cluster(0, config=config_with(cache_life=0)) as cluster:
        for disk in await settle_with_disks(cluster, 4):
            disk.set_faults(DiskFaults(fails_writes=True))
        with pytest.raises(NoMajority, match="the storage of most of the holders fails"):
            await cluster[1].put(VALUE)
