"""Values of every size: what fits into one datagram, what just does not, and what goes by stream."""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.config import MIB, Records
from camomile_trio.errors import ValueTooLarge
from camomile_trio.kademlia.messages import Store, StoreKind
from camomile_trio.kademlia.records import RecordRow
from camomile_trio.peer.packets import LARGEST_DATAGRAM, SEALED_DATAGRAM_OVERHEAD
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.transport.base import MAX_DATAGRAM
from camomile_trio.wire.codec import Codec
from tests.fixtures.cluster import Cluster, config_with, open_cluster
from tests.fixtures.counts import count


def weight(size: int, *, number: int, names_contacts: bool) -> int:
    """The bytes of a datagram with a STORE of a value of `size` bytes and one lease."""
    row = RecordRow(b"\x01\x01\x01" + bytes(120))
    store = Store(StoreKind.PUBLISH, None, bytes(size), (row,), names_contacts=names_contacts)
    return SEALED_DATAGRAM_OVERHEAD + len(Codec().encode(number, store, 0))


def largest(*, number: int, names_contacts: bool) -> int:
    """The largest value that goes by a datagram."""
    sizes = range(900, LARGEST_DATAGRAM)
    return max(size for size in sizes if weight(size, number=number, names_contacts=names_contacts) <= LARGEST_DATAGRAM)


# A STORE has a few bytes more where it names contacts, and where more requests have gone before it.
FITS = largest(number=2**14 - 1, names_contacts=True)
FITS_NOT = largest(number=1, names_contacts=False) + 1


def streams(cluster: Cluster) -> float:
    """How many connections nodes have opened. They keep them, so one to each peer is enough."""
    return sum(count(node, "streams_opened_total") for node in cluster.nodes)


def value_of(size: int) -> bytes:
    return (b"%d bytes of this " % size * (size // 10 + 1))[:size]


@pytest.mark.parametrize(("size", "by_stream"), [(1, 0), (FITS - 1, 0), (FITS, 0), (FITS_NOT, 1), (MAX_DATAGRAM, 1)])
async def test_a_store_goes_by_stream_where_one_datagram_does_not_hold_it(
    virtual_clock: VirtualClock, size: int, by_stream: int
) -> None:
    async with open_cluster(5, config=config_with(cache_life=0)) as cluster:
        value = value_of(size)
        stored = await cluster[0].put(value)
        await trio.sleep(5)
        assert streams(cluster) == by_stream * 4
        for node in cluster.nodes:
            assert (await node.get(stored.key)).value == value


@pytest.mark.parametrize("size", [MIB - 1, MIB])
async def test_the_largest_values_are_kept_by_all(virtual_clock: VirtualClock, size: int) -> None:
    async with open_cluster(4, config=config_with(cache_life=0)) as cluster:
        value = value_of(size)
        stored = await cluster[1].put(value)
        await trio.sleep(5)
        for each in cluster.machines:
            assert each.state(stored.key).size == size
        newcomer = await cluster.start()
        assert (await newcomer.node.get(stored.key)).value == value


async def test_one_byte_too_many_is_refused_and_nothing_is_stored(virtual_clock: VirtualClock) -> None:
    async with open_cluster(3) as cluster:
        with pytest.raises(ValueTooLarge):
            await cluster[1].put(value_of(MIB + 1))
        assert all(node.status().keys == 0 for node in cluster.nodes)


async def test_where_most_holders_take_less_the_caller_hears_it(virtual_clock: VirtualClock) -> None:
    modest = attrs.evolve(config_with(cache_life=0), records=Records(max_value_size=2000))
    async with open_cluster(1, config=config_with(cache_life=0)) as cluster:
        await cluster.grow(4, config=modest)
        with pytest.raises(ValueTooLarge):
            await cluster[0].put(value_of(5000))
        await trio.sleep(5)
        assert all(node.status().values == 0 for node in cluster.nodes)
        assert (await cluster[0].put(value_of(2000))).replicas >= 3
