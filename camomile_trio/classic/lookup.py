"""Drives one Shortlist among classic nodes: sends its queries, feeds it answers and deadlines, wakes its caller at the
end.

Rules of this file: no task of its own and no rounds. Contacts that others name are candidates of this lookup only, and
only where `may_contact` lets them. Leaving `run`, also by cancellation, detaches every request still under way.
Source: Kademlia (2002), §2.3.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final

import attrs
import trio

from camomile_trio.classic.requests import ClassicRequests, Pending
from camomile_trio.config import Kademlia
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.shortlist import Shortlist
from camomile_trio.wire.classic import FindNode, FindValue, Message, NodeList, Value

# How many times k known contacts a lookup starts from: a neighbourhood of dead contacts does not end it at once.
START: Final = 3

MayContact = Callable[[Endpoint, Endpoint], bool]  # an address, told by a node at the other one


@attrs.frozen
class FoundValue:
    value: bytes
    node: NodeId  # the node that has it, as it names itself


class Lookup:
    """One iterative lookup, for nodes (FIND_NODE) or a value (FIND_VALUE)."""

    def __init__(
        self,
        requests: ClassicRequests,
        question: FindNode | FindValue,
        *,
        settings: Kademlia,
        may_contact: MayContact,
    ) -> None:
        self.found: FoundValue | None = None  # the first one that hashes to the key
        self._requests = requests
        self._question = question
        self._target: bytes = question.target if isinstance(question, FindNode) else question.key
        self._may_contact = may_contact
        table = requests.table
        self._shortlist = Shortlist(
            self._target,
            k=settings.k,
            alpha=settings.alpha,
            own=table.own,
            start=table.closest(self._target, START * settings.k),
        )
        self._done = trio.Event()
        self._open: dict[bytes, Pending] = {}
        self._is_pumping = False

    @property
    def closest(self) -> list[Contact]:
        """The k closest that have answered so far, closest first."""
        return self._shortlist.result()

    async def run(self) -> None:
        """Asks until the k closest have answered, or the value is found, or no candidate is left."""
        self._requests.table.touch(self._target, self._requests.clock())
        try:
            self._pump()
            await self._done.wait()
        finally:
            for pending in self._open.values():
                pending.detach()

    def _pump(self) -> None:
        # A request that cannot be sent fails at once and frees its slot, so this goes on until nothing is to be sent.
        if self._is_pumping or self._done.is_set():
            return
        self._is_pumping = True
        while queries := self._shortlist.next_queries():
            for contact in queries:
                self._ask(contact)
        self._is_pumping = False
        if self._shortlist.finished:
            self._done.set()

    def _ask(self, contact: Contact) -> None:
        pending = self._requests.request(
            contact.endpoint,
            self._question,
            node=contact.id,
            on_reply=self._replied,
            on_overdue=functools.partial(self._overdue, contact),
            on_failed=functools.partial(self._failed, contact),
        )
        if pending is None:
            self._shortlist.on_failed(contact.id)
            return
        self._open[contact.id] = pending
        if pending.is_suspect:
            self._shortlist.on_overdue(contact.id)

    def _replied(self, contact: Contact, answer: Message) -> None:
        del self._open[contact.id]
        assert isinstance(answer, NodeList | Value)
        may_contact = functools.partial(self._may_contact, contact.endpoint)
        senseless = answer.dropped + self._shortlist.on_reply(contact.id, answer.contacts, may_contact)
        if senseless:
            self._requests.statistics.dropped["senseless_contact"] += senseless
        if isinstance(answer, Value) and answer.value is not None:
            if Key.of(answer.value) == self._target:
                self.found = FoundValue(answer.value, contact.id)
                self._done.set()
            else:
                self._requests.statistics.dropped["wrong_value"] += 1
        self._pump()

    def _overdue(self, contact: Contact) -> None:
        self._shortlist.on_overdue(contact.id)
        self._pump()

    def _failed(self, contact: Contact) -> None:
        self._open.pop(contact.id, None)
        self._shortlist.on_failed(contact.id)
        self._pump()
