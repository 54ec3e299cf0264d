"""An attacker takes what is shared out: room in the stores, and the places of a key's publishers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager

import trio

from camomile_trio.config import KIB, Config, StorageConfig
from camomile_trio.identity import KeyPair, sign_record
from camomile_trio.kademlia import leases
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import ID_BYTES, Key
from camomile_trio.kademlia.messages import STORES_NOTHING, Store, StoreKind
from camomile_trio.kademlia.records import Record, RecordRow
from camomile_trio.simulation.adversary import Adversary
from camomile_trio.simulation.crowd import Crowd, open_crowd, places
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.manners import Manners, each_other
from camomile_trio.simulation.scenario import claim_all_read, claim_share
from camomile_trio.simulation.scenarios.attack_stories import A_MOMENT, MET_WITHIN, K, settle, told_twice
from camomile_trio.simulation.world import World

AN_HOUR = 3_600_000  # ms

# Room -----------------------------------------------------------------------------------------------------------------

SMALL_STORE = 256 * KIB
IDS_OF_EACH = 4  # of a network, each with a publisher of its own
NETWORKS = 6
PIECE = 900  # bytes: a value that fits into a datagram
FILLED = 1.25  # times what a store holds is sent to each node
TOMBSTONES = 400  # of leases that nobody has seen: more than the share of all tombstones
SENT_AT_ONCE = 20
HONEST_PUTS = 3  # of a publisher and a network that has nothing there yet: about its share
# What is left for others, as shares of the store: the rule's own numbers, and not the code's.
MOST_OF_SIX, MOST_OF_ONE = 0.75, 0.5
MOST_UNSEEN = 1 / 16 + 0.002  # the last tombstone is a little more than its record
MOST_CARRIED = 15 / 16


async def _quotas(world: World, nodes: int, *, is_public: bool) -> None:
    """Ids of six public networks, or of one private address, send every node more than its store holds: tombstones
    for what was never stored, values of publishers of their own, and values that they pretend to hold. Then a user
    puts, at a node that came late, with a key that no other node has."""
    machines = await settle(world, nodes, is_public=is_public)
    networks, most = (NETWORKS, MOST_OF_SIX) if is_public else (1, MOST_OF_ONE)
    guest = world.new_machine(publisher=KeyPair.new(world.generator("guest")))
    await world.start(guest)
    at = places(IDS_OF_EACH * networks, networks=networks, is_public=is_public)
    async with _open_bringers(world, at, machines) as crowd:
        await crowd.meet(machines, within=MET_WITHIN)
        pieces = range(int(FILLED * SMALL_STORE) // PIECE)
        await _send_all(crowd, machines, _tombstones(crowd))
        unseen = _fullest(machines)
        world.claim("tombstones of leases never seen fill one share of all", 0 < unseen <= MOST_UNSEEN, f"{unseen:.1%}")
        await _send_all(crowd, machines, _values(crowd, StoreKind.PUBLISH, pieces))
        published = _fullest(machines)
        world.claim(f"they publish at most {most:.0%} of a store", unseen < published <= most, f"{published:.1%}")
        replicas = range(len(pieces), 2 * len(pieces))
        await _send_all(crowd, machines, _values(crowd, StoreKind.REPLICATE, replicas))
        carried = _fullest(machines)
        world.claim(
            f"with what they pretend to hold it is at most {MOST_CARRIED:.0%}",
            carried <= MOST_CARRIED,
            f"{carried:.1%}",
        )
        before = len(world.ledger.operations)
        puts = [await world.users.put(at=guest) for _ in range(HONEST_PUTS)]
        claim_share(world, "a user's puts are acknowledged", "put", before, least=1.0)
        await claim_all_read(world, "and read", [each.key for each in puts if each is not None], within=2.0)


def _fullest(machines: Sequence[Machine]) -> float:
    """How full the fullest store is, as a share."""
    return max(each.storage.statistics.bytes for each in machines) / SMALL_STORE


def _open_bringers(
    world: World, at: Sequence[Endpoint], machines: Sequence[Machine]
) -> AbstractAsyncContextManager[Crowd]:
    """But for what they bring they do as honest nodes do that store nothing."""
    honest = Manners(each_other([each.contact for each in machines]))
    return open_crowd(world, at, honest, flags=STORES_NOTHING)


async def _send_all(crowd: Crowd, machines: Sequence[Machine], stores: Iterator[tuple[Adversary, Store]]) -> None:
    for number, (member, store) in enumerate(stores):
        for machine in machines:
            member.say(store, machine.contact)
        if number % SENT_AT_ONCE == 0:
            await trio.sleep(0.1)
    await trio.sleep(A_MOMENT)


def _values(crowd: Crowd, kind: StoreKind, numbers: Sequence[int]) -> Iterator[tuple[Adversary, Store]]:
    for number in numbers:
        member = crowd.members[number % len(crowd.members)]
        value = (b"piece %d of an attacker " % number).ljust(PIECE, b".")
        lease = leases.new_lease(Key.of(value), member.pair.public, seen=0, now=member.wall_ms(), life_ms=AN_HOUR)
        yield member, Store(kind, None, value, (_signed(lease, member.pair, member),))


def _tombstones(crowd: Crowd) -> Iterator[tuple[Adversary, Store]]:
    for number in range(TOMBSTONES):
        member = crowd.members[number % len(crowd.members)]
        key = Key(member.rng.randbytes(ID_BYTES))
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
    async with _open_bringers(world, places(1, networks=1, is_public=is_public), machines) as crowd:
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
        nodes=6,
        summary="Ids of six networks, or of one private address, send more than every store holds.",
        passes="six networks publish three quarters at most, tombstones fill one share of all; users find theirs",
        at_private="one address publishes half at most, tombstones fill one share of all; users find theirs",
        # All nodes are holders of all keys, so that none is read the less for who has an id beside it.
        config=Config(storage=StorageConfig(max_storage=SMALL_STORE)),
    ),
    *told_twice(
        "attack-publishers",
        _publishers,
        nodes=20,
        summary="Forty free keys publish and forget what an owner is about to put.",
        passes="no effect: the owner's puts are acknowledged, stay and are read",
    ),
)
