"""Nobody pushes the others out of a node's store: not one publisher, not some networks, not with tombstones."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import pytest
import trio
import trio.testing

from camomile_trio.config import Config, Kademlia, StorageConfig
from camomile_trio.holding.quotas import KEPT_FROM_STRANGERS, SHARE, UNSEEN_SHARE, Bringer
from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import Store, StoreKind, StoreResult, StoreStatus
from camomile_trio.kademlia.networks import source_network
from camomile_trio.kademlia.records import RecordRow
from camomile_trio.kademlia.registers import CARRIED, PUBLISHED, REPLICATED
from camomile_trio.storage.accounts import STRANGERS, UNSEEN, Sort, of_publisher
from camomile_trio.storage.memory import MemoryStorage
from camomile_trio.storage.tally import KEY_BYTES, REGISTER_BYTES
from tests.fixtures.holdings import HoldingsAlone
from tests.fixtures.line import Line, one_node
from tests.fixtures.peers import Peer
from tests.fixtures.records import ALICE, EPOCH, KEY, VALUE, lease_of, tombstone_of

BOB, CAROL = KeyPair.new(random.Random("bob")), KeyPair.new(random.Random("carol"))
ROOM = 2**20
NETWORK = source_network(bytes([8, 8, 8, 1]))
STRANGER, FELLOW = Bringer(NETWORK), Bringer(NETWORK, is_fellow_holder=True, is_replicating=True)
SAYS_SO = Bringer(NETWORK, is_replicating=True)
NEIGHBOUR, FELLOW_NEIGHBOUR = Bringer(), Bringer(is_fellow_holder=True)


def many_publishers(number: int) -> KeyPair:
    return KeyPair.new(random.Random(number))


def value(number: int, size: int = 4000) -> bytes:
    return number.to_bytes(4, "big") * (size // 4)


async def fill(
    kept: HoldingsAlone,
    publisher: Callable[[int], KeyPair],
    *,
    bringer: Bringer = NEIGHBOUR,
    start: int = 0,
    size: int = 4000,
) -> int:
    """Stores values of 4000 bytes until one is refused; how many got in. The reason is the last of `results`."""
    for number in range(start, start + 1000):
        some = value(number, size)
        key = Key.of(some)
        status = await kept.store(some, lease_of(publisher(number), key).row(), key=key, bringer=bringer)
        if status is not StoreStatus.STORED:
            return number - start
    raise AssertionError("there was no end to it")


def with_room() -> HoldingsAlone:
    return HoldingsAlone(storage=MemoryStorage(max_bytes=ROOM))


async def test_one_publisher_gets_half_of_the_store_and_leaves_the_rest_to_others() -> None:
    kept = with_room()
    held = await fill(kept, lambda _: BOB)
    assert kept.results[-1].status is StoreStatus.QUOTA
    assert kept.holdings.refused == {"quota_publisher": 1}
    each = KEY_BYTES + REGISTER_BYTES + 4000
    assert ROOM // 2 - each < kept.storage.held(of_publisher(BOB.public)) == held * each <= ROOM // 2
    # Two thirds of the quarter that Bob has left before the one that only shares may fill.
    assert await fill(kept, lambda _: CAROL, start=5000) == pytest.approx(held / 3, abs=1)


async def test_what_another_holder_replicates_of_one_publisher_comes_in_any_order() -> None:
    """It was judged where it was put, when more room was left; a quarter stays for the others whatever comes."""
    kept = with_room()
    await fill(kept, lambda _: BOB)
    assert await fill(kept, lambda _: BOB, bringer=FELLOW_NEIGHBOUR, start=5000) > 0
    assert ROOM * 0.74 < kept.storage.held(of_publisher(BOB.public)) <= ROOM * 0.75
    assert await fill(kept, lambda _: CAROL, start=8000) > 0


async def test_when_space_is_short_only_who_holds_much_is_refused() -> None:
    kept = with_room()
    await fill(kept, lambda _: BOB)
    await fill(kept, many_publishers, start=5000)
    assert await fill(kept, lambda _: BOB, start=8000) == 0
    assert [result.status for result in kept.results[-2:]] == [StoreStatus.FULL, StoreStatus.QUOTA]


async def test_the_nodes_own_publisher_has_no_quota() -> None:
    """All replicas of a deployment have one publisher's key: what its users put is what the nodes are there for."""
    kept = with_room()
    assert await fill(kept, lambda _: ALICE, bringer=STRANGER) == ROOM // (KEY_BYTES + REGISTER_BYTES + 4000)
    assert kept.results[-1].status is StoreStatus.FULL
    assert kept.storage.held(STRANGER.mark) == kept.storage.held(STRANGERS) == 0


