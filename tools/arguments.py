"""Arguments of commands that the project's own tools and benchmarks take.

Rules of this file: what makes no sense is refused where it is read, in one line that says what would.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable


def whole(least: int, most: int) -> Callable[[str], int]:
    """A whole number within these bounds, for `type=` of argparse."""

    def read(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"wanted: a number from {least} to {most}")
        return int(text)

    return read


def amount(least: float, most: float) -> Callable[[str], float]:
    """The same with a fraction."""

    def read(text: str) -> float:
        try:
            found = float(text)
        except ValueError:
            found = float("nan")
        if not least <= found <= most:
            raise argparse.ArgumentTypeError(f"wanted: a number from {least:g} to {most:g}")
        return found

    return read
