"""The server on real sockets: what crosses the wire, who is cut off, and how it ends.

Rules of this file: loopback only, at ports that the system chose; waits are for events, and bounded.
"""

from __future__ import annotations

import socket

import httpx
import pytest
import trio
from structlog.testing import capture_logs

from camomile_trio.errors import NotJoined, TransportError
from camomile_trio.http.serve import bind_http, serve
from camomile_trio.http.settings import HttpSettings
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import Key
from camomile_trio.operations.events import RoundTrip
from tests.http.fake_node import ANY_PORT, OTHER, FakeNode, client_of, raw_exchange, served, small_config
from tests.http.test_put import CLASSIC_KEY, CURL_FORM, CURL_HEADERS

pytestmark = pytest.mark.real_time

RAW = {"Content-Type": "application/octet-stream"}
MEBIBYTE = bytes(range(256)) * 4096


async def test_a_value_is_put_got_confirmed_and_forgotten(node: FakeNode) -> None:
    async with served(node) as endpoint, client_of(endpoint) as client:
        response = await client.post("/", content=CURL_FORM, headers=CURL_HEADERS)
        assert (response.status_code, response.headers["Location"]) == (202, f"/{CLASSIC_KEY}")
        assert response.text == "ABC, du är mina tankar"

        response = await client.get(f"/{CLASSIC_KEY}")
        assert (response.status_code, response.text) == (200, "ABC, du är mina tankar")
        assert response.headers["Origin"] == OTHER.hex()
        assert "server" not in response.headers

        response = await client.head(f"/{CLASSIC_KEY}")
        assert (response.status_code, response.content) == (200, b"")
        assert response.headers["Content-Length"] == str(len("ABC, du är mina tankar".encode()))

        response = await client.get(f"/{CLASSIC_KEY}", headers={"If-None-Match": f'"{CLASSIC_KEY}"'})
        assert (response.status_code, response.content) == (304, b"")
        assert "Content-Length" not in response.headers

        response = await client.delete(f"/{CLASSIC_KEY}")
        assert (response.status_code, response.content) == (204, b"")
        assert "Content-Length" not in response.headers
        assert "Content-Type" not in response.headers

        assert (await client.get(f"/{CLASSIC_KEY}")).status_code == 410


async def test_httpx_forms_of_both_kinds_carry_a_mebibyte(node: FakeNode) -> None:
    text = "å" * (2**19)
    async with served(node) as endpoint, client_of(endpoint) as client:
        response = await client.post("/", files={"value": ("a.bin", MEBIBYTE)})
        assert (response.status_code, response.headers["Location"]) == (202, f"/{Key.of(MEBIBYTE)}")
        assert response.content == MEBIBYTE
        response = await client.post("/", data={"value": text})
        assert (response.status_code, response.headers["Location"]) == (202, f"/{Key.of(text.encode())}")
        assert (await client.get(response.headers["Location"])).text == text


@pytest.mark.parametrize("chunked", [False, True])
async def test_too_large_a_body_is_refused_and_its_client_hears_it(chunked: bool) -> None:
    node = FakeNode(config=small_config(2**20))
    body = MEBIBYTE * 8

    async def pieces() -> object:
        for start in range(0, len(body), 2**16):
            yield body[start : start + 2**16]

    async with served(node) as endpoint, client_of(endpoint) as client:
        for _ in range(2):
            response = await client.post("/", content=pieces() if chunked else body, headers=RAW)  # type: ignore[arg-type]
            assert response.status_code == 413
            assert response.json()["type"] == "urn:camomile:problem:value-too-large"
            assert response.headers["Connection"] == "close"
    assert node.values == {}


async def test_a_refusal_reaches_a_client_that_is_still_sending(node: FakeNode) -> None:
    settings = HttpSettings(listen=ANY_PORT, token=b"s3cret-and-random")
    async with served(node, settings) as endpoint, client_of(endpoint) as client:
        for method, path, status in (("POST", "/", 401), ("PUT", "/", 405), ("POST", "/a/b", 404), ("GET", "/x", 400)):
            response = await client.request(method, path, content=MEBIBYTE, headers=RAW)
            assert response.status_code == status


