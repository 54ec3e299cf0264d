"""`python -m benchmarks.adversaries`: the curve of S/Kademlia, share of adversaries against share of successful gets.

Rules of this file: the story is the simulation's (`simulation/scenarios/adversaries.py`); here are its points, several
seeds of each, the table and the plot that docs/simulation.md shows. Figures are shares in virtual time, so what else
the machine does makes no difference to them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
from pathlib import Path

import attrs

from camomile_trio.simulation.chart import Lines, Series
from camomile_trio.simulation.run import simulate
from camomile_trio.simulation.scenario import Plan
from camomile_trio.simulation.scenarios.adversaries import PERCENTS, scenario
from tools.arguments import whole

SIZES = (20, 5)  # of k
PLOT = Path("docs/adversaries.svg")
# The one figure in words of the abstract of Baumgart and Mies (2007): with disjoint paths.
PUBLISHED = (20.0, 99.0)


@attrs.frozen
class Point:
    """One run."""

    percent: int
    k: int
    seed: int
    read: float  # %
    acknowledged: float  # %


def run(point: tuple[int, int, int]) -> Point:
    percent, k, seed = point
    outcome = simulate(Plan(scenario=scenario(percent, k=k), seed=seed), properties=())
    operations = outcome.figures["operations"]
    assert isinstance(operations, dict)
    shares = [100 * operations[kind]["ok"] / operations[kind]["count"] for kind in ("get", "put")]
    return Point(percent, k, seed, *shares)


def table(points: list[Point], seeds: int) -> list[str]:
    """In Markdown."""
    heads = [f"k = {k}: gets | puts" for k in SIZES]
    rows = [f"| adversaries | {' | '.join(heads)} |", "|---" * (1 + 2 * len(SIZES)) + "|"]
    for percent in PERCENTS:
        cells = [f"{percent} %"]
        for k in SIZES:
            found = [each for each in points if (each.percent, each.k) == (percent, k)]
            least, most = min(each.read for each in found), max(each.read for each in found)
            spread = f" ({least:.1f} to {most:.1f})" if seeds > 1 else ""
            cells.append(f"{statistics.fmean(each.read for each in found):.1f} %{spread}")
            cells.append(f"{statistics.fmean(each.acknowledged for each in found):.1f} %")
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def plot(points: list[Point]) -> Lines:
    series = []
    for k in SIZES:
        line = [
            (float(percent), statistics.fmean(each.read for each in points if (each.percent, each.k) == (percent, k)))
            for percent in PERCENTS
        ]
        series.append(Series(f"Camomile, k = {k}", line, has_dots=True))
    series.append(Series("S/Kademlia, disjoint paths (2007)", [PUBLISHED, PUBLISHED], is_reference=True, has_dots=True))
    return Lines(
        title="Successful gets against the share of adversaries",
        x="adversaries, % of all nodes",
        y="successful gets, %",
        series=series,
        least_y=50.0,
        most_y=100.0,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adversaries", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=whole(1, 100), default=3, help="so many of each point")
    parser.add_argument("--jobs", type=whole(1, 64), default=len(os.sched_getaffinity(0)), help="so many runs at once")
    arguments = parser.parse_args()
    wanted = [(percent, k, seed + 1) for k in SIZES for percent in PERCENTS for seed in range(arguments.seeds)]
    points: list[Point] = []
    with multiprocessing.get_context("spawn").Pool(arguments.jobs, maxtasksperchild=1) as pool:
        for point in pool.imap(run, wanted):
            points.append(point)
            print(
                f"{point.percent} %, k = {point.k}, seed {point.seed}: {point.read:.1f} % of the gets,"
                f" {point.acknowledged:.1f} % of the puts",
                flush=True,
            )
    print("\n".join(["", *table(points, arguments.seeds)]))
    PLOT.write_text(plot(points).file(), "utf-8")


if __name__ == "__main__":
    main()
