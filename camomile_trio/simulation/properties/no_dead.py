"""No routing table keeps a dead node for long.

Rules of this file: dead is an id whose machine is down, or runs again under another id. Whoever was down, paused, cut
off or too slow for any answer meanwhile, or had one from nobody, is not blamed.
"""

from __future__ import annotations

from camomile_trio.kademlia.ids import NodeId
from camomile_trio.simulation.machine import Condition, Machine
from camomile_trio.simulation.properties.looking import Looking, Round, running
from camomile_trio.simulation.world import World

MACHINES_A_LOOK = 100


def bound(machine: Machine) -> float:
    """The refresh interval and the eighth of it between two rounds, with their jitter, and time for one round.

    A round looks up ids in some buckets and pings who is silent, each with a pause, and each may meet dead nodes.
    """
    config = machine.config
    interval = config.kademlia.refresh_interval
    return 1.25 * (interval + interval / 8) + 16 * (config.requests.deadline + min(1.0, interval / 64))


class NoDead(Looking):
    """Looks through the tables of `MACHINES_A_LOOK` machines.

    The time of a dead member begins when a look first finds it in the table, dead; so one that was promoted from the
    replacements begins anew, and so does one that has lived in between.
    """

    name = "no table keeps the dead"

    def __init__(self) -> None:
        self._machines: Round[Machine] = Round()
        self._ids: dict[int, NodeId] = {}  # of each machine, by its number
        self._died: dict[NodeId, float] = {}
        # By the number and the life of a machine: the dead in its table, and when they were first seen there.
        self._found: dict[tuple[int, int], dict[NodeId, float]] = {}

    def look(self, world: World) -> None:
        self._note_deaths(world)
        if not self._died:
            return
        for machine in self._machines.take(running(world), MACHINES_A_LOOK):
            self._look_at(world, machine)

    def _note_deaths(self, world: World) -> None:
        for machine in world.machines:
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

    def _look_at(self, world: World, machine: Machine) -> None:
        assert machine.node is not None
        core, place = machine.node.core, (machine.number, machine.lives)
        before = self._found.pop(place, {})
        dead = [contact for contact in core.table if contact.id in self._died]
        if not dead or not core.readiness.is_joined or self._is_cut_off(world, machine):
            return
        found = self._found[place] = {}
        for contact in dead:
            since = before.get(contact.id, world.now)
            if since < self._died[contact.id]:
                # It came back, and has died again; nobody may have looked while it lived.
                since = world.now
            found[contact.id] = since
            heard = core.table.last_answer
            if world.now - since > bound(machine) and heard is not None and heard > since:
                world.violated(
                    self.name,
                    f"{contact.id.hex()[:8]}, dead since {self._died[contact.id]:.1f} s, out of the table",
                    f"in it since {since:.1f} s at least",
                    machine,
                )
                # Once is enough: its time begins anew.
                found[contact.id] = world.now

    @staticmethod
    def _is_cut_off(world: World, machine: Machine) -> bool:
        if not world.is_troubled:
            return False
        return not any(world.hears_in_time(machine, each) for each in running(world) if each is not machine)
