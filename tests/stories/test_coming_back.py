"""Who could not listen hears what happened, and what is far off is found."""

from __future__ import annotations

import trio
import trio.testing

from camomile_trio.kademlia.ids import distance
from tests.stories.village import Inhabitant, small, village

VALUE = b"worth keeping"


def has_tombstone(inhabitant: Inhabitant, key: bytes) -> bool:
    state = inhabitant.node._core.holdings.state(key)  # type: ignore[arg-type]
    return any(each.record.is_tombstone for each in state.registers)


async def test_a_holder_that_could_not_be_reached_is_told_soon_after_it_can(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Long before the next round of replication, which comes within the hour."""
    async with village(8, config=small(k=4, cache_life=0)) as place:
        key = (await place[1].put(VALUE)).key
        await trio.sleep(5)
        deaf = min(place.inhabitants[2:], key=lambda each: distance(each.node.id, key))
        assert deaf.node._core.holdings.state(key).size
        others = [each.endpoint for each in place.inhabitants if each is not deaf]
        place.network.partition([others, [deaf.endpoint]])
        await place[1].forget(key)
        assert place[1].statistics().gauges["reminders_waiting", ()] >= 1
        await trio.sleep(20)
        assert not has_tombstone(deaf, key)
        place.network.heal_all()
        await trio.sleep(60)
        assert has_tombstone(deaf, key)
        assert place[1].statistics().gauges["reminders_waiting", ()] == 0


async def test_a_former_holder_is_told_of_a_forget(autojump_clock: trio.testing.MockClock) -> None:
    """Newcomers have pushed it out of the k closest, and its copy is still there."""
    async with village(5, config=small(k=4, cache_life=0)) as place:
        key = (await place[1].put(VALUE)).key
        await trio.sleep(5)
        await place.settle(3)
        await trio.sleep(10)
        ranked = sorted(place.inhabitants, key=lambda each: distance(each.node.id, key))
        former = [each for each in ranked[4:] if each.node._core.holdings.state(key).size]
        assert former
        await place[1].forget(key)
        await trio.sleep(5)
        assert all(has_tombstone(each, key) for each in former)


async def test_a_publisher_far_from_its_key_finds_the_holders(autojump_clock: trio.testing.MockClock) -> None:
    """A small bucket knows only some of the far nodes. What is far off is looked up before it is offered."""
    async with village(24, config=small(k=2, replicate=300.0, refresh=300.0, cache_life=0)) as place:
        key = (await place[1].put(VALUE)).key
        await trio.sleep(1000)
        ranked = sorted(place.inhabitants, key=lambda each: distance(each.node.id, key))
        for holder in ranked[:2]:
            if holder.node is not place[1]:
                holder.node._core.holdings.drop_copy(key)
        for other in ranked[2:]:
            if other.node is not place[1]:
                other.node._core.storage.remove(key)
        await trio.sleep(1000)
        assert all(each.node._core.holdings.state(key).size for each in ranked[:2])


async def test_two_puts_of_one_value_do_not_undo_each_other(autojump_clock: trio.testing.MockClock) -> None:
    """One is given up while the other is accepted: the value stays published."""
    async with village(4, config=small(cache_life=0)) as place:
        node = place[1]
        given_up = trio.CancelScope()

        async def give_up() -> None:
            with given_up:
                await node.put(VALUE)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(give_up)
            await trio.testing.wait_all_tasks_blocked()
            key = (await node.put(VALUE)).key
            given_up.cancel()
        await trio.sleep(5)
        assert node._core.holdings.state(key).published
