"""When a run has passed: failures that are expected must happen, and no others may."""

from __future__ import annotations

import attrs

from camomile_trio.simulation.outcome import Claim, Outcome

OUTCOME = Outcome(
    scenario="orchard",
    nodes=3,
    seed=1,
    trace="",
    virtual_seconds=1.0,
    messages=1,
    bytes=1,
    puts=1,
    gets=1,
    forgets=0,
    failed=0,
    lost=0,
    violation_count=0,
    violations=(),
    claims=(Claim("apples fall", is_true=True, seen="3"),),
    figures={},
    repeat="camomile simulate --scenario orchard --nodes 3 --seed 1",
)


def test_it_has_passed_when_all_claims_are_true_and_no_rule_is_violated() -> None:
    assert OUTCOME.passed


def test_a_claim_that_is_not_true_fails_it() -> None:
    outcome = attrs.evolve(OUTCOME, claims=(*OUTCOME.claims, Claim("pears fall", is_true=False, seen="0")))
    assert not outcome.passed
    assert outcome.surprises == ["failed: pears fall"]


def test_a_violated_rule_fails_it() -> None:
    outcome = attrs.evolve(OUTCOME, violation_count=2, violated_rules={"nothing flies": 2})
    assert outcome.surprises == ["failed: nothing flies"]


def test_what_is_expected_to_fail_may_fail() -> None:
    outcome = attrs.evolve(
        OUTCOME,
        claims=(*OUTCOME.claims, Claim("pears fall", is_true=False, seen="0")),
        violated_rules={"nothing flies": 2},
        expected_failures={"pears fall": "they are not ripe", "nothing flies": "there are birds"},
    )
    assert outcome.passed


def test_what_is_expected_to_fail_and_holds_fails_it() -> None:
    outcome = attrs.evolve(OUTCOME, expected_failures={"apples fall": "they are not ripe"})
    assert outcome.surprises == ["no longer fails: apples fall"]
    assert not outcome.passed


def test_an_interrupted_run_has_not_passed() -> None:
    assert not attrs.evolve(OUTCOME, interrupted=True).passed
