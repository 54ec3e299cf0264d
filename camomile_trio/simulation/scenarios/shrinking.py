"""A network becomes ever smaller: one node after another leaves in good order, and none comes back."""

from __future__ import annotations

import attrs
import trio

from camomile_trio.config import Config, Kademlia
from camomile_trio.simulation.readings import claim_all_read
from camomile_trio.simulation.scenario import Scenario
from camomile_trio.simulation.world import World

VALUES = 40
K = 3
# The last ones stay. All others are gone before a round of replication could stand in for what they hand over.
STAY = 3
PAUSE = 20.0


async def run(world: World, nodes: int) -> None:
    """Who leaves gives what it holds to whoever is in its place among the closest then."""
    machines = await world.settle(nodes)
    keys = await world.users.put_many(VALUES)
    world.progress.begin("leaving", nodes - STAY)
    for machine in machines[STAY:]:
        await world.leave(machine)
        world.progress.advance(1)
        await trio.sleep(PAUSE)
    await claim_all_read(world, "every value is read at those that stayed", keys, within=2.0)


SCENARIOS = (
    Scenario(
        name="shrinking",
        summary=f"One node after another leaves in good order and does not come back, until {STAY} are left.",
        passes="every value is read at those that stayed",
        run=run,
        nodes=15,
        config=attrs.evolve(Config(), kademlia=Kademlia(k=K)),
        tick=0.001,
    ),
)
