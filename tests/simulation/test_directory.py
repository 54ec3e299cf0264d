"""Who is nearest to a target: the same as by sorting everybody, and only under the ids that machines have now."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from camomile_trio.config import Config
from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import ID_BITS, as_int
from camomile_trio.simulation.clocks import WallClock
from camomile_trio.simulation.directory import Directory, nearest_first
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.suite import ToySuite

IDS = st.integers(0, 2**ID_BITS - 1) | st.integers(0, 255) | st.integers(2**ID_BITS - 256, 2**ID_BITS - 1)


def machine(number: int, rng: random.Random) -> Machine:
    key = KeyPair.new(rng)
    endpoint = Endpoint.of(bytes((10, 0, 0, number)), 8118)
    return Machine(number, endpoint, Config(), key, ToySuite(), key, WallClock(), None, lambda life: rng, lives=1)


@given(st.lists(IDS, unique=True, max_size=60).map(sorted), IDS)
def test_the_walk_is_in_the_order_of_distance(numbers: list[int], target: int) -> None:
    assert list(nearest_first(numbers, target)) == sorted(numbers, key=lambda each: each ^ target)


def test_machines_are_found_under_the_ids_that_they_have_now() -> None:
    rng = random.Random(1)
    machines = [machine(number, rng) for number in range(20)]
    directory = Directory()
    directory.refresh(machines)
    target = rng.randbytes(32)
    by_distance = sorted(machines, key=lambda each: as_int(each.id) ^ as_int(target))
    assert list(directory.nearest_first(target)) == by_distance

    moved, before = by_distance[0], by_distance[0].id
    moved.become(KeyPair.new(rng))
    moved.lives = 2
    directory.refresh(machines)
    assert len(directory) == 20
    assert before not in directory
    assert moved.id in directory
    by_distance = sorted(machines, key=lambda each: as_int(each.id) ^ as_int(target))
    assert list(directory.nearest_first(target)) == by_distance
