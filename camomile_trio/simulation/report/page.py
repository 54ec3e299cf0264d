"""The page: a table of runs, the pictures, what was claimed and violated, and how to repeat each run.

Rules of this file: one file, no script, nothing from any network; it is read from a disk, printed and mailed. Whatever
comes from an outcome is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from camomile_trio.simulation.outcome import Outcome
from camomile_trio.simulation.report.literature import Source, sources_on
from camomile_trio.simulation.report.pictures import Picture, name_of, pictures
from camomile_trio.simulation.report.values import number

PAGE = "index.html"
# Runs whose claims are shown one by one; beyond them only those that did not pass.
MOST_DETAILED = 50

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --dim: #5b6675; --rule: #d8dee6; --paper: #fff; --band: #e7eef7;
  --good: #1a7f45; --bad: #b3261e;
  --s0: #1f6fb4; --s1: #c4551b; --s2: #1b8a5a; --s3: #8a4fb0; --s4: #a3771a; --s5: #c2367a;
  --s6: #2b8f9b; --s7: #6b6f76 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --dim: #9aa6b5; --rule: #333c48; --paper: #12161c;
  --band: #1e2a3a; --good: #5fd08f; --bad: #ff8a80;
  --s0: #6cb2f0; --s1: #f2955c; --s2: #5fd0a0; --s3: #c79bea; --s4: #e0b85a; --s5: #f286b6;
  --s6: #6fd0dc; --s7: #aab0b8 } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem }
h1, h2, h3 { line-height: 1.2 } h2 { margin-top: 2.5rem }
table { border-collapse: collapse; width: 100%; font-size: .9rem } .wide { overflow-x: auto }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--rule); vertical-align: top }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
code { font-size: .85rem; overflow-wrap: anywhere } figure { margin: 1rem 0 } figcaption, .dim { color: var(--dim) }
.good { color: var(--good) } .bad { color: var(--bad); font-weight: 600 }
svg { width: 100%; height: auto } svg text { fill: var(--ink); font-size: 12px }
.grid { stroke: var(--rule) } .axis { stroke: var(--dim) } .band, .room { fill: var(--band) } .bar { fill: var(--s0) }
.line { fill: none; stroke-width: 2 } .reference { stroke-width: 1.2; opacity: .8 }
""" + "".join(f".l{place} {{ stroke: var(--s{place}) }} .f{place} {{ fill: var(--s{place}) }}\n" for place in range(8))


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
    published = "".join(map(_source, sources_on(picture.topic)))
    beside = f"<h3>Published</h3><ul>{published}</ul>" if published else ""
    return (
        f"<h2>{escape(picture.heading)}</h2><figure>{picture.svg}"
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>{beside}"
    )


def _source(source: Source) -> str:
    says = f"“{escape(source.says)}”" if source.is_quoted else escape(source.says)
    return (
        f"<li>{says}<br><span class='dim'>{escape(source.authors)} ({source.year}): "
        f"<cite>{escape(source.title)}</cite>. {escape(source.where)}</span></li>"
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
