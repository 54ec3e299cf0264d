"""What a node answers to each request: who may write, what is said of a key, and that nothing is done twice."""

from __future__ import annotations

import random

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.config import Config, Kademlia, Records, StorageConfig
from camomile_trio.errors import StorageError
from camomile_trio.identity import KeyPair, check_pong
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import (
    Durability,
    FindNode,
    FindValue,
    Have,
    HaveResult,
    Holding,
    Leave,
    Message,
    NodeList,
    Ping,
    Pong,
    Store,
    StoreKind,
    StoreResult,
    StoreStatus,
    Value,
)
from camomile_trio.kademlia.records import RecordRow
from tests.fixtures.line import Line
from tests.fixtures.parts import Parts, open_parts
from tests.fixtures.peers import Peer, crowd
from tests.fixtures.records import EPOCH, NETWORK, lease_of, tombstone_of

PUBLISHER = KeyPair.new(random.Random("publisher"))
VALUE = b"a value"
KEY = Key.of(VALUE)
LEASE = lease_of(PUBLISHER, KEY)


def a_peer(line: Line) -> Peer:
    """Somebody that has answered the node."""
    bob = Peer.at(line, "bob", "10.9.0.2:8118")
    bob.introduce()
    return bob


async def told(peer: Peer, message: Message, *, version: int = 1) -> Message:
    """The node's answer to a request; pings of its own aside."""
    peer.heard()
    # Padded, so that a stranger gets whole answers too.
    peer.ask(message, version=version, padding=500 if version else 0)
    await trio.sleep(0.01)
    (answer,) = [packet.message for packet in peer.heard() if not isinstance(packet.message, Ping)]
    return answer


async def status(peer: Peer, message: Store) -> StoreStatus:
    result = await told(peer, message)
    assert isinstance(result, StoreResult)
    return result.status


def state_size(parts: Parts, key: Key = KEY) -> int | None:
    return parts.holdings.state(key).size


# Ping and leave ----------------------------------------------------------------------------------------------------


