"""Seeds of the swarm that failed once. What a seed means changes with every draw of a node.

So each defect has a directed test as well: tests/stories/test_coming_back.py, tests/node/test_reminders.py and
tests/node/test_retrieval.py.
"""

from __future__ import annotations

import pytest

from camomile_trio.simulation.run import simulate
from camomile_trio.simulation.scenario import Plan
from camomile_trio.simulation.scenarios import SCENARIOS

# What each showed when it failed.
SEEDS = {
    10: "who was silent during a forget was never told; far from a key, a node offered what it had to the wrong ones",
}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_that_failed_once_passes(seed: int) -> None:
    outcome = simulate(Plan(scenario=SCENARIOS["swarm"], seed=seed))
    assert outcome.passed, outcome.violated_rules
