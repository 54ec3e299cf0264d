"""The picture of how it grows: `docs/growth.svg`, from what `make bench-growth` measured.

Rules of this file: plain SVG, no library; both axes are logarithmic, so that what is flat looks flat and what is linear
is a straight line upwards, which is drawn beside it. The page's own colours are kept, so it reads on dark and on light.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

MEASURED = Path("build/growth.json")
PICTURE = Path("docs/growth.svg")
SERIES = {
    "put/p50": ("put, committed", "#c2410c"),
    "get/p50": ("get", "#1d4ed8"),
    "get of nothing/p50": ("get of nothing", "#0e7490"),
    "next due/p50": ("next due", "#7e22ce"),
    "open/p50": ("open the storage", "#15803d"),
    "node/ready": ("start of a node", "#a16207"),
}
WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 30, 50
LEAST, MOST = 1e-6, 1.0  # seconds
INK = "#808080"


def draw(sizes: Sequence[Mapping[str, float]]) -> str:
    """The picture of these sizes, smallest first."""
    records = [each["records"] for each in sizes]

    def x(count: float) -> float:
        part = math.log(count / records[0]) / math.log(records[-1] / records[0]) if len(records) > 1 else 0.5
        return LEFT + part * (WIDTH - LEFT - RIGHT)

    def y(seconds: float) -> float:
        part = math.log(seconds / LEAST) / math.log(MOST / LEAST)
        return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)

    def text(at_x: float, at_y: float, words: str, anchor: str, ink: str = INK) -> str:
        return f'<text x="{at_x:.1f}" y="{at_y:.1f}" text-anchor="{anchor}" fill="{ink}">{words}</text>'

    space = 'xmlns="http://www.w3.org/2000/svg"'
    lines = [
        f'<svg {space} viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        "<title>Time of one operation against the records of a node, both axes logarithmic</title>",
    ]
    for exponent, words in (
        (-6, "1 µs"),
        (-5, "10 µs"),
        (-4, "100 µs"),
        (-3, "1 ms"),
        (-2, "10 ms"),
        (-1, "100 ms"),
        (0, "1 s"),
    ):
        at = y(10.0**exponent)
        lines.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="{INK}" stroke-opacity="0.3"/>')
        lines.append(text(LEFT - 8, at + 4, words, "end"))
    for count in records:
        lines.append(f'<path d="M{x(count):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="{INK}" stroke-opacity="0.3"/>')
        lines.append(text(x(count), HEIGHT - BOTTOM + 18, f"{int(count):,}", "middle"))
    lines.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, "records", "middle"))
    slope = [(x(records[0]), y(2e-6)), (x(records[-1]), y(2e-6 * records[-1] / records[0]))]
    lines.append(_line(slope, INK, 'stroke-dasharray="4 4"'))
    lines.append(text(slope[-1][0] + 8, slope[-1][1] + 4, "what linear would be", "start"))
    taken: list[float] = [slope[-1][1]]
    for name, (words, ink) in sorted(SERIES.items(), key=lambda item: -sizes[-1][item[0]]):
        points = [(x(each["records"]), y(each[name])) for each in sizes]
        lines.append(_line(points, ink))
        # Names that would lie on each other move down.
        at = points[-1][1]
        while any(abs(at - other) < 13 for other in taken):
            at += 1
        taken.append(at)
        lines.append(text(points[-1][0] + 8, at + 4, words, "start", ink))
    return "\n".join([*lines, "</svg>"]) + "\n"


def _line(points: Sequence[tuple[float, float]], ink: str, more: str = "") -> str:
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path d="{path}" fill="none" stroke="{ink}" stroke-width="2" {more}/>'


def main() -> int:
    PICTURE.write_text(draw(json.loads(MEASURED.read_text(encoding="utf-8"))["sizes"]), encoding="utf-8")
    print(f"drawn: {PICTURE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
