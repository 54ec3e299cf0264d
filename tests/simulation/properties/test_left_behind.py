"""Requests, deadlines, tasks and addresses end in time; what stays is seen."""

from __future__ import annotations

from unittest import mock

import pytest
import trio

from camomile_trio.alarm import Alarm
from camomile_trio.node.deadlines import Deadlines
from camomile_trio.node.rpc import Rpc
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.properties import inside
from camomile_trio.simulation.properties.left_behind import LeftBehind
from camomile_trio.simulation.world import World
from tests.simulation.worlds import broken_rules, run_world


async def one_crashes(world: World, machines: list[Machine]) -> None:
    await world.crash(machines[-1])
    await world.users.keep_busy(30, puts=2, gets=5)


def test_nothing_is_left_behind() -> None:
    assert not broken_rules(run_world(one_crashes, LeftBehind()))


@pytest.mark.parametrize(("of", "method"), [(Rpc, "_fail"), (Deadlines, "set")])
def test_requests_that_never_end_are_seen(of: type, method: str) -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        with mock.patch.object(of, method, return_value=None):
            await one_crashes(world, machines)

    outcome = run_world(story, LeftBehind())
    assert broken_rules(outcome) == [LeftBehind.name]
    assert "by a datagram" in outcome.violations[0].seen


def test_a_deadline_that_is_missed_is_seen() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        assert machines[0].node is not None
        # Behind the back of whoever sleeps until the next one.
        deadlines = machines[0].node.core.rpc.deadlines
        with mock.patch.object(Alarm, "advance"):
            deadlines.set(world.now - 100, lambda: None)
        LeftBehind().look(world)

    outcome = run_world(story, LeftBehind())
    assert broken_rules(outcome) == [LeftBehind.name]
    assert "100.0 s late" in outcome.violations[0].seen


def test_an_address_that_a_dead_machine_keeps_is_seen() -> None:
    with mock.patch.object(inside, "is_listening", return_value=True):
        assert broken_rules(run_world(one_crashes, LeftBehind())) == [LeftBehind.name]


def test_a_task_that_outlives_its_node_is_seen() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        await trio.sleep(1)

    with mock.patch.object(inside, "tasks_below", return_value=["camomile_trio.node.join.Join.run"]):
        assert broken_rules(run_world(story, LeftBehind())) == [LeftBehind.name]