async def test_one_connection_takes_more_than_a_thousand_requests(node: FakeNode) -> None:
    request = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with served(node) as endpoint:
        stream = await trio.open_tcp_stream(endpoint.host, endpoint.port)
        async with stream:
            for _ in range(1100):
                await stream.send_all(request)
                answer = await stream.receive_some()
                while not answer.endswith(b"healthy\n"):
                    more = await stream.receive_some()
                    assert more, "closed in the middle"
                    answer += more
                assert b"connection: close" not in answer.lower()


async def test_a_client_that_goes_away_cancels_its_lookup(node: FakeNode) -> None:
    node.stall = True
    async with served(node) as endpoint:
        stream = await trio.open_tcp_stream(endpoint.host, endpoint.port)
        await stream.send_all(f"GET /{'0' * 64} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await node.begun.wait()
        assert not node.cancelled.is_set()
        await stream.aclose()
        with trio.fail_after(5):
            await node.cancelled.wait()
        node.stall = False
        async with client_of(endpoint) as client:
            text = (await client.get("/-/metrics")).text
        assert 'camomile_http_request_seconds_count{method="GET",route="/{key}",status="gone"} 1.0' in text


@pytest.mark.parametrize("http2", [False, True])
async def test_a_client_that_goes_away_cancels_its_put(node: FakeNode, http2: bool) -> None:
    node.stall = True
    async with served(node) as endpoint:
        async with httpx.AsyncClient(http1=not http2, http2=http2, trust_env=False) as client:
            with trio.move_on_after(5) as patience:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(lambda: client.post(f"http://{endpoint}/", content=b"1", headers=RAW))
                    await node.begun.wait()
                    nursery.cancel_scope.cancel()
            assert not patience.cancelled_caught
        with trio.fail_after(5):
            await node.cancelled.wait()
    assert node.values == {}


async def test_two_clients_put_the_same_value_at_once(node: FakeNode) -> None:
    statuses: list[int] = []

    async def put(endpoint: Endpoint) -> None:
        async with client_of(endpoint) as client:
            statuses.append((await client.post("/", content=b"same", headers=RAW)).status_code)

    async with served(node) as endpoint, trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(put, endpoint)
    assert statuses == [202] * 4


async def test_a_node_that_has_not_joined_is_served_and_says_so(node: FakeNode) -> None:
    node.ready, node.not_ready_because, node.failing = False, "joining", NotJoined("not joined yet")
    async with served(node) as endpoint, client_of(endpoint) as client:
        assert (await client.get("/-/healthy")).status_code == 200
        assert (await client.get("/-/ready")).status_code == 503
        response = await client.post("/", content=b"1", headers=RAW)
        assert (response.status_code, response.headers["Retry-After"]) == (503, "2")


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET ?x HTTP/1.1",
        b"GET http://[/ HTTP/1.1",
        b"GET http: HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"CONNECT a:80 HTTP/1.1",
        b"GET nonsense HTTP/1.1",
        b"GET //x/y HTTP/1.1",
        b"GET // HTTP/1.1",
        b"GET /%ff%00 HTTP/1.1",
        b"GET /a%2fb HTTP/1.1",
        b"GET /" + b"a" * 5000 + b" HTTP/1.1",
        b"GET /" + b"a" * 50_000 + b" HTTP/1.1",
        b"nonsense",
        b"\0\1\2",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense",
        b"GET / HTTP/1.1\r\nUpgrade: h2c\r\nHTTP2-Settings: \xff%",
        b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade",
        b"GET /x HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: eA==",
        b"POST / HTTP/1.1\r\nContent-Length: -1",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnonsense",
        b"POST / HTTP/1.1\r\nContent-Length: 4\r\nContent-Type: multipart/form-data; boundary=\xff\r\n\r\n1234",
        b"GET / HTTP/1.1\r\nCookie: \xff=;;",
        b"GET / HTTP/1.1\r\nHost: [\xff",
    ],
)
async def test_nonsense_costs_its_sender_the_connection_and_nobody_a_traceback(
    node: FakeNode, request_line: bytes
) -> None:
    with capture_logs() as logged:
        async with served(node) as endpoint:
            hosts = b"" if b"Host:" in request_line else b"\r\nHost: localhost"
            line, separator, rest = request_line.partition(b"\r\n")
            answer = await raw_exchange(
                endpoint, line + hosts + separator + rest + b"\r\nConnection: close\r\n\r\n", patience=1
            )
            async with client_of(endpoint) as client:
                assert (await client.get("/-/healthy")).status_code == 200
    assert b" 500 " not in answer[:20]
    assert not [entry for entry in logged if "exc_info" in entry]
    assert not [entry for entry in logged if entry["event"] == "bug below an HTTP handler"]


