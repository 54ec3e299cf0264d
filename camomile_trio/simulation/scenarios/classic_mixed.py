"""A third of the network are classic nodes, which know no leases, no forgetting and no acknowledgement."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack

import trio

from camomile_trio.kademlia.ids import Key
from camomile_trio.simulation.classic_peer import ClassicPeer, open_classic_peers
from camomile_trio.simulation.ledger import OK, Standing
from camomile_trio.simulation.readings import claim_all_read, claim_none_read, claim_share
from camomile_trio.simulation.scenario import Scenario
from camomile_trio.simulation.world import World

FIRST_CLASSIC = "10.200.0.1:8118"
HOURS = 2.0
CLASSIC_VALUES = 20
FORGOTTEN = 10


async def run(world: World, nodes: int) -> None:
    """Both kinds have users, who put at nodes of their kind and read at the other; ours forget some of theirs."""
    count = nodes // 3
    machines = await world.settle(nodes - count)
    world.has_strangers = True
    async with AsyncExitStack() as stack:
        peers = await stack.enter_async_context(
            open_classic_peers(
                world.network, count, first=FIRST_CLASSIC, seed=world.generator("classic").getrandbits(32)
            )
        )
        for peer in peers:
            await peer.join(machines[0].endpoint)
        nursery = await stack.enter_async_context(trio.open_nursery())
        for peer in peers:
            nursery.start_soon(peer.replicate)
        keys = await world.users.put_many(2 * nodes)
        values = [b"value %d of a classic user" % number for number in range(CLASSIC_VALUES)]
        for number, value in enumerate(values):
            await peers[number % count].put(value)
        await trio.sleep(5.0)
        await _tell(world, "at once", peers, keys, values)
        before = len(world.ledger.operations)
        forgotten = keys[:FORGOTTEN]
        for key in forgotten:
            await world.users.forget(key)
        claim_share(world, "every forget succeeded", "forget", before, least=1.0)
        world.progress.begin("replicating")
        await world.users.keep_busy(HOURS * 3600.0, gets=0.1, puts=0.01)
        claim_share(world, "every get succeeded", "get", before, least=1.0)
        claim_share(world, "every put succeeded", "put", before, least=1.0)
        kept = world.ledger.keys_that_are(Standing.PROMISED)
        await _tell(world, f"after {HOURS:g} hours", peers, kept, values)
        await claim_none_read(world, "what was forgotten is read at none of ours", forgotten)
        wrong = [reason for peer in peers if (reason := _what_it_cannot_read(peer, peers))]
        world.claim("classic nodes were sent only what they can read", not wrong, wrong[:3] or "nothing else")
        nursery.cancel_scope.cancel()


async def _tell(
    world: World, when: str, peers: Sequence[ClassicPeer], keys: Sequence[Key], values: Sequence[bytes]
) -> None:
    await claim_all_read(world, f"{when} ours read what our users put", keys, within=2.0)
    read = 0
    for value in values:
        operation = await world.users.get(Key.of(value))
        read += operation is not None and operation.outcome == OK
    world.claim(f"{when} ours read what classic users put", read == len(values), f"{read} of {len(values)}")
    read = 0
    for number, key in enumerate(keys):
        read += await peers[number % len(peers)].get(key) is not None
    world.claim(f"{when} classic nodes read what our users put", read == len(keys), f"{read} of {len(keys)}")


def _what_it_cannot_read(peer: ClassicPeer, peers: Sequence[ClassicPeer]) -> str:
    try:
        peer.check({each.endpoint for each in peers})
    except AssertionError as error:
        return f"{peer.endpoint}: {error}"
    return ""


SCENARIOS = (
    Scenario(
        name="classic-mixed",
        summary="A third of the nodes are classic ones of 2019; both kinds have users.",
        passes="each kind reads what the other's users put; ours forget; classic nodes can read all they are sent",
        run=run,
        nodes=36,
        tick=0.001,
    ),
)
