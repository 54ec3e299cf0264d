"""The simulated disk: what is left after a crash and after a power loss, and how it fails."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from camomile_trio.errors import ConfigError, DataDirectoryInUse, StorageError
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import Durability
from camomile_trio.kademlia.registers import KeyState
from camomile_trio.simulation.disk import (
    COMMIT_LATENCY,
    SYNC_WITHIN,
    WRITE_BACK_WITHIN,
    DiskFaults,
    SimulatedDisk,
    SimulatedStorage,
)
from camomile_trio.storage.base import Timetable
from camomile_trio.storage.schema import SyncMode
from camomile_trio.storage.tally import MAX_PENDING_WRITES
from tests.storage.kept import (
    MIB,
    Outcomes,
    cost,
    key,
    lease,
    state,
    write,
    writer_of,
)

NEVER = Timetable()
CONTACT = Contact(NodeId(b"n" * 32), Endpoint.parse("127.0.0.1:1"))
BOTH = pytest.mark.parametrize("sync", ["os", "full"])


def new_disk(sync: SyncMode = "os", *, seed: int = 1, max_bytes: int = 100 * MIB) -> SimulatedDisk:
    return SimulatedDisk(sync=sync, max_bytes=max_bytes, rng=random.Random(seed))


async def acknowledged(storage: SimulatedStorage, *numbers: int) -> None:
    """Writes the keys, each in a commit of its own."""
    async with writer_of(storage):
        for number in numbers:
            outcomes = Outcomes()
            write(storage, state(number, 5), NEVER, value=b"hello", done=outcomes)
            # One that was handed over before may be under way first; and in this very moment nothing may be due.
            await trio.sleep(3 * COMMIT_LATENCY["full"])
            assert outcomes.heard == [storage.durability]


def keys_on(disk: SimulatedDisk) -> list[int]:
    return [int.from_bytes(found, "big") for found in disk.entries.keys(None, 1000)]


@BOTH
async def test_a_write_is_readable_at_once_and_acknowledged_when_its_commit_took_its_time(
    autojump_clock: MockClock, sync: SyncMode
) -> None:
    storage = new_disk(sync).open()
    heard: list[object] = []
    async with writer_of(storage):
        begun = trio.current_time()
        write(
            storage,
            state(1, 5),
            NEVER,
            value=b"hello",
            done=lambda outcome: heard.append((outcome, trio.current_time())),
        )
        assert storage.value(key(1)) == b"hello"
        await trio.sleep(1)
    assert heard == [(storage.durability, pytest.approx(begun + COMMIT_LATENCY[sync]))]


async def test_what_is_written_during_a_commit_is_the_next_one(autojump_clock: MockClock) -> None:
    storage = new_disk("full").open()
    outcomes = Outcomes()
    async with writer_of(storage):
        write(storage, state(1), NEVER, done=outcomes)
        await trio.sleep(COMMIT_LATENCY["full"] / 2)
        write(storage, state(2), NEVER, done=outcomes)
        write(storage, state(3), NEVER, done=outcomes)
        assert storage.statistics.pending == 3
        await trio.sleep(COMMIT_LATENCY["full"])
        assert len(outcomes.heard) == 1
        await trio.sleep(COMMIT_LATENCY["full"])
    assert len(outcomes.heard) == 3
    assert (storage.statistics.commits, storage.statistics.committed_writes) == (2, 3)


async def test_a_writer_cancelled_during_a_commit_leaves_it_to_the_closing(autojump_clock: MockClock) -> None:
    disk = new_disk("full")
    storage = disk.open()
    outcomes = Outcomes()
    async with writer_of(storage):
        write(storage, state(1), NEVER, done=outcomes)
        await trio.sleep(COMMIT_LATENCY["full"] / 2)
        write(storage, state(2), NEVER, done=outcomes)
    assert outcomes.heard == []
    storage.close()
    assert outcomes.heard == [Durability.DISK] * 2
    assert disk.open().statistics.keys == 2


# How a life ends


@BOTH
async def test_a_crash_loses_nothing_that_was_acknowledged_and_all_that_was_not_handed_on(
    autojump_clock: MockClock, sync: SyncMode
) -> None:
    disk = new_disk(sync)
    storage = disk.open()
    storage.save_contacts([CONTACT])
    storage.set_note("uptime", 1)
    await acknowledged(storage, 1, 2)
    outcomes = Outcomes()
    write(storage, state(1, 3, lease(1, seq=9)), NEVER, value=b"new", done=outcomes)
    write(storage, state(3), Timetable(due=5, renew=5), evictable=True, done=outcomes)
    storage.remove(key(2))
    storage.save_contacts([])
    storage.set_note("uptime", 2)
    storage.set_note("other", 2)
    disk.crash()
    storage = disk.open()
    assert storage.keys(None, 10) == [key(1), key(2)]
    assert (storage.read(key(1)), storage.value(key(1))) == (state(1, 5), b"hello")
    assert storage.due(9, 9) == storage.renewable(9, 9) == storage.evictable(9) == []
    assert (storage.contacts(), storage.note("uptime"), storage.note("other")) == ([CONTACT], 1, 0)
    counted = storage.statistics
    assert (counted.keys, counted.values, counted.bytes) == (2, 2, 2 * cost(state(1, 5)))
    assert outcomes.heard == []


async def test_a_commit_under_way_at_the_crash_may_have_been_made_but_nobody_was_told(
    autojump_clock: MockClock,
) -> None:
    left: dict[int, int] = {}
    for seed in range(40):
        disk = new_disk("full", seed=seed)
        storage = disk.open()
        outcomes = Outcomes()
        async with writer_of(storage):
            write(storage, state(1), NEVER, done=outcomes)
            write(storage, state(2), NEVER, done=outcomes)
            await trio.sleep(COMMIT_LATENCY["full"] / 2)
            write(storage, state(3), NEVER, done=outcomes)
            disk.crash()
            await trio.sleep(1)
        assert outcomes.heard == []
        left[len(keys_on(disk))] = left.get(len(keys_on(disk)), 0) + 1
    # All of it, the first of it, or nothing, and never what came after it.
    assert sorted(left) == [0, 1, 2]
    assert min(left.values()) > 5


async def test_a_commit_under_way_on_a_failing_disk_was_not_made(autojump_clock: MockClock) -> None:
    for seed in range(10):
        disk = new_disk("full", seed=seed)
        storage = disk.open()
        async with writer_of(storage):
            write(storage, state(1), NEVER)
            await trio.sleep(COMMIT_LATENCY["full"] / 2)
            disk.set_faults(DiskFaults(fails_writes=True))
            disk.crash()
        assert keys_on(disk) == []


async def test_what_a_crashed_life_leaves_running_does_nothing(autojump_clock: MockClock) -> None:
    disk = new_disk()
    storage = disk.open()
    outcomes = Outcomes()
    async with writer_of(storage):
        write(storage, state(1), NEVER, done=outcomes)
        disk.crash()
        second = disk.open()
        calls: list[Callable[[], object]] = [
            lambda: storage.read(key(1)),
            lambda: storage.value(key(1)),
            lambda: write(storage, state(1), NEVER),
            lambda: storage.remove(key(1)),
            lambda: storage.keys(None, 1),
            lambda: storage.due(1, 1),
            lambda: storage.renewable(1, 1),
            lambda: storage.evictable(1),
            storage.next_due,
            storage.contacts,
            lambda: storage.save_contacts([]),
            lambda: storage.note("uptime"),
            lambda: storage.set_note("uptime", 1),
        ]
        for call in calls:
            with pytest.raises(StorageError, match="its node has crashed"):
                call()
        await trio.sleep(1)
        storage.close()
    assert outcomes.heard == []
    assert (storage.statistics.commits, storage.statistics.pending) == (0, 0)
    # The new life neither saw it nor lost the disk to the old one's `close`.
    with pytest.raises(DataDirectoryInUse):
        disk.open()
    write(second, state(2), NEVER)
    second.close()
    assert keys_on(disk) == [2]


async def test_a_node_that_crashes_over_one_acknowledgement_hears_no_other(autojump_clock: MockClock) -> None:
    disk = new_disk()
    storage = disk.open()
    outcomes = Outcomes()
    write(storage, state(1), NEVER, done=lambda outcome: disk.crash())
    write(storage, state(2), NEVER, done=outcomes)
    storage.close()
    assert outcomes.heard == []
    assert len(keys_on(disk)) == 2
    disk.open()


async def test_a_disk_has_one_life_at_a_time(autojump_clock: MockClock) -> None:
    disk = new_disk()
    storage = disk.open()
    with pytest.raises(DataDirectoryInUse):
        disk.open()
    storage.close()
    disk.open()
    disk.crash()
    disk.crash()
    disk.open()


async def test_a_node_may_come_back_without_its_disk(autojump_clock: MockClock) -> None:
    disk = new_disk()
    await acknowledged(disk.open(), 1)
    disk.wipe()
    disk.lose_power()
    assert disk.open().statistics.keys == 0


# Power loss


async def test_what_was_acknowledged_with_full_survives_a_power_loss(autojump_clock: MockClock) -> None:
    for seed in range(10):
        disk = new_disk("full", seed=seed)
        await acknowledged(disk.open(), 1, 2, 3)
        disk.lose_power()
        assert keys_on(disk) == [1, 2, 3]


async def test_with_os_a_power_loss_takes_at_most_the_last_second_and_the_newest_first(
    autojump_clock: MockClock,
) -> None:
    left = set()
    for seed in range(60):
        disk = new_disk("os", seed=seed)
        storage = disk.open()
        await acknowledged(storage, 1, 2)
        await trio.sleep(SYNC_WITHIN)
        await acknowledged(storage, 3, 4, 5)
        async with writer_of(storage):
            storage.remove(key(1))
            storage.set_note("uptime", 6)
            await trio.sleep(0.1)
        disk.lose_power()
        left.add((*keys_on(disk), disk.open().note("uptime")))
    # The removal and the note were one commit, which may be torn.
    assert left == {
        (1, 2, 0),
        (1, 2, 3, 0),
        (1, 2, 3, 4, 0),
        (1, 2, 3, 4, 5, 0),
        (2, 3, 4, 5, 0),
        (2, 3, 4, 5, 6),
    }


async def test_a_power_loss_takes_nothing_a_second_later_nor_a_second_time(autojump_clock: MockClock) -> None:
    for seed in range(10):
        disk = new_disk("os", seed=seed)
        await acknowledged(disk.open(), 1, 2, 3)
        disk.lose_power()
        left = keys_on(disk)
        disk.lose_power()
        assert keys_on(disk) == left
        storage = disk.open()
        await acknowledged(storage, 7, 8)
        await trio.sleep(SYNC_WITHIN)
        disk.lose_power()
        assert keys_on(disk) == [*left, 7, 8]


async def test_a_node_that_stopped_in_good_order_has_everything_on_its_disk(autojump_clock: MockClock) -> None:
    for seed in range(10):
        disk = new_disk("os", seed=seed)
        storage = disk.open()
        write(storage, state(1), NEVER)
        storage.close()
        disk.lose_power()
        assert keys_on(disk) == [1]


@pytest.mark.parametrize(
    ("down", "up", "is_at_risk"),
    [
        (WRITE_BACK_WITHIN - 1, None, True),  # nobody is there to bring it to the disk
        (WRITE_BACK_WITHIN, None, False),  # the operating system has done it
        (5.0, SYNC_WITHIN / 2, True),
        (5.0, SYNC_WITHIN, False),  # the next life has done it
    ],
)
async def test_what_a_killed_node_had_only_in_the_system(
    autojump_clock: MockClock, down: float, up: float | None, is_at_risk: bool
) -> None:
    left = set()
    for seed in range(20):
        disk = new_disk("os", seed=seed)
        await acknowledged(disk.open(), 1)
        disk.crash()
        await trio.sleep(down)
        if up is not None:
            disk.open()
            await trio.sleep(up)
        disk.lose_power()
        left.add(tuple(keys_on(disk)))
    assert left == ({(), (1,)} if is_at_risk else {(1,)})


async def test_the_same_seed_loses_the_same(autojump_clock: MockClock) -> None:
    async def left(seed: int) -> list[int]:
        disk = new_disk("os", seed=seed)
        await acknowledged(disk.open(), *range(20))
        disk.lose_power()
        return keys_on(disk)

    once = [await left(seed) for seed in range(10)]
    assert once == [await left(seed) for seed in range(10)]
    assert len({len(keys) for keys in once}) > 3


# Faults


async def test_a_full_device_goes_on_reading_and_takes_what_makes_nothing_larger(autojump_clock: MockClock) -> None:
    disk = new_disk()
    storage = disk.open()
    await acknowledged(storage, 1, 2)
    before = storage.statistics
    disk.set_faults(DiskFaults(is_full=True))
    outcomes = Outcomes()
    async with writer_of(storage):
        write(storage, state(3, 5), NEVER, value=b"large", done=outcomes)
        write(storage, state(1), NEVER, done=outcomes)
        await trio.sleep(1)
        assert [str(outcome) for outcome in outcomes.heard] == ["the simulated disk failed: it is full"] * 2
        assert "full" in storage.failing
        assert storage.read(key(3)) is None
        assert storage.value(key(1)) == b"hello"
        after = storage.statistics
        assert (after.bytes, after.pending, after.failures) == (before.bytes, 0, 1)
        write(storage, state(1), NEVER, done=outcomes)
        storage.remove(key(2))
        await trio.sleep(1)
        assert outcomes.heard[2] is Durability.SYSTEM
        assert "full" in storage.failing, "what makes nothing larger says nothing about what does"
        disk.set_faults()
        assert storage.failing == ""
        write(storage, state(3, 5), NEVER, value=b"large", done=outcomes)
        await trio.sleep(1)
        assert outcomes.heard[3] is Durability.SYSTEM
    assert keys_on(disk) == [1, 3]


async def test_what_was_built_on_a_failed_commit_fails_with_it(autojump_clock: MockClock) -> None:
    disk = new_disk("full")
    storage = disk.open()
    heard: list[tuple[int, object]] = []
    async with writer_of(storage):
        disk.set_faults(DiskFaults(fails_writes=True))
        write(storage, state(1, 3), NEVER, value=b"one", done=lambda outcome: heard.append((1, outcome)))
        await trio.sleep(COMMIT_LATENCY["full"] / 2)
        write(storage, state(1, 3, lease(1, seq=9)), NEVER, done=lambda outcome: heard.append((2, outcome)))
        storage.save_contacts([CONTACT])
        await trio.sleep(1)
        assert [number for number, _ in heard] == [1, 2]
        assert all(isinstance(outcome, StorageError) for _, outcome in heard)
        assert "cannot be written" in storage.failing
        assert (storage.read(key(1)), storage.contacts(), storage.statistics.bytes) == (None, [], 0)
        disk.set_faults()
        assert storage.failing == ""
        write(storage, state(2), NEVER, done=lambda outcome: heard.append((3, outcome)))
        await trio.sleep(1)
    assert heard[2] == (3, Durability.DISK)
    assert storage.failing == ""
    assert keys_on(disk) == [2]


async def test_whoever_hears_of_a_failure_may_write_again(autojump_clock: MockClock) -> None:
    disk = new_disk()
    storage = disk.open()
    outcomes = Outcomes()

    def again(outcome: Durability | StorageError) -> None:
        disk.set_faults()
        write(storage, state(1), NEVER, done=outcomes)

    disk.set_faults(DiskFaults(fails_writes=True))
    async with writer_of(storage):
        write(storage, state(1), NEVER, done=again)
        await trio.sleep(1)
    assert outcomes.heard == [Durability.SYSTEM]


async def test_a_disk_that_cannot_be_written_keeps_what_the_system_has_at_risk_and_says_so(
    autojump_clock: MockClock,
) -> None:
    left = set()
    for seed in range(20):
        disk = new_disk("os", seed=seed)
        storage = disk.open()
        await acknowledged(storage, 1)
        await trio.sleep(SYNC_WITHIN)
        await acknowledged(storage, 2)
        disk.set_faults(DiskFaults(fails_writes=True))
        assert "cannot be written" in storage.failing
        await trio.sleep(1000)
        if seed % 2:
            storage.close()
        disk.lose_power()
        left.add(tuple(keys_on(disk)))
    assert left == {(1,), (1, 2)}


async def test_a_disk_that_can_be_written_again_catches_up_within_a_second(autojump_clock: MockClock) -> None:
    for seed in range(10):
        disk = new_disk("os", seed=seed)
        storage = disk.open()
        await acknowledged(storage, 1)
        disk.set_faults(DiskFaults(fails_writes=True))
        await trio.sleep(1000)
        disk.set_faults()
        assert storage.failing == ""
        await trio.sleep(SYNC_WITHIN)
        disk.lose_power()
        assert keys_on(disk) == [1]


async def test_a_disk_that_cannot_be_read_fails_every_read_and_every_opening(autojump_clock: MockClock) -> None:
    disk = new_disk()
    storage = disk.open()
    await acknowledged(storage, 1)
    disk.set_faults(DiskFaults(fails_reads=True))
    assert disk.faults.fails_reads
    for read in (lambda: storage.value(key(1)), storage.next_due, lambda: write(storage, state(2), NEVER)):
        with pytest.raises(StorageError, match="cannot be read"):
            read()
    assert "cannot be read" in storage.failing
    storage.set_note("uptime", 5)
    disk.set_faults()
    assert storage.failing == ""
    assert (storage.value(key(1)), storage.note("uptime")) == (b"hello", 5)
    storage.close()
    disk.set_faults(DiskFaults(fails_reads=True))
    with pytest.raises(StorageError, match="cannot be read"):
        disk.open()
    disk.set_faults()
    assert disk.open().note("uptime") == 5


async def test_a_slow_disk_acknowledges_late_and_in_the_end_is_busy(autojump_clock: MockClock) -> None:
    disk = new_disk("full")
    disk.set_faults(DiskFaults(slowness=1000))
    storage = disk.open()
    outcomes = Outcomes()
    async with writer_of(storage):
        write(storage, state(0), NEVER, done=outcomes)
        await trio.sleep(COMMIT_LATENCY["full"] * 999)
        assert outcomes.heard == []
        for _ in range(MAX_PENDING_WRITES):
            write(storage, state(1), NEVER)
        with pytest.raises(StorageError, match="busy"):
            write(storage, state(2), NEVER)
        await trio.sleep(COMMIT_LATENCY["full"] * 2)
        assert outcomes.heard == [Durability.DISK]
        write(storage, state(2), NEVER)
    assert storage.statistics.busy == 1
    with pytest.raises(ConfigError):
        DiskFaults(slowness=0)


async def test_values_that_wait_are_bounded_in_bytes(autojump_clock: MockClock) -> None:
    storage = new_disk().open()
    write(storage, state(1, 64 * MIB), NEVER, value=bytes(64 * MIB))
    with pytest.raises(StorageError, match="busy"):
        write(storage, state(2, 1), NEVER, value=b"a")
    write(storage, state(2), NEVER)


async def test_a_damaged_value_is_not_what_its_key_says(autojump_clock: MockClock) -> None:
    disk = new_disk()
    assert disk.damage(random.Random(1)) is None
    storage = disk.open()
    values = [b"one", b"two", b"three"]
    for value in values:
        write(storage, KeyState(Key.of(value), len(value), classic_until=1), NEVER, value=value)
    write(storage, state(1, 0), NEVER, value=b"")
    write(storage, state(2), NEVER)
    storage.close()
    damaged = disk.damage(random.Random(1))
    storage = disk.open()
    for value in values:
        stored = storage.value(Key.of(value))
        assert stored is not None
        assert len(stored) == len(value)
        assert (Key.of(stored) == Key.of(value)) is (Key.of(value) != damaged)
    assert damaged in [Key.of(value) for value in values]


# Size


async def test_an_empty_disk_in_use_is_small(autojump_clock: MockClock) -> None:
    rng = random.Random(1)
    tracemalloc.start()
    try:
        lives = [SimulatedDisk(sync="os", max_bytes=MIB, rng=rng).open() for _ in range(100)]
        assert tracemalloc.get_traced_memory()[0] / len(lives) < 2000
    finally:
        tracemalloc.stop()
