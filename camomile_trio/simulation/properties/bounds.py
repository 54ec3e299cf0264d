"""Everything that a node keeps stays within its bound.

Rules of this file: the bounds are those of docs/architecture.md, with the settings and constants named there; what a
node counts publicly is read there, all else in `inside.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

from camomile_trio.errors import StorageError
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.registers import RULES
from camomile_trio.node.holdings import MAX_NEWS
from camomile_trio.node.maintenance import MAX_NEWCOMERS
from camomile_trio.node.node import Node
from camomile_trio.node.rpc import STREAMS_AT_ONCE
from camomile_trio.node.verdicts import MAX_UNJUDGED
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.properties import inside
from camomile_trio.simulation.properties.looking import Looking, Round, running
from camomile_trio.simulation.world import World
from camomile_trio.storage.tally import MAX_PENDING_WRITES, REGISTER_BYTES

MACHINES_A_LOOK = 30
KEYS_OF_EACH = 4
# How long ago the requests counted in the bound of the deadlines may have begun: their deadline, and a moment.
MOMENT = 0.5

# What is bounded, how much of it there is, and how much there may be.
Load = tuple[str, float, float]


class Bounds(Looking):
    """Looks at `MACHINES_A_LOOK` machines, and at the registers of `KEYS_OF_EACH` keys of each."""

    name = "everything stays within its bounds"

    def __init__(self) -> None:
        self._machines: Round[Machine] = Round()
        self._after: dict[int, Key | None] = {}
        # Of each machine's life: when, and how many requests it had made, at two earlier looks.
        self._made: dict[tuple[int, int], tuple[tuple[float, int], tuple[float, int]]] = {}

    def look(self, world: World) -> None:
        for machine in self._machines.take(running(world), MACHINES_A_LOOK):
            assert machine.node is not None
            loads = [*_of_tables(machine.node), *_of_queues(world, machine.node), self._of_deadlines(world, machine)]
            try:
                loads += [*_of_stores(machine.node), *self._of_registers(machine)]
            except StorageError:
                # Its disk fails; that is for others to judge.
                pass
            for what, seen, most in loads:
                if seen > most:
                    world.violated(self.name, f"{what}: {most:g} at most", f"{seen:g}", machine)

    def _of_deadlines(self, world: World, machine: Machine) -> Load:
        """Three for each request of the last `deadline` seconds: its own, its stream's, and its hedge's."""
        assert machine.node is not None
        core, place = machine.node.core, (machine.number, machine.lives)
        now, made = world.now, core.rpc.statistics.requests.total()
        old, young = self._made.get(place, ((now, 0), (now, 0)))
        if now - young[0] > core.config.requests.deadline + MOMENT:
            old, young = young, (now, made)
        self._made[place] = old, young
        return "deadlines", len(core.rpc.deadlines), 3 * (made - old[1])

    def _of_registers(self, machine: Machine) -> Iterator[Load]:
        assert machine.node is not None
        storage = machine.node.core.storage
        keys = storage.keys(self._after.get(machine.number), KEYS_OF_EACH)
        self._after[machine.number] = keys[-1] if keys else None
        for key in keys:
            state = storage.read(key)
            if state is not None:
                publishers = sum(register.had_lease for register in state.registers)
                yield "publishers of a key", publishers, RULES.max_publishers
                unseen = len(state.registers) - publishers
                yield "tombstones of publishers never seen", unseen, RULES.max_unseen_tombstones


def _of_tables(node: Node) -> Iterator[Load]:
    core = node.core
    k = core.config.kademlia.k
    members = 0
    ids: dict[bytes, None] = {}
    for bucket in core.table.buckets():
        members += len(bucket.contacts)
        ids.update((contact.id, None) for contact in bucket.contacts)
        yield f"members of bucket {bucket.index}", len(bucket.contacts), k
        yield f"replacements of bucket {bucket.index}", len(bucket.replacements), k
    yield "members of one id", members - len(ids) + 1, 1
    yield "itself in its table", core.id in ids, 0
    yield "peers remembered", len(core.rpc.peers), 2 * core.config.requests.max_peers


def _of_queues(world: World, node: Node) -> Iterator[Load]:
    core = node.core
    requests = core.config.requests
    yield "requests under way", core.rpc.pending, requests.max_pending
    yield "operations under way", inside.operations_under_way(node), requests.max_operations
    yield "failures not judged", inside.unjudged(core), MAX_UNJUDGED
    yield "news", inside.news(core), MAX_NEWS
    yield "newcomers", inside.newcomers(node), MAX_NEWCOMERS
    streams = core.rpc.transport.statistics.stream_connections
    yield "streams", streams, STREAMS_AT_ONCE + world.network.max_streams


def _of_stores(node: Node) -> Iterator[Load]:
    core = node.core
    stored = core.storage.statistics
    yield "bytes cached", core.holdings.cache.bytes, core.config.records.max_cache
    yield "writes not committed", stored.pending, MAX_PENDING_WRITES
    if stored.bytes > stored.max_bytes:
        # Beyond it go tombstones alone, for keys that are there.
        yield "bytes stored, tombstones left out", stored.bytes - _of_tombstones(node), stored.max_bytes


def _of_tombstones(node: Node) -> int:
    storage = node.core.storage
    after: Key | None = None
    count = 0
    while page := storage.keys(after, 1000):
        after = page[-1]
        for key in page:
            state = storage.read(key)
            if state is not None:
                count += sum(register.record.is_tombstone for register in state.registers)
    return count * REGISTER_BYTES
