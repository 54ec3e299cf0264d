"""How the outcome of a simulated run, and the list of scenarios, look to people.

Rules of this file: it shows whatever figures there are, under the names that they have; it computes none.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from camomile_trio.simulation.outcome import Outcome, Violation
from camomile_trio.simulation.scenario import Scenario

_WIDE = 160  # columns where nobody says how many there are
_SPARKS = "▁▂▃▄▅▆▇█"
_SPARK_WIDTH = 40
SHOWN_VIOLATIONS = 20

Figures = Mapping[str, object]


def print_outcome(outcome: Outcome) -> None:
    """Prints it to standard output: figures, claims, violations, and what repeats it."""
    console = _console()
    console.print(_summary(outcome))
    for title, figures in sections("", outcome.figures):
        console.print()
        if title:
            console.print(Text(title, style="bold"))
        console.print(Padding(_figures_table(figures), (0, 0, 0, 2), expand=False))
    if outcome.claims:
        console.print()
    for claim in outcome.claims:
        mark = Text("✓ ", style="green") if claim.is_true else Text("✗ ", style="bold red")
        expected = outcome.expected_failures.get(claim.what) if not claim.is_true else None
        because = f" (expected: {expected})" if expected is not None else ""
        console.print(mark + Text(one_line(f"{claim.what}: {claim.seen}{because}"), style="default not bold"))
    for rule, reads in outcome.not_judged.items():
        console.print(one_line(f"not judged, since packets were really sealed: {reads} ({rule})"), style="yellow")
    for violation in outcome.violations[:SHOWN_VIOLATIONS]:
        console.print()
        console.print(violation_text(violation, outcome))
    if outcome.violation_count > SHOWN_VIOLATIONS:
        console.print(f"\n… {outcome.violation_count - SHOWN_VIOLATIONS} more violations", style="red")
    console.print()
    console.print(verdict_text(outcome))


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False)


def _summary(outcome: Outcome) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    rate = f" ({outcome.messages / outcome.seconds:,.0f} a second)" if outcome.seconds else ""
    asked = f"{outcome.puts} puts, {outcome.gets} gets, {outcome.forgets} forgets; {outcome.failed} failed"
    for label, text in (
        ("scenario", f"{outcome.scenario}, {outcome.nodes} nodes, seed {outcome.seed}"),
        ("trace", outcome.trace),
        ("virtual time", seconds_text(outcome.virtual_seconds)),
        ("real time", f"{seconds_text(outcome.seconds)}, {bytes_text(outcome.memory)} of memory"),
        ("messages", f"{outcome.messages:,}{rate}, {bytes_text(outcome.bytes)}"),
        ("operations", asked),
        ("lost", f"{outcome.lost} promised keys without a holder{_lost_forgets(outcome)}"),
    ):
        table.add_row(label, text)
    return table


def _lost_forgets(outcome: Outcome) -> str:
    return f", {outcome.forgets_lost} forgets without a tombstone" if outcome.forgets_lost else ""


def sections(title: str, figures: Figures) -> Iterator[tuple[str, Figures]]:
    """The nested figures as flat tables: what has columns in common stays together, what is deeper comes after."""
    plain = {name: value for name, value in figures.items() if not isinstance(value, Mapping)}
    nested = {name: value for name, value in figures.items() if isinstance(value, Mapping)}
    rows = {name: value for name, value in nested.items() if _is_flat(value)}
    is_table = len(rows) > 1 and all(_has_columns_in_common(value, rows) for value in rows.values())
    if plain:
        yield title, plain
    if is_table:
        yield title, rows
    for name, value in nested.items():
        if not (is_table and name in rows):
            yield from sections(f"{title} · {name}" if title else name, value)


def _is_flat(figures: Figures) -> bool:
    return not any(isinstance(each, Mapping) for each in figures.values())


def _has_columns_in_common(row: Figures, rows: Mapping[str, Figures]) -> bool:
    return any(name in other for other in rows.values() if other is not row for name in row)


def _figures_table(figures: Figures) -> Table:
    rows = {name: value for name, value in figures.items() if isinstance(value, Mapping)}
    if not rows:
        table = Table(show_header=False, box=None, pad_edge=False)
        for name, value in figures.items():
            table.add_row(_name_text(name), figure_text(name, value))
        return table
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for column in columns:
        table.add_column(_name_text(column), justify="right")
    for name, row in rows.items():
        table.add_row(_name_text(name), *(figure_text(each, row[each]) if each in row else "" for each in columns))
    return table


def _name_text(name: str) -> Text:
    return Text(one_line(str(name)).replace("_", " "))


def figure_text(name: str, value: object) -> str:
    """One figure as people like to read it: 1,234, 0.123, 12 ms, 99.98 %, or a small curve of many."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, int):
        return bytes_text(value) if name.endswith("bytes") and value >= 10_000 else f"{value:,}"
    if isinstance(value, float):
        if name.endswith("seconds"):
            return seconds_text(value)
        if name.startswith("share") or name.endswith("share"):
            return f"{value:.2%}".replace("%", " %")
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _series_text(value)
    return one_line(str(value))


