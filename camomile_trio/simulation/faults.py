"""Faults that last for a while, as blocks, and machines that come and go.

Rules of this file: what is wrong in a block is right again after it; each tells the world that there is trouble, and
that it is over. Who is struck is for the scenario to say, by `some` or by name. Of machines that come and go each has a
generator of its own, so that one more machine changes no other one's fate. Source of the distributions: Stutzbach and
Rejaie, Understanding Churn in Peer-to-Peer Networks (2006): sessions fit Weibull distributions with shapes around 0.5,
in which most are short and a few last.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import attrs
import trio

from camomile_trio.simulation.disk import DiskFaults
from camomile_trio.simulation.machine import Condition, Machine
from camomile_trio.simulation.world import World


def some(world: World, share: float, purpose: str, among: Sequence[Machine] | None = None) -> list[Machine]:
    """A random share of the machines that run, or of those named, for one purpose; at least one, in their order."""
    machines = world.up if among is None else list(among)
    chosen = world.generator("some", purpose).sample(machines, min(len(machines), max(1, round(share * len(machines)))))
    return sorted(chosen, key=lambda each: each.number)


@contextmanager
def trouble(world: World, name: str) -> Iterator[None]:
    """Something is wrong that the network cannot help."""
    world.trouble(name)
    try:
        yield
    finally:
        world.end_trouble(name)


@contextmanager
def slow_machines(world: World, machines: Sequence[Machine], seconds: float) -> Iterator[None]:
    """All that comes to them and leaves them takes so many seconds more."""
    with trouble(world, "slow machines"):
        for machine in machines:
            world.network.set_slowness(machine.endpoint, seconds)
        try:
            yield
        finally:
            for machine in machines:
                world.network.set_slowness(machine.endpoint, 0.0)


@contextmanager
def faulty_disks(world: World, machines: Sequence[Machine], faults: DiskFaults) -> Iterator[None]:
    """Their disks have these faults."""
    with trouble(world, f"faulty disks {faults}"):
        for machine in machines:
            if machine.disk is not None:
                machine.disk.set_faults(faults)
        try:
            yield
        finally:
            for machine in machines:
                if machine.disk is not None:
                    machine.disk.set_faults()


@contextmanager
def one_way_cuts(world: World, share: float) -> Iterator[None]:
    """Each way between two machines is cut with this chance, in most cases without the way back."""
    rng = world.generator("one-way cuts")
    cuts = [
        (source, destination)
        for source in world.machines
        for destination in world.machines
        if source is not destination and rng.random() < share
    ]
    with trouble(world, "one-way cuts"):
        for source, destination in cuts:
            world.network.cut(source.endpoint, destination.endpoint, one_way=True)
        try:
            yield
        finally:
            for source, destination in cuts:
                world.network.heal(source.endpoint, destination.endpoint, one_way=True)


@contextmanager
def parted(world: World, groups: Sequence[Sequence[Machine]]) -> Iterator[None]:
    """Only members of one group reach each other."""
    world.part(groups)
    try:
        yield
    finally:
        world.heal()


async def start_all(
    world: World, machines: Sequence[Machine], *, per_second: float = 20.0, patience: float = 120.0
) -> bool:
    """They start one after another, and are waited for until all have joined; whether they have."""
    world.progress.begin("joining", len(machines))
    for machine in machines:
        await world.start(machine)
        await trio.sleep(1 / per_second)
        world.progress.advance(1)
    return await world.wait_ready(machines, patience)


async def start_mixed(world: World, nodes: int) -> list[Machine]:
    """So many machines join, every other one without a disk."""
    machines = [world.new_machine(is_ephemeral=number % 2 == 1) for number in range(nodes)]
    await start_all(world, machines)
    return machines


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

    Half of them go by a crash, the others in good order. A machine with a disk comes back with it, an ephemeral node
    with nothing, not even its id.
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
