"""Drives one Shortlist: sends its queries, feeds it answers and deadlines, wakes its caller once, at the end.

Rules of this file: no task of its own and no rounds. Answers and deadlines come as callbacks and free a slot at once;
the caller's task sleeps on one event. Contacts that others name are candidates of this lookup only. Leaving `run`,
also by cancellation, detaches every request still under way. Source: Kademlia (2002), §2.3.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Literal

import attrs
import trio

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import distance
from camomile_trio.kademlia.messages import FindNode, FindValue, Message, NodeList, Packet, StoreResult, Value
from camomile_trio.kademlia.shortlist import Shortlist
from camomile_trio.node.events import LookupEnded
from camomile_trio.node.pending import Pending
from camomile_trio.node.rpc import Rpc

# How many times k known contacts a lookup starts from.
START = 3

# Sees every answer as it comes; True ends the lookup there and then.
OnAnswer = Callable[[Contact, Packet], bool]


@attrs.frozen
class LookupResult:
    """The k closest nodes that answered, closest first, and how it went.

    `silent` would be among them if they had answered, closest first.
    """

    contacts: tuple[Contact, ...]
    asked: int
    answered: int
    hops: int
    silent: tuple[Contact, ...] = ()

    def is_inconclusive(self, target: bytes, k: int) -> bool:
        """Whether most of the k closest were silent: then nobody can say what is not there."""
        nearest = sorted((*self.contacts, *self.silent), key=lambda each: distance(target, each.id))[:k]
        answered = set(self.contacts)
        return sum(each not in answered for each in nearest) > len(nearest) // 2


class Lookup:
    """One iterative lookup, for a node (FIND_NODE) or a value (FIND_VALUE)."""

    def __init__(
        self,
        rpc: Rpc,
        question: FindNode | FindValue,
        *,
        k: int,
        alpha: int,
        start: Iterable[Contact] | None = None,
        on_answer: OnAnswer | None = None,
    ) -> None:
        self._rpc = rpc
        self._question = question
        self._target: bytes = question.target if isinstance(question, FindNode) else question.key
        if start is None:
            # More than k, so that a neighbourhood of dead contacts does not end the lookup before it began.
            start = rpc.table.closest(self._target, START * k)
        self.shortlist = Shortlist(self._target, k=k, alpha=alpha, own=rpc.own, start=start)
        self._on_answer = on_answer
        self._done = trio.Event()
        self._open: dict[bytes, Pending] = {}
        self._is_pumping = False

    async def run(self) -> LookupResult:
        """Asks until the k closest have answered, or `on_answer` has enough, or nobody is left to ask."""
        began = self._rpc.clock()
        self._rpc.table.touch(self._target, began)
        try:
            self._pump()
            await self._done.wait()
        finally:
            for pending in self._open.values():
                pending.detach()
            self._open.clear()
        shortlist = self.shortlist
        result = LookupResult(
            tuple(shortlist.result()), shortlist.asked, shortlist.answered, shortlist.hops, tuple(shortlist.silent())
        )
        # A look at only a few nodes tells nothing of how lookups go.
        if self._rpc.events.watched and shortlist.k >= self._rpc.table.k:
            kind: Literal["node", "value"] = "node" if isinstance(self._question, FindNode) else "value"
            ended = self._rpc.clock()
            self._rpc.events.emit(
                LookupEnded(kind, result.hops, result.asked, ended - began, self._target, result.contacts)
            )
        return result

    def _pump(self) -> None:
        # A request that cannot be sent fails at once and frees its slot, so this goes on until nothing is to be sent.
        if self._is_pumping or self._done.is_set():
            return
        self._is_pumping = True
        while queries := self.shortlist.next_queries():
            for contact in queries:
                self._ask(contact)
        self._is_pumping = False
        if self.shortlist.finished and not self._expects_value():
            self._done.set()

    def _expects_value(self) -> bool:
        """Whether somebody has a value that only fits into a stream, which is on its way though it is overdue."""
        return isinstance(self._question, FindValue) and any(each.by_stream for each in self._open.values())

    def _ask(self, contact: Contact) -> None:
        pending = self._rpc.request(
            contact.endpoint,
            self._question,
            node=contact.id,
            on_reply=functools.partial(self._replied, contact),
            on_overdue=functools.partial(self._overdue, contact),
            on_failed=functools.partial(self._failed, contact),
        )
        if pending is None:
            self.shortlist.on_failed(contact.id)
            return
        self._open[contact.id] = pending
        if pending.is_suspect:
            self.shortlist.on_overdue(contact.id)

    def _replied(self, contact: Contact, packet: Packet) -> None:
        del self._open[contact.id]
        learn_from(self._rpc, self.shortlist, contact, packet.message)
        if self._on_answer is not None and self._on_answer(contact, packet):
            self._done.set()
        self._pump()

    def _overdue(self, contact: Contact) -> None:
        self.shortlist.on_overdue(contact.id)
        self._pump()

    def _failed(self, contact: Contact) -> None:
        self._open.pop(contact.id, None)
        self.shortlist.on_failed(contact.id)
        self._pump()


def learn_from(rpc: Rpc, shortlist: Shortlist, contact: Contact, answer: Message) -> None:
    """`contact` has answered: what it named goes into the shortlist, what makes no sense of it is counted."""
    if not isinstance(answer, NodeList | Value | StoreResult):
        # Too large even for a stream: a peer that cannot answer is as good as none.
        shortlist.on_failed(contact.id)
        return
    may_contact = functools.partial(rpc.may_contact, told_by=contact.endpoint)
    senseless = answer.dropped + shortlist.on_reply(contact.id, answer.contacts, may_contact)
    if senseless:
        rpc.statistics.dropped["senseless_contact"] += senseless
