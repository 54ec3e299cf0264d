"""Requests for values: what is answered is the same whichever way they come, and clients that leave are noticed.

Rules of this file: the same request is sent to the application by each version of HTTP, from a server that says who its
client is and from one that does not.
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
from camomile_trio.http.value_handlers import CLIENT
from camomile_trio.kademlia.ids import Key
from tests.http.fake_node import FakeNode, small_config

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


@attrs.frozen
class Way:
    """How a request comes: by which version of HTTP, and whether the server says who its client is."""

    version: str
    tells_client: bool


WAYS = [Way("1.1", True), Way("1.1", False), Way("1.0", True), Way("2", True), Way("2", False)]


def seen_alike(
    node: FakeNode,
    method: str,
    path: str,
    headers: Headers,
    *,
    body: Sequence[bytes] = (b"",),
    settings: HttpSettings | None = None,
    ends_after: float = 0.0,
) -> Seen:
    """What a client sees, which must be the same whichever way the request came, and Quart must not be asked."""
    seen: list[Seen] = []
    with patch.object(RestService, "request_context", side_effect=AssertionError("Quart was asked")):
        for way in WAYS:
            client = PresentClient() if way.tells_client else None
            run = functools.partial(ask, body=body, ends_after=ends_after)
            scope = scope_of(method, path, headers, way.version)
            clock = MockClock(autojump_threshold=0.01)
            seen.append(trio.run(run, service(node, settings), scope, client, clock=clock))
            assert client is None or client.held == 1
    assert all(each == seen[0] for each in seen), seen
    return seen[0]


def uploading(body: Sequence[bytes], *headers: tuple[bytes, bytes]) -> Headers:
    return [(b"content-length", b"%d" % len(b"".join(body))), *headers]


tags = st.one_of(
    st.sampled_from([f'"{key}"' for key in KEYS]),
    st.sampled_from([f'W/"{KEYS[0]}"', "*", " * ", '"other"', "", KEYS[0], f'"a,b", "{KEYS[1]}"', f'"{ABSENT}"']),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=80),
)
printable = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=30)
# With one of these a request is another one, or refused by its head.
LOOKED_AT = {b"transfer-encoding", b"host", b"origin", b"content-encoding", b"content-length", b"content-type"}
other_headers = st.tuples(
    st.sampled_from([b"accept", b"accept-encoding", b"range", b"cookie", b"authorization", b"user-agent"])
    | st.sampled_from([b"connection", b"if-match", b"if-modified-since", b"cache-control", b"x-forwarded-for"])
    | st.from_regex(rb"[a-z][a-z0-9-]{0,12}", fullmatch=True),
    printable.map(str.encode),
).filter(lambda header: header[0] not in LOOKED_AT)
validators = st.tuples(st.just(b"if-none-match"), tags.map(lambda text: text.encode("latin-1")))
headers_of_any_kind = st.lists(validators | other_headers, max_size=6)
paths = st.sampled_from([*KEYS, KEYS[0].upper(), ABSENT]).map(lambda key: f"/{key}")


@given(st.sampled_from(["GET", "HEAD"]), paths, headers_of_any_kind, st.booleans(), st.booleans())
def test_a_get_is_answered_alike_whichever_way_it_comes(
    method: str, path: str, headers: Headers, live: bool, has_body: bool
) -> None:
    body = (b"ignored", b"") if has_body else (b"",)
    sent = uploading(body, *headers) if has_body else headers
    seen = seen_alike(FakeNode(live=live), method, path, sent, body=body)
    assert seen.status == 404 if path == f"/{ABSENT}" else seen.status in {200, 304}
    assert seen.counted == 1
    assert seen.body == b"" if method == "HEAD" or seen.status == 304 else seen.body


bodies = st.lists(st.binary(max_size=20), min_size=1, max_size=4)
ttls = st.tuples(
    st.sampled_from([b"camomile-ttl"]), st.sampled_from([b"3600", b"0", b"1e3", b"-1", b"", b"90.5", b"99999999"])
)
types = st.tuples(
    st.just(b"content-type"),
    st.sampled_from([b"application/octet-stream", b"text/plain; charset=utf-8", b"", b"image/png", b"\xff;\xe4"])
    | st.sampled_from([b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x"]),
)
upload_headers = st.lists(ttls | types | other_headers, max_size=6)


@given(bodies, upload_headers, st.booleans())
def test_a_put_is_answered_alike_whichever_way_it_comes(body: list[bytes], headers: Headers, is_chunked: bool) -> None:
    node = FakeNode()
    sent = [(b"transfer-encoding", b"chunked"), *headers] if is_chunked else uploading(body, *headers)
    seen = seen_alike(node, "POST", "/", sent, body=body)
    assert (seen.status == 202) == (len(node.ttls) == len(WAYS))


@given(paths, st.lists(other_headers, max_size=6))
def test_a_forget_is_answered_alike_whichever_way_it_comes(path: str, headers: Headers) -> None:
    node = FakeNode(other_publishers=2)
    seen = seen_alike(node, "DELETE", path, headers)
    has_two = [name for name, _ in headers].count(b"authorization") > 1
    assert seen.status == (400 if has_two else 404 if path == f"/{ABSENT}" else 204)
    assert len(node.forgotten) == (seen.status == 204)


FORM = (b"content-type", b"application/x-www-form-urlencoded")


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ([(b"camomile-ttl", b"90")], (b"caf", b"", b"\xc3\x00")),
        ([(b"camomile-ttl", b"90"), (b"expect", b"100-continue")], (b"caf\xc3\x00",)),
        ([(b"camomile-ttl", b"90"), FORM], (b"value=caf", b"%c3%0", b"0")),
    ],
)
@pytest.mark.parametrize("is_chunked", [True, False])
def test_what_is_stored_is_what_was_sent(headers: Headers, body: Sequence[bytes], is_chunked: bool) -> None:
    node = FakeNode()
    sent = [(b"transfer-encoding", b"chunked"), *headers] if is_chunked else uploading(body, *headers)
    seen = seen_alike(node, "POST", "/", sent, body=body)
    key = Key.of(b"caf\xc3\x00")
    assert seen.status == 202
    assert (b"location", f"/{key}".encode()) in seen.headers
    assert seen.body == (b"caf\xc3\x00" if FORM in headers else b"")
    assert node.values[key] == b"caf\xc3\x00"
    assert node.ttls == [90.0] * len(WAYS)


@pytest.mark.parametrize("method", ["POST", "DELETE"])
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
def test_the_token_is_asked_for(method: str, header: bytes) -> None:
    settings = HttpSettings(token=b"s3cret-and-random")
    path = "/" if method == "POST" else f"/{KEYS[0]}"
    headers = uploading((b"abc",), (b"authorization", header))
    seen = seen_alike(FakeNode(), method, path, headers, body=(b"abc",), settings=settings)
    done = 202 if method == "POST" else 204
    assert seen.status == (done if b"s3cret-and-random" in header and b"asic" not in header else 401)


@pytest.mark.parametrize("settings", [HttpSettings(body_timeout=2.0), HttpSettings(token=b"s3cret-and-random")])
@pytest.mark.parametrize("ends_after", [1.0, 4.0, 60.0])
def test_a_slow_body_is_waited_for_and_not_if_it_is_refused_anyway(settings: HttpSettings, ends_after: float) -> None:
    body = (b"abc", b"def")
    seen = seen_alike(FakeNode(), "POST", "/", uploading(body), body=body, settings=settings, ends_after=ends_after)
    assert seen.status == (401 if settings.token else 202 if ends_after == 1.0 else 408)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (uploading((b"x" * 1001,)), 413),
        ([(b"transfer-encoding", b"chunked")], 413),
        ([(b"content-length", b"+3")], 400),
        ([(b"content-length", b"1001"), (b"transfer-encoding", b"chunked")], 400),
        (uploading((b"x" * 1001,), (b"content-encoding", b"gzip")), 415),
    ],
)
def test_a_body_that_cannot_be_a_value_is_refused_before_its_end(headers: Headers, status: int) -> None:
    node = FakeNode(config=small_config(1000))
    seen = seen_alike(node, "POST", "/", headers, body=(b"x" * 600, b"x" * 401, b""), ends_after=1000)
    assert (seen.status, node.ttls) == (status, [])


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

    await app.asgi_app(scope_of("POST", "/", [(b"content-length", b"4")]), receive, send)
    assert (sent, node.ttls) == ([], [])
    assert app.metrics.requests.count(("POST", "/", "gone")) == 1


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
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
def test_the_nodes_refusals_are_told_alike(method: str, error: Exception) -> None:
    path, headers = ("/", uploading((b"abc",))) if method == "POST" else (f"/{KEYS[0]}", [])
    seen = seen_alike(FakeNode(failing=error), method, path, headers, body=(b"abc",) if method == "POST" else (b"",))
    assert seen.status >= 400
    assert (b"content-type", b"application/problem+json") in seen.headers


@pytest.mark.parametrize("bug", [KeyError("the secret inside"), ExceptionGroup("nursery", [ValueError("inside")])])
def test_a_bug_is_called_one_and_logged(bug: Exception) -> None:
    with capture_logs() as logged:
        seen = seen_alike(FakeNode(failing=bug), "GET", f"/{KEYS[0]}", [])
    assert (seen.status, b"secret" in seen.body) == (500, False)
    assert len(logged) == len(WAYS)
    told = {name: text for name, text in logged[0].items() if name != "exc_info"}
    assert told == {"event": "bug in an HTTP handler", "log_level": "error", "method": "GET", "path": f"/{KEYS[0]}"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("PUT", "/", 405, {"GET", "HEAD", "OPTIONS", "POST"}),
        ("PUT", f"/{KEYS[0]}", 405, {"DELETE", "GET", "HEAD", "OPTIONS"}),
        ("POST", f"/{KEYS[0]}", 405, {"DELETE", "GET", "HEAD", "OPTIONS"}),
        ("OPTIONS", "/", 200, {"GET", "HEAD", "OPTIONS", "POST"}),
        ("OPTIONS", f"/{KEYS[0]}", 200, {"DELETE", "GET", "HEAD", "OPTIONS"}),
        ("GET", f"/{KEYS[0]}/", 404, None),
        ("DELETE", f"/a/{KEYS[0]}", 404, None),
    ],
)
async def test_what_values_do_not_take_is_left_to_quart(
    way: Way, method: str, path: str, status: int, allow: set[str] | None
) -> None:
    client = PresentClient() if way.tells_client else None
    seen = await ask(service(FakeNode()), scope_of(method, path, [], way.version), client)
    assert seen.status == status
    told = [value.decode().split(", ") for name, value in seen.headers if name == b"allow"]
    assert [set(names) for names in told] == ([] if allow is None else [allow])


async def test_all_ways_share_the_places() -> None:
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
