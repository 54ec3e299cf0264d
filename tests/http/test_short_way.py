"""The short way to a value: nobody can tell it from Quart's, and clients that leave are noticed on both.

Rules of this file: the same request is sent to one application twice, once from a server that says who its client is
(the short way) and once from one that does not (Quart).
"""

from __future__ import annotations

import attrs
import pytest
import trio
from hypercorn.typing import ASGIReceiveEvent, ASGISendEvent, ConnectionState, HTTPScope
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from camomile_trio.errors import Forgotten, NotFound, NotJoined, Overloaded, Unreachable
from camomile_trio.http import short_way
from camomile_trio.http.app import RestService, make_app
from camomile_trio.http.settings import HttpSettings
from camomile_trio.http.short_way import CLIENT, key_of
from camomile_trio.kademlia.ids import Key
from tests.http.fake_node import FakeNode

VALUES = (b"some value", "Kamille, ä".encode(), b"caf\xc3", b"x" * 1000, b"\x00")
KEYS = [str(Key.of(value)) for value in VALUES]
ABSENT = "0f" * 32

Headers = list[tuple[bytes, bytes]]


class PresentClient:
    """A client that stays, of a server that can tell."""

    def __init__(self) -> None:
        self.held = 0
        self.scope = trio.CancelScope()

    def while_there(self) -> trio.CancelScope:
        return self.scope

    def hold_next(self) -> None:
        self.held += 1


def scope_of(method: str, path: str, headers: Headers, version: str = "1.1") -> HTTPScope:
    return {
        "type": "http",
        "asgi": {"spec_version": "2.1", "version": "3.0"},
        "http_version": version,
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 4711),
        "server": ("127.0.0.1", 8080),
        "state": ConnectionState({}),
        "extensions": {},
    }


