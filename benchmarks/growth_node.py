"""A whole node on a filled data directory: its start, and the first seconds after it. One process; prints JSON.

Rules of this file: it stands alone, so that nothing but its own records costs anything. What its tasks do to others
shows as lateness of a tick.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import trio

from benchmarks.processes import parse_memory
from camomile_trio import Config, open_node
from camomile_trio.config import StorageConfig

WATCHED = 10.0
TICK = 0.02


def resident() -> float:
    """Bytes of this process in memory."""
    return float(parse_memory(Path("/proc/self/smaps_rollup").read_text(encoding="ascii")).rss)


async def start(directory: Path) -> dict[str, float]:
    config = Config(first=True, storage=StorageConfig(data_dir=directory, max_storage=2**40))
    began, cpu = time.perf_counter(), time.process_time()
    async with open_node(config) as node:
        await node.wait_ready()
        ready, latest = time.perf_counter() - began, 0.0
        until = trio.current_time() + WATCHED
        while (now := trio.current_time()) < until:
            await trio.sleep(TICK)
            latest = max(latest, trio.current_time() - now - TICK)
        spent = time.process_time() - cpu
        memory = resident()
    return {"node/ready": ready, "node/CPU of 10 s": spent, "node/latest tick": latest, "node/memory": memory}


if __name__ == "__main__":
    print(json.dumps(trio.run(start, Path(sys.argv[1]))))
