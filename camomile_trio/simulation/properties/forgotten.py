"""What was forgotten is served by nobody once the network had time to tell everybody, and never comes back.

Rules of this file: only keys that every publisher had forgotten, by the ledger, and only while nothing troubles the
network. Copies of classic nodes, which nobody can forget, are not meant.
"""

from __future__ import annotations

import trio

from camomile_trio.kademlia.ids import Key
from camomile_trio.node.results import Found
from camomile_trio.simulation.ledger import Standing
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.properties.looking import Looking, Pace, Pairs, Round, ask, served
from camomile_trio.simulation.world import World

KEYS_A_LOOK = 100  # whose standing one look asks the ledger for
GETS_A_LOOK = 1


def bound(world: World) -> float:
    """A cached copy's life, two rounds of replication with their jitter, and two operation deadlines.

    Two rounds, since a holder leaves out what another one has shown it within the interval.
    """
    config = world.config
    rounds = 2 * 1.25 * config.records.replicate_interval
    return config.records.cache_life + rounds + 2 * config.requests.operation_deadline


class Forgotten(Looking):
    """Looks at what some machines would serve of some forgotten keys (`PAIRS`), and really gets one of them.

    A key counts once it has been forgotten, and the network calm, for `bound`.
    """

    name = "what was forgotten stays away"

    def __init__(self) -> None:
        self._keys: Round[Key] = Round()
        self._pairs = Pairs()
        self._asked: Round[Key] = Round()
        self._askers: Round[Machine] = Round()

    async def watch(self, world: World) -> None:
        pace = Pace(world)
        while True:
            await trio.sleep(pace.next())
            self.look(world)
            for key in self._asked.take(self._ripe(world), GETS_A_LOOK):
                await self._get(world, key)

    def look(self, world: World) -> None:
        for machine, key in self._pairs.take(world, self._ripe(world)):
            found = served(machine, key)
            if found is not None and found.is_live:
                where = "its cache" if found.is_cached else "its store"
                world.violated(self.name, f"{key.hex()[:8]} served by nobody", f"served from {where}", machine)

    async def _get(self, world: World, key: Key) -> None:
        for machine in self._askers.take([each for each in world.machines if each.serves], 1):
            found = await ask(machine, key)
            if isinstance(found, Found) and found.live and _is_ripe(world, key):
                seen = f"got from {found.origin.hex()[:8]}"
                world.violated(self.name, f"{key.hex()[:8]} found by nobody", seen, machine)

    def _ripe(self, world: World) -> list[Key]:
        """Some of the keys that nobody may serve any more."""
        if world.calm_for < bound(world):
            return []
        return [key for key in self._keys.take(world.ledger.keys, KEYS_A_LOOK) if _is_ripe(world, key)]


def _is_ripe(world: World, key: Key) -> bool:
    if world.ledger.standing(key) is not Standing.FORGOTTEN or world.calm_for < bound(world):
        return False
    since = world.ledger.forgotten_since(key)
    return since is not None and world.now - since >= bound(world)
