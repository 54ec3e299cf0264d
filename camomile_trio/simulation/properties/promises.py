"""What a promise to a user amounts to at a moment: until when it holds, and who can keep it.

Rules of this file: shared by the properties about promised keys. It believes the ledger, and of clocks that differ
the one by which a promise ends first.
"""

from __future__ import annotations

import math

from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.records import Record
from camomile_trio.kademlia.registers import KeyState
from camomile_trio.simulation.ledger import OK, Standing
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.properties.looking import running, stored
from camomile_trio.simulation.world import World


def worst_clocks(world: World) -> tuple[float, float]:
    """How far the clock that is most behind is behind, and the one most ahead ahead, in s; both 0 or more."""
    errors = [each.clock.off_by for each in world.machines]
    return max(0.0, -min(errors, default=0.0)) / 1000, max(0.0, max(errors, default=0.0)) / 1000


def is_due(world: World, key: Key) -> bool:
    """Whether the value must be there now: it is promised, and the leases that it was put with have not all ended."""
    if world.ledger.standing(key) is not Standing.PROMISED:
        return False
    until = 0.0
    for word in world.ledger.words(key):
        if word.kind == "put" and word.outcome == OK:
            until = max(until, math.inf if word.ttl is None else word.began + word.ttl)
    # Between clocks that differ, a lease ends for the first of them this much earlier.
    return until == math.inf or until - sum(worst_clocks(world)) > world.now


def leases_of(state: KeyState) -> list[Record]:
    """All leases about a key, ended or not."""
    return [register.record for register in state.registers if not register.record.is_tombstone]


def lasting_holders(world: World, key: Key, seconds: float) -> list[Machine]:
    """The machines that run and hold the value under a lease that lives for `seconds` yet by everybody's clock.

    Not by their own alone: where a lease is short and a clock is wrong, whoever asks may find that it has ended.
    """
    found = []
    until = max((each.clock() for each in world.machines), default=0) + 1000 * seconds
    for machine in running(world):
        state = stored(machine, key)
        if state is not None and state.size is not None and any(each.expires > until for each in leases_of(state)):
            found.append(machine)
    return found


def durable_holders(world: World, key: Key) -> list[Machine]:
    """Those that hold it now by everybody's clock, on a disk, and have joined."""
    return [each for each in lasting_holders(world, key, 0.0) if each.disk is not None and each.serves]
