"""The network is cut: into halves, or here and there in one direction."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import trio

from camomile_trio.config import Config, Kademlia, Records
from camomile_trio.kademlia.ids import Key
from camomile_trio.simulation.faults import one_way_cuts, parted
from camomile_trio.simulation.ledger import OK
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.scenario import Scenario, claim_all_read, claim_none_read, claim_share
from camomile_trio.simulation.world import World

AN_HOUR = 3600.0
# Of what each half knows from before, it forgets so many; it puts so many new ones.
EACH_FORGETS, EACH_PUTS = 15, 15


async def _parted_halves(world: World, nodes: int) -> None:
    """The network falls into two halves for an hour; users on both sides put and forget, and then it is whole again.

    Each key is forgotten on one side only, so that the other one can know of it only by repair.
    """
    machines = await world.settle(nodes)
    left, right = machines[: nodes // 2], machines[nodes // 2 :]
    keys = await world.users.put_many(4 * EACH_FORGETS)
    before = len(world.ledger.operations)
    kept, forgotten = keys[2 * EACH_FORGETS :], []
    put: list[Key] = []
    with parted(world, [left, right]):
        # Both sides notice that the other half does not answer any more.
        await trio.sleep(60.0)
        for side, theirs in (
            (left, keys[:EACH_FORGETS]),
            (right, keys[EACH_FORGETS : 2 * EACH_FORGETS]),
        ):
            forgotten += await _forget(world, theirs, side)
            put += await _put(world, EACH_PUTS, side)
        world.progress.begin("parted")
        await world.users.keep_busy(AN_HOUR - world.now % AN_HOUR, gets=0.2)
    claim_share(world, "on both sides every put succeeded", "put", before, least=1.0)
    claim_share(world, "on both sides every forget succeeded", "forget", before, least=1.0)
    world.progress.begin("healing")
    records = world.config.records
    # A round of replication, of which the jitter makes each a quarter longer, and until copies in caches are old.
    await trio.sleep(1.25 * records.replicate_interval + records.cache_life + 60.0)
    await claim_all_read(world, "what was put on either side is read everywhere", kept + put, within=2.0)
    await claim_none_read(world, "what was forgotten on one side is read nowhere", forgotten)
    await trio.sleep(2 * 1.25 * records.replicate_interval)
    await claim_none_read(world, "it does not come back", forgotten)


async def _forget(world: World, keys: Sequence[Key], side: Sequence[Machine]) -> list[Key]:
    done = []
    for key in keys:
        operation = await world.users.forget(key, at=world.users.any_machine(side))
        if operation is not None and operation.outcome == OK:
            done.append(key)
    return done


async def _put(world: World, count: int, side: Sequence[Machine]) -> list[Key]:
    done = []
    for _ in range(count):
        operation = await world.users.put(at=world.users.any_machine(side))
        if operation is not None and operation.outcome == OK:
            done.append(operation.key)
    return done


_PARTED_HALVES = (
    Scenario(
        name="parted-halves",
        summary="The network falls into two halves for an hour; both put and forget; then it is whole again.",
        passes="a round of replication later what was put is read everywhere, what was forgotten nowhere, for good",
        run=_parted_halves,
        nodes=30,
        tick=0.001,
    ),
)


LEASE = 600.0
APART = 4 * LEASE
FORGOTTEN, KEPT = 8, 4


async def _parted_leases(world: World, nodes: int) -> None:
    """The network is in two halves for longer than leases last: one half forgets, the other goes on renewing.

    Of a forget nobody on the far side knows; there the lease is renewed again and again, with its old seq.
    """
    machines = await world.settle(nodes)
    left, right = machines[: nodes // 2], machines[nodes // 2 :]
    keys = await world.users.put_many(FORGOTTEN + KEPT)
    forgotten, kept = keys[:FORGOTTEN], keys[FORGOTTEN:]
    before = len(world.ledger.operations)
    with parted(world, [left, right]):
        # Until the silent half is out of the tables.
        await trio.sleep(60.0)
        for key in forgotten:
            await world.users.forget(key, at=world.users.any_machine(left))
        claim_share(world, "every forget succeeded", "forget", before, least=1.0)
        world.progress.begin("parted")
        await trio.sleep(APART)
        await claim_all_read(world, "the other half has kept it alive", forgotten, within=2.0, at=right)
    records = world.config.records
    await trio.sleep(2 * 1.25 * records.replicate_interval + records.cache_life + 120.0)
    await claim_none_read(world, "what was forgotten is read nowhere", forgotten)
    await claim_all_read(world, "what was not forgotten is read everywhere", kept, within=2.0)
    await trio.sleep(2 * LEASE)
    await claim_none_read(world, "nor two leases later", forgotten)


_PARTED_LEASES = (
    Scenario(
        name="parted-leases",
        summary="The network is in halves for four leases; one half forgets, the other renews; then it is whole.",
        passes="what was forgotten on one side is gone everywhere, however often the other has renewed it",
        run=_parted_leases,
        nodes=10,
        config=attrs.evolve(
            Config(),
            kademlia=Kademlia(refresh_interval=300.0),
            records=Records(lease=LEASE, replicate_interval=120.0, cache_life=5.0),
        ),
        tick=0.001,
    ),
)


SHARE = 0.2


async def _one_way_cuts(world: World, nodes: int) -> None:
    """Some ways between nodes are cut in one direction, as wrong routes and firewalls do it.

    Of all ways one in five, so that a third of the pairs cannot talk: one hears the other and is not heard.
    """
    await world.settle(nodes)
    keys = await world.users.put_many(nodes)
    before = len(world.ledger.operations)
    with one_way_cuts(world, SHARE):
        world.progress.begin("cut")
        await world.users.keep_busy(600.0, gets=3.0, puts=0.2)
    claim_share(world, "at least 99.9% of the gets succeeded", "get", before, least=0.999)
    claim_share(world, "at least 99.9% of the puts succeeded", "put", before, least=0.999)
    await claim_all_read(world, "once healed every value is read", keys, within=2.0)


_ONE_WAY_CUTS = (
    Scenario(
        name="one-way-cuts",
        summary=f"Of all ways between two nodes {SHARE:.0%} are cut for ten minutes, in one direction.",
        passes="99.9 % of gets and puts succeed meanwhile, and everything is read afterwards",
        run=_one_way_cuts,
        nodes=50,
        tick=0.001,
    ),
)


SCENARIOS = (*_PARTED_HALVES, *_PARTED_LEASES, *_ONE_WAY_CUTS)
