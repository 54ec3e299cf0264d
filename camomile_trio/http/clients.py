"""The connection of one client: no wait on it is without end, and an answer leaves in as few pieces as it can.

Rules of this file: it knows a socket, and of HTTP only that one request at a time is served over HTTP/1. It may be cut
at any time, by whom and in whatever state.
"""

from __future__ import annotations

import math
import os
from collections.abc import Awaitable, Callable

import trio
from hypercorn.trio.worker_context import TrioSingleTask
from hypercorn.typing import Event, TaskGroup

# How long a client that was answered before the end of its body may go on sending before its connection is closed.
DRAIN_SECONDS = 5.0
# How long a client may take to read a piece of an answer, and how large a piece is.
_READ_PATIENCE = 30.0
_PIECE = 64 * 1024


class ClientStream(trio.abc.HalfCloseableStream):
    """A connection on which no send waits for ever, and which can be cut at any time, shielded tasks or not."""

    def __init__(self, stream: trio.SocketStream, *, patience: float = _READ_PATIENCE) -> None:
        self._stream = stream
        self._patience = patience
        self._held = b""
        self._hold = False
        self._idling = trio.CancelScope()
        self.is_gone = False
        self.socket = stream.socket  # Hypercorn asks it for addresses

    def hold_next(self) -> None:
        """What is sent next waits for what is sent after it, and goes out with that."""
        self._hold = True

    def while_idle(self, *, until: float) -> trio.CancelScope:
        """A scope that is cancelled at a time of Trio's clock, or before that once the client is gone."""
        scope = self._idling = trio.CancelScope(deadline=until)
        if self.is_gone:
            scope.cancel()
        return scope

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Sends; cut off, and BrokenResourceError, if the client does not read a piece of it within its time."""
        if self._hold:
            self._hold = False
            self._held += data
            return
        view = memoryview(data)
        first = view[:_PIECE]
        if self._held:
            # What is larger than a piece is sent from where it is: a value is not copied for each of its readers.
            first = memoryview(self._held + first)
            self._held = b""
        # Most answers are smaller than the socket's buffer has room for: no timer, no turn of the event loop.
        sent = self._send_now(first) if first else 0
        if sent < len(first):
            await self._send_piece(first[sent:])
        for begin in range(_PIECE, len(view), _PIECE):
            await self._send_piece(view[begin : begin + _PIECE])

    async def _send_piece(self, piece: memoryview) -> None:
        with trio.move_on_after(self._patience) as patience:
            await self._stream.send_all(piece)
        if patience.cancelled_caught:
            self.cut()
            raise trio.BrokenResourceError("the client does not read its answer")

    def _send_now(self, data: memoryview) -> int:
        """How many bytes the system took at once."""
        try:
            return os.write(self.socket.fileno(), data)
        except BlockingIOError:
            return 0
        except OSError as error:
            if self.socket.fileno() < 0:
                raise trio.ClosedResourceError("the connection was cut") from None
            raise trio.BrokenResourceError("the client is gone") from error

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            data = await self._receive(_PIECE if max_bytes is None else max_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.note_gone()
            raise
        return data

    async def _receive(self, most: int) -> bytes:
        while True:
            if self.socket.fileno() < 0:
                raise trio.ClosedResourceError("the connection was cut")
            # A client sends its next request once it has the answer, hardly ever before: a first try would fail.
            await trio.lowlevel.wait_readable(self.socket)
            try:
                return os.read(self.socket.fileno(), most)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError("the client is gone") from error

    async def send_eof(self) -> None:
        if self._held:
            await self.send_all(b"")
        await self._stream.send_eof()

    async def aclose(self) -> None:
        self.note_gone()
        await self._stream.aclose()

    def cut(self) -> None:
        """Closes it now; whoever waits on it hears ClosedResourceError."""
        self.note_gone()
        self.socket.close()

    def note_gone(self) -> None:
        """The client wants nothing any more. That its sending side has ended does not say so: it may wait and read."""
        self.is_gone = True
        self._idling.cancel()


class SendLock:
    """Hypercorn's lock around each send, without a turn of the event loop each time that it is free."""

    def __init__(self) -> None:
        self._lock = trio.Lock()

    async def __aenter__(self) -> None:
        try:
            self._lock.acquire_nowait()
        except trio.WouldBlock:
            await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()


class IdleTimer(TrioSingleTask):
    """When an idle connection is closed. Stands in for Hypercorn's own, which starts and cancels a task per request.

    This one starts one task per connection, which looks now and then how long the connection has been idle. It ends
    with the client: Hypercorn's would keep a connection that the client has closed until its time is over.
    """

    def __init__(self, seconds: float, client: ClientStream, terminated: Event) -> None:
        super().__init__()
        self._seconds = seconds
        self._client = client
        self._terminated = terminated
        self._until = math.inf  # when it has been idle for long enough; infinite while it serves a request
        self._runs = False

    async def restart(self, task_group: TaskGroup, action: Callable[[], Awaitable[None]]) -> None:
        """The connection is idle from now on. `action` closes it; it is the same each time."""
        self._until = trio.current_time() + self._seconds
        if not self._runs:
            self._runs = True
            task_group.spawn(self._run, action)

    async def stop(self) -> None:
        """The connection serves a request."""
        self._until = math.inf

    async def _run(self, close: Callable[[], Awaitable[None]]) -> None:
        now = trio.current_time()
        while self._until > now and not self._client.is_gone and not self._terminated.is_set():
            # A connection that serves when its time comes is looked at again a while later, not at each request.
            with self._client.while_idle(until=min(self._until, now + self._seconds)):
                await self._terminated.wait()
            now = trio.current_time()
        self._runs = False
        if self._until < math.inf and not self._client.is_gone:
            await close()
