"""Two kinds of plots as SVG: lines over two axes, and bars beside names.

Rules of this file: numbers in, SVG text out; it knows no simulation. Colours come from the page, which has `STYLE` for
all of its plots, so that a plot is right in light and in dark; a plot in a file of its own brings it along. A series
differs from the others by its dashes too, not by colour alone; every plot has a title for who cannot see it, and axes
with their units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import attrs

WIDTH, HEIGHT = 640, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 16, 48
_ROW = 26  # of bars, and of the legend
_NAMES = 220  # px for the names beside bars
_TICKS = 5
_DASHES = ("", "8 4", "2 3", "10 3 2 3")
COLOURS = 8

STYLE = """
:root { --ink: #1d2430; --dim: #5b6675; --rule: #d8dee6; --band: #e7eef7;
  --s0: #1f6fb4; --s1: #c4551b; --s2: #1b8a5a; --s3: #8a4fb0; --s4: #a3771a; --s5: #c2367a;
  --s6: #2b8f9b; --s7: #6b6f76 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --dim: #9aa6b5; --rule: #333c48; --band: #1e2a3a;
  --s0: #6cb2f0; --s1: #f2955c; --s2: #5fd0a0; --s3: #c79bea; --s4: #e0b85a; --s5: #f286b6;
  --s6: #6fd0dc; --s7: #aab0b8 } }
svg text { fill: var(--ink); font: 12px system-ui, sans-serif }
.grid { stroke: var(--rule) } .axis { stroke: var(--dim) } .band, .room { fill: var(--band) } .bar { fill: var(--s0) }
.line { fill: none; stroke-width: 2 } .reference { stroke-width: 1.2; opacity: .8 }
""" + "".join(f".l{place} {{ stroke: var(--s{place}) }} .f{place} {{ fill: var(--s{place}) }}\n" for place in range(8))


@attrs.frozen
class Series:
    """Points in order of x. `is_reference`: another's, drawn thin."""

    name: str
    points: Sequence[tuple[float, float]]
    is_reference: bool = False
    has_dots: bool = False


@attrs.frozen(kw_only=True)
class Lines:
    """A line chart. With `is_log_x` every x must be above 0."""

    title: str
    x: str  # with its unit
    y: str
    series: Sequence[Series]
    is_log_x: bool = False
    band: tuple[float, float] | None = None  # a range of x that is marked
    least_y: float = 0.0
    most_y: float | None = None

    def svg(self) -> str:
        """The plot and its legend."""
        xs = [x for each in self.series for x, _ in each.points] + list(self.band or ())
        ys = [y for each in self.series for _, y in each.points]
        x_scale = _Scale.of(min(xs), max(xs), _LEFT, WIDTH - _RIGHT, is_log=self.is_log_x)
        top = max(ys) if self.most_y is None else self.most_y
        y_scale = _Scale.of(min(self.least_y, *ys), top, HEIGHT - _BOTTOM, _TOP)
        height = HEIGHT + _ROW * math.ceil(len(self.series) / 2)
        parts = [_opening(self.title, height)]
        if self.band is not None:
            low, high = (x_scale.at(each) for each in self.band)
            parts.append(
                f'<rect class="band" x="{low:.1f}" y="{_TOP}" width="{max(high - low, 1):.1f}" '
                f'height="{HEIGHT - _TOP - _BOTTOM}"/>'
            )
        parts += self._axes(x_scale, y_scale)
        for place, each in enumerate(self.series):
            parts += _line(each, place, x_scale, y_scale) + _legend(each.name, place, each.is_reference)
        return "".join([*parts, "</svg>"])

    def file(self) -> str:
        """The same as a file of its own."""
        head, rest = self.svg().split(">", 1)
        return f'{head} xmlns="http://www.w3.org/2000/svg"><style>{STYLE}</style>{rest}\n'

    def _axes(self, x_scale: _Scale, y_scale: _Scale) -> list[str]:
        bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
        parts = []
        for tick in y_scale.ticks():
            at = y_scale.at(tick)
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>')
            parts.append(_text(_LEFT - 6, at + 4, _label(tick), "end"))
        for tick in x_scale.ticks():
            at = x_scale.at(tick)
            parts.append(f'<line class="axis" x1="{at:.1f}" x2="{at:.1f}" y1="{bottom}" y2="{bottom + 4}"/>')
            parts.append(_text(at, bottom + 17, _label(tick), "middle"))
        parts.append(f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
        parts.append(_text((_LEFT + right) / 2, bottom + 36, self.x, "middle"))
        middle = (_TOP + bottom) / 2
        parts.append(f'<g transform="rotate(-90 14 {middle:.0f})">{_text(14, middle, self.y, "middle")}</g>')
        return parts


@attrs.frozen(kw_only=True)
class Bars:
    """Shares of 1 beside names, with a word on each."""

    title: str
    rows: Sequence[tuple[str, float, str]]

    def svg(self) -> str:
        height = _ROW * len(self.rows) + 8
        parts = [_opening(self.title, height)]
        room = WIDTH - _NAMES - 130
        for place, (name, share, word) in enumerate(self.rows):
            y = place * _ROW + 8
            width = max(min(share, 1.0), 0.0) * room
            parts.append(_text(_NAMES - 8, y + 13, name, "end"))
            parts.append(f'<rect class="room" x="{_NAMES}" y="{y}" width="{room}" height="16"/>')
            parts.append(f'<rect class="bar" x="{_NAMES}" y="{y}" width="{width:.1f}" height="16"/>')
            parts.append(_text(_NAMES + room + 8, y + 13, word, "start"))
        return "".join([*parts, "</svg>"])


@attrs.frozen
class _Scale:
    low: float
    high: float
    begin: float  # px
    end: float
    is_log: bool

    @classmethod
    def of(cls, low: float, high: float, begin: float, end: float, *, is_log: bool = False) -> _Scale:
        if high <= low:
            high = low * 10 if is_log else low + 1
        return cls(low, high, begin, end, is_log)

    def at(self, value: float) -> float:
        low, high = (math.log(self.low), math.log(self.high)) if self.is_log else (self.low, self.high)
        place = (math.log(value) if self.is_log else value) - low
        return self.begin + place / (high - low) * (self.end - self.begin)

    def ticks(self) -> list[float]:
        """Round numbers within the scale."""
        if self.is_log:
            exponents = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            few = [10.0**each for each in exponents]
            found = [each for each in few if self.low <= each <= self.high]
            return found if len(found) > 1 else [self.low, self.high]
        rough = (self.high - self.low) / _TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * each for each in (1, 2, 5, 10) if power * each >= rough)
        first = math.ceil(self.low / step)
        return [step * each for each in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _opening(title: str, height: float) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>"
    )


def _line(series: Series, place: int, x_scale: _Scale, y_scale: _Scale) -> list[str]:
    points = [(x_scale.at(x), y_scale.at(y)) for x, y in series.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    parts = [f'<polyline {_stroke(place, series.is_reference)} points="{path}"/>']
    if series.has_dots:
        parts += [f'<circle class="f{place % COLOURS}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in points]
    return parts


def _legend(name: str, place: int, is_reference: bool) -> list[str]:
    x, y = _LEFT + place % 2 * (WIDTH - _LEFT) / 2, HEIGHT + place // 2 * _ROW + 8
    sample = f'<line {_stroke(place, is_reference)} x1="{x:.0f}" x2="{x + 28:.0f}" y1="{y}" y2="{y}"/>'
    return [sample, _text(x + 34, y + 4, name, "start")]


def _stroke(place: int, is_reference: bool) -> str:
    dashes = _DASHES[place % len(_DASHES)]
    kind = "line reference" if is_reference else "line"
    return f'class="{kind} l{place % COLOURS}"' + (f' stroke-dasharray="{dashes}"' if dashes else "")


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _label(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 1000 else f"{value:.3g}"
