"""Promised values of which no copy is left anywhere are counted, and none is lost without a fault that explains it.

Rules of this file: a copy is the bytes on a disk, of a machine up or down, or in the memory of an ephemeral node. Who
takes copies away is written down as it happens: machines that go without good order, or several at once.
"""

from __future__ import annotations

import math

import attrs

from camomile_trio.kademlia.ids import Key
from camomile_trio.simulation.ledger import OK
from camomile_trio.simulation.machine import Condition, Machine
from camomile_trio.simulation.properties.looking import Looking, Round, running, stored
from camomile_trio.simulation.properties.promises import is_due
from camomile_trio.simulation.world import World

COPIES_A_LOOK = 3000
KEYS_A_LOOK = 100


@attrs.frozen
class Departure:
    """A machine went."""

    machine: int
    time: float
    in_order: bool


class Lost(Looking):
    """Looks for copies of some keys, at about `COPIES_A_LOOK` places.

    A loss is explained when, within two rounds of replication or a lease, whichever is longer: something troubled the
    network, a store was full, at least half of the machines that a value is kept by (k, or all if they are fewer) went
    without handing over, or nobody was there to renew its lease all the while. Those who leave in good order hand over,
    unless others go at about the same time.
    """

    name = "no promised value is lost without a reason"

    def __init__(self) -> None:
        self._keys: Round[Key] = Round()
        self._lost: dict[Key, None] = {}
        self._lives: dict[int, int] = {}  # of each machine, the lives whose end has been seen
        self._departures: list[Departure] = []
        self._troubled_at = -math.inf

    @property
    def count(self) -> int:
        """Keys that were found without a copy, for whatever reason."""
        return len(self._lost)

    def look(self, world: World) -> None:
        self._follow(world)
        keys = self._keys.take(
            world.ledger.keys, min(KEYS_A_LOOK, max(1, COPIES_A_LOOK // max(1, len(world.machines))))
        )
        for key in keys:
            if key in self._lost or not is_due(world, key) or has_copy(world, key):
                continue
            self._lost[key] = None
            reason = self._reason(world, key)
            world.note("lost", key=key.hex(), because=reason)
            if not reason:
                gone = [each.machine for each in self._gone(world)]
                world.violated(self.name, f"a copy of {key.hex()[:8]} somewhere", f"none; machines that went: {gone}")

    def _follow(self, world: World) -> None:
        if world.is_troubled:
            self._troubled_at = world.now
        for machine in world.machines:
            is_over = machine.condition is Condition.DOWN
            ended = machine.lives if is_over else machine.lives - 1
            if ended > self._lives.get(machine.number, 0):
                self._lives[machine.number] = ended
                in_order = is_over and machine.life.leave.is_set()
                self._departures.append(Departure(machine.number, machine.down_since, in_order))

    def _reason(self, world: World, key: Key) -> str:
        since = world.now - window(world)
        if self._troubled_at >= since:
            return "trouble"
        most = min(world.config.kademlia.k, len(world.machines))
        if 2 * len(self._gone(world)) >= most:
            return "many machines went"
        if any(_refused(each) for each in running(world)):
            return "full stores"
        return "" if _is_renewed(world, key, since) else "nobody to renew it"

    def _gone(self, world: World) -> list[Departure]:
        """Who took copies away within the window."""
        since = world.now - window(world)
        recent = [each for each in self._departures if each.time >= since]
        together = 3 * world.config.records.hand_over_deadline
        return [
            each
            for each in recent
            if not each.in_order
            or any(other is not each and abs(other.time - each.time) <= together for other in recent)
        ]


def window(world: World) -> float:
    """How far back a reason may lie."""
    records = world.config.records
    return max(2 * 1.25 * records.replicate_interval, records.lease)


def has_copy(world: World, key: Key) -> bool:
    """Whether the value's bytes are anywhere."""
    for machine in world.machines:
        if machine.disk is not None:
            entry = machine.disk.entries.get(key)
            if entry is not None and entry.value is not None:
                return True
        else:
            state = stored(machine, key)
            if state is not None and state.size is not None:
                return True
    return False


def _refused(machine: Machine) -> bool:
    return machine.node is not None and machine.node.core.storage.statistics.refused > 0


def _is_renewed(world: World, key: Key, since: float) -> bool:
    """Whether the node that published it was up all the while, or every node that holds it has its publisher's key."""
    if len(dict.fromkeys(each.publisher.public for each in world.machines)) == 1:
        return True
    steady = {each.number: each for each in running(world) if each.up_since <= since}
    for word in world.ledger.words(key):
        machine = steady.get(word.machine)
        if machine is None or word.kind != "put" or word.outcome != OK or word.ttl is not None:
            continue
        # An ephemeral node that starts again has forgotten what it published.
        remembers = machine.disk is not None or word.began >= machine.up_since
        if remembers and word.publisher == machine.publisher.public:
            return True
    return False
