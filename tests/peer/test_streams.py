"""Sealed messages over TCP: what comes through, what ends a connection, what that costs before; keys that change.

Rules of this file: the two ends by bytes alone, then `Streams` on the simulated network, in virtual time.
"""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import AsyncIterator, Callable

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from camomile_trio.errors import MalformedPacket, TransportError
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.peer.exchanges import VERY_LARGE
from camomile_trio.peer.handshake import NetworkKey
from camomile_trio.peer.local import Local, StaticKey
from camomile_trio.peer.noise import CipherState, HandshakeState
from camomile_trio.peer.streams import (
    LARGEST_MESSAGE,
    LENGTH_BYTES,
    MOST_INITIATION,
    MOST_RECORD,
    MOST_RESPONSE,
    Answering,
    Asking,
    Streams,
    open_untrusted,
    seal,
    sealed_length,
)
from camomile_trio.peer.suite import TAG_BYTES, CipherSuite, NaclSuite
from camomile_trio.simulation.links import LinkConditions
from camomile_trio.simulation.network import MemoryNetwork
from camomile_trio.simulation.suite import ToySuite
from camomile_trio.transport.base import Transport
from tests.peer.nodes import NETWORK, OPEN
from tests.transport.peers import ANY_PORT

WALL_MS = 1_700_000_000_000
MAX_MESSAGE = 300_000
CHUNK = MOST_RECORD - TAG_BYTES
FULL = CHUNK - LENGTH_BYTES  # what fits into the first record of a message
OTHER = NetworkKey.of(b"k" * 32, NETWORK)
HERE = Endpoint.parse("198.18.1.1:40000")


def wall_ms() -> int:
    return WALL_MS


def local(name: str, suite: CipherSuite | None = None, keys: tuple[NetworkKey, ...] = (OPEN,)) -> Local:
    suite = suite or ToySuite()
    static = StaticKey.from_seed(suite, (name.encode() * 32)[:32])
    return Local.start(static, keys, suite, random.Random(name))


@attrs.define(eq=False)
class Side:
    """One node's streams, without a network. It answers with what was asked, backwards."""

    streams: Streams = attrs.field(init=False)
    local: Local
    handled: list[tuple[Contact, bytes]] = attrs.field(factory=list)
    members: set[bytes] = attrs.field(factory=set)
    affords: bool = True
    asked_to_afford: list[Endpoint] = attrs.field(factory=list)
    answer: Callable[[bytes], bytes | None] = lambda message: message[::-1]

    @classmethod
    def of(cls, local: Local, transport: Transport | None = None, *, max_message: int = MAX_MESSAGE) -> Side:
        side = cls(local)
        side.streams = Streams(
            transport=transport or NoTransport(),  # type: ignore[arg-type]
            local=local,
            wall_ms=wall_ms,
            max_message=max_message,
            handle=side.handle,
            is_member=side.members.__contains__,
            afford=side.afford,
        )
        return side

    async def handle(self, contact: Contact, message: bytes) -> bytes | None:
        self.handled.append((contact, message))
        return self.answer(message)

    def afford(self, source: Endpoint) -> bool:
        self.asked_to_afford.append(source)
        return self.affords

    def ask(self, other: Side) -> Asking:
        return Asking(self.local, other.local.static.public, wall_ms, self.streams.most_bytes)

    @property
    def dropped(self) -> dict[str, int]:
        return dict(self.streams.dropped)


class NoTransport:
    pass


def two(suite: CipherSuite | None = None, *, max_message: int = MAX_MESSAGE) -> tuple[Side, Side]:
    return Side.of(local("a", suite)), Side.of(local("b", suite), max_message=max_message)


async def opened(a: Side, b: Side) -> tuple[Asking, Answering]:
    """A's end, which began, and b's, to which nothing is proven yet."""
    asking, answering = a.ask(b), b.streams.on_connection(HERE)
    response = await answering.answer(asking.first())
    assert response
    asking.on_first(response)
    return asking, answering