async def test_many_publishers_of_one_network_get_no_more_than_one() -> None:
    kept = with_room()
    await fill(kept, many_publishers, bringer=STRANGER)
    assert kept.results[-1].status is StoreStatus.QUOTA
    assert kept.holdings.refused == {"quota_network": 1}
    assert kept.storage.statistics.bytes < ROOM * 0.52
    others = Bringer(source_network(bytes([9, 9, 9, 9])))
    assert await fill(kept, many_publishers, bringer=others, start=5000) > 0


async def test_what_holders_of_one_network_replicate_gets_half_of_the_store_however_full_it_is() -> None:
    """Others came first: what it would be allowed to publish is much less by then."""
    kept = with_room()
    await fill(kept, many_publishers, bringer=Bringer(source_network(bytes([9, 9, 9, 9]))))
    full_by_others = kept.storage.statistics.bytes
    await fill(kept, many_publishers, bringer=FELLOW, start=5000)
    assert kept.holdings.refused == {"quota_network": 1, "quota_carrier": 1}
    assert ROOM * 0.86 < kept.storage.statistics.bytes < ROOM * 0.88
    assert kept.storage.statistics.bytes - full_by_others > ROOM * 0.36


async def test_one_network_gets_no_second_half_by_another_way() -> None:
    """Who grinds keys near to its own node is a fellow holder of these, so that is worth no second half."""
    for ways in ((STRANGER, FELLOW), (FELLOW, STRANGER), (SAYS_SO, FELLOW, STRANGER)):
        kept = with_room()
        for number, way in enumerate(ways):
            await fill(kept, many_publishers, bringer=way, start=5000 * number)
        # A network that has carried half of a store may still publish: that is what its users put.
        assert ROOM * 0.48 < kept.storage.held(FELLOW.mark) + kept.storage.held(STRANGER.mark) < ROOM * 0.68
        assert kept.storage.held(FELLOW.mark) <= ROOM // 2


async def test_renewing_and_forgetting_are_never_over_a_quota() -> None:
    kept = with_room()
    await fill(kept, lambda _: BOB, bringer=STRANGER)
    key = Key.of(value(0))
    longer = lease_of(BOB, key, life=7200)
    assert await kept.store(None, longer.row(), key=key, bringer=STRANGER) is StoreStatus.STORED
    before = kept.storage.held(STRANGER.mark)
    gone = tombstone_of(BOB, key, seen=longer.seq)
    assert await kept.store(None, gone.row(), key=key, bringer=STRANGER) is StoreStatus.STORED
    assert kept.storage.held(STRANGER.mark) == before - 4000
    assert await fill(kept, lambda _: BOB, bringer=STRANGER, start=5000) == 1


async def test_who_brought_a_register_first_stands_for_it() -> None:
    """Nobody takes over another's account, or rids himself of his own, by bringing the record again."""
    kept = with_room()
    await kept.store(VALUE, lease_of(BOB, KEY).row(), bringer=STRANGER)
    await kept.store(None, lease_of(BOB, KEY, life=7200).row(), bringer=FELLOW)
    assert (kept.storage.largest(Sort.CARRIER), kept.storage.largest(Sort.NETWORK)) == (
        0,
        KEY_BYTES + REGISTER_BYTES + len(VALUE),
    )


