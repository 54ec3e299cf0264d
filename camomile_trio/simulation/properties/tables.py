"""Routing tables keep the living and drop the dead.

Rules of this file: it compares two looks at the same life of a machine. What a node may think of the silent is its own
business while anything is wrong between them.
"""

from __future__ import annotations

import math

import attrs

from camomile_trio.kademlia.ids import NodeId
from camomile_trio.simulation.machine import Condition, Machine
from camomile_trio.simulation.properties.base import Looking, Round, running, short
from camomile_trio.simulation.world import World

DEAD_A_LOOK = 100
LIVING_A_LOOK = 30
MOST_WATCHED = 500
MOMENT = 0.5  # s


def dead_bound(machine: Machine) -> float:
    """The refresh interval and the eighth of it between two rounds, with their jitter, and time for one round.

    A round looks up ids in some buckets and pings who is silent, each with a pause, and each may meet dead nodes.
    """
    config = machine.config
    interval = config.kademlia.refresh_interval
    return 1.25 * (interval + interval / 8) + 16 * (config.requests.deadline + min(1.0, interval / 64))


class NoDead(Looking):
    """No routing table keeps a dead node for long: an id whose machine is down, or runs again under another id.

    A machine that was down, paused, cut off or too slow for any answer meanwhile, or had one from nobody, is not
    blamed. Looks through the tables of `DEAD_A_LOOK` machines.

    The time of a dead member begins when a look first finds it in the table, dead; so one that was promoted from the
    replacements begins anew, and so does one that has lived in between.
    """

    name = "no table keeps the dead"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._machines: Round[Machine] = Round()
        self._ids: dict[int, NodeId] = {}  # of each machine, by its number
        self._died: dict[NodeId, float] = {}
        # By the number and the life of a machine: the dead in its table, and when they were first seen there.
        self._found: dict[tuple[int, int], dict[NodeId, float]] = {}

    def look(self) -> None:
        self._note_deaths()
        if not self._died:
            return
        for machine in self._machines.take(running(self.world), DEAD_A_LOOK):
            self._look_at(machine)

    def _note_deaths(self) -> None:
        for machine in self.world.machines:
            before, now = self._ids.get(machine.number), machine.id
            if before is not None and before != now:
                self._died[before] = machine.down_since
            self._ids[machine.number] = now
            if machine.condition is Condition.DOWN and machine.lives:
                self._died[now] = machine.down_since
            else:
                self._died.pop(now, None)
            if machine.condition is not Condition.UP:
                self._found.pop((machine.number, machine.lives), None)

    def _look_at(self, machine: Machine) -> None:
        world, place = self.world, (machine.number, machine.lives)
        before = self._found.pop(place, {})
        dead = [contact for contact in machine.table if contact.id in self._died]
        if not dead or not machine.has_joined or self._is_cut_off(machine):
            return
        found = self._found[place] = {}
        for contact in dead:
            since = before.get(contact.id, world.now)
            if since < self._died[contact.id]:
                # It came back, and has died again; nobody may have looked while it lived.
                since = world.now
            found[contact.id] = since
            heard = machine.table.last_answer
            if world.now - since > dead_bound(machine) and heard is not None and heard > since:
                world.violated(
                    self.name,
                    f"{short(contact.id)}, dead since {self._died[contact.id]:.1f} s, out of the table",
                    f"in it since {since:.1f} s at least",
                    machine,
                )
                # Once is enough: its time begins anew.
                found[contact.id] = world.now

    def _is_cut_off(self, machine: Machine) -> bool:
        world = self.world
        if not world.is_troubled:
            return False
        return not any(world.hears_in_time(machine, each) for each in running(world) if each is not machine)


@attrs.frozen
class Look:
    """A table as it was. `answer`: when anybody had answered its node last."""

    time: float
    life: int
    answer: float | None
    members: tuple[NodeId, ...]


class Living(Looking):
    """No routing table drops the living: a member that answers keeps its place, and a node that is offline keeps all.

    Living is an id whose machine has run all the while, under the same id. Looks at the tables of `LIVING_A_LOOK` of
    the first `MOST_WATCHED` machines.

    Violated when a living member is gone since the last look, and either nobody at all has answered the node in
    between, or nothing was wrong in the world since a request's deadline before that look.
    """

    name = "no table drops the living"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._machines: Round[Machine] = Round()
        self._looks: dict[int, Look] = {}

    def look(self) -> None:
        world = self.world
        by_id = {each.id: each for each in world.machines}
        for machine in self._machines.take(running(world)[:MOST_WATCHED], LIVING_A_LOOK):
            table = machine.table
            members = tuple(contact.id for contact in table)
            before = self._looks.get(machine.number)
            self._looks[machine.number] = Look(world.now, machine.lives, table.last_answer, members)
            if before is None or before.life != machine.lives:
                continue
            # Who was asked before that answer, and is silent, may go as long as its deadline is not over.
            deadline = machine.config.requests.deadline + MOMENT
            answer = before.answer if before.answer is not None else -math.inf
            heard_nobody = table.last_answer == before.answer and answer + deadline < before.time
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
