"""What a node keeps and gives up: the shell around the rules of records, with a storage that can be full or fail."""

from __future__ import annotations

import random
from collections.abc import Sequence

import attrs
import pytest

from camomile_trio.errors import DiskFull, StorageError, StorageMoved
from camomile_trio.identity import KeyPair, sign_record
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import Durability, StoreKind, StoreResult, StoreStatus
from camomile_trio.kademlia.records import Record
from camomile_trio.kademlia.registers import KeyState
from camomile_trio.storage.base import Done
from camomile_trio.storage.memory import MemoryStorage
from tests.node.line import EPOCH, NETWORK, lease_of, tombstone_of
from tests.node.shelf import ALICE, KEY, VALUE, Shelf

BOB = KeyPair.new(random.Random("bob"))
HOUR = 3_600_000


async def test_a_store_is_acknowledged_after_its_commit() -> None:
    shelf = Shelf()
    shelf.holdings.store(KEY, VALUE, (lease_of(ALICE, KEY).row(),), shelf.results.append)
    assert not shelf.results
    assert shelf.holdings.writes.in_flight == {KEY: 1}
    await shelf.commit()
    assert shelf.results == [StoreResult(StoreStatus.STORED, Durability.MEMORY)]
    assert not shelf.holdings.writes.in_flight


async def test_the_same_again_is_acknowledged_at_once_but_not_before_the_first() -> None:
    shelf = Shelf()
    row = lease_of(ALICE, KEY).row()
    shelf.holdings.store(KEY, VALUE, (row,), shelf.results.append)
    shelf.holdings.store(KEY, VALUE, (row,), shelf.results.append)
    assert not shelf.results  # nothing is safe yet
    await shelf.commit()
    assert len(shelf.results) == 2
    shelf.holdings.store(KEY, VALUE, (row,), shelf.results.append)
    assert len(shelf.results) == 3


async def test_a_refused_lease_is_remembered_as_long_as_it_could_come_back() -> None:
    """A newer, shorter word has won. When it has ended, the older and longer one must not be new again (rule 6)."""
    shelf = Shelf()
    long = lease_of(BOB, KEY, issued=EPOCH, life=20 * 3600)
    short = lease_of(BOB, KEY, issued=EPOCH + 1000, life=60)
    shelf.clock.now = 2
    assert await shelf.store(VALUE, short.row()) is StoreStatus.STORED
    assert await shelf.store(VALUE, long.row()) is StoreStatus.STALE
    shelf.clock.now = 3600
    shelf.holdings.expire(KEY)
    await shelf.commit()
    assert await shelf.store(VALUE, long.row()) is StoreStatus.STALE
    assert shelf.holdings.served(KEY) is None


async def test_a_full_storage_refuses_and_remembers_nothing_of_it() -> None:
    shelf = Shelf(storage=MemoryStorage(max_bytes=65_536))
    statuses = []
    for number in range(100):
        value = b"%04d" % number * 500
        key = Key.of(value)
        statuses.append(await shelf.store(value, lease_of(ALICE, key).row(), key=key))
    assert statuses.count(StoreStatus.FULL) > 50
    assert statuses[0] is StoreStatus.STORED
    assert shelf.holdings.refused["full"] == statuses.count(StoreStatus.FULL)
    assert len(shelf.holdings.writes.in_flight) == 0  # or strangers could fill the memory with keys that were refused


async def test_what_is_stored_already_is_not_acknowledged_once_the_storage_may_have_lost_it() -> None:
    class Moved(MemoryStorage):
        is_moved = False

        def confirm(self) -> Durability:
            if self.is_moved:
                raise StorageMoved("the data directory was deleted")
            return super().confirm()

    shelf = Shelf(storage=(storage := Moved(max_bytes=65_536)))
    row = lease_of(ALICE, KEY).row()
    assert await shelf.store(VALUE, row) is StoreStatus.STORED
    assert await shelf.store(VALUE, row) is StoreStatus.STORED
    storage.is_moved = True
    assert await shelf.store(VALUE, row) is StoreStatus.FAILED


async def test_a_disk_without_room_is_told_from_a_storage_that_holds_as_much_as_it_may() -> None:
    class Full(MemoryStorage):
        def write(self, *arguments: object, done: Done | None = None, **options: object) -> None:
            assert done is not None
            done(DiskFull("no space left"))

    shelf = Shelf(storage=Full(max_bytes=65_536))
    assert await shelf.store(VALUE, lease_of(ALICE, KEY).row()) is StoreStatus.NO_ROOM
    assert shelf.holdings.refused == {"no_room": 1}


