"""A world of a few nodes with k = 4, whose figures can be worked out by hand.

Rules of this file: it sets the stage and judges nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from camomile_trio.config import Config, Kademlia
from camomile_trio.kademlia.ids import as_int
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.outcome import Outcome
from camomile_trio.simulation.run import simulate
from camomile_trio.simulation.scenario import Plan, Scenario
from camomile_trio.simulation.world import World

K = 4
NODES = 20


def told(
    story: Callable[[World, list[Machine]], Awaitable[None]], *, nodes: int = NODES, is_warm: bool = False
) -> Outcome:
    """What comes of a story that begins with so many members."""

    async def run(world: World, count: int) -> None:
        await story(world, await world.settle(count))

    config = Config(kademlia=Kademlia(k=K))
    scenario = Scenario(name="small", summary="", passes="", run=run, nodes=nodes, config=config)
    return simulate(Plan(scenario=scenario, is_warm=is_warm))


def nearest(machines: list[Machine], target: bytes, count: int = K) -> list[Machine]:
    """By sorting everybody."""
    return sorted(machines, key=lambda each: as_int(each.id) ^ as_int(target))[:count]
