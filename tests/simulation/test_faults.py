"""Faults that last for a while end with their block; machines that come and go all come back."""

from __future__ import annotations

import random

import attrs
import pytest

from camomile_trio.simulation.disk import DiskFaults
from camomile_trio.simulation.faults import (
    Churn,
    Sessions,
    faulty_disks,
    one_way_cuts,
    parted,
    slow_machines,
    some,
    start_mixed,
)
from camomile_trio.simulation.ledger import OK
from camomile_trio.simulation.run import simulate
from camomile_trio.simulation.scenario import Plan, Scenario
from camomile_trio.simulation.world import World


def test_each_is_felt_and_ends() -> None:
    felt: list[str] = []

    async def works(world: World) -> bool:
        operation = await world.users.put(at=world.machines[1])
        return operation is not None and operation.outcome == OK and operation.seconds < 0.5

    async def run(world: World, nodes: int) -> None:
        machines = await world.settle(nodes)
        assert await works(world)
        for name, fault in (
            ("disks", faulty_disks(world, machines, DiskFaults(fails_writes=True))),
            ("cuts", one_way_cuts(world, 1.0)),
            ("parted", parted(world, [[each] for each in machines])),
            ("slow", slow_machines(world, machines, 0.4)),
        ):
            with fault:
                if world.is_troubled and not await works(world):
                    felt.append(name)
            assert not world.is_troubled, name
            assert await works(world), name

    outcome = simulate(Plan(scenario=Scenario(name="faults", summary="", passes="", run=run, nodes=4)))
    assert outcome.passed, outcome.violations
    assert felt == ["disks", "cuts", "parted", "slow"]


def test_some_are_the_same_for_one_purpose_and_others_for_another() -> None:
    async def run(world: World, nodes: int) -> None:
        machines = await world.settle(nodes)
        assert some(world, 0.5, "apples") == some(world, 0.5, "apples")
        assert len(some(world, 0.5, "apples")) == 4
        assert some(world, 0.5, "apples") != some(world, 0.5, "pears")
        assert len(some(world, 0.0, "apples")) == 1
        assert some(world, 1.0, "apples", machines[2:5]) == machines[2:5]

    assert simulate(Plan(scenario=Scenario(name="some", summary="", passes="", run=run, nodes=8))).passed


@pytest.mark.parametrize("shape", [1.0, 0.5], ids=["exponential", "weibull"])
def test_half_of_the_sessions_are_shorter_than_their_median(shape: float) -> None:
    sessions, rng = Sessions(median=600.0, shape=shape), random.Random(3)
    lengths = sorted(sessions.draw(rng) for _ in range(10_001))
    assert lengths[5000] == pytest.approx(600.0, rel=0.05)


def test_weibull_sessions_are_shorter_and_longer_than_exponential_ones() -> None:
    exponential, weibull = (
        sorted(Sessions(median=600.0, shape=shape).draw(random.Random(seed)) for seed in range(2000))
        for shape in (1.0, 0.5)
    )
    assert weibull[200] < exponential[200] / 3
    assert weibull[1800] > exponential[1800] * 2


def test_machines_go_both_ways_and_all_come_back() -> None:
    seen: list[Churn] = []

    async def run(world: World, nodes: int) -> None:
        machines = await start_mixed(world, nodes)
        ids = [machine.id for machine in machines]
        churn = Churn(world, machines, Sessions(median=60.0), absence=Sessions(median=20.0))
        seen.append(churn)
        await churn.run(240.0)
        assert await churn.bring_back()
        for before, machine in zip(ids, machines, strict=True):
            # Who has a disk keeps its id on it.
            assert (machine.id == before) == (machine.disk is not None or machine.lives == 1)

    outcome = simulate(Plan(scenario=attrs.evolve(_SCENARIO, run=run)))
    assert outcome.passed, outcome.surprises
    assert seen[0].crashes > 0
    assert seen[0].leaves > 0


async def _nothing(world: World, nodes: int) -> None:
    """Nothing happens."""


_SCENARIO = Scenario(name="pilgrims", summary="", passes="", run=_nothing, nodes=5)
