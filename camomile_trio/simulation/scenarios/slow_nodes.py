"""A fifth of the nodes are slow: what comes to them and what leaves them takes three quarters of a second more."""

from __future__ import annotations

from camomile_trio.simulation.faults import slow_machines, some
from camomile_trio.simulation.readings import claim_all_read, claim_quick, claim_share
from camomile_trio.simulation.scenario import Scenario
from camomile_trio.simulation.world import World

SHARE = 0.2
# Each way: their answers come within the deadline of 2 s, but after any usual retransmission timeout.
SLOWNESS = 0.75


async def run(world: World, nodes: int) -> None:
    """They are slow from some moment on; users ask fast and slow ones alike."""
    machines = await world.settle(nodes)
    keys = await world.users.put_many(nodes)
    before = len(world.ledger.operations)
    slow = some(world, SHARE, "slow")
    fast = [each for each in machines if each not in slow]
    with slow_machines(world, slow, SLOWNESS):
        world.progress.begin("slow")
        await world.users.keep_busy(600.0, gets=3.0, puts=0.5)
    claim_share(world, "every get succeeded", "get", before, least=1.0)
    claim_share(world, "every put succeeded", "put", before, least=1.0)
    claim_quick(world, "at fast nodes 95% of the gets took at most half a second", "get", before, p95=0.5, at=fast)
    claim_quick(world, "at fast nodes 95% of the puts took at most 4 seconds", "put", before, p95=4.0, at=fast)
    await claim_all_read(world, "every value is read afterwards", keys, within=2.0)


SCENARIOS = (
    Scenario(
        name="slow-nodes",
        summary=f"Of all nodes {SHARE:.0%} are slow: every packet to or from them takes {SLOWNESS} s more.",
        passes="no operation fails, and at the fast nodes 95 % of the gets take at most 0.5 s",
        run=run,
        nodes=50,
        tick=0.001,
    ),
)