# The ordinary case ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", [NaclSuite(), ToySuite()], ids=["nacl", "toy"])
@pytest.mark.parametrize("advertised", [b"", Endpoint.parse("198.18.9.9:1"), Endpoint.parse("[2001:db8::1]:1")])
async def test_both_sides_prove_themselves_and_exchange_messages(suite: CipherSuite, advertised: bytes) -> None:
    a, b = two(suite)
    a.local.advertised = b.local.advertised = advertised
    asking, answering = a.ask(b), b.streams.on_connection(HERE)
    assert (answering.most_bytes, asking.most_bytes) == (MOST_INITIATION, MOST_RESPONSE)
    initiation = asking.first()
    response = await answering.answer(initiation)
    assert response
    assert len(initiation) <= MOST_INITIATION
    assert len(response) <= MOST_RESPONSE
    assert not b.handled
    assert answering.peer == b""  # it may be a replay
    asking.on_first(response)
    assert asking.most_bytes == answering.most_bytes == sealed_length(MAX_MESSAGE)
    for message in (b"question", b"more"):
        answer = await answering.answer(await asking.sealed(message))
        assert answer
        assert await asking.opened(answer) == message[::-1]
    contact = Contact.of(a.local.static.public, HERE)
    assert b.handled == [(contact, b"question"), (contact, b"more")]
    assert answering.peer == contact.public
    assert b.asked_to_afford == [HERE]
    assert not b.dropped


async def test_a_peer_is_a_member_once_it_has_proven_its_key_and_while_it_sits_in_the_table() -> None:
    a, b = two()
    b.members |= {a.local.static.public, b""}
    asking, answering = await opened(a, b)
    seen = [answering.is_member]
    await answering.answer(await asking.sealed(b"question"))
    seen.append(answering.is_member)
    b.members.clear()
    assert [*seen, answering.is_member] == [False, True, False]


async def test_without_an_answer_the_connection_is_closed() -> None:
    a, b = two()
    b.answer = lambda message: None
    asking, answering = await opened(a, b)
    assert await answering.answer(await asking.sealed(b"question")) is None
    assert not b.dropped


