"""Properties that look at the world again and again, and what they look with.

Rules of this file: a look is bounded work, so that properties cost a small share of a run however large it is. Time
passes quickly where nothing happens: then looks are rarer. Reading a node's state here is what a request to it would
do, and changes nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

import trio

from camomile_trio.errors import CamomileError, StorageError
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.registers import KeyState
from camomile_trio.node.holdings import Served
from camomile_trio.node.results import Found
from camomile_trio.simulation.machine import Condition, Machine
from camomile_trio.simulation.properties.base import Property
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

    async def watch(self, world: World) -> None:
        pace = Pace(world)
        while True:
            await trio.sleep(pace.next())
            self.look(world)

    def look(self, world: World) -> None:
        """One look."""
        raise NotImplementedError

    def at_end(self, world: World) -> None:
        self.look(world)


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
    return [each for each in world.machines if each.node is not None and each.condition is Condition.UP]


def served(machine: Machine, key: Key) -> Served | None:
    """What the machine would answer at once if it were asked for the key now."""
    if machine.node is None:
        return None
    try:
        return machine.node.core.holdings.served(key)
    except StorageError:
        return None


def stored(machine: Machine, key: Key) -> KeyState | None:
    """What the machine's node has stored about the key; None also if its disk fails."""
    if machine.node is None:
        return None
    try:
        return machine.node.core.storage.read(key)
    except StorageError:
        return None


async def ask(machine: Machine, key: Key) -> Found | CamomileError | None:
    """Gets a key at a machine, as a user would, but without a word in the ledger. None: its node died meanwhile."""
    if machine.node is None:
        return None
    outcome: Found | CamomileError | None = None
    with trio.CancelScope() as scope:
        machine.life.users[scope] = None
        users = machine.life.users
        try:
            outcome = await machine.node.get(key)
        except CamomileError as error:
            outcome = error
        finally:
            users.pop(scope, None)
    return outcome
