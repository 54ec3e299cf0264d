"""A small scenario for tests of the room itself: a few nodes, an apple that is put, read and forgotten, one crash."""

from __future__ import annotations

from camomile_trio.kademlia.ids import Key
from camomile_trio.simulation.ledger import OK
from camomile_trio.simulation.scenario import Plan, Scenario
from camomile_trio.simulation.world import World

APPLE = b"an apple"
PEAR = b"a pear, larger than a datagram" * 100
APPLES_KEY = Key.of(APPLE)


async def grow(world: World, nodes: int) -> None:
    """An apple and a pear are put at machine 1 and read at machine 2; the apple is forgotten; machine 3 crashes."""
    machines = await world.settle(nodes)
    await world.users.put(APPLE, at=machines[1])
    await world.users.put(PEAR, at=machines[1])
    read = [await world.users.get(key, at=machines[2]) for key in (APPLES_KEY, Key.of(PEAR))]
    world.claim("fruit is read", all(each is not None and each.outcome == OK for each in read), len(read))
    await world.users.forget(APPLES_KEY, at=machines[0])
    await world.crash(machines[3])
    gone = await world.users.get(APPLES_KEY, at=machines[2])
    world.claim("what was forgotten is gone", gone is not None and gone.outcome == "Forgotten", gone and gone.outcome)


ORCHARD = Scenario(name="orchard", summary="Fruit.", passes="it is read, then forgotten", run=grow, nodes=5)


def plan(seed: int = 1) -> Plan:
    return Plan(scenario=ORCHARD, seed=seed)
