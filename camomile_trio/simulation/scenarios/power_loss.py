"""All machines lose their power at the same instant, under writes, and all come back."""

from __future__ import annotations

import functools

import attrs
import trio

from camomile_trio.config import Config, StorageConfig, SyncMode
from camomile_trio.kademlia.ids import Key
from camomile_trio.simulation.faults import start_all
from camomile_trio.simulation.ledger import OK, Standing
from camomile_trio.simulation.readings import claim_all_read, claim_share, lost
from camomile_trio.simulation.scenario import Scenario
from camomile_trio.simulation.world import World

# How long it is dark.
DARK = 60.0
# What is on the way to the disk when only the operating system has it.
WITHIN: dict[SyncMode, float] = {"os": 1.0, "full": 0.0}


async def run(world: World, nodes: int, *, sync: SyncMode) -> None:
    """What was acknowledged must be there afterwards: with `os` up to a second before, with `full` to the last."""
    machines = await world.settle(nodes)
    await world.users.put_many(2 * nodes)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(functools.partial(world.users.keep_busy, 60.0, gets=5.0, puts=nodes / 2))
        await trio.sleep(30.0 + world.generator("power").random())
        dark_at = world.now
        await world.crash_all(machines, power_loss=True)
        nursery.cancel_scope.cancel()
    await trio.sleep(DARK)
    ready = await start_all(world, machines)
    world.claim("all nodes joined again", ready, sum(each.serves for each in machines))
    safe: list[Key] = []
    unsafe: list[Key] = []
    for each in world.ledger.operations:
        if each.kind == "put" and each.outcome == OK and each.ended is not None:
            (safe if each.ended <= dark_at - WITHIN[sync] else unsafe).append(each.key)
    await claim_all_read(world, "what was acknowledged in time is read", safe, within=30.0)
    gone = lost(world)
    world.note("lost", keys=[key.hex() for key in gone])
    late = [key for key in gone if key in unsafe]
    world.claim(
        "nothing else was lost",
        len(late) == len(gone),
        f"{len(gone)} lost, of {len(unsafe)} in the last {WITHIN[sync]:g} s",
    )
    before = len(world.ledger.operations)
    await world.users.keep_busy(60.0, puts=2.0)
    claim_share(world, "every put afterwards succeeded", "put", before, least=1.0)
    standing = [key for key in world.ledger.keys_that_are(Standing.PROMISED) if key not in gone]
    await claim_all_read(world, "and is read", standing, within=2.0)


SCENARIOS = tuple(
    Scenario(
        name=f"power-loss-{sync}",
        summary=f"All machines lose their power at once, under writes, and come back. --sync {sync}",
        passes=f"all that was acknowledged {'a second before it ' if sync == 'os' else ''}is read",
        run=functools.partial(run, sync=sync),
        nodes=30,
        config=attrs.evolve(Config(), storage=StorageConfig(sync=sync)),
        tick=0.001,
    )
    for sync in WITHIN
)
