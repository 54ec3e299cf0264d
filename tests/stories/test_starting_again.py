"""A node that starts again with what it held looks at what may have changed, not at every record that it has."""

from __future__ import annotations

import random

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.holding.holdings import NOBODY_SLEEPS, SLEEPERS, SOMEBODY_SLEEPS
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import FindValue, Value
from camomile_trio.node.clocks import PATIENCE
from camomile_trio.node.renewing import Renewing
from camomile_trio.peer.silence import CHECKED_AGAIN_AFTER
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.simulation.disk import SimulatedDisk
from tests.fixtures.cluster import config_with, open_cluster
from tests.fixtures.peers import network_peer

pytestmark = pytest.mark.long

DAY = 86400.0


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When somebody walked over all its records to find leases that sleep."""
    seen: list[float] = []
    wake_all = Renewing.wake_all

    async def noted(renewing: Renewing) -> bool:
        seen.append(trio.current_time())
        return await wake_all(renewing)

    monkeypatch.setattr(Renewing, "wake_all", noted)
    return seen


async def test_a_start_after_a_short_while_walks_over_nothing(virtual_clock: VirtualClock, walks: list[float]) -> None:
    async with open_cluster(4, config=config_with()) as cluster:
        disk = SimulatedDisk(sync="os", max_bytes=2**20, rng=random.Random(1))
        node = await cluster.start(storage=disk.open())
        await node.node.put(b"stays")
        await trio.sleep(60)
        assert node.storage.note(SLEEPERS) == NOBODY_SLEEPS
        await cluster.lose(node)
        disk.crash()
        walks.clear()
        again = await cluster.start(storage=disk.open())
        await trio.sleep(120)
        assert walks == []
        assert (await again.node.get(Key.of(b"stays"))).live


async def test_a_lease_that_ended_meanwhile_is_found_and_woken_once_the_clock_is_believed(
    virtual_clock: VirtualClock, walks: list[float]
) -> None:
    async with open_cluster(1, config=config_with()) as cluster:
        disk = SimulatedDisk(sync="os", max_bytes=2**20, rng=random.Random(1))
        node = await cluster.start(storage=disk.open())
        await node.node.put(b"sleeps")
        await trio.sleep(60)
        await cluster.lose(node)
        await cluster.lose(cluster.machines[0])  # and with it the network
        disk.crash()
        await trio.sleep(30 * DAY)
        walks.clear()
        began = trio.current_time()
        again = await cluster.start(storage=disk.open(), config=attrs.evolve(config_with(), expect=1))
        await trio.sleep(PATIENCE + 60)
        assert walks
        # Nobody is there to say whether so long a time has really passed.
        assert PATIENCE <= walks[0] - began < PATIENCE + 2 * CHECKED_AGAIN_AFTER
        assert again.storage.note(SLEEPERS) == SOMEBODY_SLEEPS
        assert again.state(Key.of(b"sleeps")).published


async def test_what_somebody_asks_for_is_compared_before_all_the_rest(virtual_clock: VirtualClock) -> None:
    slow = config_with(cache_life=0, repair_rate=1024)
    async with open_cluster(4, config=slow) as cluster:
        disk = SimulatedDisk(sync="os", max_bytes=2**20, rng=random.Random(1))
        node = await cluster.start(storage=disk.open())
        keys = sorted([(await node.node.put(b"one of many %d" % number)).key for number in range(200)])
        await trio.sleep(60)
        await cluster.lose(node)
        disk.crash()
        again = await cluster.start(storage=disk.open())
        asking = network_peer("asking", 1)
        await asking.join(cluster)

        async def serves(key: Key) -> bool:
            answer = await asking.answer_to(FindValue(key), again.contact)
            assert isinstance(answer, Value)
            return answer.value is not None

        last, beside_it = keys[-1], keys[-2]
        assert not await serves(last)  # for it may have been forgotten meanwhile
        assert (await again.node.get(last)).value
        await trio.sleep(2)
        assert await serves(last)
        assert not await serves(beside_it)
        await trio.sleep(3600)
        assert await serves(beside_it)
