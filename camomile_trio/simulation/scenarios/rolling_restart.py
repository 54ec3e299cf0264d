"""A new release is rolled out: one node after another leaves and starts again, while users read and write."""

from __future__ import annotations

import functools

import trio

from camomile_trio.simulation.readings import claim_all_read, claim_share
from camomile_trio.simulation.scenario import Scenario
from camomile_trio.simulation.world import World

# Between a node that is ready again and the next that leaves, as orchestrators do it; a hasty one has none.
PAUSE = 5.0


async def run(world: World, nodes: int, *, is_ephemeral: bool, pause: float) -> None:
    """All nodes of it, once. An ephemeral node comes back with another id and nothing else."""
    machines = await world.settle(nodes, is_ephemeral=is_ephemeral)
    keys = await world.users.put_many(5 * nodes)
    before = len(world.ledger.operations)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(functools.partial(world.users.keep_busy, 3600.0, gets=5.0, puts=1.0))
        world.progress.begin("restarting", len(machines))
        for machine in machines:
            await world.leave(machine)
            await world.start(machine)
            await world.wait_ready([machine], 60.0)
            await trio.sleep(pause)
            world.progress.advance(1)
        nursery.cancel_scope.cancel()
    claim_share(world, "every get succeeded", "get", before, least=1.0)
    claim_share(world, "every put succeeded", "put", before, least=1.0)
    await claim_all_read(world, "every value is read afterwards", keys, within=2.0)


SCENARIOS = tuple(
    Scenario(
        name=f"rolling-restart-{kind}",
        summary=f"One {what} node after another leaves and starts again, while users put and get.",
        passes="no operation fails at the nodes that are up, and every value is read afterwards",
        run=functools.partial(run, is_ephemeral=kind != "durable", pause=pause),
        nodes=20,
        tick=0.001,
    )
    for kind, what, pause in (
        ("durable", "durable", PAUSE),
        ("ephemeral", "ephemeral", PAUSE),
        ("hasty", "ephemeral", 0.0),
    )
)