async def test_a_full_storage_takes_a_tombstone_for_what_it_holds() -> None:
    shelf = Shelf(storage=MemoryStorage(max_bytes=65_536))
    assert await shelf.store(VALUE, lease_of(ALICE, KEY).row()) is StoreStatus.STORED
    for number in range(100):
        value = b"%04d" % number * 500
        await shelf.store(value, lease_of(ALICE, Key.of(value)).row(), key=Key.of(value))
    assert await shelf.store(None, tombstone_of(ALICE, KEY).row()) is StoreStatus.STORED
    assert shelf.holdings.state(KEY).size is None


async def test_what_has_only_ended_makes_room() -> None:
    shelf = Shelf(storage=MemoryStorage(max_bytes=65_536))
    for number in range(100):
        value = b"%04d" % number * 500
        await shelf.store(value, lease_of(BOB, Key.of(value), life=60).row(), key=Key.of(value))
    shelf.clock.now = 120
    for key in shelf.storage.due(shelf.clock.wall(), 200):
        shelf.holdings.expire(key)
    await shelf.commit()
    kept = shelf.storage.statistics.keys
    assert kept > 10  # without their values, for as long as they may be woken
    for number in range(20):
        value = b"new%04d" % number * 350
        lease = lease_of(ALICE, Key.of(value), issued=shelf.clock.wall())
        assert await shelf.store(value, lease.row(), key=Key.of(value)) is StoreStatus.STORED


async def test_a_put_that_came_to_nothing_is_no_publication() -> None:
    shelf = Shelf()
    await shelf.store(VALUE, lease_of(ALICE, KEY).row(), published=True)
    assert shelf.holdings.state(KEY).published
    shelf.holdings.unpublish(KEY)
    await shelf.commit()
    assert not shelf.holdings.state(KEY).published
    assert shelf.holdings.state(KEY).size == len(VALUE)  # as any holder


async def test_a_failing_disk_makes_unpublishing_no_error_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf()

    def fail(key: Key) -> None:
        raise StorageError("the disk is gone")

    monkeypatch.setattr(shelf.storage, "read", fail)
    shelf.holdings.unpublish(KEY)


async def test_a_value_that_the_disk_changed_is_not_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf()
    await shelf.store(VALUE, lease_of(ALICE, KEY).row())
    monkeypatch.setattr(shelf.storage, "value", lambda key: b"a valuf")
    assert shelf.holdings.served(KEY) is None
    assert shelf.holdings.damaged == 1


