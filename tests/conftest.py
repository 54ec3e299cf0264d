"""What holds for every test: how long it may take, how hard hypothesis tries, and where assertions say what they found.

Rules of this file: no fixtures of any one storey; those live beside its tests. HYPOTHESIS_PROFILE=thorough tries
longer, for a change to the rules themselves.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from camomile_trio.simulation.clocks import VirtualClock

# A node refuses a data directory that other users may write to, and the umask 002 of some systems makes such ones.
os.umask(0o022)

pytest_plugins = ["tests.time_limit"]

# Its assertions are read by people too, who want to know what was found.
pytest.register_assert_rewrite("tests.cluster.network")

# No deadline: on a machine with two busy cores the time of one example says nothing.
settings.register_profile("quick", max_examples=100, deadline=None, print_blob=True)
settings.register_profile("thorough", parent=settings.get_profile("quick"), max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture
def virtual_clock() -> VirtualClock:
    """Trio's clock of a test with many nodes: as `autojump_clock`, at three quarters of the cost."""
    return VirtualClock()
