"""What users do through this node: put, get, forget, ping.

Rules of this file: an operation ends in a result or in one documented error, within its deadline, and leaving it by
cancellation leaves nothing waiting. Only a put or a forget of a user raises seq. Success means a majority of the
holders has acknowledged; less is `NoMajority`, never a quiet success.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Literal

import attrs
import trio

from camomile_trio.classic.network import ClassicNetwork
from camomile_trio.config import LEAST_LEASE, MAX_LEASE, number_text
from camomile_trio.errors import (
    LEFT_ALONE,
    CamomileError,
    ConfigError,
    DiskFull,
    EmptyValue,
    NoMajority,
    NotFound,
    NotPublisher,
    Overloaded,
    StorageError,
    StorageFull,
    TooManyPublishers,
    Unreachable,
    ValueTooLarge,
)
from camomile_trio.holding.holdings import Served
from camomile_trio.identity import sign_record
from camomile_trio.kademlia import leases
from camomile_trio.kademlia.acknowledgement import Acknowledgements, Failed, Refused
from camomile_trio.kademlia.admission import is_acceptable
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import Ping, StoreKind, StoreStatus
from camomile_trio.kademlia.records import Record
from camomile_trio.node.core import Core
from camomile_trio.node.placing import Placing
from camomile_trio.node.retrieval import Retrieval
from camomile_trio.node.spread import Spread
from camomile_trio.node.survey import Survey
from camomile_trio.operations.concurrency_limit import ConcurrencyLimit
from camomile_trio.operations.events import OperationEnded
from camomile_trio.operations.results import ForgetResult, Found, Pinged, Stored
from camomile_trio.operations.very_large import LARGE, key_of
from camomile_trio.peer import stream_troubles

OperationName = Literal["put", "get", "forget", "ping"]
# What is stored in the place of a record of ours once a holder has shown another one.
_Against = Callable[[Record, Record], Record]


@attrs.define
class _Publication:
    """What the puts of one value that are under way at this node come to."""

    is_kept: bool  # the value was published before, or one of them was accepted
    puts: int = 0


class Operations:
    """The operations of one node."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.under_way = 0
        requests = core.config.requests
        self.puts = ConcurrencyLimit(places=requests.max_puts, most_waiting=requests.max_operations // 2)
        self._reading = trio.Lock()
        self._publications: dict[Key, _Publication] = {}  # of the puts that are under way

    async def put(self, value: bytes, ttl: float | None) -> Stored:
        core = self._core
        records = core.config.records
        if not value:
            raise EmptyValue("the value is empty")
        if ttl is not None and not LEAST_LEASE <= ttl <= MAX_LEASE:
            raise ConfigError(
                f"a lease of {number_text(ttl)} s is not possible",
                remedy=f"ask for {LEAST_LEASE} to {MAX_LEASE} seconds",
            )
        if len(value) > records.max_value_size:
            raise ValueTooLarge(f"the value has {len(value)} bytes; this node takes up to {records.max_value_size}")
        async with self._operation("put"), self.puts.place():
            core.require_ready()
            core.require_clock()
            key = await key_of(value)
            with self._publishing(key) as publication:
                spread = await self._publish(key, value, ttl)
                publication.is_kept |= spread.is_accepted
            lease, acknowledgements = spread.record, spread.acknowledgements
            if not spread.is_accepted:
                if isinstance(acknowledgements.outcome, Refused):
                    core.background(functools.partial(self._withdraw, spread))
                raise _error_of(acknowledgements, "put")
            if core.classic is not None:
                core.background(functools.partial(self._store_at_classic, core.classic, key, value))
            expires = None if lease.is_renewable else lease.expires
            return Stored(key, acknowledgements.replicas, acknowledgements.durable, expires)

    @staticmethod
    async def _store_at_classic(classic: ClassicNetwork, key: Key, value: bytes) -> None:
        await classic.store(key, value, StoreKind.PUBLISH)

    async def get(self, key: Key) -> Found:
        core = self._core
        async with self._operation("get"):
            try:
                served = await self._served(key)
                if served is None:
                    core.holdings.want(key)
            except StorageError:
                # What this node cannot read others may have.
                served = None
            if served is not None:
                return Found(key, served.value, served.origin, served.is_live)
            core.require_ready()
            return await Retrieval(core, key).run()

    async def _served(self, key: Key) -> Served | None:
        """What this node has itself; what is large is read, one at a time, beside the event loop. StorageError."""
        holdings = self._core.holdings
        state = holdings.servable(key)
        if state is not None and (state.size or 0) > LARGE:
            async with self._reading:
                value = await holdings.storage.fetch(key)
                if value is not None and await key_of(value) == key:
                    return holdings.from_store(state, value)
        # Among the cached ones, or it is damaged, which this finds out and notes.
        return holdings.served(key)

    async def forget(self, key: Key) -> ForgetResult:
        core = self._core
        async with self._operation("forget"):
            core.require_ready()
            core.require_clock()
            survey = Survey(core, key)
            await survey.run()
            own = survey.best.get(core.publisher.public)
            others = survey.other_publishers()
            if own is None:
                if core.classic is not None and not (others or survey.has_classic):
                    survey.has_classic = await core.classic.find_value(key) is not None
                raise self._why_not_to_forget(survey, others)
            spread = await self._take_back(own, survey)
            core.holdings.cache.drop(key)
            if not spread.is_accepted:
                raise _error_of(spread.acknowledgements, "forget")
            return ForgetResult(key, spread.acknowledgements.replicas, others)

    async def ping(self, node: NodeId) -> Pinged:
        core = self._core
        async with self._operation("ping"):
            core.require_ready()
            contact = core.table.get(node)
            if contact is None:
                found = await core.find_node(node)
                contact = next((each for each in found.contacts if each.id == node), None)
            if contact is None:
                raise NotFound(f"no node {node.hex()[:16]}… was found", remedy="check the node's id")
            began = core.clock()
            answer = await core.requests.ask(contact, Ping())
            if answer is None:
                raise Unreachable(f"node {node.hex()[:16]}… does not answer")
            return Pinged(node, answer.contact.endpoint, core.clock() - began)

    # Parts ---------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _operation(self, name: OperationName) -> AsyncIterator[None]:
        """Bounds how many run and for how long, and tells who watches how it ended."""
        core = self._core
        if self.under_way >= core.config.requests.max_operations:
            core.events.emit(OperationEnded(name, Overloaded.__name__, 0.0))
            raise Overloaded("this node has too much under way", remedy="repeat the request in a moment")
        self.under_way += 1
        began = core.clock()
        streams_failed = core.contacts.stream_troubles.failures
        outcome = "cancelled"
        try:
            with trio.move_on_after(core.config.requests.operation_deadline) as scope:
                yield
            if scope.cancelled_caught:
                raise NoMajority(f"the {name} was not done within {core.config.requests.operation_deadline:g} s")
            outcome = "ok"
        except (NoMajority, Unreachable) as error:
            outcome = type(error).__name__
            because = core.contacts.stream_troubles.in_words(since=streams_failed)
            if because:
                raise type(error)(f"{error}; {because}", remedy=stream_troubles.REMEDY) from error
            raise
        except CamomileError as error:
            outcome = type(error).__name__
            raise
        finally:
            self.under_way -= 1
            core.events.emit(OperationEnded(name, outcome, core.clock() - began))

    @contextmanager
    def _publishing(self, key: Key) -> Iterator[_Publication]:
        """A put is under way. Once the last of those of one value has ended, and none was accepted, the publication is
        given up; also when the time is up or the caller has gone. What an earlier put was promised stays."""
        publication = self._publications.get(key)
        if publication is None:
            is_kept = self._core.holdings.state(key).published
            publication = self._publications[key] = _Publication(is_kept)
        publication.puts += 1
        try:
            yield publication
        finally:
            publication.puts -= 1
            if not publication.puts:
                del self._publications[key]
                if not publication.is_kept:
                    self._core.holdings.unpublish(key)

    async def _publish(self, key: Key, value: bytes, ttl: float | None) -> Spread:
        """Brings the value under a lease that keeps it as long as was asked: a new one, or one that stands already."""
        holdings = self._core.holdings
        before = holdings.state(key)
        register = before.register(self._core.publisher.public)
        if register is None or is_acceptable(register.record, self._core.wall_clock()):
            return await self._bring_under_lease(key, value, ttl, register.record.seq if register is not None else 0)
        # Signed under a clock that was wrong. Usually this node was the only one, and the others refused it.
        holdings.take_back(register.record, None)
        is_accepted = False
        try:
            spread = await self._bring_under_lease(key, value, ttl, 0)
            is_accepted = spread.is_accepted
        finally:
            # Whatever ended it: a failure, the deadline, or a client that has left.
            if not is_accepted:
                holdings.restore(before, value)
        return spread

    async def _bring_under_lease(self, key: Key, value: bytes, ttl: float | None, seen: int) -> Spread:
        """As `_publish`; `seen` is the seq of what stands here of our publisher, or 0.

        A put with a lifetime looks first: it must not end a longer life (docs/protocol.md, Records, rule 3).
        """
        core = self._core
        survey: Survey | None = None
        found: Record | None = None
        if ttl is None:
            lease = self._new_lease(key, seen, int(core.config.records.lease * 1000), renewable=True)
        else:
            survey = Survey(core, key)
            await survey.run()
            if not survey.answered and not core.stands_alone:
                raise Unreachable("no other node answered", remedy=LEFT_ALONE)
            found = survey.best.get(core.publisher.public)
            lease = self._new_lease(key, found.seq if found else 0, int(ttl * 1000), renewable=False)
            if found is not None and leases.stands_for(found, lease, now=core.wall_clock()):
                lease = found

        async def once(lease: Record) -> Spread:
            # Most holders of a lease that was found have the value.
            is_new = lease is not found
            # A put with a lifetime keeps nothing until it is forgotten.
            publish = survey is None or not lease.is_renewable
            late = functools.partial(self._spread_later, value, self._lease_against, lease)
            spread = Spread(core, lease, value, with_value=is_new, publish=publish, above=found, on_late_defeat=late)
            if survey is None:
                await Placing(core, key, spread).run()
            else:
                await spread.run(survey.closest, silent=survey.silent)
            return spread

        return await _until_it_stands(lease, once, self._lease_against)

    async def _take_back(self, own: Record, survey: Survey) -> Spread:
        """Tells the k closest nodes, and all that hold anything, that the value is forgotten."""
        core = self._core
        # What is forgotten already is told again as it is: only something new raises seq.
        is_forgotten = own.is_tombstone and own.expires > core.wall_clock()
        tombstone = own if is_forgotten else self._new_tombstone(own.key, own.seq)
        silent = [*survey.silent, *survey.unheard()]

        async def once(tombstone: Record) -> Spread:
            late = functools.partial(self._spread_later, None, self._tombstone_against, tombstone)
            spread = Spread(core, tombstone, None, with_value=False, on_late_defeat=late)
            await spread.run(survey.closest, holders=survey.holders, silent=silent)
            return spread

        return await _until_it_stands(tombstone, once, self._tombstone_against)

    def _lease_against(self, lease: Record, other: Record) -> Record:
        """What a put stores after `lease`, once a holder has shown that it holds, or held, `other` of ours.

        That one itself where it is greater and keeps the value at least as long. Else a lease above both, as long as
        the longer one: so neither of two puts at one time ends the life that the other was promised.
        """
        core = self._core
        now = core.wall_clock()
        lasts = leases.stands_for(other, lease, now=now)
        if lasts and other.rank > lease.rank:
            return other
        model = other if lasts else lease
        life = int(core.config.records.lease * 1000) if model.is_renewable else model.expires - now
        # The other node's clock may be a little ahead.
        life = min(max(life, LEAST_LEASE * 1000), MAX_LEASE * 1000)
        return self._new_lease(lease.key, max(lease.seq, other.seq), life, renewable=model.is_renewable)

    def _tombstone_against(self, tombstone: Record, other: Record) -> Record:
        """What a forget tells after `tombstone`, once a holder has shown `other`, a greater record of ours."""
        return other if other.is_tombstone else self._new_tombstone(tombstone.key, max(tombstone.seq, other.seq))

    def _spread_later(self, value: bytes | None, against: _Against, record: Record, other: Record) -> None:
        """A holder that answered late has shown `other`: what the caller was told of `record` must become true."""
        core = self._core

        async def again() -> None:
            with trio.move_on_after(core.config.requests.operation_deadline):
                found = await core.find_node(record.key)
                is_put = value is not None
                spread = Spread(core, against(record, other), value, with_value=is_put, publish=is_put)
                await spread.run(found.contacts, silent=found.silent)

        core.background(again)

    async def _withdraw(self, refused: Spread) -> None:
        """The holders' majority refused the value for good: those that took its lease are told to forget it.

        Those that refused are told nothing and keep nothing. Where the lease took the place of an earlier one nobody is
        told: the value is kept as that one promised.
        """
        core, lease = self._core, refused.record
        with trio.move_on_after(core.config.requests.operation_deadline):
            survey = Survey(core, lease.key)
            await survey.run()
            ours = [(contact, each) for contact, each in survey.shown if each.publisher == lease.publisher]
            if refused.has_replaced or any(each != lease and not each.is_tombstone for _, each in ours):
                return
            takers = [contact for contact, each in ours if each == lease]
            if takers:
                withdrawal = Spread(core, self._new_tombstone(lease.key, lease.seq), None, with_value=False)
                for contact in takers:
                    withdrawal.store_at(contact)

    def _new_lease(self, key: Key, seen: int, life_ms: int, *, renewable: bool) -> Record:
        core = self._core
        unsigned = leases.new_lease(
            key, core.publisher.public, seen=seen, now=core.wall_clock(), life_ms=life_ms, renewable=renewable
        )
        return sign_record(unsigned, core.publisher, core.network)

    def _new_tombstone(self, key: Key, seen: int) -> Record:
        core = self._core
        unsigned = leases.new_tombstone(key, core.publisher.public, seen=seen, now=core.wall_clock())
        return sign_record(unsigned, core.publisher, core.network)

    def _why_not_to_forget(self, survey: Survey, others: int) -> CamomileError:
        """Nobody has shown a record of ours."""
        key = survey.key
        if others or survey.has_classic:
            who = f"{others} other publisher(s)" if others else "a classic node"
            return NotPublisher(f"{key.hex()[:16]}… was published by {who}, not by this node")
        if not survey.answered and not self._core.stands_alone:
            return Unreachable("no node answered", remedy=LEFT_ALONE)
        if survey.is_inconclusive:
            return Unreachable(f"most of the nodes that may know {key.hex()[:16]}… did not answer")
        return NotFound(f"no node knows {key.hex()[:16]}…")


async def _until_it_stands(record: Record, once: Callable[[Record], Awaitable[Spread]], against: _Against) -> Spread:
    """Sends `record`, and as long as a holder shows another one that matters, what `against` makes of the two."""
    while True:
        spread = await once(record)
        if spread.beaten_by is None:
            return spread
        record = against(record, spread.beaten_by)


def _error_of(acknowledgements: Acknowledgements, what: str) -> CamomileError:
    outcome = acknowledgements.outcome
    if isinstance(outcome, Refused):
        match outcome.status:
            case StoreStatus.TOO_LARGE:
                return ValueTooLarge("most of the holders do not take values of this size")
            case StoreStatus.FULL:
                refusals = acknowledgements.refusals
                return _full(refusals[StoreStatus.FULL], refusals[StoreStatus.NO_ROOM])
            case StoreStatus.FAILED:
                return NoMajority(
                    "the storage of most of the holders fails", remedy="look at the nodes' disks, then repeat"
                )
            case StoreStatus.QUOTA:
                return StorageFull(
                    "most of the holders keep no more of this publisher, or of what comes from this node's network",
                    remedy="forget some values, raise --max-storage at the holders, or give them the publisher's key",
                )
            case StoreStatus.TOO_MANY_PUBLISHERS:
                return TooManyPublishers("the value has as many publishers as its holders keep")
            case StoreStatus.NOT_YET:
                return NoMajority(
                    "most of the holders think that this node's clock is ahead",
                    remedy="set the clocks right, then repeat",
                )
            case StoreStatus.EXPIRED:
                return NoMajority(
                    "the lease has ended already by the clocks of most of the holders",
                    remedy="set the clocks right, or ask for a longer lifetime, then repeat",
                )
            case status:
                return NoMajority(f"most of the holders refused the {what}: {_in_words(status)}")
    if isinstance(outcome, Failed) and outcome.alone:
        return Unreachable("no other node answered", remedy=LEFT_ALONE)
    if isinstance(outcome, Failed) and outcome.short:
        return NoMajority(
            "fewer nodes answered than a majority of those that --expect says there are",
            remedy="start the others, or this node again with a lower --expect, then repeat",
        )
    said = ", ".join(f"{count} said {_in_words(status)}" for status, count in acknowledgements.refusals.most_common())
    return NoMajority(f"too few holders acknowledged the {what}" + (f"; {said}" if said else ""))


def _full(storages: int, disks: int) -> StorageFull:
    """So many holders hold as much as they may, and of so many the disk is full."""
    if not disks:
        return StorageFull("most of the holders hold as much as they may")
    if not storages:
        return DiskFull("the disks of most of the holders are full", remedy="make room on these disks, or add nodes")
    return StorageFull(
        f"most of the holders are full: {disks} have no room on their disks, {storages} hold as much as they may",
        remedy="make room on the disks, raise --max-storage at the others, or add nodes",
    )


def _in_words(status: StoreStatus) -> str:
    return status.name.lower().replace("_", " ")
