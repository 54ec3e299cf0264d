"""Getting a value from peers that have it, had it, lie about it, or only cache it."""

from __future__ import annotations

import random

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.config import Config, Kademlia, Records
from camomile_trio.errors import Forgotten, NotFound, StorageError, TransportError, Unreachable, WrongClock
from camomile_trio.identity import KeyPair, sign_record, verify_record
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import Key, NodeId, distance
from camomile_trio.kademlia.messages import (
    FindValue,
    Message,
    Store,
    StoreKind,
    StoreResult,
    StoreStatus,
    TooLarge,
    Value,
)
from camomile_trio.kademlia.records import Record, RecordRow
from camomile_trio.kademlia.shortlist import Shortlist
from camomile_trio.node.node import Node
from camomile_trio.operations.results import Found
from camomile_trio.storage.memory import MemoryStorage
from tests.fixtures.counts import count
from tests.fixtures.line import Line, one_node
from tests.fixtures.peers import Behaviour, Peer, attend, silent, truthful
from tests.fixtures.records import EPOCH, NETWORK, lease_of, tombstone_of
from tests.fixtures.speaker import CODEC, Heard

PUBLISHER, OTHER = KeyPair.new(random.Random("publisher")), KeyPair.new(random.Random("other"))
VALUE = b"a value"
KEY = Key.of(VALUE)
LEASE, TOMBSTONE = lease_of(PUBLISHER, KEY), tombstone_of(PUBLISHER, KEY)
FORGED = RecordRow(LEASE.row()[:-1] + bytes([LEASE.row()[-1] ^ 1]))
EXPIRED = lease_of(PUBLISHER, KEY, issued=EPOCH - 7_200_000)
JUST_ENDED = lease_of(PUBLISHER, KEY, issued=EPOCH - 3_600_000 - 590_000)
LONG_ENDED = lease_of(PUBLISHER, KEY, issued=EPOCH - 3_600_000 - 601_000)
FORGOTTEN_LATER = tombstone_of(PUBLISHER, KEY, issued=EPOCH + 3_600_000)
FORGOTTEN_LONG_AGO = tombstone_of(PUBLISHER, KEY, issued=EPOCH - 8 * 24 * 3_600_000)
OTHERS_LEASE = lease_of(OTHER, KEY)
FROM_LATER = lease_of(PUBLISHER, KEY, issued=EPOCH + 3_600_000)
BOUNDLESS = sign_record(attrs.evolve(LEASE, expires=EPOCH + 10**12, signature=b""), PUBLISHER, NETWORK)


def having(value: bytes | None, *records: Record | RecordRow, cached: bool = False) -> Behaviour:
    rows = tuple(each.row() if isinstance(each, Record) else each for each in records)

    def behave(heard: Heard) -> Message | None:
        match heard.message:
            case FindValue():
                return Value(value=value, records=rows, cached=cached)
            case Store():
                return StoreResult(StoreStatus.STORED)
            case _:
                return truthful(heard)

    return behave


def neighbours(line: Line, count: int) -> list[Peer]:
    """Peers that know the node, the closest to the key first."""
    peers = [Peer.at(line, f"peer {number}", f"10.9.1.{number + 1}:8118") for number in range(count)]
    for peer in peers:
        peer.introduce()
    return sorted(peers, key=lambda peer: distance(peer.id, KEY))


async def get(node: Node, behaviours: dict[Peer, Behaviour]) -> Found:
    """The value, or the error as it is, with a moment for what goes on in the background."""
    found: Found | NotFound | Unreachable | WrongClock | StorageError
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attend, behaviours)
        try:
            found = await node.get(KEY)
        except (NotFound, Unreachable, WrongClock, StorageError) as error:
            found = error
        await trio.sleep(0.05)
        nursery.cancel_scope.cancel()
    if isinstance(found, Found):
        return found
    raise found


@attrs.define(eq=False)
class Witness:
    """Counts what comes, then behaves."""

    behave: Behaviour
    finds: int = 0
    stores: list[Store] = attrs.field(factory=list)

    def __call__(self, heard: Heard) -> Message | None:
        if isinstance(heard.message, FindValue):
            self.finds += 1
        elif isinstance(heard.message, Store):
            self.stores.append(heard.message)
        return self.behave(heard)


# What counts -------------------------------------------------------------------------------------------------------


