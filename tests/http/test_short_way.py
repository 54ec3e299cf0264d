"""The short way to a value, and for one: nobody can tell it from Quart's, and clients that leave are noticed on both.

Rules of this file: the same request is sent to one application twice, once from a server that says who its client is
(the short way) and once from one that does not (Quart).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from unittest.mock import patch

import attrs
import pytest
import trio
from hypercorn.typing import ASGIReceiveEvent, ASGISendEvent, ConnectionState, HTTPScope
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from trio.testing import MockClock

from camomile_trio.errors import Forgotten, NotFound, NotJoined, Overloaded, Unreachable
from camomile_trio.http.app import RestService, make_app
from camomile_trio.http.settings import HttpSettings
from camomile_trio.http.short_way import CLIENT, is_plain_upload, key_of
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


async def ask(
    app: RestService,
    scope: HTTPScope,
    client: PresentClient | None,
    body: Sequence[bytes] = (b"",),
    *,
    ends_after: float = 0.0,
) -> Seen:
    """Sends a request whose body comes in pieces, the end of it after so many seconds."""
    if client is not None:
        scope["extensions"][CLIENT] = client  # type: ignore[assignment]
    sent: list[ASGISendEvent] = []
    arriving = list(body)
    end = trio.current_time() + ends_after

    async def receive() -> ASGIReceiveEvent:
        if not arriving:
            await trio.sleep_forever()
        if len(arriving) == 1:
            await trio.sleep_until(end)
        piece = arriving.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(arriving)}

    async def send(event: ASGISendEvent) -> None:
        sent.append(event)

    await app.asgi_app(scope, receive, send)
    start, *bodies = sent
    assert start["type"] == "http.response.start"
    answered = b""
    for event in bodies:
        assert event["type"] == "http.response.body"
        answered += event["body"]
    # A server sends no body to who asked for the head.
    seen_body = b"" if scope["method"] == "HEAD" else answered
    route = scope["path"] if scope["path"] == "/" else "/{key}"
    counted = app.metrics.requests.count((scope["method"], route, str(start["status"])))
    return Seen(start["status"], [(bytes(n), bytes(v)) for n, v in start["headers"]], seen_body, counted)


def service(node: FakeNode, settings: HttpSettings | None = None) -> RestService:
    for value in VALUES:
        node.holding(value)
    return make_app(node, settings or HttpSettings())


def both_ways(
    node: FakeNode,
    method: str,
    path: str,
    headers: Headers,
    version: str = "1.1",
    *,
    body: Sequence[bytes] = (b"",),
    settings: HttpSettings | None = None,
    ends_after: float = 0.0,
) -> tuple[Seen, Seen]:
    """What the short way answers, which must have been taken, and what Quart does."""
    client = PresentClient()
    seen: list[Seen] = []
    with patch.object(RestService, "request_context", side_effect=RestService.request_context, autospec=True) as quart:
        for who in (client, None):
            run = functools.partial(ask, body=body, ends_after=ends_after)
            scope = scope_of(method, path, headers, version)
            clock = MockClock(autojump_threshold=0.01)
            seen.append(trio.run(run, service(node, settings), scope, who, clock=clock))
            assert quart.call_count == (who is None)
    assert client.held == 1
    return seen[0], seen[1]


def uploading(body: Sequence[bytes], *headers: tuple[bytes, bytes]) -> Headers:
    return [(b"content-length", b"%d" % len(b"".join(body))), *headers]


tags = st.one_of(
    st.sampled_from([f'"{key}"' for key in KEYS]),
    st.sampled_from([f'W/"{KEYS[0]}"', "*", " * ", '"other"', "", KEYS[0], f'"a,b", "{KEYS[1]}"', f'"{ABSENT}"']),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=80),
)
printable = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=30)
# With one of these a request is Quart's, or another request.
NOT_PLAIN = {b"transfer-encoding", b"expect", b"upgrade", b"host", b"origin", b"content-encoding"}
other_headers = st.tuples(
    st.sampled_from([b"accept", b"accept-encoding", b"range", b"cookie", b"authorization", b"user-agent"])
    | st.sampled_from([b"connection", b"if-match", b"if-modified-since", b"cache-control", b"x-forwarded-for"])
    | st.from_regex(rb"[a-z][a-z0-9-]{0,12}", fullmatch=True),
    printable.map(str.encode),
).filter(lambda header: header[0] not in NOT_PLAIN)
validators = st.tuples(st.just(b"if-none-match"), tags.map(lambda text: text.encode("latin-1")))
headers_of_any_kind = st.lists(validators | other_headers, max_size=6)
paths = st.sampled_from([*KEYS, KEYS[0].upper(), ABSENT]).map(lambda key: f"/{key}")


@given(st.sampled_from(["GET", "HEAD"]), paths, headers_of_any_kind, st.booleans(), st.sampled_from(["1.0", "1.1"]))
def test_both_ways_say_the_same(method: str, path: str, headers: Headers, live: bool, version: str) -> None:
    short, quart = both_ways(FakeNode(live=live), method, path, headers, version)
    assert short == quart


bodies = st.lists(st.binary(max_size=20), min_size=1, max_size=4)
ttls = st.tuples(
    st.sampled_from([b"camomile-ttl"]), st.sampled_from([b"3600", b"0", b"1e3", b"-1", b"", b"90.5", b"99999999"])
)
types = st.tuples(
    st.just(b"content-type"),
    st.sampled_from([b"application/octet-stream", b"text/plain; charset=utf-8", b"", b"image/png", b"\xff;\xe4"]),
)
upload_headers = st.lists(ttls | types | other_headers, max_size=6)


@given(bodies, upload_headers, st.sampled_from(["1.0", "1.1"]))
def test_both_ways_store_the_same(body: list[bytes], headers: Headers, version: str) -> None:
    node = FakeNode()
    short, quart = both_ways(node, "POST", "/", uploading(body, *headers), version, body=body)
    assert short == quart
    assert (short.status == 202) == (len(node.ttls) == 2)


def test_a_value_that_is_stored_the_short_way_is_what_was_sent() -> None:
    node, body = FakeNode(), (b"caf", b"", b"\xc3\x00")
    short, _ = both_ways(node, "POST", "/", uploading(body, (b"camomile-ttl", b"90")), body=body)
    key = Key.of(b"caf\xc3\x00")
    assert short.status == 202
    assert (b"location", f"/{key}".encode()) in short.headers
    assert node.values[key] == b"caf\xc3\x00"
    assert node.ttls == [90.0, 90.0]


@pytest.mark.parametrize(
    "header",
    [
        b"Bearer s3cret-and-random",
        b"bearer  s3cret-and-random ",
        b"Bearer wrong",
        b"Basic s3cret-and-random",
        b"",
        b"\xe4",
    ],
)
def test_both_ways_ask_for_the_token(header: bytes) -> None:
    node, settings = FakeNode(), HttpSettings(token=b"s3cret-and-random")
    headers = uploading((b"abc",), (b"authorization", header))
    short, quart = both_ways(node, "POST", "/", headers, body=(b"abc",), settings=settings)
    assert short == quart
    assert short.status == (202 if b"s3cret-and-random" in header and b"asic" not in header else 401)


@pytest.mark.parametrize("settings", [HttpSettings(body_timeout=2.0), HttpSettings(token=b"s3cret-and-random")])
@pytest.mark.parametrize("ends_after", [1.0, 6.0, 60.0])
def test_both_ways_wait_for_a_slow_body_and_not_if_it_is_refused_anyway(
    settings: HttpSettings, ends_after: float
) -> None:
    body = (b"abc", b"def")
    short, quart = both_ways(
        FakeNode(), "POST", "/", uploading(body), body=body, settings=settings, ends_after=ends_after
    )
    assert short == quart
    assert short.status == (401 if settings.token else 202 if ends_after == 1.0 else 408)


async def test_who_leaves_within_its_body_gets_no_answer_and_stores_nothing() -> None:
    node = FakeNode()
    app = service(node)
    events: list[ASGIReceiveEvent] = [
        {"type": "http.request", "body": b"ab", "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[ASGISendEvent] = []

    async def receive() -> ASGIReceiveEvent:
        return events.pop(0)

    async def send(event: ASGISendEvent) -> None:
        sent.append(event)

    scope = scope_of("POST", "/", [(b"content-length", b"4")])
    scope["extensions"][CLIENT] = PresentClient()  # type: ignore[assignment]
    await app.asgi_app(scope, receive, send)
    assert (sent, node.ttls) == ([], [])
    assert app.metrics.requests.count(("POST", "/", "gone")) == 1


@pytest.mark.parametrize(
    "scope",
    [
        scope_of("POST", "/", []),
        scope_of("POST", "/", [(b"content-length", b"1001")]),
        scope_of("POST", "/", [(b"content-length", b"+3")]),
        scope_of("POST", "/", [(b"content-length", b"3"), (b"content-length", b"3")]),
        scope_of("POST", "/", [(b"content-length", b"3"), (b"transfer-encoding", b"chunked")]),
        scope_of("POST", "/", [(b"content-length", b"3"), (b"expect", b"100-continue")]),
        scope_of("POST", "/", [(b"content-length", b"9"), (b"content-type", b"application/x-www-form-urlencoded")]),
        scope_of("POST", "/", [(b"content-length", b"9"), (b"content-type", b"Multipart/Form-Data; boundary=x")]),
        scope_of("POST", f"/{KEYS[0]}", [(b"content-length", b"3")]),
        {**scope_of("POST", "/", [(b"content-length", b"3")]), "query_string": b"a=1"},
    ],
)
def test_what_is_no_plain_upload_is_left_to_quart(scope: HTTPScope) -> None:
    assert not is_plain_upload(scope, largest_value=1000)


def test_an_upload_of_the_largest_size_is_plain() -> None:
    assert is_plain_upload(scope_of("POST", "/", [(b"content-length", b"1000")]), largest_value=1000)


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
    if method == "GET":
        short, quart = both_ways(FakeNode(failing=error), "POST", "/", uploading((b"abc",)), body=(b"abc",))
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
