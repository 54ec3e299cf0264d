"""Faults that last for a while, as blocks: what is wrong inside is right again after them.

Rules of this file: each tells the world that there is trouble, and that it is over. Who is struck is for the scenario
to say, by `some` or by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import trio

from camomile_trio.simulation.disk import DiskFaults
from camomile_trio.simulation.machine import Machine
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