async def test_the_first_live_lease_ends_it(autojump_clock: trio.testing.MockClock) -> None:
    async with one_node() as (node, line):
        near, *rest = neighbours(line, 12)
        began = trio.current_time()
        found = await get(node, {near: having(VALUE, LEASE), **dict.fromkeys(rest, silent)})
        assert (found.value, found.origin, found.live) == (VALUE, near.id, True)
        assert trio.current_time() - began < 0.1


@pytest.mark.parametrize(
    "lie",
    [having(b"a valuf", LEASE), having(VALUE, FORGED), having(VALUE, EXPIRED), having(b"x"), having(None, FORGED)],
    ids=["wrong bytes", "forged signature", "expired lease", "another value", "forged record"],
)
async def test_a_liar_does_not_end_the_search(autojump_clock: trio.testing.MockClock, lie: Behaviour) -> None:
    async with one_node() as (node, line):
        liar, *rest, honest = neighbours(line, 8)
        found = await get(node, {liar: lie, **dict.fromkeys(rest, truthful), honest: having(VALUE, LEASE)})
        assert (found.value, found.live) == (VALUE, True)


@pytest.mark.parametrize(
    "lie",
    [having(b"a valuf", LEASE), having(b"x"), having(VALUE[:-1]), having(None, BOUNDLESS), having(VALUE, FORGED)],
    ids=["wrong bytes", "another value", "cut short", "a lease beyond the longest", "a forged signature"],
)
async def test_what_only_liars_have_is_not_found(autojump_clock: trio.testing.MockClock, lie: Behaviour) -> None:
    async with one_node() as (node, line):
        with pytest.raises(NotFound):
            await get(node, dict.fromkeys(neighbours(line, 5), lie))
        assert node.status().cached == 0


@pytest.mark.parametrize("shown", [FROM_LATER, LONG_ENDED, FORGOTTEN_LATER, FORGOTTEN_LONG_AGO])
@pytest.mark.parametrize("value", [VALUE, None])
async def test_what_only_this_nodes_clock_rejects_is_neither_denied_nor_served(
    autojump_clock: trio.testing.MockClock, shown: Record, value: bytes | None
) -> None:
    """Also where the peers' clocks are as this node's."""
    async with one_node() as (node, line):
        *rest, one, two, three = neighbours(line, 5)
        some = dict.fromkeys((one, two, three), having(value, shown))
        with pytest.raises(WrongClock):
            await get(node, {**dict.fromkeys(rest, truthful), **some})
        assert node.status().cached == 0


@pytest.mark.parametrize("shown", [FROM_LATER, LONG_ENDED, FORGOTTEN_LATER, FORGOTTEN_LONG_AGO])
async def test_what_a_few_show_that_may_have_made_it_up_is_denied_by_a_clock_that_most_confirm(
    autojump_clock: trio.testing.MockClock, shown: Record
) -> None:
    async with one_node() as (node, line):
        *rest, one, two = neighbours(line, 5)
        liars = dict.fromkeys((one, two), having(VALUE, shown))
        with pytest.raises(NotFound):
            await get(node, {**dict.fromkeys(rest, truthful), **liars})
        assert node.status().cached == 0


@pytest.mark.parametrize("shown", [FROM_LATER, FORGOTTEN_LATER])
async def test_what_one_shows_is_not_denied_by_a_clock_that_most_call_wrong(
    autojump_clock: trio.testing.MockClock, shown: Record
) -> None:
    async with one_node(off=-3_600_000) as (node, line):
        *rest, one = neighbours(line, 5)
        with pytest.raises(WrongClock):
            await get(node, {**dict.fromkeys(rest, truthful), one: having(VALUE, shown)})