async def test_a_pong_is_signed_and_says_what_was_seen(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        bob = a_peer(line)
        pong = await told(bob, Ping(b"c" * 32))
        assert isinstance(pong, Pong)
        assert pong.challenge == b"c" * 32
        check_pong(pong, parts.identity.node_id, NETWORK)
        assert pong.observed == bob.endpoint
        assert pong.clock is not None
        assert EPOCH <= pong.clock <= EPOCH + 1000


async def test_a_classic_ping_gets_a_classic_pong(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts(Config(classic=True)) as (_, line):
        assert await told(Peer.at(line, "bob", "10.9.0.2:8118"), Ping(b"c" * 32), version=0) == Pong(b"c" * 32)


async def test_a_leave_is_only_a_hint(autojump_clock: trio.testing.MockClock) -> None:
    """Anybody could have sent it: the node looks for itself."""
    async with open_parts() as (parts, line):
        bob, carol = a_peer(line), Peer.at(line, "carol", "10.9.0.3:8118")
        carol.introduce()
        await trio.sleep(6)
        bob.heard()
        bob.ask(Leave())
        (ping,) = bob.heard()
        assert isinstance(ping.message, Ping)
        assert bob.id in parts.rpc.table
        await trio.sleep(0.1)
        carol.introduce()
        bob.pong(ping)
        await trio.sleep(1)
        assert bob.id in parts.rpc.table


async def test_a_leave_in_anothers_name_does_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (_, line):
        bob, mallory = a_peer(line), Peer.at(line, "mallory", "10.9.0.9:8118")
        await trio.sleep(6)
        bob.heard()
        attrs.evolve(mallory, key=bob.key).ask(Leave())
        assert not bob.heard()


# Find --------------------------------------------------------------------------------------------------------------


async def test_nobody_is_told_of_itself(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (_, line):
        bob, carol = a_peer(line), Peer.at(line, "carol", "10.9.0.3:8118")
        carol.introduce()
        answer = await told(bob, FindNode(bob.id))
        assert isinstance(answer, NodeList)
        assert answer.contacts == (carol.contact,)


async def test_contacts_that_others_name_are_not_told_on(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        bob = a_peer(line)
        parts.rpc.request(bob.endpoint, FindNode(NodeId(bytes(32))), node=bob.id)
        bob.answer(bob.heard()[-1], crowd(20))
        carol = Peer.at(line, "carol", "10.9.0.3:8118")
        answer = await told(carol, FindNode(NodeId(bytes(32))))
        assert isinstance(answer, NodeList)
        assert answer.contacts == (bob.contact,)


async def test_a_hit_brings_value_and_records(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (_, line):
        bob = a_peer(line)
        assert await status(bob, Store(StoreKind.PUBLISH, KEY, VALUE, (LEASE.row(),))) is StoreStatus.STORED
        hit = await told(bob, FindValue(KEY))
        assert isinstance(hit, Value)
        assert (hit.value, hit.records, hit.contacts, hit.cached) == (VALUE, (LEASE.row(),), (), False)


async def test_a_tombstone_is_shown_where_the_value_was(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (_, line):
        bob = a_peer(line)
        await status(bob, Store(StoreKind.PUBLISH, KEY, VALUE, (LEASE.row(),)))
        tombstone = tombstone_of(PUBLISHER, KEY)
        assert await status(bob, Store(StoreKind.PUBLISH, KEY, None, (tombstone.row(),))) is StoreStatus.STORED
        miss = await told(bob, FindValue(KEY))
        assert isinstance(miss, Value)
        assert (miss.value, miss.records) == (None, (tombstone.row(),))


async def test_a_value_that_is_too_far_away_is_not_served_from_here(autojump_clock: trio.testing.MockClock) -> None:
    """A node that knows k closer ones is no holder: only a lookup tells whether its copy still counts."""
    async with open_parts(Config(kademlia=Kademlia(k=1))) as (parts, line):
        bob = a_peer(line)
        value = next(b"%d" % n for n in range(1000) if _nearer(Key.of(b"%d" % n), bob.id, parts.identity.node_id))
        key = Key.of(value)
        await status(bob, Store(StoreKind.PUBLISH, key, value, (lease_of(PUBLISHER, key).row(),)))
        assert state_size(parts, key) == len(value)
        miss = await told(Peer.at(line, "carol", "10.9.0.3:8118"), FindValue(key))
        assert isinstance(miss, Value)
        assert miss.value is None
        assert miss.contacts == (bob.contact,)


def _nearer(key: Key, one: NodeId, other: NodeId) -> bool:
    number = int.from_bytes(key, "big")
    return number ^ int.from_bytes(one, "big") < number ^ int.from_bytes(other, "big")


async def test_a_classic_peer_gets_a_miss_for_what_it_could_not_read(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts(Config(classic=True)) as (_, line):
        bob = a_peer(line)
        for value, readable in ((b"text", True), (b"\xff\xfe", False), (b"x" * 1000, True), (b"x" * 1001, False)):
            key = Key.of(value)
            await status(bob, Store(StoreKind.PUBLISH, key, value, (lease_of(PUBLISHER, key).row(),)))
            found = await told(bob, FindValue(key), version=0)
            assert isinstance(found, Value)
            assert found.value == (value if readable else None)
            assert found.key == key
            assert not found.records


async def test_a_failing_disk_is_a_miss(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_parts() as (parts, line):
        bob = a_peer(line)
        await status(bob, Store(StoreKind.PUBLISH, KEY, VALUE, (LEASE.row(),)))

        def fail(key: Key) -> None:
            raise StorageError("the disk is gone")

        with monkeypatch.context() as patched:
            patched.setattr(parts.storage, "read", fail)
            miss = await told(bob, FindValue(KEY))
            assert isinstance(miss, Value)
            assert miss.value is None
            assert await status(bob, Store(StoreKind.PUBLISH, KEY, VALUE, (LEASE.row(),))) is StoreStatus.FAILED


# Store: who may ---------------------------------------------------------------------------------------------------


async def token_for(peer: Peer) -> bytes:
    answer = await told(peer, FindNode(NodeId(bytes(32))))
    assert isinstance(answer, NodeList)
    assert answer.token
    return answer.token


def store(token: bytes = b"") -> Store:
    return Store(StoreKind.PUBLISH, KEY, VALUE, (LEASE.row(),), token)


async def test_a_stranger_needs_a_token(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        carol = Peer.at(line, "carol", "10.9.0.3:8118")
        assert await status(carol, store()) is StoreStatus.NO_TOKEN
        assert await status(carol, store(b"12345678")) is StoreStatus.NO_TOKEN
        assert state_size(parts) is None
        assert await status(carol, store(await token_for(carol))) is StoreStatus.STORED
        assert state_size(parts) == len(VALUE)


async def test_a_store_that_is_a_question_too_is_told_the_closest_contacts(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Whatever becomes of it."""
    async with open_parts() as (parts, line):
        bob, carol = a_peer(line), Peer.at(line, "carol", "10.9.0.3:8118")
        carol.introduce()
        question = attrs.evolve(store(), names_contacts=True)
        older = lease_of(PUBLISHER, KEY, issued=EPOCH - 1000)
        too_large = attrs.evolve(question, value=bytes(parts.config.records.max_value_size + 1))
        for message, expected in (
            (question, StoreStatus.STORED),
            (attrs.evolve(question, records=(older.row(),)), StoreStatus.STALE),
            (too_large, StoreStatus.TOO_LARGE),
        ):
            result = await told(bob, message)
            assert isinstance(result, StoreResult)
            assert (result.status, result.contacts) == (expected, (carol.contact,))
        result = await told(bob, store())
        assert isinstance(result, StoreResult)
        assert not result.contacts


@pytest.mark.parametrize(
    ("later", "expected"),
    [(0, StoreStatus.STORED), (3600, StoreStatus.STORED), (7200, StoreStatus.NO_TOKEN)],
)
async def test_a_token_holds_for_its_hour_and_the_next(
    autojump_clock: trio.testing.MockClock, later: int, expected: StoreStatus
) -> None:
    async with open_parts() as (_, line):
        carol = Peer.at(line, "carol", "10.9.0.3:8118")
        token = await token_for(carol)
        await trio.sleep(later)
        lease = lease_of(PUBLISHER, KEY, issued=EPOCH + later * 1000)
        assert await status(carol, Store(StoreKind.PUBLISH, KEY, VALUE, (lease.row(),), token)) is expected


async def test_a_token_of_another_address_is_none(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (_, line):
        carol, dave = Peer.at(line, "carol", "10.9.0.3:8118"), Peer.at(line, "dave", "10.9.0.4:8118")
        token = await token_for(carol)
        assert await status(dave, store(token)) is StoreStatus.NO_TOKEN
        # The ip counts, not the port: that may change behind a router.
        other_port = attrs.evolve(carol, endpoint=Endpoint.parse("10.9.0.3:9999"), name="carol again")
        assert await status(other_port, store(token)) is StoreStatus.STORED


async def test_who_has_answered_needs_no_token(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (_, line):
        assert await status(a_peer(line), store()) is StoreStatus.STORED


async def test_a_find_value_gives_a_token_too(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (_, line):
        carol = Peer.at(line, "carol", "10.9.0.3:8118")
        answer = await told(carol, FindValue(KEY))
        assert isinstance(answer, Value)
        assert await status(carol, store(answer.token)) is StoreStatus.STORED


async def test_a_classic_store_counts_from_who_has_answered_and_gets_no_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts(Config(classic=True)) as (parts, line):
        mallory, bob = Peer.at(line, "mallory", "10.9.0.9:8118"), a_peer(line)
        mallory.ask(Store(StoreKind.PUBLISH, None, VALUE), version=0)
        assert state_size(parts) is None
        assert [type(packet.message) for packet in mallory.heard()] == [Ping]
        bob.heard()
        bob.ask(Store(StoreKind.PUBLISH, None, VALUE), version=0)
        await trio.sleep(0.1)
        assert state_size(parts) == len(VALUE)
        assert not bob.heard()


async def test_without_the_option_nothing_is_stored_without_a_record(autojump_clock: trio.testing.MockClock) -> None:
    """Not even what one of ours sends: nobody could forget it."""
    async with open_parts() as (parts, line):
        bob = a_peer(line)
        assert await status(bob, Store(StoreKind.PUBLISH, None, VALUE)) is StoreStatus.BAD_SIGNATURE
        assert await status(bob, Store(StoreKind.REPLICATE, None, VALUE, names_contacts=True)) is (
            StoreStatus.BAD_SIGNATURE
        )
        assert state_size(parts) is None


async def test_classic_values_fill_only_their_share(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts(Config(classic=True, storage=StorageConfig(max_storage=65_536))) as (parts, line):
        bob = a_peer(line)
        for number in range(30):
            bob.ask(Store(StoreKind.PUBLISH, None, b"%03d" % number * 300), version=0)
        await trio.sleep(0.1)
        assert (
            sum(state_size(parts, Key.of(b"%03d" % n * 300)) is not None for n in range(30)) == 7
        )  # 6300 of 6553 bytes
        assert parts.holdings.refused["quota"] == 23


# Store: what is taken ----------------------------------------------------------------------------------------------


async def test_each_refusal_says_why(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts(Config(records=Records(max_value_size=1000))) as (parts, line):
        bob = a_peer(line)
        forged = LEASE.row()[:-1] + bytes([LEASE.row()[-1] ^ 1])
        tomorrow = lease_of(PUBLISHER, KEY, issued=EPOCH + 86_400_000)
        for message, expected in (
            (Store(StoreKind.PUBLISH, None, bytes(1001), (LEASE.row(),)), StoreStatus.TOO_LARGE),
            (Store(StoreKind.PUBLISH, None, b"another value", (LEASE.row(),)), StoreStatus.BAD_SIGNATURE),
            (Store(StoreKind.PUBLISH, KEY, VALUE, (RecordRow(forged),)), StoreStatus.BAD_SIGNATURE),
            (Store(StoreKind.PUBLISH, KEY, None, (LEASE.row(),)), StoreStatus.VALUE_NEEDED),
            (Store(StoreKind.PUBLISH, KEY, VALUE, (tomorrow.row(),)), StoreStatus.NOT_YET),
            (
                Store(StoreKind.PUBLISH, KEY, VALUE, (lease_of(PUBLISHER, KEY, issued=EPOCH - 7_200_000).row(),)),
                StoreStatus.EXPIRED,
            ),
        ):
            assert await status(bob, message) is expected
        assert state_size(parts) is None
        assert sum(parts.holdings.refused.values()) == 6


async def test_a_stale_lease_is_told_what_beats_it(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (_, line):
        bob = a_peer(line)
        tombstone = tombstone_of(PUBLISHER, KEY)
        await status(bob, Store(StoreKind.PUBLISH, KEY, None, (tombstone.row(),)))
        result = await told(bob, store())
        assert result == StoreResult(StoreStatus.STALE, Durability.NONE, (tombstone.row(),))


async def test_a_request_that_comes_twice_does_nothing_twice(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        bob = a_peer(line)
        bob.heard()
        datagram = bob.ask(store())
        line.bring(datagram, bob.endpoint)
        await trio.sleep(0.1)
        answers = [packet.message for packet in bob.heard()]
        assert answers == [StoreResult(StoreStatus.STORED, Durability.MEMORY)] * 2
        assert parts.storage.statistics.keys == 1
        assert not parts.holdings.writes.in_flight


async def test_only_a_good_replica_is_news_of_a_holder(autojump_clock: trio.testing.MockClock) -> None:
    """Or anybody could stop a key's replication with senseless replicas."""
    async with open_parts() as (parts, line):
        bob, holdings = a_peer(line), parts.holdings
        await status(bob, store())
        stale = lease_of(PUBLISHER, KEY, issued=EPOCH - 1000)
        assert await status(bob, Store(StoreKind.REPLICATE, KEY, VALUE, (stale.row(),))) is StoreStatus.STALE
        forged = RecordRow(LEASE.row()[:-1] + b"\0")
        assert await status(bob, Store(StoreKind.REPLICATE, KEY, None, (forged,))) is StoreStatus.BAD_SIGNATURE
        assert holdings.heard_at(KEY) is None
        assert await status(bob, Store(StoreKind.REPLICATE, KEY, None, (LEASE.row(),))) is StoreStatus.STORED
        assert holdings.heard_at(KEY) is not None


async def test_a_node_that_has_handed_over_takes_nothing_more(autojump_clock: trio.testing.MockClock) -> None:
    """What came in meanwhile it still hands over; what comes after that goes to another holder at once."""
    async with open_parts() as (parts, line):
        bob = a_peer(line)
        parts.holdings.begin_to_leave()
        assert await status(bob, store()) is StoreStatus.STORED
        assert parts.holdings.take_nothing_more() == [KEY]
        later = b"a later value"
        row = lease_of(PUBLISHER, Key.of(later)).row()
        assert await status(bob, Store(StoreKind.PUBLISH, None, later, (row,))) is StoreStatus.BUSY
        assert parts.holdings.refused == {"busy": 1}


# Cached copies -----------------------------------------------------------------------------------------------------


async def test_a_cached_copy_is_served_as_such_for_its_time(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        bob = a_peer(line)
        cached = Store(StoreKind.REPLICATE, KEY, VALUE, (LEASE.row(),), cached=True)
        assert await status(bob, cached) is StoreStatus.STORED
        assert state_size(parts) is None  # it is no replica
        await trio.sleep(59)
        hit = await told(bob, FindValue(KEY))
        assert isinstance(hit, Value)
        assert (hit.value, hit.cached) == (VALUE, True)
        await trio.sleep(1.1)
        miss = await told(bob, FindValue(KEY))
        assert isinstance(miss, Value)
        assert miss.value is None


async def test_a_cached_copy_lives_no_longer_than_its_lease(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (_, line):
        bob = a_peer(line)
        short = lease_of(PUBLISHER, KEY, issued=EPOCH - 50_000, life=60)
        await status(bob, Store(StoreKind.REPLICATE, KEY, VALUE, (short.row(),), cached=True))
        await trio.sleep(9.5)
        assert getattr(await told(bob, FindValue(KEY)), "value", None) == VALUE
        await trio.sleep(0.6)
        assert getattr(await told(bob, FindValue(KEY)), "value", None) is None


async def test_a_cached_copy_needs_a_good_live_lease_that_nothing_beats(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts() as (parts, line):
        bob = a_peer(line)

        def cached(value: bytes | None, row: bytes) -> Store:
            return Store(StoreKind.REPLICATE, KEY, value, (RecordRow(row),), cached=True)

        assert await status(bob, cached(None, LEASE.row())) is StoreStatus.VALUE_NEEDED
        assert await status(bob, cached(VALUE, LEASE.row()[:-1] + b"\0")) is StoreStatus.BAD_SIGNATURE
        ended = lease_of(PUBLISHER, KEY, issued=EPOCH - 7_200_000)
        assert await status(bob, cached(VALUE, ended.row())) is StoreStatus.EXPIRED
        assert await status(bob, cached(VALUE, tombstone_of(PUBLISHER, KEY).row())) is StoreStatus.EXPIRED
        await status(bob, Store(StoreKind.PUBLISH, KEY, None, (tombstone_of(PUBLISHER, KEY).row(),)))
        assert await status(bob, cached(VALUE, LEASE.row())) is StoreStatus.STALE
        assert len(parts.holdings.cache) == 0


async def test_a_tombstone_ends_the_cached_copy(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        bob = a_peer(line)
        await status(bob, Store(StoreKind.REPLICATE, KEY, VALUE, (LEASE.row(),), cached=True))
        await status(bob, Store(StoreKind.PUBLISH, KEY, None, (tombstone_of(PUBLISHER, KEY).row(),)))
        assert len(parts.holdings.cache) == 0
        assert getattr(await told(bob, FindValue(KEY)), "value", None) is None


# Have --------------------------------------------------------------------------------------------------------------


async def test_have_tells_what_is_here_of_each_key(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts(Config(classic=True)) as (_, line):
        bob = a_peer(line)
        classic, unknown = b"a classic value", Key.of(b"unknown")
        bob.ask(Store(StoreKind.PUBLISH, None, classic), version=0)
        await status(bob, store())
        answer = await told(bob, Have((KEY, unknown, Key.of(classic))))
        assert answer == HaveResult(
            (
                Holding(KEY, True, (LEASE.row(),)),
                Holding(unknown, False),
                Holding(Key.of(classic), True, (), classic=True),
            )
        )
