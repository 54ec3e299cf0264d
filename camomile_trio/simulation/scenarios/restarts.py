"""Nodes come and go: churn, restarts of all in turn, addresses that are given out anew."""

from __future__ import annotations

import functools

import trio

from camomile_trio.simulation.faults import Churn, Sessions, start_mixed
from camomile_trio.simulation.scenario import Scenario, claim_all_read, claim_share, lost, promised_with_holder
from camomile_trio.simulation.world import World

MINUTE = 60.0
# Stutzbach and Rejaie (2006) fit shapes of 0.34 to 0.59 to what they measured.
WEIBULL_SHAPE = 0.5
VALUES = 100
GETS = 3000
PUTS = 100


async def _churn(world: World, nodes: int, *, median: float, shape: float, least: float) -> None:
    """Nodes come and go all the time, with sessions of a median of 60, 10 or 3 minutes, and users read on.

    Half of the nodes have disks, half of the goodbyes are crashes; who goes is away for a third of a session.
    """
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
        run=functools.partial(_churn, median=minutes * MINUTE, shape=shape, least=least),
        nodes=40,
        tick=0.001,
    )


_CHURN = tuple(
    _scenario(kind, shape, minutes, least)
    for kind, shape in (("exponential", 1.0), ("weibull", WEIBULL_SHAPE))
    for minutes, least in ((60, 0.999), (10, 0.99), (3, 0.95))
)


# Between a node that is ready again and the next that leaves, as orchestrators do it; a hasty one has none.
RESTART_PAUSE = 5.0


async def _rolling_restart(world: World, nodes: int, *, is_ephemeral: bool, pause: float) -> None:
    """A new release is rolled out: one node after another leaves and starts again, while users read and write.

    All nodes of it, once. An ephemeral node comes back with another id and nothing else.
    """
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


_ROLLING_RESTART = tuple(
    Scenario(
        name=f"rolling-restart-{kind}",
        summary=f"One {what} node after another leaves and starts again, while users put and get.",
        passes="no operation fails at the nodes that are up, and every value is read afterwards",
        run=functools.partial(_rolling_restart, is_ephemeral=kind != "durable", pause=pause),
        nodes=20,
        tick=0.001,
    )
    for kind, what, pause in (
        ("durable", "durable", RESTART_PAUSE),
        ("ephemeral", "ephemeral", RESTART_PAUSE),
        ("hasty", "ephemeral", 0.0),
    )
)


MOVE_PAUSE = 5.0  # s from two that are ready again to the next two
MOVE_PUTS = 5.0  # a second: everybody's tables are put to the test in each of these pauses


async def _changing_places(world: World, nodes: int) -> None:
    """Addresses are given out anew, as by container engines: two nodes die, and each comes back at the other's address.

    All nodes of it, two by two; of an odd number one stays where it is.
    """
    machines = await world.settle(nodes)
    keys = await world.users.put_many(5 * nodes)
    before = len(world.ledger.operations)
    order = world.generator("places").sample(machines, len(machines))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(functools.partial(world.users.keep_busy, 3600.0, gets=5.0, puts=MOVE_PUTS))
        world.progress.begin("changing places", len(order) // 2)
        for one, other in zip(order[::2], order[1::2], strict=False):
            await world.crash_all([one, other])
            world.change_places(one, other)
            for machine in (one, other):
                await world.start(machine)
            await world.wait_ready([one, other], 60.0)
            await trio.sleep(MOVE_PAUSE)
            world.progress.advance(1)
        nursery.cancel_scope.cancel()
    claim_share(world, "every get succeeded", "get", before, least=1.0)
    claim_share(world, "every put succeeded", "put", before, least=1.0)
    await claim_all_read(world, "every value is read afterwards", keys, within=2.0)


_CHANGING_PLACES = (
    Scenario(
        name="changing-places",
        summary="Two nodes after two die, and each comes back at the other's address, while users put and get.",
        passes="no operation fails at the nodes that are up, and every value is read afterwards",
        run=_changing_places,
        nodes=20,
        tick=0.001,
    ),
)


SCENARIOS = (*_CHURN, *_ROLLING_RESTART, *_CHANGING_PLACES)
