"""One heap, one sleeping task: calls come in order of time, and none is late because another was set first."""

from __future__ import annotations

import functools

import attrs
import trio
import trio.testing

from camomile_trio.peer.deadlines import Deadlines


async def test_calls_come_in_order_of_time_then_of_setting(autojump_clock: trio.testing.MockClock) -> None:
    deadlines = Deadlines()
    calls: list[tuple[float, str]] = []

    def note(name: str) -> None:
        calls.append((trio.current_time(), name))

    async with trio.open_nursery() as nursery:
        for time, name in ((3.0, "late"), (1.0, "early"), (2.0, "first of two"), (2.0, "second of two")):
            deadlines.set(time, functools.partial(note, name))
        nursery.start_soon(deadlines.run)
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
    assert calls == [(1.0, "early"), (2.0, "first of two"), (2.0, "second of two"), (3.0, "late")]
    assert len(deadlines) == 0


async def test_an_earlier_deadline_wakes_the_sleeper_early(autojump_clock: trio.testing.MockClock) -> None:
    deadlines = Deadlines()
    called_at: list[float] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        await trio.testing.wait_all_tasks_blocked()
        deadlines.set(100.0, lambda: None)
        await trio.testing.wait_all_tasks_blocked()
        deadlines.set(1.0, lambda: called_at.append(trio.current_time()))
        await trio.sleep(2)
        nursery.cancel_scope.cancel()
    assert called_at == [1.0]
    assert len(deadlines) == 1


async def test_a_call_may_set_the_next_one(autojump_clock: trio.testing.MockClock) -> None:
    deadlines = Deadlines()
    called_at: list[float] = []

    def again() -> None:
        called_at.append(trio.current_time())
        if len(called_at) < 5:
            deadlines.set(trio.current_time() + 0.5, again)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        deadlines.set(0.5, again)
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert called_at == [0.5, 1.0, 1.5, 2.0, 2.5]


async def test_what_is_due_already_is_called_at_once(autojump_clock: trio.testing.MockClock) -> None:
    deadlines = Deadlines()
    called_at: list[float] = []
    await trio.sleep(10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        deadlines.set(3.0, lambda: called_at.append(trio.current_time()))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert called_at == [10.0]


async def test_what_is_done_wakes_nobody(autojump_clock: trio.testing.MockClock) -> None:
    """Of a thousand requests that were answered in time no deadline is left to sleep for."""

    @attrs.define
    class Request:
        done: bool = False

    woken_at: list[float] = []

    def clock() -> float:
        woken_at.append(trio.current_time())
        return trio.current_time()

    deadlines = Deadlines(clock)
    called_at: list[float] = []
    answered, open_still = Request(), Request()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        for number in range(1000):
            deadlines.set(1.0 + number / 1000, lambda: called_at.append(0.0), awaited=answered)
        deadlines.set(5.0, lambda: called_at.append(trio.current_time()), awaited=open_still)
        await trio.testing.wait_all_tasks_blocked()
        answered.done = True
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert called_at == [5.0]
    assert [at for at in woken_at if at > 0] == [1.0, 5.0]
    assert len(deadlines) == 0


async def test_once_what_was_awaited_is_done_the_task_can_rest(autojump_clock: trio.testing.MockClock) -> None:
    @attrs.define
    class Request:
        done: bool = False

    woken_at: list[float] = []

    def clock() -> float:
        woken_at.append(trio.current_time())
        return trio.current_time()

    deadlines = Deadlines(clock)
    called: list[tuple[float, object]] = []
    answered, open_still = Request(), Request()

    def note(which: object) -> None:
        called.append((trio.current_time(), which))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(5):
            deadlines.set(1.0 + number, note, answered, awaited=answered)
        deadlines.set(9.0, note, open_still, awaited=open_still)
        answered.done = True
        deadlines.rest()
        assert len(deadlines) == 1
        await trio.sleep(5)
        deadlines.set(7.0, note, "earlier")  # than the one that it sleeps for
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert called == [(7.0, "earlier"), (9.0, open_still)]
    assert woken_at == [0.0, 7.0, 9.0]
