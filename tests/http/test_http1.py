"""HTTP/1 as it crosses the wire: where a request ends, what is answered before its body, and who has left.

Rules of this file: loopback only, at ports that the system chose, and requests written by hand; waits are for events,
and bounded.
"""

from __future__ import annotations

import json
import socket

import attrs
import pytest
import trio
from structlog.testing import capture_logs

from camomile_trio.http import http1
from camomile_trio.http.request_queue import RequestQueue
from camomile_trio.http.settings import HttpSettings
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import Key
from tests.http.fake_node import ANY_PORT, FakeNode, raw_exchange, served, small_config

pytestmark = pytest.mark.real_time

HOST = b"Host: localhost\r\n"


@attrs.frozen
class Heard:
    """What a client read until the server closed."""

    raw: bytes

    @property
    def status(self) -> int:
        return int(self.raw.split(b" ", 2)[1])

    @property
    def head(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[0].lower()

    @property
    def says_close(self) -> bool:
        return b"\r\nconnection: close" in self.head

    @property
    def problem(self) -> str:
        assert b"\r\ncontent-type: application/problem+json" in self.head
        document = json.loads(self.raw.partition(b"\r\n\r\n")[2])
        assert document["status"] == self.status
        assert document["detail"]
        assert document["remedy"]
        return str(document["type"]).removeprefix("urn:camomile:problem:")


async def ask(endpoint: Endpoint, *pieces: bytes, ends: bool = False) -> Heard:
    """Sends a request, perhaps the end of this side too, and reads what comes until the server closes."""
    stream = await trio.open_tcp_stream(endpoint.host, endpoint.port)
    heard = b""
    async with stream:
        for piece in pieces:
            await stream.send_all(piece)
        if ends:
            await stream.send_eof()
        with trio.fail_after(20):
            while chunk := await stream.receive_some():
                heard += chunk
    return Heard(heard)


async def send_for_ever(stream: trio.SocketStream) -> None:
    while True:
        await stream.send_all(b"x" * 2**16)


def post(*headers: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\n" + HOST + b"".join(header + b"\r\n" for header in headers) + b"\r\n"


class TestBodiesThatAreTooLarge:
    """They are refused by what their head says, and their client reads why."""

    @pytest.mark.parametrize("expects", [(), (b"Expect: 100-continue",)])
    @pytest.mark.parametrize("length", [b"5000000000", b"99999999999999999999", b"1001"])
    async def test_at_once(self, length: bytes, expects: tuple[bytes, ...]) -> None:
        async with served(FakeNode(config=small_config(1000))) as endpoint:
            heard = await ask(endpoint, post(b"Content-Length: " + length, *expects))
        # The first that came is the refusal: there was no 100 Continue.
        assert (heard.status, heard.problem, heard.says_close) == (413, "value-too-large", True)

    async def test_even_if_the_client_goes_on_sending(self) -> None:
        async with served(FakeNode(config=small_config(1000))) as endpoint:
            # More than all buffers on the way hold: if nobody read it, the connection would be reset.
            heard = await ask(endpoint, post(b"Content-Length: 30000000"), b"x" * 30_000_000)
        assert (heard.status, heard.problem) == (413, "value-too-large")

    async def test_but_it_is_not_read_for_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http1, "DRAIN_SECONDS", 0.05)
        async with served(FakeNode(config=small_config(1000))) as endpoint:
            stream = await trio.open_tcp_stream(endpoint.host, endpoint.port)
            async with stream:
                await stream.send_all(post(b"Content-Length: 99999999999"))
                with pytest.raises(trio.BrokenResourceError), trio.fail_after(10):
                    await send_for_ever(stream)

    async def test_without_a_length_as_soon_as_it_is_too_much(self) -> None:
        chunk = b"1f4\r\n" + b"x" * 500 + b"\r\n"
        async with served(FakeNode(config=small_config(1000))) as endpoint:
            heard = await ask(endpoint, post(b"Transfer-Encoding: chunked"), chunk * 3)
        assert (heard.status, heard.problem, heard.says_close) == (413, "value-too-large", True)


async def test_who_asks_first_is_told_to_go_on_once_its_body_is_wanted(node: FakeNode) -> None:
    async with served(node) as endpoint:
        stream = await trio.open_tcp_stream(endpoint.host, endpoint.port)
        async with stream:
            await stream.send_all(post(b"Content-Length: 5", b"Expect: 100-continue", b"Connection: close"))
            with trio.fail_after(5):
                assert await stream.receive_some() == b"HTTP/1.1 100 \r\n\r\n"
                await stream.send_all(b"hello")
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 202 ")
    assert list(node.values.values()) == [b"hello"]


@pytest.mark.parametrize("request_line", [b"GET /-/healthy", b"PUT /", b"DELETE /x"])
async def test_a_body_that_nobody_wants_is_not_asked_for(node: FakeNode, request_line: bytes) -> None:
    head = request_line + b" HTTP/1.1\r\n" + HOST + b"Content-Length: 5000000000\r\nExpect: 100-continue\r\n\r\n"
    async with served(node) as endpoint:
        heard = await ask(endpoint, head)
    assert heard.status in {200, 400, 405}
    assert heard.says_close


async def test_two_ways_to_say_where_a_body_ends_are_refused(node: FakeNode) -> None:
    smuggled = b"GET /-/metrics HTTP/1.1\r\n" + HOST + b"\r\n"
    head = post(b"Content-Length: %d" % (5 + len(smuggled)), b"Transfer-Encoding: chunked")
    async with served(node) as endpoint:
        heard = await ask(endpoint, head + b"0\r\n\r\n" + smuggled)
    assert (heard.status, heard.problem, heard.says_close) == (400, "bad-request", True)
    assert node.values == {}


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ((b"Camomile-TTL: 60", b"Camomile-TTL: 86400"), "bad-request"),
        ((b"Camomile-TTL: 60", b"Camomile-TTL: 60"), "bad-request"),
        ((b"Content-Type: a/b", b"Content-Type: application/x-www-form-urlencoded"), "bad-request"),
        ((b"Content-Encoding: gzip",), "encoded-body"),
        ((b"Content-Encoding: identity", b"Content-Encoding: br"), "encoded-body"),
    ],
)
async def test_what_can_be_read_in_two_ways_is_not_read(
    node: FakeNode, headers: tuple[bytes, ...], problem: str
) -> None:
    async with served(node) as endpoint:
        for more in ((), (b"Expect: 200-ok",)):
            heard = await ask(endpoint, post(*headers, *more, b"Content-Length: 7", b"Connection: close") + b"value=1")
            assert (heard.status, heard.problem) == (415 if problem == "encoded-body" else 400, problem)
    assert node.values == {}


