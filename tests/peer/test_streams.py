"""Sealed streams: what comes through, in whatever pieces; what ends a connection; and what each costs before it does.

Rules of this file: `StreamConnection` by bytes alone, `SealedStream` over Trio's streams in memory.
"""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Callable

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from camomile_trio.errors import MalformedPacket, TransportError
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import NodeId
from camomile_trio.peer.decisions import NotForUs
from camomile_trio.peer.handshake import NetworkKey
from camomile_trio.peer.local import Local, StaticKey
from camomile_trio.peer.noise import HandshakeState
from camomile_trio.peer.streams import (
    LENGTH_BYTES,
    MOST_RECORD,
    Established,
    Received,
    SealedStream,
    StreamConnection,
)
from camomile_trio.peer.suite import TAG_BYTES, CipherSuite, NaclSuite
from camomile_trio.simulation.suite import ToySuite
from tests.peer.nodes import NETWORK, OPEN

WALL_MS = 1_700_000_000_000
MAX_MESSAGE = 300_000
FULL = MOST_RECORD - TAG_BYTES - LENGTH_BYTES  # what fits into the first record of a message


def local(name: str, suite: CipherSuite | None = None, keys: tuple[NetworkKey, ...] = (OPEN,)) -> Local:
    suite = suite or ToySuite()
    static = StaticKey.from_seed(suite, (name.encode() * 32)[:32])
    return Local.start(static, keys, suite, random.Random(name))


def opened(
    suite: CipherSuite | None = None, *, max_message: int = MAX_MESSAGE
) -> tuple[StreamConnection, StreamConnection]:
    """A's side, which began, and b's, which has not been confirmed yet."""
    a, b = local("a", suite), local("b", suite)
    initiator, first = StreamConnection.initiate(a, b.static.public, WALL_MS, max_message=max_message)
    responder = StreamConnection.respond(b, max_message=max_message)
    events, response = responder.receive(first, WALL_MS)
    assert not events  # it may be a replay
    initiator.receive(response, WALL_MS)
    return initiator, responder


def sealed(connection: StreamConnection, message: bytes) -> bytes:
    return b"".join(connection.records(message))


def received(connection: StreamConnection, data: bytes) -> list[bytes]:
    events, to_send = connection.receive(data, WALL_MS)
    assert not to_send
    return [event.message for event in events if isinstance(event, Received)]


def in_pieces(connection: StreamConnection, data: bytes, pieces: list[int]) -> bytes:
    """What is to be sent when the data has come so, the pieces over and over again."""
    to_send, position = b"", 0
    for piece in itertools.cycle(pieces):
        if position >= len(data):
            return to_send
        to_send += connection.receive(data[position : position + piece], WALL_MS)[1]
        position += piece
    return to_send


# The ordinary case ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", [NaclSuite(), ToySuite()], ids=["nacl", "toy"])
def test_both_sides_prove_themselves_and_exchange_messages(suite: CipherSuite) -> None:
    a, b = local("a", suite), local("b", suite)
    a.advertised = Endpoint.parse("198.18.9.9:1")
    initiator, first = StreamConnection.initiate(a, b.static.public, WALL_MS, max_message=MAX_MESSAGE)
    responder = StreamConnection.respond(b, max_message=MAX_MESSAGE)
    events, response = responder.receive(first, WALL_MS)
    assert events == []
    events, to_send = initiator.receive(response, WALL_MS)
    assert events == [Established(b.static.public, node_id_of(b.static.public), b.about(WALL_MS))]
    assert not to_send
    events, _ = responder.receive(sealed(initiator, b"question"), WALL_MS)
    assert events == [
        Established(a.static.public, node_id_of(a.static.public), a.about(WALL_MS)),
        Received(b"question"),
    ]
    assert received(initiator, sealed(responder, b"answer")) == [b"answer"]
    assert received(responder, sealed(initiator, b"more")) == [b"more"]
    for side in (initiator, responder):
        side.on_end()


