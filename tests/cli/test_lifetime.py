"""How a process ends: in order, within its limit, or at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from camomile_trio.cli.failures import CommandFailed
from camomile_trio.cli.lifetime import STOP_SIGNALS, Stop, run_until_stopped


@pytest.fixture(autouse=True)
def signals_as_they_were() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOP_SIGNALS)
async def test_the_first_signal_asks_for_an_orderly_end(number: signal.Signals) -> None:
    steps = []

    async def body(stop: Stop) -> None:
        stop.has_started = True
        signal.raise_signal(number)
        await stop.requested()
        steps.append("asked")
        await trio.lowlevel.checkpoint()
        steps.append("ended in order")

    await run_until_stopped(body, limit=10)
    assert steps == ["asked", "ended in order"]


async def test_the_second_signal_is_left_to_the_system() -> None:
    async def body(stop: Stop) -> None:
        stop.has_started = True
        signal.raise_signal(signal.SIGTERM)
        await stop.requested()
        await trio.testing.wait_all_tasks_blocked()
        assert [signal.getsignal(number) for number in STOP_SIGNALS] == [signal.SIG_DFL, signal.SIG_DFL]

    await run_until_stopped(body, limit=10)


async def test_an_end_that_takes_longer_than_its_limit_is_cut_short(autojump_clock: trio.testing.MockClock) -> None:
    began = trio.current_time()

    async def body(stop: Stop) -> None:
        stop.has_started = True
        stop.request("test")
        await stop.requested()
        await trio.sleep_forever()

    with pytest.raises(CommandFailed, match="took longer than 10 s"):
        await run_until_stopped(body, limit=10)
    assert trio.current_time() - began == pytest.approx(10)


async def test_asking_twice_does_not_move_the_limit(autojump_clock: trio.testing.MockClock) -> None:
    began = trio.current_time()

    async def body(stop: Stop) -> None:
        stop.has_started = True
        stop.request("first")
        await trio.sleep(9)
        stop.request("again")
        await trio.sleep_forever()

    with pytest.raises(CommandFailed):
        await run_until_stopped(body, limit=10)
    assert trio.current_time() - began == pytest.approx(10)


async def test_before_anything_has_started_a_signal_ends_it_without_complaint(
    autojump_clock: trio.testing.MockClock,
) -> None:
    began = trio.current_time()

    async def body(stop: Stop) -> None:
        stop.request("test")
        await trio.sleep_forever()

    await run_until_stopped(body, limit=10)
    assert trio.current_time() == began


async def test_a_body_that_ends_by_itself_ends_the_waiting_for_signals() -> None:
    async def body(stop: Stop) -> None:
        await trio.lowlevel.checkpoint()

    await run_until_stopped(body, limit=10)
