"""One client's connection: what leaves together, when idle ends, and that a client who leaves is noticed.

Rules of this file: socket pairs and loopback; time is virtual where it is waited for.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest
import trio
import trio.testing

from camomile_trio.http.clients import ClientStream, IdleTimer, SendLock
from tests.http.fake_node import FakeNode, raw_exchange, served


@pytest.fixture
def their_socket() -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with ours, theirs:
        _PAIR[theirs] = ours
        yield theirs


_PAIR: dict[socket.socket, socket.socket] = {}


@pytest.fixture
def stream(their_socket: socket.socket) -> ClientStream:
    return ClientStream(trio.SocketStream(trio.socket.from_stdlib_socket(_PAIR.pop(their_socket))))


def arrived(their_socket: socket.socket) -> bytes:
    try:
        return their_socket.recv(100)
    except BlockingIOError:
        return b""


async def test_what_is_held_leaves_with_what_follows(stream: ClientStream, their_socket: socket.socket) -> None:
    stream.hold_next()
    await stream.send_all(b"head ")
    assert arrived(their_socket) == b""
    await stream.send_all(b"body ")
    assert arrived(their_socket) == b"head body "
    await stream.send_all(b"more")
    assert arrived(their_socket) == b"more"


@pytest.mark.parametrize("nothing", ["nothing sent", "the end"])
async def test_what_is_held_is_not_lost(stream: ClientStream, their_socket: socket.socket, nothing: str) -> None:
    stream.hold_next()
    await stream.send_all(b"head")
    await (stream.send_all(b"") if nothing == "nothing sent" else stream.send_eof())
    assert arrived(their_socket) == b"head"


async def test_more_than_the_system_takes_at_once_arrives_in_order(
    stream: ClientStream, their_socket: socket.socket
) -> None:
    sent = bytes(range(256)) * 16 * 1024
    reader = trio.SocketStream(trio.socket.from_stdlib_socket(their_socket))
    received = bytearray()

    async def read() -> None:
        while len(received) < len(sent):
            received.extend(await reader.receive_some())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await stream.send_all(sent)
    assert received == sent


async def test_a_client_that_has_left_is_gone(stream: ClientStream, their_socket: socket.socket) -> None:
    await stream.send_all(b"an answer that is never read")
    their_socket.close()
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()
    assert stream.is_gone


async def test_who_has_only_ended_its_side_is_still_there(stream: ClientStream, their_socket: socket.socket) -> None:
    their_socket.shutdown(socket.SHUT_WR)
    assert await stream.receive_some() == b""
    await stream.send_all(b"the answer")
    assert not stream.is_gone
    assert arrived(their_socket) == b"the answer"


async def test_a_cut_connection_says_so(stream: ClientStream) -> None:
    stream.cut()
    with pytest.raises(trio.ClosedResourceError):
        await stream.send_all(b"x")
    with pytest.raises(trio.ClosedResourceError):
        await stream.receive_some()


async def test_sends_of_two_tasks_do_not_mix() -> None:
    lock = SendLock()
    order: list[str] = []

    async def send(name: str) -> None:
        async with lock:
            order.append(name)
            await trio.testing.wait_all_tasks_blocked()
            order.append(name)

    async with trio.open_nursery() as nursery:
        for name in ("a", "b", "c"):
            nursery.start_soon(send, name)
    assert order[::2] == order[1::2]


class _Terminated:
    def __init__(self) -> None:
        self._event = trio.Event()

    async def clear(self) -> None:
        raise AssertionError

    async def wait(self) -> None:
        await self._event.wait()

    async def set(self) -> None:
        self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()


class _Nursery:
    """As much of Hypercorn's task group as the timer uses."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.started = 0

    async def spawn_app(self, *_: object) -> Callable[..., Awaitable[None]]:
        raise AssertionError

    def spawn(self, task: Callable[..., Awaitable[None]], *arguments: object) -> None:
        self.started += 1
        self._nursery.start_soon(task, *arguments)

    async def __aenter__(self) -> _Nursery:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


class TestIdle:
    """A connection is closed once it has been idle for its time, and never while it serves a request."""

    @pytest.fixture
    def closed(self) -> list[float]:
        return []

    @pytest.fixture
    def close(self, closed: list[float]) -> Callable[[], Awaitable[None]]:
        async def close() -> None:
            closed.append(trio.current_time())

        return close

    async def test_requests_put_it_off_and_start_no_tasks(
        self,
        autojump_clock: trio.testing.MockClock,
        stream: ClientStream,
        closed: list[float],
        close: Callable[[], Awaitable[None]],
    ) -> None:
        timer = IdleTimer(60, stream, _Terminated())
        async with trio.open_nursery() as nursery:
            tasks = _Nursery(nursery)
            await timer.restart(tasks, close)
            for _ in range(10):
                await trio.sleep(50)
                await timer.stop()
                await trio.sleep(200)  # a long request
                await timer.restart(tasks, close)
            last = trio.current_time()
        assert closed == [pytest.approx(last + 60)]
        assert tasks.started == 1

    async def test_a_client_that_leaves_ends_it_at_once(
        self,
        autojump_clock: trio.testing.MockClock,
        stream: ClientStream,
        closed: list[float],
        close: Callable[[], Awaitable[None]],
    ) -> None:
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            await IdleTimer(60, stream, _Terminated()).restart(_Nursery(nursery), close)
            await trio.sleep(1)
            stream.cut()
        assert trio.current_time() == pytest.approx(started + 1)
        assert closed == []

    @pytest.mark.parametrize("serving", [True, False])
    async def test_the_end_of_the_server_closes_it_unless_it_serves(
        self,
        autojump_clock: trio.testing.MockClock,
        stream: ClientStream,
        closed: list[float],
        close: Callable[[], Awaitable[None]],
        serving: bool,
    ) -> None:
        terminated = _Terminated()
        timer = IdleTimer(60, stream, terminated)
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            tasks = _Nursery(nursery)
            await timer.restart(tasks, close)
            if serving:
                await timer.stop()
            await trio.sleep(1)
            await terminated.set()
        assert closed == ([] if serving else [pytest.approx(started + 1)])
        async with trio.open_nursery() as nursery:
            await timer.restart(_Nursery(nursery), close)  # the request ended just then
        assert closed


@pytest.mark.real_time
async def test_an_answer_is_one_piece_and_its_client_may_go_at_once(node: FakeNode) -> None:
    key = node.holding(b"a value")
    async with served(node) as endpoint:
        for target in (f"/{key}", "/-/healthy"):
            stream = await trio.open_tcp_stream(endpoint.host, endpoint.port)
            await stream.send_all(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            answer = await stream.receive_some()
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert answer.endswith((b"a value", b"healthy\n"))
            await stream.aclose()
        # An idle connection that its client has closed does not stay until its time is over.
        with trio.fail_after(5):
            while True:
                metrics = await raw_exchange(
                    endpoint, b"GET /-/metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                )
                if b"camomile_http_connections 1.0" in metrics:
                    break
