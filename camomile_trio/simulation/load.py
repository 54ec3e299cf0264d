"""What nodes look like from inside at one moment: how full their tables are, how unevenly they are asked.

Rules of this file: it looks at nodes that run, in their present life, and changes none.
"""

from __future__ import annotations

from collections.abc import Sequence

from camomile_trio.kademlia.ids import ID_BITS
from camomile_trio.simulation.distribution import gini, lorenz, mean, percentile, rounded
from camomile_trio.simulation.world import World

# Tables of so many nodes are looked at.
MOST_TABLES = 500


def tables(world: World) -> dict[str, object]:
    """Contacts and buckets of a random sample of the nodes that run; empty if none does."""
    running = world.up
    if not running:
        return {}
    seen = world.generator("tables").sample(running, min(len(running), MOST_TABLES))
    fills = [{bucket.index: len(bucket.contacts) for bucket in machine.table.buckets()} for machine in seen]
    contacts = [sum(fill.values()) for fill in fills]
    nearest = min((index for fill in fills for index in fill), default=ID_BITS)
    return {
        "nodes": len(running),
        "sampled": len(seen),
        "contacts_mean": mean(contacts),
        "contacts_min": min(contacts),
        "contacts_max": max(contacts),
        "bucket_fill": [mean([fill.get(index, 0) for fill in fills]) for index in range(ID_BITS - 1, nearest - 1, -1)],
    }


class Load:
    """What each node that runs has received."""

    def __init__(self, world: World) -> None:
        received = [each.traffic.datagrams_in + each.traffic.streams_in for each in world.up]
        # A node of the last second has no rate yet.
        ages = [max(world.now - each.up_since, 1.0) for each in world.up]
        self._received = sorted(received)
        self._rates = sorted(count / age for count, age in zip(received, ages, strict=True))

    def table(self) -> dict[str, object]:
        """In all, and per second of the node's life; empty if no node runs."""
        if not self._received:
            return {}
        return {"received": _spread(self._received), "received_per_second": _spread(self._rates)}

    def curve(self) -> list[float]:
        """Which share of everything the least loaded 0, 1, … 100 % of the nodes received per second of their lives."""
        return lorenz(self._rates)


def _spread(ordered: Sequence[float]) -> dict[str, float]:
    middle = mean(ordered)
    return {
        "nodes": len(ordered),
        "mean": middle,
        "p50": rounded(percentile(ordered, 50)),
        "p99": rounded(percentile(ordered, 99)),
        "max": rounded(ordered[-1]),
        "p99_over_mean": rounded(percentile(ordered, 99) / (middle or 1)),
        "max_over_mean": rounded(ordered[-1] / (middle or 1)),
        "gini": gini(ordered),
    }
