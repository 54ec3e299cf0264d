"""The report of simulated runs: one HTML page with a table of runs, pictures, and what was claimed and violated.

Rules of this file: it reads `Outcome`s and knows no world; the same outcomes give the same page, byte for byte. One
file, no script, nothing from any network; it is read from a disk, printed and mailed. Whatever comes from an outcome is
escaped. What was not measured is left out and said so, never drawn as zero. At most `MOST_DRAWN` runs share one
picture, the first ones; its caption says so.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path

import attrs

from camomile_trio.simulation.chart import STYLE, Bars, Lines, Series
from camomile_trio.simulation.outcome import Outcome

PAGE = "index.html"
# Runs whose claims are shown one by one; beyond them only those that did not pass.
MOST_DETAILED = 50

_STYLE = (
    STYLE
    + """
:root { color-scheme: light dark; --paper: #fff; --good: #1a7f45; --bad: #b3261e }
@media (prefers-color-scheme: dark) { :root { --paper: #12161c; --good: #5fd08f; --bad: #ff8a80 } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem }
h1, h2, h3 { line-height: 1.2 } h2 { margin-top: 2.5rem }
table { border-collapse: collapse; width: 100%; font-size: .9rem } .wide { overflow-x: auto }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--rule); vertical-align: top }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
code { font-size: .85rem; overflow-wrap: anywhere } figure { margin: 1rem 0 } figcaption, .dim { color: var(--dim) }
.good { color: var(--good) } .bad { color: var(--bad); font-weight: 600 }
svg { width: 100%; height: auto }
"""
)


def write_report(outcomes: Sequence[Outcome], directory: Path) -> Path:
    """Writes the report on these runs into `directory`, which is made if need be, and returns the page's path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / PAGE
    path.write_text(page_of(outcomes), "utf-8")
    return path


def page_of(outcomes: Sequence[Outcome]) -> str:
    """The whole page."""
    passed = sum(each.passed for each in outcomes)
    drawn, missing = pictures(outcomes)
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Camomile simulation: {passed} of {len(outcomes)} passed</title><style>{_STYLE}</style></head><body>",
        f"<h1>Camomile simulation</h1><p>{passed} of {len(outcomes)} runs passed.</p>",
        _runs(outcomes),
        *map(_figure, drawn),
    ]
    if missing:
        parts.append(
            f'<p class="dim">Not drawn, since these runs did not measure it: {escape(", ".join(missing))}.</p>'
        )
    parts += ["<h2>Claims and violations</h2>", *map(_details, _detailed(outcomes))]
    left = len(outcomes) - len(_detailed(outcomes))
    if left:
        parts.append(f'<p class="dim">{left} more runs, which passed, are in the table above only.</p>')
    return "\n".join([*parts, "</body></html>\n"])


def _runs(outcomes: Sequence[Outcome]) -> str:
    head = "<tr><th>run</th><th></th>" + "".join(
        f'<th class="n">{name}</th>'
        for name in (
            "virtual time",
            "messages",
            "puts",
            "gets",
            "forgets",
            "failed",
            "lost",
            "exact lookups",
            "violations",
        )
    )
    rows = [head + "</tr>"]
    for each in outcomes:
        cells = (
            f"{each.virtual_seconds:,.0f} s",
            f"{each.messages:,}",
            *(f"{count:,}" for count in (each.puts, each.gets, each.forgets, each.failed, each.lost)),
            _exact(each),
            f"{each.violation_count:,}",
        )
        numbers = "".join(f'<td class="n">{escape(cell)}</td>' for cell in cells)
        rows.append(f"<tr><td>{escape(name_of(each))}</td><td>{_verdict(each)}</td>{numbers}</tr>")
    return f'<h2>Runs</h2><div class="wide"><table>{"".join(rows)}</table></div>'


