"""The network is in two halves for longer than leases last: one half forgets, the other goes on renewing."""

from __future__ import annotations

import attrs
import trio

from camomile_trio.config import Config, Kademlia, Records
from camomile_trio.simulation.faults import parted
from camomile_trio.simulation.readings import claim_all_read, claim_none_read, claim_share
from camomile_trio.simulation.scenario import Scenario
from camomile_trio.simulation.world import World

LEASE = 600.0
APART = 4 * LEASE
FORGOTTEN, KEPT = 8, 4


async def run(world: World, nodes: int) -> None:
    """Of a forget nobody on the far side knows; there the lease is renewed again and again, with its old seq."""
    machines = await world.settle(nodes)
    left, right = machines[: nodes // 2], machines[nodes // 2 :]
    keys = await world.users.put_many(FORGOTTEN + KEPT)
    forgotten, kept = keys[:FORGOTTEN], keys[FORGOTTEN:]
    before = len(world.ledger.operations)
    with parted(world, [left, right]):
        # Until the silent half is out of the tables.
        await trio.sleep(60.0)
        for key in forgotten:
            await world.users.forget(key, at=world.users.any_machine(left))
        claim_share(world, "every forget succeeded", "forget", before, least=1.0)
        world.progress.begin("parted")
        await trio.sleep(APART)
        await claim_all_read(world, "the other half has kept it alive", forgotten, within=2.0, at=right)
    records = world.config.records
    await trio.sleep(2 * 1.25 * records.replicate_interval + records.cache_life + 120.0)
    await claim_none_read(world, "what was forgotten is read nowhere", forgotten)
    await claim_all_read(world, "what was not forgotten is read everywhere", kept, within=2.0)
    await trio.sleep(2 * LEASE)
    await claim_none_read(world, "nor two leases later", forgotten)


SCENARIOS = (
    Scenario(
        name="parted-leases",
        summary="The network is in halves for four leases; one half forgets, the other renews; then it is whole.",
        passes="what was forgotten on one side is gone everywhere, however often the other has renewed it",
        run=run,
        nodes=10,
        config=attrs.evolve(
            Config(),
            kademlia=Kademlia(refresh_interval=300.0),
            records=Records(lease=LEASE, replicate_interval=120.0, cache_life=5.0),
        ),
        tick=0.001,
    ),
)
