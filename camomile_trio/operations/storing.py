"""One STORE to one peer, until the peer has answered for good or failed.

Rules of this file: callbacks only, no task. A lookup may ask by it: then it is told of the answer that comes, and of
what does not come. Sent without the value to a holder that lacks it: one repeat with the value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import Message, Store, StoreKind, StoreResult, StoreStatus
from camomile_trio.kademlia.records import RecordRow
from camomile_trio.peer.requests import Requests
from camomile_trio.peer.seams import Answer

# Refusals that may be over in a moment.
PASSING = frozenset(
    {
        StoreStatus.FAILED,
        StoreStatus.BUSY,
        StoreStatus.FULL,
        StoreStatus.NO_ROOM,
        StoreStatus.QUOTA,
    }
)

# None: no answer came.
OnResult = Callable[[Contact, StoreResult | None], None]


class Asking(Protocol):
    """A lookup that asks by a STORE. It hears of an answer before `on_result` is called."""

    def on_store_answer(self, contact: Contact, answer: Answer[Message]) -> None:
        """The peer has answered, with the closest contacts that it knows."""

    def on_store_overdue(self, contact: Contact) -> None:
        """One retransmission timeout has passed; the answer may still come."""

    def on_store_failed(self, contact: Contact) -> None:
        """No answer came, or none that can be one."""


@attrs.define(eq=False)
class Storing:
    """Start it with `start`; `on_result` is called once."""

    requests: Requests[Message]
    contact: Contact
    key: Key
    value: bytes | None
    rows: tuple[RecordRow, ...]
    kind: StoreKind
    on_result: OnResult
    with_value: bool = True
    cached: bool = False
    asking: Asking | None = None

    def start(self) -> None:
        value = self.value if self.with_value else None
        sent = self.requests.request(
            self.contact,
            Store(self.kind, self.key, value, self.rows, self.cached, self.asking is not None),
            on_reply=self._replied,
            on_overdue=self._overdue,
            on_failed=self._failed,
        )
        if sent is None:
            self._failed()

    def _replied(self, answer: Answer[Message]) -> None:
        result = answer.message
        if not isinstance(result, StoreResult):
            self._failed()
        elif result.status is StoreStatus.VALUE_NEEDED and not self.with_value and self.value is not None:
            self.with_value = True
            self.start()
        else:
            if self.asking is not None:
                self.asking.on_store_answer(self.contact, answer)
            self.on_result(self.contact, result)

    def _overdue(self) -> None:
        if self.asking is not None:
            self.asking.on_store_overdue(self.contact)

    def _failed(self) -> None:
        if self.asking is not None:
            self.asking.on_store_failed(self.contact)
        self.on_result(self.contact, None)
