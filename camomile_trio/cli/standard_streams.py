"""Standard input, output and error of a process whose starter left some of them closed.

Rules of this file: it runs before anything is opened. A descriptor 0, 1 or 2 that is closed would become the next
socket or database, and what is written to standard error would go into that. So each is given a device that nothing
comes from: reading and writing fail, except that words for standard error vanish, since there is nobody to tell.
"""

from __future__ import annotations

import fcntl
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager

STDIN, STDOUT, STDERR = 0, 1, 2
# Open for the other direction, so that a use of it fails instead of losing what a command was told to write.
_USELESS = {STDIN: os.O_WRONLY, STDOUT: os.O_RDONLY, STDERR: os.O_RDWR}


def fill_in_missing() -> None:
    """Opens what is closed of descriptors 0, 1 and 2."""
    for descriptor, flags in _USELESS.items():
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is given, and those below are taken. Processes that this one starts get it too.
            os.set_inheritable(os.open(os.devnull, flags), True)
    if sys.stdin is None:
        sys.stdin = os.fdopen(STDIN, closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(STDOUT, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(STDERR, "w", closefd=False, errors="backslashreplace")


def what_is_closed() -> str | None:
    """Which of standard output and input is the bad descriptor that a call of the system has complained of."""
    if _mode(STDOUT) == os.O_RDONLY:
        return "standard output"
    if _mode(STDIN) == os.O_WRONLY:
        return "standard input"
    return None


def _mode(descriptor: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE


def takes_words(descriptor: int, *, within: float) -> bool:
    """Whether a line can be written there without waiting, now or within some seconds."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(within * 1000))


@contextmanager
def giving_up_on(descriptor: int) -> Iterator[None]:
    """What the system does not take in the block goes nowhere, now and when the interpreter ends."""
    try:
        yield
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