async def test_a_damaged_value_is_written_anew_by_the_next_store(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf()
    await shelf.store(VALUE, lease_of(ALICE, KEY).row())
    with monkeypatch.context() as damaged:
        damaged.setattr(shelf.storage, "value", lambda key: b"a valuf")
        shelf.holdings.store(KEY, VALUE, [lease_of(ALICE, KEY).row()], shelf.results.append)
    await shelf.commit()
    assert shelf.holdings.damaged == 1
    served = shelf.holdings.served(KEY)
    assert served is not None
    assert served.value == VALUE


async def test_a_damaged_value_shows_as_missing_once_it_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that replication brings it again."""
    shelf = Shelf()
    await shelf.store(VALUE, lease_of(ALICE, KEY).row())
    with monkeypatch.context() as damaged:
        damaged.setattr(shelf.storage, "value", lambda key: b"a valuf")
        assert shelf.holdings.value(KEY) is None
    await shelf.commit()
    assert shelf.holdings.state(KEY).size is None
    assert shelf.holdings.state(KEY).registers


async def test_a_classic_value_whose_commit_fails_uses_up_no_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf()
    dones: list[Done] = []

    def write(*args: object, done: Done, **kwargs: object) -> None:
        dones.append(done)

    monkeypatch.setattr(shelf.storage, "write", write)
    shelf.holdings.store_classic(KEY, VALUE, StoreKind.PUBLISH, shelf.results.append)
    dones[0](StorageError("the disk is gone"))
    shelf.holdings.save_uptime()
    assert shelf.storage.note("classic_bytes") == 0
    assert shelf.results[-1].status is StoreStatus.FAILED


async def test_only_our_publishers_leases_are_renewed_from_here() -> None:
    shelf = Shelf()
    await shelf.store(VALUE, lease_of(BOB, KEY).row())
    assert shelf.holdings.renewal_time(shelf.holdings.state(KEY)) == 0
    await shelf.store(VALUE, lease_of(ALICE, KEY).row())
    assert shelf.holdings.renewal_time(shelf.holdings.state(KEY)) == EPOCH + HOUR // 2
    assert shelf.storage.renewable(EPOCH + HOUR, 10) == [KEY]
    await shelf.store(None, tombstone_of(ALICE, KEY).row())
    assert shelf.holdings.renewal_time(shelf.holdings.state(KEY)) == 0
    assert shelf.storage.renewable(EPOCH + HOUR, 10) == []


async def test_what_was_here_before_the_start_is_compared_before_it_is_served() -> None:
    first = Shelf()
    await first.store(VALUE, lease_of(ALICE, KEY).row())
    again = Shelf(storage=first.storage)
    assert again.holdings.served(KEY) is None
    again.holdings.comparisons.up_to = KEY
    assert again.holdings.served(KEY) is not None
    new_start = Shelf(storage=first.storage)
    other = b"stored since the start"
    await new_start.store(other, lease_of(ALICE, Key.of(other)).row(), key=Key.of(other))
    assert new_start.holdings.served(Key.of(other)) is not None
    assert new_start.holdings.served(KEY) is None


async def test_uptime_goes_on_where_the_last_start_ended() -> None:
    first = Shelf()
    first.clock.now = 100
    first.holdings.save_uptime()
    again = Shelf(storage=first.storage)
    again.clock.now = 5
    assert again.holdings.uptime == 105_000


async def test_news_of_holders_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("camomile_trio.node.holdings.MAX_NEWS", 10)
    shelf = Shelf()
    keys = [Key(number.to_bytes(32, "big")) for number in range(12)]
    for key in keys:
        shelf.holdings.heard_from_holder(key)
    assert [shelf.holdings.heard_at(key) is not None for key in keys] == [False] * 2 + [True] * 10


async def test_a_classic_replica_that_has_ended_does_not_come_back() -> None:
    """Classic nodes replicate for ever; the end is remembered anew, for as long as they go on (rule 10)."""
    shelf = Shelf()
    shelf.holdings.store_classic(KEY, VALUE, StoreKind.PUBLISH, shelf.results.append)
    await shelf.commit()
    assert shelf.holdings.served(KEY) is not None
    for hour in range(24, 24 * 6):
        shelf.clock.now = hour * 3600 + 1
        shelf.holdings.store_classic(KEY, VALUE, StoreKind.REPLICATE, shelf.results.append)
        await shelf.commit()
        for key in shelf.storage.due(shelf.clock.wall(), 10):
            shelf.holdings.expire(key)
        await shelf.commit()
        assert shelf.results[-1].status is not StoreStatus.STORED
        assert shelf.holdings.served(KEY) is None


async def test_of_many_keys_only_those_are_left_out_that_the_disk_does_not_give(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shelf, unknown, damaged = Shelf(), Key(bytes(32)), Key(b"d" * 32)
    await shelf.store(VALUE, lease_of(ALICE, KEY).row())
    read = shelf.storage.read

    def fail_all(keys: Sequence[Key]) -> dict[Key, KeyState]:
        raise StorageError("one of them is damaged")

    def fail_one(key: Key) -> KeyState | None:
        if key == damaged:
            raise StorageError("it is damaged")
        return read(key)

    keys = [unknown, damaged, KEY]
    assert set(shelf.holdings.states(keys)) == set(keys)
    monkeypatch.setattr(shelf.storage, "read_all", fail_all)
    monkeypatch.setattr(shelf.storage, "read", fail_one)
    assert shelf.holdings.states(keys) == {unknown: KeyState(unknown), KEY: shelf.holdings.state(KEY)}


def served(shelf: Shelf) -> bytes | None:
    found = shelf.holdings.served(KEY)
    return None if found is None else found.value


@pytest.mark.parametrize(
    "greater", [tombstone_of(ALICE, KEY, issued=EPOCH + HOUR), lease_of(ALICE, KEY, issued=EPOCH + HOUR)]
)
async def test_what_a_record_may_have_ended_that_was_refused_for_its_time_is_not_served(greater: Record) -> None:
    """The node's clock is an hour behind: it may not store the record, and may not deny it either."""
    shelf = Shelf()
    await shelf.store(VALUE, lease_of(ALICE, KEY, life=86400.0).row())
    shelf.holdings.keep_cached(KEY, VALUE, [lease_of(ALICE, KEY)], shelf.holdings.own)
    assert served(shelf) == VALUE
    assert await shelf.store(VALUE, greater.row()) is StoreStatus.NOT_YET
    assert served(shelf) is None
    assert not shelf.holdings.keep_cached(KEY, VALUE, [lease_of(ALICE, KEY)], shelf.holdings.own)
    assert shelf.holdings.refused_for_time(KEY) == (greater,)
    shelf.clock.now = 3600  # once the clock takes it, the record is stored as if it came now
    shelf.holdings.served(KEY)
    await shelf.commit()
    assert shelf.holdings.refused_for_time(KEY) == ()
    assert served(shelf) == (None if greater.is_tombstone else VALUE)


async def test_another_publishers_record_or_an_older_one_denies_nothing() -> None:
    shelf = Shelf()
    await shelf.store(VALUE, lease_of(ALICE, KEY, life=86400.0, seen=EPOCH).row())
    older = attrs.evolve(tombstone_of(ALICE, KEY, issued=EPOCH + HOUR), seq=1, signature=b"")
    for record in (tombstone_of(BOB, KEY, issued=EPOCH + HOUR), sign_record(older, ALICE, NETWORK)):
        await shelf.store(VALUE, record.row())
    assert served(shelf) == VALUE
