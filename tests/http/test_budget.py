"""The bytes that all requests have together: what holds them, who is refused, and that they are given back.

Rules of this file: loopback only; the node is small, so that few clients are enough. Waits are for what the node says,
and bounded.
"""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio

from camomile_trio.errors import Overloaded
from camomile_trio.http.budget import ByteBudget
from camomile_trio.http.settings import HttpSettings
from camomile_trio.http.values import Encoding, body_bound
from camomile_trio.kademlia.contacts import Endpoint
from tests.http.fake_node import ANY_PORT, FakeNode, client_of, served, small_config
from tests.http.test_http1 import HOST, ask, post

LARGEST = 100_000
SETTINGS = HttpSettings(listen=ANY_PORT, max_bytes=4 * LARGEST)


def test_a_share_holds_what_fits_and_gives_it_back() -> None:
    budget = ByteBudget(10)
    with budget.share() as first, budget.share() as second:
        first.hold(6)
        with pytest.raises(Overloaded, match="take 6 of the 10 bytes"):
            second.hold(5)
        second.hold(4)
        assert (budget.used, budget.refused) == (10, 1)
        first.hold(2)
        second.hold(8)
        with pytest.raises(Overloaded):
            first.hold(3)
        assert (first.held, budget.used) == (2, 10)
    assert budget.used == 0


def test_what_shrinks_is_never_refused() -> None:
    budget = ByteBudget(10)
    with budget.share() as share:
        share.hold(10)
        budget.most = 1
        share.hold(9)
        assert share.held == 9


@asynccontextmanager
async def connected(endpoint: Endpoint, request: bytes) -> AsyncIterator[trio.SocketStream]:
    """A client that has sent this, and reads next to nothing."""
    connection = trio.socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await connection.connect((endpoint.host, endpoint.port))
    async with trio.SocketStream(connection) as stream:
        await stream.send_all(request)
        yield stream


async def held(endpoint: Endpoint) -> int:
    async with client_of(endpoint) as client:
        found = re.search(r"^camomile_http_bytes ([0-9.e+]+)$", (await client.get("/-/metrics")).text, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


async def until_held(endpoint: Endpoint, size: int) -> None:
    with trio.fail_after(10):
        while await held(endpoint) != size:
            await trio.lowlevel.checkpoint()


@pytest.mark.real_time
class TestOverTheWire:
    async def test_bodies_that_are_slow_are_bounded_together(self) -> None:
        node = FakeNode(config=small_config(LARGEST))
        announced = post(b"Content-Length: %d" % LARGEST)
        async with served(node, SETTINGS) as endpoint, AsyncExitStack() as clients:
            slow = [await clients.enter_async_context(connected(endpoint, announced)) for _ in range(4)]
            await until_held(endpoint, 4 * LARGEST)
            for expects in ((), (b"Expect: 100-continue",)):
                refused = await ask(endpoint, post(b"Content-Length: 1", *expects))
                assert (refused.status, refused.problem, refused.says_close) == (503, "overloaded", True)
                assert b"\r\nretry-after: " in refused.head
            refused = await ask(endpoint, post(b"Transfer-Encoding: chunked") + b"1\r\nx\r\n")
            assert (refused.status, refused.problem, refused.says_close) == (503, "overloaded", True)
            assert (await ask(endpoint, b"GET /-/healthy HTTP/1.0\r\n\r\n")).status == 200
            # One that ends is stored, and one that leaves is not; both make room.
            await slow.pop().send_all(b"x" * LARGEST)
            await slow.pop().aclose()
            await until_held(endpoint, 2 * LARGEST)
            assert (await ask(endpoint, post(b"Content-Length: 1", b"Connection: close") + b"x")).status == 202
        assert sorted(map(len, node.values.values())) == [1, LARGEST]

    async def test_answers_that_nobody_reads_are_bounded_together(self) -> None:
        largest = 2**24  # more than the system takes for a client that does not read
        node = FakeNode(config=small_config(largest))
        key = str(node.holding(b"x" * largest)).encode()
        request = b"GET /%s HTTP/1.1\r\n%s\r\n" % (key, HOST)
        async with served(node, SETTINGS) as endpoint, AsyncExitStack() as clients:
            # The largest body always fits, whatever is set: a urlencoded one of the largest value.
            assert body_bound(Encoding.URLENCODED, largest) // largest == 3
            slow = [await clients.enter_async_context(connected(endpoint, request)) for _ in range(3)]
            await until_held(endpoint, 3 * largest)
            refused = await ask(endpoint, b"GET /%s HTTP/1.0\r\n\r\n" % key)
            assert (refused.status, refused.problem) == (503, "overloaded")
            await slow.pop().aclose()
            await until_held(endpoint, 2 * largest)
            heard = await ask(endpoint, b"GET /%s HTTP/1.0\r\n\r\n" % key)
            assert (heard.status, heard.raw.endswith(b"x" * largest)) == (200, True)
        async with served(node, SETTINGS) as endpoint:
            assert await held(endpoint) == 0

    async def test_bodies_on_their_way_take_no_place_of_the_node(self) -> None:
        node = FakeNode(config=small_config(LARGEST))
        settings = HttpSettings(listen=ANY_PORT, max_requests=1)
        async with served(node, settings) as endpoint, connected(endpoint, post(b"Content-Length: 7")):
            await until_held(endpoint, 7)
            assert (await ask(endpoint, post(b"Content-Length: 1", b"Connection: close") + b"x")).status == 202
