"""The attacker: `python -m tests.attacks.attacker` reads a line, an `Order`, and does one attack on the nodes that it
names. It prints a line, a JSON object with what it has found out, once the attack is at its height or done, and goes on
until its standard input ends. Then its nodes take their leave.

Rules of this file: one function for each attack, which knows nothing of a node's insides and judges nothing. It runs in
a host of its own, inside the harness's namespaces, and speaks with nobody but the nodes that it is told.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from itertools import count, cycle

import attrs
import trio

from camomile_trio.config import DEFAULT_NETWORK
from camomile_trio.identity import KeyPair, network_id, sign_record
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.leases import new_lease, new_tombstone
from camomile_trio.kademlia.messages import FindValue, Message, Store, StoreKind, StoreResult, StoreStatus, Value
from camomile_trio.kademlia.records import Record, RecordRow
from camomile_trio.peer.handshake import NetworkKey, open_network_key
from camomile_trio.simulation.manners import Manners, each_other
from tests.attacks.invented import invented_in_advance
from tests.attacks.sybils import Sybil, grind, open_sybil, wall_ms

FIRST_PORT = 9000
HOUR_MS = 3_600_000
LEASE_MS = 24 * HOUR_MS
AT_ONCE = 32  # requests of one attack that are under way together
MEETING_PAUSE = 2.0  # s between its tries
FIRST_NAMED = 10_000
PORTS = 500  # of a third party that are named
LEAVING = 0.5  # s
LOOKED_AGAIN = 0.1  # s
PUSHED_EVERY = 45.0  # s; a copy is served for 60


@attrs.define
class Order:
    """What to do. Keys, rows and values are hexadecimal; nodes are HOST:PORT#KEY."""

    attack: str
    ips: Sequence[str]  # of this host, for the attacker's nodes, in turn
    nodes: Sequence[str]  # that are attacked
    network: str = DEFAULT_NETWORK
    ids: int = 1
    shared: int = 0  # leading bits that ids are to share with the key
    key: str = ""
    value: str = ""
    rows: Sequence[str] = ()
    at: Sequence[str] = ()  # addresses without a port, for contacts that nobody has
    size: int = 0
    seconds: float = 0.0
    patience: float = 90.0  # s for all of its nodes to meet all of the others

    @property
    def network_id(self) -> bytes:
        return network_id(self.network)

    @property
    def targets(self) -> list[Contact]:
        found = []
        for each in self.nodes:
            endpoint, _, key = each.partition("#")
            found.append(Contact.of(bytes.fromhex(key), Endpoint.parse(endpoint)))
        return found


Ready = Callable[..., None]


@attrs.define(eq=False)
class Crowd:
    """The attacker's nodes, by order."""

    order: Order
    rng: random.Random
    stack: AsyncExitStack
    sybils: list[Sybil] = attrs.field(factory=list)
    ports: count[int] = attrs.field(factory=lambda: count(FIRST_PORT))

    async def open(
        self,
        manners: Manners,
        seeds: Sequence[bytes],
        *,
        advertised: bytes = b"",
        clock: Callable[[], int] = wall_ms,
    ) -> list[Sybil]:
        network = NetworkKey.of(open_network_key(self.order.network_id), self.order.network_id)
        opened = []
        for seed, ip in zip(seeds, cycle(self.order.ips), strict=False):
            at = Endpoint.from_host(ip, next(self.ports))
            opened.append(
                await self.stack.enter_async_context(
                    open_sybil(at, network, manners, seed=seed, advertised=advertised, wall_ms=clock)
                )
            )
        self.sybils += opened
        return opened

    def seeds(self) -> list[bytes]:
        """As many as ordered: ground beside the key, if it says how near."""
        order = self.order
        if order.shared:
            return grind(bytes.fromhex(order.key), order.shared, order.ids, self.rng)
        return [self.rng.randbytes(32) for _ in range(order.ids)]

    async def meet(self, sybils: Sequence[Sybil]) -> int:
        """All of them meet all targets, until the time is up; how many sessions there are then."""
        targets = self.order.targets

        async def meet_all(sybil: Sybil) -> None:
            while peers := [each for each in targets if not sybil.requests.has_session(each.public)]:
                self.rng.shuffle(peers)
                await sybil.meet(peers)
                await trio.sleep(MEETING_PAUSE)

        with trio.move_on_after(self.order.patience):
            async with trio.open_nursery() as nursery:
                for sybil in sybils:
                    nursery.start_soon(meet_all, sybil)
        return sum(sybil.requests.has_session(each.public) for sybil in sybils for each in targets)

    async def tell_all(self, sybils: Sequence[Sybil], messages: Sequence[Message]) -> Counter[str]:
        """Each target is asked all of these in their order, by one of the sybils; what became of it, by status."""
        results: Counter[str] = Counter()
        limiter = trio.CapacityLimiter(AT_ONCE)

        async def tell(sybil: Sybil, peer: Contact) -> None:
            async with limiter:
                for message in messages:
                    answer = await sybil.ask(peer, message)
                    results[answer.status.name if isinstance(answer, StoreResult) else str(answer)[:20]] += 1

        async with trio.open_nursery() as nursery:
            for sybil, peer in zip(cycle(sybils), self.order.targets, strict=False):
                nursery.start_soon(tell, sybil, peer)
        return results

    def signed(self, record: Record, pair: KeyPair) -> RecordRow:
        return sign_record(record, pair, self.order.network_id).row()


