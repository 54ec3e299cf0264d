"""Machines that come and go: how long they stay, how they go, what they come back with.

Rules of this file: each machine has a generator of its own, so that one more machine changes no other one's fate.
Source of the distributions: Stutzbach and Rejaie, Understanding Churn in Peer-to-Peer Networks (2006): sessions fit
Weibull distributions with shapes around 0.5, in which most are short and a few last.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import attrs
import trio

from camomile_trio.simulation.machine import Condition, Machine
from camomile_trio.simulation.world import World


@attrs.frozen(kw_only=True)
class Sessions:
    """How long a node stays. A Weibull distribution; shape 1 is the exponential one."""

    median: float  # s
    shape: float = 1.0

    def draw(self, rng: random.Random) -> float:
        """The length of one session, in whole ms: the last bits of logarithms differ between systems."""
        scale = self.median / math.log(2) ** (1 / self.shape)
        return round(rng.weibullvariate(scale, self.shape), 3)


class Churn:
    """Machines that stay for a session, are away for a while, and come back.

    Half of them go by a crash, the others in good order. Whoever has a disk comes back with it, an ephemeral node with
    nothing, not even its id.
    """

    def __init__(self, world: World, machines: Sequence[Machine], sessions: Sessions, *, absence: Sessions) -> None:
        self._world = world
        self._machines = machines
        self._sessions = sessions
        self._absence = absence
        self.crashes = 0
        self.leaves = 0
        self.returns = 0

    async def run(self, seconds: float) -> None:
        """So it goes for `seconds`; afterwards some are up and some are down."""
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for machine in self._machines:
                    nursery.start_soon(self._come_and_go, machine)

    async def bring_back(self, patience: float = 120.0) -> bool:
        """Everybody comes back; whether all have joined in time."""
        world = self._world
        for machine in self._machines:
            if machine.condition is Condition.LEAVING:
                await machine.life.gone.wait()
            await world.start(machine)
        return await world.wait_ready(self._machines, patience)

    async def _come_and_go(self, machine: Machine) -> None:
        world, rng = self._world, self._world.generator("churn", machine.number)
        while True:
            await trio.sleep(self._sessions.draw(rng))
            if rng.random() < 0.5:
                self.crashes += 1
                await world.crash(machine)
            else:
                self.leaves += 1
                await world.leave(machine)
            await trio.sleep(self._absence.draw(rng))
            self.returns += 1
            await world.start(machine)

    def __str__(self) -> str:
        return f"{self.crashes} crashes, {self.leaves} leaves, {self.returns} returns"
