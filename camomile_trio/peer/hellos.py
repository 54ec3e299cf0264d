"""Asking an address for the public key of its node.

Rules of this file: what an address names is a claim until a handshake with that key has proven it (`Requests.hello`).
"""

from __future__ import annotations

import attrs
import trio

from camomile_trio.config import Requests as Settings
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.peer.deadlines import Clock
from camomile_trio.peer.decisions import Introduced
from camomile_trio.peer.initiator import Initiator
from camomile_trio.peer.seams import Link


@attrs.define(eq=False)
class _Waiting:
    """One call that waits for an answer from an address."""

    endpoint: Endpoint
    public: bytes | None = None
    answered: trio.Event = attrs.field(factory=trio.Event)


class Hellos:
    """Those of one node that are under way."""

    def __init__(self, initiator: Initiator, link: Link, settings: Settings, clock: Clock) -> None:
        self._initiator = initiator
        self._link = link
        self._settings = settings
        self._clock = clock
        self._waiting: list[_Waiting] = []  # in the order of their coming, so that a simulation repeats itself

    def __len__(self) -> int:
        return len(self._waiting)

    async def public_key_at(self, endpoint: Endpoint) -> bytes | None:
        """What the address names, or None if it does not answer one of two hellos within the deadline."""
        waiting = _Waiting(endpoint)
        self._waiting.append(waiting)
        try:
            datagram = self._initiator.hello(endpoint, self._clock())
            with trio.move_on_after(self._settings.deadline):
                self._link.send(datagram, endpoint)
                with trio.move_on_after(self._settings.first_rto):
                    await waiting.answered.wait()
                if waiting.public is None:
                    self._link.send(datagram, endpoint)
                    await waiting.answered.wait()
        finally:
            self._waiting.remove(waiting)
        return waiting.public

    def on_introduced(self, introduced: Introduced) -> None:
        """An address has named its node's key: all that asked there know it."""
        for waiting in self._waiting:
            if waiting.endpoint == introduced.endpoint:
                waiting.public = introduced.peer
                waiting.answered.set()
