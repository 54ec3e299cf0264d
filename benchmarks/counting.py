"""Counts what our code does: calls of functions, messages, bytes. No time is taken, so a count is the same everywhere.

Rules of this file: counted are calls of this package's functions, and calls from them into libraries and builtins; the
simulated world and Trio's own scheduling are not, being no part of a node. A count covers everything that happens in
its block, background work of all nodes included.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType

import attrs

import camomile_trio

PACKAGE = str(Path(camomile_trio.__file__).parent) + "/"
WORLD = PACKAGE + "simulation/"


@attrs.define
class Calls:
    """Calls so far; counted only between `start` and `stop`."""

    count: int = 0
    _ours: dict[CodeType, bool] = attrs.field(factory=dict)

    def start(self) -> None:
        sys.setprofile(self._on_event)

    def stop(self) -> None:
        sys.setprofile(None)

    def _on_event(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            caller = frame.f_back
            if self._is_ours(frame.f_code) or (caller is not None and self._is_ours(caller.f_code)):
                self.count += 1
        elif event == "c_call" and self._is_ours(frame.f_code):
            self.count += 1

    def _is_ours(self, code: CodeType) -> bool:
        known = self._ours.get(code)
        if known is None:
            place = code.co_filename
            known = self._ours[code] = place.startswith(PACKAGE) and not place.startswith(WORLD)
        return known


@contextlib.contextmanager
def counted(note: Callable[[int], None]) -> Iterator[None]:
    """Tells `note` how many calls there were in the block."""
    calls = Calls()
    calls.start()
    try:
        yield
    finally:
        calls.stop()
    note(calls.count)