@pytest.mark.parametrize("size", [1, FULL - 1, FULL, FULL + 1, FULL + MOST_RECORD - TAG_BYTES, MAX_MESSAGE])
def test_a_message_travels_in_full_records(size: int) -> None:
    initiator, responder = opened()
    message = random.Random(size).randbytes(size)
    records = list(initiator.records(message))
    assert all(len(record) == LENGTH_BYTES + MOST_RECORD for record in records[:-1])
    assert len(records[-1]) <= LENGTH_BYTES + MOST_RECORD
    assert received(responder, b"".join(records)) == [message]


@given(
    st.lists(st.integers(1, 2 * MOST_RECORD), min_size=1, max_size=4),
    st.lists(st.integers(1, MOST_RECORD + 50), min_size=1, max_size=10),
)
def test_messages_come_whole_and_in_order_in_whatever_pieces(sizes: list[int], pieces: list[int]) -> None:
    initiator, responder = opened()
    messages = [random.Random(size).randbytes(size) for size in sizes]
    data = b"".join(sealed(initiator, message) for message in messages)
    came, position, count = [], 0, 0
    while position < len(data):
        piece = pieces[count % len(pieces)]
        came += received(responder, data[position : position + piece])
        position, count = position + piece, count + 1
    assert came == messages


@given(st.lists(st.integers(1, 200), min_size=1, max_size=10))
def test_a_handshake_may_come_in_pieces(pieces: list[int]) -> None:
    a, b = local("a"), local("b")
    initiator, first = StreamConnection.initiate(a, b.static.public, WALL_MS, max_message=9)
    responder = StreamConnection.respond(b, max_message=9)
    response = in_pieces(responder, first, pieces)
    assert in_pieces(initiator, response, pieces) == b""
    assert initiator.is_open
    assert received(responder, sealed(initiator, b"x")) == [b"x"]


# What ends a connection ----------------------------------------------------------------------------------------------


def ends(connection: StreamConnection, data: bytes) -> str:
    """Why it ends with these bytes. It stays so."""
    with pytest.raises((MalformedPacket, NotForUs)) as caught:
        connection.receive(data, WALL_MS)
    assert not connection.is_open
    with pytest.raises(MalformedPacket, match="ended"):
        connection.receive(b"", WALL_MS)
    with pytest.raises(ValueError, match="not open"):
        sealed(connection, b"after")
    assert isinstance(caught.value, MalformedPacket | NotForUs)
    return caught.value.reason


def flips(data: bytes) -> list[bytes]:
    """The data with each of its bits changed."""
    changed = []
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        changed.append(bytes(flipped))
    return changed


def refused_or_cut_off(connection: StreamConnection, data: bytes) -> bool:
    """Whether nothing comes of these bytes, followed by the end of the stream."""
    try:
        events, to_send = connection.receive(data, WALL_MS)
        assert not events
        assert not to_send
        connection.on_end()
    except (MalformedPacket, NotForUs):
        return True
    return False


def test_nothing_comes_of_a_handshake_with_any_bit_changed() -> None:
    a, b = local("a"), local("b")
    initiator, first = StreamConnection.initiate(a, b.static.public, WALL_MS, max_message=9)
    for changed in flips(first):
        assert refused_or_cut_off(StreamConnection.respond(b, max_message=9), changed)
    _, response = StreamConnection.respond(b, max_message=9).receive(first, WALL_MS)
    for changed in flips(response):
        assert refused_or_cut_off(copy.deepcopy(initiator), changed)
    assert initiator.receive(response, WALL_MS)[0]


def test_nothing_comes_of_records_with_any_bit_changed() -> None:
    data = sealed(opened()[0], b"a message")
    for changed in flips(data):
        assert refused_or_cut_off(opened()[1], changed)
    # The same bytes, unchanged, are good: `opened` is the same each time.
    assert received(opened()[1], data) == [b"a message"]


def test_records_out_of_order_or_twice_end_it() -> None:
    initiator, responder = opened()
    first, second = sealed(initiator, b"first"), sealed(initiator, b"second")
    assert ends(responder, second + first) == "wrong_tag"
    initiator, responder = opened()
    first = sealed(initiator, b"first")
    assert received(responder, first) == [b"first"]
    assert ends(responder, first) == "wrong_tag"