async def test_a_value_that_another_publisher_keeps_is_served_whatever_the_clock_rejects(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with one_node() as (node, line):
        one, other = neighbours(line, 2)
        found = await get(node, {one: having(VALUE, FROM_LATER), other: having(VALUE, OTHERS_LEASE)})
        assert (found.live, found.origin) == (True, other.id)


async def test_what_ended_within_what_clocks_may_be_apart_is_not_there(autojump_clock: trio.testing.MockClock) -> None:
    async with one_node() as (node, line):
        with pytest.raises(NotFound):
            await get(node, dict.fromkeys(neighbours(line, 5), having(None, JUST_ENDED)))


async def test_what_a_lease_promises_is_not_denied(autojump_clock: trio.testing.MockClock) -> None:
    """Holders that started together know the lease, and compare it before they give the value out."""
    async with one_node() as (node, line):
        with pytest.raises(Unreachable):
            await get(node, dict.fromkeys(neighbours(line, 5), having(None, LEASE)))


async def test_a_lease_on_terms_that_no_network_allows_is_no_lease(autojump_clock: trio.testing.MockClock) -> None:
    async with one_node() as (node, line):
        near, far = neighbours(line, 2)
        found = await get(node, {near: having(VALUE, BOUNDLESS), far: having(VALUE, LEASE)})
        assert found.live
        assert found.origin == far.id
        assert count(node, "rpc_dropped_total", reason="bad_terms") == 1


async def test_nobody_can_say_that_it_is_not_there_while_most_are_silent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with one_node() as (node, line):
        *most, one = neighbours(line, 5)
        with pytest.raises(Unreachable):
            await get(node, {**dict.fromkeys(most, silent), one: truthful})


async def test_whoever_missed_a_forget_is_told_by_the_next_get(autojump_clock: trio.testing.MockClock) -> None:
    async with one_node() as (node, line):
        knows, missed = neighbours(line, 2)
        told = Witness(having(VALUE, LEASE))
        with pytest.raises(Forgotten):
            await get(node, {knows: having(None, TOMBSTONE), missed: told})
        await trio.sleep(1)
        assert [store.records for store in told.stores] == [(TOMBSTONE.row(),)]


async def test_a_disk_that_cannot_be_read_fails_no_get_that_others_can_answer(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(key: Key) -> None:
        raise StorageError("the disk is gone")

    storage = MemoryStorage(max_bytes=2**20)
    async with one_node(Config(records=Records(cache_life=0)), storage=storage) as (node, line):
        (peer,) = neighbours(line, 1)
        with monkeypatch.context() as failing:
            failing.setattr(storage, "read", fail)
            found = await get(node, {peer: having(VALUE, LEASE)})
            assert (found.value, found.live) == (VALUE, True)
            with pytest.raises(StorageError):
                await get(node, {peer: truthful})


async def test_a_signature_is_checked_once_however_many_send_it(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[RecordRow] = []

    def count(row: RecordRow, key: Key, network: bytes) -> Record:
        checked.append(row)
        return verify_record(row, key, network)

    monkeypatch.setattr("camomile_trio.holding.holdings.verify_record", count)
    async with one_node() as (node, line):
        with pytest.raises(Forgotten):
            await get(node, dict.fromkeys(neighbours(line, 10), having(None, TOMBSTONE)))
        with pytest.raises(NotFound):
            await get(node, dict.fromkeys(neighbours(line, 10), having(None, FORGED)))
    assert checked.count(TOMBSTONE.row()) == 1
    assert checked.count(FORGED) == 1


async def test_a_tombstone_that_was_seen_beats_the_lease(autojump_clock: trio.testing.MockClock) -> None:
    """The nearest knows that it was forgotten; the others have slept through it."""
    async with one_node() as (node, line):
        near, *rest = neighbours(line, 6)
        with pytest.raises(Forgotten):
            await get(node, {near: having(None, TOMBSTONE), **dict.fromkeys(rest, having(VALUE, LEASE))})
        assert node.status().cached == 0


async def test_one_publishers_forgetting_is_not_anothers(autojump_clock: trio.testing.MockClock) -> None:
    async with one_node() as (node, line):
        near, *rest = neighbours(line, 6)
        lease = lease_of(OTHER, KEY)
        found = await get(node, {near: having(None, TOMBSTONE), **dict.fromkeys(rest, having(VALUE, lease))})
        assert found.live


async def test_a_lease_above_the_tombstone_is_live_again(autojump_clock: trio.testing.MockClock) -> None:
    async with one_node() as (node, line):
        near, *rest = neighbours(line, 6)
        again = lease_of(PUBLISHER, KEY, seen=TOMBSTONE.seq)
        found = await get(node, {near: having(None, TOMBSTONE), **dict.fromkeys(rest, having(VALUE, again))})
        assert found.live


async def test_a_classic_value_is_found_when_all_were_asked(autojump_clock: trio.testing.MockClock) -> None:
    """It has no lease, so only the k closest together can say that nobody has forgotten it."""
    async with one_node(Config(classic=True)) as (node, line):
        near, *rest, last = neighbours(line, 6)
        behaviours = dict.fromkeys(rest, Witness(truthful))
        found = await get(node, {near: having(VALUE), **behaviours, last: truthful})
        assert (found.value, found.live) == (VALUE, False)
        assert behaviours[rest[0]].finds == 4
        with pytest.raises(Forgotten):
            await get(node, {near: having(VALUE), **dict.fromkeys(rest, truthful), last: having(None, TOMBSTONE)})


async def test_without_the_option_a_value_without_a_lease_is_not_believed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A node that says it has such a value, and knows the tombstone, may only be lying."""
    async with one_node() as (node, line):
        near, *rest = neighbours(line, 6)
        with pytest.raises(NotFound):
            await get(node, {near: having(VALUE), **dict.fromkeys(rest, truthful)})
        with pytest.raises(Forgotten):
            await get(node, {near: having(VALUE, TOMBSTONE), **dict.fromkeys(rest, truthful)})
        # The value itself is good where another node shows its lease.
        found = await get(node, {near: having(VALUE), **dict.fromkeys(rest, having(None, LEASE))})
        assert found.live


async def test_nobody_answers(autojump_clock: trio.testing.MockClock) -> None:
    async with one_node() as (node, line):
        neighbours(line, 5)
        began = trio.current_time()
        with pytest.raises(Unreachable):
            await get(node, {})
        assert trio.current_time() - began < 3


async def test_all_say_that_they_have_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with one_node() as (node, line):
        with pytest.raises(NotFound):
            await get(node, dict.fromkeys(neighbours(line, 5), truthful))


# Cached copies -----------------------------------------------------------------------------------------------------


async def test_what_was_looked_up_is_served_for_a_minute(autojump_clock: trio.testing.MockClock) -> None:
    async with one_node() as (node, line):
        peers = neighbours(line, 5)
        holder = Witness(having(VALUE, LEASE))
        await get(node, dict.fromkeys(peers, holder))
        before = holder.finds
        await trio.sleep(59.5)
        assert (await node.get(KEY)).origin in [peer.id for peer in peers]
        await trio.sleep(1)
        await get(node, dict.fromkeys(peers, holder))
        assert holder.finds > before


async def test_a_cached_copy_is_not_cached_again(autojump_clock: trio.testing.MockClock) -> None:
    """Or what was forgotten would be handed on from cache to cache for ever."""
    async with one_node() as (node, line):
        near, *rest = neighbours(line, 5)
        others = Witness(truthful)
        cacher = Witness(having(VALUE, LEASE, cached=True))
        found = await get(node, {near: cacher, **dict.fromkeys(rest, others)})
        assert found.value == VALUE
        assert node.status().cached == 0
        assert not others.stores
        await get(node, {near: cacher, **dict.fromkeys(rest, others)})
        assert cacher.finds == 2


async def test_the_closest_that_lacked_it_is_given_a_copy(autojump_clock: trio.testing.MockClock) -> None:
    async with one_node() as (node, line):
        peers = neighbours(line, 8)
        lacking = {peer: Witness(having(None)) for peer in peers[:3]}
        await get(node, {**lacking, **dict.fromkeys(peers[3:], having(VALUE, LEASE))})
        (copy,) = lacking[peers[0]].stores
        assert (copy.cached, copy.value, copy.records) == (True, VALUE, (LEASE.row(),))
        assert not lacking[peers[1]].stores
        assert not lacking[peers[2]].stores


async def test_what_a_node_gave_whose_word_does_not_count_is_not_cached(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One lie would be served for a minute, and handed on."""
    surplus: set[NodeId] = set()
    monkeypatch.setattr(Shortlist, "counts", lambda self, contact: contact.id not in surplus)
    async with one_node() as (node, line):
        near, *rest = neighbours(line, 5)
        surplus.add(near.id)
        holder, others = Witness(having(VALUE, LEASE)), Witness(truthful)
        for _ in range(2):
            assert (await get(node, {near: holder, **dict.fromkeys(rest, others)})).value == VALUE
        assert holder.finds == 2
        assert node.status().cached == 0
        assert not others.stores


async def test_a_classic_value_is_not_cached(autojump_clock: trio.testing.MockClock) -> None:
    async with one_node(Config(classic=True)) as (node, line):
        near, *rest = neighbours(line, 5)
        others = Witness(truthful)
        await get(node, {near: having(VALUE), **dict.fromkeys(rest, others)})
        assert node.status().cached == 0
        assert not others.stores


async def test_without_cache_life_every_get_looks_up(autojump_clock: trio.testing.MockClock) -> None:
    async with one_node(Config(records=Records(cache_life=0))) as (node, line):
        near, *rest = neighbours(line, 5)
        holder, others = Witness(having(VALUE, LEASE)), Witness(truthful)
        for _ in range(3):
            await get(node, {near: holder, **dict.fromkeys(rest, others)})
        assert holder.finds == 3
        assert not others.stores


# Our own copy ------------------------------------------------------------------------------------------------------


def former_holder(node: Node, line: Line) -> list[Peer]:
    """A peer stores the value here, and then come so many that the node is no holder of it any more."""
    giver = Peer.at(line, "giver", "10.9.2.1:8118")
    giver.introduce()
    giver.ask(Store(StoreKind.PUBLISH, KEY, VALUE, (LEASE.row(),)))
    assert node.status().values == 1
    peers = neighbours(line, 30)
    assert sum(distance(contact.id, KEY) < distance(node.id, KEY) for contact in node.contacts()) >= 2
    return [giver, *peers]


async def test_a_stale_copy_of_our_own_learns_of_the_tombstone(autojump_clock: trio.testing.MockClock) -> None:
    """A former holder asks before it serves, and keeps what it hears."""
    storage = MemoryStorage(max_bytes=2**20)
    async with one_node(Config(kademlia=Kademlia(k=2)), storage=storage) as (node, line):
        peers = former_holder(node, line)
        with pytest.raises(Forgotten):
            await get(node, dict.fromkeys(peers, having(None, TOMBSTONE)))
        state = storage.read(KEY)
        assert state is not None
        assert (state.size, [register.record for register in state.registers]) == (None, [TOMBSTONE])


async def test_a_tombstone_that_comes_here_while_we_look_beats_the_lease(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """And the holders that have not heard of it yet leave no copy in our cache."""
    async with one_node() as (node, line):
        (peer,) = neighbours(line, 1)
        late = having(VALUE, LEASE)

        def forgotten_meanwhile(heard: Heard) -> Message | None:
            if isinstance(heard.message, FindValue):
                peer.ask(Store(StoreKind.PUBLISH, KEY, None, (TOMBSTONE.row(),)))
            return late(heard)

        with pytest.raises(Forgotten):
            await get(node, {peer: forgotten_meanwhile})
        assert node.status().cached == 0


async def test_a_copy_of_our_own_counts_when_nobody_else_has_one(autojump_clock: trio.testing.MockClock) -> None:
    async with one_node(Config(kademlia=Kademlia(k=2))) as (node, line):
        peers = former_holder(node, line)
        found = await get(node, dict.fromkeys(peers, truthful))
        assert (found.value, found.origin) == (VALUE, node.id)


async def test_a_copy_of_our_own_does_not_count_when_nobody_answers(autojump_clock: trio.testing.MockClock) -> None:
    async with one_node(Config(kademlia=Kademlia(k=2))) as (node, line):
        former_holder(node, line)
        with pytest.raises(Unreachable):
            await get(node, {})


# Promises ----------------------------------------------------------------------------------------------------------


def promising(heard: Heard) -> Message | None:
    return TooLarge(100_000) if isinstance(heard.message, FindValue) else truthful(heard)


async def test_one_that_promises_a_value_and_gives_none_delays_one_answer_by_half_a_second_and_no_other_for_an_hour(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with one_node() as (node, line):
        liar, *rest = neighbours(line, 8)

        async def stall(number: int, message: Message, to: Endpoint) -> bytes:
            await trio.sleep_forever()
            raise TransportError("never")

        line.streams = stall
        behaviours: dict[Peer, Behaviour] = {**dict.fromkeys(rest, truthful), liar: promising}
        began = trio.current_time()
        with pytest.raises(Unreachable, match="has not given it out yet"):
            await get(node, behaviours)
        assert trio.current_time() - began < 0.6
        await trio.sleep(10)  # then the stream has failed
        for _ in range(3):
            began = trio.current_time()
            with pytest.raises(NotFound):
                await get(node, behaviours)
            assert trio.current_time() - began < 0.1


async def test_the_only_holders_slow_value_is_there_for_the_next_request(
    autojump_clock: trio.testing.MockClock,
) -> None:
    value = bytes(100_000)
    key = Key.of(value)
    async with one_node() as (node, line):
        holder, *rest = neighbours(line, 8)

        async def slow(number: int, message: Message, to: Endpoint) -> bytes:
            await trio.sleep(3)
            return CODEC.encode(number, Value(value, records=(lease_of(PUBLISHER, key).row(),)), 0)

        line.streams = slow
        behaviours: dict[Peer, Behaviour] = {**dict.fromkeys(rest, truthful), holder: promising}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(attend, behaviours)
            with pytest.raises(Unreachable):
                await node.get(key)
            await trio.sleep(3)
            assert (await node.get(key)).value == value
            nursery.cancel_scope.cancel()
