"""One round of one system: its nodes start, are measured in every cell, and are gone.

Rules of this file: one system runs at a time. A figure's name is its cell and what was measured, such as
`put c=16 100 B/p50`; all are in seconds, bytes, counts or shares of a core. CPU is that of the nodes' processes alone.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from benchmarks import load
from benchmarks.extent import Extent
from benchmarks.figures import is_far, percentile
from benchmarks.hosts import Host, traffic
from benchmarks.processes import Process, ask, cpu_seconds, running
from benchmarks.systems import Hello, System

# Who is asked: not the first, which all others joined by.
WRITER, READER, HOT_READER = 1, 2, 3
HOT_KEYS = 8
MOST_PER_SECOND = 4000  # puts that are prepared
MOST_BYTES_KEPT = 200_000_000  # of values that are put in a cell, so that a disk is not filled

Figures = dict[str, float | None]


@contextlib.contextmanager
def _spent(processes: Sequence[Process], afterwards: float = 0.0) -> Iterator[Spent]:
    """What the nodes spend in the block and for `afterwards` seconds; None where it cannot be told."""
    spent = Spent()
    hosts = [each.host for each in processes]
    cpu, before, began = cpu_seconds(processes), traffic(hosts), time.monotonic()
    yield spent
    time.sleep(afterwards)
    spent.seconds = time.monotonic() - began
    spent.cpu = cpu_seconds(processes) - cpu
    after = traffic(hosts)
    if before is not None and after is not None:
        spent.messages, spent.bytes = after.messages - before.messages, after.bytes - before.bytes


@attrs.define
class Spent:
    seconds: float = 0.0
    cpu: float = 0.0
    messages: int | None = None
    bytes: int | None = None


def measure(system: System, hosts: Sequence[Host], extent: Extent, directory: Path) -> Figures:
    """All figures of one round. TimeoutError or RuntimeError if its nodes do not come up."""
    figures: Figures = {}
    before, began = traffic(hosts), time.monotonic()

    def command(host: Host) -> list[str]:
        return system.command(host, hosts[0], directory)

    with running(hosts, command, system.is_ready, directory / "nodes.log") as processes:
        figures["join/seconds"] = time.monotonic() - began
        time.sleep(extent.settle)
        figures["join/CPU"] = cpu_seconds(processes)
        after = traffic(hosts)
        if before is not None and after is not None:
            figures["join/messages"] = float(after.messages - before.messages)
            figures["join/bytes"] = float(after.bytes - before.bytes)
        with _spent(processes) as idle:
            time.sleep(extent.seconds_idle)
        figures["idle/CPU share"] = idle.cpu / idle.seconds
        if idle.messages is not None:
            figures["idle/messages per second"] = idle.messages / idle.seconds
        client = Client(system, processes, directory, figures)
        for size in extent.sizes:
            if size <= system.most:
                for concurrent in extent.concurrent:
                    _cells(client, size, concurrent, extent.seconds)
        figures.update(memory(processes))
        for process in processes[-extent.dead :]:
            process.kill()
        heads, tail = _new_values("dead", extent.sizes[0], 1, extent.seconds_dead)
        client.put(f"dead put c=1 {extent.sizes[0]} B", heads, tail, 1, extent.seconds_dead)
    return figures


def memory(processes: Sequence[Process]) -> Figures:
    """The median node's."""
    found = [each.memory() for each in processes]
    return {
        "memory/RSS": percentile(sorted(each.rss for each in found), 0.5),
        "memory/PSS": percentile(sorted(each.pss for each in found), 0.5),
    }


