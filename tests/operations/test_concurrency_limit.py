"""Places of puts: so many at once, a burst behind them, no standing queue, and no place lost. All in virtual time."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from camomile_trio.errors import Overloaded
from camomile_trio.operations.concurrency_limit import INTERVAL, NEAR, PATIENCE, TARGET, ConcurrencyLimit, Shedding

LONG = 100 * PATIENCE


def limit(places: int = 2, most_waiting: int = 100) -> ConcurrencyLimit:
    return ConcurrencyLimit(places=places, most_waiting=most_waiting)


class Puts:
    """Puts of a machine that does `per_second` in all, so that each takes what their number under way makes of it."""

    def __init__(self, puts: ConcurrencyLimit, per_second: float = 100.0) -> None:
        self.limit = puts
        self.times: list[float] = []
        self.refused: list[float] = []  # seconds that each of them was kept waiting
        self.most = 0
        self._per_second = per_second

    async def put(self) -> None:
        began = trio.current_time()
        try:
            async with self.limit.place():
                self.most = max(self.most, self.limit.under_way)
                await trio.sleep(self.limit.under_way / self._per_second)
        except Overloaded:
            self.refused.append(trio.current_time() - began)
        else:
            self.times.append(trio.current_time() - began)


class TestShedding:
    """The rule alone, on a clock that the test turns."""

    def test_a_burst_may_wait_for_long(self) -> None:
        assert Shedding().patience(0.0) == PATIENCE

    def test_after_a_long_wait_the_next_wait_is_short(self) -> None:
        shedding = Shedding()
        shedding.on_place(2 * TARGET, 10.0)
        assert shedding.patience(10.0) == TARGET
        assert shedding.patience(10.0 + INTERVAL) == PATIENCE

    def test_after_a_short_wait_it_is_not(self) -> None:
        shedding = Shedding()
        shedding.on_place(TARGET, 10.0)
        assert shedding.patience(10.0) == PATIENCE

    def test_a_refusal_is_a_long_wait_too(self) -> None:
        shedding = Shedding()
        shedding.on_refused(10.0)
        assert shedding.patience(10.0) == TARGET

    def test_an_overload_lasts_while_there_are_long_waits(self) -> None:
        shedding = Shedding()
        for now in range(5):
            shedding.on_refused(now * 0.9 * INTERVAL)
        assert shedding.patience(4.5 * INTERVAL) == TARGET
        assert shedding.patience(4.7 * INTERVAL) == PATIENCE


async def test_no_more_than_so_many_are_under_way_and_the_others_go_in_order(autojump_clock: MockClock) -> None:
    puts = limit(places=2)
    order: list[int] = []
    begin = trio.Event()

    async def put(number: int) -> None:
        async with puts.place():
            order.append(number)
            await begin.wait()
            assert puts.under_way <= 2
            await trio.sleep(0.01 * number)

    async with trio.open_nursery() as nursery:
        for number in range(7):
            nursery.start_soon(put, number)
            await wait_all_tasks_blocked()
        assert (puts.under_way, puts.waiting) == (2, 5)
        begin.set()
    assert order == [*range(7)]
    assert (puts.under_way, puts.waiting, puts.refused) == (0, 0, 0)


async def test_one_that_comes_while_others_wait_overtakes_none(autojump_clock: MockClock) -> None:
    puts = limit(places=1)
    order: list[str] = []

    async def put(name: str) -> None:
        async with puts.place():
            order.append(name)

    async with trio.open_nursery() as nursery:
        async with puts.place():
            nursery.start_soon(put, "waits")
            await wait_all_tasks_blocked()
        await put("comes later")
    assert order == ["waits", "comes later"]


async def test_one_too_many_is_refused_at_once(autojump_clock: MockClock) -> None:
    puts = Puts(limit(places=1, most_waiting=1))
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(puts.put)
        await wait_all_tasks_blocked()
        assert puts.refused == [0.0]
    assert (len(puts.times), puts.limit.refused) == (2, 1)


async def test_a_burst_is_taken_on_as_a_whole(autojump_clock: MockClock) -> None:
    puts = Puts(limit(places=4), per_second=100.0)
    async with trio.open_nursery() as nursery:
        for _ in range(80):
            nursery.start_soon(puts.put)
    assert (len(puts.times), puts.refused, puts.most) == (80, [], 4)


async def test_one_that_waits_for_too_long_is_refused_when_its_time_is_over(autojump_clock: MockClock) -> None:
    puts = Puts(limit(places=1))
    async with trio.open_nursery() as nursery, puts.limit.place():
        for _ in range(NEAR):
            nursery.start_soon(puts.put)
        await trio.sleep(LONG)
        assert puts.refused == pytest.approx([PATIENCE] * NEAR)
        assert puts.limit.waiting == 0
        # INTERVAL is over: these may be a burst again.
        for _ in range(NEAR + 1):
            nursery.start_soon(puts.put)
        await trio.sleep(PATIENCE + TARGET)
        assert puts.refused[NEAR:] == pytest.approx([PATIENCE] * (NEAR + 1))
        for _ in range(NEAR):
            nursery.start_soon(puts.put)
            await wait_all_tasks_blocked()
        await puts.put()
        assert puts.refused[-1] == pytest.approx(TARGET)
        await trio.sleep(LONG)


@pytest.mark.parametrize("times_too_much", [1.2, 2, 10])
async def test_under_a_lasting_overload_what_is_taken_on_waits_for_few_others_and_the_rate_stays(
    autojump_clock: MockClock, times_too_much: float
) -> None:
    places, per_second, seconds = 8, 100.0, 20
    puts = Puts(limit(places=places), per_second)
    async with trio.open_nursery() as nursery:
        for _ in range(int(times_too_much * per_second) * seconds):
            nursery.start_soon(puts.put)
            await trio.sleep(1 / (times_too_much * per_second))
    in_node = (1 + NEAR) * places / per_second
    accepted = sorted(puts.times)
    assert accepted[int(0.99 * len(accepted))] <= in_node + 2 * TARGET
    assert len(accepted) >= 0.97 * per_second * seconds
    assert sorted(puts.refused)[int(0.99 * len(puts.refused))] <= TARGET + 1e-6
    assert (puts.limit.under_way, puts.limit.waiting, puts.most) == (0, 0, places)


async def test_a_burst_after_an_overload_is_taken_on_again(autojump_clock: MockClock) -> None:
    puts = Puts(limit(places=4), per_second=100.0)
    async with trio.open_nursery() as nursery:
        for _ in range(1000):
            nursery.start_soon(puts.put)
            await trio.sleep(1 / 200)
    assert puts.refused
    await trio.sleep(INTERVAL)
    puts.refused.clear()
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(puts.put)
    assert puts.refused == []


async def test_so_many_clients_at_once_are_never_refused(autojump_clock: MockClock) -> None:
    puts = Puts(limit(places=4), per_second=100.0)

    async def client() -> None:
        for _ in range(200):
            await puts.put()

    async with trio.open_nursery() as nursery:
        for _ in range(4 * (1 + NEAR)):
            nursery.start_soon(client)
    assert (len(puts.times), puts.refused) == (16 * 200, [])


async def test_one_that_leaves_while_it_waits_leaves_no_trace(autojump_clock: MockClock) -> None:
    puts = Puts(limit(places=1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(puts.put)
        await wait_all_tasks_blocked()
        with trio.move_on_after(0.001):
            await puts.put()
        assert puts.limit.waiting == 0
    assert (puts.limit.under_way, len(puts.times), puts.limit.refused) == (0, 1, 0)


async def test_one_that_leaves_in_the_moment_of_its_turn_passes_its_place_on(autojump_clock: MockClock) -> None:
    puts = limit(places=1)
    ended: list[str] = []
    async with trio.open_nursery() as nursery:
        leaving = trio.CancelScope()
        first = trio.Event()

        async def hold() -> None:
            async with puts.place():
                await first.wait()
            leaving.cancel()  # the place has just been given to the next one, which has not run yet

        async def leave() -> None:
            with leaving:
                async with puts.place():
                    await trio.lowlevel.checkpoint()
                    ended.append("left too late")

        async def stay() -> None:
            async with puts.place():
                ended.append("stayed")

        for task in (hold, leave, stay):
            nursery.start_soon(task)
            await wait_all_tasks_blocked()
        first.set()
    assert ended == ["stayed"]
    assert (puts.under_way, puts.waiting) == (0, 0)


async def test_one_that_leaves_in_its_place_gives_it_back(autojump_clock: MockClock) -> None:
    puts = limit(places=1)
    for _ in range(3):
        with trio.move_on_after(1):
            async with puts.place():
                await trio.sleep_forever()
        with pytest.raises(ValueError, match="no"):
            async with puts.place():
                raise ValueError("no")
    assert (puts.under_way, puts.refused) == (0, 0)
