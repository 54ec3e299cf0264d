"""Many machines fail at once, or for long: crashes, power losses, weeks without a node."""

from __future__ import annotations

import functools

import attrs
import trio

from camomile_trio.config import Config, Kademlia, Records, StorageConfig, SyncMode
from camomile_trio.kademlia.ids import Key
from camomile_trio.simulation.faults import some, start_all
from camomile_trio.simulation.ledger import OK, Standing
from camomile_trio.simulation.properties.tables import dead_bound
from camomile_trio.simulation.scenario import (
    Scenario,
    claim_all_read,
    claim_copies,
    claim_none_read,
    claim_share,
    lost,
    promised_with_holder,
)
from camomile_trio.simulation.world import World

# At this time after the crash users begin to read; each key is to be read this soon.
PAUSE = 5.0
READ_WITHIN = 10.0


async def _mass_crash(world: World, nodes: int, *, share: float) -> None:
    """A large part of the network crashes at the same instant, and does not come back.

    Right after the last put, so that nothing has been repaired or copied before.
    """
    await world.settle(nodes)
    keys = await world.users.put_many(2 * nodes)
    world.claim("every put was acknowledged", len(keys) == 2 * nodes, len(keys))
    await trio.sleep(PAUSE)
    await world.crash_all(some(world, share, "mass crash"))
    gone = lost(world)
    world.note("lost", keys=[key.hex() for key in gone])
    await trio.sleep(PAUSE)
    kept = promised_with_holder(world)
    await claim_all_read(
        world, f"every key that has a holder is read within {READ_WITHIN:g} s", kept, within=READ_WITHIN
    )
    world.claim("no key lost all of its holders", not gone, [key.hex()[:8] for key in gone] or "none lost")
    before = len(world.ledger.operations)
    await world.users.keep_busy(60.0, gets=2.0, puts=2.0)
    claim_share(world, "every get in the minute after it succeeded", "get", before, least=1.0)
    claim_share(world, "every put in the minute after it succeeded", "put", before, least=1.0)
    # Two rounds of replication, of which the jitter makes each a quarter longer.
    world.progress.begin("repairing")
    await trio.sleep(2 * 1.25 * world.config.records.replicate_interval)
    claim_copies(world, "two rounds of replication later there are k copies again", kept)


_MASS_CRASH = tuple(
    Scenario(
        name=f"mass-crash-{percent}",
        summary=f"Of all nodes {percent} % crash at the same instant, and do not come back.",
        passes=f"every key with a holder is read within {READ_WITHIN:g} s; k copies after two rounds of replication",
        run=functools.partial(_mass_crash, share=percent / 100),
        nodes=40,
        tick=0.001,
    )
    for percent in (10, 30, 50)
)


SHARE = 0.2


async def _quiet_deaths(world: World, nodes: int) -> None:
    """Nodes crash in a network that nobody uses and that holds nothing: only what nodes ask unasked can find out.

    Nobody asks the dead for anything but by the node's own maintenance.
    """
    machines = await world.settle(nodes)
    dead = some(world, SHARE, "deaths")
    await world.crash_all(dead)
    world.progress.begin("quiet")
    await trio.sleep(1.25 * dead_bound(machines[0]))
    ids = [machine.id for machine in dead]
    kept = [
        f"{contact.id.hex()[:8]} at machine {machine.number}"
        for machine in machines
        if machine.node is not None
        for contact in machine.node.contacts()
        if contact.id in ids
    ]
    world.claim("no table has a dead node any more", not kept, ", ".join(kept[:5]) or f"{len(dead)} dead nodes")


_QUIET_DEATHS = (
    Scenario(
        name="quiet-deaths",
        summary=f"Of all nodes {SHARE:.0%} crash for good, while nobody uses the network.",
        passes="a refresh interval and its timeouts later no table has one of them",
        run=_quiet_deaths,
        nodes=15,
        tick=0.001,
    ),
)


# How long it is dark.
DARK = 60.0
# What is on the way to the disk when only the operating system has it.
WITHIN: dict[SyncMode, float] = {"os": 1.0, "full": 0.0}


async def _power_loss(world: World, nodes: int, *, sync: SyncMode) -> None:
    """All machines lose their power at the same instant, under writes, and all come back.

    What was acknowledged must be there afterwards: with `os` up to a second before, with `full` to the last.
    """
    machines = await world.settle(nodes)
    await world.users.put_many(2 * nodes)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(functools.partial(world.users.keep_busy, 60.0, gets=5.0, puts=nodes / 2))
        await trio.sleep(30.0 + world.generator("power").random())
        dark_at = world.now
        await world.crash_all(machines, power_loss=True)
        nursery.cancel_scope.cancel()
    await trio.sleep(DARK)
    ready = await start_all(world, machines)
    world.claim("all nodes joined again", ready, sum(each.serves for each in machines))
    safe: list[Key] = []
    unsafe: list[Key] = []
    for each in world.ledger.operations:
        if each.kind == "put" and each.outcome == OK and each.ended is not None:
            (safe if each.ended <= dark_at - WITHIN[sync] else unsafe).append(each.key)
    await claim_all_read(world, "what was acknowledged in time is read", safe, within=30.0)
    gone = lost(world)
    world.note("lost", keys=[key.hex() for key in gone])
    late = [key for key in gone if key in unsafe]
    world.claim(
        "nothing else was lost",
        len(late) == len(gone),
        f"{len(gone)} lost, of {len(unsafe)} in the last {WITHIN[sync]:g} s",
    )
    before = len(world.ledger.operations)
    await world.users.keep_busy(60.0, puts=2.0)
    claim_share(world, "every put afterwards succeeded", "put", before, least=1.0)
    standing = [key for key in world.ledger.keys_that_are(Standing.PROMISED) if key not in gone]
    await claim_all_read(world, "and is read", standing, within=2.0)


