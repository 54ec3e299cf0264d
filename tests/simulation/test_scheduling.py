"""Which of two tasks runs first follows from the seed alone, and differs between seeds."""

from __future__ import annotations

import random
import signal

import pytest
import trio
import trio._core._run as trio_run

from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.simulation.scheduling import deterministic_scheduling

TASKS = 20


def order_of_tasks(seed: int) -> list[int]:
    """In which order tasks ran that could all run at the same moments."""
    ran: list[int] = []

    async def take_turns(number: int) -> None:
        for _ in range(3):
            await trio.sleep(1)
            ran.append(number)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(TASKS):
                nursery.start_soon(take_turns, number)

    with deterministic_scheduling(seed):
        trio.run(main, clock=VirtualClock())
    return ran


def test_the_same_seed_schedules_the_same_whatever_chance_did_before() -> None:
    first = order_of_tasks(1)
    random.seed(99)
    random.random()
    assert order_of_tasks(1) == first
    assert sorted(first) == sorted(list(range(TASKS)) * 3)


def test_tasks_meet_in_other_orders_under_other_seeds() -> None:
    assert len({tuple(order_of_tasks(seed)) for seed in range(5)}) > 1


def test_trio_is_as_before_afterwards() -> None:
    def inside() -> tuple[object, ...]:
        manager = vars(trio_run)["TheIOManager"]
        return trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r, manager.get_events

    before = inside()
    order_of_tasks(1)
    assert inside() == before


def test_ctrl_c_is_heard_though_the_system_is_seldom_asked() -> None:
    async def main() -> None:
        signal.raise_signal(signal.SIGINT)
        for _ in range(10_000):
            await trio.sleep(1)

    # A shell that starts this in the background may have told it to ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with deterministic_scheduling(1), pytest.raises(KeyboardInterrupt):
            trio.run(main, clock=VirtualClock())
    finally:
        signal.signal(signal.SIGINT, before)
