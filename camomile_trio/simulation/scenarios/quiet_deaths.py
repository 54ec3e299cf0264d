"""Nodes crash in a network that nobody uses and that holds nothing: only what nodes ask unasked can find out."""

from __future__ import annotations

import trio

from camomile_trio.simulation.faults import some
from camomile_trio.simulation.properties import no_dead
from camomile_trio.simulation.scenario import Scenario
from camomile_trio.simulation.world import World

SHARE = 0.2


async def run(world: World, nodes: int) -> None:
    """Nobody asks the dead for anything but by the node's own maintenance."""
    machines = await world.settle(nodes)
    dead = some(world, SHARE, "deaths")
    await world.crash_all(dead)
    world.progress.begin("quiet")
    await trio.sleep(1.25 * no_dead.bound(machines[0]))
    ids = [machine.id for machine in dead]
    kept = [
        f"{contact.id.hex()[:8]} at machine {machine.number}"
        for machine in machines
        if machine.node is not None
        for contact in machine.node.contacts()
        if contact.id in ids
    ]
    world.claim("no table has a dead node any more", not kept, ", ".join(kept[:5]) or f"{len(dead)} dead nodes")


SCENARIOS = (
    Scenario(
        name="quiet-deaths",
        summary=f"Of all nodes {SHARE:.0%} crash for good, while nobody uses the network.",
        passes="a refresh interval and its timeouts later no table has one of them",
        run=run,
        nodes=15,
        tick=0.001,
    ),
)
