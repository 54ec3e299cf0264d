"""Delivery in time and in order."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from camomile_trio.simulation import delivery
from camomile_trio.simulation.delivery import Schedule


async def test_things_arrive_when_they_are_due_in_order_of_time_then_of_posting(autojump_clock: MockClock) -> None:
    arrived: list[tuple[float, float, str]] = []
    post = Schedule[str](lambda due, item: arrived.append((trio.current_time(), due, item)), 100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(post.run)
        for item, delay in (("late", 5.0), ("first", 1.0), ("second", 1.0), ("middle", 2.5)):
            assert post.post(item, delay)
        await trio.sleep(6)
        nursery.cancel_scope.cancel()
    assert [item for _now, _due, item in arrived] == ["first", "second", "middle", "late"]
    assert [due for _now, due, _item in arrived] == [1.0, 1.0, 2.5, 5.0]
    assert [now for now, _due, _item in arrived] == pytest.approx([1.0, 1.0, 2.5, 5.0])


async def test_with_a_tick_things_arrive_together_at_the_next_one_in_order_of_posting(
    autojump_clock: MockClock,
) -> None:
    arrived: list[tuple[float, str]] = []
    post = Schedule[str](lambda due, item: arrived.append((due, item)), 100, 0.25)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(post.run)
        for item, delay in (("a", 0.9), ("b", 0.3), ("c", 0.8), ("d", 1.0), ("e", 0.26), ("now", 0.0)):
            post.post(item, delay)
        await trio.sleep(2)
        nursery.cancel_scope.cancel()
    assert arrived == [(0.0, "now"), (0.5, "b"), (0.5, "e"), (1.0, "a"), (1.0, "c"), (1.0, "d")]


@settings(max_examples=30)
@given(st.lists(st.floats(0, 10), min_size=1, max_size=20), st.sampled_from([0.001, 0.0007, 0.1, 3.0]))
def test_a_tick_makes_nothing_early_and_nothing_a_whole_tick_late(delays: list[float], tick: float) -> None:
    async def main() -> list[tuple[float, float]]:
        arrived: list[tuple[float, float]] = []
        post = Schedule[float](lambda due, wanted: arrived.append((due, wanted)), 100, tick)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(post.run)
            for delay in delays:
                post.post(trio.current_time() + delay, delay)
                await trio.sleep(delay / 7)
            await trio.sleep(20)
            nursery.cancel_scope.cancel()
        return arrived

    arrived = trio.run(main, clock=MockClock(autojump_threshold=0))
    assert len(arrived) == len(delays)
    for due, wanted in arrived:
        assert wanted - tick * 1e-5 <= due < wanted + tick
        assert due == round(due / tick) * tick


async def test_something_earlier_wakes_a_sleeping_delivery(autojump_clock: MockClock) -> None:
    arrived: list[str] = []
    post = Schedule[str](lambda _due, item: arrived.append(item), 100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(post.run)
        post.post("late", 10.0)
        await trio.sleep(1)
        post.post("soon", 1.0)
        await trio.sleep(1.5)
        assert arrived == ["soon"]
        await trio.sleep(10)
        assert arrived == ["soon", "late"]
        nursery.cancel_scope.cancel()


async def test_what_is_posted_without_delay_while_delivering_waits_for_the_next_step(
    autojump_clock: MockClock,
) -> None:
    """Two that answer each other at once must neither recurse nor keep all others from running."""
    arrived: list[int] = []

    def deliver(_due: float, item: int) -> None:
        arrived.append(item)
        post.post(item + 1, 0.0)

    post = Schedule[int](deliver, 100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(post.run)
        post.post(0, 0.0)
        assert arrived == []
        while len(arrived) < 20:
            seen = len(arrived)
            await trio.lowlevel.checkpoint()
            # Between two steps of ours are at most two of any other task.
            assert len(arrived) <= seen + 2
        nursery.cancel_scope.cancel()
    assert arrived == list(range(len(arrived)))
    assert trio.current_time() == 0.0


async def test_a_turn_is_bounded(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_TURN", 10)
    arrived: list[int] = []
    most = 0
    post = Schedule[int](lambda _due, item: arrived.append(item), 1000)
    for number in range(100):
        post.post(number, 0.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(post.run)
        while len(arrived) < 100:
            seen = len(arrived)
            await trio.lowlevel.checkpoint()
            most = max(most, len(arrived) - seen)
        nursery.cancel_scope.cancel()
    # Between two steps of ours are at most two turns.
    assert 10 <= most <= 20
    assert arrived == list(range(100))


async def test_what_waits_is_bounded(autojump_clock: MockClock) -> None:
    arrived: list[int] = []
    post = Schedule[int](lambda _due, item: arrived.append(item), 2)
    assert [post.post(number, 1.0) for number in range(3)] == [True, True, False]
    assert len(post) == 2
    async with trio.open_nursery() as nursery:
        nursery.start_soon(post.run)
        await trio.sleep(1.5)
        assert (arrived, len(post)) == ([0, 1], 0)
        assert post.post(3, 0.0)
        nursery.cancel_scope.cancel()
