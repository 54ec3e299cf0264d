"""What an address may cost this node that has confirmed nothing: its source may be forged.

Rules of this file: the parts of a node, full of contacts and records, on a line; a peer that never confirms.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from camomile_trio.config import Config
from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import (
    FindNode,
    FindValue,
    Have,
    HaveResult,
    Leave,
    Message,
    NodeList,
    Ping,
    Store,
    StoreKind,
    StoreResult,
    TooLarge,
    Value,
)
from camomile_trio.kademlia.routing import RoutingTable
from camomile_trio.peer.packets import LARGEST_DATAGRAM, MOST_REQUEST
from camomile_trio.peer.requests import PADDED_BYTES
from tests.fixtures.line import SELF_CONTACT, SUITE, Line, one_node
from tests.fixtures.parts import TARGET, Parts, open_parts
from tests.fixtures.peers import Peer
from tests.fixtures.records import lease_of, tombstone_of
from tests.fixtures.speaker import CODEC
from tests.wire.strategies import flags, messages, numbers

AMPLIFICATION = 3
PUBLISHERS = [KeyPair.new(random.Random(number)) for number in range(4)]
VALUE = b"a value of some length, so that it is no small answer" * 15 + b"2"
KEY = Key.of(VALUE)
ROWS = tuple(lease_of(each, KEY).row() for each in PUBLISHERS)
STORE = Store(StoreKind.PUBLISH, KEY, None, ROWS[:1])
BEGINNINGS: list[Message] = [
    Ping(),
    FindNode(TARGET),
    FindValue(Key(TARGET)),
    FindValue(KEY),
    FindValue(KEY, PUBLISHERS[0].public),
]
MALLORY = Endpoint.parse("10.9.0.9:8118")


def fill(table: RoutingTable) -> None:
    """With contacts that never answer."""
    rng = random.Random(9)
    for number in range(60):
        contact = Contact.of(SUITE.public(rng.randbytes(32)), Endpoint.parse(f"10.8.0.{number + 1}:8118"))
        table.on_answer(contact, trio.current_time())


def well_furnished(parts: Parts) -> None:
    """It knows many contacts and holds a value with a full set of registers: its answers are as large as they get."""
    fill(parts.table)
    assert parts.table.is_among_closest(KEY)  # so it serves the value
    parts.keep(KEY, VALUE, *ROWS)
    parts.keep(KEY, None, tombstone_of(PUBLISHERS[3], KEY).row())


def cost(line: Line, endpoint: Endpoint = MALLORY) -> int:
    """Bytes that went to this endpoint."""
    return sum(len(datagram) for to, datagram in line.sent if to == endpoint)


def begin(peer: Peer, message: Message, *, padded_to: int = 0) -> int:
    """The peer begins a handshake with this request; its bytes."""
    return len(peer.speaker.initiate(CODEC.encode(1, message, 0), SELF_CONTACT, padded_to=padded_to))


def in_virtual_time(story: Callable[[], Awaitable[None]]) -> None:
    trio.run(story, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize("message", BEGINNINGS, ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("padded_to", [0, PADDED_BYTES, LARGEST_DATAGRAM])
async def test_an_address_that_has_confirmed_nothing_is_sent_three_times_what_came_from_it_at_most(
    autojump_clock: trio.testing.MockClock, message: Message, padded_to: int
) -> None:
    config = Config(advertise=Endpoint.parse("[2001:db8::1]:8118"))
    async with open_parts(config) as (parts, line):
        well_furnished(parts)
        sent = begin(Peer(line, "mallory", MALLORY), message, padded_to=padded_to)
        await trio.sleep(10)
        assert 0 < cost(line) <= AMPLIFICATION * sent


@pytest.mark.parametrize("message", [STORE, Have((KEY,)), Leave(), NodeList()], ids=lambda each: type(each).__name__)
async def test_what_may_not_begin_costs_nothing(autojump_clock: trio.testing.MockClock, message: Message) -> None:
    async with open_parts() as (parts, line):
        well_furnished(parts)
        begin(Peer(line, "mallory", MALLORY), message)
        await trio.sleep(10)
        assert cost(line) == 0
        assert parts.requests.statistics.dropped["not_a_first_request"] == 1


steps = st.tuples(
    st.sampled_from([*BEGINNINGS, Leave(), None]),  # None: a hello
    st.integers(0, LARGEST_DATAGRAM),
    st.integers(1, 4),  # so often it is sent
    st.sampled_from([0.0, 0.3, 61.0]),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(steps, min_size=1, max_size=6))
def test_no_number_of_requests_of_any_size_costs_more(
    asked: list[tuple[Message | None, int, int, float]],
) -> None:
    """Whatever a forged address is used for: all bytes that go to it are at most three times those that came."""

    async def story() -> None:
        async with open_parts() as (parts, line):
            well_furnished(parts)
            mallory = Peer(line, "mallory", MALLORY)
            sent = 0
            for message, padded_to, times, pause in asked:
                if message is None:
                    datagram = mallory.speaker.sessions.initiator.hello(SELF_CONTACT.endpoint, trio.current_time())
                    line.bring(datagram, MALLORY)
                else:
                    inner = CODEC.encode(1, message, 0)
                    datagram = mallory.speaker.initiate(inner, SELF_CONTACT, padded_to=padded_to)
                for _ in range(1, times):
                    line.bring(datagram, MALLORY)
                sent += times * len(datagram)
                await trio.sleep(pause)
                assert cost(line) <= AMPLIFICATION * sent
            await trio.sleep(120)
            assert cost(line) <= AMPLIFICATION * sent

    in_virtual_time(story)


async def test_a_padded_find_is_answered_in_full(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        well_furnished(parts)
        bob = Peer(line, "bob", MALLORY)
        bob.ask(FindNode(TARGET), padded_to=PADDED_BYTES)
        (answer,) = bob.heard()
        assert isinstance(answer.message, NodeList)
        assert set(answer.message.contacts) == set(parts.table.closest(TARGET, 20))


async def test_a_short_find_is_answered_with_the_closest_contacts(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        well_furnished(parts)
        bob = Peer(line, "bob", MALLORY)
        bob.ask(FindNode(TARGET))
        (answer,) = bob.heard()
        assert isinstance(answer.message, NodeList)
        count = len(answer.message.contacts)
        assert 0 < count < 20
        assert set(answer.message.contacts) == set(parts.table.closest(TARGET, count))


async def test_a_value_that_a_response_has_no_room_for_comes_once_the_peer_has_confirmed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts() as (parts, line):
        well_furnished(parts)
        bob = Peer(line, "bob", MALLORY)
        bob.ask(FindValue(KEY))
        assert [type(heard.message) for heard in bob.heard()] == [TooLarge]
        bob.ask(FindValue(KEY))
        (answer,) = bob.heard()
        assert isinstance(answer.message, Value)
        assert answer.message.value == VALUE
        bob.ask(Have((KEY,) * 32))
        (answer,) = bob.heard()
        assert isinstance(answer.message, TooLarge)
        assert answer.message.size > LARGEST_DATAGRAM


async def test_what_came_over_a_stream_is_answered_there_in_full(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        well_furnished(parts)
        contact = Peer.at(line, "bob", "10.9.0.9:50000").contact
        answer = await parts.inbox.on_stream_message(contact, CODEC.encode(7, Have((KEY,) * 32), 0))
        assert answer is not None
        number, message, _ = CODEC.decode_untrusted(answer)
        assert number == 7
        assert isinstance(message, HaveResult)
        assert len(message.holdings) == 32
        answer = await parts.inbox.on_stream_message(contact, CODEC.encode(8, STORE, 0))
        assert answer is not None
        assert isinstance(CODEC.decode_untrusted(answer)[1], StoreResult)
        # The port of a stream is no node's endpoint: it is neither asked nor seated.
        assert not line.sent
        assert contact.id not in parts.table


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(numbers, messages, flags), min_size=1, max_size=5), st.booleans())
def test_no_message_of_any_peer_upsets_a_node(received: list[tuple[int, Message, int]], is_confirmed: bool) -> None:
    """Any message of the right form, from a stranger or a known peer: nothing is raised, and nothing is lost."""

    async def story() -> None:
        table = RoutingTable(SELF_CONTACT.id, 20)
        fill(table)
        # It counts alone, since its contacts answer nothing.
        async with one_node(Config(expect=1), table=table) as (node, line):
            key = (await node.put(VALUE)).key
            bob = Peer(line, "bob", MALLORY)
            if is_confirmed:
                bob.introduce()
            for number, message, bits in received:
                inner = CODEC.encode_within(number, message, bits, MOST_REQUEST)
                if not bob.speaker.seal(inner, SELF_CONTACT):
                    bob.speaker.initiate(inner, SELF_CONTACT)
                await trio.sleep(1)
            assert (await node.get(key)).value == VALUE

    in_virtual_time(story)
