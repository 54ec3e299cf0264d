"""A node that starts again with what it held looks at what may have changed, not at every record that it has."""

from __future__ import annotations

import random

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.kademlia.ids import Key
from camomile_trio.node.clocks import PATIENCE
from camomile_trio.node.holdings import NOBODY_SLEEPS, SLEEPERS, SOMEBODY_SLEEPS
from camomile_trio.node.renewing import Renewing
from camomile_trio.node.verdicts import CHECKED_AGAIN_AFTER
from camomile_trio.simulation.disk import SimulatedDisk
from tests.stories.village import small, village

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


async def test_a_start_after_a_short_while_walks_over_nothing(
    autojump_clock: trio.testing.MockClock, walks: list[float]
) -> None:
    async with village(4, config=small()) as place:
        disk = SimulatedDisk(sync="os", max_bytes=2**20, rng=random.Random(1))
        node = await place.open(storage=disk.open())
        await node.node.put(b"stays")
        await trio.sleep(60)
        assert node.node.core.storage.note(SLEEPERS) == NOBODY_SLEEPS
        await place.lose(node)
        disk.crash()
        walks.clear()
        again = await place.open(storage=disk.open())
        await trio.sleep(120)
        assert walks == []
        assert (await again.node.get(Key.of(b"stays"))).live


async def test_a_lease_that_ended_meanwhile_is_found_and_woken_once_the_clock_is_believed(
    autojump_clock: trio.testing.MockClock, walks: list[float]
) -> None:
    async with village(1, config=small()) as place:
        disk = SimulatedDisk(sync="os", max_bytes=2**20, rng=random.Random(1))
        node = await place.open(storage=disk.open())
        await node.node.put(b"sleeps")
        await trio.sleep(60)
        await place.lose(node)
        await place.lose(place.inhabitants[0])  # and with it the network
        disk.crash()
        await trio.sleep(30 * DAY)
        walks.clear()
        began = trio.current_time()
        again = await place.open(storage=disk.open(), config=attrs.evolve(small(), expect=1))
        await trio.sleep(PATIENCE + 60)
        assert walks
        # Nobody is there to say whether so long a time has really passed.
        assert PATIENCE <= walks[0] - began < PATIENCE + 2 * CHECKED_AGAIN_AFTER
        assert again.node.core.storage.note(SLEEPERS) == SOMEBODY_SLEEPS
        assert again.node.core.holdings.state(Key.of(b"sleeps")).published


async def test_what_somebody_asks_for_is_compared_before_all_the_rest(autojump_clock: trio.testing.MockClock) -> None:
    slow = small(cache_life=0, repair_rate=1024)
    async with village(4, config=slow) as place:
        disk = SimulatedDisk(sync="os", max_bytes=2**20, rng=random.Random(1))
        node = await place.open(storage=disk.open())
        keys = sorted([(await node.node.put(b"one of many %d" % number)).key for number in range(200)])
        await trio.sleep(60)
        await place.lose(node)
        disk.crash()
        again = await place.open(storage=disk.open())
        holdings = again.node.core.holdings
        last, beside_it = keys[-1], keys[-2]
        assert holdings.served(last) is None  # for it may have been forgotten meanwhile
        assert (await again.node.get(last)).value
        await trio.sleep(2)
        assert holdings.served(last) is not None
        assert holdings.served(beside_it) is None
        await trio.sleep(3600)
        assert holdings.served(beside_it) is not None