@given(st.sampled_from([1, FULL - 1, FULL, FULL + 1, FULL + CHUNK, FULL + CHUNK + 1]) | st.integers(1, 4 * MOST_RECORD))
def test_a_message_travels_in_full_records_and_is_as_long_as_is_said(size: int) -> None:
    message = random.Random(size).randbytes(size)
    body = seal(CipherState(ToySuite(), b"k" * 32), message)
    assert len(body) == sealed_length(size)
    opening = CipherState(ToySuite(), b"k" * 32)
    assert open_untrusted(opening, body) == message
    assert opening.n == -(-len(body) // MOST_RECORD)


def test_the_longest_message_has_a_length_of_32_bits() -> None:
    assert sealed_length(LARGEST_MESSAGE) < 2**32


def test_an_empty_message_cannot_be_sent() -> None:
    with pytest.raises(ValueError, match="1 to"):
        seal(CipherState(ToySuite(), b"k" * 32), b"")


# What ends it --------------------------------------------------------------------------------------------------------


def flips(data: bytes) -> list[bytes]:
    """The data with each of its bits changed."""
    changed = []
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        changed.append(bytes(flipped))
    return changed


def cuts(data: bytes) -> list[bytes]:
    """All that a cut leaves of the data, and the data with something behind it."""
    return [*(data[:end] for end in range(len(data))), data + b"\0", data + bytes(TAG_BYTES)]


async def test_nothing_comes_of_an_initiation_with_any_bit_changed_or_missing() -> None:
    a, b = two()
    initiation = a.ask(b).first()
    changed = flips(initiation) + cuts(initiation)
    for each in changed:
        assert await b.streams.on_connection(HERE).answer(each) is None
    assert sum(b.dropped.values()) == len(changed)
    assert set(b.dropped) == {"wrong_mac1"}


async def test_nothing_comes_of_a_response_with_any_bit_changed_or_missing() -> None:
    a, b = two()
    asking = a.ask(b)
    response = await b.streams.on_connection(HERE).answer(asking.first())
    assert response
    for each in flips(response) + cuts(response):
        with pytest.raises(TransportError, match="another node"):
            copy.deepcopy(asking).on_first(each)
    asking.on_first(response)


async def test_nothing_comes_of_a_message_with_any_bit_changed_or_missing() -> None:
    a, b = two()
    for each in range(2):
        asking, answering = await opened(a, b)
        body = await asking.sealed(b"a message")
        if each:
            body = await answering.answer(body) or b""
        for changed in flips(body) + cuts(body):
            if each:
                with pytest.raises(TransportError, match="not the peer's"):
                    await copy.deepcopy(asking).opened(changed)
            else:
                assert await at_this_moment(answering, b).answer(changed) is None
    assert [message for _, message in b.handled] == [b"a message"]


def at_this_moment(answering: Answering, b: Side) -> Answering:
    """The same end again, with the same streams behind it."""
    return copy.deepcopy(answering, {id(b.streams): b.streams})


@pytest.mark.parametrize("records", [1, 2, 3])
async def test_a_message_that_was_cut_between_two_records_is_none(records: int) -> None:
    a, b = two()
    asking, answering = await opened(a, b)
    body = await asking.sealed(bytes(4 * CHUNK))
    assert await answering.answer(body[: records * MOST_RECORD]) is None
    assert b.dropped == {"wrong_length": 1}
    assert not b.handled


async def test_records_out_of_order_are_no_message() -> None:
    a, b = two()
    asking, answering = await opened(a, b)
    body = await asking.sealed(bytes(3 * CHUNK - LENGTH_BYTES))
    records = [body[start : start + MOST_RECORD] for start in range(0, len(body), MOST_RECORD)]
    for order in ([1, 0, 2], [0, 2, 1], [0, 0, 2]):
        swapped = b"".join(records[number] for number in order)
        assert await at_this_moment(answering, b).answer(swapped) is None
    assert b.dropped == {"wrong_tag": 3}
    assert await answering.answer(body)


async def test_messages_out_of_order_or_twice_are_none() -> None:
    a, b = two()
    asking, answering = await opened(a, b)
    first, second = await asking.sealed(b"first"), await asking.sealed(b"second")
    assert await at_this_moment(answering, b).answer(second) is None
    assert await answering.answer(first)
    assert await answering.answer(first) is None
    assert [message for _, message in b.handled] == [b"first"]
    assert b.dropped == {"wrong_tag": 2}


async def test_a_message_sent_back_is_none() -> None:
    a, b = two()
    asking, answering = await opened(a, b)
    own = await asking.sealed(b"own")
    assert await answering.answer(own)
    with pytest.raises(TransportError, match="wrong_tag"):
        await asking.opened(own)


async def test_a_recorded_connection_gets_a_response_and_nothing_is_handled() -> None:
    a, b = two()
    b.members.add(a.local.static.public)
    asking, answering = a.ask(b), b.streams.on_connection(HERE)
    initiation = asking.first()
    asking.on_first(await answering.answer(initiation) or b"")
    recorded = await asking.sealed(b"question")
    assert await answering.answer(recorded)
    replayed = b.streams.on_connection(HERE)
    assert await replayed.answer(initiation)
    assert not replayed.is_member
    assert await replayed.answer(recorded) is None
    assert (len(b.handled), replayed.peer) == (1, b"")
    # Nor does anything come of a further one of either.
    again = b.streams.on_connection(HERE)
    assert await again.answer(initiation)
    assert await again.answer(initiation) is None
    assert len(b.handled) == 1


def crafted(plaintexts: list[bytes]) -> bytes:
    """Records that no honest side makes."""
    cipher = CipherState(ToySuite(), b"k" * 32)
    return b"".join(cipher.encrypt_with_ad(b"", plaintext) for plaintext in plaintexts)


@pytest.mark.parametrize(
    ("plaintexts", "opens"),
    [
        ([b"\0\0\0\x02xy"], True),  # the one way
        ([b"\0\0\0\0"], False),  # of no message at all
        ([b"\0\0\0\x03xy"], False),
        ([b"\0\0\0\x01xy"], False),
        ([b"\0\0"], False),
        ([FULL.to_bytes(4, "big") + bytes(FULL)], True),
        ([FULL.to_bytes(4, "big") + bytes(FULL), b""], False),
        ([(FULL + 2).to_bytes(4, "big") + bytes(FULL), b"xy"], True),
        ([(FULL + 2).to_bytes(4, "big") + bytes(FULL), b"x"], False),
        ([(FULL + 2).to_bytes(4, "big") + bytes(FULL), b"xyz"], False),
    ],
)
def test_a_message_has_one_way_to_be_cut_into_records(plaintexts: list[bytes], opens: bool) -> None:
    cipher, body = CipherState(ToySuite(), b"k" * 32), crafted(plaintexts)
    if opens:
        assert open_untrusted(cipher, body)
    else:
        with pytest.raises(MalformedPacket, match="wrong_length"):
            open_untrusted(cipher, body)


@given(st.binary(max_size=300), st.integers(0, 2))
def test_arbitrary_bytes_are_answered_by_nothing_and_make_no_other_error(garbage: bytes, stage: int) -> None:
    async def main() -> None:
        a, b = two()
        if stage == 0:
            assert await b.streams.on_connection(HERE).answer(garbage) is None
        asking, answering = await opened(a, b)
        if stage == 1:
            assert await answering.answer(garbage) is None
        elif stage == 2:
            with pytest.raises(TransportError):
                await asking.opened(garbage)
        assert not b.handled

    trio.run(main)


# The handshake by hand, and what is refused in it --------------------------------------------------------------------


def by_hand(payload: bytes) -> bytes:
    """An initiation to b as the page describes it."""
    a, b = local("a"), local("b")
    prologue = b"camomile stream 1\0" + OPEN.network_id
    noise = HandshakeState.initiator(a.suite, prologue=prologue, s=a.static.key, psk=OPEN.psk, rs=b.static.public)
    message = noise.write_message_1(a.ephemeral(), payload)
    return message + OPEN.mac1(b.static.public, 27, message)


async def test_nothing_may_follow_what_a_side_tells_of_itself() -> None:
    _, b = two()
    about = local("a").about(WALL_MS).encode()
    assert await b.streams.on_connection(HERE).answer(by_hand(about))
    assert await b.streams.on_connection(HERE).answer(by_hand(about + bytes(6))) is None
    assert b.dropped == {"wrong_length": 1}


async def test_a_node_of_another_network_or_key_is_told_apart_by_a_hash_alone() -> None:
    a, b, c = Side.of(local("a", keys=(OTHER,))), Side.of(local("b")), Side.of(local("c"))
    for asking in (a.ask(b), Side.of(local("a")).ask(c)):
        assert await b.streams.on_connection(HERE).answer(asking.first()) is None
    assert b.dropped == {"wrong_mac1": 2}
    assert not b.asked_to_afford
    # While keys are changed, two are accepted.
    both = Side.of(local("b", keys=(OPEN, OTHER)))
    assert await both.streams.on_connection(HERE).answer(a.ask(both).first())
    assert both.asked_to_afford == [HERE]


async def test_a_handshake_that_cannot_be_afforded_costs_a_hash() -> None:
    a, b = two()
    b.affords = False
    assert await b.streams.on_connection(HERE).answer(a.ask(b).first()) is None
    assert b.dropped == {"over_budget": 1}


async def test_a_node_has_no_connection_with_itself() -> None:
    _, b = two()
    assert await b.streams.on_connection(HERE).answer(b.ask(b).first()) is None
    assert b.dropped == {"own_key": 1}


async def test_a_peer_of_another_version_is_refused_by_either_end() -> None:
    a, b = two()
    a.local.version = 3
    assert await b.streams.on_connection(HERE).answer(a.ask(b).first()) is None
    assert b.dropped == {"other_version": 1}
    asking = a.ask(b)
    a.local.version = 2
    response = await b.streams.on_connection(HERE).answer(asking.first())
    assert response
    a.local.version = 3
    with pytest.raises(TransportError, match="speaks version 2 of the protocol, not 3"):
        asking.on_first(response)


async def test_very_large_messages_are_sealed_and_opened_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    in_threads = 0

    async def run_sync(call: Callable[[], object]) -> object:
        nonlocal in_threads
        in_threads += 1
        return call()

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)
    a, b = two()
    asking, answering = await opened(a, b)
    for size, threads in ((MAX_MESSAGE, 0), (VERY_LARGE + 1, 4)):
        answer = await answering.answer(await asking.sealed(bytes(size)))
        assert answer
        assert len(await asking.opened(answer)) == size
        assert in_threads == threads