def _new_values(label: str, size: int, concurrent: int, seconds: int) -> tuple[list[str], str]:
    """More than any system stores in so many seconds."""
    return load.values(f"{label}{concurrent}", min(MOST_PER_SECOND * seconds, MOST_BYTES_KEPT // size), size)


def _cells(client: Client, size: int, concurrent: int, seconds: int) -> None:
    """Puts, then the first read of what was put, then the same keys again and again."""
    heads, tail = _new_values("put", size, concurrent, seconds)
    name = f"c={concurrent} {size} B"
    stored = client.put(f"put {name}", heads, tail, concurrent, seconds)
    client.first_get(f"first get {name}", stored, tail, concurrent, seconds)
    if stored:
        client.hot_get(f"hot get {name}", stored, tail, concurrent, seconds)


def measure_hello(hello: Hello, host: Host, extent: Extent, directory: Path) -> Figures:
    """Hot gets alone."""
    figures: Figures = {}
    with running([host], lambda each: hello.command(each, host, directory), hello.is_ready, directory / "log") as nodes:
        for concurrent in extent.concurrent:
            with _spent(nodes) as spent:
                done = load.send(
                    hello.gets(),
                    host.url,
                    concurrent=concurrent,
                    seconds=extent.seconds,
                    wanted=(200,),
                    directory=directory,
                )
            _note(figures, f"hot get c={concurrent} {extent.sizes[0]} B", done, spent)
    return figures


def _note(figures: Figures, cell: str, done: load.Load, spent: Spent) -> None:
    count = len(done.times)
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        figures[f"{cell}/{name}"] = percentile(done.times, share)
    figures[f"{cell}/per second"] = done.per_second if count else 0.0
    figures[f"{cell}/CPU"] = spent.cpu / count if count else None
    figures[f"{cell}/messages"] = spent.messages / count if count and spent.messages is not None else None
    figures[f"{cell}/bytes"] = spent.bytes / count if count and spent.bytes is not None else None
    figures[f"{cell}/failed"] = float(done.failed)
    figures[f"{cell}/count"] = float(count)


@attrs.frozen
class Client:
    """Asks the nodes of one running system, and notes in `figures` what came of it.

    What nodes do for `afterwards` seconds after the last answer is counted to the requests.
    """

    system: System
    processes: Sequence[Process]
    directory: Path
    figures: Figures
    afterwards: float = 0.0

    def put(self, cell: str, heads: Sequence[str], tail: str, concurrent: int, seconds: int) -> list[str]:
        """The heads of the values that were stored."""
        plan = self.system.puts(heads, tail)
        done = self._run(cell, plan, WRITER, concurrent, seconds, self.system.stored)
        return [heads[number] for number in done.done]

    def first_get(self, cell: str, heads: Sequence[str], tail: str, concurrent: int, seconds: int) -> None:
        """Each once, of those that the reader does not hold."""
        self._run(cell, self.system.gets(self._far(heads, tail), tail), READER, concurrent, seconds)

    def hot_get(self, cell: str, heads: Sequence[str], tail: str, concurrent: int, seconds: int) -> None:
        """A few again and again, at a node that has been asked for each before."""
        hot = attrs.evolve(self.system.gets(heads[:HOT_KEYS], tail), repeats=True)
        for request in hot.requests:
            ask(self.processes[HOT_READER].host, request.path)
        self._run(cell, hot, HOT_READER, concurrent, seconds)

    def _run(
        self, cell: str, plan: load.Plan, at: int, concurrent: int, seconds: int, wanted: Sequence[int] = (200,)
    ) -> load.Load:
        with _spent([each for each in self.processes if each.is_running], self.afterwards) as spent:
            if plan.requests:
                done = load.send(
                    plan,
                    self.processes[at].host.url,
                    concurrent=concurrent,
                    seconds=seconds,
                    wanted=wanted,
                    directory=self.directory,
                )
            else:
                done = load.Load(0.0, (), (), 0)
        _note(self.figures, cell, done, spent)
        return done

    def _far(self, heads: Sequence[str], tail: str) -> list[str]:
        """Those whose values the reader does not hold; all, in a network so small that each node holds everything."""
        found = [self.system.node_id(each.host) for each in self.processes]
        ids = [each for each in found if each is not None]
        reader = found[READER]
        if reader is None or len(ids) <= self.system.copies:
            return list(heads)
        copies = self.system.copies
        return [each for each in heads if is_far(self.system.position(each + tail), reader, ids, copies)]
