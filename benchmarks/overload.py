"""`make bench-overload`: one node with twice as much to do as it can, with clients that idle, and under a flood.

Rules of this file: each figure stands beside the same one taken without the load, in the same run on the same hosts.
The flood's own cost on a machine that everybody shares is shown by the same flood sent to a host that only takes it.
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
from benchmarks.hosts import Host, bridged, give_addresses, swallow_answers
from benchmarks.processes import Process, ask, running
from benchmarks.systems import Camomile
from camomile_trio.config import Requests
from camomile_trio.operations.concurrency_limit import NEAR
from tools.arguments import whole

BUILD = Path("build")
VICTIM, OTHER = 1, 2  # the node under load, and one whose clients are to notice nothing
CLIENTS = 64  # that ask too much, together
MOST_HEALTH = 0.1  # seconds
SETTLED_AFTER = 5.0  # seconds from the end of the load until everything is to be as before
HOT_KEYS = 8
FLOOD_RATE = 20_000
NODE_LISTS_RATE = 1000
LARGE = 5000  # bytes: what goes by TCP
LONGEST_FLOOD = 300
IDLERS = 500  # of each kind

PARTS = ("puts", "gets", "idlers", "streams", "lists", "floods")

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

    def puts(
        self, at: int, concurrent: int, seconds: int, per_second: float | None = None, *, size: int = 100
    ) -> load.Load:
        self._labels += 1
        count = int(per_second * seconds * 1.2) + 100 if per_second else 2500 * seconds
        heads, tail = load.values(f"over{self._labels}", count, size)
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

    def too_much(self, name: str, send: Callable[[int, int, int, float | None], load.Load], under_way: int) -> None:
        """Twice what the victim can carry, while another node is asked for a little.

        `under_way` is how many of these requests the victim serves at once; the rest it refuses.
        """
        unloaded = send(VICTIM, 1, self.seconds, None)
        capacity = max(_rate(send(VICTIM, concurrent, self.seconds, None)) for concurrent in (4, 16))
        p50 = _at(unloaded.times, 0.5)
        self.note(f"{name}, unloaded", f"p50 {p50 * 1e3:.1f} ms; at most {capacity:.0f} a second")
        at_rest = self.processes[VICTIM].memory().rss
        with (
            in_background(lambda: self.little(OTHER, 15 * self.seconds - 2)) as others,
            self.memory() as memory,
            self.health() as health,
        ):
            done = send(VICTIM, CLIENTS, 15 * self.seconds, 2 * capacity)
        p99, refused = _at(done.times, 0.99), _at(done.refused, 0.99)
        asked = 2 * capacity * 15 * self.seconds
        self.note(
            f"{name}, twice as much",
            f"{len(done.times) / done.seconds:.0f} a second accepted, {len(done.refused) / done.seconds:.0f} refused, "
            f"{len(done.times) + done.failed} of {asked:.0f} sent",
        )
        rate = len(done.times) / done.seconds
        # By Little's law none can be answered sooner than in (requests under way) / rate, on an average.
        limit = max(10 * p50, 2 * under_way / max(1.0, rate))
        self.note(
            "  p99 of the accepted",
            f"{p99 * 1e3:.1f} ms, {p99 / p50:.1f} x unloaded p50, {p99 * rate / under_way:.2f} x {under_way} / rate",
            f"<= {limit * 1e3:.0f} ms: 10 x, or 2 x if that is more",
            p99 <= limit,
        )
        self.note("  rate", f"{rate / max(1.0, capacity):.0%} of the most", ">= 90 %", rate >= 0.9 * capacity)
        self.note(
            "  health meanwhile",
            f"{max(health) * 1e3:.0f} ms at most, {_at(sorted(health), 0.5) * 1e3:.1f} ms p50, of {len(health)}",
            "<= 100 ms",
            max(health) <= MOST_HEALTH,
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

    def floods(self, hostile: Host, sink: Host, kinds: Sequence[str]) -> None:
        """One hostile host, one kind of datagram after the other. The control: the same datagrams to another host."""
        victim = self.processes[VICTIM].host
        for kind in kinds:
            with flooding(hostile, victim, kind, sink):
                control = self.puts(VICTIM, 4, self.seconds)
            with flooding(hostile, victim, kind) as sent:
                done = self.puts(VICTIM, 4, self.seconds)
            # The list is filled once the flood is over.
            self.beside(f"flood: {kind}", control, done, f"; {sent[0]:.0f} a second sent")

    def node_lists(self, hostile: Host) -> None:
        """A peer with a session that names contacts all the time, at a rate that is no flood."""
        victim = self.processes[VICTIM].host
        before = self.puts(VICTIM, 4, self.seconds)
        with flooding(hostile, victim, "unsolicited node lists", rate=NODE_LISTS_RATE) as sent:
            done = self.puts(VICTIM, 4, self.seconds)
        self.beside(f"unsolicited node lists, {sent[0]:.0f} a second", before, done)

    def slow_streams(self, hostile: Host) -> None:
        """64 slow streams from 8 addresses, while values are put that go by TCP."""
        victim = self.processes[VICTIM].host
        before = self.puts(VICTIM, 4, self.seconds, size=LARGE)
        ips = [f"10.118.200.{number}" for number in range(1, 9)]
        give_addresses(hostile, ips, [each.host for each in self.processes])
        command = [*hostile.prefix, sys.executable, "-m", "tests.networks.slow_streams"]
        command += [f"{victim.address}:{victim.peer_port}#{_node_key(victim)}", *ips]
        with until_killed(command):
            time.sleep(SETTLED_AFTER)
            done = self.puts(VICTIM, 4, self.seconds, size=LARGE)
        self.beside(f"values of {LARGE} bytes beside {8 * len(ips)} slow streams", before, done, is_timed=False)

    def beside(self, what: str, control: load.Load, done: load.Load, more: str = "", *, is_timed: bool = True) -> None:
        """Notes puts under a load beside those under the control's."""
        one, two = _at(control.times, 0.5), _at(done.times, 0.5)
        stored = _stored(done)
        self.note(
            what,
            f"p50 of puts {one * 1e3:.1f} -> {two * 1e3:.1f} ms, {stored:.1%} of {len(done.times) + done.failed} stored"
            f" ({_stored(control):.1%} before)" + more,
            "p50 <= 2 x, >= 95 %" if is_timed else ">= 95 %",
            stored >= 0.95 and (two <= 2 * one or not is_timed),
        )

    @contextmanager
    def health(self) -> Iterator[list[float]]:
        """Seconds that the victim took to say that it is healthy, asked ten times a second over new connections."""
        taken: list[float] = []
        over = threading.Event()

        def look() -> None:
            while not over.wait(0.1):
                began = time.monotonic()
                ask(self.processes[VICTIM].host, "/-/healthy")
                taken.append(time.monotonic() - began)

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            yield taken
        finally:
            over.set()
            watcher.join()

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


