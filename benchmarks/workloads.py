"""What is counted: codec, routing table, and in simulated networks joins, lookups, puts, gets, a round of replication
and renewals.

Rules of this file: everything comes from one seed; each workload returns its figures by name, as whole numbers. All of
a network's figures are of real nodes in virtual time, without judges, which would add calls of their own.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import attrs
import trio

from benchmarks.counting import Calls, counted
from benchmarks.virtual import run_virtually
from camomile_trio.config import Config, Kademlia, Records
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import (
    Durability,
    FindNode,
    FindValue,
    Message,
    NodeList,
    Ping,
    Pong,
    Store,
    StoreKind,
    StoreResult,
    StoreStatus,
    Value,
)
from camomile_trio.kademlia.records import Kind, PublisherKey, Record
from camomile_trio.kademlia.routing import RoutingTable
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.network import MemoryNetwork
from camomile_trio.simulation.outcome import Progress
from camomile_trio.simulation.trace import Trace
from camomile_trio.simulation.world import World
from camomile_trio.wire.codec import Codec

SEED = 1
NODES = 40
OPERATIONS = 20
# Virtual s after each operation, and after the last of its kind: what they leave in the background is counted to them,
# and little of what nodes do unasked, which has a row of its own.
PAUSE, AFTERWARDS = 0.25, 2.0
REST = 60.0  # virtual s
# For the networks whose upkeep is counted, in virtual s: so short an interval that the rest of what a node does unasked
# is little beside its rounds, and so long a life that the turns of two holders to renew are 15 s apart.
REPLICATE_INTERVAL, LEASE = 15.0, 1200.0
INTERVALS = 4  # since which nodes make their rounds in one interval is chance
NEVER = 7 * 86400.0
Counts = dict[str, int]


def _contacts(rng: random.Random, count: int) -> list[Contact]:
    return [Contact.of(rng.randbytes(32), Endpoint.of(bytes((10, 0, n >> 8, n & 0xFF)), 8118)) for n in range(count)]


def codec() -> Counts:
    """The hot messages, there and back."""
    rng = random.Random(SEED)
    word = rng.randbytes(32)
    row = Record(Key(word), Kind.LEASE, 1, PublisherKey(word), 1, 2, 3, word * 2).row()
    contacts = tuple(_contacts(rng, 20))
    value = rng.randbytes(100)
    messages: dict[str, Message] = {
        "Ping": Ping(),
        "Pong": Pong(contacts[0].endpoint, 1),
        "FindNode": FindNode(NodeId(word)),
        "FindValue": FindValue(Key(word)),
        "NodeList": NodeList(contacts),
        "Value": Value(value, records=(row,)),
        "Value with contacts": Value(None, contacts),
        "Store": Store(StoreKind.PUBLISH, None, value, (row,)),
        "StoreResult": StoreResult(StoreStatus.STORED, Durability.SYSTEM),
        "StoreResult with contacts": StoreResult(StoreStatus.STORED, Durability.SYSTEM, contacts=contacts),
    }
    wire = Codec()
    counts: Counts = {}
    for name, message in messages.items():

        def note(calls: int, name: str = name) -> None:
            counts[f"codec, {name}: calls"] = calls

        with counted(note):
            inner = wire.encode(70_000, message, 0)
            wire.decode_untrusted(inner)
        counts[f"codec, {name}: bytes"] = len(inner)
    return counts


def routing_table() -> Counts:
    """A thousand answers, then a hundred questions for the closest."""
    rng = random.Random(SEED)
    table = RoutingTable(NodeId(rng.randbytes(32)), 20)
    contacts = _contacts(rng, 1000)
    targets = [rng.randbytes(32) for _ in range(100)]
    counts: Counts = {}
    with counted(lambda calls: counts.update({"routing table, 1000 answers: calls": calls})):
        for now, contact in enumerate(contacts):
            table.on_answer(contact, float(now))
    with counted(lambda calls: counts.update({"routing table, 100 closest: calls": calls})):
        for target in targets:
            table.closest(target)
    return counts


@attrs.frozen
class _Network:
    """One run of one network, told what to count."""

    nodes: int
    operations: int
    config: Config = attrs.field(factory=Config)
    counts: Counts = attrs.field(factory=dict)
    trace: Trace = attrs.field(factory=lambda: Trace(None))

    def run(self, story: Callable[[World], Awaitable[None]]) -> Counts:
        async def main() -> None:
            network = MemoryNetwork(seed=SEED, observer=self.trace.on_packet)
            async with trio.open_nursery() as nursery:
                await nursery.start(network.run)
                async with trio.open_nursery() as lives:
                    world = World(
                        seed=SEED,
                        config=self.config,
                        network=network,
                        trace=self.trace,
                        progress=Progress(),
                        nursery=lives,
                    )
                    await story(world)
                    await world.crash_all(world.up)
                nursery.cancel_scope.cancel()

        run_virtually(main, SEED)
        return self.counts

    async def users(self, world: World) -> None:
        """What a network costs that grows, rests and is used."""
        with self._counted(f"join of {self.nodes}"):
            machines = await world.settle(self.nodes)
            await trio.sleep(30.0)
        with self._counted(f"{REST:.0f} s at rest"):
            await trio.sleep(REST)
        with self._counted(f"{self.operations} puts"):
            keys = await self._put(world, machines)
        with self._counted(f"{self.operations} gets"):
            for number, key in enumerate(keys):
                await world.users.get(key, at=machines[(number + 7) % self.nodes])
                await trio.sleep(PAUSE)
            await trio.sleep(AFTERWARDS)
        with self._counted(f"{self.operations} lookups of what nobody has"):
            for number in range(self.operations):
                await world.users.get(Key.of(b"nobody has %d" % number), at=machines[number])
                await trio.sleep(PAUSE)
            await trio.sleep(AFTERWARDS)

    async def rounds(self, world: World) -> None:
        """Some intervals in which all nodes make their rounds, and find that all holders have the same."""
        await self._put(world, await world.settle(self.nodes))
        # The first rounds: sessions with all other holders, and what the puts have left undone.
        await trio.sleep(4 * REPLICATE_INTERVAL)
        with self._counted(f"{INTERVALS} rounds of replication over {self.operations} healthy keys"):
            await trio.sleep(INTERVALS * REPLICATE_INTERVAL)

    async def renewals(self, world: World) -> None:
        """Half a life passes, and for each key the holder whose turn is first renews."""
        machines = await world.settle(self.nodes)
        await trio.sleep(60.0)
        began = trio.current_time()
        await self._put(world, machines)
        await trio.sleep_until(began + LEASE / 2 - 1.0)
        with self._counted(f"{self.operations} renewals"):
            await trio.sleep(self.operations * PAUSE + 2 * AFTERWARDS)

    async def _put(self, world: World, machines: list[Machine]) -> list[Key]:
        keys: list[Key] = []
        for number in range(self.operations):
            operation = await world.users.put(at=machines[number])
            assert operation is not None
            keys.append(operation.key)
            await trio.sleep(PAUSE)
        await trio.sleep(AFTERWARDS)
        return keys

    def _counted(self, name: str) -> _Region:
        return _Region(self, name)


@attrs.define
class _Region:
    network: _Network
    name: str
    messages: int = 0
    bytes: int = 0
    calls: Calls = attrs.field(factory=Calls)

    def __enter__(self) -> None:
        self.messages, self.bytes = self.network.trace.messages, self.network.trace.bytes_received
        self.calls.start()

    def __exit__(self, *raised: object) -> None:
        self.calls.stop()
        self.network.counts[f"{self.name}: calls"] = self.calls.count
        trace = self.network.trace
        self.network.counts[f"{self.name}: messages"] = trace.messages - self.messages
        self.network.counts[f"{self.name}: bytes"] = trace.bytes_received - self.bytes


def network(nodes: int = NODES, operations: int = OPERATIONS) -> Counts:
    """Joins, puts, gets and lookups of real nodes."""
    run = _Network(nodes, operations)
    return run.run(run.users)


def upkeep(nodes: int = NODES, operations: int = OPERATIONS) -> Counts:
    """What real nodes do unasked about values that all of their holders have."""
    table = Kademlia(refresh_interval=NEVER)
    of_rounds = Config(kademlia=table, records=Records(replicate_interval=REPLICATE_INTERVAL))
    of_renewals = Config(kademlia=table, records=Records(replicate_interval=NEVER, lease=LEASE))
    rounds, renewals = _Network(nodes, operations, of_rounds), _Network(nodes, operations, of_renewals)
    return {**rounds.run(rounds.rounds), **renewals.run(renewals.renewals)}


def all_counts() -> Counts:
    """Every figure. What is made once in a process (imports, caches) is made before, and so not counted."""
    codec()
    network(nodes=5, operations=2)
    upkeep(nodes=5, operations=2)
    return {**codec(), **routing_table(), **network(), **upkeep()}
