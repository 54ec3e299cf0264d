"""Wall clocks are wrong by up to five minutes, and somebody sets one of them while the network is used."""

from __future__ import annotations

import trio

from camomile_trio.simulation.faults import some, start_all
from camomile_trio.simulation.ledger import OperationKind, Standing
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.readings import claim_all_read, claim_none_read, claim_share
from camomile_trio.simulation.scenario import Scenario
from camomile_trio.simulation.world import World

FIVE_MINUTES = 300_000.0  # ms
# A jump that leaves the clock wrong beyond what the network puts up with, for as long as it takes somebody to see it.
JUMP = 3_600_000.0  # ms
UNNOTICED = 1800.0  # s
TTL = 900.0
KINDS: tuple[OperationKind, ...] = ("get", "put", "forget")


async def run(world: World, nodes: int) -> None:
    """The errors are spread evenly. What is put with a ttl ends within the error of the clocks."""
    rng = world.generator("clocks")
    errors = [FIVE_MINUTES * (2 * number / (nodes - 1) - 1) for number in range(nodes)]
    rng.shuffle(errors)
    machines = [world.new_machine(clock_error=error) for error in errors]
    ready = await start_all(world, machines)
    world.claim("all nodes joined", ready, sum(each.serves for each in machines))
    await world.users.put_many(2 * nodes)
    world.progress.begin("skewed")
    await world.users.keep_busy(600.0, gets=2.0, puts=0.2, forgets=0.05)
    for kind in KINDS:
        claim_share(world, f"with clocks that differ every {kind} succeeded", kind, 0, least=1.0)
    before = len(world.ledger.operations)
    (wrong,) = some(world, 0.0, "jump")
    world.progress.begin("jumped")
    _jump(world, wrong, JUMP)
    await world.users.keep_busy(UNNOTICED, gets=1.0, puts=0.1, forgets=0.02)
    _jump(world, wrong, -JUMP)
    others = [each for each in machines if each is not wrong]
    for kind in KINDS:
        claim_share(
            world, f"with one an hour ahead every {kind} at the others succeeded", kind, before, least=1.0, at=others
        )
    brief = [each.key for each in [await world.users.put(ttl=TTL) for _ in range(10)] if each is not None]
    await claim_all_read(world, "what is put for a quarter of an hour is read meanwhile", brief, within=2.0)
    # A holder that a forget missed is told of it by the next round of replication.
    await trio.sleep(1.25 * world.config.records.replicate_interval + world.config.records.cache_life)
    ledger = world.ledger
    promised = [key for key in ledger.keys_that_are(Standing.PROMISED) if key not in brief]
    await claim_all_read(world, "what was put is read everywhere", promised, within=2.0)
    await claim_none_read(world, "what was forgotten is read nowhere", ledger.keys_that_are(Standing.FORGOTTEN))
    await trio.sleep(TTL + 2 * FIVE_MINUTES / 1000)
    await claim_none_read(world, "what was put for a quarter of an hour has ended everywhere", brief)


def _jump(world: World, machine: Machine, ms: float) -> None:
    machine.clock.jump(ms)
    world.note("clock_jump", machine=machine.number, ms=ms)


SCENARIOS = (
    Scenario(
        name="clock-skew",
        summary="Wall clocks are up to 5 minutes ahead or behind, and one of them is an hour ahead for half an hour.",
        passes="nothing fails but at the node that is an hour ahead; what was forgotten or has ended is not read",
        run=run,
        nodes=20,
        tick=0.001,
    ),
)