async def test_one_record_over_a_quota_does_not_keep_out_the_others_of_its_store() -> None:
    kept = with_room()
    await fill(kept, lambda _: BOB)
    rows = lease_of(BOB, KEY_OF_BIG).row(), lease_of(CAROL, KEY_OF_BIG).row()
    assert await kept.store(BIG, *rows, key=KEY_OF_BIG, bringer=NEIGHBOUR) is StoreStatus.STORED
    state = kept.holdings.state(KEY_OF_BIG)
    assert [register.record.publisher for register in state.registers] == [CAROL.public]


BIG = b"big!" * 2000
KEY_OF_BIG = Key.of(BIG)


async def test_tombstones_for_keys_never_seen_get_one_small_share_whoever_brings_them() -> None:
    kept = with_room()
    sources = [NEIGHBOUR, STRANGER, FELLOW, SAYS_SO, *(from_network(number) for number in range(6))]
    got_in = 0
    for number in range(1000):
        key = Key.of(value(number))
        row = tombstone_of(many_publishers(number), key).row()
        source = sources[number % len(sources)]
        got_in += await kept.store(None, row, key=key, bringer=source) is StoreStatus.STORED
    assert got_in == ROOM // UNSEEN_SHARE // (KEY_BYTES + REGISTER_BYTES)
    assert kept.storage.held(UNSEEN) == got_in * (KEY_BYTES + REGISTER_BYTES)
    assert kept.holdings.refused == {"quota_unseen_tombstones": 1000 - got_in}
    # What is here is forgotten all the same.
    assert await kept.store(VALUE, lease_of(BOB, KEY).row(), bringer=STRANGER) is StoreStatus.STORED
    gone = tombstone_of(BOB, KEY, seen=EPOCH + 10).row()
    assert await kept.store(None, gone, bringer=STRANGER) is StoreStatus.STORED


# The attacks that filled stores --------------------------------------------------------------------------------------


def from_network(number: int, *, is_fellow_holder: bool = False) -> Bringer:
    ip = bytes([198, 18, number, 1])
    return Bringer(source_network(ip), is_fellow_holder, is_replicating=is_fellow_holder)


async def attack(kept: HoldingsAlone, bringers: Iterable[Bringer]) -> float:
    """One after the other stores all that it can, each record of another publisher; what part of the store is full."""
    for number, bringer in enumerate(bringers):
        await fill(kept, many_publishers, bringer=bringer, start=2000 * number, size=1000)
    return kept.storage.statistics.bytes / ROOM


async def put(kept: HoldingsAlone, network: int, *, is_fellow_holder: bool = False) -> StoreStatus:
    """A user in a network from which nothing has come yet."""
    bringer = from_network(network, is_fellow_holder=is_fellow_holder)
    number = 900_000 + 10 * network + is_fellow_holder
    key = Key.of(value(number))
    return await kept.store(value(number), lease_of(many_publishers(number), key).row(), key=key, bringer=bringer)


@pytest.mark.parametrize(
    ("networks", "ways", "most"), [(1, 1, 0.51), (6, 1, 0.80), (6, 2, 0.97)], ids=["one", "six", "six with seats"]
)
async def test_ids_in_some_networks_leave_shares_to_users_and_holders_in_others(
    networks: int, ways: int, most: float
) -> None:
    """Nodes with seats have keys near to them, so what they replicate is taken as another holder's. They go first."""
    kept = with_room()
    bringers = [
        from_network(number, is_fellow_holder=is_fellow_holder)
        for is_fellow_holder in (True, False)[2 - ways :]
        for number in range(networks)
    ]
    assert await attack(kept, bringers) <= most
    for other in range(100, 103):
        assert await put(kept, other) is StoreStatus.STORED
        assert await put(kept, other, is_fellow_holder=True) is StoreStatus.STORED
    assert await kept.store(VALUE, lease_of(ALICE, KEY).row()) is StoreStatus.STORED


