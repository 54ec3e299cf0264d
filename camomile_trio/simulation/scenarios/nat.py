"""Some nodes are behind a NAT: they reach everybody, and nobody reaches them who was not just written to."""

from __future__ import annotations

from camomile_trio.simulation.faults import start_all, trouble
from camomile_trio.simulation.readings import claim_all_read, claim_quick, claim_share
from camomile_trio.simulation.scenario import Scenario
from camomile_trio.simulation.world import World

SHARE = 0.25
# What RFC 4787 has NATs remember for UDP at least is 2 minutes; many forget sooner.
REMEMBERS = 30.0


async def run(world: World, nodes: int) -> None:
    """They join as all others do, and have users of their own."""
    with trouble(world, "nodes behind NATs"):
        machines = [world.new_machine() for _ in range(nodes)]
        hidden = world.generator("nat").sample(machines[3:], round(SHARE * nodes))
        for machine in hidden:
            world.network.set_nat(machine.endpoint, REMEMBERS)
        ready = await start_all(world, machines)
        world.claim("all nodes joined", ready, sum(each.serves for each in machines))
        await world.users.put_many(2 * nodes)
        world.progress.begin("in use")
        await world.users.keep_busy(1800.0, gets=1.0, puts=0.2)
        claim_share(world, "every get succeeded", "get", 0, least=1.0)
        claim_share(world, "every put succeeded", "put", 0, least=1.0)
        claim_quick(world, "95% of the gets took at most half a second", "get", 0, p95=0.5, at=machines)
        keys = world.ledger.keys
        await claim_all_read(world, "every value is read behind the NATs", keys, within=2.0, at=hidden)


SCENARIOS = (
    Scenario(
        name="nat",
        summary=f"Of all nodes {SHARE:.0%} are behind a NAT: only whom they have just written to reaches them.",
        passes="no operation fails, in the open or behind a NAT, and gets stay quick",
        run=run,
        nodes=40,
        tick=0.001,
    ),
)
