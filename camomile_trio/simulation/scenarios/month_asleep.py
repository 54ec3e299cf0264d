"""The whole network is stopped for a month, and started again."""

from __future__ import annotations

import trio

from camomile_trio.simulation.faults import start_all
from camomile_trio.simulation.ledger import Standing
from camomile_trio.simulation.readings import claim_all_read, claim_none_read
from camomile_trio.simulation.scenario import Scenario
from camomile_trio.simulation.world import World

MONTH = 30 * 86_400.0
EVERYTHING_READ = "a quarter of an hour later everything that was not forgotten is read"


async def run(world: World, nodes: int) -> None:
    """Leases and tombstones have ended by all clocks, and nobody was there to renew them."""
    machines = await world.settle(nodes)
    keys = await world.users.put_many(2 * nodes)
    for key in keys[::4]:
        await world.users.forget(key)
    forgotten = world.ledger.keys_that_are(Standing.FORGOTTEN)
    kept = world.ledger.keys_that_are(Standing.PROMISED)
    await trio.sleep(60.0)
    world.progress.begin("stopping", nodes)
    async with trio.open_nursery() as nursery:
        for machine in machines:
            nursery.start_soon(world.leave, machine)
    world.progress.begin("asleep")
    await trio.sleep(MONTH)
    ready = await start_all(world, machines)
    world.claim("all nodes joined again", ready, sum(each.serves for each in machines))
    await trio.sleep(15 * 60.0)
    await claim_none_read(world, "what was forgotten is read nowhere", forgotten)
    await claim_all_read(world, EVERYTHING_READ, kept, within=2.0)
    await trio.sleep(3 * 1.25 * world.config.records.replicate_interval)
    await claim_none_read(world, "nor after three rounds of replication", forgotten)


SCENARIOS = (
    Scenario(
        name="month-asleep",
        summary="All nodes are stopped for 30 days, and started again.",
        passes="everything that was not forgotten is read again, and nothing that was",
        run=run,
        nodes=20,
        tick=0.001,
    ),
)
