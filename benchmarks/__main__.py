"""`make bench`, `bench-quick`, `bench-full`: ours and its peers in one run on the same hosts.

Rules of this file: systems alternate in rounds and one runs at a time. A peer that is missing or fails is told, and the
others go on. No figure is compared with a remembered one.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPException
from pathlib import Path

import attrs
from rich.console import Console

from benchmarks import isolation, report
from benchmarks.checkouts import look
from benchmarks.extent import EXTENTS, Extent
from benchmarks.hosts import Host, bridged, loopback
from benchmarks.measuring import Figures, measure, measure_hello
from benchmarks.peers import Classic, Kademlia, OpenDht
from benchmarks.systems import ROOT, Camomile, Hello, System

BUILD = Path("build")
TMPFS = "camomile, tmpfs"


@contextlib.contextmanager
def place(on_tmpfs: bool) -> Iterator[Path]:
    """A directory for one round, on the disk that the checkout is on, or in memory."""
    with tempfile.TemporaryDirectory(prefix="bench-data-", dir=BUILD) as directory:
        if not on_tmpfs:
            yield Path(directory)
            return
        if isolation.is_inside():
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", directory], check=True, timeout=30)
            try:
                yield Path(directory)
            finally:
                subprocess.run(["umount", "-l", directory], check=True, timeout=30)
        else:
            with tempfile.TemporaryDirectory(prefix="camomile-bench-", dir="/dev/shm") as memory:
                yield Path(memory)


def run_all(
    extent: Extent, systems: Sequence[System], hosts: Sequence[Host], console: Console
) -> dict[str, list[Figures]]:
    """Every system's figures, round for round. On Ctrl-C: those of the rounds so far."""
    rounds: dict[str, list[Figures]] = {each.name: [] for each in systems}
    with contextlib.suppress(KeyboardInterrupt):
        for number in range(extent.rounds):
            told = f"round {number + 1} of {extent.rounds}"
            # Whoever comes first in one round comes last in the next.
            turn = systems if number % 2 == 0 else list(reversed(systems))
            for system in turn:
                _one(rounds, system, hosts, extent, told, console)
            if extent.has_tmpfs and number == extent.rounds - 1:
                _one(rounds, Camomile(TMPFS), hosts, extent, told, console)
            with place(on_tmpfs=False) as directory:
                rounds.setdefault("hello", []).append(measure_hello(Hello(), hosts[1], extent, directory))
    return rounds


def _one(
    rounds: dict[str, list[Figures]],
    system: System,
    hosts: Sequence[Host],
    extent: Extent,
    told: str,
    console: Console,
) -> None:
    began = time.monotonic()
    try:
        with place(on_tmpfs=system.name == TMPFS) as directory:
            rounds.setdefault(system.name, []).append(measure(system, hosts, extent, directory))
    except (OSError, LookupError, RuntimeError, ValueError, HTTPException, subprocess.SubprocessError) as error:
        console.print(f"[red]{system.name} failed in {told}[/]: {error!r}")
    console.print(f"{told}: {system.name} {time.monotonic() - began:.0f} s")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("extent", choices=EXTENTS, nargs="?", default="bench")
    parser.add_argument("--nodes", type=int, help="instead of the extent's number")
    parser.add_argument("--rounds", type=int, help="instead of the extent's number")
    parser.add_argument("--seconds", type=int, help="of load for a cell, instead of the extent's")
    parser.add_argument("--only", action="append", default=[], help="a system; may be repeated")
    parser.add_argument("--classic", default="", metavar="PATH", help="a binary of classic Camomile")
    parser.add_argument("--loopback", action="store_true", help="no namespaces")
    chosen = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 170, highlight=False)
    if not shutil.which("wrk"):
        console.print("wrk is missing, and nothing is measured without it (Debian: apt-get install wrk)")
        return 1
    if chosen.nodes is not None and chosen.nodes < 5:
        parser.error("at least 5 nodes: one to join by, a writer, two readers, one to kill")
    own = {key: getattr(chosen, key) for key in ("nodes", "rounds", "seconds") if getattr(chosen, key) is not None}
    extent = attrs.evolve(EXTENTS[chosen.extent], **own)
    BUILD.mkdir(exist_ok=True)
    if isolation.is_inside():
        isolation.prepare()
        hosts = bridged(extent.nodes)
        hosts_are = "network namespaces on one bridge"
    else:
        # What needs a package registry is made while there is one: inside there is no network but the harness's own.
        missing = {each.name: each.missing() for each in _peers(chosen.classic, extent)}
        for name, why in missing.items():
            if why and name in (chosen.only or extent.peers):
                console.print(f"[yellow]{name} is left out[/]: {why}")
        reason = "as asked" if chosen.loopback else isolation.enter(arguments)
        hosts = loopback(extent.nodes)
        hosts_are = f"addresses of loopback, {reason}: no messages or bytes, and peers limit what one address may ask"
    systems: list[System] = [Camomile(), *(each for each in _peers(chosen.classic, extent) if not each.missing())]
    systems = [each for each in systems if not chosen.only or each.name in chosen.only]
    interpreter = look(sys.executable, ROOT)
    about = {
        "extent": attrs.asdict(extent),
        "systems": [each.name for each in systems],
        "hosts": hosts_are,
        "cores": os.cpu_count(),
        "load average before": os.getloadavg(),
        "interpreter": attrs.asdict(interpreter),
        "kernel": platform.release(),
    }
    console.print(f"{extent.nodes} nodes, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {hosts_are}")
    console.print(f"camomile on {interpreter}")
    began = time.monotonic()
    rounds = run_all(extent, systems, hosts, console)
    table = report.summed_up(rounds)
    report.show(table, console)
    path = BUILD / f"{chosen.extent}.json"
    report.keep(path, {**about, "seconds": time.monotonic() - began}, rounds, table)
    console.print(f"{time.monotonic() - began:.0f} s; every round is in {path}")
    return 0


def _peers(classic: str, extent: Extent) -> list[System]:
    peers: list[System] = [OpenDht(), Kademlia(), Classic(classic)]
    return [each for each in peers if each.name in extent.peers]


def _stop(signal_number: int, frame: object) -> None:
    sys.exit(128 + signal_number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(main(sys.argv[1:]))
