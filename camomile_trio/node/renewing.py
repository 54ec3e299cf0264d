"""Renews the leases of this node's publisher, each when it is this node's turn, and wakes those that slept.

Rules of this file: what is signed and when is decided in `kademlia/leases.py`. Nobody renews a lease that has ended,
but for rule 12: the node that published the value asks who else still has that very lease as its latest word, and
brings it back when that is a majority of the neighbourhood that it last knew. Only those that count are of it
(`kademlia/counting.py`), while a tombstone is what it is, whoever shows it. A node that is cut off does neither.
Source: docs/protocol.md, Records, rules 9 and 12.
"""

from __future__ import annotations

import trio

from camomile_trio.errors import StorageError
from camomile_trio.identity import BadSignature
from camomile_trio.kademlia import leases
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key, closest
from camomile_trio.kademlia.messages import Holding, StoreKind
from camomile_trio.kademlia.records import Record
from camomile_trio.node.core import Core
from camomile_trio.node.repair import KEYS_AT_ONCE, PAGE, Repair
from camomile_trio.operations.lookup import LookupResult
from camomile_trio.operations.publication import Publication

# The longest a renewal that found nobody waits for the next.
IDLE = 60.0
# Seconds from one walk over the leases that sleep to the next: the first follow each other closely, since nodes that
# slept together wake together. Whoever comes back later starts anew.
PAUSES = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0)
# Seconds until what ended before a start should have been seen; then every record is looked at.
EXPIRED_WITHIN = 30
# Far peers make a renewal slow, and short leases make many of them.
RENEWED_AT_ONCE = 8
# The note under which the number of contacts is kept that counts for a majority.
GROUP = "neighbourhood"


