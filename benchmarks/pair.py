"""`make bench-pair`: two states of the product and OpenDHT side by side on the same hosts, asked in turn.

Rules of this file: only ratios within a block are compared. In a block every system does the same work, one right after
the other, and the next block asks them in the opposite order, so what slows the machine down for a while slows all of
them down. All networks of one start run at the same time, each with ports and data of its own. A or B that fails ends
the run with an error. Where OpenDHT is missing or fails, the reason is shown and the pair goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import TypeVar

import attrs
from rich.console import Console
from rich.table import Table

from benchmarks import isolation, load
from benchmarks.__main__ import place
from benchmarks.checkouts import BadCheckout, State, before, environment, is_same, look, state, take
from benchmarks.figures import PairedRatio, over_rounds, paired_ratio
from benchmarks.hosts import Host, bridged
from benchmarks.measuring import Client, Figures, memory
from benchmarks.peers import OpenDht
from benchmarks.processes import Process, check_running, cpu_seconds, running
from benchmarks.report import amount
from benchmarks.systems import ROOT, Camomile, System
from tools.arguments import whole

BUILD = Path("build")
KEPT = BUILD / "pair.json"
A, B, OPENDHT = "A", "B", "opendht"
RATIOS = ((B, A), (A, OPENDHT), (B, OPENDHT))

VALUE_BYTES = 100
MANY = 16  # concurrent requests
MANY_TIMES = 4  # so many times as many puts are sent MANY at a time as one at a time: they are quicker
LONGEST_S = 30  # of one system's puts or first gets in a block; what is not answered by then has failed
HOT_S = 1  # of hot gets
SETTLED_AFTER_S = 5.0  # from the last node's being ready; counted to the join
AFTERWARDS_S = 0.2  # what nodes do so long after the last answer is counted to the requests
WARM_UP_PUTS = 16
PORTS_APART = 10
# What a system's failing shows as: no process, no answer, an answer that cannot be read, wrk that ended with an error.
FAILURES = (OSError, LookupError, RuntimeError, ValueError, HTTPException, subprocess.SubprocessError)
INTERRUPTED = 130  # the exit code of what Ctrl-C ends

SHOWN = (
    "put c=1/p50",
    "put c=1/CPU",
    "put c=1/messages",
    "put c=16/per second",
    "put c=16/p50",
    "put c=16/CPU",
    "first get c=1/p50",
    "hot get c=1/p50",
    "hot get c=16/per second",
    "join/CPU",
    "memory/RSS",
    "memory/PSS",
)
EXPLAINED = (
    "A ratio is the median of the ratios within each block. In brackets is the interval that has the true median with "
    "95 % probability, or the least and the most of fewer than 6. It tells chance from block to block. A network that "
    "is started anew differs too (ids, holders): the last column has the ratio of each start. Join and memory are one "
    "figure a start."
)

# What was measured: system -> start -> the start's own figures, then those of each block. Places correspond, so that
# figures at the same place were taken one right after the other.
Measured = Mapping[str, Sequence[Sequence[Figures]]]


@attrs.frozen
class Network:
    """One system's running nodes."""

    system: System
    processes: Sequence[Process]
    directory: Path

    @property
    def log(self) -> Path:
        return self.directory / "nodes.log"


@attrs.define
class Asked:
    """One system in one block: its values, and the figures so far."""

    network: Network
    client: Client
    label: str
    puts: int
    stored: Sequence[str] = ()
    tail: str = ""

    def put(self) -> None:
        self.stored, self.tail = self._put(1, self.puts)

    def first_get(self) -> None:
        self.client.first_get("first get c=1", self.stored, self.tail, 1, LONGEST_S)

    def hot_get(self) -> None:
        self._hot_get(1)

    def put_many(self) -> None:
        self._put(MANY, MANY_TIMES * self.puts)

    def hot_get_many(self) -> None:
        self._hot_get(MANY)

    def _put(self, concurrent: int, count: int) -> tuple[Sequence[str], str]:
        heads, tail = load.values(f"{self.label}c{concurrent}", count, VALUE_BYTES)
        cell, figures = f"put c={concurrent}", self.client.figures
        stored = self.client.put(cell, heads, tail, concurrent, LONGEST_S)
        figures[f"{cell}/failed"] = float(count - len(stored))  # what was not answered or not sent has failed, too
        return stored, tail

    def _hot_get(self, concurrent: int) -> None:
        if self.stored:
            self.client.hot_get(f"hot get c={concurrent}", self.stored, self.tail, concurrent, HOT_S)


Item = TypeVar("Item")
CELLS: Sequence[Callable[[Asked], None]] = (
    Asked.put,
    Asked.first_get,
    Asked.hot_get,
    Asked.put_many,
    Asked.hot_get_many,
)


def in_turn(systems: Sequence[Item], number: int) -> Sequence[Item]:
    """A B C, then C B A, and so on: none is always the first."""
    return systems if number % 2 == 0 else systems[::-1]


def ports(hosts: Sequence[Host], number: int) -> list[Host]:
    """The same hosts with ports that no other system's number has."""
    apart = PORTS_APART * number
    return [attrs.evolve(each, peer_port=each.peer_port + apart, http_port=each.http_port + apart) for each in hosts]


