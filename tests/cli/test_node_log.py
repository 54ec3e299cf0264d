"""What the log says of a node's readiness: a start that goes as it should is no reason for a warning."""

from __future__ import annotations

from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager

import structlog
import trio
import trio.testing

from camomile_trio.cli.node_log import USUAL_START, ReadinessLog, logging_operations
from camomile_trio.operations.events import OperationEnded, ReadyChanged
from tests.http.fake_node import FakeNode

Logs = list[MutableMapping[str, object]]


@asynccontextmanager
async def logged(node: FakeNode) -> AsyncIterator[Logs]:
    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ReadinessLog(node).run)
            await trio.testing.wait_all_tasks_blocked()
            yield logs
            nursery.cancel_scope.cancel()


def becomes(node: FakeNode, because: str) -> None:
    node.ready, node.not_ready_because = not because, because
    node.events.emit(ReadyChanged(node.ready, because))


def in_short(logs: Logs) -> list[tuple[object, object, object]]:
    return [(each["log_level"], each["event"], each.get("because")) for each in logs]


async def test_a_node_that_is_ready_when_it_starts_says_so(autojump_clock: trio.testing.MockClock) -> None:
    async with logged(FakeNode()) as logs:
        await trio.sleep(10 * USUAL_START)
    assert in_short(logs) == [("info", "ready", None)]


async def test_a_start_of_some_seconds_warns_of_nothing(autojump_clock: trio.testing.MockClock) -> None:
    node = FakeNode(ready=False, not_ready_because="it has not joined")
    async with logged(node) as logs:
        await trio.sleep(3)
        becomes(node, "it has met 1 of 3 nodes")
        await trio.sleep(USUAL_START - 4)
        becomes(node, "")
        await trio.sleep(10 * USUAL_START)
    assert in_short(logs) == [
        ("info", "not ready", "it has not joined"),
        ("info", "not ready", "it has met 1 of 3 nodes"),
        ("info", "ready", None),
    ]


async def test_a_start_that_takes_too_long_is_warned_of_once(autojump_clock: trio.testing.MockClock) -> None:
    node = FakeNode(ready=False, not_ready_because="it has not joined")
    async with logged(node) as logs:
        await trio.sleep(10 * USUAL_START)
        assert in_short(logs)[1:] == [("warning", "not ready", "it has not joined")]
        assert logs[1]["for_seconds"] == USUAL_START
        becomes(node, "")
    assert len(logs) == 3


async def test_a_node_that_stops_being_ready_warns_at_once(autojump_clock: trio.testing.MockClock) -> None:
    node = FakeNode()
    async with logged(node) as logs:
        becomes(node, "its storage fails")
    assert in_short(logs) == [("info", "ready", None), ("warning", "not ready", "its storage fails")]


async def test_nobody_watches_operations_above_the_level_debug(autojump_clock: trio.testing.MockClock) -> None:
    node = FakeNode()
    with structlog.testing.capture_logs() as logs, logging_operations(node):
        assert not node.events.watched
        node.events.emit(OperationEnded("put", "ok", 0.1))
    assert logs == []
