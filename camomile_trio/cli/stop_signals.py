"""The signals that end a process which stays: caught from its first moment on, and obeyed whatever it is doing.

Rules of this file: it is loaded before anything slow, and knows neither Trio nor nodes. The handler runs in the main
thread as soon as the interpreter does, also when a system call blocks there: it waits for no event loop. The first
signal is remembered until there is a program to tell. After it SIGINT and SIGTERM end the process at once; more SIGHUP,
of which a terminal that closes sends several, change nothing.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

import attrs

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@attrs.define(eq=False)
class StopSignals:
    """The stop signals of this process, which are left alone until `catch`."""

    first: signal.Signals | None = attrs.field(default=None, init=False)
    _tell: Callable[[str], object] | None = attrs.field(default=None, init=False)
    # What Python calls a handler has no narrower type.
    _before: dict[signal.Signals, Any] = attrs.field(factory=dict, init=False)

    def catch(self) -> None:
        """From now on a signal is remembered. SIGHUP stays ignored if it is, as nohup wants it."""
        for number in STOP_SIGNALS:
            is_ignored = number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN
            if number not in self._before and not is_ignored:
                self._before[number] = signal.signal(number, self._arrived)

    def let_go(self) -> None:
        """Signals do again what they did before; one that was remembered does it now."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
        if self.first is not None:
            signal.raise_signal(self.first)

    @contextmanager
    def telling(self, tell: Callable[[str], object]) -> Iterator[None]:
        """For the block, `tell` gets the name of the first signal, at once if it has come already.

        `tell` is called in the main thread between any two instructions. After the block signals are let go, unless one
        has come: then the process is about to end, and the next one still ends it at once.
        """
        self.catch()
        self._tell = tell
        try:
            if self.first is not None:
                tell(self.first.name)
            yield
        finally:
            self._tell = None
            if self.first is None:
                self.let_go()

    def _arrived(self, number: int, _: FrameType | None) -> None:
        for each in self._before:
            signal.signal(each, signal.SIG_IGN if each is signal.SIGHUP else _end_at_once())
        self.first = signal.Signals(number)
        if self._tell is not None:
            self._tell(self.first.name)


def _end_at_once() -> Any:
    """The system's own way to end a process works whatever the interpreter does. It has none for process 1."""
    return _exit if os.getpid() == 1 else signal.SIG_DFL


def _exit(number: int, _: FrameType | None) -> NoReturn:
    os._exit(128 + number)
