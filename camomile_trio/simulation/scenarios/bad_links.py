"""The ways between nodes are bad: loss, damage, slowness, NATs."""

from __future__ import annotations

import functools

import attrs

from camomile_trio.config import Config, Kademlia
from camomile_trio.simulation.faults import slow_machines, some, start_all, trouble
from camomile_trio.simulation.ledger import OK, Standing
from camomile_trio.simulation.scenario import CONTINENT, Scenario, claim_all_read, claim_quick, claim_share
from camomile_trio.simulation.world import World

STUBBORN = 20
MOST_TRIES = 6


async def _loss(world: World, nodes: int, *, gets: float, puts: float) -> None:
    """The network loses packets from the first join on: 5, 20 or 40 % of them, in each direction.

    Nobody has ever seen it better; then the packets stop being lost.
    """
    with trouble(world, "lossy links"):
        machines = await world.settle(nodes, patience=300.0)
        ready = sum(each.serves for each in machines)
        world.claim("all nodes joined", ready == nodes, ready)
        await world.users.put_many(2 * nodes)
        world.progress.begin("lossy")
        await world.users.keep_busy(600.0, gets=3.0, puts=0.2)
        asked = len(world.ledger.operations)
        claim_share(world, f"of the gets at least {gets:.1%} succeeded", "get", 0, least=gets)
        claim_share(world, f"of the puts at least {puts:.1%} succeeded", "put", 0, least=puts)
        stubborn = [await _put_until_acknowledged(world) for _ in range(STUBBORN)]
        world.claim(
            f"whoever repeats a put is done within {MOST_TRIES} tries",
            all(tries <= MOST_TRIES for tries in stubborn),
            f"{max(stubborn)} at most, {len(world.ledger.operations) - asked} puts for {STUBBORN} values",
        )
    world.network.set_conditions(None, None, CONTINENT)
    await claim_all_read(
        world,
        "what was acknowledged is read once nothing is lost",
        world.ledger.keys_that_are(Standing.PROMISED),
        within=5.0,
    )


async def _put_until_acknowledged(world: World) -> int:
    """As a user who was told that it is safe to repeat; how often it took."""
    value = world.users.new_value()
    for tries in range(1, MOST_TRIES + 1):
        operation = await world.users.put(value)
        if operation is not None and operation.outcome == OK:
            return tries
    return MOST_TRIES + 1


_LOSS = tuple(
    Scenario(
        name=f"loss-{percent}",
        summary=f"The network loses {percent} % of all packets, from the first join on.",
        passes=f"all nodes join; gets succeed, {gets:.1%} of them, and puts, {puts:.1%}; nothing acknowledged is lost",
        run=functools.partial(_loss, gets=gets, puts=puts),
        nodes=50,
        links=attrs.evolve(CONTINENT, loss=percent / 100),
        tick=0.001,
    )
    for percent, gets, puts in ((5, 0.999, 0.999), (20, 0.999, 0.99), (40, 0.95, 0.5))
)


# Few holders for each value, so that nearly every get is answered by another node.
FEW = Config(kademlia=Kademlia(k=3))
VALUE = 900  # bytes, most of a datagram: what is damaged is the value, as a rule


async def _damaged_links(world: World, nodes: int) -> None:
    """One packet in ten arrives with other bytes than were sent: no checksum finds everything.

    Values are put and read all the while; then the links are as they should be.
    """
    with trouble(world, "damaged links"):
        await world.settle(nodes, patience=300.0)
        for _ in range(2 * nodes):
            await world.users.put(world.users.new_value(VALUE))
        world.progress.begin("damaged")
        await world.users.keep_busy(120.0, gets=10.0)
        claim_share(world, "of the gets at least 99% succeeded", "get", 0, least=0.99)
    world.network.set_conditions(None, None, CONTINENT)
    await claim_all_read(
        world,
        "what was acknowledged is read once nothing is damaged",
        world.ledger.keys_that_are(Standing.PROMISED),
        within=5.0,
    )


