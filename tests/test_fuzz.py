"""The fuzzer runs, and its targets get past the first look."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from tests import fuzz


def test_a_few_inputs_come_to_what_they_should() -> None:
    outcomes = trio.run(fuzz.run, 5000, 1, clock=MockClock(autojump_threshold=0.01))
    assert all(sum(counts.values()) == 1000 for counts in outcomes.values())
    assert outcomes["inner packets"]["taken"] > 50 < outcomes["inner packets"]["refused"]
    assert outcomes["a node and its peer"]["answered"] > 10