# The attacks --------------------------------------------------------------------------------------------------------


async def clocks(crowd: Crowd, ready: Ready) -> None:
    """Nodes whose clocks are an hour behind. For one key they show a lease of the future."""
    order, manners = crowd.order, _like_a_member(crowd)
    if order.key:
        pair, key = KeyPair.new(crowd.rng), Key.parse(order.key)
        future = new_lease(key, pair.public, seen=0, now=wall_ms() + HOUR_MS, life_ms=LEASE_MS)
        manners.gives[key] = Value(None, tuple(each_other(order.targets)(key)), (crowd.signed(future, pair),))
    opened = await crowd.open(manners, crowd.seeds(), clock=lambda: wall_ms() - HOUR_MS)
    ready(met=await crowd.meet(opened))


def _like_a_member(crowd: Crowd) -> Manners:
    """It names whom an honest node names."""
    return Manners(each_other(crowd.order.targets))


async def sybils(crowd: Crowd, ready: Ready) -> None:
    """Nodes that say that they store and have everything, store nothing, and name each other."""
    manners = Manners(stores=StoreStatus.STORED, has_the_same=True)
    opened = await crowd.open(manners, crowd.seeds())
    manners.names = each_other([each.contact for each in opened])
    ready(met=await crowd.meet(opened), ids=[each.contact.id.hex() for each in opened])


async def dead_names(crowd: Crowd, ready: Ready) -> None:
    """Members that name twenty contacts, of keys that no node has, at addresses that are given: of nobody, or of a
    third party."""
    ips = [Endpoint.from_host(each, 1).ip for each in crowd.order.at]
    names = invented_in_advance(
        crowd.rng, lambda: Endpoint.of(crowd.rng.choice(ips), FIRST_NAMED + crowd.rng.randrange(PORTS))
    )
    opened = await crowd.open(Manners(names, stores=StoreStatus.STORED), crowd.seeds())
    ready(met=await crowd.meet(opened), ids=[each.contact.id.hex() for each in opened])


async def too_large(crowd: Crowd, ready: Ready) -> None:
    """Members that claim to have a value that needs a stream, and then hang."""
    manners = _like_a_member(crowd)
    manners.says_too_large, manners.hangs = 100_000, True
    opened = await crowd.open(manners, crowd.seeds())
    ready(met=await crowd.meet(opened), ids=[each.contact.id.hex() for each in opened])


async def advertising(crowd: Crowd, ready: Ready) -> None:
    """New nodes again and again, which say that they are reached at a third party's address."""
    order = crowd.order
    ready()
    ips = [Endpoint.from_host(each, 1).ip for each in order.at]
    while True:
        advertised = Endpoint.of(crowd.rng.choice(ips), FIRST_NAMED + crowd.rng.randrange(PORTS))
        async with AsyncExitStack() as stack:
            brief = Crowd(order, crowd.rng, stack, ports=crowd.ports)
            opened = await brief.open(_like_a_member(crowd), [crowd.rng.randbytes(32)], advertised=advertised)
            with trio.move_on_after(2.0):
                await opened[0].meet(order.targets)


async def look_up(crowd: Crowd, ready: Ready) -> None:
    """Asks all for a key, and tells the value and the records that it was shown."""
    opened = await crowd.open(_like_a_member(crowd), crowd.seeds())
    value, rows = await _shown(crowd, opened[0])
    ready(value=value.hex(), rows=[each.hex() for each in rows])


async def _shown(crowd: Crowd, sybil: Sybil) -> tuple[bytes, tuple[RecordRow, ...]]:
    value = b""
    rows: set[RecordRow] = set()
    for peer in crowd.order.targets:
        answer = await sybil.ask(peer, FindValue(Key.parse(crowd.order.key)))
        if isinstance(answer, Value):
            value = answer.value or value
            rows.update(answer.records)
    return value, tuple(rows)


async def push_copies(crowd: Crowd, ready: Ready) -> None:
    """Pushes a copy of a value with records to all, as the finder of a value does, again and again."""
    order = crowd.order
    opened = await crowd.open(_like_a_member(crowd), crowd.seeds())
    rows = tuple(RecordRow(bytes.fromhex(each)) for each in order.rows)
    store = Store(StoreKind.PUBLISH, None, bytes.fromhex(order.value), rows, cached=True)
    ready(stored=await crowd.tell_all(opened, [store]))
    while True:
        await trio.sleep(PUSHED_EVERY)
        await crowd.tell_all(opened, [store])


