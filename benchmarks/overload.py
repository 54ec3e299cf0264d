"""`make bench-overload`: one node with twice as much to do as it can, with clients that idle, and under a flood.

Rules of this file: each figure stands beside the same one taken without the load, in the same run on the same hosts.
The flood's own cost on a machine that everybody shares is shown by the same flood sent to a host where nobody listens.
What is asked for stands in each line, and whether it was reached; the exit code is 1 if something was not.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import attrs
from rich.console import Console
from rich.table import Table

from benchmarks import isolation, load
from benchmarks.__main__ import place
from benchmarks.figures import percentile
from benchmarks.hostile import KINDS
from benchmarks.hosts import Host, bridged
from benchmarks.processes import Process, ask, running
from benchmarks.systems import Camomile
from tools.arguments import whole

BUILD = Path("build")
VICTIM, OTHER = 1, 2  # the node under load, and one whose clients are to notice nothing
CLIENTS = 64  # that ask too much, together
SETTLED_AFTER = 5.0  # seconds from the end of the load until everything is to be as before
HOT_KEYS = 8
FLOOD_RATE = 50_000
LONGEST_FLOOD = 300
IDLERS = 500  # of each kind

Done = TypeVar("Done")


@attrs.define
class Line:
    """One thing that was asked for, and what was found."""

    what: str
    found: str
    asked: str
    is_reached: bool | None  # None: only shown


@attrs.define
class Bench:
    """The running network, its load and its findings."""

    processes: Sequence[Process]
    directory: Path
    console: Console
    seconds: int
    lines: list[Line] = attrs.field(factory=list)
    _system: Camomile = attrs.field(factory=Camomile)
    _labels: int = 0
    _hot: load.Plan | None = None

    def note(self, what: str, found: str, asked: str = "", is_reached: bool | None = None) -> None:
        self.lines.append(Line(what, found, asked, is_reached))
        self.console.print(f"{what}: {found}" + (f" (asked: {asked}: {_WORDS[is_reached]})" if asked else ""))

    def puts(self, at: int, concurrent: int, seconds: int, per_second: float | None = None) -> load.Load:
        self._labels += 1
        count = int(per_second * seconds * 1.2) + 100 if per_second else 2500 * seconds
        heads, tail = load.values(f"over{self._labels}", count, 100)
        plan = self._system.puts(heads, tail)
        return self._send(plan, at, concurrent, seconds, self._system.stored, per_second)

    def hot_gets(self, at: int, concurrent: int, seconds: int, per_second: float | None = None) -> load.Load:
        if self._hot is None:
            heads, tail = load.values("hot", HOT_KEYS + 1, 100)
            done = self._send(self._system.puts(heads, tail), VICTIM, 1, 5, self._system.stored, None).done
            self._hot = attrs.evolve(self._system.gets([heads[each] for each in done], tail), repeats=True)
        for request in self._hot.requests:
            ask(self.processes[at].host, request.path)
        return self._send(self._hot, at, concurrent, seconds, (200,), per_second)

    def _send(
        self,
        plan: load.Plan,
        at: int,
        concurrent: int,
        seconds: int,
        wanted: Sequence[int],
        per_second: float | None,
    ) -> load.Load:
        return load.send(
            plan,
            self.processes[at].host.url,
            concurrent=concurrent,
            seconds=seconds,
            wanted=wanted,
            directory=self.directory,
            per_second=per_second,
        )

    # What is measured ------------------------------------------------------------------------------------------------

    def too_much(self, name: str, send: Callable[[int, int, int, float | None], load.Load]) -> None:
        """Twice what the victim can carry, while somebody asks another node for a little."""
        unloaded = send(VICTIM, 1, self.seconds, None)
        capacity = max(_rate(send(VICTIM, concurrent, self.seconds, None)) for concurrent in (4, 16))
        p50 = _at(unloaded.times, 0.5)
        self.note(f"{name}, unloaded", f"p50 {p50 * 1e3:.1f} ms; at most {capacity:.0f} a second")
        at_rest = self.processes[VICTIM].memory().rss
        with in_background(lambda: self.little(OTHER, 15 * self.seconds - 2)) as others, self.memory() as memory:
            done = send(VICTIM, CLIENTS, 15 * self.seconds, 2 * capacity)
        p99, refused = _at(done.times, 0.99), _at(done.refused, 0.99)
        asked = 2 * capacity * 15 * self.seconds
        self.note(
            f"{name}, twice as much",
            f"{len(done.times) / done.seconds:.0f} a second accepted, {len(done.refused) / done.seconds:.0f} refused, "
            f"{len(done.times) + done.failed} of {asked:.0f} sent",
        )
        self.note(
            "  p99 of the accepted",
            f"{p99 * 1e3:.1f} ms, {p99 / p50:.1f} x unloaded p50",
            "<= 10 x",
            p99 <= 10 * p50,
        )
        self.note("  p99 of the refusals", f"{refused * 1e3:.1f} ms", "<= 10 x unloaded p50", refused <= 10 * p50)
        wrong = done.failed - len(done.refused)
        self.note("  neither accepted nor a 503 with Retry-After", str(wrong), "0", wrong == 0)
        self.note(
            "  memory",
            f"{at_rest / 1e6:.0f} MB before, {max(memory) / 1e6:.0f} MB at most",
            "< 40 MB more",
            max(memory) - at_rest < 40e6,
        )
        failed = sum(each.failed for each in others)
        self.note("  failed at another node meanwhile", str(failed), "0", failed == 0)
        time.sleep(SETTLED_AFTER)
        again = send(VICTIM, 1, self.seconds, None)
        after = _at(again.times, 0.5)
        self.note(
            f"  {SETTLED_AFTER:.0f} s later",
            f"p50 {after * 1e3:.1f} ms, {again.failed} failed",
            "<= 1.5 x before, none",
            after <= 1.5 * p50 and not again.failed,
        )

    def little(self, at: int, seconds: int) -> list[load.Load]:
        return [self.puts(at, 1, max(1, seconds // 2), 5.0), self.hot_gets(at, 1, max(1, seconds // 2), 20.0)]

    def idlers(self) -> None:
        """Clients that want little must not be felt by the others."""
        host = self.processes[VICTIM].host
        before = [self.puts(VICTIM, 4, self.seconds), self.hot_gets(VICTIM, 4, self.seconds)]
        command = [sys.executable, "-m", "benchmarks.idlers", f"{host.address}:{host.http_port}"]
        command += ["--slow", str(IDLERS), "--idle", str(IDLERS)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as clients:
            try:
                assert clients.stdout is not None
                clients.stdout.readline()
                meanwhile = [self.puts(VICTIM, 4, self.seconds), self.hot_gets(VICTIM, 4, self.seconds)]
            finally:
                clients.kill()
        for name, without, with_them in zip(("puts", "hot gets"), before, meanwhile, strict=True):
            one, two = _at(without.times, 0.99), _at(with_them.times, 0.99)
            self.note(
                f"{name} beside {IDLERS} slow clients and {IDLERS} idle ones",
                f"p99 {one * 1e3:.1f} -> {two * 1e3:.1f} ms, {with_them.failed} failed",
                "< 2 x, none",
                two < 2 * one and not with_them.failed,
            )

    def floods(self, hostile: Host, deaf: Host, kinds: Sequence[str]) -> None:
        """One hostile peer, one kind of datagram after the other."""
        pairs = self.rates(VICTIM), self.rates(OTHER)
        calm, calm_other = pairs
        self.note("no flood", f"{_rates(calm)} at the node, {_rates(calm_other)} at another")
        with flooding(hostile, deaf, "finds") as sent:
            control, control_other = self.rates(VICTIM), self.rates(OTHER)
        # The list is filled once the flood is over.
        self.note(
            "flood of a host where nobody listens",
            f"{_rates(control)} at the node, {_rates(control_other)} at another; {sent[0]:.0f} a second sent",
        )
        for kind in kinds:
            with flooding(hostile, self.processes[VICTIM].host, kind) as sent:
                here, there = self.rates(VICTIM), self.rates(OTHER)
            kept = min(map(_kept, here, calm))
            failed, refused = sum(each.failed for each in here), sum(len(each.refused) for each in here)
            self.note(
                f"flood: {kind}",
                f"{_rates(here)} at the node, {kept:.0%} of what it is without, {failed} failed"
                + (f" ({refused} by 503)" if refused else "")
                + f"; {sent[0]:.0f} a second sent",
                ">= 50 %, none",
                kept >= 0.5 and not failed,
            )
            kept = min(map(_kept, there, control_other))
            failed = sum(each.failed for each in there)
            self.note(
                "  at another node",
                f"{_rates(there)}, {kept:.0%} of what it is with a flood of nobody, {failed} failed",
                ">= 80 %, none",
                kept >= 0.8 and not failed,
            )

    def rates(self, at: int) -> list[load.Load]:
        return [self.puts(at, 4, self.seconds), self.hot_gets(at, 4, self.seconds)]

    @contextmanager
    def memory(self) -> Iterator[list[int]]:
        """The victim's resident memory, looked at twice a second."""
        seen: list[int] = []
        over = threading.Event()

        def look() -> None:
            while not over.wait(0.5):
                seen.append(self.processes[VICTIM].memory().rss)

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            yield seen
        finally:
            over.set()
            watcher.join()


