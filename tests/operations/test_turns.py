"""Turns of puts: few at once, few behind them, nobody for ever, and none lost. All in virtual time."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from camomile_trio.errors import Overloaded
from camomile_trio.operations.turns import PATIENCE, Turns


def turns(at_once: int = 2, waiting: int = 100) -> Turns:
    return Turns(at_once=at_once, waiting=waiting, clock=trio.current_time)


class Puts:
    """Puts that take what their number under way makes of it: a machine that does `per_second` in all."""

    def __init__(self, taken: Turns, per_second: float = 100.0) -> None:
        self.turns = taken
        self.times: list[float] = []
        self.refused = 0
        self.most = 0
        self._per_second = per_second

    async def put(self) -> None:
        began = trio.current_time()
        try:
            async with self.turns.turn():
                self.most = max(self.most, self.turns.under_way)
                await trio.sleep(self.turns.under_way / self._per_second)
        except Overloaded:
            self.refused += 1
            assert trio.current_time() == began
        else:
            self.times.append(trio.current_time() - began)


async def test_no_more_than_so_many_are_under_way_and_the_others_go_in_order(autojump_clock: MockClock) -> None:
    gate = turns(at_once=2)
    order: list[int] = []
    begin = trio.Event()

    async def put(number: int) -> None:
        async with gate.turn():
            order.append(number)
            await begin.wait()
            assert gate.under_way <= 2
            await trio.sleep(number)

    async with trio.open_nursery() as nursery:
        for number in range(7):
            nursery.start_soon(put, number)
            await wait_all_tasks_blocked()
        assert (gate.under_way, gate.waiting) == (2, 5)
        begin.set()
    assert order == [*range(7)]
    assert (gate.under_way, gate.waiting, gate.refused) == (0, 0, 0)


async def test_one_too_many_is_refused_at_once(autojump_clock: MockClock) -> None:
    gate = turns(at_once=1, waiting=1)
    async with trio.open_nursery() as nursery:
        puts = Puts(gate)
        for _ in range(3):
            nursery.start_soon(puts.put)
        await wait_all_tasks_blocked()
        assert puts.refused == gate.refused == 1
    assert len(puts.times) == 2


async def test_at_twice_what_can_be_done_all_that_is_taken_on_is_answered_in_time(autojump_clock: MockClock) -> None:
    puts = Puts(turns(at_once=4), per_second=100.0)
    await puts.put()
    unloaded = puts.times[0]
    async with trio.open_nursery() as nursery:
        for _ in range(2000):
            nursery.start_soon(puts.put)
            await trio.sleep(1 / 200)
    assert max(puts.times[200:]) < 10 * unloaded
    assert puts.refused > 500
    assert len(puts.times) > 800  # and what can be done is done
    assert puts.turns.under_way == puts.turns.waiting == 0


async def test_many_at_once_are_all_taken_on_where_that_takes_no_longer(autojump_clock: MockClock) -> None:
    gate = turns(at_once=16)
    times: list[float] = []

    async def put() -> None:
        began = trio.current_time()
        async with gate.turn():
            await trio.sleep(0.05)  # a network far away: it takes as long beside others as alone
        times.append(trio.current_time() - began)

    async def client() -> None:
        for _ in range(20):
            await put()

    await put()
    async with trio.open_nursery() as nursery:
        for _ in range(64):
            nursery.start_soon(client)
    assert gate.refused == 0
    assert max(times) <= PATIENCE * 0.05


async def test_a_put_that_others_have_joined_tells_nothing_of_an_idle_node(autojump_clock: MockClock) -> None:
    puts = Puts(turns(at_once=16), per_second=100.0)

    async def beside_another(seconds: float) -> None:
        async with puts.turns.turn():
            await trio.sleep(seconds)

    await beside_another(0.01)
    for _ in range(50):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(beside_another, 0.08)
            await trio.sleep(0.001)
            nursery.start_soon(beside_another, 0.08)

    async def client() -> None:
        for _ in range(100):
            await puts.put()

    async with trio.open_nursery() as nursery:
        for _ in range(16):
            nursery.start_soon(client)
            await trio.sleep(0.001)
        await trio.sleep(5)
        assert puts.turns.limit <= 3


async def test_the_first_put_is_a_guess_until_there_is_one_alone(autojump_clock: MockClock) -> None:
    gate = turns(at_once=16)

    async def put(seconds: float) -> None:
        async with gate.turn():
            await trio.sleep(seconds)

    async def client() -> None:
        for _ in range(20):
            await put(0.16)

    async with trio.open_nursery() as nursery:
        for _ in range(16):
            nursery.start_soon(client)
            await trio.sleep(0.01)
    assert gate.limit == 16  # 10 ms from end to end, and each took 160 beside 15 others
    await put(0.01)
    assert gate.limit == 2


async def test_where_more_at_once_only_makes_all_slower_few_are_under_way(autojump_clock: MockClock) -> None:
    puts = Puts(turns(at_once=16), per_second=100.0)

    async def client() -> None:
        for _ in range(50):
            await puts.put()

    await puts.put()
    assert puts.turns.limit == 16  # nobody knows yet
    async with trio.open_nursery() as nursery:
        for _ in range(16):
            nursery.start_soon(client)
        await trio.sleep(1)
        puts.most = 0
    assert puts.most <= 4
    assert puts.refused == 0  # as many as may be under way may always wait
    assert len(puts.times) == 1 + 16 * 50


async def test_a_node_that_was_never_idle_still_refuses_what_would_come_too_late(autojump_clock: MockClock) -> None:
    puts = Puts(turns(at_once=4, waiting=10_000), per_second=100.0)
    async with trio.open_nursery() as nursery:
        for _ in range(2000):
            nursery.start_soon(puts.put)
            await trio.sleep(1 / 400)
    assert puts.refused > 1000
    assert max(puts.times) < 1.0


async def test_who_leaves_while_waiting_leaves_no_trace(autojump_clock: MockClock) -> None:
    gate = turns(at_once=1)
    async with trio.open_nursery() as nursery:
        puts = Puts(gate)
        nursery.start_soon(puts.put)
        await wait_all_tasks_blocked()
        with trio.move_on_after(0.001):
            await puts.put()
        assert gate.waiting == 0
    assert (gate.under_way, len(puts.times)) == (0, 1)


async def test_who_leaves_in_the_moment_of_its_turn_passes_it_on(autojump_clock: MockClock) -> None:
    gate = turns(at_once=1)
    ended: list[str] = []
    async with trio.open_nursery() as nursery:
        leaving = trio.CancelScope()
        first = trio.Event()

        async def hold() -> None:
            async with gate.turn():
                await first.wait()
            leaving.cancel()  # the turn has just been given to the next one, who has not run yet

        async def leave() -> None:
            with leaving:
                async with gate.turn():
                    ended.append("left too late")

        async def stay() -> None:
            async with gate.turn():
                ended.append("stayed")

        for task in (hold, leave, stay):
            nursery.start_soon(task)
            await wait_all_tasks_blocked()
        first.set()
    assert ended[-1] == "stayed"
    assert (gate.under_way, gate.waiting) == (0, 0)


async def test_a_put_that_fails_gives_its_turn_back(autojump_clock: MockClock) -> None:
    gate = turns(at_once=1)
    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            async with gate.turn():
                raise ValueError("no")
    assert gate.under_way == 0
