"""A member says what is not so: about time, about who is there, about copies, and about what was forgotten.

Each story compares what users get with what they got before the liars came, or counts what is left after them.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from camomile_trio.config import Config
from camomile_trio.identity import KeyPair
from camomile_trio.kademlia import registers
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import ID_BYTES, Key, as_int
from camomile_trio.kademlia.messages import STORES_NOTHING, Have, Store, StoreKind, StoreStatus
from camomile_trio.kademlia.records import RecordRow
from camomile_trio.peer.local import StaticKey
from camomile_trio.simulation.adversary import Adversary
from camomile_trio.simulation.crowd import Crowd, open_crowd, places
from camomile_trio.simulation.ledger import OK, Operation
from camomile_trio.simulation.links import LinkConditions
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.manners import Manners, each_other, invented
from camomile_trio.simulation.properties.promises import leases_of
from camomile_trio.simulation.scenario import claim_copies, claim_share
from camomile_trio.simulation.scenarios.attack_stories import A_MOMENT, MET_WITHIN, ROUND, K, settle, told_twice
from camomile_trio.simulation.world import PORT, World

# About time -----------------------------------------------------------------------------------------------------------

WRONG_CLOCKS = 60  # ids, all on one address
AN_HOUR = 3_600_000.0  # ms
LIED_FOR = 300.0  # s


async def _clocks(world: World, nodes: int, *, is_public: bool) -> None:
    """Sixty ids of one address show clocks that are an hour behind, and sixty more an hour ahead, while users put, get
    and forget. One node starts anew meanwhile: then peers' clocks mean most to it."""
    machines = await settle(world, nodes, is_public=is_public)
    await world.users.put_many(2 * nodes)
    before = len(world.ledger.operations)
    for place, error in enumerate((-AN_HOUR, AN_HOUR)):
        at = places(WRONG_CLOCKS, networks=1, is_public=is_public, first=place)
        # But for their clocks they do as honest nodes do that store nothing.
        names = each_other([each.contact for each in machines])
        manners = Manners(names) if is_public else Manners(names, stores=StoreStatus.STORED)
        flags = STORES_NOTHING if is_public else 0
        async with open_crowd(world, at, manners, clock_error=error, flags=flags) as crowd:
            await crowd.meet(machines, within=MET_WITHIN)
            restarted = machines[place + 1]
            await world.crash(restarted)
            await world.start(restarted)
            await crowd.meet([restarted], within=A_MOMENT)
            await world.users.keep_busy(LIED_FOR, puts=0.3, gets=0.6, forgets=0.1)
            unready = [each.number for each in machines if not each.serves]
            how = "behind" if error < 0 else "ahead"
            world.claim(f"every node is ready while clocks are {how}", not unready, unready or "all are")
    refused = [each for each in world.ledger.operations[before:] if "clock" in each.because]
    seen = refused[0].because if refused else "none"
    world.claim("no operation is refused for a clock", not refused, f"{len(refused)}: {seen}")
    if is_public:  # else they are most of the nodes that count, whatever their clocks show
        for kind in ("put", "get", "forget"):
            claim_share(world, f"every {kind} succeeds", kind, before, least=1.0)


# About who is there ---------------------------------------------------------------------------------------------------

BESIDE_LIAR = 8  # bits in common with its id: of what it is asked for it is the closest
BESIDE_TARGET = (
    7  # bits that the nodes it names have in common with what is looked for: closer than most that there are
)
MISSES, FORGETS = 40, 10
MOST_MORE = 0.5  # s
DEAD_NETWORK = bytes((199, 51, 100))  # nobody is there
LARGE = 5000  # bytes
STEADY = LinkConditions(latency=0.04)  # so that two lookups can be compared


