"""Requests that may wait a moment, so that those of several operations to one peer leave together and wake it once.

Rules of this file: adding a request is a plain call. The first one starts a task, which lets the event loop go round a
few times and then has all of them sent, peer by peer; it ends then, so where nothing gathers there is no task. Bounded:
at `MOST_GATHERED` they leave at once, and no request waits for more than `MOST_PASSES` passes. However the task ends,
nothing stays unsent. Source: DESIGN, Lookups.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic

import trio

from camomile_trio.peer.pending import Pending
from camomile_trio.peer.seams import M

# They leave after so many passes of the event loop in which none was added. What one pass wakes runs in the next.
QUIET_PASSES: Final = 3
MOST_PASSES: Final = 16
MOST_GATHERED: Final = 512


class Gathering(Generic[M]):
    """That of one node. `send` sends a request now, whatever has become of its session meanwhile."""

    def __init__(self, send: Callable[[Pending[M]], None]) -> None:
        self.requests = 0  # that were gathered so far
        self.groups = 0  # in which they left, each to one peer
        self._send = send
        self._of_peer: dict[bytes, list[Pending[M]]] = {}
        self._count = 0

    def __len__(self) -> int:
        """How many wait."""
        return self._count

    def add(self, pending: Pending[M], nursery: trio.Nursery) -> None:
        """It leaves soon."""
        if not self._of_peer:
            nursery.start_soon(self._leave_soon)
        self._of_peer.setdefault(pending.contact.public, []).append(pending)
        self._count += 1
        self.requests += 1
        if self._count >= MOST_GATHERED:
            self._leave()

    async def _leave_soon(self) -> None:
        try:
            quiet, known = 0, self.requests
            for _ in range(MOST_PASSES):
                await trio.lowlevel.checkpoint()
                quiet = quiet + 1 if self.requests == known else 0
                if quiet == QUIET_PASSES:
                    break
                known = self.requests
        finally:
            self._leave()

    def _leave(self) -> None:
        of_peer, self._of_peer, self._count = self._of_peer, {}, 0
        self.groups += len(of_peer)
        for together in of_peer.values():
            for pending in together:
                self._send(pending)
