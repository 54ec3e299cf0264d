"""A node's tasks, which run beside the block of the program that opened it, and outlive that block by its hand-over.

Rules of this file: it knows Trio and nothing of nodes. The tasks run in a child task under a shielded scope, the block
runs in the caller's task outside of that scope: a cancellation from outside reaches the block at once and the tasks not
at all. The tasks end after the hand-over, which is run once, however the block was left. A task that crashes cancels
the block and the hand-over, and there is no hand-over after it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def beside_the_block(
    start: Callable[[trio.Nursery], Awaitable[None]],
    hand_over: Callable[[], Awaitable[None]],
    close: Callable[[], None],
) -> AsyncIterator[None]:
    """Has `start` start the tasks in a nursery, runs the block, then `hand_over`, which bounds itself. After it, or
    when a task crashes, `close` is called, and all tasks are cancelled.

    What the block raises, a cancellation included, leaves as itself. What a task or the hand-over raises is a bug of
    theirs: it leaves in an ExceptionGroup, beside what the block raised if both have failed. When that nursery is
    cancelled, the tasks end at once and without a hand-over; it is for the canceller to end the block too.
    """
    started, left = trio.Event(), trio.Event()
    # Not shielded while the tasks start: there is nothing to hand over yet.
    life = trio.CancelScope()

    async def run() -> None:
        with life:
            async with trio.open_nursery() as nursery:
                await start(nursery)
                life.shield = True
                started.set()
                try:
                    await left.wait()
                    await hand_over()
                finally:
                    close()
                nursery.cancel_scope.cancel()

    failures: list[BaseException] = []
    try:
        async with trio.open_nursery() as guard:
            guard.start_soon(run)
            try:
                await started.wait()
            except BaseException:
                life.cancel()
                raise
            try:
                yield
            except BaseException as error:
                if guard.cancel_scope.cancel_called:
                    # A task has crashed: the guard has cancelled the block, and takes that cancellation back.
                    raise
                # Not through the guard, which would put it into a group.
                failures.append(error)
            finally:
                left.set()
    except BaseExceptionGroup as group:
        failures += group.exceptions
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise BaseExceptionGroup("the block of a node and its tasks", failures)
