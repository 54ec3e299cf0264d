"""What was acknowledged is stored by a majority of those that ought to have it.

Rules of this file: it believes the count that a user was given, and only while nothing was wrong for a while: else
those who ought to have it are not the same for everybody.
"""

from __future__ import annotations

from camomile_trio.simulation.ledger import OK, Operation
from camomile_trio.simulation.properties.base import Property
from camomile_trio.simulation.properties.looking import running
from camomile_trio.simulation.world import World

# How long a machine must have served until it is expected to be found by everybody. Virtual s.
SETTLED = 60.0


class Majority(Property):
    """Looks at every put and forget that succeeded.

    Bound: a majority of k nodes, or of all that have run for `SETTLED` if they are fewer, less one in ten and one.
    """

    name = "what was acknowledged is stored by a majority"

    def __init__(self) -> None:
        self._world: World | None = None

    async def watch(self, world: World) -> None:
        self._world = world

    def on_operation(self, operation: Operation) -> None:
        world = self._world
        if world is None or operation.kind == "get" or operation.outcome != OK:
            return
        if world.calm_for < SETTLED + operation.seconds:
            return
        settled = [each for each in running(world) if each.serves and each.up_since < operation.began - SETTLED]
        among = min(world.config.kademlia.k, len(settled))
        # The count is of those that answered in time; a slow answer or two are not waited for.
        needed = (among - 1 - among // 10) // 2 + 1
        if world.has_strangers:
            # Classic nodes acknowledge nothing, and nobody here knows how many of the closest they are.
            needed = min(needed, 2)
        if len(settled) > 1 and operation.replicas < needed:
            expected = f"{needed} acknowledgements of {operation.kind} {operation.number}"
            world.violated(self.name, expected, str(operation.replicas), world.machines[operation.machine])