def _stored(done: load.Load) -> float:
    """Which part of the puts succeeded."""
    return len(done.times) / max(1, len(done.times) + done.failed)


@contextmanager
def in_background(call: Callable[[], Sequence[Done]]) -> Iterator[list[Done]]:
    """Runs it in a thread; at the block's end it is waited for and what it gave is in the list."""
    found: list[Done] = []
    thread = threading.Thread(target=lambda: found.extend(call()))
    thread.start()
    yield found
    thread.join()


@contextmanager
def flooding(
    hostile: Host,
    victim: Host,
    kind: str,
    at: Host | None = None,
    *,
    rate: int = FLOOD_RATE,
    sources: Sequence[Host] = (),
) -> Iterator[list[float]]:
    """A flood for the length of the block, of datagrams made for the victim; `at`: sent to this host instead.

    With `sources` it seems to come from these hosts' nodes. Afterwards the list has how many were sent in a second.
    """
    command = [*hostile.prefix, sys.executable, "-m", "benchmarks.hostile", kind]
    command += [f"{victim.address}:{victim.peer_port}", "--rate", str(rate), "--seconds", str(LONGEST_FLOOD)]
    if at is not None:
        command += ["--at", f"{at.address}:{at.peer_port}"]
    for source in sources:
        command += ["--forge", f"{source.address}:{source.peer_port}"]
    sent: list[float] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError(f"the hostile host ended with {process.wait()} before it sent any {kind}")
        try:
            yield sent
        finally:
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=30)
        sent.append(float(output))


@contextmanager
def until_killed(command: Sequence[str]) -> Iterator[None]:
    """A process for the length of the block, which begins when it has said a line."""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError(f"{' '.join(command)} ended with {process.wait()}")
        try:
            yield
        finally:
            process.kill()


# A socket that takes all and reads nothing: a port without one would have the kernel send an error for each datagram.
_SINK = "import socket, time; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', {port})); print(flush=True)"
_SINK += "; time.sleep(1e6)"


def sink_at(host: Host) -> list[str]:
    """The command of one that takes all datagrams and does nothing."""
    return [*host.prefix, sys.executable, "-c", _SINK.format(port=host.peer_port)]


def _node_key(host: Host) -> str:
    return str(json.loads(ask(host, "/-/node")[1])["node_key"])


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
    parser.add_argument("--part", action="append", choices=PARTS, default=[])
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
    *hosts, hostile, sink = bridged(chosen.nodes + 2)
    for host in (hosts[VICTIM], sink):
        swallow_answers(host, "10.9.0.0/16", sink)
    console.print(f"{len(hosts)} nodes, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    parts = chosen.part or PARTS
    system = Camomile()
    with place(on_tmpfs=False) as directory:

        def command(host: Host) -> list[str]:
            return system.command(host, hosts[0], directory)

        with running(hosts, command, system.is_ready, directory / "nodes.log") as processes:
            time.sleep(SETTLED_AFTER)
            bench = Bench(processes, directory, console, chosen.seconds)
            if "puts" in parts:
                bench.too_much("puts", bench.puts, (1 + NEAR) * Requests().max_puts)
            if "gets" in parts:
                bench.too_much("hot gets", bench.hot_gets, CLIENTS)
            if "idlers" in parts:
                bench.idlers()
            if "streams" in parts:
                bench.slow_streams(hostile)
            if "lists" in parts:
                bench.node_lists(hostile)
            if "floods" in parts:
                with until_killed(sink_at(sink)):
                    bench.floods(hostile, sink, chosen.kind or [*KINDS])
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