async def test_the_identity_is_no_encoding(node: FakeNode) -> None:
    async with served(node) as endpoint:
        heard = await ask(
            endpoint, post(b"Content-Encoding: identity", b"Content-Length: 1", b"Connection: close"), b"1"
        )
    assert heard.status == 202


class TestAClientThatEndsItsSide:
    """As `nc -N` does after a request: it gets its answer. One that has left altogether stops the work for it."""

    async def test_gets_its_answer(self, node: FakeNode) -> None:
        key = node.holding(b"a value")
        hello = str(Key.of(b"hello")).encode()
        async with served(node) as endpoint:
            heard = await ask(endpoint, post(b"Content-Length: 5"), b"hello", ends=True)
            assert (heard.status, b"/" + hello in heard.raw) == (202, True)
            heard = await ask(endpoint, b"GET /%s HTTP/1.1\r\n%s\r\n" % (str(key).encode(), HOST), ends=True)
            assert (heard.status, heard.raw.endswith(b"a value")) == (200, True)
            heard = await ask(endpoint, b"DELETE /%s HTTP/1.1\r\n%s\r\n" % (hello, HOST), ends=True)
            assert heard.status == 204
            heard = await ask(endpoint, b"GET /-/ready HTTP/1.0\r\n\r\n", ends=True)
            assert (heard.status, heard.raw.endswith(b"ready\n")) == (200, True)
        assert node.forgotten == {Key.of(b"hello")}

    async def test_gets_all_answers_that_it_has_asked_for(self, node: FakeNode) -> None:
        request = b"GET /-/ready HTTP/1.1\r\n" + HOST + b"\r\n"
        async with served(node) as endpoint:
            heard = await ask(endpoint, request * 3, ends=True)
        assert heard.raw.count(b"HTTP/1.1 200 ") == 3

    async def test_is_told_when_it_did_so_too_early(self, node: FakeNode) -> None:
        async with served(node) as endpoint:
            heard = await ask(endpoint, post(b"Content-Length: 5"), b"hel", ends=True)
        assert (heard.status, heard.problem) == (400, "bad-request")
        assert node.values == {}

    async def test_gets_its_answer_after_a_word_in_between_if_it_takes_long(
        self, node: FakeNode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(http1, "_SILENCE_SECONDS", 0.01)
        node.stall = True
        async with served(node) as endpoint:
            stream = await trio.open_tcp_stream(endpoint.host, endpoint.port)
            async with stream:
                await stream.send_all(b"GET /%s HTTP/1.1\r\n%s\r\n" % (b"0" * 64, HOST))
                await stream.send_eof()
                with trio.fail_after(5):
                    assert (await stream.receive_some()).startswith(b"HTTP/1.1 102 ")
                assert not node.cancelled.is_set()

    @pytest.mark.parametrize("reset", [True, False])
    async def test_and_has_left_is_noticed(self, node: FakeNode, monkeypatch: pytest.MonkeyPatch, reset: bool) -> None:
        monkeypatch.setattr(http1, "_SILENCE_SECONDS", 0.01)
        node.stall = True
        async with served(node) as endpoint:
            stream = await trio.open_tcp_stream(endpoint.host, endpoint.port)
            await stream.send_all(b"DELETE /%s HTTP/1.1\r\n%s\r\n" % (b"0" * 64, HOST))
            await node.begun.wait()
            if reset:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await stream.aclose()
            with trio.fail_after(5):
                await node.cancelled.wait()


@pytest.mark.parametrize("path", [b"//-/node", b"/-%2fnode", b"/%2d/node", b"///-/node", b"http://localhost//-/node"])
async def test_only_a_path_as_it_is_written_is_that_path(node: FakeNode, path: bytes) -> None:
    async with served(node) as endpoint:
        heard = await ask(endpoint, b"GET %s HTTP/1.1\r\n%sConnection: close\r\n\r\n" % (path, HOST))
    assert heard.status in {400, 404}
    assert heard.problem in {"not-a-key", "no-such-path"}


@pytest.mark.parametrize(
    "upgrade",
    [
        b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n",
        b"Upgrade: \xff\r\nConnection: \xff, upgrade\r\n",
    ],
)
async def test_no_protocol_is_upgraded_to(node: FakeNode, upgrade: bytes) -> None:
    with capture_logs() as logged:
        async with served(node) as endpoint:
            # h11 waits for what the upgrade brings; so the client ends its side to see the end.
            heard = await ask(endpoint, b"GET /-/ready HTTP/1.1\r\n" + HOST + upgrade + b"\r\n", ends=True)
    assert (heard.status, heard.raw.endswith(b"ready\n")) == (200, True)
    assert logged == []


class TestErrorsBelowTheApplication:
    """They are problem documents as all others are."""

    @pytest.mark.parametrize(
        ("request_bytes", "status", "problem"),
        [
            (b"nonsense\r\n\r\n", 400, "bad-request"),
            (b"GET / HTTP/1.1\r\n\r\n", 400, "bad-request"),  # without a Host
            (b"GET / HTTP/1.1\r\n" + HOST + b"a b: c\r\n\r\n", 400, "bad-request"),
            (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 70_000, 431, "head-too-large"),
            (post(b"Content-Length: -1"), 400, "bad-request"),
            (post(b"Content-Length: 1", b"Content-Length: 2"), 400, "bad-request"),
            (post(b"Content-Length: " + b"9" * 30), 400, "bad-request"),
            (post(b"Transfer-Encoding: gzip"), 501, "not-implemented"),
            (post(b"Transfer-Encoding: chunked") + b"nonsense\r\n", 400, "bad-request"),
        ],
    )
    async def test_in_what_is_not_http(self, node: FakeNode, request_bytes: bytes, status: int, problem: str) -> None:
        async with served(node) as endpoint:
            heard = await ask(endpoint, request_bytes)
        assert (heard.status, heard.problem, heard.says_close) == (status, problem, True)

    async def test_in_a_head_that_never_ends(self, node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http1, "_KEEP_ALIVE_SECONDS", 0.05)
        async with served(node) as endpoint:
            heard = await ask(endpoint, b"GET / HTTP/1.1\r\nHost: loc")
            assert (heard.status, heard.problem) == (408, "request-too-slow")
            assert await raw_exchange(endpoint, b"") == b""


async def test_one_address_gets_its_part_of_the_connections_only(node: FakeNode) -> None:
    settings = HttpSettings(listen=ANY_PORT, max_connections=4)
    async with served(node, settings) as endpoint:
        kept = [await trio.open_tcp_stream("127.0.0.1", endpoint.port) for _ in range(2)]
        with trio.fail_after(5):
            assert await raw_exchange(endpoint, b"GET /-/ready HTTP/1.1\r\n" + HOST + b"\r\n") == b""
            # The whole of 127.0.0.0/8 is this machine: another client.
            other = await trio.open_tcp_stream("127.0.0.1", endpoint.port, local_address="127.0.0.2")
            async with other:
                await other.send_all(b"GET /-/ready HTTP/1.1\r\n" + HOST + b"\r\n")
                assert (await other.receive_some()).startswith(b"HTTP/1.1 200 ")
            await kept.pop().aclose()
            while not await raw_exchange(endpoint, b"GET /-/ready HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"):
                await trio.lowlevel.checkpoint()  # the server has not heard of it yet
        await kept.pop().aclose()


class TestARequestThatWaitedForTooLong:
    """It is answered 503 before it is parsed, if it is a plain one, and the connection goes on."""

    @pytest.fixture(autouse=True)
    def late(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def turn(_: RequestQueue) -> bool:
            return False

        monkeypatch.setattr(RequestQueue, "turn", turn)

    async def test_is_told_when_to_come_again(self, node: FakeNode) -> None:
        key = str(node.holding(b"a value")).encode()
        async with served(node) as endpoint, await trio.open_tcp_stream(endpoint.host, endpoint.port) as stream:
            with trio.fail_after(10):
                for _ in range(2):
                    await stream.send_all(b"GET /%s HTTP/1.1\r\n%s\r\n" % (key, HOST))
                    heard = Heard(bytes(await stream.receive_some()))
                    assert (heard.status, heard.problem, heard.says_close) == (503, "overloaded", False)
                    assert b"\r\nretry-after: 2" in heard.head
                await stream.send_all(b"HEAD /%s HTTP/1.1\r\n%s\r\n" % (key, HOST))
                assert (await stream.receive_some()).endswith(b"\r\n\r\n")
                await stream.send_all(b"GET /-/metrics HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
                metrics = b""
                while chunk := await stream.receive_some():
                    metrics += chunk
            assert b"camomile_http_requests_refused_total 3.0" in metrics

    async def test_is_answered_late_if_it_is_for_an_operator(self, node: FakeNode) -> None:
        async with served(node) as endpoint:
            for path in (b"healthy", b"ready", b"node"):
                heard = await ask(endpoint, b"GET /-/%s HTTP/1.1\r\n%sConnection: close\r\n\r\n" % (path, HOST))
                assert heard.status == 200

    @pytest.mark.parametrize(
        ("request_line", "more"),
        [
            (b"GET /%s HTTP/1.1", b"Connection: close\r\n\r\n"),
            (b"GET /%s HTTP/1.0", b"\r\n"),
            (b"GET /%s HTTP/1.1", b"Content-Length: 3\r\nConnection: close\r\n\r\nabc"),
            (b"GET /%s HTTP/1.1", b"Content-Length: 40\r\n\r\nGET /x HTTP/1.1\r\nConnection: close\r\n\r\n\r\n"),
            (b"GET /%s HTTP/1.1", b"X-Folded: a\r\n b\r\nConnection: close\r\n\r\n"),
            (b"GET /%s HTTP/1.1", b"Connection: close\n\n"),
        ],
    )
    async def test_is_answered_late_if_more_than_a_head_belongs_to_it(
        self, node: FakeNode, request_line: bytes, more: bytes
    ) -> None:
        key = str(node.holding(b"a value")).encode()
        async with served(node) as endpoint:
            # The client ends its side, for those who say nothing of closing.
            heard = await ask(endpoint, request_line % key + b"\r\n" + HOST + more, ends=True)
        assert (heard.status, heard.raw.count(b"HTTP/1.1 "), heard.raw.endswith(b"a value")) == (200, 1, True)

    async def test_is_stored_late_if_it_is_a_put(self, node: FakeNode) -> None:
        async with served(node) as endpoint:
            heard = await ask(endpoint, post(b"Content-Length: 5", b"Connection: close"), b"hello")
        assert heard.status == 202
