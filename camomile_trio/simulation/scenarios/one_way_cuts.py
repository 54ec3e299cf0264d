"""Some ways between nodes are cut in one direction, as wrong routes and firewalls do it."""

from __future__ import annotations

from camomile_trio.simulation.faults import one_way_cuts
from camomile_trio.simulation.readings import claim_all_read, claim_share
from camomile_trio.simulation.scenario import Scenario
from camomile_trio.simulation.world import World

SHARE = 0.2


async def run(world: World, nodes: int) -> None:
    """Of all ways one in five, so that a third of the pairs cannot talk: one hears the other and is not heard."""
    await world.settle(nodes)
    keys = await world.users.put_many(nodes)
    before = len(world.ledger.operations)
    with one_way_cuts(world, SHARE):
        world.progress.begin("cut")
        await world.users.keep_busy(600.0, gets=3.0, puts=0.2)
    claim_share(world, "at least 99.9% of the gets succeeded", "get", before, least=0.999)
    claim_share(world, "at least 99.9% of the puts succeeded", "put", before, least=0.999)
    await claim_all_read(world, "once healed every value is read", keys, within=2.0)


SCENARIOS = (
    Scenario(
        name="one-way-cuts",
        summary=f"Of all ways between two nodes {SHARE:.0%} are cut for ten minutes, in one direction.",
        passes="99.9 % of gets and puts succeed meanwhile, and everything is read afterwards",
        run=run,
        nodes=50,
        tick=0.001,
    ),
)
