"""A run goes from its seed to its outcome: what was claimed, what was violated, and what repeats it."""

from __future__ import annotations

import _thread
import gc

import attrs
import pytest
import structlog
import trio

from camomile_trio.simulation.run import simulate
from camomile_trio.simulation.scenario import Plan
from camomile_trio.simulation.trace import BEAT
from camomile_trio.simulation.world import World
from tests.simulation.orchard import ORCHARD, grow, plan


def test_a_run_passes_when_what_it_claims_is_true() -> None:
    outcome = simulate(plan())
    assert outcome.passed, outcome.surprises
    assert [claim.what for claim in outcome.claims] == ["fruit is read", "what was forgotten is gone"]
    assert (outcome.nodes, outcome.puts, outcome.gets, outcome.forgets, outcome.failed) == (5, 2, 3, 1, 0)
    assert outcome.messages > 100
    assert outcome.bytes > outcome.messages
    assert outcome.virtual_seconds > 1
    assert not outcome.interrupted


def test_an_untrue_claim_fails_it() -> None:
    async def run(world: World, nodes: int) -> None:
        world.claim("pigs fly", is_true=False, seen="none")

    outcome = simulate(Plan(scenario=attrs.evolve(ORCHARD, run=run)))
    assert not outcome.passed
    assert outcome.claims[0].seen == "none"


def test_a_violation_fails_it_and_says_when_and_where() -> None:
    async def run(world: World, nodes: int) -> None:
        machines = await world.settle(2)
        await trio.sleep(100)
        world.violated("apples are red", "red", "green", machines[1])

    outcome = simulate(Plan(scenario=attrs.evolve(ORCHARD, run=run)))
    assert not outcome.passed
    assert outcome.violation_count == 1
    violation = outcome.violations[0]
    assert (violation.rule, violation.machine, violation.expected, violation.seen) == (
        "apples are red",
        1,
        "red",
        "green",
    )
    assert violation.time > 100


def test_it_says_what_repeats_it() -> None:
    assert plan(7).command == "camomile simulate --scenario orchard --nodes 5 --seed 7"
    warm = Plan(scenario=ORCHARD, nodes=9, is_warm=True)
    assert warm.command == "camomile simulate --scenario orchard --nodes 9 --seed 1 --warm"
    drawn = Plan(scenario=attrs.evolve(ORCHARD, nodes=0))
    assert drawn.command == "camomile simulate --scenario orchard --seed 1"


def test_an_interrupted_run_has_its_figures_so_far() -> None:
    async def run(world: World, nodes: int) -> None:
        await grow(world, nodes)
        _thread.interrupt_main()
        await trio.sleep(1000)

    outcome = simulate(Plan(scenario=attrs.evolve(ORCHARD, run=run)))
    assert outcome.interrupted
    assert not outcome.passed
    assert (outcome.puts, outcome.gets) == (2, 3)


def test_who_watches_is_shown_the_world_every_so_many_messages() -> None:
    seen: list[int] = []
    outcome = simulate(Plan(scenario=ORCHARD, nodes=25), on_beat=lambda world: seen.append(world.trace.messages))
    assert seen == list(range(BEAT, outcome.messages + 1, BEAT))
    assert seen


def test_what_it_sets_for_the_whole_process_is_as_before_afterwards() -> None:
    before = (gc.get_threshold(), structlog.get_config()["processors"])
    simulate(plan())
    assert (gc.get_threshold(), structlog.get_config()["processors"]) == before


def test_what_a_scenario_raises_is_a_bug_in_it_and_is_not_hidden() -> None:
    async def run(world: World, nodes: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(BaseExceptionGroup) as raised:
        simulate(Plan(scenario=attrs.evolve(ORCHARD, run=run)))
    assert raised.group_contains(ZeroDivisionError)
