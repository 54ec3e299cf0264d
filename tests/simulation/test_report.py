"""The report: one page that needs nothing else, names every run, and draws what was measured and nothing that was not.

Rules of this file: the page is read back as HTML, never compared with a stored one.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import attrs
import pytest

from camomile_trio.simulation.chart import Bars, Lines, Series
from camomile_trio.simulation.outcome import Claim, Outcome, Violation
from camomile_trio.simulation.report import most_hops, number, numbers, page_of, section, write_report

VOID = {"meta", "br", "line", "rect", "circle", "polyline"}

FIGURES: dict[str, object] = {
    "operations": {"get": {"count": 100, "ok": 95, "failed": 3, "cut_off": 2}},
    "latency_curves_s": {"put": [0.1 + place / 1000 for place in range(101)], "get": [0.05] * 101},
    "lookups": {"of_keys": {"hops_mean": 1.8, "hops_p95": 3, "judged": 50, "exact_share": 0.99999}},
    "hops_counts": {"of_keys": [0, 20, 60, 20]},
    "load_curve": [place / 100 for place in range(101)],
    "copies": {"wanted": 20, "time_s": [60.0, 120.0], "least": [18, 20], "mean": [19.5, 20.0]},
}


def outcome(scenario: str = "orchard", *, nodes: int = 50, seed: int = 1, figures: object = FIGURES) -> Outcome:
    assert isinstance(figures, dict)
    return Outcome(
        scenario=scenario,
        nodes=nodes,
        seed=seed,
        trace="ab" * 16,
        virtual_seconds=600.0,
        messages=12345,
        bytes=1,
        puts=10,
        gets=100,
        forgets=0,
        failed=3,
        lost=0,
        violation_count=0,
        violations=(),
        claims=(Claim("every apple was read", True, "95 of 95"),),
        figures=figures,
        repeat=f"camomile simulate --scenario {scenario} --nodes {nodes} --seed {seed}",
    )


@attrs.define
class Page(HTMLParser):
    """What is on a page: its text, its tags, and whether each that was opened was closed."""

    text: str = ""
    tags: list[str] = attrs.field(factory=list)
    attributes: list[tuple[str, str]] = attrs.field(factory=list)
    is_well_formed: bool = True
    _open: list[str] = attrs.field(factory=list)

    def __attrs_pre_init__(self) -> None:
        super().__init__()

    @classmethod
    def of(cls, html: str) -> Page:
        page = cls()
        page.feed(html)
        page.close()
        page.is_well_formed &= not page._open
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self.is_well_formed &= bool(self._open) and self._open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_and_names_every_run_and_how_to_repeat_it(tmp_path: Path) -> None:
    runs = [outcome(), outcome("harvest", nodes=200, seed=7)]
    path = write_report(runs, tmp_path / "made" / "here")
    page = Page.of(path.read_text("utf-8"))
    assert page.is_well_formed
    for run in runs:
        assert f"{run.scenario}, {run.nodes} nodes, seed {run.seed}" in page.text
        assert run.repeat in page.text
        assert run.trace in page.text
    assert "2 of 2 runs passed" in page.text


def test_it_needs_no_network_and_no_script() -> None:
    html = page_of([outcome()])
    page = Page.of(html)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert not {"src", "href", "xlink:href", "onload"} & {name for name, _ in page.attributes}
    assert "http:" not in html
    assert "https:" not in html
    assert "url(" not in html
    assert "@import" not in html


def test_it_draws_what_was_measured_with_titles_and_units() -> None:
    page = Page.of(page_of([outcome()]))
    assert page.tags.count("svg") == 6
    labels = [value for name, value in page.attributes if name == "aria-label"]
    assert len(labels) == 6
    for unit in ("virtual time, ms", "hops", "virtual time, minutes", "least loaded nodes, %", "97 % of 98"):
        assert unit.replace("97 %", "96.94 %") in page.text
    assert "Not drawn" not in page.text


def test_what_was_not_measured_is_left_out_and_said_so() -> None:
    page = Page.of(page_of([outcome(figures={})]))
    assert "svg" not in page.tags
    assert "Not drawn, since these runs did not measure it: Latency, Hops against size" in page.text


def test_nearly_all_is_never_rounded_up_to_all() -> None:
    assert "99.99 %" in Page.of(page_of([outcome()])).text


def test_hops_are_drawn_against_the_size_of_the_network() -> None:
    runs = [outcome(nodes=nodes) for nodes in (100, 10, 1000)]
    html = page_of(runs)
    drawn = re.search(r"<svg[^>]*Hops of a lookup against.*?</svg>", html)
    assert drawn is not None
    assert drawn.group().count("<circle") == 9
    assert [most_hops(nodes) for nodes in (1, 2, 1000, 10_000)] == [0, 1, 10, 14]


def test_failures_show_and_whatever_they_say_is_only_text() -> None:
    bad = attrs.evolve(
        outcome(),
        violation_count=3,
        violations=(Violation("<b>no worm</b>", 12.5, 4, "none", "<script>alert(1)</script>"),),
        violated_rules={"<b>no worm</b>": 3},
        claims=(Claim("every apple is sweet", False, "2 of 3"),),
    )
    page = Page.of(page_of([bad]))
    assert page.is_well_formed
    assert "0 of 1 runs passed" in page.text
    assert "machine 4" in page.text
    assert "The first 1 of 3." in page.text
    assert "<script>alert(1)</script>" in page.text
    assert "script" not in page.tags
    assert "✗ false" in page.text


def test_many_runs_make_a_short_page() -> None:
    runs = [outcome(seed=seed) for seed in range(200)]
    runs[17] = attrs.evolve(runs[17], claims=(Claim("every apple is sweet", False, "none"),))
    page = Page.of(page_of(runs))
    assert runs[17].repeat in page.text
    assert "199 more runs, which passed" in page.text
    assert "Drawn are the first" in page.text


def test_the_same_runs_give_the_same_page() -> None:
    assert page_of([outcome()]) == page_of([outcome()])


@pytest.mark.parametrize("points", [[(0.0, 0.0)], [(1.0, 5.0), (1.0, 5.0)], [(0.0, -1.0), (3.0, 1e9)]])
def test_a_plot_of_hardly_anything_is_still_a_plot(points: list[tuple[float, float]]) -> None:
    svg = Lines(title="little", x="s", y="n", series=[Series("it", points)]).svg()
    assert "nan" not in svg
    assert Page.of(svg).is_well_formed
    assert Page.of(
        Bars(title="none", rows=[("one", 2.0, "too much"), ("two", -1.0, "too little")]).svg()
    ).is_well_formed


def test_figures_that_are_not_there_count_as_missing() -> None:
    figures = {"a": {"b": [1, 2], "e": 3}}
    assert section(figures, "a", "b") == {}
    assert (numbers(figures, "a", "b"), numbers(figures, "a", "e"), numbers(figures, "x", "b")) == ([1.0, 2.0], [], [])
    assert (number(figures, "a", "e"), number(figures, "a", "b"), number(figures, "x", "e")) == (3.0, None, None)
