"""A network becomes twice as large within a minute, while it is used."""

from __future__ import annotations

import trio

from camomile_trio.simulation.readings import claim_all_read, claim_share
from camomile_trio.simulation.scenario import Scenario
from camomile_trio.simulation.world import World

A_MINUTE = 60.0
# A newcomer is ready when the pauses of its join are over, and the crowd that came after it has settled.
READY_WITHIN = 30.0


async def run(world: World, nodes: int) -> None:
    """Half of the nodes are there and hold values; the others come at random moments of one minute."""
    old = await world.settle(nodes // 2)
    keys = await world.users.put_many(nodes)
    before = len(world.ledger.operations)
    crowd = [world.new_machine() for _ in range(nodes - len(old))]
    rng = world.generator("crowd")
    world.progress.begin("crowd", len(crowd))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_use, world)
        moments = sorted(rng.uniform(0.0, A_MINUTE) for _ in crowd)
        began = world.now
        for machine, moment in zip(crowd, moments, strict=True):
            await trio.sleep_until(began + moment)
            await world.start(machine)
            world.progress.advance(1)
    ready = await world.wait_ready(crowd, READY_WITHIN)
    world.claim("all of the crowd are ready half a minute later", ready, sum(each.serves for each in crowd))
    claim_share(world, "every get in that minute succeeded", "get", before, least=1.0)
    claim_share(world, "every put in that minute succeeded", "put", before, least=1.0)
    await claim_all_read(world, "every value is read at the newcomers", keys, within=2.0, at=crowd)


async def _use(world: World) -> None:
    await world.users.keep_busy(A_MINUTE, puts=1.0, gets=10.0)


SCENARIOS = (
    Scenario(
        name="flash-crowd",
        summary="Half of the nodes join within one minute, while users put and get.",
        passes="no operation fails, the crowd is ready half a minute later, every value is read there",
        run=run,
        nodes=100,
        tick=0.001,
    ),
)
