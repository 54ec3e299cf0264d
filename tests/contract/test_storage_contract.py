"""What every storage must do: in memory, on disk and on a simulated disk, with both ways of committing."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from camomile_trio.errors import StorageError, StorageFull
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.messages import Durability
from camomile_trio.simulation.disk import SimulatedDisk
from camomile_trio.storage.accounts import STRANGERS, UNSEEN, Sort, of_publisher
from camomile_trio.storage.base import Storage, Timetable
from camomile_trio.storage.memory import MemoryStorage
from camomile_trio.storage.schema import SyncMode
from camomile_trio.storage.sqlite import open_sqlite
from camomile_trio.storage.tally import KEY_BYTES, MAX_CONTACTS, MAX_PENDING_WRITES, REGISTER_BYTES
from tests.storage.kept import (
    HOUR,
    MIB,
    NOW,
    Outcomes,
    absorb,
    commit,
    cost,
    key,
    lease,
    state,
    tombstone,
    write,
    writer_of,
)

NEVER = Timetable()
OpenStorage = Callable[[int], Storage]
Settle = Callable[[], Awaitable[None]]

DURABILITY = {
    "memory": Durability.MEMORY,
    "simulated-os": Durability.SYSTEM,
    "simulated-full": Durability.DISK,
    "sqlite-os": Durability.SYSTEM,
    "sqlite-full": Durability.DISK,
}
# Of a simulated disk the latency is left out, since nothing here moves a clock.
SYNC_OF_SIMULATED: dict[str, SyncMode] = {"simulated-os": "os", "simulated-full": "full"}


@pytest.fixture(
    params=["memory", *SYNC_OF_SIMULATED, "sqlite-os", pytest.param("sqlite-full", marks=pytest.mark.real_time)]
)
async def open_storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenStorage]:
    opened: list[Storage] = []

    def open_one(max_bytes: int) -> Storage:
        storage: Storage
        if request.param == "memory":
            storage = MemoryStorage(max_bytes)
        elif sync := SYNC_OF_SIMULATED.get(request.param):
            disk = SimulatedDisk(sync=sync, max_bytes=max_bytes, rng=random.Random(1), commit_latency=0.0)
            storage = disk.open()
        elif request.param == "sqlite-os":
            storage = open_sqlite(tmp_path / "data", sync="os", max_bytes=max_bytes)
        else:
            storage = open_sqlite(tmp_path / "data", sync="full", max_bytes=max_bytes)
        assert storage.durability is DURABILITY[request.param]
        opened.append(storage)
        return storage

    yield open_one
    for storage in opened:
        storage.close()


@pytest.fixture
async def storage(open_storage: OpenStorage) -> Storage:
    return open_storage(100 * MIB)


@pytest.fixture(params=["waiting", "committed", "absorbed"])
async def settle(request: pytest.FixtureRequest, storage: Storage) -> Settle:
    """Makes a story happen with its writes still waiting, acknowledged, and brought from the journal into tables."""

    async def nothing() -> None: ...

    steps: dict[str, Settle] = {
        "waiting": nothing,
        "committed": partial(commit, storage),
        "absorbed": partial(absorb, storage),
    }
    return steps[request.param]


async def test_a_new_storage_holds_nothing(storage: Storage) -> None:
    assert storage.read(key(1)) is None
    assert storage.value(key(1)) is None
    assert storage.keys(None, 10) == storage.due(NOW, 10) == storage.renewable(NOW, 10) == storage.evictable(10) == []
    assert storage.next_due() is None
    assert storage.contacts() == []
    assert storage.note("uptime") == 0
    assert storage.failing == ""
    assert (storage.statistics.keys, storage.statistics.bytes, storage.statistics.max_bytes) == (0, 0, 100 * MIB)


async def test_a_write_is_readable_at_once_and_after_its_commit(storage: Storage) -> None:
    told = state(1, 5)
    write(storage, told, NEVER, value=b"hello")
    for step in (commit, absorb, commit):
        assert storage.read(key(1)) == told
        assert storage.value(key(1)) == b"hello"
        assert storage.keys(None, 10) == [key(1)]
        await step(storage)


async def test_a_large_value_is_fetched_as_it_is_read(storage: Storage) -> None:
    large = bytes(range(256)) * 4096
    write(storage, state(1, len(large)), NEVER, value=large)
    for step in (commit, absorb, commit):
        assert await storage.fetch(key(1)) == large
        assert await storage.fetch(key(2)) is None
        await step(storage)
    storage.remove(key(1))
    assert await storage.fetch(key(1)) is None


async def test_many_keys_are_read_at_one_go(storage: Storage) -> None:
    """Some committed, some waiting, one of them waiting to be gone, and one that nobody has heard of."""
    for number in (1, 2, 3):
        write(storage, state(number, 5, lease(number, 1)), NEVER, value=b"hello")
    await absorb(storage)
    renewed = state(2, 5, lease(2, 1, seq=7))
    write(storage, renewed, NEVER)
    storage.remove(key(3))
    write(storage, state(4, 2), NEVER, value=b"hi")
    for step in (commit, absorb, commit):
        found = storage.read_all([key(number) for number in (5, 4, 3, 2, 1)])
        assert found == {key(1): state(1, 5, lease(1, 1)), key(2): renewed, key(4): state(4, 2)}
        assert storage.read_all([]) == storage.read_all([key(5)]) == {}
        await step(storage)


async def test_everything_about_a_key_comes_back(storage: Storage) -> None:
    registers = (lease(1, 1), tombstone(1, 2), tombstone(1, 3, ended_at=0), lease(1, 4, seq=2**64 - 1))
    told = attrs.evolve(state(1, 0, *registers), classic_until=NOW + HOUR, published=True)
    write(storage, told, NEVER, value=b"")
    await absorb(storage)
    assert storage.read(key(1)) == told
    assert storage.value(key(1)) == b""


async def test_a_key_may_have_no_registers_at_all(storage: Storage) -> None:
    told = attrs.evolve(state(1, 3), registers=(), classic_until=NOW)
    write(storage, told, NEVER, value=b"old")
    await absorb(storage)
    assert storage.read(key(1)) == told


async def test_nothing_is_acknowledged_before_the_writer_has_run(storage: Storage) -> None:
    outcomes = Outcomes()
    write(storage, state(1, 1), NEVER, value=b"a", done=outcomes)
    assert outcomes.heard == []
    assert storage.statistics.pending == 1
    async with writer_of(storage):
        assert await outcomes.until(1) == [storage.durability]
    assert storage.statistics.pending == 0


@pytest.mark.parametrize("storage_of", ["memory", "sqlite"])
async def test_what_a_turn_brings_is_committed_once_at_its_end_and_never_before(
    tmp_path: Path, storage_of: str
) -> None:
    memory, on_disk = MemoryStorage(MIB), open_sqlite(tmp_path, sync="os", max_bytes=MIB)
    storage: Storage = memory if storage_of == "memory" else on_disk
    first, second = Outcomes(), Outcomes()
    async with writer_of(storage):
        write(storage, state(1), NEVER, done=first)  # outside of the turn, which takes it along
        storage.begin_turn()
        write(storage, state(2), NEVER, done=lambda outcome: write(storage, state(3), NEVER, done=second))
        assert first.heard == []
        storage.end_turn()
        assert first.heard == [storage.durability]
        assert second.heard == []  # it was handed over by a `done`: the writer commits it
        assert await second.until(1) == [storage.durability]
        await wait_all_tasks_blocked()
    assert storage.statistics.commits == 2
    assert storage.statistics.committed_writes == 3
    memory.close()
    on_disk.close()


async def test_writes_of_one_moment_are_one_commit_and_acknowledged_in_order(storage: Storage) -> None:
    order: list[int] = []
    last = Outcomes()
    async with writer_of(storage):
        for number in (3, 1, 2):
            write(storage, state(number), NEVER, done=partial(lambda number, outcome: order.append(number), number))
        write(storage, state(4), NEVER, done=last)
        await last.until(1)
    assert order == [3, 1, 2]
    assert storage.statistics.commits == 1
    assert storage.statistics.committed_writes == 4


async def test_what_several_tasks_write_in_one_pass_of_the_event_loop_is_one_commit(storage: Storage) -> None:
    outcomes = Outcomes()

    async def write_after(go: trio.Event, number: int) -> None:
        await go.wait()
        write(storage, state(number), NEVER, done=outcomes)

    async with writer_of(storage), trio.open_nursery() as nursery:
        # Trio shuffles the tasks of one pass, so once says little.
        for number in range(0, 20, 2):
            go = trio.Event()
            nursery.start_soon(write_after, go, number)
            nursery.start_soon(write_after, go, number + 1)
            await wait_all_tasks_blocked()
            go.set()
            await outcomes.until(number + 2)
    assert storage.statistics.commits == 10


async def test_the_last_write_of_a_key_wins_and_all_of_them_are_acknowledged(storage: Storage) -> None:
    outcomes = Outcomes()
    write(storage, state(1, 3), NEVER, value=b"one", done=outcomes)
    later = state(1, 3, lease(1, seq=NOW + 1))
    write(storage, later, Timetable(due=5), done=outcomes)
    assert storage.read(key(1)) == later
    async with writer_of(storage):
        await outcomes.until(2)
    assert storage.read(key(1)) == later
    assert storage.value(key(1)) == b"one"
    assert storage.due(5, 10) == [key(1)]
    assert storage.statistics.keys == 1


async def test_a_state_may_change_while_its_value_stays(storage: Storage) -> None:
    write(storage, state(1, 5), NEVER, value=b"stays")
    await absorb(storage)
    renewed = state(1, 5, lease(1, seq=NOW + 1))
    write(storage, renewed, NEVER)
    assert storage.value(key(1)) == b"stays"
    await absorb(storage)
    assert storage.read(key(1)) == renewed
    assert storage.value(key(1)) == b"stays"


async def test_a_value_goes_when_the_state_says_so(storage: Storage, settle: Settle) -> None:
    write(storage, state(1, 5), NEVER, value=b"goner")
    await settle()
    forgotten = state(1, None, tombstone(1))
    write(storage, forgotten, NEVER)
    assert storage.value(key(1)) is None
    await settle()
    assert storage.value(key(1)) is None
    assert storage.read(key(1)) == forgotten


async def test_a_value_may_go_and_come_back(storage: Storage) -> None:
    write(storage, state(1, 4), NEVER, value=b"back")
    write(storage, state(1), NEVER)
    write(storage, state(1, 4), NEVER, value=b"back")
    assert storage.value(key(1)) == b"back"
    await absorb(storage)
    assert storage.value(key(1)) == b"back"


async def test_a_value_that_is_not_what_the_state_says_is_a_bug_of_the_caller(storage: Storage) -> None:
    with pytest.raises(ValueError, match="says 5 bytes, the value has 4"):
        write(storage, state(1, 5), NEVER, value=b"four")
    with pytest.raises(ValueError, match="no such value"):
        write(storage, state(1, 5), NEVER)
    with pytest.raises(ValueError, match="says None"):
        write(storage, state(1), NEVER, value=b"four")
    assert storage.read(key(1)) is None


async def test_a_removed_key_was_never_there(storage: Storage, settle: Settle) -> None:
    write(storage, state(1, 1), Timetable(due=5, renew=6), value=b"a", evictable=True)
    write(storage, state(2), NEVER)
    await settle()
    storage.remove(key(1))
    storage.remove(key(9))
    for _ in range(2):
        assert storage.read(key(1)) is None
        assert storage.value(key(1)) is None
        assert storage.keys(None, 10) == [key(2)]
        assert storage.due(NOW, 10) == storage.renewable(NOW, 10) == storage.evictable(10) == []
        assert storage.next_due() is None
        await settle()


async def test_what_is_counted_follows_every_change(storage: Storage, settle: Settle) -> None:
    def counted() -> tuple[int, int, int]:
        statistics = storage.statistics
        return statistics.keys, statistics.values, statistics.bytes

    write(storage, state(1, 100), NEVER, value=bytes(100))
    write(storage, state(2), NEVER)
    await settle()
    assert counted() == (2, 1, 2 * (KEY_BYTES + REGISTER_BYTES) + 100)
    write(storage, state(1, 100, lease(1, 1), lease(1, 2)), NEVER)
    await settle()
    assert counted() == (2, 1, 2 * KEY_BYTES + 3 * REGISTER_BYTES + 100)
    write(storage, state(1), NEVER)
    await settle()
    assert counted() == (2, 0, 2 * (KEY_BYTES + REGISTER_BYTES))
    storage.remove(key(2))
    await settle()
    assert counted() == (1, 0, KEY_BYTES + REGISTER_BYTES)


async def test_accounts_follow_every_change(storage: Storage, settle: Settle) -> None:
    """Each publisher is charged with the whole value, and so is the network that brought its record."""
    network, said = b"n\x08\x08\x08", b"r\x08\x08\x08"
    alice, bob = lease(1, 1), attrs.evolve(lease(1, 2), brought_by=network)
    of_alice, of_bob = of_publisher(alice.record.publisher), of_publisher(bob.record.publisher)
    # Where a node said that it replicates, and was not known as a holder, the network pays as for what it publishes.
    unseen = attrs.evolve(tombstone(2, 2), brought_by=said, had_lease=False)
    each = KEY_BYTES + REGISTER_BYTES

    def held() -> list[int]:
        return [storage.held(account) for account in (of_alice, of_bob, network)]

    write(storage, state(1, 100, alice, bob), NEVER, value=bytes(100))
    for _ in range(2):
        assert held() == [each + 100, each + 100, each + 100]
        await settle()
    write(storage, state(2, None, unseen), NEVER)
    for _ in range(2):
        assert held() == [each + 100, 2 * each + 100, 2 * each + 100]
        assert (storage.held(UNSEEN), storage.held(STRANGERS)) == (each, 2 * each + 100)
        assert (storage.largest(Sort.PUBLISHER), storage.largest(Sort.CARRIER)) == (2 * each + 100, 0)
        await settle()
    write(storage, state(1, None, alice, bob), NEVER)
    storage.remove(key(2))
    for _ in range(2):
        assert held() == [each, each, each]
        assert (storage.largest(Sort.UNSEEN), storage.held(STRANGERS)) == (0, each)
        await settle()


async def test_what_all_strangers_have_published_is_counted_once(storage: Storage, settle: Settle) -> None:
    """And what another holder carried is not counted there, nor what no network is charged with."""
    registers = [
        attrs.evolve(lease(1, number), brought_by=brought_by)
        for number, brought_by in enumerate((b"n\x08\x08\x08", b"n\x09\x09\x09", b"c\x09\x09\x09", b""))
    ]
    write(storage, state(1, 100, *registers), NEVER, value=bytes(100))
    for _ in range(2):
        assert storage.held(STRANGERS) == KEY_BYTES + 2 * REGISTER_BYTES + 100
        assert storage.held(b"c\x09\x09\x09") == KEY_BYTES + REGISTER_BYTES + 100
        await settle()
    write(storage, state(1, 100, *registers[2:]), NEVER)
    await settle()
    assert storage.held(STRANGERS) == 0


async def test_a_full_storage_takes_the_last_byte_and_refuses_the_next(open_storage: OpenStorage) -> None:
    outcomes = Outcomes()
    storage = open_storage(cost(state(1, 1000)) + cost(state(2, 10)))
    write(storage, state(1, 1000), NEVER, value=bytes(1000))
    with pytest.raises(StorageFull) as refused:
        write(storage, state(2, 11), NEVER, value=bytes(11), done=outcomes)
    assert "--max-storage" in refused.value.remedy
    assert storage.read(key(2)) is None
    assert storage.statistics.refused == 1
    write(storage, state(2, 10), NEVER, value=bytes(10))
    await absorb(storage)
    assert storage.statistics.bytes == storage.statistics.max_bytes
    assert outcomes.heard == []


async def test_a_full_storage_takes_what_must_be_and_what_makes_it_no_larger(open_storage: OpenStorage) -> None:
    storage = open_storage(cost(state(1, 1000)))
    write(storage, state(1, 1000), NEVER, value=bytes(1000))
    await absorb(storage)
    with pytest.raises(StorageFull):
        write(storage, state(1, 1000, lease(1, 1), lease(1, 2)), NEVER)
    write(storage, state(1, 1000, lease(1, 1), tombstone(1, 2)), NEVER, even_if_full=True)
    assert storage.statistics.bytes > storage.statistics.max_bytes
    write(storage, state(1, 1000, lease(1, 1), tombstone(1, 2, ended_at=7)), NEVER)
    write(storage, state(1), NEVER)
    with pytest.raises(StorageFull):
        write(storage, state(2, 1000), NEVER, value=bytes(1000))
    assert storage.statistics.refused == 2


async def test_keys_come_in_order_a_page_at_a_time(storage: Storage) -> None:
    for number in (7, 2, 9):
        write(storage, state(number), NEVER)
    await absorb(storage)
    for number in (1, 8, 5):
        write(storage, state(number), NEVER)
    storage.remove(key(7))
    write(storage, state(2), NEVER)
    assert storage.keys(None, 3) == [key(1), key(2), key(5)]
    assert storage.keys(key(5), 3) == [key(8), key(9)]
    assert storage.keys(key(6), 1) == [key(8)]
    assert storage.keys(key(9), 3) == []


async def test_keys_are_due_by_their_time_whether_waiting_or_committed(storage: Storage) -> None:
    write(storage, state(1), Timetable(due=300, renew=30))
    write(storage, state(2), Timetable(due=100, renew=10))
    write(storage, state(3), NEVER)
    write(storage, state(4), Timetable(due=50, renew=50))
    await absorb(storage)
    write(storage, state(5), Timetable(due=200, renew=20))
    write(storage, state(4), NEVER)
    assert storage.due(300, 10) == [key(2), key(5), key(1)]
    assert storage.due(299, 10) == [key(2), key(5)]
    assert storage.due(99, 10) == []
    assert storage.due(300, 1) == [key(2)]
    assert storage.renewable(30, 10) == [key(2), key(5), key(1)]
    assert storage.renewable(20, 10) == [key(2), key(5)]
    assert storage.renewable(30, 2) == [key(2), key(5)]


async def test_the_next_time_of_all_is_the_earliest_of_either_kind(storage: Storage) -> None:
    write(storage, state(1), Timetable(due=300))
    assert storage.next_due() == 300
    write(storage, state(2), Timetable(renew=200))
    await absorb(storage)
    assert storage.next_due() == 200
    write(storage, state(2), Timetable(due=400, renew=500))
    assert storage.next_due() == 300
    storage.remove(key(1))
    assert storage.next_due() == 400
    await absorb(storage)
    assert storage.next_due() == 400


async def test_the_evictable_go_by_when_they_are_due_and_the_never_due_last(storage: Storage) -> None:
    write(storage, state(1), NEVER, evictable=True)
    write(storage, state(2), Timetable(due=200), evictable=True)
    write(storage, state(3), Timetable(due=100))
    write(storage, state(4), Timetable(due=50), evictable=True)
    await absorb(storage)
    write(storage, state(5), Timetable(due=150), evictable=True)
    write(storage, state(4), Timetable(due=50))
    assert storage.evictable(10) == [key(5), key(2), key(1)]
    await absorb(storage)
    assert storage.evictable(10) == [key(5), key(2), key(1)]
    assert storage.evictable(2) == [key(5), key(2)]


async def test_contacts_are_replaced_and_keep_their_order(storage: Storage, settle: Settle) -> None:
    def contact(number: int, endpoint: str) -> Contact:
        return Contact.of(bytes([number]) * 32, Endpoint.parse(endpoint))

    storage.save_contacts([contact(1, "127.0.0.1:1")])
    saved = [contact(3, "127.0.0.1:8118"), contact(2, "[::1]:8118")]
    storage.save_contacts(saved)
    write(storage, state(1), NEVER)
    await settle()
    assert storage.contacts() == saved
    storage.save_contacts([])
    write(storage, state(2), NEVER)
    await settle()
    assert storage.contacts() == []
    storage.save_contacts(saved * MAX_CONTACTS)
    assert len(storage.contacts()) == MAX_CONTACTS


async def test_notes_are_numbers_under_names(storage: Storage, settle: Settle) -> None:
    storage.set_note("uptime", 5)
    storage.set_note("classic_bytes", -3)
    storage.set_note("uptime", 2**40)
    write(storage, state(1), NEVER)
    await settle()
    assert (storage.note("uptime"), storage.note("classic_bytes"), storage.note("other")) == (2**40, -3, 0)


async def test_a_storage_whose_writer_does_not_keep_up_says_so(storage: Storage) -> None:
    outcomes = Outcomes()
    for _ in range(MAX_PENDING_WRITES):
        write(storage, state(1), NEVER, done=outcomes)
    with pytest.raises(StorageError, match="busy") as refused:
        write(storage, state(2), NEVER, even_if_full=True, done=outcomes)
    assert not isinstance(refused.value, StorageFull)
    assert storage.statistics.busy == 1
    await absorb(storage)
    assert outcomes.heard == [storage.durability] * MAX_PENDING_WRITES
    write(storage, state(2), NEVER)


async def test_whoever_hears_of_a_commit_may_write_again(storage: Storage) -> None:
    second = Outcomes()
    write(storage, state(1), NEVER, done=lambda outcome: write(storage, state(2), NEVER, done=second))
    async with writer_of(storage):
        await second.until(1)
    assert storage.read(key(2)) == state(2)
    assert storage.statistics.commits == 2


async def test_a_cancelled_writer_loses_nothing(storage: Storage) -> None:
    outcomes = Outcomes()
    with trio.CancelScope() as scope:
        async with writer_of(storage):
            for number in range(8):
                write(storage, state(number), NEVER, done=outcomes)
            scope.cancel()
            await trio.lowlevel.checkpoint()
    storage.close()
    assert outcomes.heard == [storage.durability] * 8


async def test_closing_commits_what_waits_and_then_nothing_goes_any_more(storage: Storage) -> None:
    outcomes = Outcomes()
    write(storage, state(1, 1), NEVER, value=b"a", done=outcomes)
    storage.close()
    storage.close()
    assert outcomes.heard == [storage.durability]
    assert storage.statistics.pending == 0
    calls: list[Callable[[], object]] = [
        lambda: storage.read(key(1)),
        lambda: storage.value(key(1)),
        lambda: write(storage, state(1), NEVER),
        lambda: storage.remove(key(1)),
        lambda: storage.keys(None, 1),
        lambda: storage.due(NOW, 1),
        lambda: storage.renewable(NOW, 1),
        lambda: storage.evictable(1),
        storage.next_due,
        storage.contacts,
        lambda: storage.save_contacts([]),
        lambda: storage.note("uptime"),
        lambda: storage.set_note("uptime", 1),
    ]
    for call in calls:
        with pytest.raises(StorageError, match="closed"):
            call()
