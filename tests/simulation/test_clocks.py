"""Virtual time jumps from deadline to deadline; wall clocks may be wrong in every way that clocks are."""

from __future__ import annotations

import math
import time

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as some

from camomile_trio.simulation.clocks import EPOCH, VirtualClock, WallClock


@attrs.define
class Hand:
    """Virtual time, moved by hand."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_week_of_sleep_is_over_at_once() -> None:
    async def sleep_long() -> float:
        await trio.sleep(7 * 86400)
        return trio.current_time()

    began = time.monotonic()
    assert trio.run(sleep_long, clock=VirtualClock()) == 7 * 86400
    assert time.monotonic() - began < 5


def test_sleepers_wake_in_the_order_of_their_deadlines_each_at_its_own() -> None:
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await trio.sleep(seconds)
        woken.append((name, trio.current_time()))

    async def all_of_them() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper, "bob", 3600.0)
            nursery.start_soon(sleeper, "alice", 0.25)
            nursery.start_soon(sleeper, "carol", 86400.0)

    trio.run(all_of_them, clock=VirtualClock())
    assert woken == [("alice", 0.25), ("bob", 3600.0), ("carol", 86400.0)]


def test_time_stands_still_while_somebody_can_run() -> None:
    async def busy() -> float:
        with trio.move_on_after(0.001):
            for _ in range(100):
                await trio.lowlevel.checkpoint()
        return trio.current_time()

    assert trio.run(busy, clock=VirtualClock()) == 0.0


def test_without_a_deadline_there_is_nothing_to_jump_to() -> None:
    clock = VirtualClock()
    assert clock.deadline_to_sleep_time(math.inf) == math.inf
    assert clock.current_time() == 0.0
    assert clock.deadline_to_sleep_time(5.0) == 0.0
    assert clock.deadline_to_sleep_time(3.0) == 0.0
    assert clock.current_time() == 5.0  # never back


def test_a_right_clock_tells_the_time_since_the_epoch_in_ms() -> None:
    hand = Hand()
    clock = WallClock(now=hand)
    assert clock() == EPOCH
    hand.now = 1.5
    assert clock() == EPOCH + 1500
    assert clock.off_by == pytest.approx(0.0, abs=0.5)


def test_a_clock_that_is_off_stays_off_by_as_much() -> None:
    hand = Hand()
    clock = WallClock(-300_000.0, now=hand)
    assert clock() == EPOCH - 300_000
    hand.now = 3600.0
    assert clock.off_by == pytest.approx(-300_000.0, abs=0.5)


def test_somebody_sets_it_forward_and_back() -> None:
    clock = WallClock(now=Hand(10.0))
    clock.jump(60_000.0)
    assert clock() == EPOCH + 70_000
    clock.jump(-120_000.0)
    assert clock() == EPOCH - 50_000


def test_what_a_drifting_clock_has_gained_stays_when_the_drift_changes() -> None:
    hand = Hand()
    clock = WallClock(now=hand)
    clock.set_drift(0.01)
    hand.now = 100.0
    assert clock.off_by == pytest.approx(1000.0, abs=0.5)
    clock.set_drift(0.0)
    hand.now = 200.0
    assert clock.off_by == pytest.approx(1000.0, abs=0.5)
    clock.set_drift(-0.02)
    hand.now = 250.0
    assert clock.off_by == pytest.approx(0.0, abs=0.5)


@given(
    error=some.floats(-1e6, 1e6),
    drifts=some.lists(some.tuples(some.floats(0.0, 1e5), some.floats(-0.1, 0.1)), max_size=6),
)
def test_it_is_off_by_its_error_and_by_all_that_its_drifts_came_to(
    error: float, drifts: list[tuple[float, float]]
) -> None:
    hand = Hand()
    clock = WallClock(error, now=hand)
    gained = error
    for seconds, drift in drifts:
        clock.set_drift(drift)
        hand.now += seconds
        gained += drift * seconds * 1000
    assert clock.off_by == pytest.approx(gained, abs=1.0)
