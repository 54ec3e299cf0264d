"""The shape that makes a node cheap: no task per datagram or request, one heap of deadlines, one wake per lookup."""

from __future__ import annotations

from collections import Counter

import trio
import trio.testing

from camomile_trio.config import Config, Requests
from camomile_trio.kademlia.ids import Key, distance
from camomile_trio.kademlia.messages import FindNode, FindValue, NodeList, Ping, Store, StoreKind
from camomile_trio.operations.lookup import Lookups
from tests.fixtures.cluster import config_with, open_cluster
from tests.fixtures.counts import count
from tests.fixtures.line import Line, one_node
from tests.fixtures.parts import TARGET, known_peers, open_parts
from tests.fixtures.peers import Behaviour, Peer, attend, truthful
from tests.fixtures.records import lease_of

MANY = 500


def tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


def many_peers(line: Line) -> list[Peer]:
    """They have sessions with the node."""
    peers = [Peer.at(line, f"peer {n}", f"10.9.{n // 250}.{n % 250 + 1}:8118") for n in range(MANY)]
    for peer in peers:
        peer.introduce()
    return peers


class Wakes(trio.abc.Instrument):
    """How often each task was made to run."""

    def __init__(self) -> None:
        self.by_task: Counter[trio.lowlevel.Task] = Counter()

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        self.by_task[task] += 1


async def test_no_task_is_started_for_a_request(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts(Config(requests=Requests(max_pending=MANY))) as (parts, line):
        requests = parts.requests
        peers = many_peers(line)
        await trio.sleep(1)  # the newcomers have been greeted
        before = tasks()
        for peer in peers:
            peer.heard()
            assert requests.request(peer.contact, FindNode(TARGET)) is not None
        await trio.testing.wait_all_tasks_blocked()
        assert requests.pending == MANY
        assert len(requests.deadlines) == MANY
        assert tasks() == before
        await trio.sleep(0.3)  # all of them go out a second time
        assert requests.statistics.retransmitted == MANY
        assert tasks() == before
        for peer in peers[: MANY // 2]:
            peer.answer(peer.heard()[0], NodeList())
        assert requests.pending == MANY - MANY // 2
        assert tasks() == before
        await trio.sleep(3)
        assert requests.statistics.failed["find_node"] == MANY - MANY // 2


async def test_no_task_is_started_for_a_handshake(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        await trio.testing.wait_all_tasks_blocked()
        before = tasks()
        peers = [Peer.at(line, f"peer {n}", f"10.9.0.{n + 1}:8118") for n in range(50)]
        for peer in peers:
            parts.requests.request(peer.contact, FindNode(TARGET))
        await trio.testing.wait_all_tasks_blocked()
        assert parts.requests.handshakes == len(peers)
        assert tasks() == before
        for peer in peers:
            peer.answer(peer.heard()[0], NodeList())
        assert parts.requests.statistics.answered["find_node"] == len(peers)
        assert tasks() == before


async def test_one_sleeping_task_serves_all_deadlines(autojump_clock: trio.testing.MockClock) -> None:
    """Requests that are sent, retransmitted and failed at the same moments wake it once for each moment."""
    wakes = Wakes()
    async with open_parts(Config(requests=Requests(max_pending=MANY))) as (parts, line):
        peers = many_peers(line)
        await trio.sleep(1)
        for peer in peers:
            parts.requests.request(peer.contact, FindNode(TARGET))
        trio.lowlevel.add_instrument(wakes)
        await trio.sleep(6)  # some are pinged once all have failed, for a sign of life
        trio.lowlevel.remove_instrument(wakes)
        assert parts.requests.pending == 0
        assert sum(wakes.by_task.values()) <= 15


async def test_no_task_is_started_for_a_datagram(autojump_clock: trio.testing.MockClock) -> None:
    async with one_node() as (node, line):
        bob = Peer.at(line, "bob", "10.9.0.2:8118")
        bob.introduce()
        await trio.sleep(1)  # the newcomer has been greeted
        before = tasks()
        value = b"a value"
        row = lease_of(bob.key, Key.of(value)).row()
        for _ in range(MANY // 4):
            bob.ask(Ping())
            bob.ask(FindNode(TARGET))
            bob.ask(FindValue(Key(bytes(32))))
            bob.ask(Store(StoreKind.PUBLISH, Key.of(value), value, (row,)))
        assert tasks() == before
        await trio.testing.wait_all_tasks_blocked()
        assert tasks() == before
        assert len(bob.heard()) >= MANY
        assert count(node, "deadlines_pending") < 10


async def test_a_lookup_wakes_its_caller_once(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, _), trio.open_nursery() as nursery:
        peers = known_peers(parts, 24)
        behaviours: dict[Peer, Behaviour] = dict.fromkeys(peers, truthful)
        nursery.start_soon(attend, behaviours)
        wakes = Wakes()
        asked: list[int] = []

        async def look() -> None:
            asked.append((await Lookups(parts.contacts, parts.events, k=20, alpha=3).find_node(TARGET)).asked)

        trio.lowlevel.add_instrument(wakes)
        async with trio.open_nursery() as looking:
            looking.start_soon(look)
        trio.lowlevel.remove_instrument(wakes)
        (count,) = [count for task, count in wakes.by_task.items() if task.name.endswith("look")]
        assert asked[0] >= 20  # so many answers came
        assert count == 2  # to begin, and at the end
        nursery.cancel_scope.cancel()


async def test_an_operation_wakes_its_caller_once_for_each_of_its_steps(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_cluster(24, config=config_with(cache_life=0)) as cluster:
        await trio.sleep(5)
        wakes = Wakes()
        value = b"a value"
        far = max(cluster.nodes, key=lambda node: distance(node.id, Key.of(value)))

        async def put() -> None:
            await far.put(value)

        async def get() -> None:
            await far.get(Key.of(value))

        trio.lowlevel.add_instrument(wakes)
        for operation in (put, get):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(operation)
        trio.lowlevel.remove_instrument(wakes)
        counts = {task.name.rpartition(".")[2]: count for task, count in wakes.by_task.items()}
        assert counts["put"] == 2  # to begin, at the majority
        assert counts["get"] == 2


async def test_many_operations_are_as_many_tasks_as_their_callers(autojump_clock: trio.testing.MockClock) -> None:
    async with open_cluster(12, config=config_with(cache_life=0)) as cluster:
        await trio.sleep(5)
        before = tasks()
        most = 0

        async def put(number: int) -> None:
            nonlocal most
            await cluster[number % 12].put(b"value %d" % number)
            most = max(most, tasks())

        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(put, number)
        assert most <= before + 100
        assert tasks() == before