@pytest.mark.parametrize("wrong", [0, LARGEST_MESSAGE + 1])
def test_a_bound_of_messages_that_makes_no_sense_is_refused(wrong: int) -> None:
    with pytest.raises(ValueError, match="max_message"):
        Side.of(local("a"), max_message=wrong)


# Over a network ------------------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class Node(Side):
    """One node on the simulated network."""

    contact: Contact = attrs.field(init=False)

    def on_datagram(self, datagram_untrusted: bytes, source: Endpoint) -> None:
        raise AssertionError

    def on_connection(self, source: Endpoint) -> Answering:
        return self.streams.on_connection(source)

    async def exchange(self, other: Node | Contact, message: bytes) -> bytes:
        return await self.streams.exchange(other.contact if isinstance(other, Node) else other, message)


@contextlib.asynccontextmanager
async def nodes(*names: str, keys: tuple[NetworkKey, ...] = (OPEN,)) -> AsyncIterator[list[Node]]:
    network = MemoryNetwork(conditions=LinkConditions(latency=0.5))
    made: list[Node] = []
    async with contextlib.AsyncExitStack() as stack, trio.open_nursery() as nursery:
        await nursery.start(network.run)
        for name in names:
            transport = await stack.enter_async_context(network.open(ANY_PORT))
            node = Node.of(local(name, keys=keys), transport)
            assert isinstance(node, Node)
            node.contact = Contact.of(node.local.static.public, transport.endpoint)
            await nursery.start(transport.serve, node)
            made.append(node)
        yield made
        nursery.cancel_scope.cancel()


