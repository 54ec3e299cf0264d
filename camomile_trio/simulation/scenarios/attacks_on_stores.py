"""An attacker takes what is shared out: room in the stores, and the places of a key's publishers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import trio

from camomile_trio.config import KIB, StorageConfig
from camomile_trio.identity import KeyPair, sign_record
from camomile_trio.kademlia import leases
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import Store, StoreKind
from camomile_trio.kademlia.records import Record, RecordRow
from camomile_trio.simulation.adversary import Adversary
from camomile_trio.simulation.crowd import Crowd, open_crowd, places
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.manners import Manners
from camomile_trio.simulation.scenario import claim_all_read, claim_share
from camomile_trio.simulation.scenarios.attack_stories import A_MOMENT, CONFIG, MET_WITHIN, K, settle, told_twice
from camomile_trio.simulation.world import World

AN_HOUR = 3_600_000  # ms

# Room -----------------------------------------------------------------------------------------------------------------

SMALL_STORE = 256 * KIB
IDS_OF_EACH = 4  # of a network, each with a publisher of its own
NETWORKS = 6
PIECE = 900  # bytes: a value that fits into a datagram
FILLED_TWICE = 2  # times the whole store is sent to each node
SENT_AT_ONCE = 20
HONEST_PUTS = 20
TOMBSTONES = 500  # of leases that nobody has seen, of each id


async def _quotas(world: World, nodes: int, *, is_public: bool) -> None:
    """Ids of six public networks, or of one private address, send every node twice what its store holds: values of
    publishers of their own, and tombstones for what was never stored. Then users put."""
    machines = await settle(world, nodes, is_public=is_public)
    networks = NETWORKS if is_public else 1
    before = len(world.ledger.operations)
    at = places(IDS_OF_EACH * networks, networks=networks, is_public=is_public)
    async with open_crowd(world, at, Manners()) as crowd:
        await crowd.meet(machines, within=MET_WITHIN)
        await _send_all(crowd, machines, _values(world, crowd))
        shares = [each.storage.statistics.bytes / SMALL_STORE for each in machines]
        filled = f"{max(shares):.0%} of the fullest store"
        most = networks / (networks + 1)
        world.claim(f"{networks} networks fill at most {most:.0%} of a store", max(shares) <= most, filled)
        await _send_all(crowd, machines, _tombstones(crowd))
        # What is over is the tombstones' share.
        more = max(
            each.storage.statistics.bytes / SMALL_STORE - share for each, share in zip(machines, shares, strict=True)
        )
        world.claim("tombstones of leases never seen fill one share of all", more <= 1 / 16, f"{more:.1%}")
        keys = await world.users.put_many(HONEST_PUTS)
    claim_share(world, "every put is acknowledged", "put", before, least=1.0)
    await claim_all_read(world, "every value is read", keys, within=2.0)


async def _send_all(crowd: Crowd, machines: Sequence[Machine], stores: Iterator[tuple[Adversary, Store]]) -> None:
    for number, (member, store) in enumerate(stores):
        for machine in machines:
            member.say(store, machine.contact)
        if number % SENT_AT_ONCE == 0:
            await trio.sleep(0.1)
    await trio.sleep(A_MOMENT)


def _values(world: World, crowd: Crowd) -> Iterator[tuple[Adversary, Store]]:
    for number in range(FILLED_TWICE * SMALL_STORE // PIECE):
        member = crowd.members[number % len(crowd.members)]
        value = (b"piece %d of an attacker " % number).ljust(PIECE, b".")
        lease = leases.new_lease(Key.of(value), member.pair.public, seen=0, now=member.wall_ms(), life_ms=AN_HOUR)
        yield member, Store(StoreKind.PUBLISH, None, value, (_signed(lease, member.pair, member),))


def _tombstones(crowd: Crowd) -> Iterator[tuple[Adversary, Store]]:
    for _ in range(TOMBSTONES):
        for member in crowd.members:
            key = Key(member.rng.randbytes(32))
            tombstone = leases.new_tombstone(key, member.pair.public, seen=0, now=member.wall_ms())
            yield member, Store(StoreKind.PUBLISH, key, None, (_signed(tombstone, member.pair, member),))


def _signed(record: Record, pair: KeyPair, member: Adversary) -> RecordRow:
    return sign_record(record, pair, member.network).row()


# Places of publishers -------------------------------------------------------------------------------------------------

PUBLISHERS = 40  # free keys: more than a key has places
WANTED = 5  # keys


async def _publishers(world: World, nodes: int, *, is_public: bool) -> None:
    """Forty free keys of one address publish values that are known to be put soon, and forget half of them, at every
    node. Then the owner puts."""
    machines = await settle(world, nodes, is_public=is_public)
    before = len(world.ledger.operations)
    values = [world.users.new_value() for _ in range(WANTED)]
    async with open_crowd(world, places(1, networks=1, is_public=is_public), Manners()) as crowd:
        await crowd.meet(machines, within=MET_WITHIN)
        (member,) = crowd.members
        for place, value in enumerate(values):
            await _send_all(crowd, machines, _claims(member, value, forgets=place % 2 == 0))
        for value in values:
            await world.users.put(value)
        await trio.sleep(A_MOMENT)
        claim_share(world, "every put of the owner is acknowledged", "put", before, least=1.0)
        keys = [Key.of(value) for value in values]
        copies = [sum(_has_owners_lease(world, machine, key) for machine in machines) for key in keys]
        world.claim(f"the owner's lease has {K} copies", min(copies) >= K, copies)
        for place, value in enumerate(values):
            await _send_all(crowd, machines, _claims(member, value, forgets=place % 2 == 0))
        still = [sum(_has_owners_lease(world, machine, key) for machine in machines) for key in keys]
        world.claim("no later publisher pushes it out", still >= copies, f"{still} copies, {copies} before")
    await claim_all_read(world, "every value is read", keys, within=2.0)


def _claims(member: Adversary, value: bytes, *, forgets: bool) -> Iterator[tuple[Adversary, Store]]:
    key, now = Key.of(value), member.wall_ms()
    for _ in range(PUBLISHERS):
        pair = KeyPair.new(member.rng)
        lease = leases.new_lease(key, pair.public, seen=0, now=now, life_ms=AN_HOUR)
        yield member, Store(StoreKind.PUBLISH, None, value, (_signed(lease, pair, member),))
        if forgets:
            tombstone = leases.new_tombstone(key, pair.public, seen=lease.seq, now=now)
            yield member, Store(StoreKind.PUBLISH, key, None, (_signed(tombstone, pair, member),))


def _has_owners_lease(world: World, machine: Machine, key: Key) -> bool:
    state = machine.stored(key)
    register = state.register(world.publisher.public) if state is not None else None
    return register is not None and not register.record.is_tombstone


SCENARIOS = (
    *told_twice(
        "attack-quotas",
        _quotas,
        nodes=8,
        summary="Ids of six networks, or of one private address, send more than every store holds.",
        passes="each network gets one share, and tombstones one of all; users put and read on",
        at_private="one address gets one share, and tombstones one of all; of many addresses nothing is promised",
        config=attrs.evolve(CONFIG, storage=StorageConfig(max_storage=SMALL_STORE)),
    ),
    *told_twice(
        "attack-publishers",
        _publishers,
        nodes=20,
        summary="Forty free keys publish and forget what an owner is about to put.",
        passes="no effect: the owner's puts are acknowledged, stay and are read",
    ),
)
