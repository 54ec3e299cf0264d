"""One record on its way: whom it is sent to, when, with what, and whom this node remembers to tell later."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.acknowledgement import Failed, Success
from camomile_trio.kademlia.ids import Key, distance
from camomile_trio.kademlia.messages import (
    Durability,
    FindNode,
    Message,
    NodeList,
    Ping,
    Store,
    StoreKind,
    StoreResult,
    StoreStatus,
)
from camomile_trio.operations.lookup import NAMING
from camomile_trio.operations.publication import SPARE, Publication
from tests.fixtures.parts import Parts, known_peers, open_parts
from tests.fixtures.peers import Behaviour, Peer, accepting, attend, silent, truthful
from tests.fixtures.records import lease_of
from tests.fixtures.speaker import Heard

VALUE = b"a value"
KEY = Key.of(VALUE)
LEASE = lease_of(KeyPair.new(random.Random("publisher")), KEY)
STORED = StoreResult(StoreStatus.STORED, Durability.MEMORY)
# Fewer than k: this node takes them for all that there are, and is one of the holders itself.
PEERS = 18
MAJORITY = 11  # of 20
FIRST = MAJORITY + SPARE


@attrs.define(eq=False)
class Holder:
    """A peer that perhaps has the value. It notes what it hears."""

    has_value: bool = False
    heard: list[Message] = attrs.field(factory=list)

    def __call__(self, heard: Heard) -> Message | None:
        self.heard.append(heard.message)
        match heard.message:
            case Store(value=None) if not self.has_value:
                return StoreResult(StoreStatus.VALUE_NEEDED)
            case Store():
                return STORED
        return truthful(heard)


@attrs.define(eq=False)
class Under:
    """A publication under way to peers, the nearest first, each of which answers when it is told to."""

    parts: Parts
    peers: list[Peer]
    publication: Publication
    heard: dict[Peer, list[Heard]] = attrs.field(factory=dict)

    async def told(self) -> list[int]:
        """Which of the peers a STORE has gone to, by their places."""
        await trio.testing.wait_all_tasks_blocked()
        for peer in self.peers:
            self.heard.setdefault(peer, []).extend(peer.heard())
        return [place for place, peer in enumerate(self.peers) if self.stores(peer)]

    def stores(self, peer: Peer) -> list[Store]:
        return [each.message for each in self.heard[peer] if isinstance(each.message, Store)]

    async def answer(self, place: int, result: StoreResult = STORED) -> None:
        peer = self.peers[place]
        store = next(each for each in self.heard[peer] if isinstance(each.message, Store))
        peer.answer(store, result)
        await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def under_way() -> AsyncIterator[Under]:
    async with open_parts() as (parts, _):
        peers = sorted(known_peers(parts, PEERS), key=lambda peer: distance(KEY, peer.id))
        publication = Publication(parts.make_core().publishing, LEASE, VALUE, with_value=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(publication.look_and_store)
            yield Under(parts, peers, publication)
            nursery.cancel_scope.cancel()


async def test_the_nearest_are_asked_first_as_many_as_a_majority_needs_and_a_few_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with under_way() as put:
        assert await put.told() == [*range(FIRST)]
        for place in range(1, MAJORITY - 1):
            await put.answer(place)
        assert await put.told() == [*range(FIRST)]
        # With this node's own copy the next one makes the majority, and now all others are told.
        await put.answer(MAJORITY)
        assert put.publication.acknowledgements.outcome == Success()
        assert await put.told() == [*range(PEERS)]


async def test_the_others_are_told_once_one_of_the_first_is_late(autojump_clock: trio.testing.MockClock) -> None:
    async with under_way() as put:
        await put.told()
        await trio.sleep(1.0)
        assert await put.told() == [*range(PEERS)]


@pytest.mark.parametrize("status", [StoreStatus.FULL, StoreStatus.TOO_LARGE])
async def test_the_others_are_told_once_one_of_the_first_refuses(
    autojump_clock: trio.testing.MockClock, status: StoreStatus
) -> None:
    async with under_way() as put:
        await put.told()
        await put.answer(7, StoreResult(status))
        assert await put.told() == [*range(PEERS)]


async def test_the_nearest_four_are_asked_for_the_contacts_that_they_know(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with under_way() as put:
        await put.told()
        naming = [put.stores(peer)[0].names_contacts for peer in put.peers[:FIRST]]
        assert naming == [True] * NAMING + [False] * (FIRST - NAMING)


async def test_where_one_of_the_nearest_four_is_silent_the_next_one_is_asked_for_its_contacts(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with under_way() as put:
        await put.told()
        await trio.sleep(1.0)
        await put.told()
        for place in range(1, PEERS):
            await put.answer(place)
        await put.told()
        found = [place for place, peer in enumerate(put.peers) if _finds(put.heard[peer])]
        assert NAMING in found


def _finds(heard: list[Heard]) -> list[Heard]:
    return [each for each in heard if isinstance(each.message, FindNode)]


async def test_a_nearer_node_that_is_named_becomes_a_holder(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line), trio.open_nursery() as nursery:
        peers = sorted(known_peers(parts, PEERS), key=lambda peer: distance(KEY, peer.id))
        named, holder = Peer.at(line, "named", "10.9.2.1:8118"), Holder(has_value=True)

        def naming(heard: Heard) -> Message | None:
            answer = accepting(heard)
            if isinstance(answer, StoreResult) and isinstance(heard.message, Store) and heard.message.names_contacts:
                return attrs.evolve(answer, contacts=(named.contact,))
            return answer

        behaviours: dict[Peer, Behaviour] = {**dict.fromkeys(peers, naming), named: holder}
        nursery.start_soon(attend, behaviours)
        publication = Publication(parts.make_core().publishing, LEASE, VALUE, with_value=True)
        await publication.look_and_store()
        await trio.sleep(2.0)
        assert [type(message) for message in holder.heard if not isinstance(message, Ping)] == [FindNode, Store]
        nursery.cancel_scope.cancel()


async def test_the_value_goes_only_to_a_holder_that_lacks_it(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, _), trio.open_nursery() as nursery:
        alice, bob = known_peers(parts, 2)
        lacking, having = Holder(), Holder(has_value=True)
        behaviours: dict[Peer, Behaviour] = {alice: lacking, bob: having}
        nursery.start_soon(attend, behaviours)
        publication = Publication(parts.make_core().publishing, LEASE, VALUE, with_value=False)
        await publication.look_and_store()
        assert publication.acknowledgements.outcome == Success()
        await trio.sleep(1.0)
        assert [message.value for message in lacking.heard if isinstance(message, Store)] == [None, VALUE]
        assert [message.value for message in having.heard if isinstance(message, Store)] == [None]
        nursery.cancel_scope.cancel()


async def test_what_is_no_answer_to_a_store_acknowledges_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, _), trio.open_nursery() as nursery:
        (alice,) = known_peers(parts, 1)
        behaviours: dict[Peer, Behaviour] = {alice: lambda heard: NodeList()}
        nursery.start_soon(attend, behaviours)
        publication = Publication(parts.make_core().publishing, LEASE, VALUE, with_value=True)
        await publication.look_and_store()
        assert isinstance(publication.acknowledgements.outcome, Failed)
        nursery.cancel_scope.cancel()


async def test_one_message_goes_to_all_and_each_is_told_once(autojump_clock: trio.testing.MockClock) -> None:
    async with under_way() as put:
        for _ in range(2):
            for place in await put.told():
                await put.answer(place)
        await trio.sleep(5.0)
        await put.told()
        assert {len(put.stores(peer)) for peer in put.peers} == {1}
        assert {attrs.evolve(put.stores(peer)[0], names_contacts=False) for peer in put.peers} == {
            Store(StoreKind.PUBLISH, None, VALUE, (LEASE.row(),))
        }
        assert put.publication.acknowledgements.replicas == PEERS + 1
        assert put.parts.requests.pending == 0


async def test_who_does_not_answer_is_told_later(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, _), trio.open_nursery() as nursery:
        alice, bob = known_peers(parts, 2)
        behaviours: dict[Peer, Behaviour] = {alice: accepting, bob: silent}
        nursery.start_soon(attend, behaviours)
        core = parts.make_core()
        await Publication(core.publishing, LEASE, VALUE, with_value=True).look_and_store()
        await trio.sleep(10.0)
        assert [contact for contact, _ in core.reminders.due(1e9)] == [bob.contact]
        nursery.cancel_scope.cancel()


async def test_a_silent_holder_is_told_later_only_where_this_node_knows_it_by_itself(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Others may name addresses where there is no node, and the telling is tried eight times."""
    async with open_parts() as (parts, line):
        (bob,) = known_peers(parts, 1)
        named = Peer.at(line, "named", "198.18.1.1:8118")
        core = parts.make_core()
        Publication(core.publishing, LEASE, VALUE, with_value=True).settle([], silent=[bob.contact, named.contact])
        assert core.reminders.keys == 1
        assert [contact for contact, _ in core.reminders.due(1e9)] == [bob.contact]
