"""`python -m benchmarks.rest`: what a network that nobody uses costs, by the hour: messages, bytes, seconds of CPU.

Rules of this file: real nodes in virtual time, in a network that is laid out as a long and quiet life would have left
it. Nothing is put over the wire: each record lies where it belongs, is leased for a day since some moment of the last
half day, and was published by some node, so that replication, renewals and expiry have what they have every day.
Counted is what nodes do from the second interval on. Messages and bytes follow from the seed; CPU is this process's,
so the simulated network, in the place of the system's, is in it.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import cast

import attrs
import trio

from benchmarks.virtual import run_virtually
from camomile_trio.config import Config, Records
from camomile_trio.identity import network_id, sign_record
from camomile_trio.kademlia import leases, registers
from camomile_trio.kademlia.ids import Key, closest
from camomile_trio.kademlia.records import RENEWABLE, Kind, Record
from camomile_trio.kademlia.registers import KeyState, Register
from camomile_trio.simulation.disk import SimulatedDisk
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.network import MemoryNetwork
from camomile_trio.simulation.outcome import Progress
from camomile_trio.simulation.trace import Trace
from camomile_trio.simulation.world import World
from camomile_trio.storage.base import Timetable
from camomile_trio.storage.sqlite import SqliteStorage, open_sqlite
from tools.arguments import amount, whole

SEED = 1
HOUR = 3600.0
VALUE_BYTES = 100
# Records handed over before all their writes are waited for.
LAID_AT_ONCE = 256


@attrs.frozen
class AtRest:
    """What one hour cost on average, all nodes together."""

    nodes: int
    records: int
    messages: float
    bytes: float
    cpu: float  # s
    requests: dict[str, float]
    copies: float  # of a record, at the end

    @property
    def share_of_a_core(self) -> float:
        return self.cpu / HOUR


@attrs.define
class _SqliteDisk:
    """A directory instead of a simulated disk, so that reads and commits cost what they cost."""

    directory: Path
    max_bytes: int

    def open(self) -> SqliteStorage:
        return open_sqlite(self.directory, sync="os", max_bytes=self.max_bytes)

    def crash(self) -> None:
        """At the end of the run; nobody comes back to it."""


class _World(World):
    """Whose machines may keep their records in real databases."""

    directory: Path | None = None

    def new_machine(self, **about: object) -> Machine:
        machine = super().new_machine(**about)  # type: ignore[arg-type]
        if self.directory is not None:
            disk = _SqliteDisk(self.directory / str(machine.number), machine.config.storage.max_storage)
            machine.disk = cast("SimulatedDisk", disk)
        return machine


@attrs.define
class _Run:
    nodes: int
    records: int
    hours: float
    directory: Path | None
    trace: Trace = attrs.field(factory=lambda: Trace(None))
    result: AtRest | None = None

    async def main(self) -> None:
        network = MemoryNetwork(seed=SEED, observer=self.trace.on_packet)
        config = Config(records=Records(replicate_interval=HOUR))
        async with trio.open_nursery() as nursery:
            await nursery.start(network.run)
            async with trio.open_nursery() as lives:
                world = _World(
                    seed=SEED, config=config, network=network, trace=self.trace, progress=Progress(), nursery=lives
                )
                world.directory = self.directory
                machines = await world.settle_warm(self.nodes)
                keys = await lay_records(world, machines, self.records)
                # Everything was due at the first: from then on it is as it always is.
                await trio.sleep(1.5 * HOUR)
                await self._measure(machines, keys)
                await world.crash_all(world.up)
            nursery.cancel_scope.cancel()

    async def _measure(self, machines: list[Machine], keys: list[Key]) -> None:
        trace = self.trace
        before = _requests(machines)
        messages, size, cpu = trace.messages, trace.bytes_received, time.process_time()
        await trio.sleep(self.hours * HOUR)
        used = time.process_time() - cpu
        requests = _requests(machines)
        requests.subtract(before)
        self.result = AtRest(
            nodes=self.nodes,
            records=self.records,
            messages=(trace.messages - messages) / self.hours,
            bytes=(trace.bytes_received - size) / self.hours,
            cpu=used / self.hours,
            requests={kind: count / self.hours for kind, count in requests.most_common()},
            copies=sum(_copies(machines, key) for key in keys) / max(len(keys), 1),
        )


async def lay_records(world: World, machines: list[Machine], count: int) -> list[Key]:
    """Puts `count` records where they belong, and one copy more where each was published."""
    rng = random.Random(SEED)
    by_id = {bytes(each.id): each for each in machines}
    half_life = int(world.config.records.lease * 500)
    now = machines[0].clock()
    keys: list[Key] = []
    under_way, are_done = 0, trio.Event()

    def done(*outcome: object) -> None:
        nonlocal under_way
        under_way -= 1
        if not under_way:
            are_done.set()

    for number in range(count):
        value = rng.randbytes(VALUE_BYTES)
        key = Key.of(value)
        issued = now - rng.randrange(half_life)
        publisher = rng.choice(machines)
        unsigned = Record(key, Kind.LEASE, RENEWABLE, world.publisher.public, issued, issued, issued + 2 * half_life)
        record = sign_record(unsigned, world.publisher, network_id(world.config.network))
        register = Register(record, record.expires, had_lease=True)
        holders = {by_id[each].number: by_id[each] for each in closest(key, by_id, world.config.kademlia.k)}
        for machine in ({publisher.number: publisher} | holders).values():
            state = KeyState(key, len(value), (register,), published=machine is publisher)
            due = registers.due(state, now=now, uptime=0)
            rank, k = machine.table.rank(key), machine.table.k
            renew = leases.renewal_due(record, rank=rank, published_here=state.published, k=k)
            timetable = Timetable(due=due, renew=renew if rank < k or state.published else 0)
            machine.storage.write(None, state, timetable, value=value, done=done)
            under_way += 1
        keys.append(key)
        if (number + 1) % LAID_AT_ONCE == 0:
            await are_done.wait()
            are_done = trio.Event()
    return keys


def _requests(machines: list[Machine]) -> Counter[str]:
    total: Counter[str] = Counter()
    for machine in machines:
        assert machine.node is not None
        for (name, labels), count in machine.node.statistics().counters.items():
            if name == "rpc_requests_total":
                total[labels[0][1]] += int(count)
    return total


def _copies(machines: list[Machine], key: Key) -> int:
    return sum(machine.holds(key) for machine in machines)


def measure(*, nodes: int = 50, records: int, hours: float = 2.0, directory: Path | None = None) -> AtRest:
    """One network at rest. `directory`: where its databases are made; None: disks are simulated."""
    run = _Run(nodes, records, hours, directory)
    run_virtually(run.main, SEED)
    assert run.result is not None
    return run.result


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.rest", description=__doc__)
    parser.add_argument("--nodes", type=whole(2, 500), default=50)
    parser.add_argument("--records", type=whole(1, 1_000_000), nargs="+", default=[1000, 5000])
    parser.add_argument("--hours", type=amount(0.1, 1000), default=2.0, help="virtual, that are measured")
    parser.add_argument("--sqlite", metavar="DIR", type=Path, help="real databases, in directories made below DIR")
    chosen = parser.parse_args()
    if chosen.sqlite is not None and not chosen.sqlite.is_dir():
        parser.error(f"--sqlite: {chosen.sqlite} is no directory")
    print("an hour, all nodes together; messages and bytes are of datagrams, without headers of UDP and IP")
    for records in chosen.records:
        with tempfile.TemporaryDirectory(prefix="rest-", dir=chosen.sqlite) as made:
            directory = Path(made) if chosen.sqlite is not None else None
            found = measure(nodes=chosen.nodes, records=records, hours=chosen.hours, directory=directory)
        kinds = ", ".join(f"{kind} {count:.0f}" for kind, count in found.requests.items() if count >= 0.5)
        print(
            f"{records} records on {found.nodes} nodes: {found.messages:.0f} messages, {found.bytes / 1e6:.2f} MB, "
            f"{found.cpu:.2f} s of CPU, {found.share_of_a_core:.2%} of a core; a record: "
            f"{found.messages / records:.1f} messages, {found.bytes / records:.0f} bytes, "
            f"{found.cpu / records * 1e6:.0f} µs, {found.copies:.1f} copies; requests: {kinds}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
