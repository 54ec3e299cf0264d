"""Drives one Shortlist: sends its queries, feeds it answers and deadlines, wakes its caller once, at the end.

Rules of this file: no task of its own and no rounds. Answers and deadlines come as callbacks and free a slot at once;
the caller's task sleeps on one event. Contacts that others name are candidates of this lookup only. Leaving `run`,
also by cancellation, detaches every request still under way. Source: Kademlia (2002), §2.3.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Literal

import attrs
import trio

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.messages import (
    IS_SHORTENED,
    FindNode,
    FindValue,
    Message,
    NodeList,
    StoreResult,
    Value,
)
from camomile_trio.kademlia.shortlist import PeerState, Shortlist
from camomile_trio.operations.events import Events, LookupEnded
from camomile_trio.peer.contacts import Contacts
from camomile_trio.peer.pending import Pending
from camomile_trio.peer.seams import Answer

# How many times k known contacts a lookup starts from.
START = 3
# Only who is as near as this, in seconds to there and back, is asked alone. There three questions cost processors more
# time than they save. Farther away the first of three answers comes sooner than the only one: with 5 to 30 ms each way
# half of all gets take 62 ms, not 75.
NEAR = 0.005
# For how long one that is asked alone is waited for at least, in seconds: however regular its round trips were, the
# next one may have to wait for a processor.
LEAST_PATIENCE = 0.01

# How long a lookup that all others have answered waits for a value that one party alone says it has, in seconds since
# it said so. It may be the only holder, and it may be a liar that gives nothing.
PROMISE_PATIENCE = 0.5
# So many others, at least, have to have answered meanwhile.
LEAST_OTHERS = 2

# Sees every answer as it comes; True ends the lookup there and then.
OnAnswer = Callable[[Contact, Answer[Message]], bool]


@attrs.frozen
class LookupResult:
    """The closest nodes that answered, closest first, and how it went: k, or as many as it takes (`counting.py`).

    `counted` are those of them whose word counts. `silent` would be among them if they had answered, closest first.
    `is_inconclusive`: most of those that would count are silent, and nobody can say what is not there.
    """

    contacts: tuple[Contact, ...]
    asked: int
    answered: int
    hops: int
    silent: tuple[Contact, ...] = ()
    counted: frozenset[Contact] = frozenset()
    is_inconclusive: bool = False
    is_promised: bool = False  # a node says that it has the value, and has not given it out yet


class Lookup:
    """One iterative lookup, for a node (FIND_NODE) or a value (FIND_VALUE)."""

    def __init__(
        self,
        contacts: Contacts,
        events: Events,
        question: FindNode | FindValue,
        *,
        k: int,
        alpha: int,
        start: Iterable[Contact] | None = None,
        on_answer: OnAnswer | None = None,
        one_first: bool = False,
        on_late_value: Callable[[Contact, Answer[Message]], None] | None = None,
    ) -> None:
        """`one_first`: a single answer may be all that is wanted, so one of the alpha closest that is near is asked
        alone, for as long as it usually takes to answer. `on_late_value` is told of a value that was promised and
        comes over a stream after the end."""
        self._contacts = contacts
        self._requests = contacts.requests
        self._events = events
        self._question = question
        self._target: bytes = question.target if isinstance(question, FindNode) else question.key
        if start is None:
            # More than k, so that a neighbourhood of dead contacts does not end the lookup before it began.
            start = contacts.table.closest(self._target, START * k)
        table = contacts.table
        # A look at only a few nodes is no base of anything.
        counting = table.counting(self._target) if k >= table.k else None
        self.shortlist = Shortlist(
            self._target, k=k, alpha=alpha, own=table.own, start=start, counting=counting, party_of=contacts.party
        )
        self._on_answer = on_answer
        self._done = trio.Event()
        self._open: dict[Contact, Pending[Message]] = {}
        self._is_pumping = False
        self._is_narrow = one_first
        self._has_enough = False
        self._on_late_value = on_late_value

    async def run(self) -> LookupResult:
        """Asks until the closest have answered, or `on_answer` has enough, or nobody is left to ask."""
        began = self._requests.clock()
        self._contacts.table.touch(self._target, began)
        try:
            if self._is_narrow:
                self._ask_one()
            self._pump()
            await self._done.wait()
            is_promised = bool(self._promises())
            self._leave_late_values()
        finally:
            for pending in self._open.values():
                pending.detach()
            self._open.clear()
        shortlist = self.shortlist
        result = LookupResult(
            tuple(shortlist.result()),
            shortlist.asked,
            shortlist.count(PeerState.ANSWERED),
            shortlist.hops,
            tuple(shortlist.silent()),
            frozenset(shortlist.counted()),
            shortlist.is_inconclusive(),
            is_promised,
        )
        # A look at only a few nodes tells nothing of how lookups go.
        if self._events.watched and shortlist.k >= self._contacts.table.k:
            kind: Literal["node", "value"] = "node" if isinstance(self._question, FindNode) else "value"
            ended = self._requests.clock()
            self._events.emit(
                LookupEnded(kind, result.hops, result.asked, ended - began, self._target, result.contacts)
            )
        return result

    def _ask_one(self) -> None:
        """Of the closest the quickest, which most likely would be the first to answer if all were asked."""
        contact = self.shortlist.first_query(self._patience)
        pending = self._ask(contact) if contact is not None else None
        if contact is None or pending is None:
            self._is_narrow = False
            return
        patience = max(self._patience(contact), LEAST_PATIENCE)
        requests = self._requests
        requests.deadlines.set(requests.clock() + patience, functools.partial(self._hedge, contact), awaited=pending)

    def _patience(self, contact: Contact) -> float:
        """How long to wait for it alone, in seconds; infinite for who is not near, or perhaps not there."""
        path = self._requests.path(contact)
        if path is None or path.least > NEAR or path.is_suspect(self._requests.clock()):
            return math.inf
        return path.usual

    def _hedge(self, contact: Contact) -> None:
        """The others are asked too, unless a value too large for a datagram is on its way, or nobody waits any more."""
        pending = self._open.get(contact)
        if pending is not None and not pending.by_stream:
            self._is_narrow = False
            self._pump()

    def _pump(self) -> None:
        # A request that cannot be sent fails at once and frees its slot, so this goes on until nothing is to be sent.
        if self._is_pumping or self._is_narrow or self._done.is_set():
            return
        self._is_pumping = True
        while queries := self.shortlist.next_queries():
            for contact in queries:
                self._ask(contact)
        self._is_pumping = False
        if self.shortlist.finished and not self._expects_value():
            self._done.set()

    def _promises(self) -> dict[Contact, Pending[Message]]:
        """The requests under way to those that say they have a value which only fits into a stream, and keep their
        word."""
        if not isinstance(self._question, FindValue):
            return {}
        now = self._requests.clock()
        return {
            contact: pending
            for contact, pending in self._open.items()
            if pending.promised_at is not None and pending.path.keeps_its_word(now)
        }

    def _expects_value(self) -> bool:
        """Whether a value is on its way over a stream that is worth waiting for although it is overdue."""
        promises = self._promises()
        if not promises:
            return False
        if self._is_agreed(promises) or self.shortlist.count(PeerState.ANSWERED) < LEAST_OTHERS:
            return True
        since = min(pending.promised_at or 0.0 for pending in promises.values())
        return self._requests.clock() < since + PROMISE_PATIENCE

    def _is_agreed(self, promises: Iterable[Contact]) -> bool:
        """Whether more than one party says so."""
        return len({self._contacts.party(contact) for contact in promises}) > 1

    def _leave_late_values(self) -> None:
        if self._on_late_value is not None and not self._has_enough:
            for contact, pending in self._promises().items():
                pending.detach()
                pending.on_reply = functools.partial(self._on_late_value, contact)
                del self._open[contact]

    def _ask(self, contact: Contact) -> Pending[Message] | None:
        tellers = self.shortlist.tellers(contact.id)
        if tellers and not self._requests.can_pay(contact, self._question, tellers):
            self.shortlist.on_unpaid(contact.id)
            return None
        pending = self._requests.request(
            contact,
            self._question,
            on_reply=functools.partial(self._replied, contact),
            on_overdue=functools.partial(self._overdue, contact),
            on_failed=functools.partial(self._failed, contact),
            told_by=tellers,
        )
        if pending is None:
            self.shortlist.on_failed(contact.id)
            return None
        self._open[contact] = pending
        if pending.is_suspect:
            self.shortlist.on_overdue(contact.id, is_suspect=True)
        return pending

    def _replied(self, contact: Contact, answer: Answer[Message]) -> None:
        self._is_narrow = False
        del self._open[contact]
        learn_from(self._contacts, self.shortlist, contact, answer)
        if self._on_answer is not None and self._on_answer(contact, answer):
            self._has_enough = True
            self._done.set()
        self._pump()

    def _overdue(self, contact: Contact) -> None:
        promises = self._promises()
        if contact in promises:
            self._on_late_promise(contact, promises)
        else:
            self._free(contact)

    def _on_late_promise(self, contact: Contact, promises: dict[Contact, Pending[Message]]) -> None:
        """A value that was promised has not come soon: it may be large, or there may be none."""
        if self._is_agreed(promises):
            # There is one. So it keeps its place for as long as any answer may take, and nobody else need send it too.
            free = functools.partial(self._free, contact)
            self._look_later(promises[contact], self._requests.settings.deadline, free)
            return
        self._look_later(promises[contact], PROMISE_PATIENCE, self._pump)
        if not self._has_moved(contact):
            self.shortlist.on_overdue(contact.id)
        if self._is_narrow:
            self._ask_one()
        self._pump()

    def _free(self, contact: Contact) -> None:
        """The lookup goes on without it."""
        self._is_narrow = False
        if not self._has_moved(contact):
            self.shortlist.on_overdue(contact.id)
        self._pump()

    def _look_later(self, pending: Pending[Message], after: float, look: Callable[[], None]) -> None:
        self._requests.deadlines.set((pending.promised_at or 0.0) + after, look, awaited=pending)

    def _failed(self, contact: Contact) -> None:
        self._is_narrow = False
        self._open.pop(contact, None)
        if not self._has_moved(contact):
            self.shortlist.on_failed(contact.id)
        self._pump()

    def _has_moved(self, contact: Contact) -> bool:
        """Whether the node is asked at another endpoint by now."""
        return self.shortlist.endpoint(contact.id) != contact.endpoint


def learn_from(contacts: Contacts, shortlist: Shortlist, contact: Contact, answer: Answer[Message]) -> None:
    """`contact` has answered: what it named goes into the shortlist, what makes no sense of it is counted."""
    message, is_shortened = answer.message, bool(answer.flags & IS_SHORTENED)
    if not isinstance(message, NodeList | Value | StoreResult):
        # Too large even for a stream: a peer that cannot answer is as good as none.
        shortlist.on_failed(contact.id)
        return
    may_contact = functools.partial(contacts.may_contact, told_by=contact.endpoint)
    left_out = shortlist.on_reply(
        contact.id,
        message.contacts,
        may_contact,
        is_shortened=is_shortened,
        source=answer.contact,
        knows=contacts.knows,
    )
    senseless = message.dropped + left_out
    if senseless:
        contacts.requests.statistics.dropped["senseless_contact"] += senseless
