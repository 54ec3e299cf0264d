"""Small worlds for tests: a few nodes with short lives of everything, a story, and the properties that watch it.

Rules of this file: worlds are made by `simulate`, as all are; only the properties are chosen. It judges nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from camomile_trio.config import Config, Kademlia, Records
from camomile_trio.kademlia.ids import Key, as_int
from camomile_trio.kademlia.records import Record
from camomile_trio.simulation.ledger import OK
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.outcome import Outcome
from camomile_trio.simulation.properties.base import Property
from camomile_trio.simulation.run import simulate
from camomile_trio.simulation.scenario import Plan, Scenario
from camomile_trio.simulation.trace import Teller
from camomile_trio.simulation.world import World

# A minute from one round of maintenance to the next.
QUICK = Config(
    kademlia=Kademlia(k=4, refresh_interval=60.0),
    records=Records(lease=600.0, replicate_interval=60.0, cache_life=5.0),
)
# What happens after so many machines have joined.
Story = Callable[[World, list[Machine]], Awaitable[None]]


def run_world(
    story: Story,
    *properties: type[Property],
    nodes: int = 8,
    seed: int = 1,
    config: Config = QUICK,
    tell: Teller | None = None,
) -> Outcome:
    """One run of a story, watched by these properties and no others."""

    async def settle_and_tell(world: World, count: int) -> None:
        await story(world, await world.settle(count))

    scenario = Scenario(
        name="story", summary="A test's.", passes="as the test says", run=settle_and_tell, nodes=nodes, config=config
    )
    return simulate(Plan(scenario=scenario, seed=seed), properties=properties, tell=tell)


async def put(world: World, value: bytes = b"a plum", *, at: Machine | None = None, ttl: float | None = None) -> Key:
    """A put that is acknowledged."""
    operation = await world.users.put(value, at=at, ttl=ttl)
    assert operation is not None
    assert operation.outcome == OK, operation.because
    return operation.key


def records_of(world: World, key: Key) -> tuple[Record, ...]:
    """The records that the first holder of a key has."""
    state = world.holders(key)[0].stored(key)
    assert state is not None
    return tuple(register.record for register in state.registers)


def broken_rules(outcome: Outcome) -> list[str]:
    return list(outcome.violated_rules)


K = 4
ROUND = 300.0  # virtual s from one round of maintenance to the next
NODES = 20


def told(
    story: Callable[[World, list[Machine]], Awaitable[None]], *, nodes: int = NODES, is_warm: bool = False
) -> Outcome:
    """What comes of a story that begins with so many members."""

    async def run(world: World, count: int) -> None:
        await story(world, await world.settle(count))

    config = Config(kademlia=Kademlia(k=K, refresh_interval=ROUND), records=Records(replicate_interval=ROUND))
    scenario = Scenario(name="small", summary="", passes="", run=run, nodes=nodes, config=config)
    return simulate(Plan(scenario=scenario, is_warm=is_warm))


def nearest(machines: list[Machine], target: bytes, count: int = K) -> list[Machine]:
    """By sorting everybody."""
    return sorted(machines, key=lambda each: as_int(each.id) ^ as_int(target))[:count]