async def repeat_replicate(crowd: Crowd, ready: Ready) -> None:
    """As soon as a key is there: offers all what they have, as a holder in its round does, every few seconds."""
    order = crowd.order
    opened = await crowd.open(_like_a_member(crowd), crowd.seeds())
    await opened[0].meet(order.targets)
    ready()
    rows: tuple[RecordRow, ...] = ()
    while not rows:
        await trio.sleep(LOOKED_AGAIN)
        _, rows = await _shown(crowd, opened[0])
    # With the value a node that lacks it would be given it.
    store = Store(StoreKind.REPLICATE, Key.parse(order.key), None, rows)
    while True:
        await crowd.tell_all(opened, [store])
        await trio.sleep(order.seconds)


async def fill(crowd: Crowd, ready: Ready) -> None:
    """Stores values of so many bytes at the first target, under a new publisher each, for some seconds."""
    order = crowd.order
    opened = await crowd.open(_like_a_member(crowd), crowd.seeds())

    def lease() -> Store:
        pair, value = KeyPair.new(crowd.rng), crowd.rng.randbytes(order.size)
        record = new_lease(Key.of(value), pair.public, seen=0, now=wall_ms(), life_ms=LEASE_MS)
        return Store(StoreKind.PUBLISH, None, value, (crowd.signed(record, pair),))

    ready(stored=await _pour(crowd, opened, lease))


async def fill_with_tombstones(crowd: Crowd, ready: Ready) -> None:
    """Stores tombstones of leases that never were at the first target."""
    opened = await crowd.open(_like_a_member(crowd), crowd.seeds())

    def tombstone() -> Store:
        pair, key = KeyPair.new(crowd.rng), Key(crowd.rng.randbytes(32))
        record = new_tombstone(key, pair.public, seen=0, now=wall_ms())
        return Store(StoreKind.PUBLISH, key, None, (crowd.signed(record, pair),))

    ready(stored=await _pour(crowd, opened, tombstone))


async def _pour(crowd: Crowd, opened: Sequence[Sybil], make: Callable[[], Store]) -> Counter[str]:
    results: Counter[str] = Counter()
    target = crowd.order.targets[0]

    async def pour(sybil: Sybil) -> None:
        while True:
            answer = await sybil.ask(target, make())
            results[answer.status.name if isinstance(answer, StoreResult) else str(answer)[:20]] += 1

    with trio.move_on_after(crowd.order.seconds):
        async with trio.open_nursery() as nursery:
            for sybil in opened:
                nursery.start_soon(pour, sybil)
                nursery.start_soon(pour, sybil)
    return results


async def publishers(crowd: Crowd, ready: Ready) -> None:
    """So many publishers store a value at all, and forget it."""
    order = crowd.order
    opened = await crowd.open(_like_a_member(crowd), [crowd.rng.randbytes(32) for _ in order.ips])
    value = bytes.fromhex(order.value)
    key = Key.of(value)
    results: Counter[str] = Counter()
    for number in range(order.ids):
        pair, now = KeyPair.new(crowd.rng), wall_ms()
        lease = new_lease(key, pair.public, seen=0, now=now, life_ms=LEASE_MS)
        tombstone = new_tombstone(key, pair.public, seen=lease.seq, now=now)
        sybil = opened[number % len(opened)]
        said = await crowd.tell_all(
            [sybil],
            [
                Store(StoreKind.PUBLISH, None, value, (crowd.signed(lease, pair),)),
                Store(StoreKind.PUBLISH, key, None, (crowd.signed(tombstone, pair),)),
            ],
        )
        results.update(said)
    ready(stored=results)


ATTACKS: dict[str, Callable[[Crowd, Ready], Awaitable[None]]] = {
    "clocks": clocks,
    "sybils": sybils,
    "dead names": dead_names,
    "too large": too_large,
    "advertising": advertising,
    "look up": look_up,
    "push copies": push_copies,
    "repeat replicate": repeat_replicate,
    "fill": fill,
    "fill with tombstones": fill_with_tombstones,
    "publishers": publishers,
}


def _ready(**found: object) -> None:
    print(json.dumps(found), flush=True)


async def main() -> None:
    order = Order(**json.loads(sys.stdin.readline()))
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        crowd = Crowd(order, random.SystemRandom(), stack)
        nursery.start_soon(_leave_at_the_end, crowd, nursery.cancel_scope)
        await ATTACKS[order.attack](crowd, _ready)
        await trio.sleep_forever()


async def _leave_at_the_end(crowd: Crowd, scope: trio.CancelScope) -> None:
    await trio.to_thread.run_sync(sys.stdin.read)
    for sybil in crowd.sybils:
        sybil.leave()
    await trio.sleep(LEAVING)
    scope.cancel()


if __name__ == "__main__":
    trio.run(main)
