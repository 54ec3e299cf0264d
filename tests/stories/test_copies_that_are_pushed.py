"""Copies that nodes push to each other: what they spare the holders, and what a node cannot do with them."""

from __future__ import annotations

from collections import Counter

import pytest
import trio

from camomile_trio.errors import NotFound
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import FindValue, Store, StoreKind, Value
from camomile_trio.simulation.clocks import VirtualClock
from tests.fixtures.cluster import KEY, VALUE, config_with, open_cluster
from tests.fixtures.counts import counts
from tests.fixtures.peers import network_peer


async def test_an_old_lease_that_is_pushed_brings_nothing_back(virtual_clock: VirtualClock) -> None:
    """The attacker pushes what it has read before the forget to every node, again and again, and asks for it too."""
    async with open_cluster(40, config=config_with(k=5)) as cluster:
        attacker = network_peer("attacker", 1)
        await attacker.join(cluster)
        await cluster[1].put(VALUE)
        await trio.sleep(3)
        holder = next(each for each in cluster.machines if each.holds(KEY) and each.table.is_among_closest(KEY))
        read = await attacker.answer_to(FindValue(KEY), holder.contact)
        assert isinstance(read, Value)
        assert read.value == VALUE
        await cluster[2].forget(KEY)
        await trio.sleep(1)
        for _ in range(4):
            for machine in cluster.machines:
                attacker.ask(Store(StoreKind.REPLICATE, KEY, VALUE, read.records, cached=True), machine.contact)
            for _ in range(3):
                await trio.sleep(15)
                for machine in cluster.machines:
                    answer = await attacker.answer_to(FindValue(KEY), machine.contact)
                    assert isinstance(answer, Value)
                    assert answer.value is None
                    with pytest.raises(NotFound):
                        await machine.node.get(KEY)


async def test_the_closest_node_that_lacked_a_value_spares_its_holders(virtual_clock: VirtualClock) -> None:
    """It is pushed a copy, asks one holder about it when the next node asks, and serves the copy after that."""
    async with open_cluster(40, config=config_with(k=3)) as cluster:
        values = [b"value %d" % number for number in range(10)]
        for value in values:
            await cluster[1].put(value)
        await trio.sleep(3)
        for value in values:
            for node in cluster.nodes:
                assert (await node.get(Key.of(value))).value == value
        hints = sum((counts(node, "cache_hints_total", "outcome") for node in cluster.nodes), Counter())
        assert hints["kept"] >= hints["confirmed"] > 0
