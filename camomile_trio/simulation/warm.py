"""Routing tables laid out from the global view, as a long and quiet life would have left them, without a join.

Rules of this file: tables are filled through the calls that answers make. Each has of each bucket as many random
members as it holds, and all of the node's k closest. Nothing is sent, and nothing is known of peers but their contacts:
no node has a session, and the first request to each peer makes one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from camomile_trio.kademlia.ids import ID_BITS, as_int, random_id_in_bucket
from camomile_trio.kademlia.routing import RoutingTable
from camomile_trio.simulation.directory import halve
from camomile_trio.simulation.machine import Machine


def lay_out(
    machines: Sequence[Machine], newcomers: Sequence[Machine], rng_of: Callable[[int], random.Random], now: float
) -> None:
    """Fills the tables of all machines. `newcomers`: those of them that have not run yet. The others meet those only
    that they do not know: the rest they have met at a time of their own."""
    placed = sorted(machines, key=lambda machine: as_int(machine.id))
    numbers = [as_int(machine.id) for machine in placed]
    contacts = [machine.contact for machine in placed]
    is_new = {machine.number: None for machine in newcomers}
    for machine in placed:
        rng, table, interval = rng_of(machine.number), machine.table, machine.config.kademlia.refresh_interval
        chosen = [contacts[place] for bucket in _buckets(numbers, table, rng) for place in bucket]
        chosen = [each for each in chosen if each.id not in table]
        ages = sorted((rng.random() * interval for _ in chosen), reverse=True)
        for age, contact in zip(ages, chosen, strict=True):
            table.on_answer(contact, now - age)
        if chosen:
            # One has answered just now, so that the next failure is judged at once.
            table.on_answer(chosen[-1], now)
        if machine.number in is_new:
            _refresh(table, rng, now, interval)


def _buckets(numbers: Sequence[int], table: RoutingTable, rng: random.Random) -> Iterator[list[int]]:
    """Who is in each bucket of a table, by place in the sorted `numbers`, the nearest bucket first."""
    own, k, closer = as_int(table.own), table.k, 0
    for low, high in reversed(list(_ranges(numbers, own))):
        if high - low <= k:
            yield list(range(low, high))
        else:
            by_distance = sorted(range(low, high), key=lambda place: numbers[place] ^ own) if closer < k else []
            closest = by_distance[: k - closer] if closer < k else []
            others = by_distance[len(closest) :] or range(low, high)
            yield closest + rng.sample(others, k - len(closest))
        closer += high - low


def _ranges(numbers: Sequence[int], own: int) -> Iterator[tuple[int, int]]:
    """Where the ids of each bucket of `own` that has any are, the farthest bucket first."""
    low, high = 0, len(numbers)
    for bit in range(ID_BITS - 1, -1, -1):
        if high - low <= 1:
            break
        middle = halve(numbers, low, high, bit)
        mine, other = ((middle, high), (low, middle)) if own >> bit & 1 else ((low, middle), (middle, high))
        if other[0] < other[1]:
            yield other
        low, high = mine


def _refresh(table: RoutingTable, rng: random.Random, now: float, interval: float) -> None:
    """Its buckets were refreshed, each at some time within the last interval."""
    buckets = table.buckets()
    for index in range(buckets[0].index if buckets else ID_BITS, ID_BITS):
        table.touch(random_id_in_bucket(table.own, index, rng), now - rng.random() * interval)