async def test_an_absolute_url_is_a_path_too(node: FakeNode) -> None:
    async with served(node) as endpoint:
        request = b"GET http://example.org/-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        assert (await raw_exchange(endpoint, request)).endswith(b"healthy\n")


async def test_connections_beyond_the_limit_are_closed_at_once(node: FakeNode) -> None:
    settings = HttpSettings(listen=ANY_PORT, max_connections=1)
    async with served(node, settings) as endpoint, client_of(endpoint) as client:
        assert (await client.get("/-/healthy")).status_code == 200
        with trio.fail_after(5):
            second = await trio.open_tcp_stream(endpoint.host, endpoint.port)
            async with second:
                assert await second.receive_some() == b""
        assert "camomile_http_connections_refused_total 1.0" in (await client.get("/-/metrics")).text


async def test_the_nodes_events_are_watched_while_it_is_served(node: FakeNode) -> None:
    async with served(node) as endpoint, client_of(endpoint) as client:
        node.events.emit(RoundTrip("ping", 0.001))
        text = (await client.get("/-/metrics")).text
        assert 'camomile_rpc_round_trip_seconds_count{kind="ping"} 1.0' in text
    assert not node.events.watched


async def test_a_port_in_use_is_one_clear_error(node: FakeNode) -> None:
    with bind_http(ANY_PORT) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(TransportError, match=f"127.0.0.1:{port}: address already in use") as caught:
            await serve(node, HttpSettings(listen=Endpoint.from_host("127.0.0.1", port)))
    assert "--http" in caught.value.remedy


async def test_a_listening_socket_can_be_handed_over(node: FakeNode) -> None:
    listening = bind_http(ANY_PORT)
    port = listening.getsockname()[1]
    async with trio.open_nursery() as nursery:
        (endpoint,) = await nursery.start(
            lambda task_status: serve(node, HttpSettings(), listening=listening, task_status=task_status)
        )
        assert endpoint.port == port
        async with client_of(endpoint) as client:
            assert (await client.get("/-/healthy")).status_code == 200
        nursery.cancel_scope.cancel()


async def test_ipv6_works_too(node: FakeNode) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    async with served(node, HttpSettings(listen=Endpoint.parse("[::1]:0"))) as endpoint, client_of(endpoint) as client:
        assert str(endpoint).startswith("[::1]:")
        assert (await client.get("/-/healthy")).status_code == 200


async def test_who_asks_for_the_connection_to_be_closed_sees_it_closed(node: FakeNode) -> None:
    request = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    async with served(node) as endpoint:
        stopped = trio.current_time()
        for _ in range(30):  # Trio shuffles its tasks: what goes wrong in some orders goes wrong in some of these
            assert (await raw_exchange(endpoint, request)).endswith(b"healthy\n")
        assert trio.current_time() - stopped < 5


async def test_http2_works_too(node: FakeNode) -> None:
    async with served(node) as endpoint:
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(http1=False, http2=True, limits=limits, trust_env=False) as client:
            response = await client.post(f"http://{endpoint}/", content=MEBIBYTE, headers=RAW)
            assert (response.http_version, response.status_code) == ("HTTP/2", 202)
            response = await client.get(f"http://{endpoint}{response.headers['Location']}")
            assert (response.status_code, response.content) == (200, MEBIBYTE)
            response = await client.post(f"http://{endpoint}/", content=MEBIBYTE + b"x", headers=RAW)
            assert response.status_code == 413


@pytest.mark.parametrize("steps", range(6))
async def test_a_server_that_is_cancelled_while_it_starts_ends(node: FakeNode, steps: int) -> None:
    """Found with a node that failed beside its server: the shielded keeper was waited for, and waited itself."""
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, node, HttpSettings(listen=ANY_PORT))
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
