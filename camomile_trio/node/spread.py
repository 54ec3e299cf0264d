"""Takes one record of our publisher to the closest nodes and waits for a majority of those that count.

Rules of this file: one STORE to each, as soon as somebody says to whom: all at once after a lookup, or one by one while
`placing.py` still looks. The caller sleeps on one event and leaves at the majority, while the rest goes on as
callbacks. A holder that knows a greater record of ours ends the wait: `beaten_by` says which. Source: docs/protocol.md,
Records, "Acknowledgement".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import trio

from camomile_trio.errors import StorageError
from camomile_trio.identity import BadSignature
from camomile_trio.kademlia import leases
from camomile_trio.kademlia.acknowledgement import Acknowledgements, Refused, Success
from camomile_trio.kademlia.admission import is_acceptable
from camomile_trio.kademlia.contacts import NOWHERE, Contact
from camomile_trio.kademlia.ids import NodeId, distance
from camomile_trio.kademlia.messages import Store, StoreKind, StoreResult, StoreStatus
from camomile_trio.kademlia.records import Record
from camomile_trio.kademlia.registers import Register
from camomile_trio.node.core import Core
from camomile_trio.operations.storing import PASSING, Asking, Storing


class Spread:
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
        core: Core,
        record: Record,
        value: bytes | None,
        *,
        with_value: bool,
        kind: StoreKind = StoreKind.PUBLISH,
        publish: bool = False,
        above: Record | None = None,
        on_late_defeat: Callable[[Record], None] | None = None,
    ) -> None:
        self._core = core
        self.record = record
        self._row = (record.row(),)
        self._value = value
        self._with_value = with_value
        self._kind = kind
        self._publish = publish
        self._forgotten = above if above is not None and above.is_tombstone else None
        self._on_late_defeat = on_late_defeat
        self.is_stored_here = False  # or on its way to the disk: somebody has answered, or this node stands alone
        self._former: Register | None = None  # what stood here before
        self._changed = trio.Event()
        self.is_accepted = False
        self.has_replaced = False  # a holder says that an earlier lease of ours, which was live, made way for this one
        self.told: dict[bytes, Contact] = {}  # to whom a STORE has gone, by id
        self.beaten_by: Record | None = None
        self.acknowledgements = Acknowledgements(
            core.config.kademlia.k,
            target=record.key,
            own=core.id,
            alone=core.stands_alone,
            least=core.membership.least,
        )
        # A peer need not have answered us in this put to be asked by a STORE; over a stream it should, since one that
        # is gone would be found out seconds later.
        self._fits = core.requests.fits_datagram(
            Store(kind, record.key, value if with_value else None, self._row, False, True)
        )

    async def run(
        self, contacts: Iterable[Contact], *, holders: Iterable[Contact] = (), silent: Iterable[Contact] = ()
    ) -> None:
        """Stores at `contacts`, the closest that answered, and at `holders` beyond them; `silent` as in `settle`.

        Returns when the outcome of the acknowledgements is there, or `beaten_by` is.
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
            self._core.holdings.take_back(self.record, self._former)

    def settle(self, contacts: Iterable[Contact], silent: Iterable[Contact]) -> None:
        """The lookup has ended: `contacts` are the closest that answered. Who was not told yet is told now.

        `silent` should have been among them: they are told later, as are those of the others that cannot store now.
        """
        core, acknowledgements = self._core, self.acknowledgements
        contacts = [contact for contact in contacts if core.contacts.is_storing(contact)]
        for contact in contacts:
            acknowledgements.on_answered(contact.id)
        acknowledgements.on_lookup_end(self.base_of(contacts))
        self.store_here()
        for contact in silent:
            self._remember(contact)
        for contact in contacts:
            self.store_at(contact)
        self._look()

    def base_of(self, contacts: Iterable[Contact]) -> list[NodeId]:
        """Of which nodes a majority is counted, if these are the closest: those that count, this one among them where
        it is as close."""
        core, key = self._core, self.record.key
        nearest = sorted((*contacts, Contact(core.id, NOWHERE)), key=lambda each: distance(key, each.id))
        return [each.id for each in core.table.counting(key).cover(nearest, core.config.kademlia.k).counted]

    def give_up(self) -> None:
        """The lookup has ended, and nobody answered."""
        self.acknowledgements.on_lookup_end(())
        self._look()

    def store_here(self) -> None:
        """Stores this node's own copy, once."""

        def done(result: StoreResult) -> None:
            if result.status is StoreStatus.STORED:
                self.acknowledgements.on_own_copy(result.durability)
            else:
                self.acknowledgements.on_refused(self._core.id, result.status)
            if result.records:
                self._note_winners(result)
            self._look()

        if not self.is_stored_here:
            self.is_stored_here = True
            self._former = self._standing()
            self._core.holdings.store(self.record.key, self._value, self._row, done, is_published=self._publish)

    def may_ask(self, contact: Contact) -> bool:
        """Whether a STORE, sent as the question of a lookup, would be taken, by a datagram, and tell us something."""
        return self._fits and self._core.contacts.takes_stores(contact, self._core.clock())

    def store_at(self, contact: Contact, *, asking: Asking | None = None) -> bool:
        """Sends the record to `contact`, once, and says whether that will be answered, or found out to have failed.

        Who was told at an endpoint where it is no more is told at its new one. With `asking` the STORE is the question
        of a lookup too.
        """
        core = self._core
        if self._is_told(contact) or contact.id == core.id or not core.contacts.is_storing(contact):
            return False
        standing = self._standing() if self.is_accepted else None
        if standing is not None and standing.record.rank > self.record.rank:
            return False  # this node itself has stored a greater record since this one was accepted
        self.told[contact.id] = contact
        Storing(
            core.requests,
            contact,
            self.record.key,
            self._value,
            self._row,
            self._kind,
            self._answered,
            with_value=self._with_value,
            asking=asking,
        ).start()
        return True

    def untold(self, contacts: Iterable[Contact]) -> list[Contact]:
        """Those of them to whom no STORE has gone where they are now. Asked after every answer: nearly all are told."""
        told = self.told.get
        return [contact for contact in contacts if told(contact.id) != contact]

    def _is_told(self, contact: Contact) -> bool:
        told = self.told.get(contact.id)
        return told is not None and told.endpoint == contact.endpoint

    def _standing(self) -> Register | None:
        """What stands here of this publisher."""
        try:
            return self._core.holdings.state(self.record.key).register(self.record.publisher)
        except StorageError:
            return None

    def _answered(self, contact: Contact, result: StoreResult | None) -> None:
        if result is None and not self._is_told(contact):
            return  # it is told elsewhere now, and that is what counts
        if result is None or result.status in PASSING:
            self._remember(contact)
        if result is None:
            self.acknowledgements.on_failed(contact.id)
        elif result.status is StoreStatus.STORED:
            self.acknowledgements.on_acknowledged(contact.id, result.durability)
            self._core.holdings.replicas.confirm(self.record.key, self._row[:1], contact.id)
        else:
            self.acknowledgements.on_refused(contact.id, result.status)
        if result is not None and result.records:
            self._note_winners(result)
        self._look()

    def _remember(self, contact: Contact) -> None:
        if self._core.contacts.knows(contact):  # others may name addresses where there is no node
            self._core.reminders.add(contact, self.record.key, self._core.clock())

    def _note_winners(self, result: StoreResult) -> None:
        """Looks whether a record that a holder has shown stands against this one, if its signature is good."""
        self.has_replaced |= result.status is StoreStatus.STORED
        try:
            winners = self._core.holdings.check(result.records, self.record.key)
        except (BadSignature, StorageError):
            return
        now = self._core.wall_clock()
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