async def test_a_first_message_takes_two_round_trips_and_the_next_ones_take_one(autojump_clock: MockClock) -> None:
    async with nodes("a", "b") as [a, b]:
        for size, ends in ((5000, 2.0), (5000, 3.0), (200_000, 4.0)):
            message = random.Random(size).randbytes(size)
            assert await a.exchange(b, message) == message[::-1]
            assert trio.current_time() == pytest.approx(ends)
        contacts = {contact for contact, _ in b.handled}
        assert [contact.public for contact in contacts] == [a.contact.public]
        assert [contact.endpoint.ip for contact in contacts] == [a.contact.endpoint.ip]
        assert [contact.endpoint for contact in contacts] != [a.contact.endpoint]


async def test_another_node_at_the_address_is_not_asked(autojump_clock: MockClock) -> None:
    async with nodes("a", "b", "c") as [a, b, c]:
        await a.exchange(c, b"to c")
        with pytest.raises(TransportError, match="closed"):
            await a.exchange(b.contact._replace(endpoint=c.contact.endpoint), b"to b")
        assert [message for _, message in c.handled] == [b"to c"]
        assert c.dropped == {"wrong_mac1": 1}


async def test_a_key_that_no_node_has_is_not_connected_to(autojump_clock: MockClock) -> None:
    async with nodes("a", "b") as [a, b]:
        for public in (bytes(32), b"", b"\xff" * 32):
            with pytest.raises(TransportError, match="no node can have"):
                await a.exchange(b.contact._replace(public=public), b"question")
        assert a.streams.transport.statistics.streams_out == 0


async def test_messages_are_bounded_in_both_directions(autojump_clock: MockClock) -> None:
    async with nodes("a", "b") as [a, b]:
        assert len(await a.exchange(b, bytes(MAX_MESSAGE))) == MAX_MESSAGE
        with pytest.raises(TransportError, match="without an answer"):
            await a.exchange(b, bytes(MAX_MESSAGE + 1))
        b.answer = lambda message: bytes(MAX_MESSAGE + 1)
        with pytest.raises(TransportError, match="longer"):
            await a.exchange(b, b"question")


async def test_a_connection_under_a_key_that_is_no_longer_first_is_not_used_again(autojump_clock: MockClock) -> None:
    async with nodes("a", "b", keys=(OPEN, OTHER)) as [a, b]:
        await a.exchange(b, b"before")
        a.local.network_keys = (OTHER, OPEN)
        a.streams.end_other_keys()
        await a.exchange(b, b"after")
        await a.exchange(b, b"and again")
        assert a.streams.transport.statistics.streams_out == 2
        assert a.streams.transport.statistics.stream_connections == 2


@pytest.mark.parametrize("changing", [0, 1])
async def test_connections_under_a_key_that_was_removed_end_at_either_side(
    autojump_clock: MockClock, changing: int
) -> None:
    async with nodes("a", "b", keys=(OPEN, OTHER)) as both:
        a, b = both
        await a.exchange(b, b"before")
        for node in both:
            node.streams.end_other_keys()
            assert node.streams.transport.statistics.stream_connections == 1
        both[changing].local.network_keys = (OTHER,)
        both[changing].streams.end_other_keys()
        for node in both:
            assert node.streams.transport.statistics.stream_connections == 0
        if changing:
            with pytest.raises(TransportError):
                await a.exchange(b, b"under the removed key")
            assert b.dropped == {"wrong_mac1": 1}
        else:
            assert await a.exchange(b, b"after")


async def test_an_exchange_under_a_key_that_is_removed_meanwhile_fails(autojump_clock: MockClock) -> None:
    async with nodes("a", "b", keys=(OPEN, OTHER)) as [a, b]:

        async def ask() -> None:
            with pytest.raises(TransportError):
                await a.exchange(b, b"question")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(1.2)
            a.local.network_keys = (OTHER,)
            a.streams.end_other_keys()
            assert a.streams.transport.statistics.stream_connections == 0
        assert trio.current_time() == pytest.approx(1.2)
