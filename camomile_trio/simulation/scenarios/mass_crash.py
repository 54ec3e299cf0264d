"""A large part of the network crashes at the same instant, and does not come back."""

from __future__ import annotations

import functools

import trio

from camomile_trio.simulation.faults import some
from camomile_trio.simulation.readings import claim_all_read, claim_copies, claim_share, lost, promised_with_holder
from camomile_trio.simulation.scenario import Scenario
from camomile_trio.simulation.world import World

# At this time after the crash users begin to read; each key is to be read this soon.
PAUSE = 5.0
READ_WITHIN = 10.0


async def run(world: World, nodes: int, *, share: float) -> None:
    """Right after the last put, so that nothing has been repaired or copied before."""
    await world.settle(nodes)
    keys = await world.users.put_many(2 * nodes)
    world.claim("every put was acknowledged", len(keys) == 2 * nodes, len(keys))
    await trio.sleep(PAUSE)
    await world.crash_all(some(world, share, "mass crash"))
    gone = lost(world)
    world.note("lost", keys=[key.hex() for key in gone])
    await trio.sleep(PAUSE)
    kept = promised_with_holder(world)
    await claim_all_read(
        world, f"every key that has a holder is read within {READ_WITHIN:g} s", kept, within=READ_WITHIN
    )
    world.claim("no key lost all of its holders", not gone, [key.hex()[:8] for key in gone] or "none lost")
    before = len(world.ledger.operations)
    await world.users.keep_busy(60.0, gets=2.0, puts=2.0)
    claim_share(world, "every get in the minute after it succeeded", "get", before, least=1.0)
    claim_share(world, "every put in the minute after it succeeded", "put", before, least=1.0)
    # Two rounds of replication, of which the jitter makes each a quarter longer.
    world.progress.begin("repairing")
    await trio.sleep(2 * 1.25 * world.config.records.replicate_interval)
    claim_copies(world, "two rounds of replication later there are k copies again", kept)


SCENARIOS = tuple(
    Scenario(
        name=f"mass-crash-{percent}",
        summary=f"Of all nodes {percent} % crash at the same instant, and do not come back.",
        passes=f"every key with a holder is read within {READ_WITHIN:g} s; k copies after two rounds of replication",
        run=functools.partial(run, share=percent / 100),
        nodes=40,
        tick=0.001,
    )
    for percent in (10, 30, 50)
)
