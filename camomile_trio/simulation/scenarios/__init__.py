"""Every scenario, in the order in which `camomile simulate --list` shows them."""

from __future__ import annotations

from camomile_trio.simulation.scenario import Scenario
from camomile_trio.simulation.scenarios import (
    changing_places,
    churn,
    classic_mixed,
    clock_skew,
    damaged_links,
    disks_failing,
    disks_full,
    flash_crowd,
    growth,
    literature,
    lone_return,
    loss,
    mass_crash,
    month_asleep,
    nat,
    one_way_cuts,
    parted_halves,
    parted_leases,
    power_loss,
    quiet_deaths,
    rolling_restart,
    shrinking,
    slow_nodes,
    steady,
    strangers,
    swarm,
    true_lookups,
)

SCENARIOS: dict[str, Scenario] = {
    each.name: each
    for each in (
        *steady.SCENARIOS,
        *true_lookups.SCENARIOS,
        *literature.SCENARIOS,
        *growth.SCENARIOS,
        *shrinking.SCENARIOS,
        *flash_crowd.SCENARIOS,
        *churn.SCENARIOS,
        *mass_crash.SCENARIOS,
        *quiet_deaths.SCENARIOS,
        *rolling_restart.SCENARIOS,
        *changing_places.SCENARIOS,
        *parted_halves.SCENARIOS,
        *parted_leases.SCENARIOS,
        *one_way_cuts.SCENARIOS,
        *loss.SCENARIOS,
        *damaged_links.SCENARIOS,
        *slow_nodes.SCENARIOS,
        *nat.SCENARIOS,
        *classic_mixed.SCENARIOS,
        *strangers.SCENARIOS,
        *clock_skew.SCENARIOS,
        *disks_full.SCENARIOS,
        *disks_failing.SCENARIOS,
        *power_loss.SCENARIOS,
        *lone_return.SCENARIOS,
        *month_asleep.SCENARIOS,
        *swarm.SCENARIOS,
    )
}
