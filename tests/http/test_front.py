"""What stands before Quart: paths, and clients of HTTP/2 that never open their window."""

from __future__ import annotations

import logging
from collections.abc import Iterator, MutableMapping

import pytest
import structlog
import trio
import trio.testing
from hypercorn.typing import (
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    ConnectionState,
    HTTPScope,
    Scope,
)

from camomile_trio.http.admission import Admission
from camomile_trio.http.budget import ByteBudget
from camomile_trio.http.front import ANSWER_PATIENCE, Front
from camomile_trio.http.metrics import Metrics
from tests.http.fake_node import FakeNode

ADMISSION = Admission(ByteBudget(1000), 1000)


def scope_of(path: str, version: str) -> HTTPScope:
    return {
        "type": "http",
        "asgi": {"spec_version": "2.1", "version": "3.0"},
        "http_version": version,
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [],
        "client": None,
        "server": None,
        "state": ConnectionState({}),
        "extensions": {},
    }


@pytest.fixture
def debug() -> Iterator[None]:
    """The level at which requests are logged."""
    logger = logging.getLogger("camomile.http")
    before = logger.level
    logger.setLevel(logging.DEBUG)
    yield
    logger.setLevel(before)


async def nothing_comes() -> ASGIReceiveEvent:
    await trio.sleep_forever()
    raise AssertionError


async def test_a_client_that_never_opens_its_window_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    async def answer(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": False})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def window_is_shut(event: ASGISendEvent) -> None:
        if event["type"] == "http.response.body":
            await trio.sleep_forever()

    metrics = Metrics(FakeNode())
    started = trio.current_time()
    await Front(answer, metrics, frozenset({"/"}), ADMISSION)(scope_of("/", "2"), nothing_comes, window_is_shut)
    assert trio.current_time() - started == pytest.approx(ANSWER_PATIENCE)
    assert metrics.requests.count(("GET", "/", "200")) == 1


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/a", "/a"),
        ("/-%2fnode", "/-%2fnode"),
        ("http://example.org/a", "/a"),
        ("http://example.org", "/"),
        ("http://[/", None),
        ("example.org:80", None),
        ("http:", None),
        ("//a", None),
        ("http://example.org//a", None),
        ("*", None),
        ("", None),
    ],
)
async def test_a_target_names_a_path_or_is_refused(target: str, path: str | None) -> None:
    seen: list[str] = []
    sent: list[ASGISendEvent] = []

    async def note_path(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        assert scope["type"] == "http"
        seen.append(scope["path"])

    async def note_answer(event: ASGISendEvent) -> None:
        sent.append(event)

    await Front(note_path, Metrics(FakeNode()), frozenset(), ADMISSION)(
        scope_of(target, "1.1"), nothing_comes, note_answer
    )
    if path is None:
        assert seen == []
        assert sent[0]["type"] == "http.response.start"
        assert sent[0]["status"] == (404 if "//a" in target else 400)
    else:
        assert seen == [path]


async def requests_logged(target: str) -> list[MutableMapping[str, object]]:
    async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": [], "trailers": False})

    async def ignore(event: ASGISendEvent) -> None: ...

    with structlog.testing.capture_logs() as logs:
        front = Front(app, Metrics(FakeNode()), frozenset({"/-/openapi.json"}), ADMISSION)
        await front(scope_of(target, "1.1"), nothing_comes, ignore)
    return logs


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/-/openapi.json", "/-/openapi.json"),
        ("/" + "ab" * 32, "/abababab…"),
        ("/ping/" + "ab" * 32, "/ping/aba…"),
        ("/abc", "/abc"),
        ("/\x1b[2J\n" + "ab" * 32, "/\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}aba…"),
        ("", ""),
    ],
)
@pytest.mark.usefixtures("debug")
async def test_a_request_is_logged_with_no_more_than_8_digits_of_a_key(target: str, shown: str) -> None:
    (event,) = await requests_logged(target)
    assert (event["event"], event["log_level"], event["method"]) == ("request", "debug", "GET")
    assert event["path"] == shown
    assert event["status"] == ("404" if target else "400")
    assert "seconds" in event


async def test_no_request_is_logged_above_the_level_debug() -> None:
    assert await requests_logged("/abc") == []
