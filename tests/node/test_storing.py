"""One STORE to one peer: a token is fetched once, a value is sent only where it is lacking, and one result comes."""

from __future__ import annotations

import random

import attrs
import trio
import trio.testing

from camomile_trio.config import Config
from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import (
    Durability,
    FindNode,
    Message,
    NodeList,
    Packet,
    Store,
    StoreKind,
    StoreResult,
    StoreStatus,
)
from camomile_trio.node.storing import Storing, store_at_classic
from tests.fixtures.parts import open_parts
from tests.fixtures.peers import Behaviour, Peer, attend, silent
from tests.fixtures.records import lease_of

PUBLISHER = KeyPair.new(random.Random("publisher"))
VALUE = b"a value"
KEY = Key.of(VALUE)
ROW = lease_of(PUBLISHER, KEY).row()
STORED = StoreResult(StoreStatus.STORED, Durability.MEMORY)


@attrs.define(eq=False)
class Holder:
    """A peer that wants a token, and perhaps the value. It notes what it hears."""

    token: bytes
    has_value: bool = False
    heard: list[Message] = attrs.field(factory=list)

    def __call__(self, peer: Peer, packet: Packet) -> Message | None:
        message = packet.message
        self.heard.append(message)
        match message:
            case FindNode():
                return NodeList((), b"the token")
            case Store() if message.token != self.token:
                return StoreResult(StoreStatus.NO_TOKEN)
            case Store() if message.value is None and not self.has_value:
                return StoreResult(StoreStatus.VALUE_NEEDED)
            case Store():
                return STORED
        return None


async def stored(behave: Behaviour, *, with_value: bool = True, times: int = 1) -> list[StoreResult | None]:
    """What came of storing at such a peer."""
    results: list[StoreResult | None] = []

    def on_result(contact: Contact, result: StoreResult | None) -> None:
        assert contact == bob.contact
        results.append(result)

    async with open_parts() as (parts, line), trio.open_nursery() as nursery:
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")
        rpc.prove(bob.contact)
        bob.pong(bob.heard()[0])
        nursery.start_soon(attend, {bob: behave})
        for _ in range(times):
            Storing(rpc, bob.contact, KEY, VALUE, (ROW,), StoreKind.PUBLISH, on_result, with_value=with_value).start()
            await trio.sleep(5)
        assert rpc.pending == 0
        nursery.cancel_scope.cancel()
    return results


async def test_a_token_is_fetched_and_the_store_repeated(autojump_clock: trio.testing.MockClock) -> None:
    holder = Holder(token=b"the token")
    assert await stored(holder) == [STORED]
    assert [type(message) for message in holder.heard] == [Store, FindNode, Store]


async def test_a_token_is_kept_for_the_next_time(autojump_clock: trio.testing.MockClock) -> None:
    holder = Holder(token=b"the token")
    assert await stored(holder, times=2) == [STORED, STORED]
    assert [type(message) for message in holder.heard] == [Store, FindNode, Store, Store]


async def test_a_token_that_is_never_good_is_fetched_once(autojump_clock: trio.testing.MockClock) -> None:
    holder = Holder(token=b"another")
    assert await stored(holder) == [StoreResult(StoreStatus.NO_TOKEN)]
    assert [type(message) for message in holder.heard] == [Store, FindNode, Store]


async def test_the_value_goes_only_to_who_lacks_it(autojump_clock: trio.testing.MockClock) -> None:
    lacking, having = Holder(token=b""), Holder(token=b"", has_value=True)
    assert await stored(lacking, with_value=False) == [STORED]
    assert await stored(having, with_value=False) == [STORED]
    assert [getattr(message, "value", None) for message in lacking.heard] == [None, VALUE]
    assert [getattr(message, "value", None) for message in having.heard] == [None]


async def test_silence_is_no_result(autojump_clock: trio.testing.MockClock) -> None:
    assert await stored(silent) == [None]


async def test_a_classic_peer_is_told_what_it_can_read_and_nothing_else(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts(Config(classic=True)) as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")
        assert store_at_classic(rpc, bob.contact, "lätt".encode(), StoreKind.PUBLISH)
        for unreadable in (b"", b"\xff", bytes(1001)):
            assert not store_at_classic(rpc, bob.contact, unreadable, StoreKind.PUBLISH)
        (told,) = bob.heard()
        assert told.message == Store(StoreKind.PUBLISH, None, "lätt".encode())
        assert rpc.pending == 0


async def test_without_the_option_no_classic_peer_is_told_anything(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        bob = Peer.at(line, "bob", "10.9.0.2:8118")
        assert not store_at_classic(parts.rpc, bob.contact, "lätt".encode(), StoreKind.PUBLISH)
        assert not bob.heard()