class Renewing:
    """The leases of one node's publisher."""

    def __init__(self, core: Core, repair: Repair) -> None:
        self._core = core
        self._repair = repair
        self._somebody_came = trio.Event()
        self.woken = 0  # leases that ended and were brought back
        try:
            self._saved = len(core.storage.contacts())  # before this start
        except StorageError:
            self._saved = core.config.kademlia.k

    # Renewals ------------------------------------------------------------------------------------------------------

    async def renew_all(self) -> None:
        """One round of it: up to a page of leases that are due now; none under a clock that is known to be behind."""
        core = self._core
        core.watch_clock()
        if core.clocks.behind_by:
            return
        places = trio.CapacityLimiter(RENEWED_AT_ONCE)

        async def renew(key: Key) -> None:
            async with places:
                await self.renew(key)

        async with trio.open_nursery() as nursery:
            for key in core.storage.renewable(core.wall_clock(), PAGE):
                nursery.start_soon(renew, key)

    async def renew(self, key: Key) -> None:
        """Renews our lease on `key`, if it is still due: the turn may have changed, or somebody was quicker."""
        core = self._core
        state = core.holdings.state(key)
        now = core.wall_clock()
        due = core.holdings.renewal_time(state)
        register = state.register(core.publisher.public)
        if not due or due > now or register is None:
            core.holdings.reschedule(key)
            return
        life = self._life(register.record)
        unsigned = leases.renewal(register.record, now=now, life_ms=life)
        if unsigned is None:
            core.holdings.reschedule(key)
            return
        publication = self._publication(unsigned, with_value=False)
        with trio.move_on_after(core.config.requests.operation_deadline):
            await publication.look_and_store(others=core.other_holders(key))
        self._learn_from(publication)
        if not publication.is_stored_here:
            # Nobody to renew it with: a node that is cut off renews nothing on its own.
            await trio.sleep(core.jittered(min(IDLE, life / 16000)))

    def _life(self, record: Record) -> int:
        """ms"""
        return max(int(self._core.config.records.lease * 1000), record.expires - record.issued)

    def _publication(self, unsigned: Record, *, with_value: bool) -> Publication:
        core = self._core
        record = core.publishing.sign(unsigned)
        value = core.holdings.value(unsigned.key)
        return Publication(core.publishing, record, value, with_value=with_value, kind=StoreKind.REPLICATE)

    def _learn_from(self, publication: Publication) -> None:
        """What has beaten the record is kept here too."""
        if publication.beaten_by is not None:
            self._core.holdings.store(
                publication.beaten_by.key, None, (publication.beaten_by.row(),), lambda result: None
            )

    # Leases that sleep ---------------------------------------------------------------------------------------------

    def on_new_contact(self) -> None:
        """Somebody is back: perhaps there is a majority now."""
        self._somebody_came.set()

    async def wake(self) -> None:
        """Until cancelled: walks over the leases that have ended, as long as there are any, and asks about them.

        Begins once this node has compared its old records.
        """
        core, holdings = self._core, self._core.holdings
        tries = 0
        await self._see_what_has_ended()
        while True:
            try:
                if holdings.may_sleep:
                    holdings.may_sleep = False
                    is_any = await self.wake_all()
                    # What ended during the walk may have been walked past.
                    holdings.note_sleepers(are_some=is_any or holdings.may_sleep)
                self.note_group(has_sleepers=holdings.may_sleep)
            except StorageError:
                holdings.may_sleep = True  # for all that we know: the next walk finds out
            pause = core.jittered(PAUSES[min(tries, len(PAUSES) - 1)] if holdings.may_sleep else PAUSES[-1])
            tries += 1
            with trio.move_on_after(pause):
                await self._somebody_came.wait()
                tries = 0
                # A moment, so that many who come at once are asked in one walk.
                await trio.sleep(core.jittered(PAUSES[0]))
            self._somebody_came = trio.Event()

    async def _see_what_has_ended(self) -> None:
        """Waits until `expire` has seen what ended while this node was away: what may be woken of that it notes.

        So a start need not look at every record.
        """
        core = self._core
        waited = 0
        while waited < EXPIRED_WITHIN:
            try:
                # Whatever is due by now: a key whose renewal was looked at meanwhile is due a moment later than before.
                if core.holdings.may_sleep or not core.storage.due(core.wall_clock(), 1):
                    return
            except StorageError:
                pass
            await trio.sleep(1.0)
            # Nothing ends while the clock is in doubt, and that ends by itself.
            waited += not core.clocks.is_in_doubt
        core.holdings.may_sleep = True

    async def wake_all(self) -> bool:
        """One walk. Whether there are leases that go on sleeping."""
        is_any = False
        for page in self._repair.pages():
            ended = [key for key in page if self._sleeping(key) is not None]
            if ended and self._may_be_majority():
                await self._ask_about(ended)
                ended = [key for key in ended if self._sleeping(key) is not None]
            is_any |= bool(ended)
            await trio.lowlevel.checkpoint()
        return is_any

    def note_group(self, *, has_sleepers: bool) -> None:
        """Remembers how many nodes there are around, for the next time that we sleep.

        While something sleeps the number only grows: a majority is one of those that were there when it fell asleep.
        """
        storage, known, noted = self._core.storage, len(self._core.table), self._noted()
        if known > noted or (known < noted and not has_sleepers):
            storage.set_note(GROUP, known)

    def _noted(self) -> int:
        """How many contacts we knew when nothing slept."""
        return self._core.storage.note(GROUP) or self._saved

    def _sleeping(self, key: Key) -> Record | None:
        """The lease that ended here and may be woken: of our publisher, on a value that this node published."""
        core = self._core
        state = core.holdings.state(key)
        register = state.register(core.publisher.public)
        if register is None or not state.published or state.size is None:
            return None
        record = register.record
        return record if record.is_renewable and record.expires <= core.wall_clock() else None

    def _group(self) -> int:
        """How many nodes a majority is counted of: the lesser of k and the contacts we last knew, with ourselves."""
        core = self._core
        return min(core.config.kademlia.k, max(self._noted(), len(core.table)) + 1)

    def _may_be_majority(self) -> bool:
        """Whether there are enough nodes about to be asked at all."""
        return len(self._core.table) + 1 > self._group() // 2

    async def _ask_about(self, keys: list[Key]) -> None:
        """Asks the k closest to each key for its latest registers, and wakes what may be woken."""
        core = self._core
        places: dict[Key, LookupResult] = {}
        wanted: dict[Contact, list[Key]] = {}
        for key in keys:
            await self._repair.pace_lookup()
            found = await core.find_node(key)
            places[key] = found
            for contact in found.contacts:
                wanted.setdefault(contact, []).append(key)
        reported: dict[Key, dict[Contact, Record | None]] = {key: {} for key in keys}
        for contact, theirs in wanted.items():
            for start in range(0, len(theirs), KEYS_AT_ONCE):
                batch = tuple(theirs[start : start + KEYS_AT_ONCE])
                for holding in await self._repair.ask(contact, batch) or ():
                    if holding.key in batch:
                        reported[holding.key][contact] = self._latest(holding)
                        self._repair.adopt(holding)
        for key in keys:
            await self._judge(key, reported[key], places[key])

    def _latest(self, holding: Holding) -> Record | None:
        """The register of our publisher that was shown."""
        core = self._core
        try:
            records = core.holdings.check(holding.records, holding.key)
        except BadSignature:
            return None
        return next((each for each in records if each.publisher == core.publisher.public), None)

    async def _judge(self, key: Key, shown: dict[Contact, Record | None], found: LookupResult) -> None:
        core = self._core
        ended = self._sleeping(key)
        if ended is None:
            return  # somebody had a newer one
        if any(each is not None and each.is_tombstone and each.rank > ended.rank for each in shown.values()):
            # It was forgotten while we were away, however long ago: nobody needs to ask about it again.
            core.holdings.unpublish(key)
            return
        reported = [record for contact, record in shown.items() if contact in found.counted]
        nearest = closest(
            key, [*(each.id for each in (*found.contacts, *found.silent)), core.id], core.config.kademlia.k
        )
        if core.id in nearest:
            reported.append(ended)
        now = core.wall_clock()
        group = max(self._group(), len(found.counted))
        if not core.clocks.behind_by and leases.revival(ended, reported, group=group, now=now):
            self.woken += 1
            revived = leases.revived(ended, now=now, life_ms=self._life(ended))
            publication = self._publication(revived, with_value=True)
            with trio.move_on_after(core.config.requests.operation_deadline):
                await publication.store_at_all(found.contacts, silent=found.silent)
            self._learn_from(publication)
