"""Nothing goes wrong: nodes join one after another, users put and get."""

from __future__ import annotations

import attrs

from camomile_trio.config import Config, Records
from camomile_trio.simulation.ledger import OK
from camomile_trio.simulation.scenario import CONTINENT, Scenario
from camomile_trio.simulation.world import World

PUTS, GETS = 1000, 5000


async def run(world: World, nodes: int) -> None:
    """Joins, then 1000 puts and 5000 gets from random nodes, fewer in a small network."""
    await world.settle(nodes, per_second=max(20.0, nodes / 100))
    world.progress.begin("putting", min(PUTS, 2 * nodes))
    keys = await world.users.put_many(min(PUTS, 2 * nodes))
    world.claim("every put was acknowledged", len(keys) == min(PUTS, 2 * nodes), len(keys))
    world.progress.begin("getting", min(GETS, 10 * nodes))
    gets = await world.users.get_many(keys, min(GETS, 10 * nodes))
    read = sum(each.outcome == OK for each in gets)
    world.claim("every put was read by every asked node", read == len(gets) > 0, f"{read} of {len(gets)}")


SCENARIOS = (
    Scenario(
        name="steady",
        summary="Nodes join one after another; 1000 puts and 5000 gets; nothing goes wrong.",
        passes="every put acknowledged, every value read by every asked node",
        run=run,
        nodes=1000,
        config=attrs.evolve(Config(), records=Records()),
        links=CONTINENT,
        tick=0.001,
    ),
)
