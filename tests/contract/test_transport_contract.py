"""What every transport must do, the simulated one as well as the real one."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator

import pytest
import trio

from camomile_trio.errors import TransportError
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.transport.base import MAX_DATAGRAM, Transport
from tests.transport.peers import WELCOME, Caller, Recorder, World, echo, forever, open_world

MIB = 2**20


@pytest.fixture(params=["memory", pytest.param("udp", marks=pytest.mark.real_time)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with open_world(request.param) as opened:
        yield opened


async def test_a_datagram_arrives_as_it_was_sent_and_tells_where_it_came_from(world: World) -> None:
    alice, bob = await world.join(), await world.join()
    assert alice.endpoint.port != 0
    assert alice.endpoint != bob.endpoint
    assert alice.send(b"are you there", bob)
    await bob.inbound.until(datagrams=1)
    assert bob.inbound.datagrams == [(b"are you there", alice.endpoint)]


async def test_the_source_of_a_datagram_is_where_an_answer_goes(world: World) -> None:
    bob = await world.join()
    bob.inbound.react = lambda datagram, source: bob.transport.send(b"yes to " + datagram, source)
    alice = await world.join()
    alice.send(b"1", bob)
    await alice.inbound.until(datagrams=1)
    assert alice.inbound.datagrams == [(b"yes to 1", bob.endpoint)]


async def test_a_node_can_send_to_itself(world: World) -> None:
    alice = await world.join()
    assert alice.send(b"note to self", alice)
    await alice.inbound.until(datagrams=1)
    assert alice.inbound.datagrams == [(b"note to self", alice.endpoint)]


async def test_sending_never_delivers_at_once_and_keeps_the_order_on_an_even_link(world: World) -> None:
    alice, bob = await world.join(), await world.join()
    sent = [bytes([number]) for number in range(50)]
    for datagram in sent:
        alice.send(datagram, bob)
    assert bob.inbound.datagrams == []
    await bob.inbound.until(datagrams=50)
    assert bob.inbound.payloads == sent


async def test_a_burst_longer_than_a_turn_arrives_whole(world: World) -> None:
    alice, bob = await world.join(), await world.join()
    for number in range(600):
        assert alice.send(number.to_bytes(2, "big"), bob)
    await bob.inbound.until(datagrams=600)
    assert len(set(bob.inbound.payloads)) == 600


@pytest.mark.parametrize("size", [0, 1, 1232, MAX_DATAGRAM])
async def test_datagrams_of_any_size_that_udp_allows_arrive_whole(world: World, size: int) -> None:
    alice, bob = await world.join(), await world.join()
    datagram = bytes(number % 251 for number in range(size))
    assert alice.send(datagram, bob)
    await bob.inbound.until(datagrams=1)
    assert bob.inbound.payloads == [datagram]


async def test_a_datagram_that_is_too_large_is_dropped_and_counted(world: World) -> None:
    alice, bob = await world.join(), await world.join()
    assert not alice.send(bytes(MAX_DATAGRAM + 1), bob)
    assert alice.transport.statistics.send_errors == 1
    assert alice.transport.statistics.dropped_out == 1
    assert alice.transport.statistics.datagrams_out == 0
    assert alice.send(b"the next one goes", bob)
    await bob.inbound.until(datagrams=1)
    assert bob.inbound.payloads == [b"the next one goes"]


async def test_sending_to_nobody_does_no_harm(world: World) -> None:
    alice, bob = await world.join(), await world.join()
    nobody = Endpoint.parse("127.0.0.1:1")
    for _ in range(3):
        assert alice.transport.send(b"hello?", nobody)
    alice.send(b"still here", bob)
    await bob.inbound.until(datagrams=1)
    bob.send(b"so am I", alice)
    await alice.inbound.until(datagrams=1)
    assert alice.inbound.payloads == [b"so am I"]


async def test_a_flood_leaves_the_other_tasks_their_turn(world: World) -> None:
    alice = await world.join()
    alice.inbound.react = lambda datagram, source: alice.transport.send(datagram, source)
    for _ in range(100):
        alice.send(b"round and round", alice)
    await alice.inbound.until(datagrams=2000)
    alice.inbound.react = None


async def test_a_large_message_goes_over_a_stream_and_its_answer_comes_back(world: World) -> None:
    alice, bob = await world.join(), await world.join()
    message = bytes(range(256)) * 4096
    assert len(message) == MIB
    assert await alice.exchange(message, bob) == message
    [(received, source)] = bob.inbound.messages
    assert received == message
    assert source.ip == alice.endpoint.ip
    assert source.port != alice.endpoint.port


@pytest.mark.parametrize(("longest", "fits"), [(1000, True), (999, False)])
async def test_an_answer_is_at_most_as_long_as_its_caller_takes(world: World, longest: int, fits: bool) -> None:
    alice, bob = await world.join(), await world.join()
    caller = functools.partial(Caller, most_bytes=longest)
    if fits:
        assert await alice.exchange(bytes(1000), bob, caller=caller) == bytes(1000)
    else:
        with pytest.raises(TransportError, match="1000 bytes"):
            await alice.exchange(bytes(1000), bob, caller=caller)
        assert await alice.exchange(b"small", bob, caller=caller) == b"small"


async def test_a_peer_that_does_not_want_to_answer_closes_the_stream(world: World) -> None:
    async def refuse(message: bytes) -> bytes | None:
        return None if message == b"nonsense" else message

    alice, bob = await world.join(), await world.join(Recorder(answer=refuse))
    with pytest.raises(TransportError, match="without an answer"):
        await alice.exchange(b"nonsense", bob)
    assert await alice.exchange(b"sense", bob) == b"sense"


async def test_nobody_listens_where_nobody_is(world: World) -> None:
    alice = await world.join()
    with pytest.raises(TransportError, match=r"127\.0\.0\.1:1\b"):
        await alice.exchange(b"hello?", Endpoint.parse("127.0.0.1:1"))


async def test_a_peer_that_stops_serving_ends_the_streams_that_it_answers(world: World) -> None:
    alice, bob = await world.join(), await world.join(Recorder(answer=forever))
    failures: list[str] = []

    async def ask() -> None:
        with pytest.raises(TransportError) as raised:
            await alice.exchange(b"never answered", bob)
        failures.append(str(raised.value))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await bob.inbound.until(messages=1)
        bob.serving.cancel()
    assert len(failures) == 1
    assert str(bob.endpoint) in failures[0]
    assert bob.transport.statistics.stream_connections == 0


async def test_many_exchanges_at_once_each_get_their_own_answer(world: World) -> None:
    alice, bob = await world.join(), await world.join()
    answers: dict[int, bytes] = {}

    async def ask(number: int) -> None:
        answers[number] = await alice.exchange(b"question %d" % number, bob)

    async with trio.open_nursery() as nursery:
        for number in range(30):
            nursery.start_soon(ask, number)
    assert answers == {number: b"question %d" % number for number in range(30)}


async def test_a_connection_is_begun_once_and_used_again_with_the_same_peer_only(world: World) -> None:
    alice, bob = await world.join(), await world.join()
    for name in (b"carol", b"carol", b"dave", b"carol"):
        assert await alice.exchange(b"hello", bob, peer=name, caller=functools.partial(Caller, name)) == b"hello"
    assert [conversation.name for conversation in bob.inbound.conversations] == [b"carol", b"dave"]
    assert alice.transport.statistics.streams_out == bob.transport.statistics.streams_in == 2
    assert alice.transport.statistics.stream_connections == 2


async def test_a_peer_that_answers_the_first_message_with_something_else_is_not_asked(world: World) -> None:
    alice, bob = await world.join(), await world.join()

    class Stranger(Caller):
        def first(self) -> bytes:
            return b"no greeting"

    with pytest.raises(TransportError, match="not welcome"):
        await alice.exchange(b"a secret", bob, caller=Stranger)
    assert [message for message, _source in bob.inbound.messages] == [b"no greeting"]
    assert alice.transport.statistics.stream_connections == 0


async def test_connections_that_are_over_are_closed_at_either_end_in_use_or_not(world: World) -> None:
    alice, bob, carol = await world.join(), await world.join(), await world.join(Recorder(answer=forever))
    callers: list[Caller] = []

    def caller() -> Caller:
        callers.append(Caller())
        return callers[-1]

    for _ in range(2):
        await alice.exchange(b"hello", bob, caller=caller)
    assert len(callers) == 1
    alice.transport.close_ended()
    assert alice.transport.statistics.stream_connections == 1
    callers[0].is_over = True
    alice.transport.close_ended()
    assert alice.transport.statistics.stream_connections == 0
    await alice.exchange(b"hello", bob, caller=caller)
    assert len(callers) == 2
    bob.inbound.conversations[-1].is_over = True
    bob.transport.close_ended()
    assert bob.transport.statistics.stream_connections == 0
    assert await alice.exchange(b"again", bob, caller=caller) == b"again"

    async def ask() -> None:
        with pytest.raises(TransportError):
            await alice.exchange(b"never answered", carol, caller=caller)

    for number in (1, 2):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await carol.inbound.until(messages=number)
            if number == 1:
                callers[-1].is_over = True
                alice.transport.close_ended()
            else:
                carol.inbound.conversations[-1].is_over = True
                carol.transport.close_ended()
    assert carol.transport.statistics.stream_connections <= 1  # it is busy with the first


async def test_an_exchange_that_was_given_up_leaves_nothing_behind_for_the_next_one(world: World) -> None:
    first = trio.Event()

    async def answer_late(message: bytes) -> bytes | None:
        if message == b"first":
            await first.wait()
        return b"answer to " + message

    alice, bob = await world.join(), await world.join(Recorder(answer=answer_late))
    await alice.exchange(b"before", bob)
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as impatience:
            nursery.start_soon(_cancel_at, bob.inbound, 2, impatience)
            await alice.exchange(b"first", bob)
        assert impatience.cancelled_caught
    first.set()
    assert await alice.exchange(b"second", bob) == b"answer to second"
    assert await alice.exchange(b"third", bob) == b"answer to third"


async def _cancel_at(inbound: Recorder, messages: int, scope: trio.CancelScope) -> None:
    await inbound.until(messages=messages)
    scope.cancel()


async def test_statistics_tell_what_went_each_way(world: World) -> None:
    alice, bob = await world.join(), await world.join(Recorder(answer=echo))
    alice.send(b"12345", bob)
    alice.send(b"678", bob)
    await bob.inbound.until(datagrams=2)
    here, there = alice.transport.statistics, bob.transport.statistics
    assert (here.datagrams_out, here.bytes_out, here.datagrams_in) == (2, 8, 0)
    assert (there.datagrams_in, there.bytes_in, there.datagrams_out) == (2, 8, 0)
    await alice.exchange(b"9" * 100, bob)
    greeting, welcome = len(Caller().first()), len(WELCOME)
    assert (here.streams_out, here.bytes_out, here.bytes_in) == (1, 108 + greeting, 100 + welcome)
    assert (there.streams_in, there.bytes_in, there.bytes_out) == (1, 108 + greeting, 100 + welcome)
    assert here.streams_refused == there.streams_refused == 0


async def test_a_closed_transport_sends_nothing_and_says_so(world: World) -> None:
    alice, bob = await world.join(), await world.join()
    transport: Transport = alice.transport
    await world.leave(alice)
    assert not transport.send(b"too late", bob.endpoint)
    with pytest.raises(TransportError):
        await alice.exchange(b"too late", bob)
    with pytest.raises(TransportError):
        await bob.exchange(b"are you there", alice)


async def test_an_exchange_under_way_fails_when_its_transport_is_closed(world: World) -> None:
    alice, bob = await world.join(), await world.join(Recorder(answer=forever))

    async def ask() -> None:
        with pytest.raises(TransportError):
            await alice.exchange(b"never answered", bob)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await bob.inbound.until(messages=1)
        await world.leave(alice)
    assert alice.transport.statistics.stream_connections == 0


async def test_the_place_of_a_closed_transport_is_free_again(world: World) -> None:
    alice, bob = await world.join(), await world.join()
    with pytest.raises(TransportError, match="in use"):
        await world.join(at=bob.endpoint)
    await world.leave(bob)
    again = await world.join(at=bob.endpoint)
    alice.send(b"back already?", again)
    await again.inbound.until(datagrams=1)
    assert await alice.exchange(b"hello", again) == b"hello"
