"""Nothing is left behind: no request beyond its time, no task of a node that has ended, no address of a dead machine.

Rules of this file: it looks at what is there and asks nobody. Requests end by themselves, whatever the other side does.
"""

from __future__ import annotations

import trio

from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.properties import inside
from camomile_trio.simulation.properties.looking import Looking, Round, running
from camomile_trio.simulation.world import World

MACHINES_A_LOOK = 100
SLACK = 1.0  # s


class LeftBehind(Looking):
    """Looks at the requests and the deadlines of `MACHINES_A_LOOK` machines, and at the addresses of
    as many that are down.

    Bounds: a request is as old as its deadline at most (over a stream, that of the stream comes on top), and what is
    due in the heap of deadlines is a second late at most.
    """

    name = "nothing is left behind"

    def __init__(self) -> None:
        self._machines: Round[Machine] = Round()
        self._down: Round[Machine] = Round()

    def look(self, world: World) -> None:
        for machine in self._machines.take(running(world), MACHINES_A_LOOK):
            self._look_at(world, machine)
        for machine in self._down.take(world.down, MACHINES_A_LOOK):
            if inside.is_listening(world, machine):
                world.violated(self.name, "nobody at the address of a machine that is down", "its transport", machine)

    def after_end(self, world: World) -> None:
        for machine in world.machines:
            if inside.is_listening(world, machine):
                world.violated(self.name, "nobody at its address after the end", "its transport", machine)
        tasks = [
            name for name in inside.tasks_below(trio.lowlevel.current_task()) if ".node." in name or ".storage." in name
        ]
        if tasks:
            world.violated(self.name, "no task of a node after the end", f"{len(tasks)}: {sorted(tasks)[:5]}")

    def _look_at(self, world: World, machine: Machine) -> None:
        assert machine.node is not None
        core = machine.node.core
        settings = core.config.requests
        for pending in inside.requests_under_way(core):
            most = settings.deadline + (settings.stream_deadline if pending.by_stream else 0.0) + SLACK
            age = world.now - pending.sent_at
            if age > most:
                what = "a stream" if pending.by_stream else "a datagram"
                world.violated(self.name, f"requests of {most:g} s at most", f"{age:.1f} s, by {what}", machine)
        due = inside.earliest_deadline(core)
        if due is not None and world.now - due > SLACK:
            world.violated(self.name, "deadlines that are met", f"one that is {world.now - due:.1f} s late", machine)