async def _dead_names(world: World, nodes: int, *, is_public: bool) -> None:
    """One member names twenty nodes in each answer that there are not, closer to the target than all others."""
    rng = world.generator("dead names")
    # Of a private network as many private addresses as it likes are dead.
    network = DEAD_NETWORK if is_public else bytes((10, 99, 0))
    names = invented(rng, lambda: Endpoint.of(network + bytes((rng.randrange(1, 255),)), PORT), bits=BESIDE_TARGET)
    await _slowed(world, nodes, Manners(names), is_public=is_public)


async def _false_too_large(world: World, nodes: int, *, is_public: bool) -> None:
    """One member says of each value that it has it and that it is too large for a datagram, and then hangs."""
    await _slowed(world, nodes, Manners(says_too_large=LARGE, hangs=True), is_public=is_public)


async def _slowed(world: World, nodes: int, manners: Manners, *, is_public: bool) -> None:
    """Misses and forgets of keys to which the member is the closest, beside the same misses while it is honest."""
    machines = await settle(world, nodes, is_public=is_public)
    honest = Manners(each_other([each.contact for each in machines]), stores=StoreStatus.STORED)
    async with open_crowd(world, places(1, networks=1, is_public=is_public), honest) as crowd:
        (liar,) = crowd.members
        await crowd.meet(machines, within=MET_WITHIN)
        rng = world.generator("beside the liar")
        asked = [(_key_beside(liar, rng.randbytes(ID_BYTES)), rng.choice(machines)) for _ in range(MISSES)]
        forgotten = [await _put_beside(world, liar) for _ in range(FORGETS)]
        await _missed(world, asked)  # so that the next time makes no handshakes
        calm = await _missed(world, asked)
        liar.manners = manners
        slow = await _missed(world, asked)
        more = sorted(after - before for before, after in zip(calm, slow, strict=True))
        seen = f"{more[-1]:.2f} s at most, {more[len(more) // 2]:.2f} s in the middle; before {max(calm):.2f} s at most"
        world.claim(f"a miss takes at most {MOST_MORE:g} s more", round(more[-1], 2) <= MOST_MORE, seen)
        before = len(world.ledger.operations)
        for key in forgotten:
            await world.users.forget(key)
        claim_share(world, "every DELETE succeeds", "forget", before, least=1.0)


async def _missed(world: World, asked: Sequence[tuple[Key, Machine]]) -> list[float]:
    """How long it took each to find out that nobody has the key."""
    done = [await world.users.get(key, at=machine) for key, machine in asked]
    await trio.sleep(A_MOMENT)
    return [each.seconds for each in done if each is not None]