def test_a_record_sent_back_ends_it() -> None:
    initiator, responder = opened()
    own = sealed(initiator, b"own")
    received(responder, own)
    assert ends(initiator, own) == "wrong_tag"


def test_a_stream_that_ends_within_a_message_is_no_message() -> None:
    data = sealed(opened()[0], bytes(2 * MOST_RECORD))
    record = LENGTH_BYTES + MOST_RECORD
    for cut in (1, LENGTH_BYTES, 100, record - 1, record, record + 1, 2 * record, len(data) - 1):
        responder = opened()[1]
        assert received(responder, data[:cut]) == []
        with pytest.raises(MalformedPacket, match="cut_off"):
            responder.on_end()
        assert not responder.is_open


def test_a_stream_that_ends_in_its_handshake_was_none() -> None:
    a, b = local("a"), local("b")
    initiator, _ = StreamConnection.initiate(a, b.static.public, WALL_MS, max_message=9)
    for side in (initiator, StreamConnection.respond(b, max_message=9), opened()[1]):
        with pytest.raises(MalformedPacket, match="cut_off"):
            side.on_end()


def test_a_recorded_stream_is_answered_and_never_handled() -> None:
    a, b = local("a"), local("b")
    initiator, first = StreamConnection.initiate(a, b.static.public, WALL_MS, max_message=9)
    responder = StreamConnection.respond(b, max_message=9)
    initiator.receive(responder.receive(first, WALL_MS)[1], WALL_MS)
    recorded = sealed(initiator, b"question")
    assert received(responder, recorded) == [b"question"]
    replayed = StreamConnection.respond(b, max_message=9)
    events, response = replayed.receive(first, WALL_MS)
    assert not events
    assert response
    assert ends(replayed, recorded) == "wrong_tag"


def test_a_responder_seals_nothing_before_the_initiator_has_confirmed() -> None:
    _, responder = opened()
    with pytest.raises(ValueError, match="not open"):
        sealed(responder, b"too early")


@pytest.mark.parametrize("length", [0, 1, TAG_BYTES, LENGTH_BYTES + TAG_BYTES, MOST_RECORD + 1, 2**31, 2**32 - 1])
def test_a_length_that_no_record_has_ends_it_before_the_record_comes(length: int) -> None:
    assert ends(opened()[1], length.to_bytes(4, "big")) == "wrong_length"


@pytest.mark.parametrize("length", [0, 1, 130, 132, 150, MOST_RECORD, 2**32 - 1])
def test_a_length_that_no_handshake_has_ends_it_at_once(length: int) -> None:
    a, b = local("a"), local("b")
    for side in (
        StreamConnection.respond(b, max_message=9),
        StreamConnection.initiate(a, b.static.public, WALL_MS, max_message=9)[0],
    ):
        assert ends(side, length.to_bytes(4, "big")) == "wrong_length"


def test_a_message_that_is_announced_too_long_ends_it_with_its_first_record() -> None:
    initiator, responder = opened(max_message=100)
    assert received(responder, sealed(initiator, bytes(100))) == [bytes(100)]
    first = next(initiator.records(bytes(100_000)))
    assert ends(responder, first) == "too_long"


def by_hand(payload: bytes) -> tuple[HandshakeState, bytes]:
    """A handshake with b as the page describes it, and its first bytes."""
    a, b = local("a"), local("b")
    noise = HandshakeState.initiator(
        a.suite,
        prologue=b"camomile stream 1\0" + OPEN.network_id,
        s=a.static.key,
        psk=OPEN.psk,
        rs=b.static.public,
    )
    message = noise.write_message_1(a.ephemeral(), payload)
    return noise, framed(message + OPEN.mac1(b.static.public, 27, message))


def crafted(plaintexts: list[bytes]) -> tuple[bytes, StreamConnection]:
    """Records that no honest side makes, and the side that receives them."""
    noise, first = by_hand(local("a").about(WALL_MS).encode())
    responder = StreamConnection.respond(local("b"), max_message=MAX_MESSAGE)
    _, response = responder.receive(first, WALL_MS)
    noise.read_message_2(response[LENGTH_BYTES:])
    cipher, _ = noise.symmetric.split()
    return b"".join(framed(cipher.encrypt_with_ad(b"", plaintext)) for plaintext in plaintexts), responder


