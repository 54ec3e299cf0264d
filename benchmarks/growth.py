"""`make bench-growth`: what a node's storage costs as it fills, from ten thousand records to a million.

Rules of this file: the storage is the real one, driven as a node drives it; only signatures are invented, which no
storage looks at. Each size is measured in a process of its own, on the database that the size before has left. Figures
are medians of single operations, one at a time, commit included, on the disk of the checkout. docs/performance.md has
them; nothing is judged here.
"""

from __future__ import annotations

import argparse
import functools
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median

import trio
from rich.console import Console
from rich.table import Table

from camomile_trio.errors import StorageError
from camomile_trio.holding.holdings import NOBODY_SLEEPS, SLEEPERS
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import Durability
from camomile_trio.kademlia.records import RENEWABLE, Kind, PublisherKey, Record
from camomile_trio.kademlia.registers import KeyState, Register
from camomile_trio.storage.base import Storage, Timetable
from camomile_trio.storage.sqlite import SqliteStorage, open_sqlite
from tools.arguments import whole

BUILD = Path("build")
SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
VALUE_BYTES = 100
DAY = 24 * 3_600_000
OPERATIONS = 2000  # of each kind that is timed
FILLED_AT_ONCE = 1000
START_PATIENCE = 120.0

Figures = dict[str, float]


def entry(rng: random.Random, now: int) -> tuple[KeyState, Timetable, bytes]:
    """A value as a holder has it, under one lease that ends some time within the day."""
    value = rng.randbytes(VALUE_BYTES)
    key = Key.of(value)
    expires = now + rng.randrange(DAY // 2, DAY)
    record = Record(key, Kind.LEASE, RENEWABLE, PublisherKey(bytes(32)), now, now, expires, rng.randbytes(64))
    return KeyState(key, VALUE_BYTES, (Register(record, expires, had_lease=True),)), Timetable(due=expires), value


async def write(storage: Storage, entries: Sequence[tuple[KeyState, Timetable, bytes]]) -> None:
    """Hands them over together, and waits until all are committed."""
    committed = trio.Event()
    left = len(entries)

    def done(outcome: Durability | StorageError) -> None:
        nonlocal left
        if isinstance(outcome, StorageError):
            raise outcome
        left -= 1
        if not left:
            committed.set()

    for state, timetable, value in entries:
        storage.write(None, state, timetable, value=value, done=done)
    await committed.wait()


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


async def fill(storage: SqliteStorage, rng: random.Random, records: int) -> None:
    """Up to so many."""
    now = time.time_ns() // 1_000_000
    async with trio.open_nursery() as nursery:
        await nursery.start(storage.run)
        while (missing := records - storage.statistics.keys) > 0:
            await write(storage, [entry(rng, now) for _ in range(min(missing, FILLED_AT_ONCE))])
        # What the first start of a node on these records would find out, and note for the next ones.
        storage.set_note(SLEEPERS, NOBODY_SLEEPS)
        nursery.cancel_scope.cancel()


async def operate(storage: SqliteStorage, rng: random.Random, figures: Figures) -> None:
    """Measures single operations."""
    now = time.time_ns() // 1_000_000
    async with trio.open_nursery() as nursery:
        await nursery.start(storage.run)
        present = some_keys(storage, rng)
        puts = []
        for _ in range(OPERATIONS):
            fresh = [entry(rng, now)]
            began = time.perf_counter()
            await write(storage, fresh)
            puts.append(time.perf_counter() - began)
        figures["put"] = median(puts)
        figures["get"] = median(timed(functools.partial(_read_all, storage, key)) for key in present)
        absent = [Key(rng.randbytes(32)) for _ in range(OPERATIONS)]
        figures["get of nothing"] = median(timed(functools.partial(storage.read, key)) for key in absent)
        # What maintenance asks at every turn of its timers.
        figures["next due"] = median(timed(storage.next_due) for _ in range(50))
        nursery.cancel_scope.cancel()


def _read_all(storage: Storage, key: Key) -> None:
    storage.read(key)
    storage.value(key)


def some_keys(storage: Storage, rng: random.Random) -> list[Key]:
    """Stored keys from all over, each the first behind a random place; none twice in a row."""
    found = [storage.keys(Key(rng.randbytes(32)), 1) for _ in range(OPERATIONS)]
    return [keys[0] for keys in found if keys]


def measure(directory: Path, records: int) -> Figures:
    """The figures of one size, in this process."""
    figures: Figures = {"records": records}
    rng = random.Random(records)
    with closing(open_sqlite(directory, sync="os", max_bytes=2**40)) as storage:
        trio.run(fill, storage, rng, records - OPERATIONS)
    with closing(open_sqlite(directory, sync="os", max_bytes=2**40)) as storage:
        trio.run(operate, storage, rng, figures)
    figures["bytes on disk"] = float(sum(each.stat().st_size for each in directory.iterdir()))
    opening = []
    for _ in range(5):
        began = time.perf_counter()
        again = open_sqlite(directory, sync="os", max_bytes=2**40)
        opening.append(time.perf_counter() - began)
        again.close()
    figures["open the storage"] = median(opening)
    figures.update(started(directory))
    return figures


def started(directory: Path) -> Figures:
    """A whole node on that directory: until it is ready, and what it has spent a while later."""
    command = [sys.executable, "-m", "benchmarks.growth_node", str(directory)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=START_PATIENCE)
    found: Figures = json.loads(said.stdout)
    return found


def show(measured: Sequence[Figures], console: Console) -> None:
    table = Table("figure", *(f"{int(each['records']):,}" for each in measured), title="By records")
    for name in measured[0]:
        if name != "records":
            table.add_row(name, *(amount(name, each[name]) for each in measured))
    console.print(table)


def amount(name: str, value: float) -> str:
    if "bytes" in name:
        return f"{value / 1e6:.1f} MB"
    return f"{value * 1e3:.3f} ms"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.growth", description=__doc__)
    parser.add_argument("--most", type=whole(1, 100_000_000), default=SIZES[-1], help="records to grow to")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.one:
        print(json.dumps(measure(chosen.directory, chosen.one)))
        return 0
    BUILD.mkdir(exist_ok=True)
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    measured: list[Figures] = []
    with tempfile.TemporaryDirectory(prefix="growth-", dir=BUILD) as directory:
        for records in SIZES:
            if records <= chosen.most:
                command = [sys.executable, "-m", "benchmarks.growth", "--one", str(records), "--directory", directory]
                said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                measured.append(json.loads(said.stdout))
                console.print(f"{records:,} records measured")
    show(measured, console)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
