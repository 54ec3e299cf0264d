"""Counts are the same in every process, and one that grows is named.

Rules of this file: no count of today is repeated here; the network is a small one.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchmarks.counts import ACCEPTED, complaints

COUNT = """
from benchmarks.workloads import codec, network, routing_table, upkeep
codec(), network(nodes=5, operations=2), upkeep(nodes=5, operations=2)
print({**codec(), **routing_table(), **network(nodes=8, operations=3), **upkeep(nodes=8, operations=3)})
"""


def counted_with(hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    run = subprocess.run(
        [sys.executable, "-c", COUNT], env=environment, check=True, capture_output=True, text=True, timeout=120
    )
    return run.stdout


@pytest.mark.real_time
def test_counts_are_the_same_in_every_process_whatever_the_hash_seed() -> None:
    first = counted_with("0")
    assert "join of 8: calls" in first
    assert "rounds of replication over 3 healthy keys: calls" in first
    assert first == counted_with("1") == counted_with("4242")


def test_a_tenth_more_passes_and_more_than_that_is_named_with_both_figures() -> None:
    assert complaints({"put: calls": 100}, {"put: calls": 110}) == []
    [said] = complaints({"put: calls": 100}, {"put: calls": 111})
    assert "put: calls: 111" in said
    assert "100 (+11%" in said


def test_less_passes() -> None:
    assert complaints({"put: calls": 100}, {"put: calls": 1}) == []


def test_something_that_grows_from_nothing_is_named() -> None:
    assert complaints({"hot get: messages": 0}, {"hot get: messages": 1})


@pytest.mark.parametrize(("accepted", "found"), [({}, {"put: calls": 1}), ({"put: calls": 1}, {})])
def test_a_figure_on_one_side_only_is_named(accepted: dict[str, int], found: dict[str, int]) -> None:
    [said] = complaints(accepted, found)
    assert said.startswith("put: calls")


def test_the_accepted_counts_are_committed() -> None:
    assert ACCEPTED.exists()
