"""Nothing goes wrong, and every lookup is compared with what only the simulator knows: who is closest."""

from __future__ import annotations

import attrs

from camomile_trio.config import Config, Kademlia
from camomile_trio.simulation.figures import PROBES
from camomile_trio.simulation.scenario import Scenario
from camomile_trio.simulation.world import World

LOOKUPS = 500
EXACT = 0.99


async def run(world: World, nodes: int) -> None:
    """A small k, so that most nodes are far from most keys."""
    await world.settle(nodes)
    await claim_exact_lookups(world, LOOKUPS)


async def claim_exact_lookups(world: World, count: int) -> None:
    """Looks up so many random ids from random nodes, and claims that nearly all find exactly the closest."""
    assert world.figures is not None
    await world.figures.probe_lookups(count)
    table = world.figures.lookups[PROBES]
    exact, wrong = table["exact"], table["wrong"]
    assert isinstance(exact, int)
    assert isinstance(wrong, int)
    world.claim(
        f"at least {EXACT:.0%} of the lookups find exactly the closest",
        exact >= EXACT * count,
        f"{exact} of {count}, {wrong} wrong",
    )


SCENARIOS = (
    Scenario(
        name="true-lookups",
        summary="Nothing goes wrong; lookups of random ids are compared with the nodes that are really closest.",
        passes=f"{EXACT:.0%} of the lookups find exactly the k closest nodes",
        run=run,
        nodes=60,
        config=attrs.evolve(Config(), kademlia=Kademlia(k=6)),
        tick=0.001,
    ),
)