def _series_text(values: Sequence[object]) -> str:
    numbers = [each for each in values if isinstance(each, int | float)]
    if len(numbers) < len(values) or len(values) < 2:
        pairs = [each[-1] for each in values if isinstance(each, Sequence) and not isinstance(each, str) and each]
        if len(values) > 1 and len(pairs) == len(values):
            return _series_text(pairs)
        return one_line(", ".join(str(each) for each in values)) or "-"
    least, most = min(numbers), max(numbers)
    step = max(1.0, len(numbers) / _SPARK_WIDTH)
    picked = [numbers[int(each * step)] for each in range(int(len(numbers) / step))]
    span = (most - least) or 1
    curve = "".join(_SPARKS[int((each - least) / span * (len(_SPARKS) - 1))] for each in picked)
    return f"{curve} {figure_text('', numbers[0])} to {figure_text('', numbers[-1])}"


def violation_text(violation: Violation, outcome: Outcome) -> Text:
    """A violation with all that is needed to look into it."""
    at = f" at machine {violation.machine}" if violation.machine is not None else ""
    text = Text(f"✗ {one_line(violation.rule)}\n", style="bold red")
    if (expected := outcome.expected_failures.get(violation.rule)) is not None:
        text.append(f"  an expected failure: {one_line(expected)}\n", style="default not bold")
    text.append(f"  seed {outcome.seed}, {clock_text(violation.time)}{at}\n", style="default not bold")
    text.append(f"  expected: {one_line(violation.expected)}\n", style="default not bold")
    text.append(f"  seen:     {one_line(violation.seen)}\n", style="default not bold")
    text.append(f"  repeat:   {outcome.repeat}", style="default not bold")
    return text


def verdict_text(outcome: Outcome) -> Text:
    """The last line: whether it passed, and what repeats it."""
    if outcome.interrupted:
        verdict = Text("interrupted: these are the figures so far", style="yellow")
    elif outcome.passed:
        verdict = Text("passed", style="bold green")
    else:
        verdict = Text(one_line("; ".join(outcome.surprises)), style="bold red")
    return verdict + Text(f"; repeat it with {outcome.repeat}", style="default not bold")


def print_scenarios(scenarios: Sequence[Scenario]) -> None:
    """The list of scenarios."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("name", style="bold", no_wrap=True)
    table.add_column("nodes", justify="right")
    table.add_column("what happens", ratio=3)
    table.add_column("passes if", ratio=2)
    for each in scenarios:
        nodes = str(each.nodes) if each.nodes else "drawn"
        table.add_row(each.name, nodes, Text(each.summary), Text(each.passes))
    _console().print(table)


def one_line(text: str) -> str:
    """The text on one line, without what could steer a terminal."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


def bytes_text(count: float) -> str:
    """1.5 MiB."""
    return f"{count / 2**20:,.1f} MiB"


def seconds_text(seconds: float) -> str:
    """12 ms, 1.25 s, 3 min 20 s, 2 h 5 min, 6 d 4 h."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.2f} s"
    # Two units are enough: nobody wants the seconds of days.
    for unit, length, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        whole = round(seconds / part) * part
        if seconds + part / 120 >= length:
            rest = whole % length // part
            return f"{whole // length} {unit} {rest} {smaller}" if rest else f"{whole // length} {unit}"
    return f"{seconds:.0f} s"


def clock_text(seconds: float) -> str:
    """Virtual time as a clock that starts at 0: 0:00:12.345, or 3 d 0:00:12.345."""
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{days:.0f} d " * (days > 0) + f"{hours:.0f}:{minutes:02.0f}:{int(rest * 1000) / 1000:06.3f}"
