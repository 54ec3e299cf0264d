"""One STORE to one peer, until the peer has answered for good or failed.

Rules of this file: callbacks only, no task. A lookup may ask by it: then it is told of the answers that come, and of
what does not come. Refused for want of a token: one FIND_NODE, one repeat. Sent without the
value to a holder that lacks it: one repeat with the value. A classic peer gets a classic STORE and no answer counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import (
    FindNode,
    Message,
    Packet,
    Store,
    StoreKind,
    StoreResult,
    StoreStatus,
)
from camomile_trio.kademlia.records import RecordRow
from camomile_trio.node.classic import is_for_classic
from camomile_trio.node.pending import OnReply
from camomile_trio.node.rpc import Rpc

# Refusals that may be over in a moment.
PASSING = frozenset(
    {
        StoreStatus.FAILED,
        StoreStatus.BUSY,
        StoreStatus.FULL,
        StoreStatus.NO_ROOM,
        StoreStatus.QUOTA,
        StoreStatus.NO_TOKEN,
    }
)

# None: no answer came.
OnResult = Callable[[Contact, StoreResult | None], None]


class Asking(Protocol):
    """A lookup that asks by a STORE. It hears of an answer before `on_result` is called."""

    def on_store_answer(self, contact: Contact, packet: Packet) -> None:
        """The peer has answered, with the closest contacts that it knows."""

    def on_store_overdue(self, contact: Contact) -> None:
        """One retransmission timeout has passed; the answer may still come."""

    def on_store_failed(self, contact: Contact) -> None:
        """No answer came, or none that can be one."""


@attrs.define(eq=False)
class Storing:
    """Start it with `start`; `on_result` is called once."""

    rpc: Rpc
    contact: Contact
    key: Key
    value: bytes | None
    rows: tuple[RecordRow, ...]
    kind: StoreKind
    on_result: OnResult
    with_value: bool = True
    cached: bool = False
    asking: Asking | None = None
    _has_token: bool = False

    def start(self) -> None:
        peer = self.rpc.peers.get(self.contact.endpoint)
        value = self.value if self.with_value else None
        message = Store(self.kind, self.key, value, self.rows, peer.token, self.cached, self.asking is not None)
        self._send(message, self._replied)

    def _send(self, message: Message, on_reply: OnReply) -> None:
        sent = self.rpc.request(
            self.contact.endpoint,
            message,
            node=self.contact.id,
            on_reply=on_reply,
            on_overdue=self._overdue,
            on_failed=self._failed,
        )
        if sent is None:
            self._failed()

    def _replied(self, packet: Packet) -> None:
        result = packet.message
        if not isinstance(result, StoreResult):
            self._failed()
        elif result.status is StoreStatus.NO_TOKEN and not self._has_token:
            self._fetch_token()
        elif result.status is StoreStatus.VALUE_NEEDED and not self.with_value and self.value is not None:
            self.with_value = True
            self.start()
        else:
            self._hear(packet)
            self.on_result(self.contact, result)

    def _fetch_token(self) -> None:
        self._has_token = True
        self._send(FindNode(NodeId(self.key)), self._repeat)

    def _repeat(self, packet: Packet) -> None:
        self._hear(packet)
        self.start()

    def _hear(self, packet: Packet) -> None:
        """The lookup needs one answer of each peer."""
        asking, self.asking = self.asking, None
        if asking is not None:
            asking.on_store_answer(self.contact, packet)

    def _overdue(self) -> None:
        if self.asking is not None:
            self.asking.on_store_overdue(self.contact)

    def _failed(self) -> None:
        if self.asking is not None:
            self.asking.on_store_failed(self.contact)
        self.on_result(self.contact, None)


def store_at_classic(rpc: Rpc, contact: Contact, value: bytes, kind: StoreKind) -> bool:
    """Sends a classic STORE, which no node answers. False if classic nodes are not spoken with, or would not take the
    value as it is."""
    if not (rpc.classic and is_for_classic(value)):
        return False
    rpc.tell(contact.endpoint, Store(kind, None, value))
    return True
