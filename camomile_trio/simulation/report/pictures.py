"""Which pictures are drawn of runs, and from which figures.

Rules of this file: a picture whose figures are missing is None. At most `MOST_DRAWN` runs share one picture, the first
ones; its caption says so. Published results stand beside ours only where they measure the same thing.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import attrs

from camomile_trio.simulation.outcome import Outcome
from camomile_trio.simulation.report.chart import Bars, Lines, Series
from camomile_trio.simulation.report.literature import CHURN, HOPS, LATENCY, MAINLINE_MEDIAN_S, most_hops
from camomile_trio.simulation.report.values import number, numbers, section

MOST_DRAWN = 6
MOST_BARS = 40
_KINDS = ("put", "get", "forget")
# Hops are counted of lookups that nodes made once they had joined, where there are such.
_SORTS = ("probes", "of_keys", "of_nodes")


@attrs.frozen
class Picture:
    """A plot with what is said about it. `topic`: of the published results that stand beside it."""

    heading: str
    caption: str
    svg: str
    topic: str = ""


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
    return Picture(heading, caption + _cut(len(found)), chart.svg(), LATENCY)


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
    return Picture(heading, caption, chart.svg(), HOPS)


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
    return Picture(heading, caption + _cut(len(rows), MOST_BARS), chart.svg(), CHURN)


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
