"""Asking an address for the public key of its node.

Rules of this file: what an address names is a claim until a handshake with that key has proven it: a request with
`only_there` makes one. An address may be this node's own: a second address of the host, or the outer one of a NAT that
sends back what leaves for it. Then our hello comes back to us, and the address is remembered as ours.
"""

from __future__ import annotations

from typing import Final

import attrs
import trio

from camomile_trio.alarm import Clock
from camomile_trio.config import Requests as Settings
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.peer.decisions import Introduced, OwnHello
from camomile_trio.peer.initiator import Initiator
from camomile_trio.peer.seams import Link
from camomile_trio.peer.tellers import Tellers

MOST_OWN_ENDPOINTS: Final = 64


@attrs.define(eq=False)
class _Waiting:
    """One call that waits for an answer from an address."""

    endpoint: Endpoint
    public: bytes | None = None
    answered: trio.Event = attrs.field(factory=trio.Event)


class Hellos:
    """Those of one node that are under way."""

    def __init__(self, initiator: Initiator, tellers: Tellers, link: Link, settings: Settings, clock: Clock) -> None:
        self._initiator = initiator
        self._tellers = tellers
        self._link = link
        self._settings = settings
        self._clock = clock
        self.own_endpoints: dict[Endpoint, None] = {}
        """Addresses where this node reached itself, in the order of its finding them; of too many the first goes."""
        self._waiting: list[_Waiting] = []  # in the order of their coming, so that a simulation repeats itself

    def __len__(self) -> int:
        return len(self._waiting)

    async def public_key_at(self, endpoint: Endpoint, *, told_by: tuple[Contact, ...] = ()) -> bytes | None:
        """What the address names; None if it does not answer one of two hellos within the deadline, and None at once
        if it is our own (`own_endpoints`), or if the peer that named it has not sent enough to pay for the hellos.

        If it names our own key, another node runs there with a copy of it. It is for the caller to say so.
        """
        datagram = self._initiator.hello(endpoint, self._clock())
        if not self._tellers.pay(None, told_by, endpoint, 2 * len(datagram), self._clock()):
            return None
        waiting = _Waiting(endpoint)
        self._waiting.append(waiting)
        try:
            with trio.move_on_after(self._settings.deadline):
                self._link.send(datagram, endpoint)
                with trio.move_on_after(self._settings.first_rto):
                    await waiting.answered.wait()
                if not waiting.answered.is_set():
                    self._link.send(datagram, endpoint)
                    await waiting.answered.wait()
        finally:
            self._waiting.remove(waiting)
        return waiting.public

    def on_introduced(self, introduced: Introduced) -> None:
        """An address has named its node's key: all that asked there know it."""
        self.own_endpoints.pop(introduced.endpoint, None)
        self._on_answer(introduced.endpoint, introduced.peer)

    def on_own_hello(self, own: OwnHello) -> None:
        """An address that was asked is our own."""
        self.own_endpoints.pop(own.endpoint, None)
        self.own_endpoints[own.endpoint] = None
        if len(self.own_endpoints) > MOST_OWN_ENDPOINTS:
            del self.own_endpoints[next(iter(self.own_endpoints))]
        self._on_answer(own.endpoint, None)

    def _on_answer(self, endpoint: Endpoint, public: bytes | None) -> None:
        for waiting in self._waiting:
            if waiting.endpoint == endpoint:
                waiting.public = public
                waiting.answered.set()