async def test_a_hundred_networks_leave_an_eighth_to_what_holders_replicate() -> None:
    kept = with_room()
    await attack(kept, map(from_network, range(100)))
    strangers = kept.storage.held(STRANGERS)
    assert strangers == kept.storage.statistics.bytes - sum_of_marks(kept)
    assert strangers <= ROOM - ROOM // KEPT_FROM_STRANGERS
    assert await put(kept, 200) is StoreStatus.QUOTA
    assert kept.holdings.refused["quota_strangers"] > 0
    for other in range(201, 210):
        assert await put(kept, other, is_fellow_holder=True) is StoreStatus.STORED


def sum_of_marks(kept: HoldingsAlone) -> int:
    """What a store is charged with for the marks of who brought its records, which no account pays."""
    return sum(
        len(register.brought_by)
        for key in kept.storage.keys(None, 10_000)
        for register in kept.holdings.state(key).registers
    )


async def test_ids_on_one_private_address_get_one_share() -> None:
    kept = with_room()
    bringer = Bringer(source_network(bytes([10, 0, 0, 7])))
    assert await attack(kept, [bringer] * 5) <= 0.51
    assert await put(kept, 1) is StoreStatus.STORED


async def test_publishing_and_forgetting_fills_no_more_than_publishing() -> None:
    """The tombstones stay for a week, and they too are the network's."""
    kept = with_room()
    for number in range(2500):
        some, pair = number.to_bytes(4, "big"), many_publishers(0)
        key = Key.of(some)
        gone = tombstone_of(pair, key, seen=EPOCH)
        await kept.store(some, lease_of(pair, key).row(), key=key, bringer=STRANGER)
        await kept.store(None, gone.row(), key=key, bringer=STRANGER)
    assert kept.storage.held(STRANGER.mark) <= ROOM // 2 + ROOM // UNSEEN_SHARE
    assert kept.storage.statistics.bytes <= ROOM * 0.6
    assert await put(kept, 1) is StoreStatus.STORED


async def test_a_share_is_everybodys_also_beside_the_nodes_own_publisher() -> None:
    kept = with_room()
    while kept.storage.statistics.bytes < ROOM * 0.9:
        number = kept.storage.statistics.keys
        key = Key.of(value(number))
        await kept.store(value(number), lease_of(ALICE, key).row(), key=key)
    size = ROOM // SHARE // (KEY_BYTES + REGISTER_BYTES + 1000)
    assert await fill(kept, many_publishers, bringer=STRANGER, start=5000, size=1000) == size


async def test_the_past_of_an_account_does_not_hold_it_down() -> None:
    """What has ended is let go of, and its bytes are free again, for its publisher too."""
    kept = with_room()
    first = await fill(kept, lambda _: BOB, bringer=STRANGER)
    kept.clock.now = 8 * 24 * 3600 + 3601
    for _ in range(2):
        for key in kept.storage.due(kept.clock.wall(), 1000):
            kept.holdings.expire(key)
        kept.clock.now += 8 * 24 * 3600
    await kept.commit()
    assert kept.storage.held(STRANGER.mark) == kept.storage.held(of_publisher(BOB.public)) == 0
    assert kept.storage.held(STRANGERS) == 0
    assert first > 0


# Through the door: who is charged ------------------------------------------------------------------------------------


async def ask(peer: Peer, message: Store) -> StoreStatus:
    peer.heard()
    peer.ask(message)
    await trio.sleep(0.01)
    (answer,) = [heard.message for heard in peer.heard() if isinstance(heard.message, StoreResult)]
    return answer.status