def _key_beside(liar: Adversary, random_bytes: bytes) -> Key:
    return Key(liar.id[: BESIDE_LIAR // 8] + random_bytes[BESIDE_LIAR // 8 :])


async def _put_beside(world: World, liar: Adversary) -> Key:
    """A value is put to which the liar will be the closest."""
    while True:
        value = world.users.new_value()
        if Key.of(value)[: BESIDE_LIAR // 8] == liar.id[: BESIDE_LIAR // 8]:
            break
    await world.users.put(value)
    return Key.of(value)


# About where somebody is ----------------------------------------------------------------------------------------------

POINTING = 10  # members that name the victim, each of a network of its own
REFLECTED_FOR = 600.0  # s
PROBES = 300


async def _reflection(world: World, nodes: int, *, is_public: bool) -> None:
    """Ten members say that they are reached at a victim's address, and name twenty nodes there in each answer, at ports
    of all numbers. Nodes look for this and that meanwhile."""
    victim = bytes((199, 51, 101, 1)) if is_public else bytes((10, 99, 0, 1))
    rng = world.generator("reflection")
    at = places(POINTING, networks=POINTING, is_public=is_public)
    liars = {each.ip: None for each in at}
    moved = {"to the victim": 0, "by the liars": 0}

    def on_sent(time: float, source: Endpoint, destination: Endpoint, payload: bytes) -> None:
        if destination.ip == victim:
            moved["to the victim"] += len(payload)
        elif source.ip in liars:
            moved["by the liars"] += len(payload)

    machines = await settle(world, nodes, is_public=is_public)
    world.lying_networks = POINTING
    names = invented(rng, lambda: Endpoint.of(victim, rng.randrange(1024, 65536)), bits=BESIDE_TARGET)
    with world.network.watched(on_sent):
        async with open_crowd(world, at, Manners(names), advertises=Endpoint.of(victim, PORT)) as crowd:
            await crowd.meet(machines, within=MET_WITHIN)
            await world.probe_lookups(PROBES)
            await trio.sleep(REFLECTED_FOR)
    ratio = moved["to the victim"] / max(1, moved["by the liars"])
    seen = f"{ratio:.2f} times: {moved['to the victim']} bytes for {moved['by the liars']}"
    if is_public:
        world.claim("the victim is sent at most what the members sent", ratio <= 1.0, seen)
    else:
        # Endless private addresses are named in honest networks; what leaves for them stays in the house.
        world.claim("bytes to a private address are not rationed", True, seen)


# About copies ---------------------------------------------------------------------------------------------------------

KEEPING_QUIET = 10  # members of as many networks
QUIET_KEYS = 5
LEFT = 2  # holders of each key
REPEATED_EVERY = 60.0  # s
INTERVALS = 3


async def _replicate(world: World, nodes: int, *, is_public: bool) -> None:
    """Members that are no holders send each key to its holders again and again, as replicas and in rounds of
    comparing. Of the holders of each key all but two go; those that stay have to see it."""
    machines = await settle(world, nodes, is_public=is_public)
    keys = await world.users.put_many(QUIET_KEYS)
    await trio.sleep(A_MOMENT)
    at = places(KEEPING_QUIET, networks=KEEPING_QUIET, is_public=is_public)
    pairs = _far_from(world, machines, keys, KEEPING_QUIET)
    async with open_crowd(world, at, Manners(has_the_same=True), pairs=pairs) as crowd, trio.open_nursery() as nursery:
        await crowd.meet(machines, within=MET_WITHIN)
        nursery.start_soon(_repeat, world, crowd, keys)
        await trio.sleep(2 * REPEATED_EVERY)
        gone: dict[int, Machine] = {}
        for key in keys:
            holders = [each for each in world.live_holders(key) if each.number not in gone]
            for machine in holders[LEFT:]:
                gone[machine.number] = machine
        # None but what has to go: each key keeps two of its holders.
        kept = [each for each in gone.values() if all(_stays_held(world, key, each, gone) for key in keys)]
        for machine in kept:
            await world.crash(machine)
        copies = [len(world.live_holders(key)) for key in keys]
        await trio.sleep(INTERVALS * ROUND)
        claim_copies(world, f"after {INTERVALS} intervals each key has {K} copies again, of {min(copies)} left", keys)
        nursery.cancel_scope.cancel()


def _far_from(world: World, machines: Sequence[Machine], keys: Sequence[Key], count: int) -> list[KeyPair]:
    """Keys of nodes that are no holders of these keys, also when some of the machines have gone."""
    rng = world.generator("no holders")
    edges = {key: sorted(as_int(each.id) ^ as_int(key) for each in machines)[2 * K] for key in keys}
    pairs: list[KeyPair] = []
    while len(pairs) < count:
        pair = KeyPair.new(rng)
        place = as_int(StaticKey.from_seed(world.suite, pair.seed).node_id)
        if all(place ^ as_int(key) > edge for key, edge in edges.items()):
            pairs.append(pair)
    return pairs


def _stays_held(world: World, key: Key, leaving: Machine, gone: dict[int, Machine]) -> bool:
    """Whether the key keeps a holder when all these go; else `leaving` stays."""
    if any(each.number not in gone for each in world.live_holders(key)):
        return True
    if leaving.holds(key):
        del gone[leaving.number]
        return False
    return True


async def _repeat(world: World, crowd: Crowd, keys: Sequence[Key]) -> None:
    """Every member says to every holder of a key that it has just the same, in both ways that there are."""
    while True:
        for key in keys:
            for machine in world.live_holders(key):
                state = machine.stored(key)
                assert state is not None
                rows = tuple(record.row() for record in leases_of(state))
                replica = Store(StoreKind.REPLICATE, key, world.users.values[key], rows)
                same = Have((key,), digests=(registers.said(state, machine.clock()).digest,), is_round=True)
                for member in crowd.members:
                    member.say(replica, machine.contact)
                    member.say(same, machine.contact)
        await trio.sleep(REPEATED_EVERY)


# About what was forgotten ---------------------------------------------------------------------------------------------

OLD_KEYS = 5
PUSHED_EVERY = 45.0  # s: less than a cached copy lives
PUSHES = 8


async def _old_lease(world: World, nodes: int, *, is_public: bool) -> None:
    """After a DELETE a member pushes the old lease, with the value, to every node as a copy for its cache."""
    machines = await settle(world, nodes, is_public=is_public)
    keys = await world.users.put_many(OLD_KEYS)
    await trio.sleep(A_MOMENT)
    leases: dict[Key, tuple[RecordRow, ...]] = {}
    for key in keys:
        state = world.live_holders(key)[0].stored(key)
        assert state is not None
        leases[key] = tuple(record.row() for record in leases_of(state))
        await world.users.forget(key)
    # Until then a copy may be read that was cached before, without anybody's doing.
    await trio.sleep(world.config.records.cache_life)
    async with open_crowd(world, places(1, networks=1, is_public=is_public), Manners()) as crowd:
        await crowd.meet(machines, within=MET_WITHIN)
        read: list[Operation] = []
        for _ in range(PUSHES):
            for key, rows in leases.items():
                crowd.tell(Store(StoreKind.PUBLISH, key, world.users.values[key], rows, cached=True), machines)
            await trio.sleep(1.0)
            for machine in machines:
                for key in keys:
                    got = await world.users.get(key, at=machine)
                    if got is not None and got.outcome == OK:
                        read.append(got)
            await trio.sleep(PUSHED_EVERY)
        readers, asked = {each.machine for each in read}, PUSHES * len(machines) * len(keys)
        seen = f"{len(read)} of {asked} gets read it, at {len(readers)} of {len(machines)} nodes"
        world.claim("what was forgotten is read nowhere", not read, seen)


SCENARIOS = (
    *told_twice(
        "attack-clocks",
        _clocks,
        nodes=20,
        summary="Sixty ids on one address show clocks an hour behind, and sixty an hour ahead.",
        passes="no effect: every put, get and forget succeeds, and a node that starts anew is ready",
        at_private="no node is unready and nothing is refused for a clock; else what sixty ids may do is not promised",
    ),
    *told_twice(
        "attack-dead-names",
        _dead_names,
        nodes=40,
        summary="A member names twenty nodes that there are not in each answer.",
        passes="a miss takes at most half a second more, and every DELETE succeeds",
        config=Config(),  # of an answer a lookup takes k names at most
        links=STEADY,
    ),
    *told_twice(
        "attack-false-too-large",
        _false_too_large,
        nodes=40,
        summary="A member says of each value that it has it and that it is large, and hangs.",
        passes="a miss takes at most half a second more, and every DELETE succeeds",
        links=STEADY,
    ),
    *told_twice(
        "attack-reflection",
        _reflection,
        nodes=30,
        summary="Ten members name a victim's address wherever they can.",
        passes="nodes send the victim at most as many bytes as the members sent",
        at_private="that a private address is spared is not promised",
    ),
    *told_twice(
        "attack-replicate",
        _replicate,
        nodes=40,
        summary="Members repeat to the holders of a key that they hold the same, while holders go.",
        passes="no effect: each key has all its copies again after three intervals",
    ),
    *told_twice(
        "attack-old-lease",
        _old_lease,
        nodes=40,
        summary="After a DELETE the old lease is pushed to all caches, again and again.",
        passes="no effect: what was forgotten is read nowhere",
    ),
)
