"""Runs of the simulation against a copy of the code, and what they say of a mutant.

Rules of this file: each run is a process of its own, bounded in time. What the run found counts only by name: a mutant
is caught by a rule or a claim that was expected to see it, and only if the same run of the code as it is passes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import attrs

from tools.mutants.simulated import Mutant
from tools.mutants.source import StaleEdit, apply, copy_package

PATIENCE = 180.0  # s for one run


@attrs.frozen
class Run:
    """A scenario, with its number of nodes (0: as the scenario says) and its seed."""

    scenario: str
    nodes: int
    seed: int

    @property
    def arguments(self) -> list[str]:
        nodes = ["--nodes", str(self.nodes)] if self.nodes else []
        return ["simulate", "--scenario", self.scenario, *nodes, "--seed", str(self.seed), "--json"]

    def __str__(self) -> str:
        return f"{self.scenario}{f' with {self.nodes} nodes' if self.nodes else ''}, seed {self.seed}"


@attrs.frozen
class Seen:
    """What one run found: the names of violated rules and of claims that did not come true."""

    passed: bool
    wrong: tuple[str, ...] = ()


@attrs.frozen
class Verdict:
    """What became of a mutant. `by`: the rule or the claim that caught it; empty if none did."""

    mutant: Mutant
    by: str = ""
    run: Run | None = None
    instead: str = ""  # what was seen instead, of a mutant that was not caught


def simulate(folder: Path, run: Run) -> Seen:
    """One run of the package in `folder`."""
    command = [sys.executable, "-m", "camomile_trio", *run.arguments]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    try:
        # The copy comes first on Python's path, since it is also where the process is.
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return Seen(False, (f"took longer than {PATIENCE:g} s",))
    try:
        outcome = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        lines = done.stderr.strip().splitlines()
        return Seen(False, (f"broke: {lines[-1] if lines else f'exit code {done.returncode}'}",))
    failed = [claim["what"] for claim in outcome["claims"] if not claim["is_true"]]
    return Seen(bool(outcome["passed"]), (*outcome["violated_rules"], *failed))


class Control:
    """The code as it is, in one copy, so that nobody changes it meanwhile. Each run is made once, by whoever asks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        copy_package(folder)
        self._seen: dict[Run, Seen] = {}
        self._locks: dict[Run, threading.Lock] = {}
        self._guard = threading.Lock()

    @property
    def failures(self) -> list[Run]:
        """The runs that failed without any mutant."""
        return [run for run, seen in self._seen.items() if not seen.passed]

    def passes(self, run: Run) -> bool:
        with self._guard:
            lock = self._locks.setdefault(run, threading.Lock())
        with lock:
            if run not in self._seen:
                self._seen[run] = simulate(self._folder, run)
            return self._seen[run].passed


def try_mutant(mutant: Mutant, control: Control) -> Verdict:
    """Runs the mutant seed after seed, until one catches it."""
    instead: list[str] = []
    with tempfile.TemporaryDirectory(prefix="camomile-mutant-") as name:
        folder = Path(name)
        try:
            apply(mutant.edits, copy_package(folder))
        except StaleEdit as error:
            return Verdict(mutant, instead=str(error))
        for seed in range(mutant.first_seed, mutant.first_seed + mutant.seeds):
            run = Run(mutant.scenario, mutant.nodes, seed)
            seen = simulate(folder, run)
            caught = next((wrong for wrong in seen.wrong if any(each in wrong for each in mutant.caught_by)), "")
            if caught and control.passes(run):
                return Verdict(mutant, caught, run)
            instead += [each for each in seen.wrong if each not in instead]
    return Verdict(mutant, instead="; ".join(instead[:5]) or "nothing")