def _exact(outcome: Outcome) -> str:
    """Of what users looked up, or of all probes if nobody looked anything up."""
    for sort in ("of_keys", "probes"):
        share = number(outcome.figures, "lookups", sort, "exact_share")
        if share is not None and number(outcome.figures, "lookups", sort, "judged"):
            return "100 %" if share >= 1 else f"{min(100 * share, 99.99):.2f} %"
    return "none"


def _verdict(outcome: Outcome) -> str:
    if outcome.interrupted:
        return '<span class="bad">interrupted</span>'
    return '<span class="good">passed</span>' if outcome.passed else '<span class="bad">failed</span>'


def _figure(picture: Picture) -> str:
    return (
        f"<h2>{escape(picture.heading)}</h2><figure>{picture.svg}"
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
    )


def _detailed(outcomes: Sequence[Outcome]) -> list[Outcome]:
    if len(outcomes) <= MOST_DETAILED:
        return list(outcomes)
    return [each for each in outcomes if not each.passed][:MOST_DETAILED]


def _details(outcome: Outcome) -> str:
    parts = [f"<h3>{escape(name_of(outcome))}: {_verdict(outcome)}</h3>"]
    parts.append(
        f"<p>Repeat it: <code>{escape(outcome.repeat)}</code><br>Trace: <code>{escape(outcome.trace)}</code></p>"
    )
    if outcome.claims:
        rows = "".join(
            f"<tr><td>{_mark(each.is_true)}</td><td>{escape(each.what)}</td><td>{escape(each.seen)}</td>"
            f"<td>{escape(outcome.expected_failures.get(each.what, ''))}</td></tr>"
            for each in outcome.claims
        )
        parts.append(
            '<div class="wide"><table><tr><th></th><th>claim</th><th>seen</th><th>known to fail because</th></tr>'
            f"{rows}</table></div>"
        )
    if outcome.violations:
        rows = "".join(
            f'<tr><td class="n">{each.time:,.3f} s</td><td>{escape(each.rule)}</td>'
            f"<td>{'' if each.machine is None else f'machine {each.machine}'}</td><td>{escape(each.expected)}</td>"
            f"<td>{escape(each.seen)}</td></tr>"
            for each in outcome.violations
        )
        shown = len(outcome.violations)
        more = f"<p>The first {shown} of {outcome.violation_count:,}.</p>" if outcome.violation_count > shown else ""
        parts.append(
            '<div class="wide"><table><tr><th class="n">virtual time</th><th>rule</th><th>where</th><th>expected</th>'
            f"<th>seen</th></tr>{rows}</table></div>{more}"
        )
    return "".join(parts)


def _mark(is_true: bool) -> str:
    return '<span class="good">✓ true</span>' if is_true else '<span class="bad">✗ false</span>'


MOST_DRAWN = 6
# Jimenez et al. (2011): median lookup latency in the Mainline DHT with their modified clients, in seconds.
MAINLINE_MEDIAN_S = (0.1, 0.2)
MOST_BARS = 40
_KINDS = ("put", "get", "forget")
# Hops are counted of lookups that nodes made once they had joined, where there are such.
_SORTS = ("probes", "of_keys", "of_nodes")


@attrs.frozen
class Picture:
    """A plot with what is said about it."""

    heading: str
    caption: str
    svg: str


def pictures(outcomes: Sequence[Outcome]) -> tuple[list[Picture], list[str]]:
    """Those that can be drawn, and the headings of those that cannot."""
    drawn, missing = [], []
    for heading, draw in _PICTURES.items():
        picture = draw(heading, outcomes)
        if picture is None:
            missing.append(heading)
        else:
            drawn.append(picture)
    return drawn, missing


def name_of(outcome: Outcome) -> str:
    """How a run is called in legends."""
    return f"{outcome.scenario}, {outcome.nodes} nodes, seed {outcome.seed}"


