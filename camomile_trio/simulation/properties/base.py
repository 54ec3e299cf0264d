"""What a property is, and what those that look at the world again and again look with.

Rules of this file: a property watches a run and changes nothing. A look is bounded work, so that properties cost a
small share of a run however large it is. Time passes quickly where nothing happens: then looks are rarer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

import trio

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import Value
from camomile_trio.simulation.ledger import Operation
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.world import World

# Virtual s between two looks: this while at least so many messages are received meanwhile; else twice as long each
# time, up to a share of a round of maintenance.
SHORTEST = 1.0
LONGEST = 300.0
BUSY = 1000
LOOKS_A_ROUND = 20

# Pairs of a machine and a key that one look of one property is about.
PAIRS = 150

Member = TypeVar("Member")


class Property:
    """A property watches one run. Each method may be left as it is."""

    name = ""
    # What it reads in packets, in words, and cannot judge where they are really sealed; empty: nothing.
    reads = ""
    # Whether `on_sent` and `on_received` are to be called: they cost every packet. Likewise `on_value`.
    watches_packets = False
    watches_values = False

    def __init__(self, world: World) -> None:
        self.world = world

    async def watch(self) -> None:
        """A task beside the scenario, cancelled at its end."""

    def on_sent(self, time: float, source: Endpoint, destination: Endpoint, payload: bytes) -> None:
        """A datagram is sent."""

    def on_received(self, time: float, source: Endpoint, destination: Endpoint, payload: bytes) -> None:
        """A datagram, or a message over a stream, is received."""

    def on_value(self, machine: Machine, key: Key, answer: Value) -> None:
        """A machine serves a value: it sends it as a datagram, to the node that asked for the key."""

    def on_operation(self, operation: Operation) -> None:
        """A user's operation ended."""

    def at_end(self) -> None:
        """The scenario is over; nodes still run."""

    def after_end(self) -> None:
        """All nodes have stopped, and time has passed."""


class Pace:
    """How long to wait until the next look."""

    def __init__(self, world: World, shortest: float = SHORTEST) -> None:
        self._world = world
        self._shortest = self._pause = shortest
        self._messages = 0

    @property
    def longest(self) -> float:
        config = self._world.config
        round_ = min(config.kademlia.refresh_interval, config.records.replicate_interval)
        return max(self._shortest, min(round_ / LOOKS_A_ROUND, LONGEST))

    def next(self) -> float:
        """Virtual s."""
        messages = self._world.trace.messages
        is_busy = messages - self._messages >= BUSY
        self._pause = self._shortest if is_busy else min(2 * self._pause, self.longest)
        self._messages = messages
        return self._pause


class Looking(Property):
    """Looks from time to time, and once more at the end."""

    async def watch(self) -> None:
        pace = Pace(self.world)
        while True:
            await trio.sleep(pace.next())
            self.look()

    def look(self) -> None:
        """One look."""
        raise NotImplementedError

    def at_end(self) -> None:
        self.look()


class Round(Generic[Member]):
    """Goes round and round through a list that may grow or shrink between two turns."""

    def __init__(self) -> None:
        self._at = 0

    def take(self, members: Sequence[Member], most: int) -> list[Member]:
        """The next ones, `most` at most, none twice."""
        count = min(most, len(members))
        if not count:
            return []
        start = self._at % len(members)
        self._at = (start + count) % len(members)
        return [members[(start + number) % len(members)] for number in range(count)]


class Pairs:
    """Goes round through machines and keys: each key at all machines before the next, where they are few."""

    def __init__(self) -> None:
        self._machines: Round[Machine] = Round()
        self._keys: Round[Key] = Round()

    def take(self, world: World, keys: Sequence[Key]) -> list[tuple[Machine, Key]]:
        """The next pairs of a machine that runs and one of these keys, about `PAIRS`."""
        machines = self._machines.take(running(world), PAIRS)
        chosen = self._keys.take(keys, max(1, PAIRS // max(1, len(machines))))
        return [(machine, key) for key in chosen for machine in machines]


def running(world: World) -> list[Machine]:
    """The machines whose nodes run and can be heard; those on their way out are not among them."""
    return [each for each in world.machines if each.is_heard]


def short(key: bytes) -> str:
    """How a key or an id is called in words."""
    return key.hex()[:8]