@contextlib.contextmanager
def started(system: System, hosts: Sequence[Host], directory: Path, own: Figures) -> Iterator[Network]:
    """A fresh network of the system. What its join and, at the end, its memory were is noted in `own`."""
    directory.mkdir()

    def command(host: Host) -> list[str]:
        return system.command(host, hosts[0], directory)

    log = directory / "nodes.log"
    with running(hosts, command, system.is_ready, log) as processes:
        time.sleep(SETTLED_AFTER_S)
        check_running(processes, log)
        own["join/CPU"] = cpu_seconds(processes)
        yield Network(system, processes, directory)


@attrs.define
class Bench:
    """All starts of all systems."""

    hosts: Sequence[Host]
    systems: Sequence[System]
    console: Console
    measured: dict[str, list[list[Figures]]] = attrs.field(init=False)
    not_run: dict[str, str] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.measured = {each.name: [] for each in self.systems}

    def leave_out(self, name: str, reason: str) -> None:
        """It is not asked or started any more. What was measured of it is kept."""
        self.not_run[name] = reason
        any_more = " any more" if any(len(each) > 1 for each in self.measured[name]) else ""
        self.console.print(f"{name} NOT RUN{any_more}: {reason}", markup=False)

    def run(self, starts: int, blocks: int, puts: int) -> bool:
        """False if it was interrupted; what was measured by then is kept. RuntimeError if A or B fails."""
        try:
            for start in range(starts):
                with place(on_tmpfs=False) as directory:
                    self._start(start, directory, f"start {start + 1} of {starts}", blocks, puts)
        except KeyboardInterrupt:
            return False
        return True

    def _start(self, start: int, directory: Path, title: str, blocks: int, puts: int) -> None:
        with contextlib.ExitStack() as stack:
            networks: list[Network] = []
            for system in in_turn(self.systems, start):
                began = time.monotonic()
                own: Figures = {}
                self.measured[system.name].append([own])
                network = self.bring_up(stack, system, directory, own)
                if network is not None:
                    networks.append(network)
                    self.console.print(f"{title}: {system.name} is up after {time.monotonic() - began:.0f} s")
            networks.sort(key=lambda each: each.system.name)
            warm: dict[str, Figures] = {each.system.name: {} for each in networks}
            self.ask(networks, f"warm{start}", WARM_UP_PUTS, warm)
            for block in range(blocks):
                began = time.monotonic()
                noted: dict[str, Figures] = {each.name: {} for each in self.systems}
                for name, figures in noted.items():
                    self.measured[name][start].append(figures)
                self.ask(in_turn(networks, start + block), f"{start}-{block}", puts, noted)
                self.console.print(f"{title}: block {block + 1} of {blocks} took {time.monotonic() - began:.0f} s")
            for each in networks:
                if each.system.name not in self.not_run:
                    self.measured[each.system.name][start][0].update(memory(each.processes))

    def bring_up(self, stack: contextlib.ExitStack, system: System, directory: Path, own: Figures) -> Network | None:
        """None, and the reason is kept, if it is OpenDHT and does not start."""
        if system.name in self.not_run:
            return None
        hosts = ports(self.hosts, list(self.systems).index(system))
        try:
            return stack.enter_context(started(system, hosts, directory / system.name, own))
        except FAILURES as error:
            self._fail(system.name, f"it did not start: {error}", error)
            return None

    def ask(self, networks: Sequence[Network], label: str, puts: int, noted: Mapping[str, Figures]) -> None:
        """One block, in the order of the networks. RuntimeError if A or B fails in it."""
        asked = []
        for network in networks:
            figures = noted[network.system.name]
            client = Client(network.system, network.processes, network.directory, figures, AFTERWARDS_S)
            asked.append(Asked(network, client, label, puts))
        for cell in CELLS:
            for each in asked:
                name = each.network.system.name
                if name in self.not_run:
                    continue
                try:
                    cell(each)
                    check_running(each.network.processes, each.network.log)
                except FAILURES as error:
                    self._fail(name, f"it failed: {error}", error)

    def _fail(self, name: str, reason: str, error: Exception) -> None:
        if name in (A, B):
            raise RuntimeError(f"{name}: {reason}") from error
        self.leave_out(name, reason)


def ratios(measured: Measured, ours: str, theirs: str, figure: str) -> tuple[PairedRatio | None, list[float]]:
    """Over all blocks, and the medians of each start."""
    starts = [
        [(one.get(figure), other.get(figure)) for one, other in zip(mine, yours, strict=True)]
        for mine, yours in zip(measured.get(ours, ()), measured.get(theirs, ()), strict=False)
    ]
    medians = [found.median for each in starts if (found := paired_ratio(each)) is not None]
    return paired_ratio([pair for each in starts for pair in each]), medians


