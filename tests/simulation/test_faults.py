"""Faults that last for a while: what is wrong in their block is right again after it."""

from __future__ import annotations

from camomile_trio.simulation.disk import DiskFaults
from camomile_trio.simulation.faults import faulty_disks, one_way_cuts, parted, slow_machines, some
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
