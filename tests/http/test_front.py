"""What stands before Quart: paths, and clients of HTTP/2 that never open their window."""

from __future__ import annotations

import pytest
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
