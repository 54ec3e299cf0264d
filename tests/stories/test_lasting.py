"""Values outlive their holders, and end when they should: maintenance in virtual time."""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.errors import Forgotten, NotFound
from camomile_trio.kademlia.ids import distance
from tests.stories.village import Village, small, village

VALUE = b"worth keeping"


def holders(place: Village, key: bytes) -> int:
    """How many nodes store the value's bytes."""
    return sum(each.node._core.holdings.state(key).size is not None for each in place.inhabitants)  # type: ignore[arg-type]


async def test_a_value_outlives_all_of_its_first_holders(autojump_clock: trio.testing.MockClock) -> None:
    config = small(k=4, replicate=300.0, refresh=300.0, cache_life=0)
    async with village(20, config=config) as place:
        key = (await place[1].put(VALUE)).key
        await trio.sleep(10)
        first = [each for each in place.inhabitants[2:] if each.node._core.holdings.state(key).size is not None]
        assert len(first) >= 3
        for holder in first:
            await place.lose(holder)
            await trio.sleep(900)  # a replication round, and time to notice
        assert (await place[3].get(key)).value == VALUE
        assert holders(place, key) >= 4


async def test_a_newcomer_is_given_what_it_should_hold(autojump_clock: trio.testing.MockClock) -> None:
    async with village(6, config=small(cache_life=0)) as place:
        key = (await place[0].put(VALUE)).key
        newcomer = await place.open()
        await trio.sleep(10)
        assert newcomer.node._core.holdings.state(key).size == len(VALUE)


async def test_who_leaves_hands_over(autojump_clock: trio.testing.MockClock) -> None:
    config = small(k=3, cache_life=0)
    async with village(12, config=config) as place:
        key = (await place[0].put(VALUE)).key
        await trio.sleep(5)
        for inhabitant in sorted(place.inhabitants[1:], key=lambda each: distance(each.node.id, key))[:4]:
            place.inhabitants.remove(inhabitant)
            await inhabitant.leave()
            await trio.sleep(10)
        assert (await place[1].get(key)).value == VALUE


async def test_a_lease_is_renewed_while_its_publisher_lives(autojump_clock: trio.testing.MockClock) -> None:
    config = small(lease=3600.0, cache_life=0)
    async with village(6, config=config) as place:
        key = (await place[2].put(VALUE)).key
        await trio.sleep(5 * 3600)
        assert (await place[4].get(key)).value == VALUE


async def test_the_shortest_leases_are_renewed_in_time(autojump_clock: trio.testing.MockClock) -> None:
    """Values are put while the task that renews sleeps: the least lease ends before it would wake by itself."""
    async with village(4, config=small(lease=60.0, cache_life=0)) as place:
        await trio.sleep(300)
        keys = []
        for number in range(12):
            keys.append((await place[number % 4].put(b"value %d" % number)).key)
            await trio.sleep(7)
        for _ in range(60):
            await trio.sleep(5)
            for key in keys:
                await place[3].get(key)


async def test_a_lease_that_is_not_renewed_ends_everywhere(autojump_clock: trio.testing.MockClock) -> None:
    async with village(6, config=small(cache_life=0)) as place:
        key = (await place[2].put(VALUE, ttl=600.0)).key
        await trio.sleep(590)
        assert (await place[4].get(key)).value == VALUE
        await trio.sleep(20)
        for node in place.nodes:
            with pytest.raises(NotFound):
                await node.get(key)
        assert holders(place, key) == 0


async def test_what_was_forgotten_does_not_come_back(autojump_clock: trio.testing.MockClock) -> None:
    """A holder that slept through the forget brings its stale lease, and is given the tombstone."""
    config = small(k=4, replicate=300.0, refresh=300.0, cache_life=0)
    async with village(8, config=config) as place:
        key = (await place[1].put(VALUE)).key
        await trio.sleep(5)
        sleeper = next(each for each in place.inhabitants[2:] if each.node._core.holdings.state(key).size)
        others = [each.endpoint for each in place.inhabitants if each is not sleeper]
        place.network.partition([others, [sleeper.endpoint]])
        await place[1].forget(key)
        await trio.sleep(30)
        place.network.heal_all()
        await trio.sleep(1500)
        assert holders(place, key) == 0
        for node in place.nodes:
            with pytest.raises(Forgotten):
                await node.get(key)


async def test_a_put_after_a_forget_brings_the_value_back(autojump_clock: trio.testing.MockClock) -> None:
    async with village(5, config=small(cache_life=0)) as place:
        key = (await place[1].put(VALUE)).key
        await place[2].forget(key)
        await place[3].put(VALUE)
        assert (await place[4].get(key)).value == VALUE
        await place[1].forget(key)
        with pytest.raises(Forgotten):
            await place[4].get(key)


async def test_the_dead_cost_a_put_no_more_than_their_timeouts(autojump_clock: trio.testing.MockClock) -> None:
    async with village(50) as place:
        await place[1].put(b"warm up")
        for inhabitant in place.inhabitants[10:20]:
            await inhabitant.crash()
        began = trio.current_time()
        await place[1].put(VALUE)
        # One retransmission timeout for the dead that are met, not their deadline.
        assert trio.current_time() - began < attrs.evolve(place.config.requests).deadline / 2
