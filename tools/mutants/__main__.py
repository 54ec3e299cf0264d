"""`make simulate-mutants`: defects of the real code, one at a time, and what in the simulation catches each.

Rules of this file: it prints one line for each, as soon as it is there, and a table for docs/simulation.md at the end.
Exit code 0 when every mutant was caught, by what was expected to catch it, and every run of the code as it is passed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools.arguments import whole
from tools.mutants.runs import Control, Verdict, try_mutant
from tools.mutants.simulated import MUTANTS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="only mutants whose words contain one of these")
    parser.add_argument("--jobs", type=whole(1, 64), default=len(os.sched_getaffinity(0)), help="so many runs at once")
    arguments = parser.parse_args()
    chosen = [each for each in MUTANTS if not arguments.names or any(name in each.what for name in arguments.names)]
    if not chosen:
        parser.error(f"no mutant's words contain {' or '.join(map(repr, arguments.names))}")
    began = time.monotonic()
    verdicts: list[Verdict] = []
    with tempfile.TemporaryDirectory(prefix="camomile-unmutated-") as folder:
        control = Control(Path(folder))
        # Each run is a process of its own, so threads that wait for them are enough.
        with ThreadPoolExecutor(max_workers=arguments.jobs) as pool:
            for verdict in pool.map(lambda mutant: try_mutant(mutant, control), chosen):
                verdicts.append(verdict)
                print(line(verdict), flush=True)
    caught = sum(bool(each.by) for each in verdicts)
    print(f"\n{caught} of {len(verdicts)} mutants were caught in {time.monotonic() - began:.0f} s\n")
    print("\n".join(table(verdicts)))
    for run in control.failures:
        print(f"without any mutant it fails too, so it shows nothing: {run}")
    return 0 if caught == len(verdicts) and not control.failures else 1


def line(verdict: Verdict) -> str:
    if verdict.run is None:
        return f"SURVIVED  {verdict.mutant.what} {verdict.mutant.where}; seen: {verdict.instead}"
    return f"caught    {verdict.mutant.what} {verdict.run}, by “{verdict.by}”"


def table(verdicts: list[Verdict]) -> list[str]:
    """In Markdown."""
    rows = ["| defect | scenario | seeds | caught with | by |", "|---|---|---|---|---|"]
    for each in verdicts:
        mutant = each.mutant
        scenario = f"`{mutant.scenario}`" + (f", {mutant.nodes} nodes" if mutant.nodes else "")
        seeds = f"{mutant.first_seed} to {mutant.first_seed + mutant.seeds - 1}"
        found = f"seed {each.run.seed}" if each.run is not None else "none"
        rows.append(f"| {mutant.what} | {scenario} | {seeds} | {found} | {each.by or 'nothing'} |")
    return rows


if __name__ == "__main__":
    sys.exit(main())
