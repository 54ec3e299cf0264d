"""Nodes come back after a week on old disks, and have missed what was forgotten meanwhile."""

from __future__ import annotations

import attrs
import trio

from camomile_trio.config import Config, Kademlia, Records
from camomile_trio.simulation.ledger import Standing
from camomile_trio.simulation.readings import claim_all_read, claim_none_read
from camomile_trio.simulation.scenario import Scenario
from camomile_trio.simulation.world import World

HOUR, DAY = 3600.0, 86_400.0
# The life of a tombstone is a week: the first comes back while those of its time live, the second when none does.
RETURNS = (6 * DAY, 8 * DAY)


async def run(world: World, nodes: int) -> None:
    """Two nodes crash with everything on their disks; then half of the values are forgotten."""
    machines = await world.settle(nodes)
    keys = await world.users.put_many(40)
    await trio.sleep(60.0)
    began = world.now
    away = machines[-2:]
    await world.crash_all(away)
    for key in keys[::2]:
        await world.users.forget(key)
    forgotten = world.ledger.keys_that_are(Standing.FORGOTTEN)
    kept = world.ledger.keys_that_are(Standing.PROMISED)
    for machine, returns in zip(away, RETURNS, strict=True):
        world.progress.begin(f"{returns / DAY:g} days")
        await trio.sleep_until(began + returns)
        stale = machine.disk is not None and len(machine.disk.entries) > 0
        world.claim(f"after {returns / DAY:g} days it still has its old records", stale, machine)
        await world.start(machine)
        await world.wait_ready([machine], 120.0)
        day = f"after {returns / DAY:g} days"
        await claim_none_read(world, f"{day}: what was forgotten is not read at it at once", forgotten, at=[machine])
        await claim_none_read(world, f"{day}: nor anywhere else", forgotten)
        await trio.sleep(3 * world.config.records.replicate_interval)
        await claim_none_read(world, f"{day}: nor after three rounds of replication", forgotten)
        await claim_all_read(world, f"{day}: what was not forgotten is read", kept, within=2.0)
        await claim_all_read(world, f"{day}: at the node that came back too", kept, within=2.0, at=[machine])


SCENARIOS = (
    Scenario(
        name="lone-return",
        summary="One node comes back after 6 days and one after 8, on their disks, and have missed forgets.",
        passes="nothing that was forgotten comes back, and all else is read",
        run=run,
        nodes=8,
        # A week of virtual time: maintenance is four times as rare as usual.
        config=attrs.evolve(
            Config(), kademlia=Kademlia(refresh_interval=4 * HOUR), records=Records(replicate_interval=4 * HOUR)
        ),
        tick=0.001,
    ),
)