def _latency(heading: str, outcomes: Sequence[Outcome]) -> Picture | None:
    found = []
    for outcome in outcomes:
        for kind in _KINDS:
            curve = numbers(outcome.figures, "latency_curves_s", kind)
            if len(curve) > 1:
                name = kind if len(outcomes) == 1 else f"{kind}: {name_of(outcome)}"
                last = len(curve) - 1
                found.append(Series(name, [(1000 * each, 100 * place / last) for place, each in enumerate(curve)]))
    if not found:
        return None
    chart = Lines(
        title="Share of operations done within a time",
        x="virtual time, ms",
        y="done, %",
        series=found[:MOST_DRAWN],
        most_y=100.0,
        band=(1000 * MAINLINE_MEDIAN_S[0], 1000 * MAINLINE_MEDIAN_S[1]),
    )
    caption = (
        "Of those that succeeded. The marked range is the median of lookups that Jimenez et al. (2011) reached in the "
        "Mainline DHT: where a curve crosses 50 % is ours."
    )
    return Picture(heading, caption + _cut(len(found)), chart.svg())


def _hops(heading: str, outcomes: Sequence[Outcome]) -> Picture | None:
    by_size: dict[int, list[tuple[float, float]]] = {}
    for outcome in outcomes:
        sort = next((each for each in _SORTS if number(outcome.figures, "lookups", each, "hops_mean") is not None), "")
        mean = number(outcome.figures, "lookups", sort, "hops_mean")
        most = number(outcome.figures, "lookups", sort, "hops_p95")
        if outcome.nodes > 1 and mean is not None and most is not None:
            by_size.setdefault(outcome.nodes, []).append((mean, most))
    if not by_size:
        return None
    sizes = sorted(by_size)
    ours = {size: by_size[size] for size in sizes}
    chart = Lines(
        title="Hops of a lookup against the size of the network",
        x="nodes" if len(sizes) == 1 else "nodes (logarithmic)",
        y="hops",
        is_log_x=True,
        series=[
            Series(
                "mean", [(n, statistics.fmean(mean for mean, _ in each)) for n, each in ours.items()], has_dots=True
            ),
            Series("95th percentile", [(n, max(most for _, most in each)) for n, each in ours.items()], has_dots=True),
            Series(
                "⌈log2 n⌉ (Maymounkov, Mazières)", [(n, most_hops(n)) for n in sizes], is_reference=True, has_dots=True
            ),
        ],
    )
    caption = (
        "A hop is one answer in the longest chain of answers that led to one of the closest nodes; 1 means that the "
        "asker knew them all. Of lookups for random targets where there were such, else of those of users, where a get "
        "ends at the value."
    )
    return Picture(heading, caption, chart.svg())


def _hop_counts(heading: str, outcomes: Sequence[Outcome]) -> Picture | None:
    found = []
    for outcome in outcomes:
        for sort in _SORTS:
            counts = numbers(outcome.figures, "hops_counts", sort)
            total = sum(counts)
            if total:
                points = [(float(hops), 100 * count / total) for hops, count in enumerate(counts)]
                found.append(Series(f"{sort.replace('_', ' ')}: {name_of(outcome)}", points, has_dots=True))
                break
    if not found:
        return None
    chart = Lines(title="How many hops lookups took", x="hops", y="lookups, %", series=found[:MOST_DRAWN])
    return Picture(heading, "The share of lookups that took so many hops." + _cut(len(found)), chart.svg())


def _copies(heading: str, outcomes: Sequence[Outcome]) -> Picture | None:
    found = []
    for outcome in outcomes:
        times = numbers(outcome.figures, "copies", "time_s")
        for what in ("mean", "least"):
            copies = numbers(outcome.figures, "copies", what)
            if times and len(times) == len(copies):
                name = what if len(outcomes) == 1 else f"{what}: {name_of(outcome)}"
                minutes = [each / 60 for each in times]
                found.append(Series(name, list(zip(minutes, copies, strict=True))))
    if not found:
        return None
    chart = Lines(
        title="Copies of promised values over time", x="virtual time, minutes", y="copies", series=found[:MOST_DRAWN]
    )
    caption = "Over a sample of promised keys that have a copy at all."
    if len(outcomes) == 1 and (wanted := number(outcomes[0].figures, "copies", "wanted")) is not None:
        caption += f" There should be {wanted:.0f} of each."
    return Picture(heading, caption + _cut(len(found)), chart.svg())


