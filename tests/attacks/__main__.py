"""`make test-attacks`: the known attacks on fifty real nodes, row by row of the table in docs/security.md.

Rules of this file: the order of things, and what a person reads. Outside it only starts itself anew in namespaces of
its own. Exit codes: 0 what is asked was reached, 1 some of it was not, 2 misused, 3 there are no namespaces, so nothing
was tested.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import attrs
from rich.console import Console
from rich.table import Table

from benchmarks import isolation
from benchmarks.__main__ import place
from tests.attacks.network import Network
from tests.attacks.rows import ROWS, Line
from tools.arguments import whole

BUILD = Path("build")
NOWHERE = 3
MOST_SECONDS = 40 * 60
_WORDS = {True: "yes", False: "NO", None: ""}


def main(arguments: Sequence[str]) -> int:
    chosen = _parser().parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 230, highlight=False)
    if not shutil.which("wrk"):
        console.print("NOT RUN: wrk is missing (Debian: apt-get install wrk)")
        return NOWHERE
    BUILD.mkdir(exist_ok=True)
    if not isolation.is_inside():
        console.print(f"NOT RUN: {isolation.enter(arguments, 'tests.attacks')}")
        return NOWHERE
    isolation.prepare()
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(MOST_SECONDS)
    lines: list[Line] = []
    loads = [os.getloadavg()[0]]
    notes: list[str] = []
    began = time.monotonic()
    try:
        with place(on_tmpfs=True) as directory, Network.made(chosen.nodes, directory) as network:
            console.print(f"{chosen.nodes} nodes are ready after {time.monotonic() - began:.0f} s, load {loads[0]:.1f}")
            for number in [each for each in ROWS if each in (chosen.row or ROWS)]:
                at = time.monotonic()
                try:
                    found = ROWS[number](network)
                except (OSError, RuntimeError, http.client.HTTPException, subprocess.SubprocessError) as error:
                    found = [
                        Line(
                            number,
                            "could not be tried",
                            found=f"{type(error).__name__}: {error}"[:300],
                            is_reached=False,
                        )
                    ]
                lines += found
                for line in found:
                    console.print(_told(line))
                loads.append(os.getloadavg()[0])
                if note := network.forget_attackers():
                    notes.append(f"after row {number}: {note}")
                    console.print(notes[-1])
                console.print(f"row {number} took {time.monotonic() - at:.0f} s, load {loads[-1]:.1f}")
    except _TooLong:
        notes.append(f"not done after {MOST_SECONDS} s")
        console.print(notes[-1])
    finally:
        signal.alarm(0)
        lines.sort(key=lambda line: line.row)
        console.print(_table(lines))
        _write(lines, notes, chosen.nodes, loads, time.monotonic() - began)
    return int(
        len({line.row for line in lines}) < len(chosen.row or ROWS) or any(each.is_reached is False for each in lines)
    )


def _told(line: Line) -> str:
    words = [f"{name}: {text}" for name, text in attrs.asdict(line).items() if text not in ("", None)]
    return "; ".join(words)


def _table(lines: Sequence[Line]) -> Table:
    table = Table(
        "row", "attack", "puts", "gets", "p50 of puts, gets, ms", "bytes to victim", "seats", "honest copies", "found",
        "asked", "reached?",
    )  # fmt: skip
    for line in lines:
        texts = [line.attack, line.puts, line.gets, line.p50, line.to_victim, line.seats, line.copies, line.found]
        table.add_row(str(line.row), *texts, line.asked, _WORDS[line.is_reached])
    return table


def _write(lines: Sequence[Line], notes: Sequence[str], nodes: int, loads: Sequence[float], seconds: float) -> None:
    about = {
        "nodes": nodes,
        "cores": os.cpu_count(),
        "load": [round(each, 1) for each in loads],
        "python": platform.python_version(),
        "kernel": platform.release(),
        "seconds": round(seconds),
        "notes": list(notes),
    }
    document = {"about": about, "lines": [attrs.asdict(each) for each in lines]}
    (BUILD / "attacks.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


class _TooLong(Exception):
    """Each wait has its bound; this is the bound of all of them together."""


def _too_long(number: int, frame: FrameType | None) -> None:
    raise _TooLong


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description="Attack real nodes, and look.")
    parser.add_argument("--nodes", type=whole(40, 100), default=50)
    parser.add_argument("--row", type=int, action="append", choices=ROWS, help="this one; may be given several times")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
