"""No routing table drops the living: a member that answers keeps its place, and whoever is offline keeps all.

Rules of this file: two looks at the same life of a machine are compared. Living is an id whose machine has run all the
while, under the same id. What a node may think of the silent is its own business while anything is wrong between them.
"""

from __future__ import annotations

import math

import attrs

from camomile_trio.kademlia.ids import NodeId
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.properties.looking import Looking, Round, running
from camomile_trio.simulation.world import World

MACHINES_A_LOOK = 30
MOST_WATCHED = 500
MOMENT = 0.5  # s


@attrs.frozen
class Look:
    """A table as it was. `answer`: when anybody had answered its node last."""

    time: float
    damaged: int  # packets so far
    life: int
    answer: float | None
    members: tuple[NodeId, ...]


class Living(Looking):
    """Looks at the tables of `MACHINES_A_LOOK` of the first `MOST_WATCHED` machines.

    Violated when a living member is gone since the last look, and either nobody at all has answered the node in
    between, or nothing was wrong in the world since a request's deadline before that look.
    """

    name = "no table drops the living"

    def __init__(self) -> None:
        self._machines: Round[Machine] = Round()
        self._looks: dict[int, Look] = {}

    def look(self, world: World) -> None:
        by_id = {each.id: each for each in world.machines}
        damaged = world.network.statistics.damaged
        for machine in self._machines.take(running(world)[:MOST_WATCHED], MACHINES_A_LOOK):
            assert machine.node is not None
            table = machine.node.core.table
            members = tuple(contact.id for contact in table)
            before = self._looks.get(machine.number)
            self._looks[machine.number] = Look(world.now, damaged, machine.lives, table.last_answer, members)
            if before is None or before.life != machine.lives:
                continue
            # Who was asked before that answer, and is silent, may go as long as its deadline is not over.
            deadline = machine.config.requests.deadline + MOMENT
            answer = before.answer if before.answer is not None else -math.inf
            heard_nobody = table.last_answer == before.answer and answer + deadline < before.time
            # An answer whose sender was damaged is one of somebody else at the same place.
            heard_nobody &= damaged == before.damaged
            passed = world.now - before.time
            was_calm = world.calm_for > passed + 2 * deadline
            if not (heard_nobody or was_calm):
                continue
            here = set(members)
            gone = [by_id[each] for each in before.members if each not in here and each in by_id]
            # A replacement may have come in for it, with an answer that is older than the look.
            dropped = [each.number for each in gone if each.node is not None and each.up_since < before.time]
            if dropped:
                why = "nobody has answered since" if heard_nobody else "nothing is wrong"
                seen = f"without machines {dropped[:5]}, which run, though {why}"
                world.violated(self.name, f"the members of {before.time:.1f} s", seen, machine)