@pytest.mark.parametrize(
    ("address", "is_member", "kind", "charged"),
    [
        ("8.8.8.1:8118", True, StoreKind.PUBLISH, Sort.NETWORK),
        ("8.8.8.1:8118", True, StoreKind.REPLICATE, Sort.CARRIER),
        ("8.8.8.1:8118", False, StoreKind.REPLICATE, Sort.NETWORK),
        ("10.9.0.2:8118", True, StoreKind.PUBLISH, Sort.NETWORK),
        ("10.9.0.2:8118", True, StoreKind.REPLICATE, Sort.CARRIER),
        ("[2002:0808:0801::1]:8118", True, StoreKind.PUBLISH, Sort.NETWORK),
    ],
)
async def test_who_says_replicate_is_believed_only_if_it_is_a_holder_that_we_know(
    autojump_clock: trio.testing.MockClock, address: str, is_member: bool, kind: StoreKind, charged: Sort
) -> None:
    line = Line(endpoint=Endpoint.parse("8.8.4.4:8118"))
    storage = MemoryStorage(max_bytes=ROOM)
    async with one_node(Config(kademlia=Kademlia(k=1)), line=line, storage=storage) as (node, _):
        peers = [Peer.at(line, f"bob {number}", address) for number in range(8)]
        for peer in peers:
            peer.introduce()
            # Where another has the seat in its bucket, a node with a session is no member.
            if (peer.contact in node.contacts()) is is_member:
                break
        else:
            pytest.fail("all of them have seats")
        assert await ask(peer, Store(kind, KEY, VALUE, (lease_of(BOB, KEY).row(),))) is StoreStatus.STORED
        size = KEY_BYTES + REGISTER_BYTES + len(VALUE)
        assert storage.held(charged.value + source_network(peer.endpoint.ip)) == size
        mark = {StoreKind.PUBLISH: PUBLISHED, StoreKind.REPLICATE: CARRIED if charged is Sort.CARRIER else REPLICATED}
        state = storage.read(KEY)
        assert state is not None
        assert [each.brought_by[:1] for each in state.registers] == [mark[kind]]
        found = {sort: storage.largest(sort) for sort in (Sort.NETWORK, Sort.CARRIER)}
        assert found == {sort: size if sort is charged else 0 for sort in found}


async def test_ids_on_six_networks_and_one_address_do_not_keep_out_a_user_elsewhere(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Ids cost nothing, so each store comes from a new one."""
    line, room = Line(endpoint=Endpoint.parse("198.18.99.1:8118")), 256 * 1024
    places = [f"198.18.{number}.{host}" for number in range(6) for host in (1, 2)] + ["10.0.0.7"] * 12
    storage = MemoryStorage(max_bytes=room)
    async with one_node(Config(), line=line, storage=storage) as (_, _):
        for number in range(300):
            peer = Peer.at(line, f"id {number}", f"{places[number % len(places)]}:{9000 + number}")
            peer.introduce()
            some = value(number, 1000)
            row = lease_of(many_publishers(number), Key.of(some)).row()
            kind = StoreKind.REPLICATE if number % 2 else StoreKind.PUBLISH
            await ask(peer, Store(kind, Key.of(some), some, (row,)))
        assert storage.statistics.bytes < 0.95 * room
        for network in range(50, 53):
            user = Peer.at(line, f"user {network}", f"198.18.{network}.1:8118")
            user.introduce()
            some = value(network + 1000, 1000)
            row = lease_of(many_publishers(network), Key.of(some)).row()
            assert await ask(user, Store(StoreKind.PUBLISH, Key.of(some), some, (row,))) is StoreStatus.STORED


async def test_a_refusal_says_quota_and_is_counted_by_its_reason(autojump_clock: trio.testing.MockClock) -> None:
    config = Config(storage=StorageConfig(max_storage=64 * 1024))
    async with one_node(config) as (node, line):
        peer = Peer.at(line, "bob", "10.9.0.2:8118")
        peer.introduce()
        statuses = []
        for number in range(40):
            some = number.to_bytes(4, "big") * 250
            row: RecordRow = lease_of(BOB, Key.of(some)).row()
            statuses.append(await ask(peer, Store(StoreKind.PUBLISH, Key.of(some), some, (row,))))
        assert set(statuses) == {StoreStatus.STORED, StoreStatus.QUOTA}
        statistics = node.statistics()
        refused = statistics.counters["store_refused_total", (("reason", "quota_publisher"),)]
        assert refused == statuses.count(StoreStatus.QUOTA)
        stored = statuses.count(StoreStatus.STORED) * (1000 + KEY_BYTES + REGISTER_BYTES)
        assert statistics.gauges["largest_publisher_bytes", ()] == stored
        assert statistics.gauges["largest_network_bytes", ()] == stored
