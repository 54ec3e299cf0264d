"""What a story is made of.

Rules of this file: values only.
"""

from __future__ import annotations

import attrs

from camomile_trio.simulation.trace import Happening


@attrs.frozen
class Line:
    """One exchange, or one thing that happened. Times in virtual s."""

    at: float
    what: str
    until: float | None = None  # when the answer came
    bits: int | None = None  # leading bits that the asked one's id shares with the key
    hop: int = 0
    who: str = ""
    is_good: bool = True


@attrs.frozen
class Chapter:
    """What belongs together."""

    at: float
    title: str
    lines: tuple[Line, ...]
    ending: str = ""
    is_good: bool = True


@attrs.frozen
class Story:
    """The whole of it."""

    title: str
    run: Happening
    chapters: tuple[Chapter, ...]
