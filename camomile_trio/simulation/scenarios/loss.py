"""The network loses packets from the first join on: 5, 20 or 40 % of them, in each direction."""

from __future__ import annotations

import functools

import attrs

from camomile_trio.simulation.faults import trouble
from camomile_trio.simulation.ledger import OK, Standing
from camomile_trio.simulation.readings import claim_all_read, claim_share
from camomile_trio.simulation.scenario import CONTINENT, Scenario
from camomile_trio.simulation.world import World

STUBBORN = 20
MOST_TRIES = 6


async def run(world: World, nodes: int, *, gets: float, puts: float) -> None:
    """Nobody has ever seen it better; then the packets stop being lost."""
    with trouble(world, "lossy links"):
        machines = await world.settle(nodes, patience=300.0)
        ready = sum(each.serves for each in machines)
        world.claim("all nodes joined", ready == nodes, ready)
        await world.users.put_many(2 * nodes)
        world.progress.begin("lossy")
        await world.users.keep_busy(600.0, gets=3.0, puts=0.2)
        asked = len(world.ledger.operations)
        claim_share(world, f"of the gets at least {gets:.1%} succeeded", "get", 0, least=gets)
        claim_share(world, f"of the puts at least {puts:.1%} succeeded", "put", 0, least=puts)
        stubborn = [await _put_until_acknowledged(world) for _ in range(STUBBORN)]
        world.claim(
            f"whoever repeats a put is done within {MOST_TRIES} tries",
            all(tries <= MOST_TRIES for tries in stubborn),
            f"{max(stubborn)} at most, {len(world.ledger.operations) - asked} puts for {STUBBORN} values",
        )
    world.network.set_conditions(None, None, CONTINENT)
    await claim_all_read(
        world,
        "what was acknowledged is read once nothing is lost",
        world.ledger.keys_that_are(Standing.PROMISED),
        within=5.0,
    )


async def _put_until_acknowledged(world: World) -> int:
    """As a user who was told that it is safe to repeat; how often it took."""
    value = world.users.new_value()
    for tries in range(1, MOST_TRIES + 1):
        operation = await world.users.put(value)
        if operation is not None and operation.outcome == OK:
            return tries
    return MOST_TRIES + 1


SCENARIOS = tuple(
    Scenario(
        name=f"loss-{percent}",
        summary=f"The network loses {percent} % of all packets, from the first join on.",
        passes=f"all nodes join; gets succeed, {gets:.1%} of them, and puts, {puts:.1%}; nothing acknowledged is lost",
        run=functools.partial(run, gets=gets, puts=puts),
        nodes=50,
        links=attrs.evolve(CONTINENT, loss=percent / 100),
        tick=0.001,
    )
    for percent, gets, puts in ((5, 0.999, 0.999), (20, 0.999, 0.99), (40, 0.95, 0.5))
)
