"""Streams outbound: connections used again, given up, gone stale. Sockets are real, time is virtual."""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from camomile_trio.errors import TransportError
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.transport import pool
from camomile_trio.transport.stream import StreamLimits, framed
from tests.transport.peers import WELCOME, Caller, Recorder, World, echo, forever, open_world

pytestmark = pytest.mark.real_time


@pytest.fixture
async def world(mock_clock: MockClock) -> AsyncIterator[World]:
    # Only a test that hangs is idle for so long of real time; then its patience ends.
    mock_clock.autojump_threshold = 3.0
    async with open_world("udp", patience=10_000.0) as opened:
        yield opened


@attrs.define
class RawServer:
    """A TCP peer made of plain bytes."""

    endpoint: Endpoint
    accepted: int = 0


async def _raw_server(
    world: World, behave: Callable[[trio.SocketStream, int], Awaitable[None]], *, greets: bool = True
) -> RawServer:
    """`behave` is called with each connection's stream and its number, from 1; if the server `greets`, after that."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    server = RawServer(Endpoint.from_host(*listener.socket.getsockname()[:2]))

    async def accept(stream: trio.SocketStream) -> None:
        server.accepted += 1
        async with stream:
            if greets:
                await stream.receive_some(100)
                await stream.send_all(framed(WELCOME))
            await behave(stream, server.accepted)

    await world.nursery.start(trio.serve_listeners, accept, [listener])
    return server


async def test_a_connection_is_used_again(world: World) -> None:
    alice, bob = await world.join(), await world.join()
    for number in range(5):
        assert await alice.exchange(b"%d" % number, bob) == b"%d" % number
    assert alice.transport.statistics.streams_out == 1
    assert bob.transport.statistics.streams_in == 1


async def test_both_sides_close_a_connection_that_has_been_idle(world: World, mock_clock: MockClock) -> None:
    alice, bob = await world.join(), await world.join()
    await alice.exchange(b"hello", bob)
    mock_clock.jump(20)
    await alice.exchange(b"hello", bob)
    mock_clock.jump(20)
    await wait_all_tasks_blocked(0.005)
    assert alice.transport.statistics.stream_connections == 1
    mock_clock.jump(10)
    await wait_all_tasks_blocked(0.005)
    assert alice.transport.statistics.stream_connections == 0
    assert bob.transport.statistics.stream_connections == 0
    assert await alice.exchange(b"again", bob) == b"again"
    assert alice.transport.statistics.streams_out == 2


async def test_our_side_closes_it_even_if_the_peer_never_does(world: World, mock_clock: MockClock) -> None:
    ended = trio.Event()

    async def answer_once(stream: trio.SocketStream, _number: int) -> None:
        await stream.receive_some(100)
        await stream.send_all(framed(b"ok"))
        assert await stream.receive_some(100) == b""
        ended.set()

    alice, server = await world.join(), await _raw_server(world, answer_once)
    assert await alice.exchange(b"hello", server.endpoint) == b"ok"
    await wait_all_tasks_blocked(0.005)
    mock_clock.jump(30)
    await ended.wait()
    assert alice.transport.statistics.stream_connections == 0


async def test_a_peer_that_started_anew_is_reached_at_once(world: World) -> None:
    alice, bob = await world.join(), await world.join()
    await alice.exchange(b"hello", bob)
    await world.leave(bob)
    again = await world.join(at=bob.endpoint)
    assert await alice.exchange(b"hello again", again) == b"hello again"
    assert again.inbound.messages[0][0] == b"hello again"
    assert len(again.inbound.messages) == 1


async def test_a_kept_connection_that_ends_when_it_is_used_is_replaced_once(world: World) -> None:
    """The peer closes in the moment in which we send: nobody could see it before."""

    async def close_on_second(stream: trio.SocketStream, _number: int) -> None:
        await stream.receive_some(100)
        await stream.send_all(framed(b"ok"))
        await stream.receive_some(100)

    alice, server = await world.join(), await _raw_server(world, close_on_second)
    for _ in range(3):
        assert await alice.exchange(b"hello", server.endpoint) == b"ok"
    assert server.accepted == 3


def _reset(stream: trio.SocketStream) -> None:
    """The stream will end with RST instead of FIN, as with a peer whose machine knows nothing of it any more."""
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


async def test_a_kept_connection_that_is_reset_when_it_is_used_is_replaced(world: World) -> None:
    async def reset_on_second(stream: trio.SocketStream, _number: int) -> None:
        await stream.receive_some(100)
        await stream.send_all(framed(b"ok"))
        await stream.receive_some(100)
        _reset(stream)

    alice, server = await world.join(), await _raw_server(world, reset_on_second)
    for _ in range(3):
        assert await alice.exchange(b"hello", server.endpoint) == b"ok"
    assert server.accepted == 3


async def test_a_peer_that_does_not_answer_at_all_is_given_up(world: World, mock_clock: MockClock) -> None:
    """As behind a firewall that drops what comes by TCP: here the queue of a listener is full, so it drops too."""
    alice = await world.join(limits=StreamLimits(connect=4.0))
    with socket.socket() as listener, contextlib.ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(2):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect(listener.getsockname())
        silent = Endpoint.from_host(*listener.getsockname())
        failures: list[str] = []

        async def ask() -> None:
            with pytest.raises(TransportError) as raised:
                await alice.exchange(b"hello?", silent)
            failures.append(str(raised.value))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            mock_clock.jump(3.9)
            await wait_all_tasks_blocked()
            assert not failures
            mock_clock.jump(0.2)
        assert failures == [f"cannot reach {silent} by TCP: no answer within 4 s"]
    assert alice.transport.statistics.stream_connections == 0


@pytest.mark.parametrize("greets", [True, False])
async def test_a_fresh_connection_that_is_reset_is_an_error(world: World, greets: bool) -> None:
    async def reset(stream: trio.SocketStream, _number: int) -> None:
        await stream.receive_some(100)
        _reset(stream)

    alice, server = await world.join(), await _raw_server(world, reset, greets=greets)
    with pytest.raises(TransportError, match="broke"):
        await alice.exchange(b"hello", server.endpoint)
    assert server.accepted == 1
    assert alice.transport.statistics.stream_connections == 0


async def test_a_connection_that_met_itself_is_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux may give a connection to a free port of its own range that very port to come from."""

    async def unheard(stream: trio.SocketStream, _number: int) -> None:
        assert await stream.receive_some(100) == b""

    alice, server = await world.join(), await _raw_server(world, unheard, greets=False)
    monkeypatch.setattr(pool, "from_sockaddr", lambda _address: server.endpoint)
    with pytest.raises(TransportError, match="nobody listens"):
        await alice.exchange(b"hello", server.endpoint)


