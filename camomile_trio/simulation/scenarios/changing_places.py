"""Addresses are given out anew, as by container engines: two nodes die, and each comes back at the other's address."""

from __future__ import annotations

import functools

import trio

from camomile_trio.simulation.readings import claim_all_read, claim_share
from camomile_trio.simulation.scenario import Scenario
from camomile_trio.simulation.world import World

PAUSE = 5.0  # s from two that are ready again to the next two
PUTS = 5.0  # a second: everybody's tables are put to the test in each of these pauses


async def run(world: World, nodes: int) -> None:
    """All nodes of it, two by two; of an odd number one stays where it is."""
    machines = await world.settle(nodes)
    keys = await world.users.put_many(5 * nodes)
    before = len(world.ledger.operations)
    order = world.generator("places").sample(machines, len(machines))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(functools.partial(world.users.keep_busy, 3600.0, gets=5.0, puts=PUTS))
        world.progress.begin("changing places", len(order) // 2)
        for one, other in zip(order[::2], order[1::2], strict=False):
            await world.crash_all([one, other])
            world.change_places(one, other)
            for machine in (one, other):
                await world.start(machine)
            await world.wait_ready([one, other], 60.0)
            await trio.sleep(PAUSE)
            world.progress.advance(1)
        nursery.cancel_scope.cancel()
    claim_share(world, "every get succeeded", "get", before, least=1.0)
    claim_share(world, "every put succeeded", "put", before, least=1.0)
    await claim_all_read(world, "every value is read afterwards", keys, within=2.0)


SCENARIOS = (
    Scenario(
        name="changing-places",
        summary="Two nodes after two die, and each comes back at the other's address, while users put and get.",
        passes="no operation fails at the nodes that are up, and every value is read afterwards",
        run=run,
        nodes=20,
        tick=0.001,
    ),
)