_WORDS = {True: "yes", False: "NO", None: ""}


def _at(times: Sequence[float], share: float) -> float:
    return percentile(times, share) or 0.0


def _rate(done: load.Load) -> float:
    """0 where nothing was answered at all."""
    return done.per_second if done.times else 0.0


def _kept(one: load.Load, before: load.Load) -> float:
    """What is left of a rate."""
    return _rate(one) / _rate(before) if before.times else 0.0


def _rates(loads: Sequence[load.Load]) -> str:
    puts, gets = map(_rate, loads)
    return f"{puts:.0f} puts and {gets:.0f} gets a second"


@contextmanager
def in_background(call: Callable[[], Sequence[Done]]) -> Iterator[list[Done]]:
    """Runs it in a thread; at the block's end it is waited for and what it gave is in the list."""
    found: list[Done] = []
    thread = threading.Thread(target=lambda: found.extend(call()))
    thread.start()
    yield found
    thread.join()


@contextmanager
def flooding(hostile: Host, victim: Host, kind: str) -> Iterator[list[float]]:
    """A flood for the length of the block; then the list has how many a second were sent."""
    command = [
        *hostile.prefix,
        sys.executable,
        "-m",
        "benchmarks.hostile",
        kind,
        f"{victim.address}:{victim.peer_port}",
    ]
    command += ["--rate", str(FLOOD_RATE), "--seconds", str(LONGEST_FLOOD)]
    sent: list[float] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            time.sleep(1.5)  # Python starts, and makes its datagrams
            yield sent
        finally:
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=30)
        sent.append(float(output))


