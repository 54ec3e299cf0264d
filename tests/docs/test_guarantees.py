"""No claim without a test: what the page of guarantees names is there, and its numbers are right."""

from __future__ import annotations

import ast
import re
from math import comb

from camomile_trio.simulation.scenarios import SCENARIOS
from tests.docs.documents import ROOT

TIMES = "\N{MULTIPLICATION SIGN}"
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
PAGE = (ROOT / "docs" / "guarantees.md").read_text("utf-8")


def names_of_tests() -> set[str]:
    trees = (ast.parse(path.read_text("utf-8")) for path in (ROOT / "tests").rglob("test_*.py"))
    nodes = (node for tree in trees for node in ast.walk(tree))
    return {each.name for each in nodes if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_test_and_scenario_that_is_named_exists() -> None:
    spans = set(re.findall(r"`([a-z_0-9-]+)`", PAGE))
    named = {each for each in spans if each.startswith("test_")}
    assert len(named) >= 25
    assert named - names_of_tests() == set()
    scenarios = {each for each in spans if "-" in each and not each.startswith("-")}
    assert len(scenarios) >= 7
    assert scenarios - set(SCENARIOS) == set()


def test_every_promise_names_what_shows_it() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("|") and not line.startswith(("|---", "| promise"))]
    assert len(rows) >= 20
    assert [row for row in rows if "`test_" not in row.rpartition("| ")[2] and "above" not in row
            and not re.search(r"`[a-z]+-[a-z0-9-]+`", row.rpartition("| ")[2])] == []  # fmt: skip


def test_the_probabilities_of_the_page_are_right() -> None:
    written = dict(re.findall(rf"C\((\d+, \d+)\) / C\(50, 25\) = ([\d.]+ {TIMES} 10[⁻⁰-⁹]+)", PAGE))
    assert set(written) == {"39, 14", "30, 5"}
    for pair, text in written.items():
        n, k = map(int, pair.split(", "))
        mantissa, exponent = f"{comb(n, k) / comb(50, 25):.1e}".split("e")
        assert text == f"{mantissa} {TIMES} 10{str(int(exponent)).translate(RAISED)}"
