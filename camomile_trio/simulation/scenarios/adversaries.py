"""A share of all nodes are adversaries, which name each other to all that look for something: the curve of S/Kademlia.

Ids and addresses are as random as honest ones, so nothing thins the adversaries: what is left is that a lookup hears
more than one node. Source: Baumgart and Mies, S/Kademlia (2007); docs/simulation.md draws the curve.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextlib import AsyncExitStack

import trio

from camomile_trio.config import Config, Kademlia
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.messages import StoreStatus
from camomile_trio.simulation.crowd import Crowd, open_crowd, places
from camomile_trio.simulation.ledger import OK
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.manners import Manners, each_other
from camomile_trio.simulation.scenario import Scenario
from camomile_trio.simulation.world import World

LEAST_READ = {6: 0.99, 12: 0.99, 18: 0.99, 24: 0.95, 30: 0.80}  # by the share of adversaries, in %
PERCENTS = tuple(LEAST_READ)
STEPS = 5  # in which both kinds join, by turns, so that neither has all the seats
MET_WITHIN = 30.0  # s
PUTS, GETS = 200, 600
DEFAULT_K = Kademlia().k


async def _adversaries(world: World, nodes: int, *, percent: int) -> None:
    """They say that they store what they are sent, and store nothing. Users put and get at honest nodes."""
    bad = nodes * percent // 100
    manners = Manners(stores=StoreStatus.STORED, has_the_same=True)
    at = places(bad, networks=bad, is_public=False)
    machines: list[Machine] = []
    crowds: list[Crowd] = []
    contacts: list[Contact] = []
    async with AsyncExitStack() as stack:
        for step in range(STEPS):
            machines += await world.settle((nodes - bad) * (step + 1) // STEPS - len(machines))
            world.has_strangers = True
            joining = at[bad * step // STEPS : bad * (step + 1) // STEPS]
            crowds.append(await stack.enter_async_context(open_crowd(world, joining, manners)))
            contacts += crowds[-1].contacts
            manners.names = each_other(contacts)
            for crowd in crowds:
                await _introduce(world, crowd, machines)
        theirs = dict.fromkeys(contact.id for contact in contacts)
        members = [contact for machine in machines for contact in machine.table]
        seats = sum(contact.id in theirs for contact in members) / len(members)
        keys = await world.users.put_many(PUTS)
        gets = await world.users.get_many(keys, GETS)
    read = sum(each.outcome == OK for each in gets) / len(gets) if gets else 0.0
    seen = f"{read:.2%} of {len(gets)} gets; {len(keys)} of {PUTS} puts; they have {seats:.0%} of the seats"
    least = LEAST_READ[percent]
    world.claim(f"{least:.0%} of what was acknowledged is read", read >= least, seen)


async def _introduce(world: World, crowd: Crowd, machines: Sequence[Machine]) -> None:
    """Each member meets as many nodes as an honest one has in its table; others hear of it from these."""
    rng = world.generator("introductions", len(machines), crowd.ids[0].hex())
    size = min(len(machines), sum(len(machine.table) for machine in machines) // len(machines))
    async with trio.open_nursery() as nursery:
        for member in crowd.members:
            known = rng.sample(machines, size)
            nursery.start_soon(functools.partial(Crowd([member], crowd.manners).meet, known, within=MET_WITHIN))


def scenario(percent: int, *, k: int = DEFAULT_K) -> Scenario:
    """One point of the curve. With another k than by default it is for `benchmarks/adversaries.py`."""
    return Scenario(
        name=f"adversaries-{percent:02}" if k == DEFAULT_K else f"adversaries-{percent:02}-k{k}",
        summary=f"{percent} % of the nodes name each other to all that look for something, and store nothing.",
        passes=f"{LEAST_READ[percent]:.0%} of what was acknowledged is read",
        run=functools.partial(_adversaries, percent=percent),
        nodes=200,
        config=Config(kademlia=Kademlia(k=k)),
        tick=0.001,
        needs_real_crypto=True,
    )


SCENARIOS = tuple(scenario(percent) for percent in PERCENTS)