def show(lines: Sequence[Line], console: Console) -> None:
    table = Table("what", "found", "asked", "reached?")
    for line in lines:
        table.add_row(line.what, line.found, line.asked, _WORDS[line.is_reached])
    console.print(table)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.overload", description=__doc__)
    parser.add_argument("--nodes", type=whole(2, 200), default=20)
    parser.add_argument(
        "--seconds", type=whole(1, 600), default=4, help="of each measurement; the overload lasts 15 times that"
    )
    parser.add_argument("--part", action="append", choices=("puts", "gets", "idlers", "floods"), default=[])
    parser.add_argument("--kind", action="append", choices=KINDS, default=[], help="of datagrams")
    chosen = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 170, highlight=False)
    if not shutil.which("wrk"):
        console.print("wrk is missing, and nothing is measured without it (Debian: apt-get install wrk)")
        return 1
    BUILD.mkdir(exist_ok=True)
    if not isolation.is_inside():
        console.print(f"a flood needs a network of its own: {isolation.enter(arguments, 'benchmarks.overload')}")
        return 1
    isolation.prepare()
    *hosts, hostile, deaf = bridged(chosen.nodes + 2)
    console.print(f"{len(hosts)} nodes, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    parts = chosen.part or ["puts", "gets", "idlers", "floods"]
    system = Camomile()
    with place(on_tmpfs=False) as directory:

        def command(host: Host) -> list[str]:
            return system.command(host, hosts[0], directory)

        with running(hosts, command, system.is_ready, directory / "nodes.log") as processes:
            time.sleep(SETTLED_AFTER)
            bench = Bench(processes, directory, console, chosen.seconds)
            if "puts" in parts:
                bench.too_much("puts", bench.puts)
            if "gets" in parts:
                bench.too_much("hot gets", bench.hot_gets)
            if "idlers" in parts:
                bench.idlers()
            if "floods" in parts:
                bench.floods(hostile, deaf, chosen.kind or [*KINDS])
    show(bench.lines, console)
    about = {
        "nodes": len(hosts),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "kernel": platform.release(),
    }
    document = {"about": about, "lines": [attrs.asdict(each) for each in bench.lines]}
    (BUILD / "overload.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return int(any(each.is_reached is False for each in bench.lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
