"""Getting a value: what counts as found, as forgotten, as not there.

Rules of this file: a value is only ever one that hashes to its key. The lookup ends at the first answer with a live
lease that no record seen in it beats; once a tombstone was seen, or for a value without a lease (a classic one), it
goes on until the k closest have answered. Signatures are checked once per lookup, however many holders send the same
record. A node that looked a value up may serve it for `cache_life`, if a holder whose word about the key counts gave
it. Where only this node's own clock rejects what others show, by more than max_skew, it has no answer: neither that the
value is not there, nor that it was forgotten. But for what a minority of those that count shows while most peers'
clocks confirm this one: any node can sign for the future.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import trio

from camomile_trio.classic.network import ClassicNetwork
from camomile_trio.errors import LEFT_ALONE, Forgotten, NotFound, StorageError, Unreachable, WrongClock
from camomile_trio.holding.holdings import Holdings
from camomile_trio.identity import BadSignature
from camomile_trio.kademlia import registers
from camomile_trio.kademlia.admission import is_acceptable, is_against_clock
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key, NodeId, distance
from camomile_trio.kademlia.messages import Message, Store, StoreKind, Value
from camomile_trio.kademlia.records import PublisherKey, Record, RecordRow
from camomile_trio.operations.lookup import LookupResult, Lookups
from camomile_trio.operations.publication import Standing
from camomile_trio.operations.results import Found
from camomile_trio.peer.seams import Answer

# Publishers of one key whose records one lookup weighs; those beyond it are not needed to find the value.
MAX_PUBLISHERS_SEEN = 64
# Seconds until it is looked again for a value that has a live lease, and that nobody gives out.
LOOKED_AGAIN = (0.3, 1.0, 2.0)


class Retrieval:
    """One get, after this node had nothing to serve at once."""

    def __init__(
        self,
        key: Key,
        lookups: Lookups,
        holdings: Holdings,
        standing: Standing,
        classic: ClassicNetwork | None,
        rng: random.Random,
    ) -> None:
        self._key = key
        self._lookups = lookups
        self._requests = lookups.contacts.requests
        self._holdings = holdings
        self._standing = standing
        self._classic = classic
        self._rng = rng
        self._best: dict[PublisherKey, Record] = {}
        # Records that nothing but our own clock rejects: while one of them may be the latest word, we know nothing.
        self._against_clock: dict[PublisherKey, Record] = {}
        self._shown_against: dict[Contact, list[Record]] = {}  # by whom
        self._rejected: dict[RecordRow, Record] = {}  # by our clock
        self._checked: dict[RecordRow, Record | None] = {}
        self._value: bytes | None = None
        self._origin: NodeId = lookups.table.own
        self._from_holder = False  # whose word counts, and that did not take it from its own cache
        # Somebody has the value without a lease, from a classic node; and somebody who does knows of a tombstone, and
        # keeps it all the same: it was put by a classic user, and nobody can forget it early (rule 10). Without
        # `--classic` that is believed of this node's own copy alone.
        self._has_classic = False
        self._outlasts_tombstone = False
        self._counts: Callable[[Contact], bool] = lambda contact: False  # by what the latest lookup knows
        self._lacking: Contact | None = None
        self._shown: dict[Contact, Record] = {}  # by whom which lease
        self._failure: StorageError | None = None  # of our own disk

    async def run(self) -> Found:
        """The value; NotFound, Forgotten or Unreachable."""
        result = await self._look()
        for pause in LOOKED_AGAIN:
            if self._value is not None or not self._live_leases():
                break
            # Somebody knows of a live lease, and nobody gives the value out: its holders may have started together,
            # and compare what they have. They have been asked now, and so they compare it next.
            await trio.sleep(pause * self._rng.uniform(0.75, 1.25))
            result = await self._look()
        self._tell_those_behind()
        if self._value is None and self._classic is not None and not self._has_tombstone():
            found = await self._classic.find_value(self._key)
            if found is not None:
                self._value, self._origin, self._has_classic = found.value, found.node, True
        return self._judge(result)

    async def _look(self) -> LookupResult:
        """One lookup, and what we have ourselves."""
        self._weigh_own()
        lookup = self._lookups.find_value(self._key, on_answer=self._on_answer, on_late_value=self._keep_late)
        self._counts = lookup.shortlist.counts
        result = await lookup.run()
        # A forget may have come here while we looked: what we hold now counts, not what we held before.
        self._weigh_own()
        self._take_own(result)
        return result

    def _weigh_own(self) -> None:
        for register in self._own_state().registers:
            self._weigh(register.record)
        for record in self._holdings.refused_for_time(self._key):
            _keep_greatest(self._against_clock, record)

    def _own_state(self) -> registers.KeyState:
        """What this node has stored; nothing where its disk fails, for others may have the value."""
        try:
            return self._holdings.state(self._key)
        except StorageError as error:
            self._failure = error
            return registers.KeyState(self._key)

    def _take_own(self, result: LookupResult) -> None:
        """Our own copy counts now that we have asked."""
        own = self._own_state()
        self._adopt(own)
        if own.size is None or not (result.answered or self._standing.stands_alone):
            return
        is_kept_classic = own.classic_until > self._holdings.wall_clock()
        self._has_classic |= is_kept_classic
        self._outlasts_tombstone |= is_kept_classic and bool(own.registers)
        if self._value is None:
            try:
                self._value, self._origin, self._from_holder = (
                    self._holdings.value(self._key),
                    self._lookups.table.own,
                    True,
                )
            except StorageError as error:
                self._failure = error

    def _judge(self, result: LookupResult) -> Found:
        key = self._key
        live = self._live_leases()
        if self._value is not None and live:
            if self._from_holder and self._holdings.keep_cached(key, self._value, live, self._origin):
                self._cache_on_path(live)
            return Found(key, self._value, self._origin, True)
        if self._is_in_doubt(result):
            raise WrongClock(f"by this node's clock the records of {key.hex()[:16]}… that other nodes show cannot be")
        if not result.answered and not self._standing.stands_alone:
            raise Unreachable("no node answered", remedy=LEFT_ALONE)
        if self._has_tombstone() and not (self._value is not None and self._outlasts_tombstone):
            raise Forgotten(f"{key.hex()[:16]}… was forgotten")
        if self._value is not None and self._has_classic:
            return Found(key, self._value, self._origin, False)
        if live:
            raise Unreachable(f"there is a live lease on {key.hex()[:16]}…, but no node gives the value out now")
        if result.is_inconclusive:
            raise Unreachable(f"most of the nodes that may have {key.hex()[:16]}… did not answer")
        if self._failure is not None:
            raise self._failure  # it may be here, and nobody else has it
        if result.is_promised:
            raise Unreachable(
                f"one node says that it has {key.hex()[:16]}…, and has not given it out yet",
                remedy="repeat the request in a moment",
            )
        raise NotFound(f"no node has {key.hex()[:16]}…")

    def _on_answer(self, contact: Contact, answer: Answer[Message]) -> bool:
        message = answer.message
        if not isinstance(message, Value):
            return False
        if message.value is not None and Key.of(message.value) != self._key:
            # Nothing that comes with it is believed.
            self._requests.statistics.dropped["bad_hash"] += 1
            return False
        for row in message.records:
            against = self._read(row)
            if against is not None:
                self._shown_against.setdefault(contact, []).append(against)
            record = self._checked[row]
            if record is not None and not record.is_tombstone:
                self._shown[contact] = record
        if message.value is None:
            target = self._key
            if self._lacking is None or distance(contact.id, target) < distance(self._lacking.id, target):
                self._lacking = contact
            return False
        records = [self._checked[row] for row in message.records]
        is_good = any(record is not None for record in records)
        if self._classic is not None and all(record is not None and record.is_tombstone for record in records):
            self._has_classic = True
            self._outlasts_tombstone |= is_good
        is_from_holder = is_good and not message.cached and self._counts(contact)
        if self._value is None or (is_from_holder and not self._from_holder):
            self._value = message.value
            self._origin = contact.id
            self._from_holder = is_from_holder
        return is_good and bool(self._live_leases()) and not self._has_tombstone()

    def _keep_late(self, contact: Contact, answer: Answer[Message]) -> None:
        """A value has come after the lookup had ended without it: the next request finds it in the cache."""
        counts = self._lookups.table.counts(contact.id, self._key)  # the lookup has given it up
        if self._on_answer(contact, answer) and counts and self._value is not None:
            self._holdings.keep_cached(self._key, self._value, self._live_leases(), self._origin)

    def _read(self, row: RecordRow) -> Record | None:
        """Checks a record that is new. Returns it if nothing but our own clock rejects it."""
        if row in self._checked:
            return self._rejected.get(row)
        try:
            (record,) = self._holdings.check((row,), self._key, self._own_state())
        except BadSignature:
            self._checked[row] = None
            self._requests.statistics.dropped["bad_signature"] += 1
            return None
        now = self._holdings.wall_clock()
        if is_against_clock(record, now):
            _keep_greatest(self._against_clock, record)
            self._rejected[row] = record
            self._requests.statistics.dropped["against_clock"] += 1
        elif not is_acceptable(record, now):
            # No honest node would have stored it on such terms.
            self._requests.statistics.dropped["bad_terms"] += 1
        else:
            self._checked[row] = record
            self._weigh(record)
            return None
        self._checked[row] = None
        return self._rejected.get(row)

    def _weigh(self, record: Record) -> None:
        _keep_greatest(self._best, record)

    def _is_in_doubt(self, result: LookupResult) -> bool:
        """Whether our clock may be what is wrong, and one of the records that it rejects the latest word.

        That most peers show our time does not settle it, nor does what one node shows: the clocks have to confirm ours,
        and most of those that count to know nothing of such a record.
        """
        if not any(self._may_be_latest(record) for record in self._against_clock.values()):
            return False
        witnesses = sum(any(map(self._may_be_latest, self._shown_against.get(each, ()))) for each in result.counted)
        return 2 * witnesses > len(result.counted) or not self._standing.is_clock_confirmed()

    def _may_be_latest(self, against_clock: Record) -> bool:
        known = self._best.get(against_clock.publisher)
        return known is None or against_clock.rank >= known.rank

    def _live_leases(self) -> list[Record]:
        now = self._holdings.wall_clock()
        against = self._against_clock
        return [
            each
            for each in self._best.values()
            if not each.is_tombstone
            and each.expires > now
            and not (each.publisher in against and self._may_be_latest(against[each.publisher]))
        ]

    def _has_tombstone(self) -> bool:
        now = self._holdings.wall_clock()
        return any(each.is_tombstone and each.expires > now for each in self._best.values())

    def _adopt(self, own: registers.KeyState) -> None:
        """What beats a record of our own storage is kept here too; no value of which this node is no holder."""
        for register in own.registers:
            best = self._best.get(register.record.publisher)
            if best is None or best.rank <= register.record.rank:
                continue
            if best.is_tombstone or own.size is not None or self._lookups.table.is_among_closest(self._key):
                self._holdings.store(self._key, self._value, (best.row(),), lambda result: None)

    def _tell_those_behind(self) -> None:
        """Whoever has shown a lease that a tombstone beats has missed the forget: it is told (rule 8)."""
        for contact, shown in self._shown.items():
            best = self._best.get(shown.publisher)
            if best is not None and best.is_tombstone and best.rank > shown.rank:
                self._requests.request(contact, Store(StoreKind.REPLICATE, self._key, None, (best.row(),)))

    def _cache_on_path(self, live: list[Record]) -> None:
        """The closest node that lacked the value gets a copy, marked as cached."""
        if self._lacking is None or self._value is None:
            return
        rows = tuple(record.row() for record in live[:1])
        store = Store(StoreKind.REPLICATE, self._key, self._value, rows, cached=True)
        self._requests.request(self._lacking, store)


def _keep_greatest(records: dict[PublisherKey, Record], record: Record) -> None:
    known = records.get(record.publisher)
    if known is None and len(records) >= MAX_PUBLISHERS_SEEN:
        return
    if known is None or record.rank > known.rank:
        records[record.publisher] = record
