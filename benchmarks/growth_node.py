"""A whole node on a filled data directory: its start, and the first seconds after it. One process; prints JSON.

Rules of this file: it stands alone, so that nothing but its own records costs anything.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import trio

from camomile_trio import Config, open_node
from camomile_trio.config import StorageConfig

WATCHED = 10.0


async def start(directory: Path) -> dict[str, float]:
    config = Config(first=True, storage=StorageConfig(data_dir=directory, max_storage=2**40))
    began, cpu = time.perf_counter(), time.process_time()
    async with open_node(config) as node:
        await node.wait_ready()
        ready = time.perf_counter() - began
        await trio.sleep(WATCHED)
        spent = time.process_time() - cpu
    return {"node ready": ready, "node, processor in its first 10 s": spent}


if __name__ == "__main__":
    print(json.dumps(trio.run(start, Path(sys.argv[1]))))
