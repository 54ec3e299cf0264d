"""Who leaves in good order takes nothing with it: neither for want of time, nor by trusting who goes as well."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Sequence

import attrs
import pytest
import structlog.testing
import trio
import trio.testing

from camomile_trio.config import Config
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import Key, distance
from camomile_trio.kademlia.messages import StoreKind, StoreResult, StoreStatus
from camomile_trio.node.node import Node, open_node
from camomile_trio.node.storing import Storing
from camomile_trio.simulation.links import LinkConditions
from camomile_trio.simulation.network import MemoryNetwork
from camomile_trio.storage.memory import MemoryStorage
from tests.stories.village import Inhabitant, Village, WallClock, small, village

HASTY = small(cache_life=0, hand_over_deadline=1.0)
LEFT = "left without handing all records over"


def far_apart() -> MemoryNetwork:
    """Nodes that hear each other after 20 ms."""
    return MemoryNetwork(seed=1, conditions=LinkConditions(latency=0.020))


async def put_many(node: Node, count: int, word: str = "value", size: int = 0) -> list[Key]:
    """The keys, in their order."""
    keys: list[Key] = []
    few = trio.CapacityLimiter(16)  # more a node would refuse

    async def put(number: int) -> None:
        async with few:
            keys.append((await node.put(f"{word} {number} ".encode().ljust(size, b"."))).key)

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(put, number)
    await trio.sleep(5)
    return sorted(keys)


def has(node: Node, key: Key) -> bool:
    return node.core.holdings.state(key).size is not None


def take_away(place: Village, keys: Sequence[Key], *, but_from: Sequence[Inhabitant]) -> None:
    for each in place.inhabitants:
        if each not in but_from:
            for key in keys:
                each.node.core.storage.remove(key)


def holders(place: Village, key: Key) -> list[Inhabitant]:
    return [each for each in place.inhabitants if has(each.node, key)]


async def leave(place: Village, *leavers: Inhabitant) -> None:
    """All at once."""
    async with trio.open_nursery() as nursery:
        for each in leavers:
            place.inhabitants.remove(each)
            nursery.start_soon(each.leave)


async def test_there_is_time_for_every_key(autojump_clock: trio.testing.MockClock) -> None:
    """One question after another would take twice the time that there is, and the last key is nowhere else."""
    async with village(6, config=HASTY, network=far_apart()) as place:
        keys = await put_many(place[0], 240)
        leaver = place.inhabitants[3]
        take_away(place, keys[-1:], but_from=[leaver])
        await leave(place, leaver)
        assert len(holders(place, keys[-1])) >= 3


async def test_what_is_nowhere_else_goes_first(autojump_clock: trio.testing.MockClock) -> None:
    """Most keys lack a copy, and there is time to send a few."""
    config = small(cache_life=0, repair_rate=1024, hand_over_deadline=5.0)
    async with village(6, config=config) as place:
        keys = await put_many(place[0], 40, size=1000)
        leaver, poor = place.inhabitants[3], place.inhabitants[1]
        alone = keys[-3:]
        take_away(place, keys, but_from=[each for each in place.inhabitants if each is not poor])
        take_away(place, alone, but_from=[leaver])
        with structlog.testing.capture_logs() as logs:
            await leave(place, leaver)
        assert all(holders(place, key) for key in alone)
        assert sum(has(poor.node, key) for key in keys) < len(keys) / 2
        assert LEFT not in [each["event"] for each in logs]  # what poor lacks the others have


async def test_an_heir_that_refuses_is_none(autojump_clock: trio.testing.MockClock) -> None:
    async with village(3, config=small(k=3, cache_life=0)) as place:
        full = await place.open(storage=MemoryStorage(max_bytes=1))
        key = next(key for key in await put_many(place[1], 20) if farthest(place, key, but=1) is full)
        leaver = place.inhabitants[1]
        take_away(place, [key], but_from=[leaver])
        await leave(place, leaver)
        assert len(holders(place, key)) == 2


async def test_two_that_leave_together_do_not_rely_on_each_other(autojump_clock: trio.testing.MockClock) -> None:
    async with village(3, config=small(k=3, cache_life=0), network=far_apart()) as place:
        stays, *leavers = place.inhabitants
        keys = await put_many(stays.node, 20)
        nearest = [key for key in keys if min(place.inhabitants, key=lambda each: away(each, key)) is stays]
        assert nearest
        take_away(place, nearest, but_from=leavers)
        await leave(place, *leavers)
        assert all(has(stays.node, key) for key in nearest)


async def test_what_comes_in_meanwhile_is_handed_over_too(autojump_clock: trio.testing.MockClock) -> None:
    async with village(4, config=HASTY, network=far_apart()) as place:
        await put_many(place[0], 60)
        leaver, sender = place.inhabitants[2], place[1]
        late = await sender.put(b"at one node only")
        row = sender.core.holdings.state(late.key).registers[0].record.row()
        await trio.sleep(5)
        take_away(place, [late.key], but_from=[])
        results: list[StoreResult | None] = []

        def send() -> None:
            Storing(
                sender.core.rpc,
                sender.core.table.get(leaver.node.id) or sender.contacts()[0],
                late.key,
                b"at one node only",
                (row,),
                StoreKind.REPLICATE,
                lambda contact, result: results.append(result),
            ).start()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave, place, leaver)
            await trio.sleep(0.030)
            send()
        assert [each.status for each in results if each] == [StoreStatus.STORED]
        assert len(holders(place, late.key)) == 3


async def test_who_is_as_good_as_gone_takes_nothing_and_nobody_is_refused_for_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with village(4, config=small(cache_life=0)) as place:
        going = place[2].core.holdings
        going.begin_to_leave()
        assert going.take_nothing_more() == []
        key = (await place[1].put(b"meanwhile")).key
        assert not has(place[2], key)
        assert going.refused == {"busy": 1}
        assert (await place[2].get(key)).value == b"meanwhile"


async def test_what_nobody_takes_is_told(autojump_clock: trio.testing.MockClock) -> None:
    async with village(1, config=small(cache_life=0)) as place:
        leaver = place.inhabitants[0]
        keys = await put_many(leaver.node, 30)
        for _ in range(3):
            await place.open(storage=MemoryStorage(max_bytes=1))
        await trio.sleep(5)
        place.inhabitants.remove(leaver)
        with structlog.testing.capture_logs() as logs:
            await leaver.leave()
        (told,) = [each for each in logs if each["event"] == LEFT]
        assert told["unplaced"] == len(keys)
        assert told["not_asked_about"] == 0
        assert "nobody else" in told["because"]
        assert len(told["some"]) == 10
        assert set(told["some"]) <= {key.hex() for key in keys}


async def test_the_end_of_a_whole_network_is_no_news(autojump_clock: trio.testing.MockClock) -> None:
    async with village(4, config=small(cache_life=0)) as place:
        await put_many(place[0], 10)
        with structlog.testing.capture_logs() as logs:
            await leave(place, *place.inhabitants[:2])
            for each in list(place.inhabitants):
                await leave(place, each)
        assert LEFT not in [each["event"] for each in logs]


async def test_nobody_who_answers_is_news(autojump_clock: trio.testing.MockClock) -> None:
    async with village(3, config=small(cache_life=0)) as place:
        await put_many(place[0], 10)
        leaver = place.inhabitants[2]
        place.network.partition([[leaver.endpoint]])
        with structlog.testing.capture_logs() as logs:
            await leave(place, leaver)
        assert LEFT in [each["event"] for each in logs]


async def test_what_there_was_no_time_for_is_told(autojump_clock: trio.testing.MockClock) -> None:
    config: Config = small(cache_life=0, hand_over_deadline=0.03)
    async with village(4, config=config, network=far_apart()) as place:
        await put_many(place[0], 30)
        with structlog.testing.capture_logs() as logs:
            await leave(place, place.inhabitants[2])
        (told,) = [each for each in logs if each["event"] == LEFT]
        assert told["unplaced"] + told["not_asked_about"] == 30
        assert "0.03 s" in told["because"]


async def test_the_next_holder_is_asked_where_the_first_is_silent(autojump_clock: trio.testing.MockClock) -> None:
    async with village(8, config=small(k=3, cache_life=0)) as place:
        leaver = place.inhabitants[4]
        keys = [key for key in await put_many(place[1], 30) if has(leaver.node, key)]
        take_away(place, keys, but_from=[leaver])
        for dead in {farthest(place, key, but=4).endpoint for key in keys[:2]}:
            place.network.crash(dead)
        await leave(place, leaver)
        for key in keys:
            assert holders(place, key)


def away(inhabitant: Inhabitant, key: Key) -> int:
    return distance(inhabitant.node.id, key)


def farthest(place: Village, key: Key, *, but: int, k: int = 3) -> Inhabitant:
    """The last of the k closest to the key, when the one with this number has gone."""
    others = [each for number, each in enumerate(place.inhabitants) if number != but]
    return sorted(others, key=lambda each: away(each, key))[:k][-1]


class TroubleError(Exception):
    """Of the program that embeds the node."""


@pytest.mark.parametrize("way", ["its end", "an exception", "a cancellation"])
async def test_however_the_block_is_left_the_node_hands_over(autojump_clock: trio.testing.MockClock, way: str) -> None:
    async with village(3, config=small(cache_life=0), network=far_apart()) as place:
        storage = MemoryStorage(max_bytes=2**20)
        caught = trio.CancelScope()
        with pytest.raises(TroubleError) if way == "an exception" else contextlib.nullcontext(), caught:
            async with a_node_of_a_program(place, storage) as node:
                key = (await node.put(b"nowhere else")).key
                await trio.sleep(5)
                take_away(place, [key], but_from=[])
                assert not holders(place, key)
                began = trio.current_time()
                if way == "an exception":
                    raise TroubleError
                if way == "a cancellation":
                    caught.cancel()
                    await trio.sleep_forever()
        assert caught.cancelled_caught == (way == "a cancellation")
        assert len(holders(place, key)) == 3
        assert trio.current_time() - began <= place.config.records.hand_over_deadline


async def test_a_hand_over_after_a_cancellation_is_bounded(autojump_clock: trio.testing.MockClock) -> None:
    async with village(3, config=HASTY, network=far_apart()) as place:
        with trio.CancelScope() as scope:
            async with a_node_of_a_program(place, MemoryStorage(max_bytes=2**20)) as node:
                await put_many(node, 20)
                place.network.partition([[node.endpoint]])
                began = trio.current_time()
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert trio.current_time() - began <= HASTY.records.hand_over_deadline + 0.1


async def test_who_crashes_hands_nothing_over(autojump_clock: trio.testing.MockClock) -> None:
    async with village(4, config=small(cache_life=0), network=far_apart()) as place:
        key = (await place[0].put(b"nowhere else")).key
        await trio.sleep(5)
        leaver = place.inhabitants[3]
        take_away(place, [key], but_from=[leaver])
        began = trio.current_time()
        await place.lose(leaver)
        assert trio.current_time() == began
        await trio.sleep(5)
        assert not holders(place, key)


@contextlib.asynccontextmanager
async def a_node_of_a_program(place: Village, storage: MemoryStorage) -> AsyncIterator[Node]:
    """A member of the village whose block is the caller's, joined."""
    async with open_node(
        attrs.evolve(place.config, join=(str(place.inhabitants[0].endpoint),)),
        transport=place.network.open(Endpoint.parse("10.9.0.1:8118")),
        storage=storage,
        wall_clock=WallClock(),
        rng=random.Random(5),
        publisher=place.publisher,
    ) as node:
        await node.wait_ready()
        yield node
