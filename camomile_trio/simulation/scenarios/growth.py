"""A network grows from one node to many, and is measured at 10, 100, 1000, 10 000 nodes."""

from __future__ import annotations

from camomile_trio.node.events import Event, LookupEnded
from camomile_trio.simulation.figures import percentile
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.readings import claim_share
from camomile_trio.simulation.scenario import Scenario
from camomile_trio.simulation.world import World

VALUES, GETS = 50, 200
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


async def run(world: World, nodes: int) -> None:
    """At each size users put and get; each new node joins through the first ones, as by a name."""
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
        world.progress.begin(f"measuring at {size}", VALUES + GETS)
        keys = await world.users.put_many(VALUES)
        await world.users.get_many(keys, GETS)
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


SCENARIOS = (
    Scenario(
        name="growth",
        summary="A network grows from one node to many; hops and messages are measured at 10, 100, 1000, … nodes.",
        passes=f"at each size every value is read, and 95 % of the lookups take at most {MOST_HOPS} hops",
        run=run,
        nodes=1000,
        tick=0.001,
    ),
)
