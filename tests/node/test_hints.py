"""Copies that peers push to one node: nothing is served of them before a holder has confirmed it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import (
    FindValue,
    Have,
    HaveResult,
    Holding,
    Message,
    Store,
    StoreKind,
    StoreResult,
    StoreStatus,
    Value,
)
from camomile_trio.kademlia.records import Record
from camomile_trio.kademlia.routing import RoutingTable
from camomile_trio.node import hints
from tests.fixtures.parts import Parts, open_parts
from tests.fixtures.peers import Behaviour, Peer, attend, truthful
from tests.fixtures.records import EPOCH, lease_of, tombstone_of
from tests.fixtures.speaker import Heard

PUBLISHER = KeyPair.new(random.Random("publisher"))
VALUE = b"a value"
KEY = Key.of(VALUE)
LEASE = lease_of(PUBLISHER, KEY)
TOMBSTONE = tombstone_of(PUBLISHER, KEY)


@attrs.define(eq=False)
class Holder:
    """A behaviour: shows `record` when it is asked what it holds, and counts how often it is."""

    record: Record | None
    has_value: bool = True
    asked: list[Have] = attrs.field(factory=list)

    def __call__(self, heard: Heard) -> Message | None:
        if not isinstance(heard.message, Have):
            return truthful(heard)
        self.asked.append(heard.message)
        rows = (self.record.row(),) if self.record is not None else ()
        return HaveResult(tuple(Holding(key, self.has_value and bool(rows), rows) for key in heard.message.keys))


@asynccontextmanager
async def pushed_to(*holders: Behaviour) -> AsyncIterator[tuple[Parts, Peer]]:
    """A node that knows these holders, and one that pushes."""
    async with open_parts() as (parts, line):
        peers = [Peer.at(line, f"holder {number}", f"10.9.0.{number + 3}:8118") for number in range(len(holders))]
        bob = Peer.at(line, "bob", "10.9.0.2:8118")
        for peer in (bob, *peers):
            peer.introduce()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(attend, dict(zip(peers, holders, strict=True)))
            yield parts, bob
            nursery.cancel_scope.cancel()


async def push(bob: Peer, record: Record = LEASE) -> None:
    bob.heard()
    number = bob.ask(Store(StoreKind.REPLICATE, KEY, VALUE, (record.row(),), cached=True))
    await trio.sleep(0.001)
    (answer,) = [heard.message for heard in bob.heard() if heard.number == number]
    assert isinstance(answer, StoreResult)
    assert answer.status is StoreStatus.STORED


async def got(bob: Peer) -> Value:
    """What the node answers; then there is time for what it asks others."""
    bob.heard()
    number = bob.ask(FindValue(KEY))
    await trio.sleep(0.02)
    (answer,) = [heard.message for heard in bob.heard() if heard.message.is_answer and heard.number == number]
    assert isinstance(answer, Value)
    return answer


async def test_a_pushed_copy_is_served_once_a_holder_has_confirmed_it(autojump_clock: trio.testing.MockClock) -> None:
    holder = Holder(LEASE)
    async with pushed_to(holder) as (parts, bob):
        await push(bob)
        await trio.sleep(1)
        assert holder.asked == []  # a push alone makes the node send nothing
        assert (await got(bob)).value is None
        hit = await got(bob)
        assert (hit.value, hit.cached, hit.records) == (VALUE, True, (LEASE.row(),))
        assert holder.asked == [Have((KEY,))]
        assert parts.holdings.state(KEY).size is None  # it is no replica
        assert parts.holdings.cache.hints == {"kept": 1, "confirmed": 1}
        await trio.sleep(59.9)
        assert (await got(bob)).value == VALUE
        await trio.sleep(0.1)
        assert (await got(bob)).value is None


async def test_a_confirmed_copy_lives_no_longer_than_the_holders_lease(autojump_clock: trio.testing.MockClock) -> None:
    """Whichever of the publisher's leases was pushed."""
    short = lease_of(PUBLISHER, KEY, issued=EPOCH - 50_000, life=60)
    async with pushed_to(Holder(short)) as (_, bob):
        await push(bob, lease_of(PUBLISHER, KEY, issued=EPOCH - 60_000, life=3600))
        await got(bob)
        hit = await got(bob)
        assert (hit.value, hit.records) == (VALUE, (short.row(),))
        await trio.sleep(10)
        assert (await got(bob)).value is None


