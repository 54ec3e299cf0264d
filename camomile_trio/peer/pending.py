"""Requests under way, and the handshakes of ours that some of them wait for.

Rules of this file: plain state; nothing is sent from here. Everything is bounded: what is past a bound is refused, and
the caller counts it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final, Generic

import attrs

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.peer.paths import Path
from camomile_trio.peer.seams import Answer, M

MOST_HANDSHAKES: Final = 512  # begun by this node and under way; half of the initiations that are remembered
MOST_WAITING: Final = 64  # requests that wait for one handshake

GREATEST_NUMBER: Final = 2**32 - 1


@attrs.define(eq=False)
class Pending(Generic[M]):
    """One request under way. `detach` when its caller waits no more: its answer still teaches us about the peer."""

    contact: Contact
    path: Path
    number: int
    message: M
    inner: bytes  # empty for one so long that it is made when a stream is free
    asked_at: float
    deadline_at: float
    overdue_at: float  # when it becomes so; inf once it is
    told_by: tuple[Contact, ...] = ()  # by whose word alone the address is known; empty: this node knows it by itself
    only_there: bool = False  # at this contact's address, not where else the peer has a session
    is_background: bool = False  # a ping that begins a handshake, and tells nothing of the peer
    is_suspect: bool = False  # the contact has been silent lately: the caller should not wait for it
    on_reply: Callable[[Answer[M]], None] | None = None
    on_overdue: Callable[[], None] | None = None
    on_failed: Callable[[], None] | None = None
    by_stream: bool = False
    promised_at: float | None = None  # when the peer said that its answer is too large for a datagram
    sent_at: float | None = None  # None: not sent yet
    resent: bool = False  # so its answer tells no round trip
    next_at: float = math.inf  # when it is sent again, or else dealt with
    timer_at: float = math.inf  # the earliest deadline in the heap that is of use
    is_unheard: bool = False  # its second transmission is overdue too, and it went on by a stream
    done: bool = False

    def detach(self) -> None:
        self.on_reply = self.on_overdue = self.on_failed = None


class PendingRequests(Generic[M]):
    """By number, so answers are matched across a peer's sessions."""

    def __init__(self, most: int, last: int = 0) -> None:
        self.by_number: dict[int, Pending[M]] = {}
        self.most = most
        self._last = last  # number

    def __len__(self) -> int:
        return len(self.by_number)

    def new_number(self) -> int:
        """1 to 2**32 - 1, and none of those that are under way. 0 is for messages without an answer."""
        number = self._last % GREATEST_NUMBER + 1
        while number in self.by_number:
            number = number % GREATEST_NUMBER + 1
        self._last = number
        return number

    def of_peer(self, public: bytes) -> list[Pending[M]]:
        """It looks at all."""
        return [pending for pending in self.by_number.values() if pending.contact.public == public]

    def remove(self, pending: Pending[M]) -> None:
        """It is done."""
        pending.done = True
        del self.by_number[pending.number]


@attrs.define(eq=False)
class Handshake(Generic[M]):
    """One that this node began, until it is answered or a new one may be begun."""

    contact: Contact
    told_by: tuple[Contact, ...]  # as of the request that began it
    carrier: Pending[M]  # the request in its initiation
    is_renewal: bool  # there is a session at this address that works, and this one is to follow it
    sent_at: float
    resent: bool = False
    timer_at: float = math.inf  # the deadline in the heap that is of use
    waiting: dict[Pending[M], None] = attrs.field(factory=dict)  # in the order of their coming
    done: bool = False

    def add(self, pending: Pending[M]) -> bool:
        """Whether there was a place for it."""
        if pending not in self.waiting and len(self.waiting) >= MOST_WAITING:
            return False
        self.waiting[pending] = None
        return True


class Handshakes(Generic[M]):
    """Those under way, by peer and address."""

    def __init__(self) -> None:
        self.by_peer: dict[bytes, dict[Endpoint, Handshake[M]]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def get(self, contact: Contact) -> Handshake[M] | None:
        return self.by_peer.get(contact.public, {}).get(contact.endpoint)

    def of_peer(self, public: bytes) -> tuple[Handshake[M], ...]:
        return tuple(self.by_peer.get(public, {}).values())

    def at(self, endpoint: Endpoint) -> Iterator[Handshake[M]]:
        return (of_peer[endpoint] for of_peer in self.by_peer.values() if endpoint in of_peer)

    @property
    def is_full(self) -> bool:
        return self._count >= MOST_HANDSHAKES

    def add(self, handshake: Handshake[M]) -> None:
        contact = handshake.contact
        self.by_peer.setdefault(contact.public, {})[contact.endpoint] = handshake
        self._count += 1

    def remove(self, handshake: Handshake[M]) -> list[Pending[M]]:
        """It is over. The requests that it leaves: first the one that it carried, then those that waited."""
        contact = handshake.contact
        handshake.done = True
        of_peer = self.by_peer[contact.public]
        del of_peer[contact.endpoint]
        if not of_peer:
            del self.by_peer[contact.public]
        self._count -= 1
        return [pending for pending in (handshake.carrier, *handshake.waiting) if not pending.done]
