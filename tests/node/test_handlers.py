"""What a node answers to each request: who may write, what is said of a key, and that nothing is done twice."""

from __future__ import annotations

import random

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.config import Config, Kademlia, Records, StorageConfig
from camomile_trio.errors import StorageError
from camomile_trio.identity import KeyPair
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
from camomile_trio.peer.requests import PADDED_BYTES
from tests.fixtures.line import SELF_CONTACT, Line
from tests.fixtures.parts import Parts, ask, open_parts
from tests.fixtures.peers import Behaviour, Peer, attend, crowd, truthful
from tests.fixtures.records import EPOCH, lease_of, tombstone_of
from tests.fixtures.speaker import CODEC

PUBLISHER = KeyPair.new(random.Random("publisher"))
VALUE = b"a value"
KEY = Key.of(VALUE)
LEASE = lease_of(PUBLISHER, KEY)


def a_peer(line: Line, name: str = "bob", endpoint: str = "10.9.0.2:8118") -> Peer:
    """One that has a session with the node."""
    peer = Peer.at(line, name, endpoint)
    peer.introduce()
    return peer


ELSEWHERE = NodeId(bytes(32))


async def test_only_nodes_that_have_completed_a_handshake_with_this_one_are_named(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Neither those that others name, nor one that has confirmed nothing, nor an endpoint that is only advertised."""
    async with open_parts() as (parts, line), trio.open_nursery() as nursery:
        liar, carol = a_peer(line), a_peer(line, "carol", "10.9.0.3:8118")
        named = tuple(Peer.at(line, f"named {number}", f"10.9.1.{number}:8118").contact for number in range(1, 11))
        behaviours: dict[Peer, Behaviour] = {liar: lambda heard: NodeList(named), carol: truthful}
        nursery.start_soon(attend, behaviours)
        Peer.at(line, "half", "10.9.0.4:8118").ask(Ping())  # the response is on its way
        advertising = Peer.at(line, "dave", "10.9.0.5:8118", advertised="10.9.0.6:8118")
        advertising.introduce()
        await parts.make_core().find_node(ELSEWHERE)
        assert len([to for to, _ in line.sent if to in {each.endpoint for each in named}]) > 4
        answer = await told(a_peer(line, "erin", "10.9.0.7:8118"), FindNode(ELSEWHERE))
        assert isinstance(answer, NodeList)
        assert set(answer.contacts) == {liar.contact, carol.contact, advertising.contact}
        nursery.cancel_scope.cancel()


async def told(peer: Peer, message: Message) -> Message:
    """The node's answer to a request: sealed, or in the response to a first request that is padded for a whole one."""
    peer.heard()
    number = peer.ask(message, padded_to=PADDED_BYTES)
    await trio.sleep(0.01)
    (answer,) = peer.heard()
    assert answer.number == number
    return answer.message


async def status(peer: Peer, message: Store) -> StoreStatus:
    result = await told(peer, message)
    assert isinstance(result, StoreResult)
    return result.status


def state_size(parts: Parts, key: Key = KEY) -> int | None:
    return parts.holdings.state(key).size


# Ping and leave ----------------------------------------------------------------------------------------------------


async def test_a_pong_says_what_was_seen(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (_, line):
        bob = a_peer(line)
        pong = await told(bob, Ping())
        assert isinstance(pong, Pong)
        assert pong.observed == bob.endpoint
        assert pong.clock is not None
        assert EPOCH <= pong.clock <= EPOCH + 1000


async def test_a_leave_is_believed_and_checked(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        bob = a_peer(line)
        await trio.sleep(6)
        bob.ask(Leave())
        (ping,) = bob.heard()
        assert isinstance(ping.message, Ping)
        assert parts.contacts.is_leaving(bob.contact)


async def test_a_leave_of_an_unknown_node_is_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts(Config(kademlia=Kademlia(k=1))) as (parts, line):
        peers = [a_peer(line, f"peer {number}", f"10.9.0.{number + 1}:8118") for number in range(1, 9)]
        peer = next(each for each in peers if each.id not in parts.table)
        await trio.sleep(6)
        peer.heard()
        peer.ask(Leave())
        assert peer.heard() == []
        assert not parts.contacts.is_leaving(peer.contact)


# Find --------------------------------------------------------------------------------------------------------------


async def test_nobody_is_told_of_itself(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (_, line):
        bob, carol = a_peer(line), a_peer(line, "carol", "10.9.0.3:8118")
        answer = await told(bob, FindNode(bob.id))
        assert isinstance(answer, NodeList)
        assert answer.contacts == (carol.contact,)


async def test_contacts_that_others_name_are_not_told_on(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        bob = a_peer(line)
        asked = ask(parts.requests, bob, FindNode(NodeId(bytes(32))))
        bob.answer(bob.heard()[-1], crowd(20))
        assert asked.replies
        carol = Peer.at(line, "carol", "10.9.0.3:8118")
        answer = await told(carol, FindNode(NodeId(bytes(32))))
        assert isinstance(answer, NodeList)
        assert answer.contacts == (bob.contact,)


async def test_a_node_that_looks_itself_up_is_told_where_else_its_key_is_known(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """So it learns of a copy of its data directory. Another port of its own address is no news."""
    async with open_parts() as (_, line):
        bob, carol = a_peer(line), a_peer(line, "carol", "10.9.0.3:8118")
        other_port = Peer(line, "bob", Endpoint.parse("10.9.0.2:9999"), key=bob.key)
        elsewhere = Peer(line, "bob", Endpoint.parse("10.9.0.4:8118"), key=bob.key)
        for peer, expected in ((other_port, (carol.contact,)), (elsewhere, (other_port.contact, carol.contact))):
            await trio.sleep(1)
            answer = await told(peer, FindNode(bob.id))
            assert isinstance(answer, NodeList)
            assert answer.contacts == expected


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
        value = next(b"%d" % n for n in range(1000) if _nearer(Key.of(b"%d" % n), bob.id, parts.table.own))
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


def store() -> Store:
    return Store(StoreKind.PUBLISH, KEY, VALUE, (LEASE.row(),))


async def test_only_a_peer_with_a_session_stores(autojump_clock: trio.testing.MockClock) -> None:
    """An initiation may be a replay, from a forged address."""
    async with open_parts() as (parts, line):
        carol = Peer.at(line, "carol", "10.9.0.3:8118")
        carol.ask(store())
        await trio.sleep(0.1)
        assert carol.heard() == []
        assert state_size(parts) is None
        carol.introduce()
        assert await status(carol, store()) is StoreStatus.STORED
        assert state_size(parts) == len(VALUE)


async def test_a_store_that_is_a_question_too_is_told_the_closest_contacts(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Whatever becomes of it."""
    async with open_parts(Config(records=Records(max_value_size=500))) as (_, line):
        bob, carol = a_peer(line), a_peer(line, "carol", "10.9.0.3:8118")
        question = attrs.evolve(store(), names_contacts=True)
        older = lease_of(PUBLISHER, KEY, issued=EPOCH - 1000)
        too_large = attrs.evolve(question, value=bytes(501))
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


# Store: what is taken ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classic", [False, True])
async def test_nothing_of_ours_is_stored_without_a_record(
    autojump_clock: trio.testing.MockClock, classic: bool
) -> None:
    """Nobody could forget it. A value of a classic node comes from a classic node."""
    async with open_parts(Config(classic=classic)) as (parts, line):
        bob = a_peer(line)
        bob.heard()
        bob.ask(Store(StoreKind.PUBLISH, KEY, VALUE, ()))
        await trio.sleep(0.1)
        assert bob.heard() == []
        assert state_size(parts) is None


async def test_classic_values_fill_only_their_share(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts(Config(classic=True, storage=StorageConfig(max_storage=65_536))) as (parts, _):
        values = [b"%03d" % number * 300 for number in range(30)]
        for value in values:
            parts.holdings.store_classic(Key.of(value), value, StoreKind.PUBLISH, lambda result: None)
        await trio.sleep(0.1)
        assert sum(state_size(parts, Key.of(value)) is not None for value in values) == 7  # 6300 of 6553 bytes
        assert parts.holdings.refused["quota"] == 23


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
    """Sent again with the same number, in a packet of its own."""
    async with open_parts() as (parts, line):
        bob = a_peer(line)
        bob.heard()
        for _ in range(2):
            assert bob.speaker.seal(CODEC.encode(7, store(), 0), SELF_CONTACT)
        await trio.sleep(0.1)
        answers = [(heard.number, heard.message) for heard in bob.heard()]
        assert answers == [(7, StoreResult(StoreStatus.STORED, Durability.MEMORY))] * 2
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
        assert holdings.replicas.heard_at(KEY) is None
        assert await status(bob, Store(StoreKind.REPLICATE, KEY, None, (LEASE.row(),))) is StoreStatus.STORED
        assert holdings.replicas.heard_at(KEY) is not None


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
    async with open_parts(Config(classic=True)) as (parts, line):
        bob = a_peer(line)
        classic, unknown = b"a classic value", Key.of(b"unknown")
        parts.holdings.store_classic(Key.of(classic), classic, StoreKind.PUBLISH, lambda result: None)
        await status(bob, store())
        answer = await told(bob, Have((KEY, unknown, Key.of(classic))))
        assert answer == HaveResult(
            (
                Holding(KEY, True, (LEASE.row(),)),
                Holding(unknown, False),
                Holding(Key.of(classic), True, (), classic=True),
            )
        )
