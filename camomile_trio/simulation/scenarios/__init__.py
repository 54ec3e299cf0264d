"""Every scenario, in the order in which `camomile simulate --list` shows them."""

from __future__ import annotations

from camomile_trio.simulation.scenario import Scenario
from camomile_trio.simulation.scenarios import (
    churn,
    classic_mixed,
    clock_skew,
    disks_failing,
    disks_full,
    flash_crowd,
    growth,
    lone_return,
    loss,
    mass_crash,
    month_asleep,
    nat,
    one_way_cuts,
    parted_halves,
    power_loss,
    rolling_restart,
    slow_nodes,
    steady,
    swarm,
)

SCENARIOS: dict[str, Scenario] = {
    each.name: each
    for each in (
        *steady.SCENARIOS,
        *growth.SCENARIOS,
        *flash_crowd.SCENARIOS,
        *churn.SCENARIOS,
        *mass_crash.SCENARIOS,
        *rolling_restart.SCENARIOS,
        *parted_halves.SCENARIOS,
        *one_way_cuts.SCENARIOS,
        *loss.SCENARIOS,
        *slow_nodes.SCENARIOS,
        *nat.SCENARIOS,
        *classic_mixed.SCENARIOS,
        *clock_skew.SCENARIOS,
        *disks_full.SCENARIOS,
        *disks_failing.SCENARIOS,
        *power_loss.SCENARIOS,
        *lone_return.SCENARIOS,
        *month_asleep.SCENARIOS,
        *swarm.SCENARIOS,
    )
}
