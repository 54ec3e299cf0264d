"""Everything that a node keeps stays within its bound, and nothing is left behind when it ends.

Rules of this file: the bounds are those of docs/architecture.md, with the settings and constants named there. What a
node keeps is read in its statistics, as an operator reads them, and in what its machine gave to it.
"""

from __future__ import annotations

from collections.abc import Iterator

import trio

from camomile_trio.errors import StorageError
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.registers import RULES
from camomile_trio.operations.results import Statistics
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.properties.base import Looking, Round, running
from camomile_trio.simulation.world import World
from camomile_trio.storage.tally import MAX_PENDING_WRITES, REGISTER_BYTES

MACHINES_A_LOOK = 5
KEYS_OF_EACH = 4
DOWN_A_LOOK = 100
SLACK = 1.0  # s
# The rule's own number: streams that a node begins at once.
STREAMS_AT_ONCE = 64
# For a minute a change of network keys has two timers more: the second round's, and that of the next renewal.
# The three steps of a change may come within a minute.
RENEWAL_TIMERS = 3 * 2

# What is bounded, how much of it there is, and how much there may be.
Load = tuple[str, float, float]


class Bounds(Looking):
    """Looks at `MACHINES_A_LOOK` machines, and at the registers of `KEYS_OF_EACH` keys of each."""

    name = "everything stays within its bounds"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._machines: Round[Machine] = Round()
        self._after: dict[int, Key | None] = {}

    def look(self) -> None:
        for machine in self._machines.take(running(self.world), MACHINES_A_LOOK):
            loads = [*_of_table(machine), *self._of_queues(machine)]
            try:
                loads += [*_of_stores(machine), *self._of_registers(machine)]
            except StorageError:
                # Its disk fails; that is for others to judge.
                pass
            for what, seen, most in loads:
                if seen > most:
                    self.world.violated(self.name, f"{what}: {most:g} at most", f"{seen:g}", machine)

    def _of_queues(self, machine: Machine) -> Iterator[Load]:
        assert machine.node is not None
        requests, gauges = machine.config.requests, machine.node.statistics().gauges
        yield "peers remembered", gauges["peers_remembered", ()], 2 * requests.max_peers
        yield "requests under way", gauges["requests_pending", ()], requests.max_pending
        yield "operations under way", gauges["operations_under_way", ()], requests.max_operations
        yield "bytes cached", gauges["cached_bytes", ()], machine.config.records.max_cache
        streams = machine.traffic.stream_connections
        yield "streams", streams, STREAMS_AT_ONCE + self.world.network.max_streams

    def _of_registers(self, machine: Machine) -> Iterator[Load]:
        keys = machine.storage.keys(self._after.get(machine.number), KEYS_OF_EACH)
        self._after[machine.number] = keys[-1] if keys else None
        for key in keys:
            state = machine.storage.read(key)
            if state is not None:
                places = sum(register.is_live(machine.clock()) for register in state.registers)
                yield "publishers of a key", places, RULES.max_publishers
                publishers = sum(register.had_lease for register in state.registers)
                yield "publishers of a key that are remembered", publishers, 2 * RULES.max_remembered
                unseen = len(state.registers) - publishers
                yield "tombstones of publishers never seen", unseen, RULES.max_unseen_tombstones


def _of_table(machine: Machine) -> Iterator[Load]:
    k = machine.config.kademlia.k
    members = 0
    ids: dict[bytes, None] = {}
    for bucket in machine.table.buckets():
        members += len(bucket.contacts)
        ids.update((contact.id, None) for contact in bucket.contacts)
        yield f"members of bucket {bucket.index}", len(bucket.contacts), k
        yield f"replacements of bucket {bucket.index}", len(bucket.replacements), k
    yield "members of one id", members - len(ids) + 1, 1
    yield "itself in its table", machine.id in ids, 0


def _of_stores(machine: Machine) -> Iterator[Load]:
    stored = machine.storage.statistics
    yield "writes not committed", stored.pending, MAX_PENDING_WRITES
    if stored.bytes > stored.max_bytes:
        # Beyond it go tombstones alone, for keys that are there.
        yield "bytes stored, tombstones left out", stored.bytes - _of_tombstones(machine), stored.max_bytes


def _of_tombstones(machine: Machine) -> int:
    after: Key | None = None
    count = 0
    while page := machine.storage.keys(after, 1000):
        after = page[-1]
        for state in machine.storage.read_all(page).values():
            count += sum(register.record.is_tombstone for register in state.registers)
    return count * REGISTER_BYTES


class LeftBehind(Looking):
    """Nothing is left behind: no request beyond its time, no task of a node that has ended, no address of a dead
    machine.

    Looks at the requests of `MACHINES_A_LOOK` machines, and at the addresses of `DOWN_A_LOOK` that are down. A request
    ends at its deadline (over a stream, that of the stream comes on top), whatever the other side does: so no more are
    under way than were begun so long ago at most. Of timers a request has three: its own, its stream's, its hedge's.
    The renewal of sessions after a change of network keys has a few.
    """

    name = "nothing is left behind"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._machines: Round[Machine] = Round()
        self._down: Round[Machine] = Round()
        # Of each machine's life: when, and how many requests it had begun, at two earlier looks.
        self._begun: dict[tuple[int, int], tuple[tuple[float, float], tuple[float, float]]] = {}

    def look(self) -> None:
        for machine in self._machines.take(running(self.world), MACHINES_A_LOOK):
            self._look_at(machine)
        for machine in self._down.take(self.world.down, DOWN_A_LOOK):
            self._look_for(machine)

    def after_end(self) -> None:
        for machine in self.world.machines:
            self._look_for(machine)
        tasks = [name for name in tasks_below(trio.lowlevel.current_task()) if ".node." in name or ".storage." in name]
        if tasks:
            self.world.violated(self.name, "no task of a node after the end", f"{len(tasks)}: {sorted(tasks)[:5]}")

    def _look_for(self, machine: Machine) -> None:
        if self.world.network.is_open(machine.endpoint):
            self.world.violated(self.name, "nobody at the address of a machine that is down", "its transport", machine)

    def _look_at(self, machine: Machine) -> None:
        assert machine.node is not None
        settings, statistics = machine.config.requests, machine.node.statistics()
        now, begun, place = self.world.now, _begun(statistics), (machine.number, machine.lives)
        old, young = self._begun.get(place, ((now, 0.0), (now, 0.0)))
        if now - young[0] > settings.deadline + settings.stream_deadline + SLACK:
            old, young = young, (now, begun)
        self._begun[place] = old, young
        requests = begun - old[1]
        timers = 3 * requests + (RENEWAL_TIMERS if machine.config.network_key is not None else 0)
        for what, most in (("requests_pending", requests), ("deadlines_pending", timers)):
            seen = statistics.gauges[what, ()]
            if seen > most:
                expected = f"{what}: {most:g} at most, of {requests:g} requests begun since {old[0]:.1f} s"
                self.world.violated(self.name, expected, f"{seen:g}", machine)


def _begun(statistics: Statistics) -> float:
    """Requests since the start. Those of handshakes count too: they may bring a ping of their own."""
    begun = ("rpc_requests_total", "handshakes_begun_total")
    return sum(count for (name, _), count in statistics.counters.items() if name in begun)


def tasks_below(task: trio.lowlevel.Task) -> list[str]:
    """The names of all tasks in the nurseries of a task, and in theirs."""
    names: list[str] = []
    waiting = [task]
    while waiting:
        for nursery in waiting.pop().child_nurseries:
            children = sorted(nursery.child_tasks, key=lambda child: child.name)
            names += [child.name for child in children]
            waiting += children
    return names
