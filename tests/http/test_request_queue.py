"""Requests that wait to begin: few in a pass of the loop, in order, and those that waited for too long are told apart.
All in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from camomile_trio.http.request_queue import PATIENCE, RequestQueue


@asynccontextmanager
async def running(at_once: int) -> AsyncIterator[RequestQueue]:
    queue = RequestQueue(at_once)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run)
        await wait_all_tasks_blocked()
        yield queue
        nursery.cancel_scope.cancel()


class Passes(trio.abc.Instrument):
    """Notes how many wait as each pass of Trio's loop begins."""

    def __init__(self, queue: RequestQueue) -> None:
        self.waiting: list[int] = []
        self._queue = queue

    def after_io_wait(self, timeout: float) -> None:
        self.waiting.append(self._queue.waiting)


async def test_a_request_begins_at_once_where_no_other_waits() -> None:
    async with running(2) as queue:
        with trio.CancelScope() as scope:
            scope.cancel()  # what waits now would be cancelled
            assert await queue.turn()
        assert not scope.cancelled_caught
        assert queue.waiting == 0


async def test_so_many_begin_in_a_pass_of_the_loop(autojump_clock: MockClock) -> None:
    queue = RequestQueue(3)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            await queue.turn()
        for _ in range(12):
            nursery.start_soon(queue.turn)
        await wait_all_tasks_blocked()
        passes = Passes(queue)
        trio.lowlevel.add_instrument(passes)
        nursery.start_soon(queue.run)
        await wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(passes)
        nursery.cancel_scope.cancel()
    assert sorted(set(passes.waiting), reverse=True) == [12, 9, 6, 3, 0]


async def test_they_begin_in_the_order_in_which_they_came(autojump_clock: MockClock) -> None:
    order: list[int] = []
    queue = RequestQueue(2)

    async def request(number: int) -> None:
        await queue.turn()
        order.append(number // 2)  # Trio shuffles those of one pass

    async with trio.open_nursery() as nursery:
        for _ in range(2):
            await queue.turn()
        for number in range(10):
            nursery.start_soon(request, number)
            await wait_all_tasks_blocked()
        assert queue.waiting == 10
        nursery.start_soon(queue.run)
        await wait_all_tasks_blocked()
        assert order == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
        nursery.cancel_scope.cancel()


async def test_one_that_waited_for_too_long_is_told_so_and_the_next_ones_are_not(autojump_clock: MockClock) -> None:
    queue = RequestQueue(1)
    in_time: list[bool] = []

    async def request() -> None:
        in_time.append(await queue.turn())

    async with trio.open_nursery() as nursery:
        assert await queue.turn()
        nursery.start_soon(request)
        await trio.sleep(PATIENCE * 1.1)
        nursery.start_soon(request)
        await wait_all_tasks_blocked()
        nursery.start_soon(queue.run)
        await wait_all_tasks_blocked()
        assert in_time == [False, True]
        assert await queue.turn()  # nothing waits any more
        nursery.cancel_scope.cancel()


async def test_one_that_leaves_takes_no_turn(autojump_clock: MockClock) -> None:
    queue = RequestQueue(1)
    ended: list[str] = []

    async def request(name: str, patience: float) -> None:
        with trio.move_on_after(patience):
            await queue.turn()
            ended.append(name)

    async with trio.open_nursery() as nursery:
        await queue.turn()
        nursery.start_soon(request, "leaves", 0.01)
        await wait_all_tasks_blocked()
        nursery.start_soon(request, "stays", 60)
        await trio.sleep(0.02)
        assert queue.waiting == 1
        nursery.start_soon(queue.run)
        await wait_all_tasks_blocked()
        assert (ended, queue.waiting) == (["stays"], 0)
        nursery.cancel_scope.cancel()
