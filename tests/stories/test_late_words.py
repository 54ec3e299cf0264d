"""Words that come late, copies that outlive them, and puts that came to nothing."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from camomile_trio.errors import NoMajority, NotFound
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import Message, Packet, Store
from camomile_trio.simulation.links import LinkConditions
from tests.stories.measuring import KEY, VALUE
from tests.stories.strangers import Stranger, a_stranger, truthful
from tests.stories.village import small, village


async def test_a_forget_empties_the_cache_of_the_node_that_forgets(autojump_clock: trio.testing.MockClock) -> None:
    async with village(12, config=small(k=3)) as place:
        await place[1].put(VALUE)
        await trio.sleep(3)
        far = next(node for node in place.nodes[2:] if node._core.holdings.served(KEY) is None)
        await far.get(KEY)
        assert far._core.holdings.served(KEY) is not None
        await far.forget(KEY)
        assert far._core.holdings.served(KEY) is None
        with pytest.raises(NotFound):
            await far.get(KEY)


async def test_cached_copies_end_within_their_life(autojump_clock: trio.testing.MockClock) -> None:
    async with village(12, config=small(k=3)) as place:
        await place[1].put(VALUE)
        await trio.sleep(3)
        far = next(node for node in place.nodes[2:] if node._core.holdings.served(KEY) is None)
        await far.get(KEY)
        await place[1].forget(KEY)
        await trio.sleep(50)
        assert (await far.get(KEY)).value == VALUE  # so long it may be served without asking
        await trio.sleep(12)
        for node in place.nodes:
            with pytest.raises(NotFound):
                await node.get(KEY)


# Long enough for a forget to overtake a STORE, and short enough for the lookup to wait for the node behind it.
SLOW_LINK = LinkConditions(latency=0.04)


async def test_a_store_that_comes_late_does_not_undo_a_forget(autojump_clock: trio.testing.MockClock) -> None:
    """One holder's link is slow: it hears of the forget before it hears of the put. Whoever put is told of the
    tombstone then, and must not take it for an old one that the put has overruled."""
    async with village(8, config=small(cache_life=0)) as place:
        slow = place.inhabitants[5]
        place.network.set_conditions(place.inhabitants[2].endpoint, slow.endpoint, SLOW_LINK)
        await place[2].put(VALUE)
        assert slow.node._core.holdings.state(KEY).size is None
        await place[3].forget(KEY)
        await trio.sleep(30)
        assert slow.node._core.holdings.refused["stale"] == 1
        for node in place.nodes:
            with pytest.raises(NotFound):
                await node.get(KEY)


async def test_a_forget_that_comes_late_does_not_undo_a_put(autojump_clock: trio.testing.MockClock) -> None:
    async with village(8, config=small(cache_life=0)) as place:
        await place[2].put(VALUE)
        await trio.sleep(3)
        slow = place.inhabitants[5]
        place.network.set_conditions(place.inhabitants[2].endpoint, slow.endpoint, SLOW_LINK)
        await place[2].forget(KEY)
        await place[3].put(VALUE)
        await trio.sleep(30)
        assert slow.node._core.holdings.refused["stale"] == 1
        for node in place.nodes:
            assert (await node.get(KEY)).value == VALUE


async def test_a_put_that_failed_publishes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """And takes nothing from one that succeeded before."""
    async with village(2, config=small(cache_life=0)) as place:
        node, earlier = place[1], b"an earlier value"
        await node.put(earlier)
        for number in range(1, 7):
            await a_stranger(f"stranger {number}", number, behave=storing_nothing).settle(place)
        for value in (VALUE, earlier):
            await trio.sleep(61)  # who has just missed a deadline is not waited for, and does not count
            with pytest.raises(NoMajority):
                await node.put(value)
        assert not node._core.holdings.state(KEY).published
        assert node._core.holdings.state(Key.of(earlier)).published


def storing_nothing(stranger: Stranger, packet: Packet) -> Message | None:
    return None if isinstance(packet.message, Store) else truthful(stranger, packet)
