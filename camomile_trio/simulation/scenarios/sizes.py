"""Nothing goes wrong: networks of different sizes, that grow and shrink, and what lookups find in them."""

from __future__ import annotations

import attrs
import trio

from camomile_trio.config import Config, Kademlia, Records
from camomile_trio.operations.events import Event, LookupEnded
from camomile_trio.simulation.distribution import percentile
from camomile_trio.simulation.ledger import OK
from camomile_trio.simulation.lookups import PROBES, Verdict
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.scenario import CONTINENT, Scenario, claim_all_read, claim_share
from camomile_trio.simulation.world import World

STEADY_PUTS, STEADY_GETS = 1000, 5000


async def _steady(world: World, nodes: int) -> None:
    """Nothing goes wrong: nodes join one after another, users put and get.

    Joins, then 1000 puts and 5000 gets from random nodes, fewer in a small network.
    """
    await world.settle(nodes, per_second=max(20.0, nodes / 100))
    world.progress.begin("putting", min(STEADY_PUTS, 2 * nodes))
    keys = await world.users.put_many(min(STEADY_PUTS, 2 * nodes))
    world.claim("every put was acknowledged", len(keys) == min(STEADY_PUTS, 2 * nodes), len(keys))
    world.progress.begin("getting", min(STEADY_GETS, 10 * nodes))
    gets = await world.users.get_many(keys, min(STEADY_GETS, 10 * nodes))
    read = sum(each.outcome == OK for each in gets)
    world.claim("every put was read by every asked node", read == len(gets) > 0, f"{read} of {len(gets)}")


_STEADY = (
    Scenario(
        name="steady",
        summary="Nodes join one after another; 1000 puts and 5000 gets; nothing goes wrong.",
        passes="every put acknowledged, every value read by every asked node",
        run=_steady,
        nodes=1000,
        config=attrs.evolve(Config(), records=Records()),
        links=CONTINENT,
        tick=0.001,
    ),
)


LOOKUPS = 500
EXACT = 0.99


async def _true_lookups(world: World, nodes: int) -> None:
    """Nothing goes wrong, and every lookup is compared with what only the simulator knows: who is closest.

    A small k, so that most nodes are far from most keys.
    """
    await world.settle(nodes)
    await claim_exact_lookups(world, LOOKUPS)


async def claim_exact_lookups(world: World, count: int) -> None:
    """Looks up so many random ids from random nodes, and claims that nearly all find exactly the closest."""
    await world.probe_lookups(count)
    verdicts = world.truth.lookups[PROBES].verdicts
    exact, wrong = verdicts[Verdict.EXACT], verdicts[Verdict.WRONG]
    world.claim(
        f"at least {EXACT:.0%} of the lookups find exactly the closest",
        exact >= EXACT * count,
        f"{exact} of {count}, {wrong} wrong",
    )


_TRUE_LOOKUPS = (
    Scenario(
        name="true-lookups",
        summary="Nothing goes wrong; lookups of random ids are compared with the nodes that are really closest.",
        passes=f"{EXACT:.0%} of the lookups find exactly the k closest nodes",
        run=_true_lookups,
        nodes=60,
        config=attrs.evolve(Config(), kademlia=Kademlia(k=6)),
        tick=0.001,
    ),
)


LITERATURE_PUTS, LITERATURE_GETS, LITERATURE_LOOKUPS = 100, 300, 200


async def _literature(world: World, nodes: int) -> None:
    """What the docs show beside published curves: how long lookups, puts and gets take in a network without troubles.

    The same operations whatever the size, from random nodes. Meant for `--warm`.
    """
    await world.settle(nodes)
    world.progress.begin("putting", LITERATURE_PUTS)
    keys = await world.users.put_many(LITERATURE_PUTS)
    world.claim("every put was acknowledged", len(keys) == LITERATURE_PUTS, len(keys))
    world.progress.begin("getting", LITERATURE_GETS)
    gets = await world.users.get_many(keys, LITERATURE_GETS)
    read = sum(each.outcome == OK for each in gets)
    world.claim("every put was read by every asked node", read == len(gets) > 0, f"{read} of {len(gets)}")
    await claim_exact_lookups(world, LITERATURE_LOOKUPS)


_LITERATURE = (
    Scenario(
        name="literature",
        summary="Nothing goes wrong; 100 puts, 300 gets and 200 lookups of random ids, for the table in the docs.",
        passes=f"every value read, {EXACT:.0%} of the lookups exact",
        run=_literature,
        nodes=100,
        config=Config(),
        links=CONTINENT,
        tick=0.001,
    ),
)


GROWTH_VALUES, GROWTH_GETS = 50, 200
MOST_HOPS = 4


class Lookups:
    """What the lookups of users took since the last `begin`."""

    def __init__(self) -> None:
        self.is_on = False
        self.hops: list[int] = []
        self.requests: list[int] = []

    def begin(self) -> None:
        self.hops.clear()
        self.requests.clear()
        self.is_on = True

    def on_event(self, machine: Machine, event: Event) -> None:
        if self.is_on and isinstance(event, LookupEnded):
            self.hops.append(event.hops)
            self.requests.append(event.requests)


