"""An attacker has many ids: random ones on one address, and some made beside a key.

They answer as members do, so that only how many of them count can keep them from being all that there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack

import trio

from camomile_trio.kademlia.ids import ID_BYTES, Key, NodeId
from camomile_trio.kademlia.messages import StoreStatus, Value
from camomile_trio.simulation.crowd import Crowd, open_crowd, pairs_beside, places
from camomile_trio.simulation.distribution import mean
from camomile_trio.simulation.key_files import key_files
from camomile_trio.simulation.ledger import OK
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.manners import Manners, each_other
from camomile_trio.simulation.properties.promises import leases_of
from camomile_trio.simulation.scenario import Scenario, claim_share
from camomile_trio.simulation.scenarios.attack_stories import A_MOMENT, CONFIG, ROUND, K, settle, told_twice
from camomile_trio.simulation.world import World, public_ip

# Many ids on one address ----------------------------------------------------------------------------------------------

SYBILS = 300
MET_WITHIN = 600.0  # s: handshakes are rationed by source network
PUTS = 40
PER_NETWORK = 2  # that count: the rule's own number, and not the code's
LEAST_HONEST_COPIES = K - PER_NETWORK
TARGETS = 50


async def _sybils(world: World, nodes: int, *, is_public: bool) -> None:
    """Three hundred random ids on one address join a network of which half is there. They answer as members do, name
    each other, and say that they store what they do not; then the other half joins."""
    machines = await settle(world, nodes // 2, is_public=is_public)
    async with open_crowd(world, places(SYBILS, networks=1, is_public=is_public), Manners()) as crowd:
        _lie(crowd)
        await crowd.meet(machines, within=MET_WITHIN)
        machines += await world.settle(nodes - len(machines))
        await crowd.meet(machines, within=MET_WITHIN)
        seats = [sum(each.id in _ids_of(crowd) for each in machine.table) for machine in machines]
        members = sum(map(len, (machine.table for machine in machines)))
        share = f"{sum(seats)} of {members} seats are theirs"
        before = len(world.ledger.operations)
        keys = await world.users.put_many(PUTS)
        copies = [len(world.live_holders(key)) for key in keys]
        seen = (
            f"{len(keys)} puts of {PUTS} were acknowledged; the least has {min(copies, default=0)}, mean {mean(copies)}"
        )
        await world.users.get_many(keys, 2 * PUTS)
        if is_public:
            counted = max(_counted(machine, crowd, world) for machine in machines)
            world.claim(f"at most {PER_NETWORK} of one /24 count", counted <= PER_NETWORK, f"{counted}; {share}")
            claim_share(world, "every put is acknowledged", "put", before, least=1.0)
            enough = min(copies, default=0) >= LEAST_HONEST_COPIES
            world.claim(f"every put has {LEAST_HONEST_COPIES} honest copies of {K} at least", enough, seen)
            claim_share(world, "every value is read", "get", before, least=1.0)
        else:
            wrong = sum(each.outcome == OK and not each.is_right for each in world.ledger.operations[before:])
            world.claim("no get brings wrong bytes", not wrong, f"{wrong} did; {share}; {seen}")


async def _sybils_outside(world: World, nodes: int) -> None:
    """The same ids, and none has the key of the closed network."""
    world.ip_of = public_ip
    world.has_strangers = True
    async with AsyncExitStack() as stack:
        world.key_files = stack.enter_context(key_files(world.generator("network keys")))
        machines = await world.settle(nodes)
        crowd = await stack.enter_async_context(
            open_crowd(world, places(SYBILS, networks=1, is_public=True), Manners())
        )
        _lie(crowd)
        await crowd.meet(machines, within=2 * A_MOMENT)
        before = len(world.ledger.operations)
        keys = await world.users.put_many(PUTS)
        await world.users.get_many(keys, 2 * PUTS)
        got_in = sum(member.has_session_with(machine.contact) for member in crowd.members for machine in machines)
        listed = sum(each.id in _ids_of(crowd) for machine in machines for each in machine.table)
        heard = sum(member.transport.statistics.bytes_in for member in crowd.members)
        seen = f"{got_in} sessions, {listed} seats, {heard} bytes sent to them"
        world.claim("none of them gets in", got_in == listed == heard == 0, seen)
        claim_share(world, "every put is acknowledged", "put", before, least=1.0)
        claim_share(world, "every value is read", "get", before, least=1.0)


def _lie(crowd: Crowd) -> None:
    """All of them name each other, and say that they have stored what they are sent and hold what others do."""
    crowd.manners.names = each_other(crowd.contacts)
    crowd.manners.stores = StoreStatus.STORED
    crowd.manners.has_the_same = True


def _ids_of(crowd: Crowd) -> dict[NodeId, None]:
    return dict.fromkeys(crowd.ids)


def _counted(machine: Machine, crowd: Crowd, world: World) -> int:
    """How many of the crowd count at most at a machine, for any of some random targets."""
    rng = world.generator("targets", machine.number)
    targets = [rng.randbytes(ID_BYTES) for _ in range(TARGETS)]
    return max(sum(machine.table.counts(each, target) for each in crowd.ids) for target in targets)


# Ids beside a key -----------------------------------------------------------------------------------------------------

GROUND = 20  # beside each key
NETWORKS = 10
AT_ONE_SPOT, SPREAD = 1 / 64, 1 / 2  # of the distance between two honest nodes: how far apart they are
ROUNDS = 3
LEAST_READ = 0.99


async def _ground_ids(world: World, nodes: int, *, is_public: bool) -> None:
    """Twenty ids of ten networks are made beside each of six keys: all at one spot, or spread over the distances. They
    name each other, say that they store what they do not, and that they hold what others do.

    Two of the keys have values before; then one of these is forgotten, and two more are put.
    """
    machines = await settle(world, nodes, is_public=is_public)
    steps = {"at one spot": AT_ONE_SPOT / nodes, "spread": SPREAD / nodes}
    for number, (how, step) in enumerate(steps.items()):
        await _attack_keys(world, machines, how, step, is_public=is_public, first=number * NETWORKS)


async def _attack_keys(
    world: World, machines: Sequence[Machine], how: str, step: float, *, is_public: bool, first: int
) -> None:
    users, rng = world.users, world.generator("ground ids", how)
    kept, forgotten, later = (users.new_value() for _ in range(3))
    for value in (kept, forgotten):
        await users.put(value)
    await trio.sleep(A_MOMENT)
    old, key = Key.of(forgotten), Key.of(kept)
    holders = world.live_holders(key)
    lease = leases_of(state)[0] if (state := world.live_holders(old)[0].stored(old)) is not None else None
    async with AsyncExitStack() as stack:
        manners = Manners()
        crowds: list[Crowd] = []
        for value in (kept, forgotten, later):
            pairs = pairs_beside(Key.of(value), GROUND, step, suite=world.suite, rng=rng)
            at = places(GROUND * 3, networks=NETWORKS, is_public=is_public, first=first)
            at = at[len(crowds) * GROUND : (len(crowds) + 1) * GROUND]
            crowd = await stack.enter_async_context(open_crowd(world, at, manners, pairs=pairs))
            crowds.append(crowd)
        manners.names = each_other([contact for crowd in crowds for contact in crowd.contacts])
        manners.stores = StoreStatus.STORED
        manners.has_the_same = True
        for crowd in crowds:
            await crowd.meet(machines, within=60.0)
        before = len(world.ledger.operations)
        for _ in range(ROUNDS):
            for machine in machines:
                await users.get(key, at=machine)
            await trio.sleep(ROUND)
        claim_share(world, f"{how}: {LEAST_READ:.0%} of the gets succeed", "get", before, least=LEAST_READ)
        dropped = [each.number for each in holders if not each.holds(key)]
        seen = f"{len(holders)} held it, {len(dropped)} of these dropped it, {len(world.live_holders(key))} hold it now"
        world.claim(f"{how}: no honest copy is dropped", not dropped, seen)
        await _claim_puts_are_honest(world, machines, how, later)
        if lease is not None:
            manners.gives[old] = Value(forgotten, (), (lease.row(),))
        await _claim_forget_is_honest(world, machines, how, old)


async def _claim_puts_are_honest(world: World, machines: Sequence[Machine], how: str, value: bytes) -> None:
    """A put is acknowledged only with a copy at an honest node: itself it is one only if it is a holder."""
    key = Key.of(value)
    operation = await world.users.put(value, at=_farthest(machines, key))
    holders = world.live_holders(key)
    is_true = operation is not None and (operation.outcome != OK or bool(holders))
    world.claim(f"{how}: no put is acknowledged without an honest copy", is_true, _said(operation, len(holders)))


async def _claim_forget_is_honest(world: World, machines: Sequence[Machine], how: str, key: Key) -> None:
    operation = await world.users.forget(key, at=_farthest(machines, key))
    told = [each for each in machines if _knows_forgotten(each, key)]
    is_true = operation is not None and (operation.outcome != OK or bool(told))
    read = 0
    for machine in machines:
        got = await world.users.get(key, at=machine)
        read += got is not None and got.outcome == OK
    seen = f"{_said(operation, len(told))}; {read} of {len(machines)} nodes then read what the ids still give"
    world.claim(f"{how}: no DELETE is acknowledged without an honest tombstone", is_true, seen)


def _said(operation: object, copies: int) -> str:
    return f"{getattr(operation, 'outcome', 'no node')}, {copies} honest nodes have it"


def _knows_forgotten(machine: Machine, key: Key) -> bool:
    state = machine.stored(key)
    return state is not None and any(register.record.is_tombstone for register in state.registers)


def _farthest(machines: Sequence[Machine], key: Key) -> Machine:
    """The node that is the last to hold it."""
    return max(machines, key=lambda each: int.from_bytes(each.id, "big") ^ int.from_bytes(key, "big"))


SCENARIOS = (
    *told_twice(
        "attack-sybils",
        _sybils,
        nodes=30,
        summary="Three hundred ids on one address join, and lie as members.",
        passes="at most two of a /24 count; each put is acknowledged, has three honest copies of five, and is read",
        at_private="no get brings wrong bytes; that puts have honest copies is not promised",
    ),
    Scenario(
        name="attack-sybils-closed",
        summary="Three hundred ids on one address try to join a closed network without its key.",
        passes="none gets in, or a byte; users notice nothing",
        run=_sybils_outside,
        nodes=30,
        config=CONFIG,
        tick=0.001,
        needs_real_crypto=True,
    ),
    *told_twice(
        "attack-ground-ids",
        _ground_ids,
        nodes=50,
        summary="Twenty ids of ten networks are made beside a key, at one spot or spread, and lie.",
        passes="99 % of gets succeed, no honest copy is dropped, nothing is acknowledged without an honest copy",
        at_private="the same: what thins them is how many nodes there can be, not where they are",
    ),
)
