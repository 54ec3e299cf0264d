"""Routing tables laid out from the global view, as a long and quiet life would have left them, without a join.

Rules of this file: tables and memories of peers are filled through the calls that answers make. Each table has of each
bucket as many random members as it holds, and all of the node's k closest; who is in a table has that node among its
proven peers, and the other way round. Nothing is sent.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import attrs
import trio

from camomile_trio.config import Config
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import ID_BITS, as_int, random_id_in_bucket
from camomile_trio.kademlia.messages import VERSION
from camomile_trio.node.core import Core
from camomile_trio.simulation.directory import halve
from camomile_trio.simulation.machine import Machine

if TYPE_CHECKING:
    from camomile_trio.simulation.world import World

# Virtual s: long enough for whatever nodes do at once, too short for anything to arrive.
A_MOMENT = 1e-6


async def settle_warm(
    world: World, count: int, *, config: Config | None = None, is_ephemeral: bool = False
) -> list[Machine]:
    """`count` more machines that are members at once; those that run already come to know them."""
    world.progress.begin("laying out tables", count)
    newcomers = [world.new_machine(config=config, is_ephemeral=is_ephemeral) for _ in range(count)]
    names = [machine.config.join for machine in newcomers]
    for machine in newcomers:
        # Without a name to ask, each is the first of a network of its own, and ready at once.
        machine.config = attrs.evolve(machine.config, join=())
        await world.start(machine)
        world.progress.advance(1)
    # What nodes do as soon as they are ready they do now, with tables that are empty.
    await trio.sleep(A_MOMENT)
    for machine, join in zip(newcomers, names, strict=True):
        # From now on they have names, and look at them now and then, as all others do.
        machine.config = attrs.evolve(machine.config, join=join)
        if machine.node is not None and machine.number:
            machine.node.core.config = machine.config
    lay_out(world, newcomers)
    return newcomers


def lay_out(world: World, newcomers: Sequence[Machine]) -> None:
    """Fills the tables of all nodes that run. `newcomers`: those that have not been at anything yet."""
    running = [(as_int(each.id), each.number, each.node.core) for each in world.up if each.node is not None]
    # No two have the same id.
    running.sort(key=lambda place: place[0])
    numbers = [number for number, _, _ in running]
    cores = [core for _, _, core in running]
    contacts = [Contact(core.id, core.rpc.transport.endpoint) for core in cores]
    is_new = {each.number: None for each in newcomers}
    for own, (number, machine, core) in enumerate(running):
        rng = world.generator("warm", machine)
        chosen = [place for bucket in _buckets(numbers, number, core.table.k, rng) for place in bucket]
        if machine not in is_new:
            # It meets those it does not know: the others it has met at a time of its own.
            chosen = [place for place in chosen if contacts[place].id not in core.table]
        _introduce(world, core, contacts[own], [(cores[place], contacts[place]) for place in chosen], rng)
        if machine in is_new:
            _look_experienced(world, core, rng)


def _buckets(numbers: Sequence[int], own: int, k: int, rng: random.Random) -> Iterator[list[int]]:
    """Who is in each bucket of `own`, by place in the sorted `numbers`, the nearest bucket first."""
    closer = 0
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


def _introduce(
    world: World, core: Core, own: Contact, others: Sequence[tuple[Core, Contact]], rng: random.Random
) -> None:
    """They have answered each other, at some time within the last refresh interval."""
    now, interval = world.now, core.config.kademlia.refresh_interval
    delay = world.network.conditions.delay
    table, peers, endpoint = core.table, core.rpc.peers, own.endpoint
    ages = sorted((rng.random() * interval for _ in others), reverse=True)
    for age, (other, contact) in zip(ages, others, strict=True):
        at, theirs = now - age, contact.endpoint
        table.on_answer(contact, at)
        # The other one may have been introduced to this one already: then each is proven to the other.
        if not peers.is_proven(theirs):
            round_trip = 2 * delay(0.5)
            peers.on_answer(theirs, at, round_trip=round_trip, version=VERSION).knows_us = True
            back = other.rpc.peers.on_answer(endpoint, at, round_trip=round_trip, version=VERSION)
            back.knows_us = True
    if others:
        # Somebody has answered just now: whoever fails next is judged at once.
        table.on_answer(others[-1][1], now)


def _look_experienced(world: World, core: Core, rng: random.Random) -> None:
    """Its buckets were refreshed, each at some time within the last interval, and it knows of others."""
    interval = core.config.kademlia.refresh_interval
    buckets = core.table.buckets()
    for index in range(buckets[0].index if buckets else ID_BITS, ID_BITS):
        core.table.touch(random_id_in_bucket(core.id, index, rng), world.now - rng.random() * interval)
    for bucket in buckets[:1]:
        core.membership.on_answer(bucket.contacts[0], is_ours=True)
