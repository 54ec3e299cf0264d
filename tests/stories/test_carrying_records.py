"""Records are carried from one network to another in a file: verbatim, and to those who should hold them."""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.errors import Forgotten, NotFound, NotJoined
from camomile_trio.holding.replicas import OWN_ROUND
from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.ids import Key, as_int
from camomile_trio.node import archive
from camomile_trio.node.node import Node
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.simulation.network import MemoryNetwork
from tests.fixtures.cluster import Cluster, config_with, open_cluster
from tests.fixtures.counts import count

pytestmark = pytest.mark.long


def exported(node: Node) -> list[bytes]:
    """All lines of a node's export, page by page."""
    lines: list[bytes] = []
    last: Key | None = None
    while True:
        page = node.export(last)
        found = page.lines.splitlines()
        assert len(found) == page.entries
        lines += found
        if page.last is None:
            return lines
        last = page.last


def held(node: Node, key: Key) -> list[int]:
    """When the records that a node holds of a key end."""
    before = Key((as_int(key) - 1).to_bytes(32, "big"))
    return [each.expires for each in node.records(before).records if each.key == key]


async def test_an_export_is_taken_in_by_another_network_and_lives_no_longer(
    virtual_clock: VirtualClock,
) -> None:
    async with open_cluster(8, config=config_with(k=5)) as old:
        keys = [(await old[0].put(b"value %d" % number, ttl=7200)).key for number in range(70)]
        lines = exported(old[0])
        # It published them all, so it has them all, wherever they belong.
        assert {entry.key for line in lines if isinstance(entry := read(line), archive.Entry)} == set(keys)
        ends = {key: held(old[0], key) for key in keys[:3]}
        await trio.sleep(3600)
    async with open_cluster(8, config=config_with(k=5), network=MemoryNetwork(seed=2), seed=2) as new:
        await trio.sleep_until(4000)
        outcomes = [outcome for each in batches(lines) for outcome in await new[3].take_in(each)]
        assert {(outcome.stored, outcome.refused) for outcome in outcomes} == {(1, ())}
        for node in new.nodes:
            assert (await node.get(keys[7])).value == b"value 7"
        for key, end in ends.items():
            at = [held(node, key) for node in new.nodes if held(node, key)]
            assert len(at) >= 5
            assert all(each == end for each in at)
        await trio.sleep(4000)
        with pytest.raises(NotFound):
            await new[1].get(keys[7])


def read(line: bytes) -> archive.Entry | archive.Header | archive.End:
    return archive.read_line(line, max_value_size=2**20)


def batches(lines: list[bytes]) -> list[list[bytes]]:
    return [lines[start : start + 16] for start in range(0, len(lines), 16)]


async def test_what_was_forgotten_meanwhile_does_not_come_back(virtual_clock: VirtualClock) -> None:
    async with open_cluster(8, config=config_with(k=5)) as cluster:
        key = (await cluster[0].put(b"soon forgotten")).key
        lines = exported(cluster[0])
        await cluster[2].forget(key)
        (outcome,) = await cluster[5].take_in(lines)
        assert (outcome.stored, outcome.refused) == (0, ("forgotten since",))
        await trio.sleep(61)
        for node in cluster.nodes:
            with pytest.raises(Forgotten):
                await node.get(key)


async def test_a_tombstone_is_carried_too(virtual_clock: VirtualClock) -> None:
    async with open_cluster(4, config=config_with(k=5)) as cluster:
        key = (await cluster[0].put(b"forgotten for good")).key
        before = exported(cluster[0])
        await cluster[0].forget(key)
        after = exported(cluster[0])
    async with open_cluster(4, config=config_with(k=5), network=MemoryNetwork(seed=2), seed=2) as new:
        await new[0].take_in(after)
        (outcome,) = await new[1].take_in(before)
        assert (outcome.stored, outcome.refused) == (0, ("forgotten since",))


