"""Disks have no room left: first those of some machines, then all of them."""

from __future__ import annotations

import trio

from camomile_trio.errors import DiskFull
from camomile_trio.simulation.disk import DiskFaults
from camomile_trio.simulation.faults import faulty_disks, some
from camomile_trio.simulation.ledger import OK, Standing
from camomile_trio.simulation.readings import claim_all_read, claim_none_read, claim_share
from camomile_trio.simulation.scenario import Scenario
from camomile_trio.simulation.world import World

SHARE = 0.25
FULL = DiskFaults(is_full=True)


async def run(world: World, nodes: int) -> None:
    """A majority of the holders is enough for a put; none is enough to read; and nothing is acknowledged quietly."""
    await world.settle(nodes)
    keys = await world.users.put_many(2 * nodes)
    before = len(world.ledger.operations)
    with faulty_disks(world, some(world, SHARE, "full"), FULL):
        world.progress.begin("some full")
        await world.users.keep_busy(300.0, gets=3.0, puts=0.3, forgets=0.05)
    claim_share(world, "with a quarter of the disks full every get succeeded", "get", before, least=1.0)
    claim_share(world, "at least 99% of the puts succeeded", "put", before, least=0.99)
    claim_share(world, "at least 99% of the forgets succeeded", "forget", before, least=0.99)
    before = len(world.ledger.operations)
    with faulty_disks(world, world.machines, FULL):
        world.progress.begin("all full")
        refused = [await world.users.put() for _ in range(20)]
        accepted = sum(each is not None and each.outcome == OK for each in refused)
        why = sorted({each.outcome for each in refused if each is not None})
        world.claim("with all disks full no put was acknowledged", accepted == 0, f"{accepted} were; {why}")
        world.claim("with all disks full the caller hears that they are full", why == [DiskFull.__name__], why)
        await world.users.keep_busy(300.0, gets=3.0)
        claim_share(world, "with all disks full every get succeeded", "get", before, least=1.0)
    before = len(world.ledger.operations)
    await trio.sleep(10.0)
    await world.users.put_many(20)
    claim_share(world, "with room again every put succeeded", "put", before, least=1.0)
    promised = world.ledger.keys_that_are(Standing.PROMISED)
    world.claim("most of what was put before is still promised", len(promised) > len(keys) // 2, len(promised))
    await claim_all_read(world, "what was acknowledged is read", promised, within=2.0)
    records = world.config.records
    await trio.sleep(1.25 * records.replicate_interval + records.cache_life)
    forgotten = world.ledger.keys_that_are(Standing.FORGOTTEN)
    await claim_none_read(world, "what was forgotten is read nowhere", forgotten)


SCENARIOS = (
    Scenario(
        name="disks-full",
        summary=f"The disks of {SHARE:.0%} of the machines are full, then all of them, then there is room again.",
        passes="gets never fail, no put is acknowledged that is not stored, and all is well once there is room",
        run=run,
        nodes=40,
        tick=0.001,
    ),
)
