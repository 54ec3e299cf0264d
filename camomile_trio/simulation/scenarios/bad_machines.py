"""Disks are full or fail, clocks are wrong."""

from __future__ import annotations

import trio

from camomile_trio.errors import DiskFull
from camomile_trio.simulation.disk import DiskFaults
from camomile_trio.simulation.faults import faulty_disks, some, start_all
from camomile_trio.simulation.ledger import OK, OperationKind, Standing
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.scenario import Scenario, claim_all_read, claim_none_read, claim_share
from camomile_trio.simulation.world import World

SHARE = 0.25
FULL = DiskFaults(is_full=True)


async def _disks_full(world: World, nodes: int) -> None:
    """Disks have no room left: first those of some machines, then all of them.

    A majority of the holders is enough for a put; none is enough to read; and nothing is acknowledged quietly.
    """
    await world.settle(nodes)
    keys = await world.users.put_many(2 * nodes)
    before = len(world.ledger.operations)
    with faulty_disks(world, some(world, SHARE, "full"), FULL):
        world.progress.begin("some full")
        await world.users.keep_busy(300.0, gets=3.0, puts=0.3, forgets=0.05)
    claim_share(world, "with a quarter of the disks full every get succeeded", "get", before, least=1.0)
    claim_share(world, "at least 99% of the puts succeeded", "put", before, least=0.99)
    claim_share(world, "at least 99% of the forgets succeeded", "forget", before, least=0.99)
    before = len(world.ledger.operations)
    with faulty_disks(world, world.machines, FULL):
        world.progress.begin("all full")
        refused = [await world.users.put() for _ in range(20)]
        accepted = sum(each is not None and each.outcome == OK for each in refused)
        why = sorted({each.outcome for each in refused if each is not None})
        world.claim("with all disks full no put was acknowledged", accepted == 0, f"{accepted} were; {why}")
        world.claim("with all disks full the caller hears that they are full", why == [DiskFull.__name__], why)
        await world.users.keep_busy(300.0, gets=3.0)
        claim_share(world, "with all disks full every get succeeded", "get", before, least=1.0)
    before = len(world.ledger.operations)
    await trio.sleep(10.0)
    await world.users.put_many(20)
    claim_share(world, "with room again every put succeeded", "put", before, least=1.0)
    promised = world.ledger.keys_that_are(Standing.PROMISED)
    world.claim("most of what was put before is still promised", len(promised) > len(keys) // 2, len(promised))
    await claim_all_read(world, "what was acknowledged is read", promised, within=2.0)
    records = world.config.records
    await trio.sleep(1.25 * records.replicate_interval + records.cache_life)
    forgotten = world.ledger.keys_that_are(Standing.FORGOTTEN)
    await claim_none_read(world, "what was forgotten is read nowhere", forgotten)


_DISKS_FULL = (
    Scenario(
        name="disks-full",
        summary=f"The disks of {SHARE:.0%} of the machines are full, then all of them, then there is room again.",
        passes="gets never fail, no put is acknowledged that is not stored, and all is well once there is room",
        run=_disks_full,
        nodes=40,
        tick=0.001,
    ),
)


DAMAGED_VALUES = 5  # of each machine that is struck


async def _disks_failing(world: World, nodes: int) -> None:
    """Disks fail: some cannot be written, some cannot be read, some are slow, some give back other bytes than they got.

    A tenth of the machines each, at once and for ten minutes; what was damaged stays so.
    """
    machines = await world.settle(nodes)
    await world.users.put_many(2 * nodes)
    before = len(world.ledger.operations)
    tenth = max(1, nodes // 10)
    shuffled = some(world, 1.0, "order")
    world.generator("disks").shuffle(shuffled)
    unwritable, unreadable, slow, damaged = (shuffled[at * tenth : (at + 1) * tenth] for at in range(4))
    rng = world.generator("damage")
    for machine in damaged:
        assert machine.disk is not None
        struck = [machine.disk.damage(rng) for _ in range(DAMAGED_VALUES)]
        world.note("damage", machine=machine.number, keys=[key.hex() for key in struck if key is not None])
    with (
        faulty_disks(world, unwritable, DiskFaults(fails_writes=True)),
        faulty_disks(world, unreadable, DiskFaults(fails_reads=True)),
        faulty_disks(world, slow, DiskFaults(slowness=1000.0)),
    ):
        world.progress.begin("failing")
        await world.users.keep_busy(600.0, gets=3.0, puts=0.3)
    # A node that cannot read its disk says so; a put through one that cannot write it needs a majority elsewhere.
    sound = [each for each in machines if each not in unreadable]
    claim_share(world, "where disks can be read every get succeeded", "get", before, least=1.0, at=sound)
    claim_share(world, "where disks can be read 99% of the puts succeeded", "put", before, least=0.99, at=sound)
    wrong = [each.key.hex()[:8] for each in world.ledger.operations if not each.is_right]
    world.claim("nobody was given wrong bytes", not wrong, wrong or "right bytes only")
    await trio.sleep(60.0)
    before = len(world.ledger.operations)
    await world.users.keep_busy(60.0, gets=5.0, puts=2.0)
    claim_share(world, "once the disks work every get succeeded", "get", before, least=1.0)
    claim_share(world, "once the disks work every put succeeded", "put", before, least=1.0)
    promised = world.ledger.keys_that_are(Standing.PROMISED)
    await claim_all_read(world, "what was acknowledged is read", promised, within=2.0)
    serving = sum(each.serves for each in machines)
    world.claim("all nodes serve", serving == nodes, serving)


_DISKS_FAILING = (
    Scenario(
        name="disks-failing",
        summary="Of all disks a tenth cannot be written, a tenth not be read, a tenth is slow, a tenth damaged.",
        passes="gets fail only where disks cannot be read, nobody sees wrong bytes, all is well once the disks work",
        run=_disks_failing,
        nodes=40,
        tick=0.001,
    ),
)


FIVE_MINUTES = 300_000.0  # ms
# A jump beyond what the network puts up with, for as long as it takes an operator to see it.
JUMP = 3_600_000.0  # ms
UNNOTICED = 1800.0  # s
TTL = 900.0
KINDS: tuple[OperationKind, ...] = ("get", "put", "forget")


async def _clock_skew(world: World, nodes: int) -> None:
    """Wall clocks are wrong by up to five minutes, and one of them is set while the network is used.

    The errors are spread evenly. What is put with a ttl ends within the error of the clocks.
    """
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


_CLOCK_SKEW = (
    Scenario(
        name="clock-skew",
        summary="Wall clocks are up to 5 minutes ahead or behind, and one of them is an hour ahead for half an hour.",
        passes="nothing fails but at the node that is an hour ahead; what was forgotten or has ended is not read",
        run=_clock_skew,
        nodes=20,
        tick=0.001,
    ),
)


SCENARIOS = (*_DISKS_FULL, *_DISKS_FAILING, *_CLOCK_SKEW)
