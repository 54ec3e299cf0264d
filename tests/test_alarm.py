"""A task sleeps until its alarm rings: under Trio's own clocks, and under one that wakes alarms by itself."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import trio
import trio.testing

from camomile_trio.alarm import Alarm
from camomile_trio.simulation.clocks import VirtualClock

Clocks = Callable[[], trio.abc.Clock]


def a_mock_clock() -> trio.abc.Clock:
    return trio.testing.MockClock(autojump_threshold=0)


@pytest.fixture(params=[a_mock_clock, VirtualClock])
def make_clock(request: pytest.FixtureRequest) -> Clocks:
    make: Clocks = request.param
    return make


def test_it_rings_at_its_time_or_at_an_earlier_one_that_somebody_names(make_clock: Clocks) -> None:
    woken: list[float] = []

    async def main() -> None:
        alarm = Alarm()

        async def sleeper() -> None:
            for until in (5.0, 20.0, math.inf):
                await alarm.wait(began + until)
                woken.append(trio.current_time() - began)

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper)
            await trio.sleep(1)
            alarm.advance(began + 30)  # later than it would wake anyhow
            await trio.sleep(9)
            alarm.advance(began + 15)
            alarm.advance(began + 12)
            await trio.sleep(10)
            alarm.advance_to_now()

    trio.run(main, clock=make_clock())
    assert woken == pytest.approx([5.0, 12.0, 20.0])


def test_it_rings_later_if_there_is_nothing_to_do_before(make_clock: Clocks) -> None:
    woken: list[float] = []

    async def main() -> None:
        alarm = Alarm()

        async def sleeper() -> None:
            await alarm.wait(began + 5.0)
            woken.append(trio.current_time() - began)

        began = trio.current_time()
        alarm.delay(began + 1)  # nobody sleeps yet
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper)
            await trio.sleep(1)
            alarm.delay(began + 3)  # sooner than it would wake anyhow
            alarm.delay(math.inf)
            await trio.sleep(20)
            assert woken == []
            alarm.advance(began + 30)
            alarm.delay(began + 40)
            await trio.sleep(30)

    trio.run(main, clock=make_clock())
    assert woken == pytest.approx([40.0])


def test_nobody_sleeps_so_nothing_happens(make_clock: Clocks) -> None:
    async def main() -> float:
        alarm = Alarm()
        alarm.advance_to_now()
        with trio.move_on_after(3) as scope:
            await alarm.wait(math.inf)
        assert scope.cancelled_caught
        assert alarm.until == -math.inf
        began = trio.current_time()
        await alarm.wait(began + 2)
        return trio.current_time() - began

    assert trio.run(main, clock=make_clock()) == pytest.approx(2.0)


def test_a_time_that_has_passed_ends_the_sleep_at_once(make_clock: Clocks) -> None:
    async def main() -> float:
        await trio.sleep(10)
        began = trio.current_time()
        await Alarm().wait(began - 1)
        return trio.current_time() - began

    assert trio.run(main, clock=make_clock()) == 0.0


def test_many_ring_in_the_order_of_their_times() -> None:
    rung: list[int] = []

    async def main() -> None:
        async def sleeper(number: int) -> None:
            await Alarm().wait(float(number))
            rung.append(number)
            assert trio.current_time() == number

        async with trio.open_nursery() as nursery:
            for number in (3, 1, 2):
                nursery.start_soon(sleeper, number)
            await trio.sleep(2.5)

    trio.run(main, clock=VirtualClock())
    assert rung == [1, 2, 3]
