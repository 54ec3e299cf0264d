"""Requests under way, and those among them that wait until their endpoint has proven itself.

Several lookups that start together meet the same stranger, who may be sent two requests before it has answered one. A
third lookup that went on without it would miss a node that is about to answer: its request is held back instead.

Rules of this file: plain state; nothing is sent from here. What is held back is among the requests under way, which are
bounded, keeps their deadlines, and is dropped here when it ends there.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import NodeId
from camomile_trio.kademlia.messages import Packet

OnReply = Callable[[Packet], None]
OnNothing = Callable[[], None]


@attrs.define(eq=False)
class Pending:
    """One request under way. `detach` when nobody waits for it any more: its answer still teaches us about the peer."""

    endpoint: Endpoint
    node: NodeId | None
    packet: Packet
    datagram: bytes
    sent_at: float
    by_stream: bool
    is_suspect: bool  # the endpoint has been silent lately: whoever waits should not
    on_reply: OnReply | None
    on_overdue: OnNothing | None
    on_failed: OnNothing | None
    held_back: bool = False  # not sent yet: the endpoint has not proven itself
    overdue_from: float = 0.0  # never overdue before: one that was held back is given its time from when it is sent
    is_overdue: bool = False
    resent: bool = False
    answer_bytes: int = 0  # of the datagram that answered
    is_probe: bool = False  # a ping that asks only whether small datagrams pass
    is_unheard: bool = False  # the second transmission is overdue, too
    done: bool = False

    def detach(self) -> None:
        self.on_reply = self.on_overdue = self.on_failed = None


class HeldBack:
    """By endpoint, in the order of their coming."""

    def __init__(self) -> None:
        self._waiting: dict[Endpoint, list[Pending]] = {}

    def add(self, pending: Pending) -> None:
        pending.held_back = True
        self._waiting.setdefault(pending.endpoint, []).append(pending)

    def drop(self, pending: Pending) -> None:
        """It has ended unsent."""
        waiting = self._waiting[pending.endpoint]
        waiting.remove(pending)
        if not waiting:
            del self._waiting[pending.endpoint]

    def release(self, endpoint: Endpoint) -> list[Pending]:
        """The endpoint has answered: these may be sent now."""
        released = self._waiting.pop(endpoint, [])
        for pending in released:
            pending.held_back = False
        return released
