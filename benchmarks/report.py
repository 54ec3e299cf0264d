"""What is shown and kept: a table of ratios, one of absolute figures, the goals; and JSON with every round.

Rules of this file: medians over rounds, with the least and the most; a figure that was not measured is a dash.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.figures import Figure, over_rounds, ratio
from benchmarks.goals import GOALS, OURS, Bound, Table, verdict
from benchmarks.measuring import Figures

WORDS = {True: "[green]yes[/]", False: "[red]no[/]", None: "not known"}


def summed_up(rounds: Mapping[str, Sequence[Figures]]) -> dict[str, dict[str, Figure | None]]:
    """Every figure of every system over its rounds."""
    table: dict[str, dict[str, Figure | None]] = {}
    for system, measured in rounds.items():
        names = {name: None for each in measured for name in each}
        table[system] = {name: over_rounds([each.get(name) for each in measured]) for name in names}
    return table


def amount(figure: str, value: float) -> str:
    """In the unit that suits the figure."""
    cell, _, what = figure.partition("/")
    if what in ("p50", "p90", "p99") or (what == "CPU" and cell != "join"):
        return f"{value * 1e3:.2f} ms"
    if what in ("CPU", "seconds"):
        return f"{value:.1f} s"
    if what == "CPU share":
        return f"{value:.1%}"
    if cell == "memory":
        return f"{value / 1e6:.1f} MB"
    if what == "bytes":
        return f"{value / 1e3:.2f} kB"
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"


def shown(figure: str, found: Figure | None) -> str:
    if found is None:
        return "-"
    text = amount(figure, found.median)
    if found.rounds > 1:
        text += f" [dim]({amount(figure, found.least)} … {amount(figure, found.most)})[/]"
    return text


def bounds(figure: str, asked: Sequence[Bound]) -> str:
    words = []
    for each in asked:
        sign = "≥" if each.is_least else "≤"
        what = f"{each.factor:g} x {'healthy' if each.than else each.of}" if each.of else amount(figure, each.factor)
        words.append(f"{sign} {what}")
    return ", ".join(words)


def show(table: Table, console: Console) -> None:
    """Ratios first, absolute figures second, the goals last."""
    systems = list(table)
    names = list(dict.fromkeys(name for each in table.values() for name in each))
    ratios = RichTable("figure", *(f"ours / {each}" for each in systems if each != OURS), title="Ratios of medians")
    figures = RichTable("figure", *systems, title="Medians over rounds (least … most)")
    for name in names:
        found = [ratio(table.get(OURS, {}).get(name), table[each].get(name)) for each in systems if each != OURS]
        if not name.endswith(("/failed", "/count")):
            ratios.add_row(name, *("-" if each is None else f"{each:.2f}" for each in found))
        figures.add_row(name, *(shown(name, table[each].get(name)) for each in systems))
    goals = RichTable("figure", "ours", "opendht", "ratio", "must", "reached?", "goal", "reached?", title="Goals")
    for goal in GOALS:
        ours, theirs = (table.get(each, {}).get(goal.figure) for each in (OURS, "opendht"))
        part = ratio(ours, theirs)
        goals.add_row(
            goal.figure,
            amount(goal.figure, ours.median) if ours else "-",
            amount(goal.figure, theirs.median) if theirs else "-",
            "-" if part is None else f"{part:.2f}",
            bounds(goal.figure, goal.must),
            WORDS[verdict(goal.must, goal.figure, table)],
            bounds(goal.figure, goal.goal),
            WORDS[verdict(goal.goal, goal.figure, table)],
        )
    for each in (ratios, figures, goals):
        console.print(each)


def keep(path: Path, about: Mapping[str, object], rounds: Mapping[str, Sequence[Figures]], table: Table) -> None:
    path.parent.mkdir(exist_ok=True)
    figures = {
        system: {name: attrs.asdict(each) if each is not None else None for name, each in found.items()}
        for system, found in table.items()
    }
    document = {"about": about, "figures": figures, "rounds": rounds}
    path.write_text(json.dumps(document, indent=1, default=str) + "\n", encoding="utf-8")
