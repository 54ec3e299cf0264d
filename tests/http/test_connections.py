"""Connections: clients that do not read, bugs below the handlers, and the end with clients in every state.

Rules of this file: loopback only, at ports that the system chose; waits are for events, and bounded.
"""

from __future__ import annotations

import os
import resource
import socket

import httpx
import pytest
import trio
from structlog.testing import capture_logs

from camomile_trio.http import connections
from camomile_trio.http.clients import ClientStream
from camomile_trio.http.connections import Connections
from camomile_trio.http.http1 import ClientServer
from camomile_trio.http.metrics import Metrics
from camomile_trio.http.serve import bind_http, serve
from camomile_trio.http.settings import HttpSettings
from camomile_trio.kademlia.contacts import Endpoint
from tests.http.fake_node import ANY_PORT, FakeNode, client_of, raw_exchange, served, small_config

pytestmark = pytest.mark.real_time

RAW = {"Content-Type": "application/octet-stream"}


async def test_a_client_that_does_not_read_is_cut_off_in_time() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        stream = ClientStream(trio.SocketStream(trio.socket.from_stdlib_socket(ours)), patience=0.05)
        with pytest.raises(trio.BrokenResourceError, match="does not read"):
            await stream.send_all(b"x" * 2**24)
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some()


async def test_a_process_out_of_descriptors_counts_it_and_takes_clients_again_later(node: FakeNode) -> None:
    async with served(node) as endpoint, client_of(endpoint) as client:
        assert (await client.get("/-/healthy")).status_code == 200
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        late = trio.socket.socket()
        with late, capture_logs() as logged, trio.fail_after(10):
            lowest_free = os.dup(late.fileno())
            os.close(lowest_free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
            try:
                await late.connect((endpoint.host, endpoint.port))
                while "camomile_http_connections_refused_total 0.0" in (await client.get("/-/metrics")).text:
                    await trio.lowlevel.checkpoint()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            await late.send(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await late.recv(2**16)).startswith(b"HTTP/1.1 200 ")
        assert logged == []


class TestBugs:
    """A mistake below the handlers costs one client its connection or its answer. Ours are logged; those that clients
    can cause are counted."""

    async def test_of_the_server_library(self, node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
        async def stumble(server: ClientServer) -> None:
            raise ExceptionGroup("nursery", [KeyError("stream")])

        async with served(node) as endpoint, client_of(endpoint) as client:
            with capture_logs() as logged, monkeypatch.context() as patch:
                patch.setattr(ClientServer, "run", stumble)
                assert await raw_exchange(endpoint, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") == b""
            seen = [(entry["event"], entry["kinds"], entry["log_level"]) for entry in logged]
            assert seen == [("bug in the HTTP server", ["KeyError"], "debug")]
            assert "camomile_http_connections_broken_total 1.0" in (await client.get("/-/metrics")).text

    async def test_of_the_application(self, node: FakeNode) -> None:
        async def stumble(*_: object) -> None:
            raise KeyError("the secret inside")

        stumbling = Connections(stumble, Metrics(node), 10, 10)
        with capture_logs() as logged:
            async with trio.open_nursery() as nursery:
                listening = bind_http(ANY_PORT)
                endpoint = Endpoint.from_host(*listening.getsockname())
                await nursery.start(lambda task_status: stumbling.serve(listening, lambda: task_status.started()))
                answer = await raw_exchange(endpoint, b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                nursery.cancel_scope.cancel()
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert b"secret" not in answer
        assert [entry["event"] for entry in logged] == ["bug below an HTTP handler"]


class TestTheEnd:
    """Stopping, with clients in every state."""

    @pytest.fixture(autouse=True)
    def short_grace(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections, "GRACE_SECONDS", 0.5)

    async def test_idle_connections_do_not_hold_it_up(self, node: FakeNode) -> None:
        async with trio.open_nursery() as nursery, httpx.AsyncClient(trust_env=False) as client:
            (endpoint,) = await nursery.start(serve, node, HttpSettings(listen=ANY_PORT))
            assert (await client.get(f"http://{endpoint}/-/healthy")).status_code == 200
            for _ in range(20):
                assert (await client.get(f"http://{endpoint}/-/healthy")).status_code == 200
            silent = await trio.open_tcp_stream(endpoint.host, endpoint.port)
            stopped = trio.current_time()
            nursery.cancel_scope.cancel()
        assert trio.current_time() - stopped < 0.5
        with pytest.raises(OSError, match="all attempts to connect"):
            await trio.open_tcp_stream(endpoint.host, endpoint.port)
        await silent.aclose()

    async def test_a_request_under_way_is_still_answered(self, node: FakeNode) -> None:
        answers: list[int] = []
        release = trio.Event()

        class SlowNode(FakeNode):
            async def _work(self) -> None:
                self.begun.set()
                await release.wait()

        slow = SlowNode()

        async def put(endpoint: Endpoint) -> None:
            async with client_of(endpoint) as client:
                answers.append((await client.post("/", content=b"1", headers=RAW)).status_code)

        async with trio.open_nursery() as clients, trio.open_nursery() as server:
            (endpoint,) = await server.start(serve, slow, HttpSettings(listen=ANY_PORT))
            clients.start_soon(put, endpoint)
            await slow.begun.wait()
            server.cancel_scope.cancel()
            release.set()
        assert answers == [202]

    async def test_a_stuck_lookup_is_cancelled_after_the_grace(self, node: FakeNode) -> None:
        node.stall = True
        async with trio.open_nursery() as nursery:
            (endpoint,) = await nursery.start(serve, node, HttpSettings(listen=ANY_PORT))
            stream = await trio.open_tcp_stream(endpoint.host, endpoint.port)
            await stream.send_all(f"GET /{'0' * 64} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            await node.begun.wait()
            stopped = trio.current_time()
            nursery.cancel_scope.cancel()
        assert trio.current_time() - stopped < 1.5
        assert node.cancelled.is_set()
        await stream.aclose()

    async def test_a_client_that_does_not_read_is_cut_off(self) -> None:
        node = FakeNode(config=small_config(2**25))
        key = node.holding(b"x" * 2**25)
        async with trio.open_nursery() as nursery:
            (endpoint,) = await nursery.start(serve, node, HttpSettings(listen=ANY_PORT))
            stream = await trio.open_tcp_stream(endpoint.host, endpoint.port)
            await stream.send_all(f"GET /{key} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            await stream.receive_some(1)  # the answer has begun, and now fills every buffer on the way
            stopped = trio.current_time()
            nursery.cancel_scope.cancel()
        assert trio.current_time() - stopped < 1.5
        await stream.aclose()

    async def test_a_body_that_does_not_come_does_not_hold_it_up(self, node: FakeNode) -> None:
        async with trio.open_nursery() as nursery:
            (endpoint,) = await nursery.start(serve, node, HttpSettings(listen=ANY_PORT))
            stream = await trio.open_tcp_stream(endpoint.host, endpoint.port)
            await stream.send_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")
            async with client_of(endpoint) as client:
                assert (await client.get("/-/healthy")).status_code == 200
            stopped = trio.current_time()
            nursery.cancel_scope.cancel()
        assert trio.current_time() - stopped < 1.5
        await stream.aclose()
