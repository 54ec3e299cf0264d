"""What the docs show beside published curves: how long lookups, puts and gets take in a network without troubles."""

from __future__ import annotations

from camomile_trio.config import Config
from camomile_trio.simulation.ledger import OK
from camomile_trio.simulation.scenario import CONTINENT, Scenario
from camomile_trio.simulation.scenarios.true_lookups import EXACT, claim_exact_lookups
from camomile_trio.simulation.world import World

PUTS, GETS, LOOKUPS = 100, 300, 200


async def run(world: World, nodes: int) -> None:
    """The same operations whatever the size, from random nodes. Meant for `--warm`."""
    await world.settle(nodes)
    world.progress.begin("putting", PUTS)
    keys = await world.users.put_many(PUTS)
    world.claim("every put was acknowledged", len(keys) == PUTS, len(keys))
    world.progress.begin("getting", GETS)
    gets = await world.users.get_many(keys, GETS)
    read = sum(each.outcome == OK for each in gets)
    world.claim("every put was read by every asked node", read == len(gets) > 0, f"{read} of {len(gets)}")
    await claim_exact_lookups(world, LOOKUPS)


SCENARIOS = (
    Scenario(
        name="literature",
        summary="Nothing goes wrong; 100 puts, 300 gets and 200 lookups of random ids, for the table in the docs.",
        passes=f"every value read, {EXACT:.0%} of the lookups exact",
        run=run,
        nodes=100,
        config=Config(),
        links=CONTINENT,
        tick=0.001,
    ),
)
