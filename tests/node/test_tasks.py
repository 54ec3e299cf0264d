"""A node's tasks outlive the block beside them by the hand-over, and what the block raises leaves as itself."""

from __future__ import annotations

import math
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.errors import NotFound
from camomile_trio.node.tasks import beside_the_block

HAND_OVER = 5.0  # seconds


class CrashError(Exception):
    """A bug in a task."""


@attrs.define
class Story:
    """What happened, in order, and a task that crashes when it is told to."""

    happened: list[str] = attrs.field(factory=list)
    crash: trio.Event = attrs.field(factory=trio.Event)
    starting: float = 0.0  # seconds
    nursery: trio.Nursery | None = None

    async def start(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        await trio.sleep(self.starting)
        await nursery.start(self.task)

    async def task(self, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        try:
            await self.crash.wait()
            raise CrashError("a bug")
        finally:
            self.happened.append("task ended")

    async def hand_over(self) -> None:
        self.happened.append(f"handing over at {trio.current_time():g}")
        await trio.sleep(HAND_OVER)
        self.happened.append("handed over")

    def close(self) -> None:
        self.happened.append("closed")

    @asynccontextmanager
    async def told(self) -> AsyncIterator[None]:
        async with beside_the_block(self.start, self.hand_over, self.close):
            yield


ORDERLY = ["handing over at 0", "handed over", "closed", "task ended"]


async def test_the_tasks_end_after_the_hand_over(autojump_clock: trio.testing.MockClock) -> None:
    story = Story()
    async with story.told():
        assert story.happened == []
    assert story.happened == ORDERLY
    assert trio.current_time() == HAND_OVER


@pytest.mark.parametrize(
    "error",
    [
        NotFound("no node has it"),
        KeyboardInterrupt(),
        SystemExit(3),
        StopIteration(1),
        ExceptionGroup("of the block's own nursery", [ValueError(), NotFound("no node has it")]),
    ],
    ids=repr,
)
async def test_what_the_block_raises_leaves_as_itself_and_after_the_hand_over(
    autojump_clock: trio.testing.MockClock, error: BaseException
) -> None:
    story = Story()
    with pytest.raises(type(error)) as caught:
        async with story.told():
            raise error
    assert caught.value is error
    assert (error.__cause__, error.__context__) == (None, None)
    assert story.happened == ORDERLY


async def test_a_cancellation_reaches_the_block_at_once_and_the_tasks_after_the_hand_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    story = Story()
    with trio.move_on_after(2) as scope:
        async with story.told():
            await trio.sleep(math.inf)
    assert scope.cancelled_caught
    assert story.happened == ["handing over at 2", *ORDERLY[1:]]
    assert trio.current_time() == 2 + HAND_OVER


async def test_a_cancellation_stays_one_beside_an_error_of_the_block(autojump_clock: trio.testing.MockClock) -> None:
    """The block's own nursery has both: what was cancelled is swallowed by the scope that was, the error leaves it."""
    story = Story()

    async def fail_when_cancelled() -> None:
        try:
            await trio.sleep(math.inf)
        finally:
            raise NotFound("no node has it")

    with pytest.RaisesGroup(NotFound), trio.move_on_after(2) as scope:
        async with story.told(), trio.open_nursery() as nursery:
            nursery.start_soon(fail_when_cancelled)
            nursery.start_soon(trio.sleep_forever)
    assert scope.cancelled_caught
    assert story.happened == ["handing over at 2", *ORDERLY[1:]]


async def test_a_cancellation_during_the_hand_over_waits_for_its_end(autojump_clock: trio.testing.MockClock) -> None:
    story = Story()
    with trio.move_on_after(HAND_OVER / 2) as scope:
        async with story.told():
            pass
        await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert story.happened == ORDERLY


async def test_who_is_cancelled_while_the_tasks_start_hands_nothing_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    story = Story(starting=10)
    with trio.move_on_after(2) as scope:
        async with story.told():
            raise AssertionError("the block was entered")
    assert scope.cancelled_caught
    assert story.happened == []
    assert trio.current_time() == 2


async def test_a_task_that_crashes_cancels_the_block_and_is_seen(autojump_clock: trio.testing.MockClock) -> None:
    story = Story()
    with pytest.RaisesGroup(CrashError, flatten_subgroups=True):
        async with story.told():
            story.crash.set()
            await trio.sleep(math.inf)
    assert story.happened == ["task ended", "closed"]
    assert trio.current_time() == 0


async def test_an_error_of_the_block_does_not_hide_a_crash(autojump_clock: trio.testing.MockClock) -> None:
    story = Story()
    with pytest.RaisesGroup(CrashError, NotFound, flatten_subgroups=True):
        async with story.told():
            story.crash.set()
            try:
                await trio.sleep(math.inf)
            finally:
                raise NotFound("no node has it")
    assert story.happened == ["task ended", "closed"]


async def test_a_crash_breaks_the_hand_over_off(autojump_clock: trio.testing.MockClock) -> None:
    story = Story()

    async def crash_soon() -> None:
        await trio.sleep(1)
        story.crash.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(crash_soon)
        with pytest.RaisesGroup(CrashError, flatten_subgroups=True):
            async with story.told():
                pass
    assert sorted(story.happened) == ["closed", "handing over at 0", "task ended"]
    assert trio.current_time() == 1


async def test_tasks_whose_nursery_is_cancelled_hand_nothing_over(autojump_clock: trio.testing.MockClock) -> None:
    story = Story()
    with trio.CancelScope() as scope:
        async with story.told():
            assert story.nursery is not None
            story.nursery.cancel_scope.cancel()
            scope.cancel()
            await trio.sleep(math.inf)
    assert sorted(story.happened) == ["closed", "task ended"]
    assert trio.current_time() == 0


@pytest.mark.parametrize(("block", "began"), [(math.inf, 2), (0.0, 0)], ids=["of the block", "of the hand-over"])
def test_an_interruption_leaves_as_itself(block: float, began: float) -> None:
    story = Story()

    async def interrupt() -> None:
        await trio.sleep(2)
        signal.raise_signal(signal.SIGINT)

    async def main() -> None:
        trio.lowlevel.spawn_system_task(interrupt)
        async with story.told():
            await trio.sleep(block)

    with pytest.raises(KeyboardInterrupt):
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert story.happened == [f"handing over at {began}", *ORDERLY[1:]]