async def test_bad_entries_are_refused_one_by_one_and_leave_nothing(virtual_clock: VirtualClock) -> None:
    async with open_cluster(4, config=config_with(k=5)) as cluster:
        await cluster[0].put(b"good")
        (line,) = exported(cluster[0])
        entry = read(line)
        assert isinstance(entry, archive.Entry)
        other = attrs.evolve(entry, key=Key.of(b"other"), value=b"other")
        lines = [
            b"{}",
            archive.header_line("camomile"),
            archive.entry_line(attrs.evolve(entry, value=b"another value")),
            archive.entry_line(other),
            line,
        ]
        outcomes = await cluster[1].take_in(lines)
        assert [(each.stored, each.refused) for each in outcomes] == [
            (0, ("malformed",)),
            (0, ("malformed",)),
            (0, ("wrong value",)),
            (0, ("bad signature",)),
            (1, ()),
        ]
        with pytest.raises(NotFound):
            await cluster[2].get(other.key)
        assert all(not held(node, other.key) for node in cluster.nodes)


async def test_a_node_that_has_not_joined_takes_nothing_in(virtual_clock: VirtualClock) -> None:
    async with open_cluster(1) as cluster:
        lonely = await cluster.start(config=attrs.evolve(cluster.config, join=("10.9.9.9:8118",)), wait=False)
        with pytest.raises(NotJoined):
            await lonely.node.take_in([b"{}"])


async def test_an_import_that_is_broken_off_leaves_nothing_waiting(virtual_clock: VirtualClock) -> None:
    async with open_cluster(8, config=config_with(k=5)) as cluster:
        for number in range(16):
            await cluster[0].put(b"value %d" % number)
        lines = exported(cluster[0])
        with trio.move_on_after(0.01) as scope:
            await cluster[3].take_in(lines)
        assert scope.cancelled_caught
        await trio.sleep(5)
        assert count(cluster[3], "requests_pending") == 0


async def test_the_list_says_whose_a_record_is_and_what_is_known_of_other_copies(
    virtual_clock: VirtualClock,
) -> None:
    async with open_cluster(4, config=config_with(k=5)) as cluster:
        other = KeyPair.new(cluster.rng)
        stranger = await cluster.start(publisher=other)
        key = (await cluster[0].put(b"of two publishers")).key
        await stranger.node.put(b"of two publishers", ttl=600)
        records = {each.publisher: each for each in cluster[0].records().records}
        assert set(records) == {cluster.publisher.public, other.public}
        mine, theirs = records[cluster.publisher.public], records[other.public]
        assert (mine.key, mine.kind, mine.size, mine.published_here) == (key, "lease", 17, True)
        assert (mine.renewable, theirs.renewable) == (True, False)
        assert theirs.expires - theirs.issued == 600_000
        # The put's acknowledgements say who has the one; of the other, only that it came here.
        assert (mine.copies_known, theirs.copies_known, mine.heard_from_holder) == (4, None, None)
        await trio.sleep(2 * 3600)
        (later,) = cluster[0].records().records
        assert later.publisher == cluster.publisher.public
        assert later.copies_known == 4


async def test_copies_are_known_by_asking_and_forgotten_when_nobody_answers(
    virtual_clock: VirtualClock,
) -> None:
    async with open_cluster(4, config=config_with(k=5, replicate=600)) as cluster:
        await cluster[0].put(b"kept")
        assert copies_known(cluster) == [3, None, None, None]
        await trio.sleep(1500)
        # One has asked the others, and they have heard who asks; whoever rests knows of nobody else.
        assert all(known is not None for known in copies_known(cluster))
        await trio.sleep(OWN_ROUND * 1.25 * 600)
        # Each has asked the others by itself.
        assert copies_known(cluster) == [3, 3, 3, 3]
        for machine in cluster.machines[2:]:
            await cluster.lose(machine)
        # They are silent in somebody's round, or, for who rests in all of them, when the table looks after them.
        await trio.sleep(2 * 3600)
        assert copies_known(cluster) == [1, 1]
        await cluster.lose(cluster.machines[1])
        await trio.sleep((OWN_ROUND + 2) * 1.25 * 600)
        assert copies_known(cluster) == [None]


def copies_known(cluster: Cluster) -> list[int | None]:
    return [node.records().records[0].copies_known for node in cluster.nodes]
