"""Numbers out of the nested figures of an outcome, which may have come from a JSON file.

Rules of this file: whatever is absent, or is not what it should be, is None or empty; nothing raises.
"""

from __future__ import annotations

import math
from collections.abc import Mapping


def section(figures: object, *path: str) -> dict[str, object]:
    """The mapping at the end of the path; empty if there is none."""
    for name in path:
        figures = figures.get(name) if isinstance(figures, Mapping) else None
    return {str(name): each for name, each in figures.items()} if isinstance(figures, Mapping) else {}


def number(figures: object, *path: str) -> float | None:
    """The number at the end of the path."""
    found = section(figures, *path[:-1]).get(path[-1])
    return _as_number(found)


def numbers(figures: object, *path: str) -> list[float]:
    """The list of numbers at the end of the path; empty if one of them is none."""
    found = section(figures, *path[:-1]).get(path[-1])
    if not isinstance(found, list | tuple):
        return []
    read = [each for each in map(_as_number, found) if each is not None]
    return read if len(read) == len(found) else []


def _as_number(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None
