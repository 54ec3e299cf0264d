"""What a node keeps and gives up: the shell around the rules of records, with a storage that can be full or fail."""

from __future__ import annotations

import random
from collections.abc import Sequence

import attrs
import pytest

from camomile_trio.errors import DiskFull, StorageError, StorageMoved
from camomile_trio.identity import KeyPair, sign_record
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import MAX_RECORDS, Durability, StoreKind, StoreResult, StoreStatus
from camomile_trio.kademlia.records import Record
from camomile_trio.kademlia.registers import KeyState
from camomile_trio.storage.base import Done
from camomile_trio.storage.memory import MemoryStorage
from tests.fixtures.holdings import HoldingsAlone
from tests.fixtures.records import ALICE, EPOCH, KEY, NETWORK, VALUE, lease_of, tombstone_of

BOB = KeyPair.new(random.Random("bob"))
HOUR = 3_600_000


async def test_a_store_is_acknowledged_after_its_commit() -> None:
    kept = HoldingsAlone()
    kept.holdings.store(KEY, VALUE, (lease_of(ALICE, KEY).row(),), kept.results.append)
    assert not kept.results
    assert kept.holdings.writes.in_flight == {KEY: 1}
    await kept.commit()
    assert kept.results == [StoreResult(StoreStatus.STORED, Durability.MEMORY)]
    assert not kept.holdings.writes.in_flight


async def test_the_same_again_is_acknowledged_at_once_but_not_before_the_first() -> None:
    kept = HoldingsAlone()
    row = lease_of(ALICE, KEY).row()
    kept.holdings.store(KEY, VALUE, (row,), kept.results.append)
    kept.holdings.store(KEY, VALUE, (row,), kept.results.append)
    assert not kept.results  # nothing is safe yet
    await kept.commit()
    assert len(kept.results) == 2
    kept.holdings.store(KEY, VALUE, (row,), kept.results.append)
    assert len(kept.results) == 3


async def test_a_refused_lease_is_remembered_as_long_as_it_could_come_back() -> None:
    """A newer, shorter word has won. When it has ended, the older and longer one must not be new again (rule 6)."""
    kept = HoldingsAlone()
    long = lease_of(BOB, KEY, issued=EPOCH, life=20 * 3600)
    short = lease_of(BOB, KEY, issued=EPOCH + 1000, life=60)
    kept.clock.now = 2
    assert await kept.store(VALUE, short.row()) is StoreStatus.STORED
    assert await kept.store(VALUE, long.row()) is StoreStatus.STALE
    kept.clock.now = 3600
    kept.holdings.expire(KEY)
    await kept.commit()
    assert await kept.store(VALUE, long.row()) is StoreStatus.STALE
    assert kept.holdings.served(KEY) is None


async def test_a_full_storage_refuses_and_remembers_nothing_of_it() -> None:
    kept = HoldingsAlone(storage=MemoryStorage(max_bytes=65_536))
    statuses = []
    for number in range(100):
        value = b"%04d" % number * 500
        key = Key.of(value)
        statuses.append(await kept.store(value, lease_of(ALICE, key).row(), key=key))
    assert statuses.count(StoreStatus.FULL) > 50
    assert statuses[0] is StoreStatus.STORED
    assert kept.holdings.refused["full"] == statuses.count(StoreStatus.FULL)
    assert len(kept.holdings.writes.in_flight) == 0  # or strangers could fill the memory with keys that were refused


async def test_what_is_stored_already_is_not_acknowledged_once_the_storage_may_have_lost_it() -> None:
    class Moved(MemoryStorage):
        is_moved = False

        def confirm(self) -> Durability:
            if self.is_moved:
                raise StorageMoved("the data directory was deleted")
            return super().confirm()

    kept = HoldingsAlone(storage=(storage := Moved(max_bytes=65_536)))
    row = lease_of(ALICE, KEY).row()
    assert await kept.store(VALUE, row) is StoreStatus.STORED
    assert await kept.store(VALUE, row) is StoreStatus.STORED
    storage.is_moved = True
    assert await kept.store(VALUE, row) is StoreStatus.FAILED


async def test_a_disk_without_room_is_told_from_a_storage_that_holds_as_much_as_it_may() -> None:
    class Full(MemoryStorage):
        def write(self, *arguments: object, done: Done | None = None, **options: object) -> None:
            assert done is not None
            done(DiskFull("no space left"))

    kept = HoldingsAlone(storage=Full(max_bytes=65_536))
    assert await kept.store(VALUE, lease_of(ALICE, KEY).row()) is StoreStatus.NO_ROOM
    assert kept.holdings.refused == {"no_room": 1}


async def test_a_full_storage_takes_a_tombstone_for_what_it_holds() -> None:
    kept = HoldingsAlone(storage=MemoryStorage(max_bytes=65_536))
    assert await kept.store(VALUE, lease_of(ALICE, KEY).row()) is StoreStatus.STORED
    for number in range(100):
        value = b"%04d" % number * 500
        await kept.store(value, lease_of(ALICE, Key.of(value)).row(), key=Key.of(value))
    assert await kept.store(None, tombstone_of(ALICE, KEY).row()) is StoreStatus.STORED
    assert kept.holdings.state(KEY).size is None


