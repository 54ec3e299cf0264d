"""Looking inside a node: what it holds, page by page, as a list or as an export, and taking an export back in.

Rules of this file: a page is bounded and taken in one go, so that whoever asks can stop at any time and never holds
more than a page. Records go out and come in verbatim, and what is imported goes the way of any other record: checked
here, offered to the nodes that should hold it, admitted or refused by each of them. Nothing here extends a life.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import trio

from camomile_trio.errors import LEFT_ALONE, CamomileError, NoMajority, StorageDamaged, Unreachable
from camomile_trio.kademlia import registers
from camomile_trio.kademlia.acknowledgement import Refused, Success
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import StoreKind
from camomile_trio.kademlia.records import Record
from camomile_trio.kademlia.registers import KeyState
from camomile_trio.node import archive
from camomile_trio.node.core import Core
from camomile_trio.node.spread import Spread
from camomile_trio.operations.results import ExportPage, Imported, RecordPage, RecordStatus

KEYS_AT_ONCE = 64
EXPORT_BYTES = 2**20  # after which a page ends; one value may be larger than that
# Entries that one import has on their way at a time.
ENTRIES_AT_ONCE = 8


class Inventory:
    """What one node holds, for its owner."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def records(self, after: Key | None) -> RecordPage:
        """The records of the next keys after `after`. StorageError."""
        found: list[RecordStatus] = []
        unreadable = 0
        keys = self._core.storage.keys(after, KEYS_AT_ONCE)
        for key in keys:
            try:
                state = self._core.holdings.state(key)
            except StorageDamaged:
                unreadable += 1
                continue
            found += self._describe(state)
        return RecordPage(tuple(found), _next(keys), unreadable)

    def export(self, after: Key | None) -> ExportPage:
        """The lines of the next keys after `after` that have a record which has not ended. StorageError."""
        holdings, now = self._core.holdings, self._core.wall_clock()
        lines: list[bytes] = []
        unsigned = unreadable = size = 0
        taken: list[Key] = []
        for key in self._core.storage.keys(after, KEYS_AT_ONCE):
            taken.append(key)
            try:
                state = holdings.state(key)
                value = holdings.value(key) if registers.is_live(state, now) else None
            except StorageDamaged:
                unreadable += 1
                continue
            rows = tuple(each.record.row() for each in state.registers if each.record.expires > now)
            if rows:
                lines.append(archive.entry_line(archive.Entry(key, rows, value)))
                size += len(lines[-1])
            else:
                unsigned += registers.is_served(state, now)
            if size >= EXPORT_BYTES:
                break
        return ExportPage(b"".join(lines), len(lines), _next(taken), unsigned, unreadable)

    async def take_in(self, lines_untrusted: Sequence[bytes]) -> list[Imported]:
        """Offers the entries in these lines to the network, and says what became of each, in order.

        NotJoined if the node is not ready. An entry is given `operation_deadline`; leaving by cancellation leaves
        nothing waiting.
        """
        self._core.require_ready()
        outcomes: list[Imported] = [Imported(None, 0, ())] * len(lines_untrusted)
        places = trio.CapacityLimiter(ENTRIES_AT_ONCE)

        async def one(number: int, line: bytes) -> None:
            async with places:
                outcomes[number] = await self._take_in_one(line)

        async with trio.open_nursery() as nursery:
            for number, line in enumerate(lines_untrusted):
                nursery.start_soon(one, number, line)
        return outcomes

    async def _take_in_one(self, line_untrusted: bytes) -> Imported:
        core = self._core
        try:
            entry = archive.read_line(line_untrusted, max_value_size=core.config.records.max_value_size)
            if not isinstance(entry, archive.Entry):
                raise archive.BadEntry("malformed", "not an entry")
            records, refused = archive.check(entry, core.network, core.wall_clock())
        except archive.BadEntry as error:
            return Imported(None, 0, (error.reason,))
        stored = 0
        # Tombstones first, so that a value which somebody forgot is not spread for a moment.
        for record in sorted(records, key=lambda each: not each.is_tombstone):
            reason = await self._offer(record, entry.value)
            if reason:
                refused.append(reason)
            else:
                stored += 1
        return Imported(entry.key, stored, tuple(refused))

    async def _offer(self, record: Record, value: bytes | None) -> str:
        """Why the holders do not take the record; empty once a majority of them has it."""
        core = self._core
        value = None if record.is_tombstone else value
        # Most holders of a network that lives have the value already: those that lack it say so.
        spread = Spread(core, record, value, with_value=False, kind=StoreKind.REPLICATE)
        try:
            with trio.move_on_after(core.config.requests.operation_deadline) as patience:
                found = await core.find_node(record.key)
                if not found.answered and not core.stands_alone:
                    raise Unreachable("no node answered", remedy=LEFT_ALONE)
                await spread.run(found.contacts)
            if patience.cancelled_caught:
                raise NoMajority("too few holders acknowledged in time")
        except CamomileError as error:
            return str(error)
        if spread.beaten_by is not None:
            # Rule 8: who offers what was overruled adopts what overruled it.
            core.holdings.store(record.key, None, (spread.beaten_by.row(),), lambda result: None)
            return "forgotten since" if spread.beaten_by.is_tombstone else "overruled by a newer record"
        outcome = spread.acknowledgements.outcome
        if isinstance(outcome, Success):
            return ""
        if isinstance(outcome, Refused):
            return outcome.status.name.lower().replace("_", " ")
        return "too few holders acknowledged it"

    def _describe(self, state: KeyState) -> list[RecordStatus]:
        core, key = self._core, state.key
        heard = core.holdings.replicas.heard_at(key)
        status = functools.partial(
            RecordStatus,
            key=key,
            size=state.size,
            published_here=state.published,
            is_holder=core.table.is_among_closest(key),
            heard_from_holder=None if heard is None else core.clock() - heard,
        )
        found = [
            status(
                publisher=record.publisher,
                kind="tombstone" if record.is_tombstone else "lease",
                renewable=record.is_renewable,
                seq=record.seq,
                issued=record.issued,
                expires=record.expires,
                copies_known=core.holdings.replicas.count(record.row()),
            )
            for record in (register.record for register in state.registers)
        ]
        if not found and state.classic_until:
            until = state.classic_until
            found.append(status(publisher=None, kind="classic", renewable=False, seq=0, issued=0, expires=until))
        return found


def _next(keys: Sequence[Key]) -> Key | None:
    return keys[-1] if keys else None
