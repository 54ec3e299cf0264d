"""Offers records to other nodes: ask what they have, send only what is missing, take back what is newer.

Rules of this file: a walk over the node's keys goes page by page with a checkpoint between, and what it sends keeps
under `repair_rate`, so that repairs never stand in the way of users. Records travel verbatim; nothing here extends a
life. A stale lease that meets a tombstone brings the tombstone home (docs/protocol.md, Records, rules 5 and 8).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import trio

from camomile_trio.errors import StorageError
from camomile_trio.identity import BadSignature
from camomile_trio.kademlia import registers
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import Have, HaveResult, Holding, StoreKind, StoreResult, StoreStatus
from camomile_trio.kademlia.records import RecordRow
from camomile_trio.kademlia.registers import RULES
from camomile_trio.node.classic import MAX_CLASSIC_VALUE
from camomile_trio.node.core import Core
from camomile_trio.node.storing import PASSING, Storing, store_at_classic

# Keys in one HAVE: with a record each, the answer still fits into a datagram.
KEYS_AT_ONCE = 6
PAGE = 64
# What a record costs on the wire beside its value.
OFFER_OVERHEAD = 350


class Repair:
    """Brings copies to where they belong."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._budget_at = core.clock()
        self.sent = 0  # records stored at others
        self.adopted = 0  # newer records taken over from others

    def pages(self) -> Iterator[list[Key]]:
        """The node's keys in order, page by page; keys that come and go meanwhile may or may not be among them."""
        after: Key | None = None
        while page := self._core.storage.keys(after, PAGE):
            yield page
            after = page[-1]

    async def offer(self, contact: Contact, keys: Sequence[Key], *, declined: set[Key] | None = None) -> bool:
        """Makes sure that `contact` holds what we hold of `keys`. False as soon as it does not answer.

        `declined` takes the keys of which it could not store something just now: its disk failed, or it was busy.
        """
        if not self._core.is_storing(contact):
            return True
        if not self._core.is_ours(contact):
            # Nobody answers a classic STORE, so a ping tells whether it is there; and whether we have only forgotten
            # its version, for one of ours must not be given a record without its lease.
            answer = await self._core.rpc.ask(contact.endpoint, self._core.rpc.new_ping(), node=contact.id)
            if answer is None:
                return False
            if answer.version == 0:
                await self._offer_classic(contact, keys)
                return True
        for start in range(0, len(keys), KEYS_AT_ONCE):
            batch = tuple(keys[start : start + KEYS_AT_ONCE])
            holdings = await self.ask(contact, batch)
            if holdings is None:
                return False
            for holding in holdings:
                if holding.key in batch and not await self.settle(contact, holding, declined=declined):
                    return False
        return True

    async def ask(
        self, contact: Contact, keys: tuple[Key, ...], *, is_urgent: bool = False
    ) -> tuple[Holding, ...] | None:
        """What `contact` holds of up to KEYS_AT_ONCE keys; None if it does not answer. Urgent: a user waits for it."""
        if not is_urgent:
            await self._pace(OFFER_OVERHEAD)
        answer = await self._core.rpc.ask(contact.endpoint, Have(keys, self._core.publisher.public), node=contact.id)
        if answer is None or not isinstance(answer.message, HaveResult):
            return None
        return answer.message.holdings

    def adopt(self, holding: Holding) -> bool:
        """Takes over the records of `holding` that beat ours. Returns whether ours are the latest after all."""
        holdings = self._core.holdings
        state = holdings.state(holding.key)
        try:
            records = holdings.check(holding.records, holding.key, state)
        except BadSignature:
            self._core.rpc.statistics.dropped["bad_signature"] += 1
            return True
        is_latest = True
        for record in records:
            known = state.register(record.publisher)
            if known is None or record.rank > known.record.rank:
                is_latest = False
                self.adopted += 1
                holdings.store(holding.key, None, (record.row(),), lambda result: None)
        return is_latest

    def is_behind(self, holding: Holding) -> bool:
        """Whether a record that was shown is older than ours: whoever showed it has missed something."""
        state = self._core.holdings.state(holding.key)
        try:
            records = self._core.holdings.check(holding.records, holding.key, state)
        except BadSignature:
            return False
        known = {each.record.publisher: each.record for each in state.registers}
        return any(each.publisher in known and known[each.publisher].rank > each.rank for each in records)

    async def settle(self, contact: Contact, holding: Holding, *, declined: set[Key] | None = None) -> bool:
        """Takes over what is newer in `holding`, and sends what is missing there. False if no answer came to that."""
        core, key = self._core, holding.key
        try:
            is_latest = self.adopt(holding)
            state = core.holdings.state(key)
            now = core.wall_clock()
            # Newer ones of theirs have been adopted, so a row of ours that they did not show is one that they lack.
            offered = registers.offered(state, now)
            mine = [record.row() for record in offered]
            for record, row in zip(offered, mine, strict=True):
                if row in holding.records and (holding.has_value or record.is_tombstone):
                    core.confirmations.confirm(row, contact.id, core.clock())
            missing = [row for row in mine if row not in holding.records]
            lacks_value = registers.is_served(state, now) and not holding.has_value
            if not missing and not lacks_value:
                if holding.records and is_latest:
                    core.holdings.heard_from_holder(key)
                return True
            value = core.holdings.value(key) if lacks_value else None
        except StorageError:
            return True
        rows = missing or mine
        for start in range(0, len(rows), RULES.max_answer_records):
            batch = tuple(rows[start : start + RULES.max_answer_records])
            if not await self.store(contact, key, value, batch, declined=declined):
                return False
        return True

    async def store(
        self,
        contact: Contact,
        key: Key,
        value: bytes | None,
        rows: tuple[RecordRow, ...],
        *,
        declined: set[Key] | None = None,
    ) -> bool:
        """Sends one key's records, and waits for the answer. False if there was none."""
        await self._pace(OFFER_OVERHEAD + len(value or b""))
        results: list[StoreResult | None] = []
        done = trio.Event()

        def on_result(contact: Contact, result: StoreResult | None) -> None:
            results.append(result)
            done.set()

        storing = Storing(
            self._core.rpc, contact, key, value, rows, StoreKind.REPLICATE, on_result, with_value=value is not None
        )
        storing.start()
        await done.wait()
        result = results[0]
        if result is not None:
            self.sent += 1
            if result.status is StoreStatus.STORED and len(rows) == 1:
                self._core.confirmations.confirm(rows[0], contact.id, self._core.clock())
            if result.records:
                self.adopt(Holding(key, False, result.records))
            if result.status in PASSING and declined is not None:
                declined.add(key)
        return result is not None

    async def _offer_classic(self, contact: Contact, keys: Sequence[Key]) -> None:
        core = self._core
        for key in keys:
            # A publisher further off leaves it to the holders, who are told first when the value is forgotten.
            if not core.table.is_among_closest(key) and any(map(core.is_ours, core.table.closest(key))):
                continue
            try:
                size = core.holdings.state(key).size
                if size is None or size > MAX_CLASSIC_VALUE:
                    continue
                await self._pace(OFFER_OVERHEAD + size)
                is_served = registers.is_served(core.holdings.state(key), core.wall_clock())
                value = core.holdings.value(key) if is_served else None
            except StorageError:
                continue
            if value is not None:
                store_at_classic(core.rpc, contact, value, StoreKind.REPLICATE)

    async def pace_lookup(self) -> None:
        """Waits as for any repair, before a lookup: it asks the k closest and some on the way."""
        await self._pace(self._core.config.kademlia.k * OFFER_OVERHEAD)

    async def _pace(self, size: int) -> None:
        """Waits so that repairs together stay under `repair_rate`."""
        core = self._core
        now = core.clock()
        begin = max(self._budget_at, now)
        self._budget_at = begin + size / core.config.records.repair_rate
        # A second's worth may go out at once.
        await trio.sleep_until(max(now, begin - 1.0))
