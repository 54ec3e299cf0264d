"""One packet in ten arrives with other bytes than were sent: no checksum finds everything."""

from __future__ import annotations

import attrs

from camomile_trio.config import Config, Kademlia
from camomile_trio.simulation.faults import trouble
from camomile_trio.simulation.ledger import Standing
from camomile_trio.simulation.readings import claim_all_read, claim_share
from camomile_trio.simulation.scenario import CONTINENT, Scenario
from camomile_trio.simulation.world import World

# Few holders for each value, so that nearly every get is answered by somebody else.
FEW = Config(kademlia=Kademlia(k=3))
VALUE = 900  # bytes, most of a datagram: what is damaged is the value, as a rule


async def run(world: World, nodes: int) -> None:
    """Values are put and read all the while; then the links are as they should be."""
    with trouble(world, "damaged links"):
        await world.settle(nodes, patience=300.0)
        for _ in range(2 * nodes):
            await world.users.put(world.users.new_value(VALUE))
        world.progress.begin("damaged")
        await world.users.keep_busy(120.0, gets=10.0)
        claim_share(world, "of the gets at least 99% succeeded", "get", 0, least=0.99)
    world.network.set_conditions(None, None, CONTINENT)
    await claim_all_read(
        world,
        "what was acknowledged is read once nothing is damaged",
        world.ledger.keys_that_are(Standing.PROMISED),
        within=5.0,
    )


SCENARIOS = (
    Scenario(
        name="damaged-links",
        summary="One packet in ten arrives damaged, from the first join on.",
        passes="99 % of the gets succeed, nobody ever sees wrong bytes, and nothing acknowledged is lost",
        run=run,
        nodes=15,
        config=FEW,
        links=attrs.evolve(CONTINENT, corruption=0.1),
    ),
)
