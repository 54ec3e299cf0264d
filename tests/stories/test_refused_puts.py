"""A put that most holders refuse for good: what it leaves behind, and where."""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.errors import Forgotten, StorageFull, ValueTooLarge
from camomile_trio.kademlia.ids import Key
from camomile_trio.node.node import Node
from camomile_trio.storage.memory import MemoryStorage
from tests.stories.village import Village, small, village

LARGE = bytes(2000)
KEY = Key.of(LARGE)


def size_of(node: Node) -> tuple[int, int]:
    status = node.status()
    return status.keys, status.bytes


def kinds(node: Node) -> list[str]:
    return [record.kind for record in node.records().records]


async def settle_with_small_values(place: Village, count: int) -> list[Node]:
    """Nodes that refuse LARGE."""
    modest = attrs.evolve(place.config, records=attrs.evolve(place.config.records, max_value_size=1000))
    return [(await place.open(config=modest)).node for _ in range(count)]


async def test_puts_that_a_full_store_refused_leave_it_as_it_was(autojump_clock: trio.testing.MockClock) -> None:
    async with village(0, config=small(cache_life=0)) as place:
        for _ in range(4):
            await place.open(storage=MemoryStorage(max_bytes=100_000))
        for number in range(3):
            await place[0].put(bytes([number]) * 30_000)
        await trio.sleep(5)
        before = [size_of(node) for node in place.nodes]
        for number in range(40):
            with pytest.raises(StorageFull):
                await place[number % 4].put(bytes([100 + number]) * 30_000)
        await trio.sleep(60)
        assert [size_of(node) for node in place.nodes] == before
        assert (await place[1].put(b"6bytes")).replicas >= 3


async def test_a_refused_put_is_withdrawn_only_where_it_was_taken(autojump_clock: trio.testing.MockClock) -> None:
    async with village(2, config=small(cache_life=0)) as place:
        refusing = await settle_with_small_values(place, 5)
        with pytest.raises(ValueTooLarge):
            await place[1].put(LARGE)
        await trio.sleep(30)
        assert [kinds(node) for node in refusing] == [[]] * 5
        assert kinds(place[0]) == ["tombstone"]
        assert kinds(place[1]) == []  # the node that put it has taken it back
        for node in place.nodes:
            with pytest.raises(Forgotten):
                await node.get(KEY)


async def test_a_refused_put_does_not_forget_what_an_earlier_put_keeps(autojump_clock: trio.testing.MockClock) -> None:
    async with village(3, config=small(cache_life=0)) as place:
        await place[1].put(LARGE)
        await settle_with_small_values(place, 8)
        putting = await place.open()
        with pytest.raises(ValueTooLarge):
            await putting.node.put(LARGE)
        await trio.sleep(7200)
        for node in place.nodes:
            assert (await node.get(KEY)).value == LARGE
