"""Two nodes with one key, from a copied data directory: both find out, and say so."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import attrs
import structlog
import trio
import trio.testing

from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.simulation.clocks import VirtualClock
from tests.fixtures.cluster import config_with, open_cluster

LINE = "another node has the identity of this one"
ALICE, COPY = Endpoint.parse("10.0.0.1:8118"), Endpoint.parse("10.0.0.2:8118")


def told_of(logs: Sequence[Any]) -> list[str]:
    return [each["at"] for each in logs if each["event"] == LINE]


async def test_a_copy_that_joins_its_original_says_why_it_does_not_get_in(
    virtual_clock: VirtualClock,
) -> None:
    key = KeyPair.new(random.Random(1))
    with structlog.testing.capture_logs() as logs:
        async with open_cluster(0) as cluster:
            original = (await cluster.start(identity=key, endpoint=ALICE)).node
            copy = (await cluster.start(identity=key, endpoint=COPY, wait=False)).node
            await trio.sleep(5)
            assert not copy.ready
            assert str(ALICE) in copy.not_ready_because
            assert "copied data directory" in copy.not_ready_because
            assert sorted(told_of(logs)) == [str(ALICE), str(COPY)]
            assert original.ready
            await trio.sleep(500)
            assert len(told_of(logs)) == 2  # it is tried every half minute, and said every ten minutes
            await cluster.lose(cluster.machines[0])
            await cluster.start(endpoint=ALICE, config=attrs.evolve(config_with(), join=("10.0.0.9:8118",), first=True))
            await copy.wait_ready()  # another node is there now


async def test_a_copy_that_joins_through_others_is_found_by_them(virtual_clock: VirtualClock) -> None:
    key = KeyPair.new(random.Random(1))
    with structlog.testing.capture_logs() as logs:
        async with open_cluster(4) as cluster:
            original, copy = Endpoint.parse("10.0.0.7:8118"), Endpoint.parse("10.0.0.8:8118")
            await cluster.start(identity=key, endpoint=original)
            await trio.sleep(60)
            await cluster.start(identity=key, endpoint=copy)
            await trio.sleep(60)
    assert set(told_of(logs)) == {str(original), str(copy)}


async def test_a_node_that_moved_is_no_copy_of_itself(virtual_clock: VirtualClock) -> None:
    key = KeyPair.new(random.Random(1))
    with structlog.testing.capture_logs() as logs:
        async with open_cluster(4) as cluster:
            before = await cluster.start(identity=key, endpoint=Endpoint.parse("10.0.0.7:8118"))
            await trio.sleep(60)
            await cluster.lose(before)
            await cluster.start(identity=key, endpoint=Endpoint.parse("10.0.0.8:8118"))
            await trio.sleep(60)
    assert told_of(logs) == []