def _load(heading: str, outcomes: Sequence[Outcome]) -> Picture | None:
    found = [
        Series(name_of(outcome), [(100 * place / (len(curve) - 1), 100 * each) for place, each in enumerate(curve)])
        for outcome in outcomes
        if len(curve := numbers(outcome.figures, "load_curve")) > 1
    ]
    if not found:
        return None
    even = Series("all alike", [(0.0, 0.0), (100.0, 100.0)], is_reference=True)
    chart = Lines(
        title="How evenly messages are spread over the nodes",
        x="least loaded nodes, %",
        y="their share of messages, %",
        series=[*found[: MOST_DRAWN - 1], even],
        most_y=100.0,
    )
    caption = "A Lorenz curve of messages received per second: the nearer to the straight line, the more even."
    return Picture(heading, caption + _cut(len(found), MOST_DRAWN - 1), chart.svg())


def _success(heading: str, outcomes: Sequence[Outcome]) -> Picture | None:
    rows = []
    for outcome in outcomes:
        gets = section(outcome.figures, "operations", "get")
        count, ok = number(gets, "count"), number(gets, "ok")
        if count is None or ok is None:
            continue
        # Who died with its user's question is not asked for an answer.
        asked = count - (number(gets, "cut_off") or 0.0)
        if asked > 0:
            rows.append(
                (f"{outcome.scenario}, seed {outcome.seed}", ok / asked, f"{_percent(ok, asked)} of {asked:.0f}")
            )
    if not rows:
        return None
    chart = Bars(title="Share of gets that brought the value", rows=rows[:MOST_BARS])
    caption = (
        "Gets that brought the value, of all whose node lived to the end of them; what was forgotten counts as not."
    )
    return Picture(heading, caption + _cut(len(rows), MOST_BARS), chart.svg())


def _percent(part: float, whole: float) -> str:
    # Never rounded up to all of them.
    return "100 %" if part >= whole else f"{min(100 * part / whole, 99.99):.2f} %"


def _cut(there: int, drawn: int = MOST_DRAWN) -> str:
    return f" Drawn are the first {drawn} of {there}." if there > drawn else ""


_Draw = Callable[[str, Sequence[Outcome]], Picture | None]
_PICTURES: dict[str, _Draw] = {
    "Latency": _latency,
    "Hops against size": _hops,
    "Hops": _hop_counts,
    "Copies over time": _copies,
    "Load": _load,
    "Success of gets": _success,
}


def most_hops(nodes: int) -> int:
    """⌈log2 n⌉: what a lookup that comes one bit nearer with each hop needs (Maymounkov and Mazières, 2002)."""
    return math.ceil(math.log2(nodes)) if nodes > 1 else 0


def section(figures: Mapping[str, object], *path: str) -> Mapping[str, object]:
    """The figures at the end of the path; empty if there are none."""
    for name in path:
        found = figures.get(name)
        figures = found if isinstance(found, Mapping) else {}
    return figures


def number(figures: Mapping[str, object], *path: str) -> float | None:
    """The number at the end of the path, if there is one."""
    found = section(figures, *path[:-1]).get(path[-1])
    return float(found) if isinstance(found, int | float) else None


def numbers(figures: Mapping[str, object], *path: str) -> list[float]:
    """The list of numbers at the end of the path; empty if there is none."""
    found = section(figures, *path[:-1]).get(path[-1])
    return [float(each) for each in found] if isinstance(found, list) else []
