"""The lookup of a put or a renewal, which stores while it looks: its questions are STOREs wherever they can be.

Rules of this file: callbacks only, and no rounds. A candidate that is as good as certain to be one of the closest is
asked at once, by a STORE if it would take one from us, else by a FIND_NODE with a STORE behind it; any other by
FIND_NODE, alpha at a time. A STORE's answer is that peer's answer in the lookup. One that is overdue is followed by a
FIND_NODE, so that a peer that lives and does not store stays in the base of the majority. The caller leaves at the
outcome, and the rest goes on without it. Source: docs/protocol.md, "Lookups" and "Acknowledgement".
"""

from __future__ import annotations

import functools

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import IS_SHORTENED, FindNode, Message, NodeList, StoreResult
from camomile_trio.kademlia.shortlist import PeerState, Shortlist
from camomile_trio.kademlia.vicinity import Vicinity
from camomile_trio.node.core import Core
from camomile_trio.node.spread import Spread
from camomile_trio.operations.events import LookupEnded
from camomile_trio.operations.lookup import START, learn_from
from camomile_trio.peer.pending import Pending
from camomile_trio.peer.seams import Answer


class Placing:
    """One record on its way to the k closest nodes to `key`."""

    def __init__(self, core: Core, key: Key, spread: Spread, *, others: int | None = None) -> None:
        """`others`: how many nodes beside this one, if not k."""
        settings = core.config.kademlia
        k = settings.k if others is None else others
        start = core.table.closest(key, START * settings.k)
        self._core = core
        self._key = key
        self._spread = spread
        counting = core.table.counting(key)
        self._shortlist = Shortlist(
            key, k=k, alpha=settings.alpha, own=core.id, start=start, counting=counting, party_of=core.contacts.party
        )
        self._vicinity = Vicinity(key, k=k, own=core.id)
        self._vicinity.on_neighbours(core.table.closest(core.id, settings.k))
        self._open: dict[Contact, Pending[Message]] = {}  # FIND_NODEs under way
        self._checked: set[Contact] = set()  # those whose STORE is overdue, while their FIND_NODE is not
        self._began = 0.0
        self._is_over = False
        self._is_pumping = False
        spread.acknowledgements.candidates = lambda: spread.base_of(self._shortlist.candidates())

    async def run(self) -> None:
        """Returns when the outcome of the acknowledgements is there, or the spread is beaten."""
        self._began = self._core.clock()
        self._core.table.touch(self._key, self._began)
        try:
            self._pump()
            await self._spread.wait()
        finally:
            if not self._spread.is_accepted:
                self._stop()

    # What a STORE that is a question comes to; see `storing.Asking`.

    def on_store_answer(self, contact: Contact, answer: Answer[Message]) -> None:
        self._checked.discard(contact)
        check = self._open.pop(contact, None)
        if check is not None:
            check.detach()
        self._learn(contact, answer)

    def on_store_overdue(self, contact: Contact) -> None:
        if self._is_over or self._shortlist.state(contact.id) is not PeerState.ASKED or self._has_moved(contact):
            return
        self._shortlist.on_overdue(contact.id)
        self._checked.add(contact)
        self._find(contact)
        self._pump()

    def on_store_failed(self, contact: Contact) -> None:
        self._fail(contact)

    # Parts ---------------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        if self._is_pumping or self._is_over:
            return
        if self._spread.beaten_by is not None:
            self._stop()
            return
        self._is_pumping = True
        spread, shortlist, vicinity = self._spread, self._shortlist, self._vicinity
        while queries := shortlist.next_queries(vicinity.reach_to(shortlist.edge)):
            for contact in queries:
                if shortlist.state(contact.id) is PeerState.ANSWERED:
                    self._find(contact)  # once more, for what it had no room for
                    continue
                is_certain = vicinity.holds(contact.id) and spread.may_ask(contact)
                if not (is_certain and spread.store_at(contact, asking=self)):
                    self._find(contact)
        for contact in spread.untold(shortlist.answered_within(vicinity.reach)):
            spread.store_at(contact)
        self._is_pumping = False
        if shortlist.finished and not self._checked:
            self._end()

    def _find(self, contact: Contact) -> None:
        question, tellers = FindNode(NodeId(self._key)), self._shortlist.tellers(contact.id)
        if tellers and not self._core.requests.can_pay(contact, question, tellers):
            self._shortlist.on_unpaid(contact.id)
            return
        pending = self._core.requests.request(
            contact,
            question,
            on_reply=functools.partial(self._replied, contact),
            on_overdue=functools.partial(self._overdue, contact),
            on_failed=functools.partial(self._failed, contact),
            told_by=tellers,
        )
        if pending is None:
            self._failed(contact)
            return
        self._open[contact] = pending
        if pending.is_suspect:
            self._overdue(contact, is_suspect=True)

    def _replied(self, contact: Contact, answer: Answer[Message]) -> None:
        del self._open[contact]
        self._checked.discard(contact)
        self._learn(contact, answer)

    def _learn(self, contact: Contact, answer: Answer[Message]) -> None:
        if self._is_over:
            return
        message = answer.message
        is_first = self._shortlist.state(contact.id) is not PeerState.ANSWERED
        if is_first and isinstance(message, NodeList | StoreResult):
            self._spread.store_here()
            self._spread.acknowledgements.on_answered(contact.id)
            is_shortened = bool(answer.flags & IS_SHORTENED)
            self._vicinity.on_answer(contact.id, message.contacts, is_shortened=is_shortened)
        learn_from(self._core.contacts, self._shortlist, contact, answer)
        self._pump()

    def _overdue(self, contact: Contact, *, is_suspect: bool = False) -> None:
        self._checked.discard(contact)
        if not self._has_moved(contact):
            self._shortlist.on_overdue(contact.id, is_suspect=is_suspect)
        self._pump()

    def _failed(self, contact: Contact) -> None:
        self._open.pop(contact, None)
        self._checked.discard(contact)
        self._fail(contact)

    def _fail(self, contact: Contact) -> None:
        if not self._has_moved(contact):
            self._shortlist.on_failed(contact.id)
        self._pump()

    def _has_moved(self, contact: Contact) -> bool:
        """Whether it has failed at this endpoint before, and is asked at another one now: it may be asked twice, by a
        STORE and by a FIND_NODE, at the first."""
        return self._shortlist.endpoint(contact.id) != contact.endpoint

    def _end(self) -> None:
        self._stop()
        core, shortlist = self._core, self._shortlist
        contacts = shortlist.result()
        if core.events.watched:
            took = core.clock() - self._began
            core.events.emit(LookupEnded("node", shortlist.hops, shortlist.asked, took, self._key, tuple(contacts)))
        if contacts or core.stands_alone:
            self._spread.settle(contacts, silent=shortlist.silent())
        else:
            self._spread.give_up()

    def _stop(self) -> None:
        self._is_over = True
        for pending in self._open.values():
            pending.detach()
        self._open.clear()
