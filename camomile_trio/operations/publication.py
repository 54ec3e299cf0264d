"""One record of our publisher on its way to its holders, until a majority of those that count has acknowledged it.

Rules of this file: one STORE to each holder, as soon as somebody says to whom: by a lookup that asks by STOREs, or all
at once after one. First as many of the nearest are asked as a majority needs and a few more, the others once there is
an outcome, or one of the first is late or refuses. The caller sleeps on one event and leaves at the outcome, while the
rest goes on as callbacks. Sent without the value to a holder that lacks it, a STORE is repeated with it, once. A holder
that knows a greater record of ours ends the wait: `beaten_by` says which.
Source: docs/protocol.md, Records, "Acknowledgement".
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Callable, Iterable
from typing import Final, Protocol

import attrs
import trio

from camomile_trio.errors import StorageError
from camomile_trio.holding.confirmations import Confirmations
from camomile_trio.holding.holdings import Holdings
from camomile_trio.identity import BadSignature, KeyPair, sign_record
from camomile_trio.kademlia import leases
from camomile_trio.kademlia.acknowledgement import Acknowledgements, Refused, Success
from camomile_trio.kademlia.admission import is_acceptable
from camomile_trio.kademlia.contacts import NOWHERE, Contact
from camomile_trio.kademlia.ids import Key, NodeId, distance
from camomile_trio.kademlia.messages import Message, Store, StoreKind, StoreResult, StoreStatus
from camomile_trio.kademlia.records import Record
from camomile_trio.kademlia.registers import Register
from camomile_trio.operations.lookup import Lookup, Lookups
from camomile_trio.peer.seams import Answer

SPARE: Final = 3  # so many more than a majority are asked at first

# Refusals that may be over in a moment.
PASSING: Final = frozenset(
    {
        StoreStatus.FAILED,
        StoreStatus.BUSY,
        StoreStatus.FULL,
        StoreStatus.NO_ROOM,
        StoreStatus.QUOTA,
    }
)


class Standing(Protocol):
    """What a node knows of itself in its network, at this moment."""

    @property
    def stands_alone(self) -> bool:
        """Whether it counts alone while no other node answers: it never met one, or the operator said that it may."""

    @property
    def least(self) -> int:
        """Of how many nodes a majority is one at least."""

    def require_ready(self) -> None:
        """NotJoined."""

    def require_clock(self) -> None:
        """WrongClock: nothing is signed under a clock that is known to be behind."""

    def is_clock_confirmed(self) -> bool:
        """Whether most clocks show the time that this node's shows."""


class Missed(Protocol):
    """Where it is remembered who was silent, and is told later."""

    def add(self, contact: Contact, key: Key, now: float) -> None: ...


@attrs.define(eq=False)
class Publishing:
    """What the publications of one node work with, and its publisher's pen."""

    lookups: Lookups
    holdings: Holdings
    standing: Standing
    confirmations: Confirmations
    missed: Missed
    publisher: KeyPair
    network: bytes

    def lease(self, key: Key, *, seen: int, life_ms: int, renewable: bool) -> Record:
        """A new lease, above `seen`."""
        now = self.holdings.wall_clock()
        public = self.publisher.public
        return self.sign(leases.new_lease(key, public, seen=seen, now=now, life_ms=life_ms, renewable=renewable))

    def tombstone(self, key: Key, *, seen: int) -> Record:
        """A new tombstone, above `seen`."""
        now = self.holdings.wall_clock()
        return self.sign(leases.new_tombstone(key, self.publisher.public, seen=seen, now=now))

    def sign(self, unsigned: Record) -> Record:
        return sign_record(unsigned, self.publisher, self.network)