_POWER_LOSS = tuple(
    Scenario(
        name=f"power-loss-{sync}",
        summary=f"All machines lose their power at once, under writes, and come back. --sync {sync}",
        passes=f"all that was acknowledged {'a second before it ' if sync == 'os' else ''}is read",
        run=functools.partial(_power_loss, sync=sync),
        nodes=30,
        config=attrs.evolve(Config(), storage=StorageConfig(sync=sync)),
        tick=0.001,
    )
    for sync in WITHIN
)


HOUR, DAY = 3600.0, 86_400.0
# The life of a tombstone is a week: the first comes back while those of its time live, the second when none does.
RETURNS = (6 * DAY, 8 * DAY)


async def _lone_return(world: World, nodes: int) -> None:
    """Nodes come back after a week on old disks, and have missed what was forgotten meanwhile.

    Two nodes crash with everything on their disks; then half of the values are forgotten.
    """
    machines = await world.settle(nodes)
    keys = await world.users.put_many(40)
    await trio.sleep(60.0)
    began = world.now
    away = machines[-2:]
    await world.crash_all(away)
    for key in keys[::2]:
        await world.users.forget(key)
    forgotten = world.ledger.keys_that_are(Standing.FORGOTTEN)
    kept = world.ledger.keys_that_are(Standing.PROMISED)
    for machine, returns in zip(away, RETURNS, strict=True):
        world.progress.begin(f"{returns / DAY:g} days")
        await trio.sleep_until(began + returns)
        stale = machine.disk is not None and len(machine.disk.entries) > 0
        world.claim(f"after {returns / DAY:g} days it still has its old records", stale, machine)
        await world.start(machine)
        await world.wait_ready([machine], 120.0)
        day = f"after {returns / DAY:g} days"
        await claim_none_read(world, f"{day}: what was forgotten is not read at it at once", forgotten, at=[machine])
        await claim_none_read(world, f"{day}: nor anywhere else", forgotten)
        await trio.sleep(3 * world.config.records.replicate_interval)
        await claim_none_read(world, f"{day}: nor after three rounds of replication", forgotten)
        await claim_all_read(world, f"{day}: what was not forgotten is read", kept, within=2.0)
        await claim_all_read(world, f"{day}: at the node that came back too", kept, within=2.0, at=[machine])


_LONE_RETURN = (
    Scenario(
        name="lone-return",
        summary="One node comes back after 6 days and one after 8, on their disks, and have missed forgets.",
        passes="nothing that was forgotten comes back, and all else is read",
        run=_lone_return,
        nodes=8,
        # A week of virtual time: maintenance is four times as rare as usual.
        config=attrs.evolve(
            Config(), kademlia=Kademlia(refresh_interval=4 * HOUR), records=Records(replicate_interval=4 * HOUR)
        ),
        tick=0.001,
    ),
)


MONTH = 30 * 86_400.0
EVERYTHING_READ = "a quarter of an hour later everything that was not forgotten is read"


async def _month_asleep(world: World, nodes: int) -> None:
    """The whole network is stopped for a month, and started again.

    Leases and tombstones have ended by all clocks, and nobody was there to renew them.
    """
    machines = await world.settle(nodes)
    keys = await world.users.put_many(2 * nodes)
    for key in keys[::4]:
        await world.users.forget(key)
    forgotten = world.ledger.keys_that_are(Standing.FORGOTTEN)
    kept = world.ledger.keys_that_are(Standing.PROMISED)
    await trio.sleep(60.0)
    world.progress.begin("stopping", nodes)
    async with trio.open_nursery() as nursery:
        for machine in machines:
            nursery.start_soon(world.leave, machine)
    world.progress.begin("asleep")
    await trio.sleep(MONTH)
    ready = await start_all(world, machines)
    world.claim("all nodes joined again", ready, sum(each.serves for each in machines))
    await trio.sleep(15 * 60.0)
    await claim_none_read(world, "what was forgotten is read nowhere", forgotten)
    await claim_all_read(world, EVERYTHING_READ, kept, within=2.0)
    await trio.sleep(3 * 1.25 * world.config.records.replicate_interval)
    await claim_none_read(world, "nor after three rounds of replication", forgotten)


_MONTH_ASLEEP = (
    Scenario(
        name="month-asleep",
        summary="All nodes are stopped for 30 days, and started again.",
        passes="everything that was not forgotten is read again, and nothing that was",
        run=_month_asleep,
        nodes=20,
        tick=0.001,
    ),
)


SCENARIOS = (*_MASS_CRASH, *_QUIET_DEATHS, *_POWER_LOSS, *_LONE_RETURN, *_MONTH_ASLEEP)
