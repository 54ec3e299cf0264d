"""Random faults in a random small network; see `simulation/swarm.py`."""

from __future__ import annotations

from camomile_trio.simulation import swarm
from camomile_trio.simulation.scenario import Scenario

SCENARIOS = (
    Scenario(
        name="swarm",
        summary="Random faults, random settings, random users, 3 to 60 nodes: each seed another network.",
        passes="no violation; afterwards all serve, what is promised is read everywhere, what was forgotten nowhere",
        run=swarm.run,
        nodes=0,
    ),
)