async def test_what_has_only_ended_makes_room() -> None:
    kept = HoldingsAlone(storage=MemoryStorage(max_bytes=65_536))
    for number in range(100):
        value = b"%04d" % number * 500
        await kept.store(value, lease_of(BOB, Key.of(value), life=60).row(), key=Key.of(value))
    kept.clock.now = 120
    for key in kept.storage.due(kept.clock.wall(), 200):
        kept.holdings.expire(key)
    await kept.commit()
    assert kept.storage.statistics.keys > 10  # without their values, for as long as they may be woken
    for number in range(20):
        value = b"new%04d" % number * 350
        lease = lease_of(ALICE, Key.of(value), issued=kept.clock.wall())
        assert await kept.store(value, lease.row(), key=Key.of(value)) is StoreStatus.STORED


async def test_a_put_that_came_to_nothing_is_no_publication() -> None:
    kept = HoldingsAlone()
    await kept.store(VALUE, lease_of(ALICE, KEY).row(), published=True)
    assert kept.holdings.state(KEY).published
    kept.holdings.unpublish(KEY)
    await kept.commit()
    assert not kept.holdings.state(KEY).published
    assert kept.holdings.state(KEY).size == len(VALUE)  # as any holder


async def test_a_failing_disk_makes_unpublishing_no_error_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = HoldingsAlone()

    def fail(key: Key) -> None:
        raise StorageError("the disk is gone")

    monkeypatch.setattr(kept.storage, "read", fail)
    kept.holdings.unpublish(KEY)


async def test_a_value_that_the_disk_changed_is_not_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = HoldingsAlone()
    await kept.store(VALUE, lease_of(ALICE, KEY).row())
    monkeypatch.setattr(kept.storage, "value", lambda key: b"a valuf")
    assert kept.holdings.served(KEY) is None
    assert kept.holdings.damaged == 1


