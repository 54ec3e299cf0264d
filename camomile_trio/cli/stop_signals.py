"""The signals that end a process which stays, or let it reload: caught from its first moment on, and obeyed whatever
it is doing.

Rules of this file: it is loaded before anything slow, and knows neither Trio nor nodes. The handler runs in the main
thread as soon as the interpreter does, also when a system call blocks there: it waits for no event loop. The first
signal is remembered until there is a program to tell. After it SIGINT and SIGTERM end the process at once; more SIGHUP,
of which a terminal that closes sends several, change nothing.

A process that belongs to no terminal gets no SIGHUP from one. There the signal asks for a reload, as daemons take it,
if the program can reload.
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


def has_terminal() -> bool:
    """Whether the process has a controlling terminal, be it in the foreground or in the background (tty(4))."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


@attrs.define(eq=False)
class StopSignals:
    """The stop signals of this process, which are left alone until `catch`."""

    # Asked before a signal comes: a terminal that closes is taken from its processes.
    is_on_terminal: bool = attrs.field(factory=has_terminal)
    first: signal.Signals | None = attrs.field(default=None, init=False)
    _tell: Callable[[str], object] | None = attrs.field(default=None, init=False)
    _reload: Callable[[], object] | None = attrs.field(default=None, init=False)
    # A SIGHUP came without a terminal, before there was a program that says what it means.
    _is_hung_up: bool = attrs.field(default=False, init=False)
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
        elif self._is_hung_up:
            signal.raise_signal(signal.SIGHUP)

    @contextmanager
    def telling(self, tell: Callable[[str], object], reload: Callable[[], object] | None = None) -> Iterator[None]:
        """For the block, `tell` gets the name of the first signal, at once if it has come already.

        `reload` is called instead for each SIGHUP of a process without a terminal. Without it such a SIGHUP ends the
        process, too. Both are called in the main thread between any two instructions. After the block signals are let
        go, unless one has come that ends: then the process is about to end, and the next one still ends it at once.
        """
        self.catch()
        self._tell, self._reload = tell, reload
        try:
            if self.first is not None:
                tell(self.first.name)
            elif self._is_hung_up:
                self._is_hung_up = False
                self._arrived(signal.SIGHUP, None)
            yield
        finally:
            self._tell = self._reload = None
            if self.first is None:
                self.let_go()

    def _arrived(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP and not self.is_on_terminal:
            if self._tell is None:
                self._is_hung_up = True
                return
            if self._reload is not None:
                self._reload()
                return
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
