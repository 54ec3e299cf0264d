"""Nodes that there are not, for an attacker that has to name some in every answer, at once.

Rules of this file: pure, and told the randomness. Keys are made in advance, so many that some are nearer to any target
than each of a hundred honest nodes; nobody has their secrets.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Callable

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import NodeId, as_int
from camomile_trio.peer.suite import KEY_BYTES
from camomile_trio.simulation.manners import MOST_NAMED, Naming

MADE = 40_000
_AROUND = 4 * MOST_NAMED


def invented_in_advance(rng: random.Random, at: Callable[[], Endpoint]) -> Naming:
    """Names those that are nearest to a target. `at` says where each is said to be."""
    # The top bit of an X25519 key is 0.
    publics = [rng.randbytes(KEY_BYTES - 1) + bytes((rng.getrandbits(7) & 0x7E,)) for _ in range(MADE)]
    made = sorted((as_int(NodeId.of(public)), public) for public in publics)

    def name(target: bytes) -> list[Contact]:
        number = as_int(target)
        place = bisect_left(made, (number, b""))
        # Neighbours in the order of numbers are nearly always the nearest by XOR, too.
        around = made[max(0, place - _AROUND) : place + _AROUND]
        nearest = sorted(around, key=lambda each: each[0] ^ number)[:MOST_NAMED]
        return [Contact.of(public, at()) for _, public in nearest]

    return name
