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
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.counting import Counting, Cover
from camomile_trio.kademlia.ids import Key, distance
from camomile_trio.kademlia.messages import (
    Have,
    HaveResult,
    Holding,
    Message,
    Store,
    StoreKind,
    StoreResult,
    StoreStatus,
)
from camomile_trio.node.node import Node, open_node
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.simulation.links import LinkConditions
from camomile_trio.simulation.network import MemoryNetwork
from camomile_trio.storage.memory import MemoryStorage
from tests.fixtures.cluster import SUITE, Cluster, Machine, WallClock, config_with, open_cluster
from tests.fixtures.peers import accepting, network_peer
from tests.fixtures.records import ALICE, lease_of
from tests.fixtures.speaker import Heard

HASTY = config_with(cache_life=0, hand_over_deadline=1.0)
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


def take_away(cluster: Cluster, keys: Sequence[Key], *, but_from: Sequence[Machine]) -> None:
    for each in cluster.machines:
        if each not in but_from:
            for key in keys:
                each.storage.remove(key)


def holders(cluster: Cluster, key: Key) -> list[Machine]:
    return [each for each in cluster.machines if each.holds(key)]


async def leave(cluster: Cluster, *leavers: Machine) -> None:
    """All at once."""
    async with trio.open_nursery() as nursery:
        for each in leavers:
            cluster.machines.remove(each)
            nursery.start_soon(each.leave)


async def test_there_is_time_for_every_key(virtual_clock: VirtualClock) -> None:
    """One question after another would take twice the time that there is, and the last key is nowhere else."""
    async with open_cluster(6, config=HASTY, network=far_apart()) as cluster:
        keys = await put_many(cluster[0], 240)
        leaver = cluster.machines[3]
        take_away(cluster, keys[-1:], but_from=[leaver])
        await leave(cluster, leaver)
        assert len(holders(cluster, keys[-1])) >= 3


async def test_what_is_nowhere_else_goes_first(virtual_clock: VirtualClock) -> None:
    """Most keys lack a copy, and there is time to send a few."""
    config = config_with(cache_life=0, repair_rate=1024, hand_over_deadline=5.0)
    async with open_cluster(6, config=config) as cluster:
        keys = await put_many(cluster[0], 40, size=1000)
        leaver, poor = cluster.machines[3], cluster.machines[1]
        alone = keys[-3:]
        take_away(cluster, keys, but_from=[each for each in cluster.machines if each is not poor])
        take_away(cluster, alone, but_from=[leaver])
        with structlog.testing.capture_logs() as logs:
            await leave(cluster, leaver)
        assert all(holders(cluster, key) for key in alone)
        assert sum(poor.holds(key) for key in keys) < len(keys) / 2
        assert LEFT not in [each["event"] for each in logs]  # what poor lacks the others have


async def test_an_heir_that_refuses_is_none(virtual_clock: VirtualClock) -> None:
    async with open_cluster(3, config=config_with(k=3, cache_life=0)) as cluster:
        full = await cluster.start(storage=MemoryStorage(max_bytes=1))
        key = next(key for key in await put_many(cluster[1], 20) if farthest(cluster, key, but=1) is full)
        leaver = cluster.machines[1]
        take_away(cluster, [key], but_from=[leaver])
        await leave(cluster, leaver)
        assert len(holders(cluster, key)) == 2


