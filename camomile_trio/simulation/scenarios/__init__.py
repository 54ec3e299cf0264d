"""Every scenario, in the order in which `camomile simulate --list` shows them.

Rules of this room: a file for each kind of trouble. A scenario is written in the verbs of the world and its users, and
ends with what it claims; it looks into no node. What must be true at every moment stands in `properties/`.
"""

from __future__ import annotations

from camomile_trio.simulation.scenario import Scenario
from camomile_trio.simulation.scenarios import (
    adversaries,
    attacks_by_floods,
    attacks_by_ids,
    attacks_by_words,
    attacks_on_stores,
    bad_links,
    bad_machines,
    closed_networks,
    crashes,
    partitions,
    restarts,
    sizes,
    strangers,
    swarm,
)

SCENARIOS: dict[str, Scenario] = {
    each.name: each
    for theme in (
        sizes,
        restarts,
        crashes,
        partitions,
        bad_links,
        strangers,
        closed_networks,
        attacks_by_floods,
        attacks_by_ids,
        attacks_by_words,
        attacks_on_stores,
        adversaries,
        bad_machines,
        swarm,
    )
    for each in theme.SCENARIOS
}
