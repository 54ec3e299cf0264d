"""A crowd: many ids of one adversary, which behave as members of the network and speak with one voice.

Rules of this file: where their keys come from, where they live, and that they are met by nodes. What they say then is
up to their manners, and what must come of it to the scenarios. Keys are made beside a target as an attacker does: seeds
are tried until an id is where it is wanted.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import attrs
import trio

from camomile_trio.identity import SEED_BYTES, KeyPair
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import ID_BITS, NodeId, as_int
from camomile_trio.kademlia.messages import Message, Ping
from camomile_trio.peer.local import StaticKey
from camomile_trio.peer.suite import CipherSuite
from camomile_trio.simulation.adversary import Adversary, open_adversary
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.manners import Manners
from camomile_trio.simulation.world import PORT, World

# What others may begin with a node is rationed by source network, so a crowd of one network is met slowly.
MET_AGAIN_AFTER = 5.0  # s


@attrs.define(eq=False)
class Crowd:
    """Adversaries that stay for the length of their block."""

    members: list[Adversary]
    manners: Manners

    @property
    def contacts(self) -> list[Contact]:
        return [each.contact for each in self.members]

    @property
    def ids(self) -> list[NodeId]:
        return [each.id for each in self.members]

    async def meet(self, machines: Sequence[Machine], *, within: float) -> None:
        """Each member makes a handshake with each machine, and tries again for so many seconds where it fails."""
        until = trio.current_time() + within
        while True:
            strangers = 0
            for member in self.members:
                for machine in machines:
                    if not member.has_session_with(machine.contact):
                        strangers += 1
                        member.begin(machine.contact, Ping())
            if not strangers or trio.current_time() + MET_AGAIN_AFTER > until:
                return
            await trio.sleep(MET_AGAIN_AFTER)

    def tell(self, message: Message, machines: Sequence[Machine]) -> None:
        """All members say the same to all machines."""
        for member in self.members:
            for machine in machines:
                member.say(message, machine.contact)


@asynccontextmanager
async def open_crowd(
    world: World,
    places: Sequence[Endpoint],
    manners: Manners,
    *,
    pairs: Sequence[KeyPair] = (),
    clock_error: float = 0.0,
    advertises: Endpoint | None = None,
    flags: int = 0,
) -> AsyncIterator[Crowd]:
    """A member at each of these places, with the key at the same place of `pairs`, or with a new one."""
    async with AsyncExitStack() as stack:
        members = [
            await stack.enter_async_context(
                open_adversary(
                    world,
                    place,
                    mouth=place,
                    pair=pairs[number] if pairs else None,
                    clock_error=clock_error,
                    advertises=advertises,
                    flags=flags,
                )
            )
            for number, place in enumerate(places)
        ]
        for member in members:
            member.manners = manners
        yield Crowd(members, manners)


def places(count: int, *, networks: int, is_public: bool, first: int = 0) -> list[Endpoint]:
    """Endpoints on one address in each of so many networks, from the one with number `first` on, at ports of all
    numbers: public ones, each in a /16 of its own, or private ones. None is a machine's."""
    ips = [
        bytes((198, first + number, 19, 1)) if is_public else bytes((10, 9, first + number, 1))
        for number in range(networks)
    ]
    return [Endpoint.of(ips[number % networks], PORT + number // networks) for number in range(count)]


def pairs_beside(target: bytes, count: int, step: float, *, suite: CipherSuite, rng: random.Random) -> list[KeyPair]:
    """Keys whose ids are beside `target`: one within `step` of it, one between `step` and twice `step`, and so on.

    `step` is a share of all ids. 1 / n puts them as far apart as n honest nodes are from each other.
    """
    width = int(step * (1 << ID_BITS))
    found: dict[int, KeyPair] = {}
    while len(found) < count:
        seed = rng.randbytes(SEED_BYTES)
        place = (as_int(StaticKey.from_seed(suite, seed).node_id) ^ as_int(target)) // width
        if place < count and place not in found:
            found[place] = KeyPair.from_seed(seed)
    return [found[place] for place in sorted(found)]
