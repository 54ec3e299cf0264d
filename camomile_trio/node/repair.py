"""Offers records to other nodes: ask what they have, send only what is missing, take back what is newer.

Rules of this file: a walk over the node's keys goes page by page with a checkpoint between, and what it sends keeps
under `repair_rate`, so that repairs never stand in the way of users. Records travel verbatim; nothing here extends a
life. A stale lease that meets a tombstone brings the tombstone home (docs/protocol.md, Records, rules 5 and 8).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs
import trio

from camomile_trio.errors import StorageError
from camomile_trio.identity import BadSignature
from camomile_trio.kademlia import registers
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import Have, HaveResult, Holding, StoreKind, StoreResult, StoreStatus
from camomile_trio.kademlia.records import RecordRow
from camomile_trio.kademlia.registers import NOTHING, RULES, KeyState, Said
from camomile_trio.node.core import Core
from camomile_trio.operations.storing import PASSING, Storing

# Keys in one HAVE: with a record each, the answer still fits into a datagram. With digests of what we hold ourselves
# nearly all of an answer is bits, and it is the question that has to fit.
KEYS_AT_ONCE = 6
KEYS_COMPARED = 23
PAGE = 64
# What a record costs on the wire beside its value; what a HAVE costs and its answer, and each key with a digest in it.
OFFER_OVERHEAD = 350
COMPARE_OVERHEAD = 200
COMPARE_A_KEY = 48


@attrs.frozen
class Lack:
    """What somebody who was asked does not have of a key."""

    rows: tuple[RecordRow, ...]  # all of ours where it lacks only the value
    value: bool


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

    def is_worth_keeping(self, key: Key) -> bool:
        """Whether what we hold of the key is anything that others should hold too."""
        return _is_worth_keeping(self._core.holdings.state(key), self._core.wall_clock())

    def worth_keeping(self, keys: list[Key]) -> list[Key]:
        """Those of the keys that are."""
        wall = self._core.wall_clock()
        states = self._core.holdings.states(keys) if keys else {}
        return [key for key, state in states.items() if _is_worth_keeping(state, wall)]

    async def offer(self, contact: Contact, keys: Sequence[Key], *, declined: set[Key] | None = None) -> bool:
        """Makes sure that `contact` holds what we hold of `keys`. False as soon as it does not answer.

        `declined` takes the keys of which it could not store something just now: its disk failed, or it was busy.
        """
        if not self._core.contacts.is_storing(contact):
            return True
        for batch in self.batches(keys):
            holdings = await self.compare(contact, batch)
            if holdings is None:
                return False
            for holding in holdings:
                if not await self.settle(contact, holding, declined=declined):
                    return False
        return True

    @staticmethod
    def batches(keys: Sequence[Key]) -> Iterator[tuple[Key, ...]]:
        """As `compare` takes them."""
        for start in range(0, len(keys), KEYS_COMPARED):
            yield tuple(keys[start : start + KEYS_COMPARED])

    async def compare(
        self,
        contact: Contact,
        keys: tuple[Key, ...],
        *,
        in_round: dict[Key, list[NodeId]] | None = None,
        is_urgent: bool = False,
    ) -> list[Holding] | None:
        """What `contact` holds of up to KEYS_COMPARED keys where that is not what we hold; None if it does not answer.

        `in_round`: all the other holders are asked too, so who holds the same may skip its round. It takes, for each
        key, those who have shown that they do, for the caller to note. Urgent: a user waits for it.
        """
        core = self._core
        if not is_urgent:
            await self._pace(COMPARE_OVERHEAD + len(keys) * COMPARE_A_KEY)
        before = self.said(keys)
        digests = tuple([before[key].digest for key in keys])
        answer = await core.requests.ask(contact, Have(keys, core.publisher.public, digests, in_round is not None))
        if answer is None or not isinstance(answer.message, HaveResult):
            return None
        alike = self._alike(keys, before, answer.message.alike)
        for key in alike:
            if in_round is not None:
                in_round[key].append(contact.id)
            else:
                core.holdings.replicas.on_same(key, before[key].rows, contact.id)
        if len(alike) == len(keys):
            return []
        return await self._differing(contact, [key for key in keys if key not in alike], answer.message, is_urgent)

    def _alike(self, keys: tuple[Key, ...], before: Mapping[Key, Said], bits: int) -> list[Key]:
        """Those of the keys whose bit says so, but for what has changed while the question was on its way."""
        said = self.said(keys)
        return [
            key for at, key in enumerate(keys) if bits >> at & 1 and said[key].digest == before[key].digest != NOTHING
        ]

    async def _differing(
        self, contact: Contact, keys: list[Key], result: HaveResult, is_urgent: bool
    ) -> list[Holding] | None:
        """What `result` shows of the keys; what found no room in it is asked for again."""
        told = {each.key: each for each in result.holdings if each.key in keys}
        left = [key for key in keys if key not in told]
        for start in range(0, len(left), KEYS_AT_ONCE):
            batch = tuple(left[start : start + KEYS_AT_ONCE])
            more = await self.ask(contact, batch, is_urgent=is_urgent)
            if more is None:
                return None
            told |= {each.key: each for each in more if each.key in batch}
        return list(told.values())

    def said(self, keys: Sequence[Key]) -> Mapping[Key, Said]:
        """What we say of the keys to all whom we ask."""
        return self._core.anti_entropy.said(keys)

    async def ask(
        self, contact: Contact, keys: tuple[Key, ...], *, is_urgent: bool = False
    ) -> tuple[Holding, ...] | None:
        """What `contact` holds of up to KEYS_AT_ONCE keys; None if it does not answer. Urgent: a user waits for it."""
        if not is_urgent:
            await self._pace(OFFER_OVERHEAD)
        answer = await self._core.requests.ask(contact, Have(keys, self._core.publisher.public))
        if answer is None or not isinstance(answer.message, HaveResult):
            return None
        return answer.message.holdings

    def adopt(self, holding: Holding) -> bool:
        """Takes over the records of `holding` that beat ours. Returns whether ours are the latest after all.

        A spare copy takes over no longer lease from a node that has the value: it is not needed there.
        """
        holdings = self._core.holdings
        only_tombstones = holding.has_value and holding.key in holdings.spares
        state = holdings.state(holding.key)
        try:
            records = holdings.check(holding.records, holding.key, state)
        except BadSignature:
            self._core.requests.statistics.dropped["bad_signature"] += 1
            return True
        is_latest = True
        for record in records:
            known = state.register(record.publisher)
            if known is None or record.rank > known.record.rank:
                is_latest = False
                if only_tombstones and not record.is_tombstone:
                    continue
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

    def lack_of(self, contact: Contact, holding: Holding) -> Lack | None:
        """Takes over what is newer in `contact`'s `holding`; what of ours is lacking there, if anything is.

        StorageError.
        """
        core, holdings = self._core, self._core.holdings
        is_latest = self.adopt(holding)
        state = holdings.state(holding.key)
        now = core.wall_clock()
        # Newer ones of theirs have been adopted, or left out for a spare copy, so a row that they did not show is one
        # that they lack.
        offered = registers.offered(state, now)
        if not is_latest and holding.key in holdings.spares:
            shown = {each.publisher: each.rank for each in holdings.check(holding.records, holding.key, state)}
            offered = [each for each in offered if shown.get(each.publisher, each.rank) <= each.rank]
        mine = [record.row() for record in offered]
        for record, row in zip(offered, mine, strict=True):
            if row in holding.records and (holding.has_value or record.is_tombstone):
                holdings.replicas.confirm(holding.key, (row,), contact.id)
        missing = [row for row in mine if row not in holding.records]
        lacks_value = registers.is_served(state, now) and not holding.has_value
        # Without a record of ours it is a classic node's value, which nobody of ours would take.
        if missing or (lacks_value and mine):
            return Lack(tuple(missing or mine), lacks_value)
        if holding.records and is_latest:
            holdings.replicas.on_word(holding.key, contact.id)
        return None

    async def settle(self, contact: Contact, holding: Holding, *, declined: set[Key] | None = None) -> bool:
        """Takes over what is newer in `holding`, and sends what is missing there. False if no answer came to that."""
        try:
            lack = self.lack_of(contact, holding)
            value = self._core.holdings.value(holding.key) if lack is not None and lack.value else None
        except StorageError:
            return True
        if lack is None:
            return True
        result = await self._send(contact, holding.key, value, lack.rows)
        if result in PASSING and declined is not None:
            declined.add(holding.key)
        return result is not None

    async def give(self, contact: Contact, key: Key, lack: Lack) -> StoreStatus | None:
        """Sends what is lacking, and says how that was taken; None: no answer came. StorageError."""
        return await self._send(contact, key, self._core.holdings.value(key) if lack.value else None, lack.rows)

    async def _send(
        self, contact: Contact, key: Key, value: bytes | None, rows: Sequence[RecordRow]
    ) -> StoreStatus | None:
        """All rows, as many as fit at a time: the first refusal, or STORED; None as soon as no answer comes."""
        refused: StoreStatus | None = None
        for start in range(0, len(rows), RULES.max_answer_records):
            batch = tuple(rows[start : start + RULES.max_answer_records])
            status = await self.store(contact, key, value, batch)
            if status is None:
                return None
            if status is not StoreStatus.STORED:
                refused = refused or status
        return refused or StoreStatus.STORED

    async def store(
        self, contact: Contact, key: Key, value: bytes | None, rows: tuple[RecordRow, ...]
    ) -> StoreStatus | None:
        """Sends some of one key's records, and waits for the answer. None if there was none. StorageError."""
        await self._pace(OFFER_OVERHEAD + len(value or b""))
        results: list[StoreResult | None] = []
        done = trio.Event()

        def on_result(contact: Contact, result: StoreResult | None) -> None:
            results.append(result)
            done.set()

        storing = Storing(
            self._core.requests, contact, key, value, rows, StoreKind.REPLICATE, on_result, with_value=value is not None
        )
        storing.start()
        await done.wait()
        result = results[0]
        if result is None:
            return None
        self.sent += 1
        if result.status is StoreStatus.STORED and len(rows) == 1:
            self._core.holdings.replicas.confirm(key, rows, contact.id)
        if result.records:
            self.adopt(Holding(key, False, result.records))
        return result.status

    async def pace(self, size: int) -> None:
        """Waits as for any repair, before `size` bytes are sent."""
        await self._pace(size)

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
        if begin - 1.0 > now:
            await trio.sleep_until(begin - 1.0)


def _is_worth_keeping(state: KeyState, wall: int) -> bool:
    return registers.is_served(state, wall) or registers.has_tombstone(state, wall)