async def test_a_peer_that_always_closes_is_not_tried_for_ever(world: World) -> None:
    async def answer_once_in_a_life(stream: trio.SocketStream, number: int) -> None:
        await stream.receive_some(100)
        if number == 1:
            await stream.send_all(framed(b"ok"))
            await stream.receive_some(100)

    alice, server = await world.join(), await _raw_server(world, answer_once_in_a_life)
    assert await alice.exchange(b"hello", server.endpoint) == b"ok"
    with pytest.raises(TransportError, match="without an answer"):
        await alice.exchange(b"hello", server.endpoint)
    assert server.accepted == 2
    assert alice.transport.statistics.stream_connections == 0


@pytest.mark.parametrize("greets", [True, False])
@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"\0\0\0\0", "length of 0 bytes"),
        (b"\0\0\0\x0b", "length of 11 bytes"),
        (b"\xff\xff\xff\xff", "length of 4294967295 bytes"),
        (b"\0\0", "after 2 of 4 bytes"),
        (framed(b"0123456789")[:-1], "after 9 of 10 bytes"),
    ],
)
async def test_an_answer_that_lies_or_ends_early_is_an_error(
    world: World, answer: bytes, complaint: str, greets: bool
) -> None:
    async def lie(stream: trio.SocketStream, _number: int) -> None:
        await stream.receive_some(100)
        await stream.send_all(answer)

    alice, server = await world.join(), await _raw_server(world, lie, greets=greets)
    with pytest.raises(TransportError, match=complaint):
        await alice.exchange(b"hello", server.endpoint, caller=functools.partial(Caller, most_bytes=10))
    assert alice.transport.statistics.stream_connections == 0


