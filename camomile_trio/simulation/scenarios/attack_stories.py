"""What all stories of attacks share: small networks with nodes far from a key, real crypto, and two kinds of addresses.

Rules of this file: each story is told twice. At public addresses each honest node has a network of its own, and the
attacker has others. At private addresses (the name ends in `-private`) more of them cost an attacker nothing: the pass
line says what is not promised then.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable

from camomile_trio.config import Config, Kademlia, Records
from camomile_trio.simulation.links import LinkConditions
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.scenario import CONTINENT, Scenario
from camomile_trio.simulation.world import World, public_ip

K = 5  # so few that most nodes are far from a key
ROUND = 300.0  # s between two rounds of replication, and of refreshing
CONFIG = Config(kademlia=Kademlia(k=K, refresh_interval=ROUND), records=Records(replicate_interval=ROUND))
A_MOMENT = 5.0  # s
MET_WITHIN = 60.0  # s in which each of an attacker's few members has met each node


async def settle(world: World, nodes: int, *, is_public: bool) -> list[Machine]:
    """The honest nodes. From now on there are others."""
    if is_public:
        world.ip_of = public_ip
    machines = await world.settle(nodes)
    world.has_strangers = True
    return machines


def told_twice(
    name: str,
    story: Callable[..., Awaitable[None]],
    *,
    nodes: int,
    summary: str,
    passes: str,
    at_private: str = "the same at private addresses",
    config: Config = CONFIG,
    links: LinkConditions = CONTINENT,
) -> tuple[Scenario, Scenario]:
    """A story at public addresses, and once more at private ones, with the pass line `at_private`.

    `story` takes the world, the number of nodes, and `is_public`.
    """
    public, private = (
        Scenario(
            name=name if is_public else f"{name}-private",
            summary=summary if is_public else f"{summary.removesuffix('.')}, at private addresses.",
            passes=passes if is_public else at_private,
            run=functools.partial(story, is_public=is_public),
            nodes=nodes,
            config=config,
            links=links,
            tick=0.001,
            needs_real_crypto=True,
        )
        for is_public in (True, False)
    )
    return public, private
