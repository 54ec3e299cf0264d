"""Disks fail: some cannot be written, some cannot be read, some are slow, some give back other bytes than they got."""

from __future__ import annotations

import trio

from camomile_trio.simulation.disk import DiskFaults
from camomile_trio.simulation.faults import faulty_disks, some
from camomile_trio.simulation.ledger import Standing
from camomile_trio.simulation.readings import claim_all_read, claim_share
from camomile_trio.simulation.scenario import Scenario
from camomile_trio.simulation.world import World

DAMAGED_VALUES = 5  # of each machine that is struck


async def run(world: World, nodes: int) -> None:
    """A tenth of the machines each, at once and for ten minutes; what was damaged stays so."""
    machines = await world.settle(nodes)
    await world.users.put_many(2 * nodes)
    before = len(world.ledger.operations)
    tenth = max(1, nodes // 10)
    shuffled = some(world, 1.0, "order")
    world.generator("disks").shuffle(shuffled)
    unwritable, unreadable, slow, damaged = (shuffled[at * tenth : (at + 1) * tenth] for at in range(4))
    rng = world.generator("damage")
    for machine in damaged:
        assert machine.disk is not None
        struck = [machine.disk.damage(rng) for _ in range(DAMAGED_VALUES)]
        world.note("damage", machine=machine.number, keys=[key.hex() for key in struck if key is not None])
    with (
        faulty_disks(world, unwritable, DiskFaults(fails_writes=True)),
        faulty_disks(world, unreadable, DiskFaults(fails_reads=True)),
        faulty_disks(world, slow, DiskFaults(slowness=1000.0)),
    ):
        world.progress.begin("failing")
        await world.users.keep_busy(600.0, gets=3.0, puts=0.3)
    # A node that cannot read its disk says so; a put through one that cannot write it needs a majority elsewhere.
    sound = [each for each in machines if each not in unreadable]
    claim_share(world, "where disks can be read every get succeeded", "get", before, least=1.0, at=sound)
    claim_share(world, "where disks can be read 99% of the puts succeeded", "put", before, least=0.99, at=sound)
    wrong = [each.key.hex()[:8] for each in world.ledger.operations if not each.is_right]
    world.claim("nobody was given wrong bytes", not wrong, wrong or "right bytes only")
    await trio.sleep(60.0)
    before = len(world.ledger.operations)
    await world.users.keep_busy(60.0, gets=5.0, puts=2.0)
    claim_share(world, "once the disks work every get succeeded", "get", before, least=1.0)
    claim_share(world, "once the disks work every put succeeded", "put", before, least=1.0)
    promised = world.ledger.keys_that_are(Standing.PROMISED)
    await claim_all_read(world, "what was acknowledged is read", promised, within=2.0)
    serving = sum(each.serves for each in machines)
    world.claim("all nodes serve", serving == nodes, serving)


SCENARIOS = (
    Scenario(
        name="disks-failing",
        summary="Of all disks a tenth cannot be written, a tenth not be read, a tenth is slow, a tenth damaged.",
        passes="gets fail only where disks cannot be read, nobody sees wrong bytes, all is well once the disks work",
        run=run,
        nodes=40,
        tick=0.001,
    ),
)
