"""One STORE to one peer: a value is sent only where it is lacking, and one result comes."""

from __future__ import annotations

import random

import attrs
import trio
import trio.testing

from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import (
    Durability,
    Message,
    NodeList,
    Ping,
    Store,
    StoreKind,
    StoreResult,
    StoreStatus,
)
from camomile_trio.operations.storing import Storing
from camomile_trio.peer.seams import Answer
from tests.fixtures.parts import open_parts
from tests.fixtures.peers import Behaviour, Peer, attend, silent, truthful
from tests.fixtures.records import lease_of
from tests.fixtures.speaker import Heard

PUBLISHER = KeyPair.new(random.Random("publisher"))
VALUE = b"a value"
KEY = Key.of(VALUE)
ROW = lease_of(PUBLISHER, KEY).row()
STORED = StoreResult(StoreStatus.STORED, Durability.MEMORY)


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
class Question:
    """What a lookup that asks by a STORE hears."""

    heard: list[object] = attrs.field(factory=list)

    def on_store_answer(self, contact: Contact, answer: Answer[Message]) -> None:
        self.heard.append(answer.message)

    def on_store_overdue(self, contact: Contact) -> None:
        self.heard.append("overdue")

    def on_store_failed(self, contact: Contact) -> None:
        self.heard.append("failed")


async def stored(
    behave: Behaviour, *, with_value: bool = True, asking: Question | None = None, is_known: bool = True
) -> list[StoreResult | None]:
    """What came of storing at such a peer."""
    results: list[StoreResult | None] = []

    def on_result(contact: Contact, result: StoreResult | None) -> None:
        assert contact == bob.contact
        results.append(result)

    async with open_parts() as (parts, line), trio.open_nursery() as nursery:
        bob = Peer.at(line, "bob", "10.9.0.2:8118")
        if is_known:
            bob.introduce()
        nursery.start_soon(attend, {bob: behave})
        rows, kind = (ROW,), StoreKind.PUBLISH
        Storing(
            parts.requests, bob.contact, KEY, VALUE, rows, kind, on_result, with_value=with_value, asking=asking
        ).start()
        await trio.sleep(5)
        assert parts.requests.pending == 0
        nursery.cancel_scope.cancel()
    return results


async def test_one_store_and_one_result(autojump_clock: trio.testing.MockClock) -> None:
    holder = Holder()
    assert await stored(holder) == [STORED]
    assert holder.heard == [Store(StoreKind.PUBLISH, None, VALUE, (ROW,))]


async def test_at_a_peer_without_a_session_it_follows_a_handshake(autojump_clock: trio.testing.MockClock) -> None:
    holder = Holder()
    assert await stored(holder, is_known=False) == [STORED]
    assert holder.heard == [Ping(), Store(StoreKind.PUBLISH, None, VALUE, (ROW,))]


async def test_the_value_goes_only_to_a_holder_that_lacks_it(autojump_clock: trio.testing.MockClock) -> None:
    lacking, having = Holder(), Holder(has_value=True)
    assert await stored(lacking, with_value=False) == [STORED]
    assert await stored(having, with_value=False) == [STORED]
    assert [getattr(message, "value", None) for message in lacking.heard] == [None, VALUE]
    assert [getattr(message, "value", None) for message in having.heard] == [None]


async def test_silence_is_no_result(autojump_clock: trio.testing.MockClock) -> None:
    assert await stored(silent) == [None]


async def test_an_answer_that_answers_no_store_is_no_result(autojump_clock: trio.testing.MockClock) -> None:
    assert await stored(lambda heard: NodeList()) == [None]


async def test_a_lookup_that_asks_by_it_hears_one_answer(autojump_clock: trio.testing.MockClock) -> None:
    """That the value is lacking is none: the answer to the store with the value is."""
    lookup, holder = Question(), Holder()
    assert await stored(holder, with_value=False, asking=lookup) == [STORED]
    assert lookup.heard == [STORED]
    assert [getattr(message, "names_contacts", None) for message in holder.heard] == [True, True]


async def test_a_lookup_that_asks_by_it_hears_that_none_came(autojump_clock: trio.testing.MockClock) -> None:
    lookup = Question()
    assert await stored(silent, asking=lookup) == [None]
    assert lookup.heard == ["overdue", "failed"]