def test_nothing_may_follow_what_a_side_tells_of_itself() -> None:
    about = local("a").about(WALL_MS).encode()
    _, first = by_hand(about + bytes(6))  # as long as if an endpoint was advertised
    assert ends(StreamConnection.respond(local("b"), max_message=9), first) == "wrong_length"


def framed(record: bytes) -> bytes:
    return len(record).to_bytes(LENGTH_BYTES, "big") + record


@pytest.mark.parametrize(
    ("plaintexts", "reason"),
    [
        ([b"\0\0\0\x02xy"], ""),  # the one way
        ([b"\0\0\0\0x"], "too_long"),  # of no message at all
        ([b"\0\0\0\x02x"], "wrong_length"),  # not full, and not the last
        ([b"\0\0\0\x01xy"], "wrong_length"),  # more than there is
        ([(FULL + 2).to_bytes(4, "big") + bytes(FULL), b"x"], "wrong_length"),
        ([(FULL + 2).to_bytes(4, "big") + bytes(FULL), b"xyz"], "wrong_length"),
    ],
)
def test_a_message_has_one_way_to_be_cut_into_records(plaintexts: list[bytes], reason: str) -> None:
    data, responder = crafted(plaintexts)
    if reason:
        assert ends(responder, data) == reason
    else:
        assert received(responder, data) == [b"xy"]


def test_nothing_else_than_a_message_can_be_sent() -> None:
    initiator, _ = opened()
    with pytest.raises(ValueError, match="1 to"):
        sealed(initiator, b"")


def test_a_node_of_another_network_or_key_is_told_apart_by_a_hash_alone() -> None:
    other = NetworkKey.of(b"k" * 32, NETWORK)
    a, b, c = local("a", keys=(other,)), local("b"), local("c")
    budget: list[str] = []

    def afford() -> bool:
        budget.append("asked")
        return True

    for initiator, key in ((a, b.static.public), (local("a"), c.static.public)):
        _, first = StreamConnection.initiate(initiator, key, WALL_MS, max_message=9)
        assert ends(StreamConnection.respond(b, max_message=9, afford=afford), first) == "wrong_mac1"
    assert not budget
    # While keys are changed, two are accepted.
    both = local("b", keys=(OPEN, other))
    _, first = StreamConnection.initiate(a, both.static.public, WALL_MS, max_message=9)
    _, response = StreamConnection.respond(both, max_message=9, afford=afford).receive(first, WALL_MS)
    assert response
    assert budget == ["asked"]


def test_a_handshake_that_cannot_be_afforded_costs_a_hash() -> None:
    a, b = local("a"), local("b")
    _, first = StreamConnection.initiate(a, b.static.public, WALL_MS, max_message=9)
    assert ends(StreamConnection.respond(b, max_message=9, afford=lambda: False), first) == "over_budget"


def test_a_node_has_no_stream_with_itself_nor_with_a_key_that_no_node_has() -> None:
    a = local("a")
    _, first = StreamConnection.initiate(a, a.static.public, WALL_MS, max_message=9)
    assert ends(StreamConnection.respond(a, max_message=9), first) == "own_key"
    with pytest.raises(MalformedPacket):
        StreamConnection.initiate(a, bytes(32), WALL_MS, max_message=9)


@given(st.binary(max_size=300), st.booleans(), st.integers(0, 3))
def test_arbitrary_bytes_make_no_event_and_no_other_error(garbage: bytes, has_length: bool, stage: int) -> None:
    a, b = local("a"), local("b")
    data = len(garbage).to_bytes(4, "big") + garbage if has_length else garbage
    side = (
        StreamConnection.respond(b, max_message=9),
        StreamConnection.initiate(a, b.static.public, WALL_MS, max_message=9)[0],
        *opened(),
    )[stage]
    try:
        events, to_send = side.receive(data, WALL_MS)
    except (MalformedPacket, NotForUs):
        return
    assert not events
    assert not to_send