_DAMAGED_LINKS = (
    Scenario(
        name="damaged-links",
        summary="One packet in ten arrives damaged, from the first join on.",
        passes="99 % of the gets succeed, nobody ever sees wrong bytes, and nothing acknowledged is lost",
        run=_damaged_links,
        nodes=15,
        config=FEW,
        links=attrs.evolve(CONTINENT, corruption=0.1),
    ),
)


SLOW_SHARE = 0.2
# Each way: their answers come within the deadline of 2 s, but after any usual retransmission timeout.
SLOWNESS = 0.75


async def _slow_nodes(world: World, nodes: int) -> None:
    """A fifth of the nodes are slow: what comes to them and what leaves them takes three quarters of a second more.

    They are slow from some moment on; users ask fast and slow ones alike.
    """
    machines = await world.settle(nodes)
    keys = await world.users.put_many(nodes)
    before = len(world.ledger.operations)
    slow = some(world, SLOW_SHARE, "slow")
    fast = [each for each in machines if each not in slow]
    with slow_machines(world, slow, SLOWNESS):
        world.progress.begin("slow")
        await world.users.keep_busy(600.0, gets=3.0, puts=0.5)
    claim_share(world, "every get succeeded", "get", before, least=1.0)
    claim_share(world, "every put succeeded", "put", before, least=1.0)
    claim_quick(world, "at fast nodes 95% of the gets took at most half a second", "get", before, p95=0.5, at=fast)
    claim_quick(world, "at fast nodes 95% of the puts took at most 4 seconds", "put", before, p95=4.0, at=fast)
    await claim_all_read(world, "every value is read afterwards", keys, within=2.0)


_SLOW_NODES = (
    Scenario(
        name="slow-nodes",
        summary=f"Of all nodes {SLOW_SHARE:.0%} are slow: every packet to or from them takes {SLOWNESS} s more.",
        passes="no operation fails, and at the fast nodes 95 % of the gets take at most 0.5 s",
        run=_slow_nodes,
        nodes=50,
        tick=0.001,
    ),
)


NAT_SHARE = 0.25
# What RFC 4787 has NATs remember for UDP at least is 2 minutes; many forget sooner.
REMEMBERS = 30.0


async def _nat(world: World, nodes: int) -> None:
    """Some nodes are behind a NAT: they reach everybody, and nobody reaches them who was not just written to.

    They join as all others do, and have users of their own.
    """
    with trouble(world, "nodes behind NATs"):
        machines = [world.new_machine() for _ in range(nodes)]
        hidden = world.generator("nat").sample(machines[3:], round(NAT_SHARE * nodes))
        for machine in hidden:
            world.network.set_nat(machine.endpoint, REMEMBERS)
        ready = await start_all(world, machines)
        world.claim("all nodes joined", ready, sum(each.serves for each in machines))
        await world.users.put_many(2 * nodes)
        world.progress.begin("in use")
        await world.users.keep_busy(1800.0, gets=1.0, puts=0.2)
        claim_share(world, "every get succeeded", "get", 0, least=1.0)
        claim_share(world, "every put succeeded", "put", 0, least=1.0)
        claim_quick(world, "95% of the gets took at most half a second", "get", 0, p95=0.5, at=machines)
        keys = world.ledger.keys
        await claim_all_read(world, "every value is read behind the NATs", keys, within=2.0, at=hidden)


_NAT = (
    Scenario(
        name="nat",
        summary=f"Of all nodes {NAT_SHARE:.0%} are behind a NAT: only whom they have just written to reaches them.",
        passes="no operation fails, in the open or behind a NAT, and gets stay quick",
        run=_nat,
        nodes=40,
        tick=0.001,
    ),
)


SCENARIOS = (*_LOSS, *_DAMAGED_LINKS, *_SLOW_NODES, *_NAT)
