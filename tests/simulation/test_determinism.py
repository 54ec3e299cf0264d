"""The same seed, the same run, bit for bit; and a hunt for whatever could make two runs differ.

Rules of this file: each exception from the hunt has its reason, and one that is not needed any more is an error.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import attrs
import pytest

from camomile_trio.simulation.run import simulate
from camomile_trio.simulation.scenario import Plan
from camomile_trio.simulation.world import World
from tests.simulation.leaks import leaks
from tests.simulation.orchard import ORCHARD, grow, plan

PACKAGE = Path(__file__).resolve().parents[2] / "camomile_trio"

# What never runs in a simulation: the real sockets and disks, what is generated, and what stands outside.
REAL_WORLD = (
    *("http", "cli", "wire/generated"),
    *("simulation/command.py", "simulation/seeds.py"),
    *("transport/udp.py", "transport/stream.py", "transport/pool.py", "transport/sockaddr.py"),
    *("storage/sqlite.py", "storage/database.py", "storage/journal.py", "storage/data_directory.py"),
)
ALLOWED = {
    ("secret_files.py", "imports tempfile"): "names a file before it takes another's place; nobody sees that name",
    ("simulation/key_files.py", "imports tempfile"): "the folder of the key files; no node tells its name",
    ("node/names.py", "uses trio.to_thread"): "the system's resolver; a simulated machine is given its own",
    ("peer/exchanges.py", "uses trio.to_thread"): "values above 4 MiB; those of simulations are smaller",
    ("peer/streams.py", "uses trio.to_thread"): "values above 4 MiB; those of simulations are smaller",
    ("operations/very_large.py", "uses trio.to_thread"): "values above 4 MiB; those of simulations are smaller",
    ("node/node.py", "imports time"): "the wall clock of who gives none; a simulated machine has its own",
    ("node/node.py", "uses random.SystemRandom"): "the generator of who gives none; a simulated machine has its own",
    ("simulation/run.py", "imports time"): "how long a run took in real time, outside of it, for its outcome only",
}


def simulated_modules() -> list[str]:
    found = (str(path.relative_to(PACKAGE)) for path in sorted(PACKAGE.rglob("*.py")))
    return [each for each in found if not each.startswith(REAL_WORLD)]


@pytest.mark.parametrize("module", simulated_modules())
def test_nothing_that_runs_in_a_simulation_can_see_what_differs_between_runs(module: str) -> None:
    found = {(module, each.partition(": ")[2]) for each in leaks((PACKAGE / module).read_text("utf-8"))}
    expected = {each for each in ALLOWED if each[0] == module}
    assert found == expected


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("import time", "imports time"),
        ("from datetime import datetime", "imports datetime"),
        ("import os\nos.urandom(8)", "uses os.urandom"),
        ("from os import urandom", "imports os.urandom"),
        ("import uuid", "imports uuid"),
        ("import threading", "imports threading"),
        ("import random\nrandom.choice([1])", "uses random.choice"),
        ("from random import shuffle", "imports random.shuffle"),
        ("import random\nrandom.Random()", "without a seed"),
        ("import random\nrandom.SystemRandom()", "uses random.SystemRandom"),
        ("sorted(nodes, key=lambda node: id(node))", "calls id()"),
        ("hash(key) % 2", "calls hash()"),
        ("import trio\ntrio.to_thread.run_sync(work)", "uses trio.to_thread"),
        ("for each in {1, 2}: pass", "goes through the set"),
        ("[each for each in set(nodes)]", "goes through the set"),
        ("asked = set()\nfor each in asked: pass", "goes through the set asked"),
        ("class A:\n    cuts: set[bytes]\n    def f(self): return list(self.cuts)", "list() of the set self.cuts"),
        ("def f(nodes: frozenset[int]): return [*nodes]", "spreads the set nodes"),
        ("def near() -> set[int]: ...\nfor each in near(): pass", "goes through the set near()"),
        ("a = set()\nb = a or {1}\nnext(iter(b))", "iter() of the set b"),
        ("for each in old.keys() - new.keys(): pass", "goes through the set"),
        ("a = {1}\nrng.choice(a)", "takes the set a in order"),
        ("a = {1}\na.pop()", "pops anything"),
    ],
)
def test_the_hunt_finds(source: str, complaint: str) -> None:
    found = list(leaks(source))
    assert any(complaint in each for each in found), found


@pytest.mark.parametrize(
    "source",
    [
        "for each in sorted({2, 1}): pass",
        "asked = set()\nx = key in asked",
        "from random import Random\nrng = Random(7)",
        "import random\ndef f(rng: random.Random): return rng.random()",
        "for each in {1: 2}: pass",
        "for each in known.keys(): pass",
        "size = len({1, 2})",
    ],
)
def test_the_hunt_lets_through(source: str) -> None:
    assert list(leaks(source)) == []


@pytest.mark.real_time
def test_two_processes_with_different_hash_seeds_give_the_same_trace_and_another_seed_another() -> None:
    def trace(seed: int, hash_seed: str) -> object:
        words = ("simulate", "--nodes", "12", "--seed", str(seed), "--json")
        done = subprocess.run(
            [sys.executable, "-m", "camomile_trio", *words],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        return json.loads(done.stdout.splitlines()[-1])["trace"]

    first = trace(7, "1")
    assert trace(7, "4242") == first
    assert trace(8, "1") != first


def test_a_run_is_the_same_again_in_a_process_that_has_run_others() -> None:
    first = simulate(plan(3))
    simulate(plan(4))
    again = simulate(plan(3))
    assert again.trace == first.trace
    assert (again.messages, again.virtual_seconds, again.figures) == (
        first.messages,
        first.virtual_seconds,
        first.figures,
    )


def test_a_run_looks_at_no_real_clock_and_no_real_chance_and_starts_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def leak(*args: object, **named: object) -> None:
        raise AssertionError("this differs from run to run")

    async def watched(world: World, nodes: int) -> None:
        with monkeypatch.context() as patch:
            for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "sleep"):
                patch.setattr(time, name, leak)
            for name in ("random", "randint", "choice", "shuffle", "getrandbits", "randbytes", "uniform", "sample"):
                patch.setattr(random, name, leak)
            patch.setattr(random.SystemRandom, "getrandbits", leak)
            patch.setattr(random.SystemRandom, "random", leak)
            patch.setattr(os, "urandom", leak)
            patch.setattr(uuid, "uuid4", leak)
            patch.setattr(threading.Thread, "start", leak)
            await grow(world, nodes)

    expected = simulate(plan())
    outcome = simulate(Plan(scenario=attrs.evolve(ORCHARD, run=watched)))
    assert outcome.passed, outcome.surprises
    assert outcome.violations == ()
    assert outcome.trace == expected.trace