# Over a stream of Trio -----------------------------------------------------------------------------------------------


def wall_ms() -> int:
    return WALL_MS


def accepted(stream: trio.abc.Stream, local: Local) -> SealedStream:
    return SealedStream(stream, StreamConnection.respond(local, max_message=MAX_MESSAGE), wall_ms)


async def serve(stream: trio.abc.Stream, local: Local, answer: Callable[[bytes], bytes]) -> None:
    """Answers each message until the peer ends the stream."""
    server = accepted(stream, local)
    async with stream:
        while (message := await server.receive()) is not None:
            await server.send(answer(message))


async def test_messages_go_both_ways_over_a_stream() -> None:
    a, b = local("a"), local("b")
    one, other = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, other, b, lambda message: message[::-1])
        async with one:
            client = await SealedStream.connect(one, a, b.static.public, wall_ms, max_message=MAX_MESSAGE)
            assert client.peer == Established(b.static.public, b.static.node_id, b.about(WALL_MS))
            for size in (1, 5000, 200_000):
                message = random.Random(size).randbytes(size)
                await client.send(message)
                assert await client.receive() == message[::-1]


async def test_several_messages_that_come_at_once_are_given_one_by_one() -> None:
    a, b = local("a"), local("b")
    one, other = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        server = accepted(other, b)
        nursery.start_soon(server.wait)
        client = await SealedStream.connect(one, a, b.static.public, wall_ms, max_message=9)
        for message in (b"1", b"2", b"3"):
            await client.send(message)
        assert [await server.receive() for _ in range(3)] == [b"1", b"2", b"3"]
        assert server.peer is not None
        assert server.peer.peer == a.static.public
        await client.send(b"4")
        assert await server.wait()
        assert await server.wait()  # it is here: nothing is waited for
        assert await server.receive() == b"4"
        await one.aclose()
        assert await server.receive() is None


async def test_another_node_at_the_other_end_is_no_peer() -> None:
    a, b, c = local("a"), local("b"), local("c")
    one, other = trio.testing.memory_stream_pair()

    async def answer() -> None:
        with pytest.raises(TransportError, match="wrong_mac1"):
            await accepted(other, c).receive()
        await other.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        with pytest.raises(TransportError, match="cut_off"):
            await SealedStream.connect(one, a, b.static.public, wall_ms, max_message=9)


async def test_a_key_that_no_node_has_is_not_connected_to() -> None:
    one, _ = trio.testing.memory_stream_pair()
    with pytest.raises(TransportError, match="low_order"):
        await SealedStream.connect(one, local("a"), bytes(32), wall_ms, max_message=9)


async def test_a_stream_that_breaks_is_an_error_of_the_transport() -> None:
    a, b = local("a"), local("b")
    one, other = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        server = accepted(other, b)
        nursery.start_soon(server.wait)
        client = await SealedStream.connect(one, a, b.static.public, wall_ms, max_message=9)
    await other.aclose()
    with pytest.raises(TransportError, match="broke"):
        await client.send(b"x")
    await one.aclose()
    with pytest.raises(TransportError, match="broke"):
        await client.receive()


async def test_a_send_that_was_cancelled_is_the_last() -> None:
    """Half of a message may have left: what came after it would be taken for its rest."""
    a, b = local("a"), local("b")
    one, other = trio.testing.memory_stream_one_way_pair()
    back, forth = trio.testing.memory_stream_one_way_pair()
    client_end, server_end = trio.StapledStream(one, forth), trio.StapledStream(back, other)
    async with trio.open_nursery() as nursery:
        server = accepted(server_end, b)
        nursery.start_soon(server.wait)
        client = await SealedStream.connect(client_end, a, b.static.public, wall_ms, max_message=9)
    blocked = trio.Event()

    async def block() -> None:
        blocked.set()
        await trio.sleep_forever()

    one.send_all_hook = block
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            await client.send(bytes(MAX_MESSAGE))

        nursery.start_soon(send)
        await blocked.wait()
        nursery.cancel_scope.cancel()
    one.send_all_hook = None
    with pytest.raises(TransportError, match="not open"):
        await client.send(b"x")
