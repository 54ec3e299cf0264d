"""Only UDP is open: values that need TCP are refused, and the reason is named to the caller and in the log."""

from __future__ import annotations

import pytest
import structlog
import trio
import trio.testing

from camomile_trio.errors import NoMajority, Unavailable
from camomile_trio.peer.stream_troubles import LOGGED_AGAIN_AFTER
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.simulation.links import LinkConditions, StreamConditions
from camomile_trio.simulation.network import MemoryNetwork
from tests.fixtures.cluster import config_with, open_cluster

LINE = "a peer answers by UDP but not by TCP"
LARGE = bytes(100_000)
OPEN = LinkConditions()
REFUSED = LinkConditions(streams=StreamConditions(refusal=1.0))
DROPPED = LinkConditions(streams=StreamConditions(stall=1.0))


@pytest.mark.parametrize("closed", [REFUSED, DROPPED])
async def test_a_put_that_fails_for_want_of_tcp_says_so(virtual_clock: VirtualClock, closed: LinkConditions) -> None:
    network = MemoryNetwork(seed=1, conditions=closed)
    with structlog.testing.capture_logs() as logs:
        async with open_cluster(5, config=config_with(cache_life=0), network=network) as cluster:
            assert (await cluster[0].put(b"small")).replicas >= 3
            with pytest.raises(NoMajority, match="TCP failed to 4 nodes that answer by UDP") as caught:
                await cluster[0].put(LARGE)
            assert "TCP" in caught.value.remedy
            for number in range(5):
                with pytest.raises(NoMajority, match="TCP"):
                    await cluster[0].put(LARGE + bytes(number + 1))
            await trio.sleep(60)
    lines = [each for each in logs if each["event"] == LINE]
    assert 1 <= len(lines) <= 5  # at most once at each node
    assert all(each["because"] for each in lines)


async def test_a_get_that_fails_for_want_of_tcp_says_so(virtual_clock: VirtualClock) -> None:
    async with open_cluster(5, config=config_with(k=3, cache_life=0)) as cluster:
        key = (await cluster[0].put(LARGE)).key
        reader = next(each for each in cluster.machines if not each.holds(key)).node
        cluster.network.set_conditions(None, None, REFUSED)
        with pytest.raises(Unavailable, match="TCP failed to"):
            await reader.get(key)
        cluster.network.set_conditions(None, None, OPEN)
        assert (await reader.get(key)).value == LARGE


async def test_a_node_that_has_died_is_not_called_closed(virtual_clock: VirtualClock) -> None:
    """Its stream fails as well, but it answers no ping."""
    with structlog.testing.capture_logs() as logs:
        async with open_cluster(5, config=config_with(cache_life=0)) as cluster:
            await cluster.lose(cluster.machines[4])
            await cluster[0].put(LARGE)
            await trio.sleep(LOGGED_AGAIN_AFTER)
    assert LINE not in [each["event"] for each in logs]


async def test_once_tcp_is_open_the_same_put_succeeds_and_nothing_is_said_of_it(
    virtual_clock: VirtualClock,
) -> None:
    network = MemoryNetwork(seed=1, conditions=REFUSED)
    async with open_cluster(3, config=config_with(cache_life=0), network=network) as cluster:
        with pytest.raises(NoMajority, match="TCP"):
            await cluster[0].put(LARGE)
        network.set_conditions(None, None, OPEN)
        assert (await cluster[0].put(LARGE)).replicas >= 2