async def test_what_nodes_say_whose_word_does_not_count_is_no_copy(
    virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are the closest, and say that they have the only value that is left."""
    surplus: set[bytes] = set()
    cover = Counting.cover

    def without_surplus(self: Counting, contacts: Sequence[Contact], k: int) -> Cover:
        return cover(self, [each for each in contacts if each.id not in surplus], k)

    monkeypatch.setattr(Counting, "cover", without_surplus)
    async with open_cluster(5, config=config_with(k=8, cache_life=0)) as cluster:
        leaver = cluster.machines[2]
        (key,) = await put_many(cluster[1], 1)
        row = leaver.state(key).registers[0].record.row()

        def having(heard: Heard) -> Message | None:
            if isinstance(heard.message, Have):
                return HaveResult(tuple(Holding(each, True, (row,)) for each in heard.message.keys))
            return accepting(heard)

        for number in range(1, 4):
            liar = network_peer(f"liar {number}", number, near=key, behave=having)
            surplus.add(liar.id)
            await liar.join(cluster)
        nearest = {contact.id for contact in leaver.table.closest(key, 3)}
        assert nearest == surplus
        take_away(cluster, [key], but_from=[leaver])
        await leave(cluster, leaver)
        assert len(holders(cluster, key)) >= 2


async def test_two_that_leave_together_do_not_rely_on_each_other(virtual_clock: VirtualClock) -> None:
    async with open_cluster(3, config=config_with(k=3, cache_life=0), network=far_apart()) as cluster:
        stays, *leavers = cluster.machines
        keys = await put_many(stays.node, 20)
        nearest = [key for key in keys if min(cluster.machines, key=lambda each: away(each, key)) is stays]
        assert nearest
        take_away(cluster, nearest, but_from=leavers)
        await leave(cluster, *leavers)
        assert all(stays.holds(key) for key in nearest)


async def test_what_comes_in_meanwhile_is_handed_over_too(virtual_clock: VirtualClock) -> None:
    async with open_cluster(4, config=HASTY, network=far_apart()) as cluster:
        value = b"at one node only"
        key = Key.of(value)
        sender = network_peer("sender", 1)
        await sender.join(cluster)
        await put_many(cluster[0], 60)
        leaver = cluster.machines[2]
        late = Store(StoreKind.REPLICATE, key, value, (lease_of(ALICE, key).row(),))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave, cluster, leaver)
            await trio.sleep(0.030)
            assert not holders(cluster, key)
            answer = await sender.answer_to(late, leaver.contact)
        assert isinstance(answer, StoreResult)
        assert answer.status is StoreStatus.STORED
        assert len(holders(cluster, key)) >= 2  # and perhaps the sender


async def test_what_nobody_takes_is_told(virtual_clock: VirtualClock) -> None:
    async with open_cluster(1, config=config_with(cache_life=0)) as cluster:
        leaver = cluster.machines[0]
        keys = await put_many(leaver.node, 30)
        for _ in range(3):
            await cluster.start(storage=MemoryStorage(max_bytes=1))
        await trio.sleep(5)
        cluster.machines.remove(leaver)
        with structlog.testing.capture_logs() as logs:
            await leaver.leave()
        (told,) = [each for each in logs if each["event"] == LEFT]
        assert told["unplaced"] == len(keys)
        assert told["not_asked_about"] == 0
        assert "nobody else" in told["because"]
        assert len(told["some"]) == 10
        assert set(told["some"]) <= {key.hex() for key in keys}


async def test_the_end_of_a_whole_network_is_no_news(virtual_clock: VirtualClock) -> None:
    async with open_cluster(4, config=config_with(cache_life=0)) as cluster:
        await put_many(cluster[0], 10)
        with structlog.testing.capture_logs() as logs:
            await leave(cluster, *cluster.machines[:2])
            for each in list(cluster.machines):
                await leave(cluster, each)
        assert LEFT not in [each["event"] for each in logs]


async def test_nobody_who_answers_is_news(virtual_clock: VirtualClock) -> None:
    async with open_cluster(3, config=config_with(cache_life=0)) as cluster:
        await put_many(cluster[0], 10)
        leaver = cluster.machines[2]
        cluster.network.partition([[leaver.endpoint]])
        with structlog.testing.capture_logs() as logs:
            await leave(cluster, leaver)
        assert LEFT in [each["event"] for each in logs]


async def test_what_there_was_no_time_for_is_told(virtual_clock: VirtualClock) -> None:
    config: Config = config_with(cache_life=0, hand_over_deadline=0.03)
    async with open_cluster(4, config=config, network=far_apart()) as cluster:
        await put_many(cluster[0], 30)
        with structlog.testing.capture_logs() as logs:
            await leave(cluster, cluster.machines[2])
        (told,) = [each for each in logs if each["event"] == LEFT]
        assert told["unplaced"] + told["not_asked_about"] == 30
        assert "0.03 s" in told["because"]


async def test_the_next_holder_is_asked_where_the_first_is_silent(virtual_clock: VirtualClock) -> None:
    async with open_cluster(8, config=config_with(k=3, cache_life=0)) as cluster:
        leaver = cluster.machines[4]
        keys = [key for key in await put_many(cluster[1], 30) if leaver.holds(key)]
        take_away(cluster, keys, but_from=[leaver])
        for dead in {farthest(cluster, key, but=4).endpoint for key in keys[:2]}:
            cluster.network.crash(dead)
        await leave(cluster, leaver)
        for key in keys:
            assert holders(cluster, key)


def away(machine: Machine, key: Key) -> int:
    return distance(machine.node.id, key)


def farthest(cluster: Cluster, key: Key, *, but: int, k: int = 3) -> Machine:
    """The last of the k closest to the key, when the one with this number has gone."""
    others = [each for number, each in enumerate(cluster.machines) if number != but]
    return sorted(others, key=lambda each: away(each, key))[:k][-1]


class TroubleError(Exception):
    """Of the program that embeds the node."""


@pytest.mark.parametrize("way", ["its end", "an exception", "a cancellation"])
async def test_however_the_block_is_left_the_node_hands_over(virtual_clock: VirtualClock, way: str) -> None:
    async with open_cluster(3, config=config_with(cache_life=0), network=far_apart()) as cluster:
        storage = MemoryStorage(max_bytes=2**20)
        caught = trio.CancelScope()
        with pytest.raises(TroubleError) if way == "an exception" else contextlib.nullcontext(), caught:
            async with a_node_of_a_program(cluster, storage) as node:
                key = (await node.put(b"nowhere else")).key
                await trio.sleep(5)
                take_away(cluster, [key], but_from=[])
                assert not holders(cluster, key)
                began = trio.current_time()
                if way == "an exception":
                    raise TroubleError
                if way == "a cancellation":
                    caught.cancel()
                    await trio.sleep_forever()
        assert caught.cancelled_caught == (way == "a cancellation")
        assert len(holders(cluster, key)) == 3
        assert trio.current_time() - began <= cluster.config.records.hand_over_deadline


async def test_a_hand_over_after_a_cancellation_is_bounded(virtual_clock: VirtualClock) -> None:
    async with open_cluster(3, config=HASTY, network=far_apart()) as cluster:
        with trio.CancelScope() as scope:
            async with a_node_of_a_program(cluster, MemoryStorage(max_bytes=2**20)) as node:
                await put_many(node, 20)
                cluster.network.partition([[node.endpoint]])
                began = trio.current_time()
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert trio.current_time() - began <= HASTY.records.hand_over_deadline + 0.1


async def test_who_crashes_hands_nothing_over(virtual_clock: VirtualClock) -> None:
    async with open_cluster(4, config=config_with(cache_life=0), network=far_apart()) as cluster:
        key = (await cluster[0].put(b"nowhere else")).key
        await trio.sleep(5)
        leaver = cluster.machines[3]
        take_away(cluster, [key], but_from=[leaver])
        began = trio.current_time()
        await cluster.lose(leaver)
        assert trio.current_time() == began
        await trio.sleep(5)
        assert not holders(cluster, key)


@contextlib.asynccontextmanager
async def a_node_of_a_program(cluster: Cluster, storage: MemoryStorage) -> AsyncIterator[Node]:
    """A node of the cluster whose block is the caller's, joined."""
    async with open_node(
        attrs.evolve(cluster.config, join=(str(cluster.machines[0].endpoint),)),
        transport=cluster.network.open(Endpoint.parse("10.9.0.1:8118")),
        storage=storage,
        wall_clock=WallClock(),
        rng=random.Random(5),
        publisher=cluster.publisher,
        suite=SUITE,
    ) as node:
        await node.wait_ready()
        yield node