class Publication:
    """One record on its way. `beaten_by` is a record of the same publisher that a holder showed and that stands against
    this one: a greater one, or, against a put, a lease that this one has replaced although it lasts longer.

    `on_late_defeat` is called once if such a record turns up after a majority took this one, and what the caller was
    told would not be true with it. A younger record is somebody's later word, and stands, but for a lease that ends a
    put's life.

    `publish`: this node accepted a user's put and keeps its own copy, wherever it stands. `above`: what the record was
    signed to overrule. Where that is a tombstone, a lease below it was forgotten, whoever has not heard of that.
    """

    def __init__(
        self,
        publishing: Publishing,
        record: Record,
        value: bytes | None,
        *,
        with_value: bool,
        kind: StoreKind = StoreKind.PUBLISH,
        publish: bool = False,
        above: Record | None = None,
        on_late_defeat: Callable[[Record], None] | None = None,
    ) -> None:
        lookups, standing = publishing.lookups, publishing.standing
        self.record = record
        self.is_accepted = False
        self.is_stored_here = False  # or on its way to the disk: somebody has answered, or this node stands alone
        self.has_replaced = False  # a holder says that an earlier lease of ours, which was live, made way for this one
        self.told: dict[bytes, Contact] = {}  # to whom a STORE has gone, by id
        self.beaten_by: Record | None = None
        self.acknowledgements = Acknowledgements(
            lookups.k,
            target=record.key,
            own=lookups.table.own,
            alone=standing.stands_alone,
            least=standing.least,
        )
        self.first = lookups.k // 2 + 1 + SPARE  # so many of the nearest are asked at first
        self._publishing = publishing
        self._lookup: Lookup | None = None
        self._contacts = lookups.contacts
        self._requests = lookups.contacts.requests
        self._holdings = publishing.holdings
        self._row = record.row()
        self._value = value
        self._publish = publish
        self._forgotten = above if above is not None and above.is_tombstone else None
        self._on_late_defeat = on_late_defeat
        self._former: Register | None = None  # what stood here before
        self._changed = trio.Event()
        self._is_whole = False  # those beyond the first are asked too
        self._open = 0  # STOREs under way
        # One message each for all peers: it is encoded once.
        sent = value if with_value else None
        self._store = Store(kind, record.key, sent, (self._row,), False, False)
        self._store_and_name = attrs.evolve(self._store, names_contacts=True)
        # A peer need not have answered us in this put to be asked by a STORE; over a stream it should, since one that
        # is gone would be found out seconds later.
        self._fits = self._requests.fits_datagram(self._store_and_name)

    # How it goes -----------------------------------------------------------------------------------------------------

    async def look_and_store(self, *, others: int | None = None) -> None:
        """Takes the record to the closest nodes, which are looked for meanwhile. `others`: how many beside this node,
        if not k. Returns when there is an outcome, or `beaten_by`."""
        lookup = self._lookup = self._publishing.lookups.storing(self, k=others)
        lookup.start()
        try:
            await self.wait()
        finally:
            if not self.is_accepted:
                lookup.stop()

    async def store_at_all(
        self, contacts: Iterable[Contact], *, holders: Iterable[Contact] = (), silent: Iterable[Contact] = ()
    ) -> None:
        """Stores at `contacts`, the closest that answered, and at `holders` beyond them; `silent` as in `settle`.

        Returns when there is an outcome, or `beaten_by`.
        """
        self.settle(contacts, silent)
        for contact in holders:
            self.store_at(contact)
        await self.wait()

    async def wait(self) -> None:
        """Until the outcome of the acknowledgements is there, or `beaten_by` is.

        What the others refuse for good, or under their clocks, is taken back here.
        """
        await self._changed.wait()
        outcome = self.acknowledgements.outcome
        self.is_accepted = self.beaten_by is None and isinstance(outcome, Success)
        is_refused = isinstance(outcome, Refused) or StoreStatus.NOT_YET in self.acknowledgements.refusals
        if self.is_stored_here and self.beaten_by is None and not self.is_accepted and is_refused:
            self._holdings.take_back(self.record, self._former)

    @property
    def is_whole(self) -> bool:
        """Whether all that should hold it are to be asked now, not only the first few."""
        return self._is_whole or (bool(self.told) and not self._open)

    def settle(self, contacts: Iterable[Contact], silent: Iterable[Contact]) -> None:
        """The lookup has ended: `contacts` are the closest that answered. Who was not told yet is told now.

        `silent` should have been among them: they are told later, as are those of the others that cannot store now.
        """
        contacts = [contact for contact in contacts if self._contacts.is_storing(contact)]
        for contact in contacts:
            self.acknowledgements.on_answered(contact[0])
        self.acknowledgements.on_lookup_end(self.base_of(contacts))
        self.store_here()
        for contact in silent:
            self._remember(contact)
        for contact in self.untold(contacts):
            self.store_at(contact)
        self._look()

    def base_of(self, contacts: Iterable[Contact]) -> list[NodeId]:
        """Of which nodes a majority is counted, if these are the closest, closest first: those that count, this one
        among them where it is as close."""
        lookups, key = self._publishing.lookups, self.record.key
        nearest = list(contacts)
        bisect.insort(nearest, Contact(lookups.table.own, NOWHERE), key=lambda each: distance(key, each[0]))
        return [each[0] for each in lookups.table.counting(key).cover(nearest, lookups.k).counted]

    def give_up(self) -> None:
        """The lookup has ended, and nobody answered."""
        self.acknowledgements.on_lookup_end(())
        self._look()

    # At this node ----------------------------------------------------------------------------------------------------

    def store_here(self) -> None:
        """Stores this node's own copy, once."""

        def done(result: StoreResult) -> None:
            if result.status is StoreStatus.STORED:
                self.acknowledgements.on_own_copy(result.durability)
            else:
                self.acknowledgements.on_refused(self._publishing.lookups.table.own, result.status)
            if result.records:
                self._note_winners(result)
            self._look()

        if not self.is_stored_here:
            self.is_stored_here = True
            self._former = self._standing_here()
            self._holdings.store(self.record.key, self._value, (self._row,), done, is_published=self._publish)

    def _standing_here(self) -> Register | None:
        """What stands here of this publisher."""
        try:
            return self._holdings.state(self.record.key).register(self.record.publisher)
        except StorageError:
            return None

    # At a holder -----------------------------------------------------------------------------------------------------

    def may_ask(self, contact: Contact) -> bool:
        """Whether a STORE, sent as the question of a lookup, would be taken, by a datagram, and tell us something."""
        return self._fits and self._contacts.takes_stores(contact, self._requests.clock())

    def store_at(self, contact: Contact, *, is_question: bool = False, is_naming: bool = False) -> bool:
        """Sends the record to `contact`, once, and says whether that will be answered, or found out to have failed.

        Who was told at an endpoint where it is no more is told at its new one. `is_question`: the lookup asks by it,
        for contacts too where `is_naming`.
        """
        if self._is_told(contact) or contact.id == self._publishing.lookups.table.own:
            return False
        if not (is_question or self._contacts.is_storing(contact)):
            return False
        if self.is_accepted:
            standing = self._standing_here()
            if standing is not None and standing.record.rank > self.record.rank:
                return False  # this node itself has stored a greater record since this one was accepted
        self.told[contact.id] = contact
        self._send(contact, self._store_and_name if is_naming else self._store, is_question=is_question)
        return True

    def untold(self, contacts: Iterable[Contact]) -> list[Contact]:
        """Those of them to whom no STORE has gone where they are now. Asked after every answer: nearly all are told."""
        told = self.told.get
        return [contact for contact in contacts if told(contact[0]) != contact]

    def _send(self, contact: Contact, store: Store, *, is_question: bool) -> None:
        lookup = self._lookup if is_question else None
        self._open += 1
        sent = self._requests.request(
            contact,
            store,
            on_reply=functools.partial(self._replied, contact, store, lookup),
            on_overdue=functools.partial(self._overdue, contact, lookup),
            on_failed=functools.partial(self._failed, contact, lookup),
        )
        if sent is None:
            self._failed(contact, lookup)

    def _replied(self, contact: Contact, store: Store, lookup: Lookup | None, answer: Answer[Message]) -> None:
        result = answer.message
        if not isinstance(result, StoreResult):
            self._failed(contact, lookup)
            return
        self._open -= 1
        if result.status is StoreStatus.VALUE_NEEDED and store.value is None and self._value is not None:
            self._send(contact, attrs.evolve(store, value=self._value), is_question=lookup is not None)
            return
        if not self.is_stored_here and lookup is not None:
            self.store_here()
        acknowledgements, was_whole = self.acknowledgements, self._is_whole
        if result.status is StoreStatus.STORED:
            acknowledgements.on_acknowledged(contact.id, result.durability)
            self._publishing.confirmations.confirm(self.record.key, self._row, contact.id, self._requests.clock())
            self._is_whole = was_whole or acknowledgements.outcome is not None
        else:
            self._is_whole = True
            if lookup is not None:
                acknowledgements.on_answered(contact.id)
            if result.status in PASSING:
                self._remember(contact)
            acknowledgements.on_refused(contact.id, result.status)
        if result.records:
            self._note_winners(result)
        if lookup is not None:
            is_news = was_whole != self._is_whole
            lookup.on_store_answer(contact, answer, is_naming=store.names_contacts, is_news=is_news)
        else:
            self._go_on()
        self._look()

    def _overdue(self, contact: Contact, lookup: Lookup | None) -> None:
        self._is_whole = True
        if lookup is not None:
            lookup.on_store_overdue(contact)
        else:
            self._go_on()

    def _failed(self, contact: Contact, lookup: Lookup | None) -> None:
        self._open -= 1
        self._is_whole = True
        if self._is_told(contact):  # else it is told elsewhere now, and that is what counts
            self._remember(contact)
            self.acknowledgements.on_failed(contact.id)
        if lookup is not None:
            lookup.on_store_failed(contact)
        else:
            self._go_on()
        self._look()

    def _go_on(self) -> None:
        if self._lookup is not None:
            self._lookup.go_on()

    def _is_told(self, contact: Contact) -> bool:
        told = self.told.get(contact.id)
        return told is not None and told.endpoint == contact.endpoint

    def _remember(self, contact: Contact) -> None:
        if self._contacts.knows(contact):  # others may name addresses where there is no node
            self._publishing.missed.add(contact, self.record.key, self._requests.clock())

    def _note_winners(self, result: StoreResult) -> None:
        """Looks whether a record that a holder has shown stands against this one, if its signature is good."""
        self.has_replaced |= result.status is StoreStatus.STORED
        try:
            winners = self._holdings.check(result.records, self.record.key)
        except (BadSignature, StorageError):
            return
        now = self._holdings.wall_clock()
        for winner in winners:
            is_longer = self._publish and leases.is_shortened_by(winner, self.record, now=now)
            if winner.publisher != self.record.publisher or not (winner.rank > self.record.rank or is_longer):
                continue
            if self._forgotten is not None and winner.rank < self._forgotten.rank:
                continue
            if not is_acceptable(winner, now):
                continue  # nobody may be above a seq that no holder would take, and there is none above the last one
            if self.beaten_by is None or winner.rank > self.beaten_by.rank:
                is_first = self.beaten_by is None
                self.beaten_by = winner
                is_cut_short = self._publish and leases.is_shortened_by(self.record, winner, now=now)
                is_untrue = is_longer or is_cut_short or winner.issued < self.record.issued
                if self.is_accepted and is_first and is_untrue and self._on_late_defeat is not None:
                    self._on_late_defeat(winner)

    def _look(self) -> None:
        if self.beaten_by is not None or self.acknowledgements.outcome is not None:
            self._changed.set()
