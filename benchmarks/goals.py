"""The figures that we mean to reach (issue 6), each beside its peer in the same run.

Rules of this file: pure. A goal is a ratio to another system's figure, or a bound; what cannot be measured (a peer is
missing) is said so, never taken as reached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from benchmarks.figures import Figure, ratio

Table = Mapping[str, Mapping[str, Figure | None]]  # system -> figure -> over the rounds
OURS = "camomile"


@attrs.frozen(kw_only=True)
class Bound:
    """At most, or at least with `is_least`: `factor` times `of`'s figure `than`, or `factor` itself without `of`."""

    factor: float
    of: str = ""
    than: str = ""
    is_least: bool = False


@attrs.frozen
class Goal:
    figure: str
    must: Sequence[Bound]
    goal: Sequence[Bound]


def _most(factor: float, of: str = "", than: str = "") -> Bound:
    return Bound(factor=factor, of=of, than=than)


def _least(factor: float, of: str) -> Bound:
    return Bound(factor=factor, of=of, is_least=True)


HEALTHY = "put c=1 100 B/p50"
GOALS = (
    Goal("put c=1 100 B/p50", [_most(1.0, "opendht")], [_most(0.6, "opendht")]),
    Goal("put c=16 100 B/per second", [_least(0.8, "opendht"), _least(3.0, "classic")], [_least(1.2, "opendht")]),
    Goal("put c=1 100 B/CPU", [_most(1.5, "opendht")], [_most(1.0, "opendht")]),
    Goal("put c=16 100 B/CPU", [_most(1.5, "opendht")], [_most(1.0, "opendht")]),
    Goal("first get c=1 100 B/p50", [_most(0.7, "opendht")], [_most(0.4, "opendht")]),
    Goal(
        "hot get c=1 100 B/p50",
        [_most(0.5, "opendht"), _most(1.3, "hello")],
        [_most(0.3, "opendht"), _most(1.0, "classic")],
    ),
    Goal("hot get c=16 100 B/per second", [_least(1.2, "opendht")], [_least(1.0, "classic"), _least(2.6, "opendht")]),
    Goal("dead put c=1 100 B/p50", [_most(2.0, OURS, HEALTHY)], [_most(1.3, OURS, HEALTHY)]),
    Goal("dead put c=1 100 B/p99", [_most(0.3)], [_most(0.1)]),
    Goal("join/CPU", [_most(60.0)], [_most(30.0)]),
    Goal("memory/RSS", [_most(80e6)], [_most(50e6)]),
    Goal("idle/CPU share", [_most(0.05)], [_most(0.02)]),
)


def is_reached(bound: Bound, figure: str, table: Table) -> bool | None:
    """None: not known, since one of the two was not measured."""
    ours = table.get(OURS, {}).get(figure)
    if ours is None:
        return None
    if not bound.of:
        found: float | None = ours.median
    else:
        found = ratio(ours, table.get(bound.of, {}).get(bound.than or figure))
    if found is None:
        return None
    return found >= bound.factor if bound.is_least else found <= bound.factor


def verdict(bounds: Sequence[Bound], figure: str, table: Table) -> bool | None:
    """Of all bounds together: one missed is missed, one unknown is unknown."""
    found = [is_reached(each, figure, table) for each in bounds]
    if False in found:
        return False
    return None if None in found else True
