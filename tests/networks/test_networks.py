"""Networks that people have: real processes in network namespaces of their own, which end with the test."""

from __future__ import annotations

import sys

import pytest

from tests.networks.stories import STORIES
from tools.hosts.world import missing, run_apart

pytestmark = pytest.mark.real_time


@pytest.mark.parametrize("name", STORIES)
def test_it_works_in_such_a_network(name: str) -> None:
    reason = missing()
    if reason:
        pytest.skip(reason)
    assert run_apart([sys.executable, "-m", "tests.networks.stories", name], hosts=6) == 0