@pytest.mark.parametrize(
    "holder",
    [
        Holder(TOMBSTONE),
        Holder(None),
        Holder(LEASE, has_value=False),
        Holder(lease_of(PUBLISHER, KEY, issued=EPOCH - 7_200_000)),
        Holder(attrs.evolve(LEASE, seq=LEASE.seq + 1)),
        Holder(lease_of(PUBLISHER, Key.of(b"another"))),
    ],
    ids=["forgotten", "not there", "without the value", "ended", "forged", "of another key"],
)
async def test_a_copy_that_a_holder_does_not_confirm_is_never_served(
    autojump_clock: trio.testing.MockClock, holder: Holder
) -> None:
    async with pushed_to(holder) as (parts, bob):
        await push(bob)
        for _ in range(3):
            assert (await got(bob)).value is None
        assert parts.holdings.cache.hints == {"kept": 1, "refused": 1}
        assert len(parts.holdings.cache) == 0


async def test_one_who_pushes_again_and_again_makes_the_node_ask_once_a_minute(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Or it would go on until the holder that is asked is one that lies."""
    honest, liar, asked = Holder(TOMBSTONE), Holder(LEASE), 0

    def first_honest(heard: Heard) -> Message | None:
        nonlocal asked
        asked += isinstance(heard.message, Have)
        return honest(heard) if asked == 1 else liar(heard)

    async with pushed_to(*[first_honest] * 4) as (_, bob):
        for _ in range(50):
            await push(bob)
            assert (await got(bob)).value is None
            await trio.sleep(1)
        assert asked == 1


async def test_the_one_who_pushes_is_not_asked(autojump_clock: trio.testing.MockClock) -> None:
    async with pushed_to() as (parts, bob):
        await push(bob)
        for _ in range(3):
            bob.heard()
            bob.ask(FindValue(KEY))
            await trio.sleep(3)
            assert [heard for heard in bob.heard() if not heard.message.is_answer] == []
        assert parts.holdings.cache.hints == {"kept": 1}


async def test_only_a_member_whose_word_counts_is_asked(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    liar = Holder(LEASE)
    async with pushed_to(liar) as (_, bob):
        monkeypatch.setattr(RoutingTable, "cover", lambda self, target: [])
        await push(bob)
        for _ in range(3):
            assert (await got(bob)).value is None
        assert liar.asked == []


async def test_a_hint_takes_the_place_of_no_copy_that_is_served(autojump_clock: trio.testing.MockClock) -> None:
    """Or a push would end what a lookup has found."""
    async with pushed_to(Holder(None)) as (parts, bob):
        parts.holdings.keep_cached(KEY, VALUE, [LEASE], parts.holdings.own)
        await push(bob, lease_of(PUBLISHER, KEY, issued=EPOCH - 60_000))
        hit = await got(bob)
        assert (hit.value, hit.records) == (VALUE, (LEASE.row(),))


async def test_a_tombstone_that_comes_meanwhile_ends_the_hint(autojump_clock: trio.testing.MockClock) -> None:
    async with pushed_to(Holder(LEASE)) as (parts, bob):
        await push(bob)
        bob.ask(FindValue(KEY))
        parts.keep(KEY, None, TOMBSTONE.row())
        await trio.sleep(0.02)
        assert (await got(bob)).value is None
        assert len(parts.holdings.cache) == 0


async def test_no_more_keys_are_asked_about_than_are_remembered(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints, "MAX_ASKED", 2)
    holder = Holder(None)
    async with pushed_to(holder) as (_, bob):
        for number in range(4):
            value = b"value %d" % number
            row = lease_of(PUBLISHER, Key.of(value)).row()
            bob.ask(Store(StoreKind.REPLICATE, None, value, (row,), cached=True))
            bob.ask(FindValue(Key.of(value)))
            await trio.sleep(0.02)
        assert len(holder.asked) == 2
        await trio.sleep(60)
        await push(bob)
        await got(bob)
        assert len(holder.asked) == 3