async def _growth(world: World, nodes: int) -> None:
    """A network grows from one node to many, and is measured at 10, 100, 1000, 10 000 nodes.

    At each size users put and get; each new node joins through the first ones, as by a name.
    """
    lookups = Lookups()
    world.observers.append(lookups.on_event)
    stages = [size for size in (10, 100, 1000, 10_000, 100_000) if size < nodes] + [nodes]
    joined = 0
    for size in stages:
        sent = world.trace.messages
        await world.settle(size - joined, per_second=max(20.0, size / 100))
        per_join = (world.trace.messages - sent) / (size - joined)
        joined = size
        before = len(world.ledger.operations)
        lookups.begin()
        world.progress.begin(f"measuring at {size}", GROWTH_VALUES + GROWTH_GETS)
        keys = await world.users.put_many(GROWTH_VALUES)
        await world.users.get_many(keys, GROWTH_GETS)
        lookups.is_on = False
        hops, requests = sorted(lookups.hops), sorted(lookups.requests)
        slowest = percentile([float(each) for each in hops], 95)
        world.note(
            "stage", nodes=size, messages_per_join=round(per_join, 1), hops=hops, requests=sum(requests) / len(requests)
        )
        world.claim(
            f"at {size} nodes 95% of the lookups take at most {MOST_HOPS} hops",
            slowest <= MOST_HOPS,
            f"mean {sum(hops) / len(hops):.2f}, p95 {slowest:g}; "
            f"{sum(requests) / len(requests):.1f} requests a lookup, {per_join:.0f} messages a join",
        )
        claim_share(world, f"at {size} nodes every put succeeded", "put", before, least=1.0)
        claim_share(world, f"at {size} nodes every get succeeded", "get", before, least=1.0)


_GROWTH = (
    Scenario(
        name="growth",
        summary="A network grows from one node to many; hops and messages are measured at 10, 100, 1000, … nodes.",
        passes=f"at each size every value is read, and 95 % of the lookups take at most {MOST_HOPS} hops",
        run=_growth,
        nodes=1000,
        tick=0.001,
    ),
)


SHRINKING_VALUES = 40
K = 3
# The last ones stay. All others are gone before a round of replication could stand in for what they hand over.
STAY = 3
PAUSE = 20.0


async def _shrinking(world: World, nodes: int) -> None:
    """A network becomes ever smaller: one node after another leaves in good order, and none comes back.

    A node that leaves gives what it holds to the node that takes its place among the closest.
    """
    machines = await world.settle(nodes)
    keys = await world.users.put_many(SHRINKING_VALUES)
    world.progress.begin("leaving", nodes - STAY)
    for machine in machines[STAY:]:
        await world.leave(machine)
        world.progress.advance(1)
        await trio.sleep(PAUSE)
    await claim_all_read(world, "every value is read at those that stayed", keys, within=2.0)


_SHRINKING = (
    Scenario(
        name="shrinking",
        summary=f"One node after another leaves in good order and does not come back, until {STAY} are left.",
        passes="every value is read at those that stayed",
        run=_shrinking,
        nodes=15,
        config=attrs.evolve(Config(), kademlia=Kademlia(k=K)),
        tick=0.001,
    ),
)


A_MINUTE = 60.0
# A newcomer is ready when the pauses of its join are over, and the crowd that came after it has settled.
READY_WITHIN = 30.0


async def _flash_crowd(world: World, nodes: int) -> None:
    """A network becomes twice as large within a minute, while it is used.

    Half of the nodes are there and hold values; the others come at random moments of one minute.
    """
    old = await world.settle(nodes // 2)
    keys = await world.users.put_many(nodes)
    before = len(world.ledger.operations)
    crowd = [world.new_machine() for _ in range(nodes - len(old))]
    rng = world.generator("crowd")
    world.progress.begin("crowd", len(crowd))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_use, world)
        moments = sorted(rng.uniform(0.0, A_MINUTE) for _ in crowd)
        began = world.now
        for machine, moment in zip(crowd, moments, strict=True):
            await trio.sleep_until(began + moment)
            await world.start(machine)
            world.progress.advance(1)
    ready = await world.wait_ready(crowd, READY_WITHIN)
    world.claim("all of the crowd are ready half a minute later", ready, sum(each.serves for each in crowd))
    claim_share(world, "every get in that minute succeeded", "get", before, least=1.0)
    claim_share(world, "every put in that minute succeeded", "put", before, least=1.0)
    await claim_all_read(world, "every value is read at the newcomers", keys, within=2.0, at=crowd)


async def _use(world: World) -> None:
    await world.users.keep_busy(A_MINUTE, puts=1.0, gets=10.0)


_FLASH_CROWD = (
    Scenario(
        name="flash-crowd",
        summary="Half of the nodes join within one minute, while users put and get.",
        passes="no operation fails, the crowd is ready half a minute later, every value is read there",
        run=_flash_crowd,
        nodes=100,
        tick=0.001,
    ),
)


SCENARIOS = (*_STEADY, *_TRUE_LOOKUPS, *_LITERATURE, *_GROWTH, *_SHRINKING, *_FLASH_CROWD)