def show(measured: Measured, console: Console) -> None:
    systems = [name for name, starts in measured.items() if any(figures for each in starts for figures in each)]
    pairs = [each for each in RATIOS if set(each) <= set(systems)]
    table = Table("figure", *systems, *("/".join(each) for each in pairs), "B/A, each start")
    for figure in SHOWN:
        row = [figure]
        for name in systems:
            found = over_rounds([each.get(figure) for start in measured[name] for each in start])
            row.append("-" if found is None else amount(figure, found.median))
        for ours, theirs in pairs:
            ratio, _ = ratios(measured, ours, theirs, figure)
            row.append("-" if ratio is None else f"{ratio.median:.3f} ({ratio.low:.3f} … {ratio.high:.3f})")
        row.append(" ".join(f"{each:.3f}" for each in ratios(measured, B, A, figure)[1]) or "-")
        table.add_row(*row)
    console.print(table)
    console.print(EXPLAINED)
    for name in systems:
        failed, count = (
            sum(
                value or 0.0
                for start in measured[name]
                for each in start
                for key, value in each.items()
                if key.endswith(end)
            )
            for end in ("/failed", "/count")
        )
        console.print(f"{name}: {failed:.0f} requests failed, {count:.0f} were answered as they should be")


def sides(names: Sequence[str], root: Path) -> tuple[State, State]:
    """A and B: the first is, unless it is named, the commit before what is tried; the second the working tree."""
    a, b = names
    return (state(root, a) if a else before(root)), state(root, b)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.pair", description=__doc__)
    parser.add_argument("--a", default="", metavar="COMMIT", help="default: the newest one with another product than B")
    parser.add_argument("--b", default="", metavar="COMMIT", help="default: the working tree as it is")
    parser.add_argument(
        "--python-a", default="", metavar="PYTHON", help="an interpreter; default: the one that runs this"
    )
    parser.add_argument("--python-b", default="", metavar="PYTHON", help="the same for B")
    parser.add_argument("--nodes", type=whole(5, 200), default=50, help="of each network")
    parser.add_argument("--starts", type=whole(1, 50), default=2, help="of fresh networks")
    parser.add_argument("--blocks", type=whole(1, 1000), default=6, help="of each start")
    parser.add_argument("--puts", type=whole(16, 10_000), default=60, help="one at a time, of each system in a block")
    chosen = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 170, highlight=False)
    if not shutil.which("wrk"):
        console.print("NOT RUN: wrk is missing, and nothing is measured without it (Debian: apt-get install wrk)")
        return 1
    try:
        states = sides([chosen.a, chosen.b], ROOT)
        pythons = [
            environment(ROOT, each, python)
            for each, python in zip(states, (chosen.python_a, chosen.python_b), strict=True)
        ]
    except BadCheckout as error:
        parser.error(str(error))
    BUILD.mkdir(exist_ok=True)
    if not isolation.is_inside():
        reason = isolation.enter(arguments, "benchmarks.pair")
        console.print(f"NOT RUN: the networks need hosts of their own: {reason}")
        return 1
    isolation.prepare()
    hosts = bridged(chosen.nodes)
    about: dict[str, object] = {
        "cores": os.cpu_count(),
        "load average before": os.getloadavg(),
        "kernel": platform.release(),
        **{key: getattr(chosen, key) for key in ("nodes", "starts", "blocks", "puts")},
    }
    machine = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Linux {platform.release()}"
    console.print(f"{chosen.nodes} nodes of each system, {machine}")
    systems: list[System] = []
    for name, side, python in zip((A, B), states, pythons, strict=True):
        # In the namespaces' own tmpfs, which the kernel removes with them, however this ends.
        checkout = Path("/run", "checkouts", name)
        try:
            take(ROOT, side, checkout)
            interpreter = look(python, checkout)
        except BadCheckout as error:
            parser.error(str(error))
        systems.append(Camomile(name, python=python, checkout=checkout))
        console.print(f"{name}: {side.title}\n   {interpreter}")
        about[name] = {"state": attrs.asdict(side), "interpreter": attrs.asdict(interpreter)}
    if is_same(ROOT, *states):
        console.print("A and B are the same product: what their ratios differ from 1 is chance, or the interpreter")
    bench = Bench(hosts, [*systems, OpenDht()], console)
    missing = OpenDht().missing()
    if missing:
        bench.leave_out(OPENDHT, missing)
    began = time.monotonic()
    try:
        is_whole = bench.run(chosen.starts, chosen.blocks, chosen.puts)
    except FAILURES as error:
        console.print(f"failed: {error}", markup=False)
        return 1
    if not is_whole:
        has_blocks = any(figures for starts in bench.measured.values() for each in starts for figures in each[1:])
        console.print(
            f"interrupted: {'what follows is of the blocks so far' if has_blocks else 'nothing was measured'}"
        )
        if not has_blocks:
            return INTERRUPTED
    show(bench.measured, console)
    about["not run"] = bench.not_run
    about["seconds"] = time.monotonic() - began
    about["load average after"] = os.getloadavg()
    KEPT.write_text(json.dumps({"about": about, "measured": bench.measured}, indent=1) + "\n", encoding="utf-8")
    console.print(f"{about['seconds']:.0f} s, load {os.getloadavg()[0]:.1f}; every block is in {KEPT}")
    return 0 if is_whole else INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
