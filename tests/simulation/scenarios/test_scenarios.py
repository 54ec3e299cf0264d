"""Every scenario keeps its promise in a small network, and says in its words what it is.

Rules of this file: small means seconds; `camomile simulate` runs them as large as they are meant. A scenario whose
story takes hours or weeks, or shows nothing in a small network, is not here, but for the attacks.
"""

from __future__ import annotations

import re

import pytest

from camomile_trio.simulation.run import simulate
from camomile_trio.simulation.scenario import Plan
from camomile_trio.simulation.scenarios import SCENARIOS

pytestmark = pytest.mark.long

SMALL = {
    "steady": 8,
    "literature": 5,
    "shrinking": 6,
    "quiet-deaths": 5,
    "strangers": 5,
    "closed-network": 6,
    "growth": 12,
    "flash-crowd": 8,
    "churn-weibull-3": 4,
    "mass-crash-50": 6,
    "rolling-restart-durable": 5,
    "rolling-restart-ephemeral": 5,
    "rolling-restart-hasty": 5,
    "changing-places": 8,
    "one-way-cuts": 5,
    "loss-5": 4,
    "damaged-links": 6,
    "classic-mixed": 4,
    "disks-full": 4,
    "disks-failing": 10,
    "power-loss-os": 4,
    "power-loss-full": 4,
}

ATTACKS = [name for name in SCENARIOS if name.startswith("attack-")]


@pytest.mark.parametrize("name", SMALL)
def test_it_passes_in_a_small_network(name: str) -> None:
    outcome = simulate(Plan(scenario=SCENARIOS[name], nodes=SMALL[name]))
    assert outcome.claims
    assert outcome.passed, f"{outcome.repeat}: {outcome.surprises}"


@pytest.mark.parametrize("name", ATTACKS)
def test_no_attack_has_more_effect_than_its_scenario_allows(name: str) -> None:
    """As large as it is meant: where all nodes are holders of all keys most attacks mean nothing."""
    outcome = simulate(Plan(scenario=SCENARIOS[name]))
    assert outcome.claims
    assert outcome.passed, f"{outcome.repeat}: {outcome.surprises}"


def test_each_attack_is_told_at_public_and_at_private_addresses_with_real_crypto() -> None:
    public = [name for name in ATTACKS if not name.endswith(("-private", "-closed"))]
    assert len(public) >= 10
    assert all(f"{name}-private" in ATTACKS for name in public)
    assert all(SCENARIOS[name].needs_real_crypto for name in ATTACKS)


def test_a_closed_network_changes_its_key_with_packets_that_are_really_sealed() -> None:
    outcome = simulate(Plan(scenario=SCENARIOS["closed-network"], nodes=6, has_real_crypto=True))
    assert outcome.passed, f"{outcome.repeat}: {outcome.surprises}"


@pytest.mark.parametrize("name", SCENARIOS)
def test_it_says_what_it_is_in_a_line_each(name: str) -> None:
    scenario = SCENARIOS[name]
    assert re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", name)
    assert name == scenario.name
    for words in (scenario.summary, scenario.passes):
        assert 0 < len(words) <= 110
        assert "\n" not in words


def test_the_same_seed_is_the_same_run_and_another_one_is_not() -> None:
    plan = Plan(scenario=SCENARIOS["rolling-restart-ephemeral"], nodes=4, seed=5)
    first, again, other = simulate(plan), simulate(plan), simulate(Plan(scenario=plan.scenario, nodes=4, seed=6))
    assert first.trace == again.trace
    assert first.messages == again.messages
    assert other.trace != first.trace
