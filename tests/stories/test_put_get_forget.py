"""A user puts a value at one node, gets it at another, and forgets it at a third."""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.config import Requests
from camomile_trio.errors import Forgotten, NotFound, Overloaded
from camomile_trio.kademlia.ids import Key
from camomile_trio.simulation.clocks import VirtualClock
from tests.fixtures.cluster import config_with, open_cluster

VALUE = "ABC, du är mina tankar".encode()
KEY = Key.parse("bde0e9f6e9d3fabd5bf6849e179f0aee485630f6d5c1c4398517cc1543fb9386")


async def test_a_value_is_read_at_every_node_and_forgotten_at_all(virtual_clock: VirtualClock) -> None:
    async with open_cluster(50) as cluster:
        stored = await cluster[3].put(VALUE)
        assert stored.key == KEY
        assert stored.replicas >= 11
        for node in cluster.nodes:
            found = await node.get(KEY)
            assert found.value == VALUE
            assert found.live
        gone = await cluster[7].forget(KEY)
        assert gone.other_publishers == 0
        await trio.sleep(61)  # copies that were looked up may be served for a minute
        for node in cluster.nodes:
            with pytest.raises(Forgotten):
                await node.get(KEY)


async def test_what_nobody_put_is_not_found(virtual_clock: VirtualClock) -> None:
    async with open_cluster(5) as cluster:
        with pytest.raises(NotFound):
            await cluster[2].get(Key.of(b"nobody put this"))
        with pytest.raises(NotFound):
            await cluster[2].forget(Key.of(b"nobody put this"))


async def test_a_node_that_is_asked_too_much_says_so_at_once_and_does_what_it_took_on(
    virtual_clock: VirtualClock,
) -> None:
    busy = attrs.evolve(config_with(), requests=Requests(max_puts=1, max_operations=4))
    stored: list[Key] = []
    refused: list[float] = []
    async with open_cluster(5, config=busy) as cluster:

        async def put(number: int) -> None:
            began = trio.current_time()
            try:
                stored.append((await cluster[1].put(b"value %d" % number)).key)
            except Overloaded:
                refused.append(trio.current_time() - began)

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(put, number)
        assert (len(stored), refused) == (3, [0.0] * 5)
        for key in stored:
            assert (await cluster[4].get(key)).live
        await put(99)  # and then all is as before
        assert len(stored) == 4
