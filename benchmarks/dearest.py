"""`python -m benchmarks.dearest`: the lines that take most of the processor's time of puts, or of first gets.

Rules of this file: whole nodes in one process, each with its SQLite, over UDP on loopback; no HTTP. Every few ms of
processor time (setitimer(2), ITIMER_PROF) the line that runs is noted. What a line calls in C is its own, what it calls
in Python is not. Only what the operations do is noted, not the start. Unlike a profiler that counts calls this makes
nothing slower than it is; but one process has warmer caches than fifty, so shares are worth more than times.
"""

from __future__ import annotations

import argparse
import importlib
import linecache
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from types import FrameType

import attrs
import trio

from camomile_trio import Config, Key, Node, Records, StorageConfig, open_node
from camomile_trio.cli.garbage import imports_for_good
from camomile_trio.kademlia.ids import closest
from tools.arguments import whole

EVERY = 0.001  # s of processor time, or as often as the kernel's clock ticks
SETTLED_AFTER = 8.0
WRITER, READER = 1, 2
COPIES = Config().kademlia.k

Place = tuple[str, int, str]  # file, line, function


@attrs.define
class Samples:
    """How often each line was running."""

    places: Counter[Place] = attrs.field(factory=Counter)

    @contextmanager
    def taken(self) -> Iterator[None]:
        before = signal.signal(signal.SIGPROF, self._on_tick)
        signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, before)

    def _on_tick(self, number: int, frame: FrameType | None) -> None:
        if frame is not None:
            self.places[frame.f_code.co_filename, frame.f_lineno or 0, frame.f_code.co_qualname] += 1


async def watched(operation: Callable[[int], Awaitable[object]], count: int) -> tuple[Samples, float]:
    """The samples, and the processor's seconds of one operation."""
    samples = Samples()
    began = time.process_time()
    with samples.taken():
        for number in range(count):
            await operation(number)
    return samples, (time.process_time() - began) / count


async def measure(what: str, nodes: int, count: int, directory: Path) -> tuple[Samples, float]:
    async with AsyncExitStack() as stack:
        all_nodes: list[Node] = []
        for number in range(nodes):
            join = (str(all_nodes[0].endpoint),) if all_nodes else ()
            config = Config(
                join=join,
                first=not join,
                storage=StorageConfig(data_dir=directory / str(number)),
                records=Records(hand_over_deadline=0),  # they all end together: nobody would take anything
            )
            all_nodes.append(await stack.enter_async_context(open_node(config)))
        for node in all_nodes:
            await node.wait_ready()
        await trio.sleep(SETTLED_AFTER)

        async def put(number: int) -> Key:
            return (await all_nodes[WRITER].put(b"value %09d" % number * 6)).key

        if what == "puts":
            found = await watched(put, count)
        else:
            ids, keys = [node.id for node in all_nodes], list[Key]()
            for number in range(20 * count):
                key = await put(number)
                if nodes <= COPIES or all_nodes[READER].id not in closest(key, ids, COPIES):
                    keys.append(key)
                if len(keys) == count:
                    break
            await trio.sleep(1)  # the writes of the last put end
            found = await watched(lambda number: all_nodes[READER].get(keys[number]), len(keys))
        return found


def show(samples: Samples, seconds: float, count: int) -> None:
    total = samples.places.total()
    print(f"{seconds * 1e6:.0f} µs of the processor for each, {total} samples; µs and share of each line:")
    for (file, line, function), times in samples.places.most_common(count):
        share = times / total
        name = "/".join(Path(file).parts[-2:])
        print(f"{seconds * share * 1e6:7.0f} {share:6.1%}  {name}:{line} {function}")
        print(f"{'':16} {linecache.getline(file, line).strip()}")
    parts: Counter[str] = Counter()
    for (file, _, _), times in samples.places.items():
        parts["/".join(Path(file).parts[-3:-1] if "camomile_trio" in file else Path(file).parts[-2:-1])] += times
    print("by directory: " + ", ".join(f"{name} {times / total:.0%}" for name, times in parts.most_common(12)))


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.dearest", description=__doc__)
    parser.add_argument("what", choices=("puts", "gets"), nargs="?", default="puts")
    parser.add_argument("--nodes", type=whole(3, 250), default=50)
    parser.add_argument("--operations", type=whole(1, 100_000), default=500)
    parser.add_argument("--lines", type=whole(1, 1000), default=10)
    chosen = parser.parse_args()
    with imports_for_good():
        importlib.import_module("camomile_trio.storage.sqlite")  # the last that the nodes load
    with tempfile.TemporaryDirectory(prefix="dearest-", dir=".") as directory:
        samples, seconds = trio.run(measure, chosen.what, chosen.nodes, chosen.operations, Path(directory))
        show(samples, seconds, chosen.lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