async def test_a_peer_that_closes_at_once_is_not_asked_again(world: World) -> None:
    async def close(stream: trio.SocketStream, _number: int) -> None:
        await stream.receive_some(100)

    alice, server = await world.join(), await _raw_server(world, close, greets=False)
    with pytest.raises(TransportError, match="first message"):
        await alice.exchange(b"hello", server.endpoint)
    assert server.accepted == 1
    assert alice.transport.statistics.stream_connections == 0


async def test_a_connection_with_unasked_bytes_is_not_used_again(world: World) -> None:
    async def babble(stream: trio.SocketStream, _number: int) -> None:
        await stream.receive_some(100)
        await stream.send_all(framed(b"ok") + framed(b"and by the way"))
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some(100)

    alice, server = await world.join(), await _raw_server(world, babble)
    for _ in range(2):
        assert await alice.exchange(b"hello", server.endpoint) == b"ok"
        await wait_all_tasks_blocked(0.005)
    assert server.accepted == 2


async def test_an_exchange_given_up_closes_its_connection(world: World) -> None:
    alice, bob = await world.join(), await world.join(Recorder(answer=forever))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alice.exchange, b"never answered", bob)
        await bob.inbound.until(messages=1)
        assert alice.transport.statistics.stream_connections == 1
        nursery.cancel_scope.cancel()
    assert alice.transport.statistics.stream_connections == 0


async def test_more_exchanges_than_a_peer_takes_wait_for_their_turn(world: World) -> None:
    limits = StreamLimits(per_peer=2)
    most = 0

    async def watch(message: bytes) -> bytes | None:
        nonlocal most
        most = max(most, bob.transport.statistics.stream_connections)
        await trio.lowlevel.checkpoint()
        return await echo(message)

    alice, bob = await world.join(limits=limits), await world.join(Recorder(answer=watch), limits=limits)
    async with trio.open_nursery() as nursery:
        for number in range(12):
            nursery.start_soon(alice.exchange, b"%d" % number, bob)
    assert len(bob.inbound.messages) == 12
    assert most == 2
    assert bob.transport.statistics.streams_refused == 0


async def test_exchanges_under_way_are_bounded(world: World) -> None:
    alice = await world.join(limits=StreamLimits(per_peer=1, max_exchanges=2))
    bob = await world.join(Recorder(answer=forever))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alice.exchange, b"1", bob)
        nursery.start_soon(alice.exchange, b"2", bob)
        await bob.inbound.until(messages=1)
        with pytest.raises(TransportError, match="2 exchanges"):
            await alice.exchange(b"3", bob)
        nursery.cancel_scope.cancel()
    bob.inbound.answer = echo
    assert await alice.exchange(b"4", bob) == b"4"


async def test_a_connection_that_is_over_while_an_answer_is_opened_is_not_kept(world: World) -> None:
    """That may happen in a thread."""
    alice, bob = await world.join(), await world.join()
    callers: list[Caller] = []

    class Slow(Caller):
        async def opened(self, answer_untrusted: bytes) -> bytes:
            if not callers:
                callers.append(self)
                self.is_over = True
                alice.transport.close_ended()
            return answer_untrusted

    for _ in range(2):
        assert await alice.exchange(b"hello", bob, caller=Slow) == b"hello"
    assert alice.transport.statistics.streams_out == 2
    assert alice.transport.statistics.stream_connections == 1


@pytest.mark.parametrize(("kept", "opened"), [(0, 6), (1, 6), (2, 2)])
async def test_idle_connections_are_bounded(world: World, kept: int, opened: int) -> None:
    alice = await world.join(limits=StreamLimits(max_idle_outbound=kept))
    peers = [await world.join(), await world.join()]
    for _ in range(3):
        for peer in peers:
            await alice.exchange(b"hello", peer)
            assert alice.transport.statistics.stream_connections <= kept
    assert alice.transport.statistics.streams_out == opened
