"""Copies of which a node is no holder: they stay until their lease ends or space is short, and go before all else."""

from __future__ import annotations

import pytest

from camomile_trio.holding import holdings, spares
from camomile_trio.holding.spares import Spares
from camomile_trio.identity import sign_record
from camomile_trio.kademlia import leases
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import StoreStatus
from camomile_trio.kademlia.routing import RoutingTable
from camomile_trio.storage.memory import MemoryStorage
from camomile_trio.storage.tally import KEY_BYTES, REGISTER_BYTES
from tests.fixtures.holdings import HoldingsAlone
from tests.fixtures.records import ALICE, EPOCH, KEY, NETWORK, VALUE, lease_of, tombstone_of

HOUR = 3_600_000
# Keys of which the node is no holder.
FAR: set[bytes] = set()


@pytest.fixture(autouse=True)
def _far(monkeypatch: pytest.MonkeyPatch) -> None:
    FAR.clear()
    monkeypatch.setattr(RoutingTable, "is_among_closest", lambda self, target: target not in FAR)


def values(count: int, size: int = 1000) -> list[bytes]:
    return [bytes([number]) * size for number in range(count)]


# What the storage counts for one of these under one lease; for a key with one record alone.
UNIT = KEY_BYTES + REGISTER_BYTES + 1000
ENDED = KEY_BYTES + REGISTER_BYTES


async def ended_in(kept: HoldingsAlone) -> Key:
    """A key whose lease has ended, and is remembered so that its publisher may wake it."""
    value = b"ended"
    key = Key.of(value)
    unsigned = leases.new_lease(key, ALICE.public, seen=0, now=EPOCH - HOUR + 1, life_ms=HOUR, renewable=True)
    await kept.store(value, sign_record(unsigned, ALICE, NETWORK).row(), key=key)
    kept.clock.now = 1
    kept.holdings.expire(key)
    assert (kept.holdings.state(key).size, kept.storage.statistics.bytes) == (None, ENDED)
    return key


async def store(kept: HoldingsAlone, value: bytes, *, published: bool = False) -> StoreStatus:
    key = Key.of(value)
    return await kept.store(value, lease_of(ALICE, key).row(), key=key, published=published)


def is_here(kept: HoldingsAlone, value: bytes) -> bool:
    return kept.holdings.state(Key.of(value)).size is not None


async def test_a_former_holders_copy_stays_until_its_lease_ends() -> None:
    kept = HoldingsAlone()
    await store(kept, VALUE)
    FAR.add(KEY)
    kept.holdings.note_place(KEY)
    assert (len(kept.holdings.spares), kept.holdings.spares.bytes) == (1, len(VALUE))
    kept.clock.now = 3599
    kept.holdings.expire(KEY)
    assert kept.holdings.state(KEY).size == len(VALUE)
    assert kept.holdings.served(KEY) is None  # not without a lookup
    kept.clock.now = 3600
    kept.holdings.expire(KEY)
    assert kept.holdings.state(KEY).size is None
    assert (len(kept.holdings.spares), kept.holdings.spares.bytes) == (0, 0)


async def test_a_tombstone_ends_a_spare_copy() -> None:
    kept = HoldingsAlone()
    FAR.add(KEY)
    await store(kept, VALUE)
    assert len(kept.holdings.spares) == 1
    await kept.store(None, tombstone_of(ALICE, KEY).row())
    assert kept.holdings.state(KEY).size is None
    assert len(kept.holdings.spares) == 0


async def test_a_node_that_is_a_holder_again_keeps_its_copy() -> None:
    kept = HoldingsAlone()
    FAR.add(KEY)
    await store(kept, VALUE)
    FAR.clear()
    kept.holdings.note_place(KEY)
    assert len(kept.holdings.spares) == 0


async def test_a_copy_is_not_given_up_where_the_node_has_become_a_holder_again() -> None:
    """Which the next round would have found."""
    kept = HoldingsAlone(storage=MemoryStorage(max_bytes=2 * UNIT))
    first, second, third = values(3)
    FAR.add(Key.of(first))
    await store(kept, first)
    await store(kept, second)
    FAR.clear()
    assert await store(kept, third) is StoreStatus.FULL
    assert is_here(kept, first)


async def test_spare_copies_make_room_before_what_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """And their records stay, so that the node still knows what a forget would have to beat."""
    monkeypatch.setattr(holdings, "GIVEN_UP_AT_ONCE", 1)
    kept = HoldingsAlone(storage=MemoryStorage(max_bytes=ENDED + 4 * UNIT + ENDED))
    ended = await ended_in(kept)
    first, second, third, fourth = values(4)
    FAR.update({Key.of(first), Key.of(second)})
    for value in (first, second, third, fourth):
        assert await store(kept, value) is StoreStatus.STORED
    assert is_here(kept, first)
    assert await store(kept, b"v" * 1000) is StoreStatus.STORED
    assert [is_here(kept, value) for value in (first, second, third, fourth)] == [False, True, True, True]
    assert kept.holdings.spares.given_up == 1
    assert kept.holdings.state(Key.of(first)).registers
    assert kept.holdings.state(ended).registers
    assert (len(kept.holdings.spares), kept.holdings.spares.bytes) == (1, 1000)


async def test_a_spare_copy_makes_no_room_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a node that stores what belongs elsewhere would push out the copies that are kept against such nodes."""
    kept = HoldingsAlone(storage=MemoryStorage(max_bytes=3 * UNIT + UNIT // 2))
    first, second, third, fourth = values(4)
    FAR.update({Key.of(first), Key.of(second), Key.of(fourth)})
    for value in (first, second, third):
        assert await store(kept, value) is StoreStatus.STORED
    assert await store(kept, fourth) is StoreStatus.FULL
    assert all(is_here(kept, value) for value in (first, second, third))
    # What a user of this node puts is none.
    assert await store(kept, fourth, published=True) is StoreStatus.STORED
    assert not is_here(kept, first)


async def test_what_has_ended_goes_too_where_spare_copies_are_too_small() -> None:
    kept = HoldingsAlone(storage=MemoryStorage(max_bytes=2 * ENDED + UNIT))
    ended, small = await ended_in(kept), b"small"
    FAR.add(Key.of(small))
    await store(kept, small)
    assert await store(kept, bytes(1000 + ENDED)) is StoreStatus.STORED
    assert not is_here(kept, small)
    assert not kept.holdings.state(ended).registers


def test_no_more_than_so_many_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spares, "MAX_SPARES", 2)
    noted = Spares()
    for number in range(3):
        noted.note(Key(bytes(31) + bytes([number])), 10)
    assert (len(noted), noted.bytes) == (2, 20)
    assert noted.earliest(1) == [Key(bytes(32))]
    noted.drop(Key(bytes(32)))
    noted.drop(Key(bytes(32)))
    assert (len(noted), noted.bytes) == (1, 10)
