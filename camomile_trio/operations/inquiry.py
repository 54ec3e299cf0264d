"""Asks the k closest nodes to a key what they hold of it, before a forget.

Rules of this file: a lookup by FIND_NODE, and a HAVE to everyone that answers it, at once. Every register counts, an
ended one that is still kept included. Source: docs/protocol.md, Records, rule 11.
"""

from __future__ import annotations

import functools

import trio

from camomile_trio.errors import StorageError
from camomile_trio.identity import BadSignature
from camomile_trio.kademlia import registers
from camomile_trio.kademlia.admission import is_acceptable
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import Have, HaveResult, Message
from camomile_trio.kademlia.records import PublisherKey, Record
from camomile_trio.operations.publication import Publishing
from camomile_trio.peer.pending import Pending
from camomile_trio.peer.seams import Answer


class Inquiry:
    """What is known of one key around it."""

    def __init__(self, publishing: Publishing, key: Key) -> None:
        self.key = key
        self.best: dict[PublisherKey, Record] = {}
        self.holders: list[Contact] = []  # those that hold anything of it
        self.shown: list[tuple[Contact, Record]] = []  # by whom which record
        self.closest: tuple[Contact, ...] = ()
        self.silent: tuple[Contact, ...] = ()  # those that would be among them if they had answered
        self.is_inconclusive = False  # most of the closest were silent
        self.has_classic = False
        self.answered = 0
        self._publishing = publishing
        self._lookups = publishing.lookups
        self._requests = publishing.lookups.contacts.requests
        self._holdings = publishing.holdings
        self._asked: dict[bytes, Contact] = {}
        self._heard: set[bytes] = set()
        self._open: dict[bytes, Pending[Message]] = {}
        self._settled = trio.Event()
        self._is_lookup_over = False

    async def run(self) -> None:
        state = self._holdings.state(self.key)
        for register in state.registers:
            self._weigh(register.record)
        now = self._holdings.wall_clock()
        self.has_classic = registers.is_served(state, now) and not registers.is_live(state, now)
        try:
            result = await self._lookups.find_node(self.key, on_answer=self._on_answer)
            self.closest, self.answered, self.silent = result.contacts, result.answered, result.silent
            self.is_inconclusive = result.is_inconclusive
            self._ask_beyond()
            self._is_lookup_over = True
            self._look()
            await self._settled.wait()
        finally:
            for pending in self._open.values():
                pending.detach()

    def other_publishers(self) -> int:
        """How many publishers beside ours have a live lease."""
        now = self._holdings.wall_clock()
        own = self._publishing.publisher.public
        return sum(
            publisher != own and not record.is_tombstone and record.expires > now
            for publisher, record in self.best.items()
        )

    def unheard(self) -> list[Contact]:
        """Those that were asked what they hold and have not said so in time."""
        return [contact for contact in self._asked.values() if contact.id not in self._heard]

    def _ask_beyond(self) -> None:
        """Asks as many beyond the k closest: newcomers may have pushed them out, with all that they hold."""
        for contact in self._lookups.table.closest(self.key, 2 * self._lookups.k):
            if contact.id not in self._asked:
                self._ask(contact)

    def _on_answer(self, contact: Contact, answer: Answer[Message]) -> bool:
        if contact.id not in self._asked:  # it may answer twice, if its first answer had little room
            self._ask(contact)
        return False

    def _ask(self, contact: Contact) -> None:
        self._asked[contact.id] = contact
        pending = self._requests.request(
            contact,
            Have((self.key,), self._publishing.publisher.public),
            on_reply=functools.partial(self._replied, contact),
            on_overdue=functools.partial(self._ended, contact),
            on_failed=functools.partial(self._ended, contact),
        )
        if pending is not None:
            self._open[contact.id] = pending
            if pending.is_suspect:
                self._ended(contact)

    def _replied(self, contact: Contact, answer: Answer[Message]) -> None:
        self._heard.add(contact.id)
        if isinstance(answer.message, HaveResult):
            for holding in answer.message.holdings:
                if holding.key != self.key:
                    continue
                if holding.has_value or holding.records:
                    self.holders.append(contact)
                self.has_classic |= holding.classic
                try:
                    for record in self._holdings.check(holding.records, self.key):
                        self.shown.append((contact, record))
                        self._weigh(record)
                except (BadSignature, StorageError):
                    self._requests.statistics.dropped["bad_signature"] += 1
        self._ended(contact)

    def _ended(self, contact: Contact) -> None:
        # An overdue answer may still come and counts if it does; nobody waits for it.
        self._open.pop(contact.id, None)
        self._look()

    def _weigh(self, record: Record) -> None:
        if not is_acceptable(record, self._holdings.wall_clock()):
            return
        known = self.best.get(record.publisher)
        if known is None or record.rank > known.rank:
            self.best[record.publisher] = record

    def _look(self) -> None:
        if self._is_lookup_over and not self._open:
            self._settled.set()
