"""Nodes come and go all the time, with sessions of a median of 60, 10 or 3 minutes, and users read on."""

from __future__ import annotations

import functools

import trio

from camomile_trio.simulation.churn import Churn, Sessions
from camomile_trio.simulation.faults import start_mixed
from camomile_trio.simulation.readings import claim_all_read, claim_share, lost, promised_with_holder
from camomile_trio.simulation.scenario import Scenario
from camomile_trio.simulation.world import World

MINUTE = 60.0
# Stutzbach and Rejaie (2006) fit shapes of 0.34 to 0.59 to what they measured.
WEIBULL_SHAPE = 0.5
VALUES = 100
GETS = 3000
PUTS = 100


async def run(world: World, nodes: int, *, median: float, shape: float, least: float) -> None:
    """Half of the nodes have disks, half of the goodbyes are crashes; who goes is away for a third of a session."""
    machines = await start_mixed(world, nodes)
    await world.users.put_many(VALUES)
    before = len(world.ledger.operations)
    churn = Churn(world, machines, Sessions(median=median, shape=shape), absence=Sessions(median=median / 3))
    # Two sessions of the median, within what a run can take.
    seconds = min(max(2 * median, 20 * MINUTE), 2 * 60 * MINUTE)
    world.progress.begin("churn")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(churn.run, seconds)
        nursery.start_soon(functools.partial(world.users.keep_busy, seconds, gets=GETS / seconds, puts=PUTS / seconds))
    world.claim("nodes came and went", churn.returns > 0, churn)
    claim_share(world, f"of the gets at least {least:.1%} succeeded", "get", before, least=least)
    claim_share(world, f"of the puts at least {least:.1%} succeeded", "put", before, least=least)
    is_whole = await churn.bring_back()
    world.claim("all nodes joined again", is_whole, f"{sum(each.serves for each in machines)} of {nodes}")
    gone = lost(world)
    await claim_all_read(
        world, f"what is not lost is read again ({len(gone)} lost)", promised_with_holder(world), within=30.0
    )


def _scenario(kind: str, shape: float, minutes: int, least: float) -> Scenario:
    return Scenario(
        name=f"churn-{kind}-{minutes}",
        summary=f"Nodes come and go all the time: {kind} sessions with a median of {minutes} minutes.",
        passes=f"gets and puts succeed, at least {least:.1%} of them",
        run=functools.partial(run, median=minutes * MINUTE, shape=shape, least=least),
        nodes=40,
        tick=0.001,
    )


SCENARIOS = tuple(
    _scenario(kind, shape, minutes, least)
    for kind, shape in (("exponential", 1.0), ("weibull", WEIBULL_SHAPE))
    for minutes, least in ((60, 0.999), (10, 0.99), (3, 0.95))
)