async def test_a_damaged_value_is_written_anew_by_the_next_store(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = HoldingsAlone()
    await kept.store(VALUE, lease_of(ALICE, KEY).row())
    with monkeypatch.context() as damaged:
        damaged.setattr(kept.storage, "value", lambda key: b"a valuf")
        kept.holdings.store(KEY, VALUE, [lease_of(ALICE, KEY).row()], kept.results.append)
    await kept.commit()
    assert kept.holdings.damaged == 1
    served = kept.holdings.served(KEY)
    assert served is not None
    assert served.value == VALUE


async def test_a_damaged_value_shows_as_missing_once_it_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that replication brings it again."""
    kept = HoldingsAlone()
    await kept.store(VALUE, lease_of(ALICE, KEY).row())
    with monkeypatch.context() as damaged:
        damaged.setattr(kept.storage, "value", lambda key: b"a valuf")
        assert kept.holdings.value(KEY) is None
    await kept.commit()
    assert kept.holdings.state(KEY).size is None
    assert kept.holdings.state(KEY).registers


async def test_a_classic_value_whose_commit_fails_uses_up_no_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = HoldingsAlone()
    dones: list[Done] = []

    def write(*args: object, done: Done, **kwargs: object) -> None:
        dones.append(done)

    monkeypatch.setattr(kept.storage, "write", write)
    kept.holdings.store_classic(KEY, VALUE, StoreKind.PUBLISH, kept.results.append)
    dones[0](StorageError("the disk is gone"))
    kept.holdings.save_uptime()
    assert kept.storage.note("classic_bytes") == 0
    assert kept.results[-1].status is StoreStatus.FAILED


async def test_only_our_publishers_leases_are_renewed_from_here() -> None:
    kept = HoldingsAlone()
    await kept.store(VALUE, lease_of(BOB, KEY).row())
    assert kept.holdings.renewal_time(kept.holdings.state(KEY)) == 0
    await kept.store(VALUE, lease_of(ALICE, KEY).row())
    assert kept.holdings.renewal_time(kept.holdings.state(KEY)) == EPOCH + HOUR // 2
    assert kept.storage.renewable(EPOCH + HOUR, 10) == [KEY]
    await kept.store(None, tombstone_of(ALICE, KEY).row())
    assert kept.holdings.renewal_time(kept.holdings.state(KEY)) == 0
    assert kept.storage.renewable(EPOCH + HOUR, 10) == []


async def test_what_was_here_before_the_start_is_compared_before_it_is_served() -> None:
    first = HoldingsAlone()
    await first.store(VALUE, lease_of(ALICE, KEY).row())
    again = HoldingsAlone(storage=first.storage)
    assert again.holdings.served(KEY) is None
    again.holdings.comparisons.up_to = KEY
    assert again.holdings.served(KEY) is not None
    new_start = HoldingsAlone(storage=first.storage)
    other = b"stored since the start"
    await new_start.store(other, lease_of(ALICE, Key.of(other)).row(), key=Key.of(other))
    assert new_start.holdings.served(Key.of(other)) is not None
    assert new_start.holdings.served(KEY) is None


async def test_uptime_goes_on_where_the_last_start_ended() -> None:
    first = HoldingsAlone()
    first.clock.now = 100
    first.holdings.save_uptime()
    again = HoldingsAlone(storage=first.storage)
    again.clock.now = 5
    assert again.holdings.uptime == 105_000


async def test_a_classic_replica_that_has_ended_does_not_come_back() -> None:
    """Classic nodes replicate for ever; the end is remembered anew, for as long as they go on (rule 10)."""
    kept = HoldingsAlone()
    kept.holdings.store_classic(KEY, VALUE, StoreKind.PUBLISH, kept.results.append)
    await kept.commit()
    assert kept.holdings.served(KEY) is not None
    for hour in range(24, 24 * 6):
        kept.clock.now = hour * 3600 + 1
        kept.holdings.store_classic(KEY, VALUE, StoreKind.REPLICATE, kept.results.append)
        await kept.commit()
        for key in kept.storage.due(kept.clock.wall(), 10):
            kept.holdings.expire(key)
        await kept.commit()
        assert kept.results[-1].status is not StoreStatus.STORED
        assert kept.holdings.served(KEY) is None


async def test_of_many_keys_only_those_are_left_out_that_the_disk_does_not_give(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept, unknown, damaged = HoldingsAlone(), Key(bytes(32)), Key(b"d" * 32)
    await kept.store(VALUE, lease_of(ALICE, KEY).row())
    read = kept.storage.read

    def fail_all(keys: Sequence[Key]) -> dict[Key, KeyState]:
        raise StorageError("one of them is damaged")

    def fail_one(key: Key) -> KeyState | None:
        if key == damaged:
            raise StorageError("it is damaged")
        return read(key)

    keys = [unknown, damaged, KEY]
    assert set(kept.holdings.states(keys)) == set(keys)
    monkeypatch.setattr(kept.storage, "read_all", fail_all)
    monkeypatch.setattr(kept.storage, "read", fail_one)
    assert kept.holdings.states(keys) == {unknown: KeyState(unknown), KEY: kept.holdings.state(KEY)}


def served(kept: HoldingsAlone) -> bytes | None:
    found = kept.holdings.served(KEY)
    return None if found is None else found.value


@pytest.mark.parametrize(
    "greater", [tombstone_of(ALICE, KEY, issued=EPOCH + HOUR), lease_of(ALICE, KEY, issued=EPOCH + HOUR)]
)
async def test_what_a_record_may_have_ended_that_was_refused_for_its_time_is_not_served(greater: Record) -> None:
    """The node's clock is an hour behind: it may not store the record, and may not deny it either."""
    kept = HoldingsAlone()
    await kept.store(VALUE, lease_of(ALICE, KEY, life=86400.0).row())
    kept.holdings.keep_cached(KEY, VALUE, [lease_of(ALICE, KEY)], kept.holdings.own)
    assert served(kept) == VALUE
    assert await kept.store(VALUE, greater.row()) is StoreStatus.NOT_YET
    assert served(kept) is None
    assert not kept.holdings.keep_cached(KEY, VALUE, [lease_of(ALICE, KEY)], kept.holdings.own)
    assert kept.holdings.refused_for_time(KEY) == (greater,)
    kept.clock.now = 3600  # once the clock takes it, the record is stored as if it came now
    kept.holdings.served(KEY)
    await kept.commit()
    assert kept.holdings.refused_for_time(KEY) == ()
    assert served(kept) == (None if greater.is_tombstone else VALUE)


def test_of_a_copy_that_many_publish_the_longest_leases_are_served_as_many_as_an_answer_has() -> None:
    """More than these would make a packet that no node takes, so that this node would seem to be dead."""
    kept = HoldingsAlone()
    leases = [lease_of(KeyPair.from_seed(bytes([number]) * 32), KEY, life=3600.0 + number) for number in range(9)]
    assert kept.holdings.keep_cached(KEY, VALUE, leases, kept.holdings.own)
    found = kept.holdings.served(KEY)
    assert found is not None
    assert found.is_cached
    assert found.records == tuple(reversed(leases[-MAX_RECORDS:]))


async def test_another_publishers_record_or_an_older_one_denies_nothing() -> None:
    kept = HoldingsAlone()
    await kept.store(VALUE, lease_of(ALICE, KEY, life=86400.0, seen=EPOCH).row())
    older = attrs.evolve(tombstone_of(ALICE, KEY, issued=EPOCH + HOUR), seq=1, signature=b"")
    for record in (tombstone_of(BOB, KEY, issued=EPOCH + HOUR), sign_record(older, ALICE, NETWORK)):
        await kept.store(VALUE, record.row())
    assert served(kept) == VALUE
