"""Lines that a thread writes to a descriptor, so that an event loop never waits for who reads them.

Rules of this file: who has a line puts it down and goes on; only the thread waits for the reader. What waits is bounded
in bytes; lines past that are dropped and counted, and one line says so in the place of those that are missing. The
thread writes to the descriptor and not to `sys.stderr`: an interpreter that ends while a thread is in there aborts.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs

# What may wait for its reader. Small: a reader that pauses misses lines. Large: memory.
MOST_BYTES = 2**20
# How long a process that ends waits for the reader of its last lines, in seconds.
LAST_PATIENCE = 1.0


def _nothing(_: int) -> str:
    return ""


@attrs.define(eq=False)
class LineWriter:
    """Lines on their way to a descriptor. A stream as far as `logging.StreamHandler` needs one."""

    descriptor: int
    tell_of_dropped: Callable[[int], str] = _nothing  # the line that stands for so many dropped ones
    most: int = MOST_BYTES
    dropped: int = attrs.field(default=0, init=False)  # lines that nobody will read
    _waiting: deque[bytes | int] = attrs.field(factory=deque, init=False)  # lines, and how many are missing in between
    _bytes: int = attrs.field(default=0, init=False)
    _is_closing: bool = attrs.field(default=False, init=False)
    _changed: threading.Condition = attrs.field(factory=threading.Condition, init=False)

    def write(self, lines: str) -> None:
        """Puts whole lines down; never waits for a reader."""
        data = lines.encode("utf-8", "backslashreplace")
        with self._changed:
            if self._bytes + len(data) > self.most:
                self.dropped += 1
                if self._waiting and isinstance(self._waiting[-1], int):
                    self._waiting[-1] += 1
                else:
                    self._waiting.append(1)
            else:
                self._bytes += len(data)
                self._waiting.append(data)
            self._changed.notify()

    def flush(self) -> None:
        """Nothing to do: the thread writes as soon as it can."""

    def write_all(self) -> None:
        """The thread: writes what comes until it is told to close, and then what is left."""
        missing = 0
        while (next_one := self._next()) is not None:
            line = b"" if isinstance(next_one, int) else next_one
            missing += next_one if isinstance(next_one, int) else 0
            told = self.tell_of_dropped(missing).encode("utf-8", "backslashreplace") if missing else b""
            is_lost = False
            try:
                _write(self.descriptor, told + line)
                missing = 0
            except OSError:
                # The reader is gone, or the disk is full. The next line is another try.
                is_lost = bool(line)
                missing += is_lost
            with self._changed:
                self._bytes -= len(line)
                self.dropped += is_lost

    def close(self) -> None:
        """Tells the thread to end once everything is written."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()

    def _next(self) -> bytes | int | None:
        with self._changed:
            while not self._waiting:
                if self._is_closing:
                    return None
                self._changed.wait()
            return self._waiting.popleft()


@contextmanager
def writing_lines(
    descriptor: int, tell_of_dropped: Callable[[int], str] = _nothing, *, patience: float = LAST_PATIENCE
) -> Iterator[LineWriter]:
    """Lines that are put down in the block are written; after it the reader has `patience` seconds for what is left."""
    writer = LineWriter(descriptor, tell_of_dropped)
    # A daemon: nobody can end a thread that waits for a reader.
    thread = threading.Thread(target=writer.write_all, name=f"writes to descriptor {descriptor}", daemon=True)
    thread.start()
    try:
        yield writer
    finally:
        writer.close()
        thread.join(patience)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            # Somebody who shares the descriptor has made it non-blocking.
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()
