"""`python -m benchmarks.commits`: what a write costs a node's storage, on the processor and in blocks to the disk.

Rules of this file: the storage is the real one, in a process of its own, driven one write at a time: back to back, and
as a node of a quiet network has them, some 20 a second, where a wake-up of the event loop and cold caches are counted
too. `--storage memory` shows what of it is not the database's. Nothing is judged: compare two checkouts in turns.
"""

from __future__ import annotations

import argparse
import random
import resource
import tempfile
import time
from pathlib import Path

import trio

from benchmarks.growth import entry, write
from camomile_trio.storage.base import Storage
from camomile_trio.storage.memory import MemoryStorage
from camomile_trio.storage.sqlite import open_sqlite
from tools.arguments import amount, whole

FILLED = 2000
SETTLED = 1.2  # seconds until what was filled in, or written last, has been synced


async def measure(storage: Storage, *, writes: int, per_second: float) -> None:
    """`per_second` 0: back to back."""
    rng, now = random.Random(writes), time.time_ns() // 1_000_000
    async with trio.open_nursery() as nursery:
        await nursery.start(storage.run)
        await write(storage, [entry(rng, now) for _ in range(FILLED)])
        await trio.sleep(SETTLED)
        fresh = [entry(rng, now) for _ in range(writes)]
        before = resource.getrusage(resource.RUSAGE_SELF)
        for each in fresh:
            if per_second:
                await trio.sleep(rng.expovariate(per_second))
            await write(storage, [each])
        await trio.sleep(SETTLED)
        after = resource.getrusage(resource.RUSAGE_SELF)
        nursery.cancel_scope.cancel()
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    blocks = (after.ru_oublock - before.ru_oublock) / writes
    print(f"{1e6 * seconds / writes:.0f} µs of processor and {blocks:.1f} blocks of 512 bytes to the disk per write")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.commits", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--writes", type=whole(1, 1_000_000), default=400)
    parser.add_argument("--per-second", type=amount(0, 1_000_000), default=20.0, help="0 for back to back (default 20)")
    parser.add_argument("--storage", choices=("sqlite", "memory"), default="sqlite")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="commits-", dir=".") as directory:
        storage: Storage = (
            MemoryStorage(max_bytes=2**40)
            if chosen.storage == "memory"
            else open_sqlite(Path(directory), sync="os", max_bytes=2**40)
        )
        try:
            trio.run(lambda: measure(storage, writes=chosen.writes, per_second=chosen.per_second))
        finally:
            storage.close()


if __name__ == "__main__":
    main()
