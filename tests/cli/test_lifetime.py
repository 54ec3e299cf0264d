"""How a process ends: in order, within its limit, or at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from camomile_trio.cli.failures import CommandFailed
from camomile_trio.cli.lifetime import Stop, run_until_stopped
from camomile_trio.cli.stop_signals import STOP_SIGNALS, StopSignals


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


async def test_the_second_signal_is_the_systems_before_the_loop_has_run() -> None:
    async def body(stop: Stop) -> None:
        stop.has_started = True
        signal.raise_signal(signal.SIGTERM)
        # No checkpoint in between: a loop that is stuck would look like this.
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == [signal.SIG_DFL] * 2
        await stop.requested()

    await run_until_stopped(body, limit=10)


async def test_a_terminal_that_closes_may_say_so_twice() -> None:
    async def body(stop: Stop) -> None:
        stop.has_started = True
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        await stop.requested()

    await run_until_stopped(body, limit=10)


async def test_a_hangup_that_nohup_ignores_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    async def body(stop: Stop) -> None:
        signal.raise_signal(signal.SIGHUP)
        await trio.testing.wait_all_tasks_blocked()
        assert not stop.scope.cancel_called

    await run_until_stopped(body, limit=10)


async def test_without_a_terminal_a_hangup_reloads_and_ends_nothing() -> None:
    reloads: list[str] = []

    async def body(stop: Stop) -> None:
        for expected in (1, 2):
            signal.raise_signal(signal.SIGHUP)
            await trio.testing.wait_all_tasks_blocked()
            assert len(reloads) == expected
        # The next signal that ends does it in order, as the first that has come.
        stop.has_started = True
        signal.raise_signal(signal.SIGTERM)
        await stop.requested()
        signal.raise_signal(signal.SIGHUP)
        await trio.testing.wait_all_tasks_blocked()
        assert len(reloads) == 2

    signals = StopSignals(is_on_terminal=False)
    await run_until_stopped(body, limit=10, signals=signals, reload=lambda: reloads.append("reload"))
    assert signals.first is signal.SIGTERM


async def test_on_a_terminal_a_hangup_ends_what_could_reload() -> None:
    async def body(stop: Stop) -> None:
        stop.has_started = True
        signal.raise_signal(signal.SIGHUP)
        await stop.requested()

    def never() -> None:
        raise AssertionError

    await run_until_stopped(body, limit=10, signals=StopSignals(is_on_terminal=True), reload=never)


async def test_a_hangup_without_a_terminal_ends_what_cannot_reload() -> None:
    signals = StopSignals(is_on_terminal=False)
    signals.catch()
    signal.raise_signal(signal.SIGHUP)
    assert signals.first is None

    async def body(stop: Stop) -> None:
        await trio.sleep_forever()

    await run_until_stopped(body, limit=10, signals=signals)
    assert signals.first is signal.SIGHUP


async def test_a_hangup_that_came_before_the_loop_reloads_and_a_later_stop_is_in_order() -> None:
    signals = StopSignals(is_on_terminal=False)
    signals.catch()
    signal.raise_signal(signal.SIGHUP)
    signal.raise_signal(signal.SIGTERM)
    reloads: list[str] = []

    async def body(stop: Stop) -> None:
        await trio.sleep_forever()

    await run_until_stopped(body, limit=10, signals=signals, reload=lambda: reloads.append("reload"))
    assert (signals.first, reloads) == (signal.SIGTERM, [])

    signals = StopSignals(is_on_terminal=False)
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signals.catch()
    signal.raise_signal(signal.SIGHUP)

    async def short(stop: Stop) -> None:
        await trio.testing.wait_all_tasks_blocked()

    await run_until_stopped(short, limit=10, signals=signals, reload=lambda: reloads.append("reload"))
    assert (signals.first, reloads) == (None, ["reload"])


def test_a_hangup_that_was_remembered_is_the_systems_once_signals_are_let_go() -> None:
    hangups: list[int] = []
    signal.signal(signal.SIGHUP, lambda number, _: hangups.append(number))
    signals = StopSignals(is_on_terminal=False)
    signals.catch()
    signal.raise_signal(signal.SIGHUP)
    assert hangups == []
    signals.let_go()
    assert hangups == [signal.SIGHUP]


async def test_a_signal_that_came_before_the_loop_counts() -> None:
    signals = StopSignals()
    signals.catch()
    signal.raise_signal(signal.SIGTERM)

    async def body(stop: Stop) -> None:
        await trio.sleep_forever()

    await run_until_stopped(body, limit=10, signals=signals)


def test_signals_that_are_let_go_do_what_they_did() -> None:
    signals = StopSignals()
    signals.catch()
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signals.let_go()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


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
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
