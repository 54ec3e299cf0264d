"""The network falls into two halves for an hour; users on both sides put and forget, and then it is whole again."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from camomile_trio.kademlia.ids import Key
from camomile_trio.simulation.faults import parted
from camomile_trio.simulation.ledger import OK
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.readings import claim_all_read, claim_none_read, claim_share
from camomile_trio.simulation.scenario import Scenario
from camomile_trio.simulation.world import World

AN_HOUR = 3600.0
# Of what each half knows from before, it forgets so many; it puts so many new ones.
FORGOTTEN, PUT = 15, 15


async def run(world: World, nodes: int) -> None:
    """Each key is forgotten on one side only, so that the other one can know of it only by repair."""
    machines = await world.settle(nodes)
    left, right = machines[: nodes // 2], machines[nodes // 2 :]
    keys = await world.users.put_many(4 * FORGOTTEN)
    before = len(world.ledger.operations)
    kept, forgotten = keys[2 * FORGOTTEN :], []
    put: list[Key] = []
    with parted(world, [left, right]):
        # Both sides notice that the other half does not answer any more.
        await trio.sleep(60.0)
        for side, theirs in ((left, keys[:FORGOTTEN]), (right, keys[FORGOTTEN : 2 * FORGOTTEN])):
            forgotten += await _forget(world, theirs, side)
            put += await _put(world, PUT, side)
        world.progress.begin("parted")
        await world.users.keep_busy(AN_HOUR - world.now % AN_HOUR, gets=0.2)
    claim_share(world, "on both sides every put succeeded", "put", before, least=1.0)
    claim_share(world, "on both sides every forget succeeded", "forget", before, least=1.0)
    world.progress.begin("healing")
    records = world.config.records
    # A round of replication, of which the jitter makes each a quarter longer, and until copies in caches are old.
    await trio.sleep(1.25 * records.replicate_interval + records.cache_life + 60.0)
    await claim_all_read(world, "what was put on either side is read everywhere", kept + put, within=2.0)
    await claim_none_read(world, "what was forgotten on one side is read nowhere", forgotten)
    await trio.sleep(2 * 1.25 * records.replicate_interval)
    await claim_none_read(world, "it does not come back", forgotten)


async def _forget(world: World, keys: Sequence[Key], side: Sequence[Machine]) -> list[Key]:
    done = []
    for key in keys:
        operation = await world.users.forget(key, at=world.users.any_machine(side))
        if operation is not None and operation.outcome == OK:
            done.append(key)
    return done


async def _put(world: World, count: int, side: Sequence[Machine]) -> list[Key]:
    done = []
    for _ in range(count):
        operation = await world.users.put(at=world.users.any_machine(side))
        if operation is not None and operation.outcome == OK:
            done.append(operation.key)
    return done


SCENARIOS = (
    Scenario(
        name="parted-halves",
        summary="The network falls into two halves for an hour; both put and forget; then it is whole again.",
        passes="a round of replication later what was put is read everywhere, what was forgotten nowhere, for good",
        run=run,
        nodes=30,
        tick=0.001,
    ),
)