@attrs.frozen
class Seen:
    """What a client saw, and what was counted of it."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    counted: int


async def ask(app: RestService, scope: HTTPScope, client: PresentClient | None) -> Seen:
    if client is not None:
        scope["extensions"][CLIENT] = client  # type: ignore[assignment]
    sent: list[ASGISendEvent] = []
    arriving: list[ASGIReceiveEvent] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> ASGIReceiveEvent:
        if arriving:
            return arriving.pop()
        await trio.sleep_forever()
        raise AssertionError

    async def send(event: ASGISendEvent) -> None:
        sent.append(event)

    await app.asgi_app(scope, receive, send)
    start, *bodies = sent
    assert start["type"] == "http.response.start"
    body = b""
    for event in bodies:
        assert event["type"] == "http.response.body"
        body += event["body"]
    # A server sends no body to who asked for the head.
    seen_body = b"" if scope["method"] == "HEAD" else body
    counted = app.metrics.requests.count((scope["method"], "/{key}", str(start["status"])))
    return Seen(start["status"], [(bytes(n), bytes(v)) for n, v in start["headers"]], seen_body, counted)


def service(node: FakeNode, settings: HttpSettings | None = None) -> RestService:
    for value in VALUES:
        node.holding(value)
    return make_app(node, settings or HttpSettings())


def both_ways(node: FakeNode, method: str, path: str, headers: Headers, version: str = "1.1") -> tuple[Seen, Seen]:
    """What the short way answers, which must have been taken, and what Quart does."""
    client = PresentClient()
    short = trio.run(ask, service(node), scope_of(method, path, headers, version), client)
    assert client.held == 1
    return short, trio.run(ask, service(node), scope_of(method, path, headers, version), None)


tags = st.one_of(
    st.sampled_from([f'"{key}"' for key in KEYS]),
    st.sampled_from([f'W/"{KEYS[0]}"', "*", " * ", '"other"', "", KEYS[0], f'"a,b", "{KEYS[1]}"', f'"{ABSENT}"']),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=80),
)
printable = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=30)
other_headers = st.tuples(
    st.sampled_from([b"host", b"accept", b"accept-encoding", b"range", b"cookie", b"authorization", b"user-agent"])
    | st.sampled_from([b"connection", b"if-match", b"if-modified-since", b"cache-control", b"x-forwarded-for"])
    | st.from_regex(rb"[a-z][a-z0-9-]{0,12}", fullmatch=True),
    printable.map(str.encode),
).filter(lambda header: header[0] not in short_way._NOT_PLAIN)
validators = st.tuples(st.just(b"if-none-match"), tags.map(lambda text: text.encode("latin-1")))
headers_of_any_kind = st.lists(validators | other_headers, max_size=6)
paths = st.sampled_from([*KEYS, KEYS[0].upper(), ABSENT]).map(lambda key: f"/{key}")


@given(st.sampled_from(["GET", "HEAD"]), paths, headers_of_any_kind, st.booleans(), st.sampled_from(["1.0", "1.1"]))
def test_both_ways_say_the_same(method: str, path: str, headers: Headers, live: bool, version: str) -> None:
    short, quart = both_ways(FakeNode(live=live), method, path, headers, version)
    assert short == quart


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "error",
    [
        Forgotten("its publisher forgot it"),
        NotFound("nobody\nhas it"),
        NotJoined("not ready", remedy="wait"),
        Overloaded("too much"),
        Unreachable("nobody answered"),
    ],
)
def test_both_ways_refuse_alike(method: str, error: Exception) -> None:
    short, quart = both_ways(FakeNode(failing=error), method, f"/{KEYS[0]}", [])
    assert short == quart
    assert short.status >= 400


@pytest.mark.parametrize("bug", [KeyError("the secret inside"), ExceptionGroup("nursery", [ValueError("inside")])])
def test_both_ways_own_up_to_a_bug(bug: Exception) -> None:
    with capture_logs() as logged:
        short, quart = both_ways(FakeNode(failing=bug), "GET", f"/{KEYS[0]}", [])
    assert short == quart
    assert (short.status, b"secret" in short.body) == (500, False)
    first, second = ({name: text for name, text in entry.items() if name != "exc_info"} for entry in logged)
    assert first == second
    assert first == {"event": "bug in an HTTP handler", "log_level": "error", "method": "GET", "path": f"/{KEYS[0]}"}


@pytest.mark.parametrize(
    "scope",
    [
        scope_of("POST", f"/{KEYS[0]}", []),
        scope_of("DELETE", f"/{KEYS[0]}", []),
        scope_of("GET", f"/{KEYS[0][:-1]}g", []),
        scope_of("GET", f"/ {KEYS[0][1:]}", []),
        scope_of("GET", f"//{KEYS[0][1:]}", []),
        scope_of("GET", f"/{KEYS[0]}/", []),
        scope_of("GET", "/", []),
        scope_of("GET", f"/{KEYS[0]}", [(b"content-length", b"3")]),
        scope_of("GET", f"/{KEYS[0]}", [(b"transfer-encoding", b"chunked")]),
        scope_of("GET", f"/{KEYS[0]}", [(b"expect", b"100-continue")]),
        {**scope_of("GET", f"/{KEYS[0]}", []), "query_string": b"a=1"},
    ],
)
def test_what_is_not_plain_is_left_to_quart(scope: HTTPScope) -> None:
    assert key_of(scope) is None


async def test_both_ways_share_the_places() -> None:
    node = FakeNode(stall=True)
    app = service(node, HttpSettings(max_requests=1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, app, scope_of("GET", f"/{KEYS[0]}", []), PresentClient())
        await node.begun.wait()
        for client in (PresentClient(), None):
            refused = await ask(app, scope_of("GET", f"/{KEYS[1]}", []), client)
            assert refused.status == 503
            assert b"already serves" in refused.body
        nursery.cancel_scope.cancel()
    node.stall = False
    assert (await ask(app, scope_of("GET", f"/{KEYS[1]}", []), PresentClient())).status == 200


async def test_who_leaves_cancels_the_work_and_gets_no_answer() -> None:
    node = FakeNode(stall=True)
    app = service(node)
    client = PresentClient()
    sent: list[ASGISendEvent] = []

    async def send(event: ASGISendEvent) -> None:
        sent.append(event)

    async def nothing_comes() -> ASGIReceiveEvent:
        await trio.sleep_forever()
        raise AssertionError

    scope = scope_of("GET", f"/{KEYS[0]}", [])
    scope["extensions"][CLIENT] = client  # type: ignore[assignment]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(app.asgi_app, scope, nothing_comes, send)
        await node.begun.wait()
        client.scope.cancel()
        await node.cancelled.wait()
    assert sent == []
    assert app.metrics.requests.count(("GET", "/{key}", "gone")) == 1
