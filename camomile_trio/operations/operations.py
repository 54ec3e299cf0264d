"""What users do through this node: put, get, forget, ping.

Rules of this file: an operation ends in a result or in one documented error, within its deadline, and leaving it by
cancellation leaves nothing waiting. Only a put or a forget of a user raises seq. Success means a majority of the
holders has acknowledged; less is `NoMajority`, never a quiet success.
"""

from __future__ import annotations

import functools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Literal

import attrs
import trio

from camomile_trio.classic.network import ClassicNetwork
from camomile_trio.config import LEAST_LEASE, MAX_LEASE, Config, number_text
from camomile_trio.errors import (
    LEFT_ALONE,
    CamomileError,
    ConfigError,
    EmptyValue,
    NoMajority,
    NotFound,
    NotPublisher,
    Overloaded,
    StorageError,
    Unreachable,
    ValueTooLarge,
)
from camomile_trio.holding.holdings import Served
from camomile_trio.kademlia import leases
from camomile_trio.kademlia.acknowledgement import Refused
from camomile_trio.kademlia.admission import is_acceptable
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import Ping, StoreKind
from camomile_trio.kademlia.records import Record
from camomile_trio.operations.events import Events, OperationEnded
from camomile_trio.operations.failures import error_of
from camomile_trio.operations.inquiry import Inquiry
from camomile_trio.operations.publication import Publication, Publishing, Standing
from camomile_trio.operations.results import ForgetResult, Found, Pinged, Stored
from camomile_trio.operations.retrieval import Retrieval
from camomile_trio.operations.turns import Turns
from camomile_trio.operations.very_large import LARGE, key_of
from camomile_trio.peer import stream_troubles

OperationName = Literal["put", "get", "forget", "ping"]
# What is stored in the place of a record of ours once a holder has shown another one.
_Against = Callable[[Record, Record], Record]


@attrs.define
class _Puts:
    """What the puts of one value that are under way at this node come to."""

    is_kept: bool  # the value was published before, or one of them was accepted
    puts: int = 0


class Operations:
    """The operations of one node."""

    def __init__(
        self,
        config: Config,
        publishing: Publishing,
        standing: Standing,
        events: Events,
        *,
        classic: ClassicNetwork | None,
        rng: random.Random,
        background: Callable[[Callable[[], Awaitable[None]]], None],
    ) -> None:
        """`background` goes on with something after its caller has left, as long as the node lives."""
        self.under_way = 0
        self._records = config.records
        self._requests = config.requests
        self._publishing = publishing
        self._lookups = publishing.lookups
        self._contacts = publishing.lookups.contacts
        self._holdings = publishing.holdings
        self._standing = standing
        self._events = events
        self._classic = classic
        self._rng = rng
        self._background = background
        self._clock = self._contacts.requests.clock
        self._wall_clock = publishing.holdings.wall_clock
        waiting = config.requests.max_operations // 2
        self.turns = Turns(at_once=config.requests.max_puts, waiting=waiting, clock=self._clock)
        self._reading = trio.Lock()
        self._publications: dict[Key, _Puts] = {}  # of the puts that are under way

    async def put(self, value: bytes, ttl: float | None) -> Stored:
        records = self._records
        if not value:
            raise EmptyValue("the value is empty")
        if ttl is not None and not LEAST_LEASE <= ttl <= MAX_LEASE:
            raise ConfigError(
                f"a lease of {number_text(ttl)} s is not possible",
                remedy=f"ask for {LEAST_LEASE} to {MAX_LEASE} seconds",
            )
        if len(value) > records.max_value_size:
            raise ValueTooLarge(f"the value has {len(value)} bytes; this node takes up to {records.max_value_size}")
        async with self._operation("put"), self.turns.turn():
            self._standing.require_ready()
            self._standing.require_clock()
            key = await key_of(value)
            with self._putting(key) as publication:
                sent = await self._publish(key, value, ttl)
                publication.is_kept |= sent.is_accepted
            lease, acknowledgements = sent.record, sent.acknowledgements
            if not sent.is_accepted:
                if isinstance(acknowledgements.outcome, Refused):
                    self._background(functools.partial(self._withdraw, sent))
                raise error_of(acknowledgements, "put")
            if self._classic is not None:
                self._background(functools.partial(self._store_at_classic, self._classic, key, value))
            expires = None if lease.is_renewable else lease.expires
            return Stored(key, acknowledgements.replicas, acknowledgements.durable, expires)

    @staticmethod
    async def _store_at_classic(classic: ClassicNetwork, key: Key, value: bytes) -> None:
        await classic.store(key, value, StoreKind.PUBLISH)

    async def get(self, key: Key) -> Found:
        async with self._operation("get"):
            try:
                served = await self._served(key)
                if served is None:
                    self._holdings.want(key)
            except StorageError:
                # What this node cannot read others may have.
                served = None
            if served is not None:
                return Found(key, served.value, served.origin, served.is_live)
            self._standing.require_ready()
            return await Retrieval(key, self._lookups, self._holdings, self._standing, self._classic, self._rng).run()

    async def _served(self, key: Key) -> Served | None:
        """What this node has itself; what is large is read, one at a time, beside the event loop. StorageError."""
        holdings = self._holdings
        state = holdings.servable(key)
        if state is not None and (state.size or 0) > LARGE:
            async with self._reading:
                value = await holdings.storage.fetch(key)
                if value is not None and await key_of(value) == key:
                    return holdings.from_store(state, value)
        # Among the cached ones, or it is damaged, which this finds out and notes.
        return holdings.served(key)

    async def forget(self, key: Key) -> ForgetResult:
        async with self._operation("forget"):
            self._standing.require_ready()
            self._standing.require_clock()
            inquiry = Inquiry(self._publishing, key)
            await inquiry.run()
            own = inquiry.best.get(self._publishing.publisher.public)
            others = inquiry.other_publishers()
            if own is None:
                if self._classic is not None and not (others or inquiry.has_classic):
                    inquiry.has_classic = await self._classic.find_value(key) is not None
                raise self._why_not_to_forget(inquiry, others)
            sent = await self._take_back(own, inquiry)
            self._holdings.cache.drop(key)
            if not sent.is_accepted:
                raise error_of(sent.acknowledgements, "forget")
            return ForgetResult(key, sent.acknowledgements.replicas, others)

    async def ping(self, node: NodeId) -> Pinged:
        async with self._operation("ping"):
            self._standing.require_ready()
            contact = self._lookups.table.get(node)
            if contact is None:
                found = await self._lookups.find_node(node)
                contact = next((each for each in found.contacts if each.id == node), None)
            if contact is None:
                raise NotFound(f"no node {node.hex()[:16]}… was found", remedy="check the node's id")
            began = self._clock()
            answer = await self._contacts.requests.ask(contact, Ping())
            if answer is None:
                raise Unreachable(f"node {node.hex()[:16]}… does not answer")
            return Pinged(node, answer.contact.endpoint, self._clock() - began)

    # Parts ---------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _operation(self, name: OperationName) -> AsyncIterator[None]:
        """Bounds how many run and for how long, and tells who watches how it ended."""
        if self.under_way >= self._requests.max_operations:
            self._events.emit(OperationEnded(name, Overloaded.__name__, 0.0))
            raise Overloaded("this node has too much under way", remedy="repeat the request in a moment")
        self.under_way += 1
        began = self._clock()
        streams_failed = self._contacts.stream_troubles.failures
        outcome = "cancelled"
        try:
            with trio.move_on_after(self._requests.operation_deadline) as scope:
                yield
            if scope.cancelled_caught:
                raise NoMajority(f"the {name} was not done within {self._requests.operation_deadline:g} s")
            outcome = "ok"
        except (NoMajority, Unreachable) as error:
            outcome = type(error).__name__
            because = self._contacts.stream_troubles.in_words(since=streams_failed)
            if because:
                raise type(error)(f"{error}; {because}", remedy=stream_troubles.REMEDY) from error
            raise
        except CamomileError as error:
            outcome = type(error).__name__
            raise
        finally:
            self.under_way -= 1
            self._events.emit(OperationEnded(name, outcome, self._clock() - began))

    @contextmanager
    def _putting(self, key: Key) -> Iterator[_Puts]:
        """A put is under way. Once the last of those of one value has ended, and none was accepted, the publication is
        given up; also when the time is up or the caller has gone. What an earlier put was promised stays."""
        publication = self._publications.get(key)
        if publication is None:
            is_kept = self._holdings.state(key).published
            publication = self._publications[key] = _Puts(is_kept)
        publication.puts += 1
        try:
            yield publication
        finally:
            publication.puts -= 1
            if not publication.puts:
                del self._publications[key]
                if not publication.is_kept:
                    self._holdings.unpublish(key)

    async def _publish(self, key: Key, value: bytes, ttl: float | None) -> Publication:
        """Brings the value under a lease that keeps it as long as was asked: a new one, or one that stands already."""
        holdings = self._holdings
        before = holdings.state(key)
        register = before.register(self._publishing.publisher.public)
        if register is None or is_acceptable(register.record, self._wall_clock()):
            return await self._bring_under_lease(key, value, ttl, register.record.seq if register is not None else 0)
        # Signed under a clock that was wrong. Usually this node was the only one, and the others refused it.
        holdings.take_back(register.record, None)
        is_accepted = False
        try:
            sent = await self._bring_under_lease(key, value, ttl, 0)
            is_accepted = sent.is_accepted
        finally:
            # Whatever ended it: a failure, the deadline, or a client that has left.
            if not is_accepted:
                holdings.restore(before, value)
        return sent

    async def _bring_under_lease(self, key: Key, value: bytes, ttl: float | None, seen: int) -> Publication:
        """As `_publish`; `seen` is the seq of what stands here of our publisher, or 0.

        A put with a lifetime looks first: it must not end a longer life (docs/protocol.md, Records, rule 3).
        """
        inquiry: Inquiry | None = None
        found: Record | None = None
        if ttl is None:
            lease = self._publishing.lease(key, seen=seen, life_ms=int(self._records.lease * 1000), renewable=True)
        else:
            inquiry = Inquiry(self._publishing, key)
            await inquiry.run()
            if not inquiry.answered and not self._standing.stands_alone:
                raise Unreachable("no other node answered", remedy=LEFT_ALONE)
            found = inquiry.best.get(self._publishing.publisher.public)
            seen = found.seq if found else 0
            lease = self._publishing.lease(key, seen=seen, life_ms=int(ttl * 1000), renewable=False)
            if found is not None and leases.stands_for(found, lease, now=self._wall_clock()):
                lease = found

        async def once(lease: Record) -> Publication:
            # Most holders of a lease that was found have the value.
            is_new = lease is not found
            # A put with a lifetime keeps nothing until it is forgotten.
            publish = inquiry is None or not lease.is_renewable
            late = functools.partial(self._publish_later, value, self._lease_against, lease)
            sent = Publication(
                self._publishing, lease, value, with_value=is_new, publish=publish, above=found, on_late_defeat=late
            )
            if inquiry is None:
                await sent.look_and_store()
            else:
                await sent.store_at_all(inquiry.closest, silent=inquiry.silent)
            return sent

        return await _until_it_stands(lease, once, self._lease_against)

    async def _take_back(self, own: Record, inquiry: Inquiry) -> Publication:
        """Tells the k closest nodes, and all that hold anything, that the value is forgotten."""
        # What is forgotten already is told again as it is: only something new raises seq.
        is_forgotten = own.is_tombstone and own.expires > self._wall_clock()
        tombstone = own if is_forgotten else self._publishing.tombstone(own.key, seen=own.seq)
        silent = [*inquiry.silent, *inquiry.unheard()]

        async def once(tombstone: Record) -> Publication:
            late = functools.partial(self._publish_later, None, self._tombstone_against, tombstone)
            sent = Publication(self._publishing, tombstone, None, with_value=False, on_late_defeat=late)
            await sent.store_at_all(inquiry.closest, holders=inquiry.holders, silent=silent)
            return sent

        return await _until_it_stands(tombstone, once, self._tombstone_against)

    def _lease_against(self, lease: Record, other: Record) -> Record:
        """What a put stores after `lease`, once a holder has shown that it holds, or held, `other` of ours.

        That one itself where it is greater and keeps the value at least as long. Else a lease above both, as long as
        the longer one: so neither of two puts at one time ends the life that the other was promised.
        """
        now = self._wall_clock()
        lasts = leases.stands_for(other, lease, now=now)
        if lasts and other.rank > lease.rank:
            return other
        model = other if lasts else lease
        life = int(self._records.lease * 1000) if model.is_renewable else model.expires - now
        # The other node's clock may be a little ahead.
        life = min(max(life, LEAST_LEASE * 1000), MAX_LEASE * 1000)
        seen = max(lease.seq, other.seq)
        return self._publishing.lease(lease.key, seen=seen, life_ms=life, renewable=model.is_renewable)

    def _tombstone_against(self, tombstone: Record, other: Record) -> Record:
        """What a forget tells after `tombstone`, once a holder has shown `other`, a greater record of ours."""
        return (
            other
            if other.is_tombstone
            else self._publishing.tombstone(tombstone.key, seen=max(tombstone.seq, other.seq))
        )

    def _publish_later(self, value: bytes | None, against: _Against, record: Record, other: Record) -> None:
        """A holder that answered late has shown `other`: what the caller was told of `record` must become true."""

        async def again() -> None:
            with trio.move_on_after(self._requests.operation_deadline):
                found = await self._lookups.find_node(record.key)
                is_put = value is not None
                sent = Publication(self._publishing, against(record, other), value, with_value=is_put, publish=is_put)
                await sent.store_at_all(found.contacts, silent=found.silent)

        self._background(again)

    async def _withdraw(self, refused: Publication) -> None:
        """The holders' majority refused the value for good: those that took its lease are told to forget it.

        Those that refused are told nothing and keep nothing. Where the lease took the place of an earlier one nobody is
        told: the value is kept as that one promised.
        """
        lease = refused.record
        with trio.move_on_after(self._requests.operation_deadline):
            inquiry = Inquiry(self._publishing, lease.key)
            await inquiry.run()
            ours = [(contact, each) for contact, each in inquiry.shown if each.publisher == lease.publisher]
            if refused.has_replaced or any(each != lease and not each.is_tombstone for _, each in ours):
                return
            takers = [contact for contact, each in ours if each == lease]
            if takers:
                withdrawal = Publication(
                    self._publishing, self._publishing.tombstone(lease.key, seen=lease.seq), None, with_value=False
                )
                for contact in takers:
                    withdrawal.store_at(contact)

    def _why_not_to_forget(self, inquiry: Inquiry, others: int) -> CamomileError:
        """Nobody has shown a record of ours."""
        key = inquiry.key
        if others or inquiry.has_classic:
            who = f"{others} other publisher(s)" if others else "a classic node"
            return NotPublisher(f"{key.hex()[:16]}… was published by {who}, not by this node")
        if not inquiry.answered and not self._standing.stands_alone:
            return Unreachable("no node answered", remedy=LEFT_ALONE)
        if inquiry.is_inconclusive:
            return Unreachable(f"most of the nodes that may know {key.hex()[:16]}… did not answer")
        return NotFound(f"no node knows {key.hex()[:16]}…")


async def _until_it_stands(
    record: Record, once: Callable[[Record], Awaitable[Publication]], against: _Against
) -> Publication:
    """Sends `record`, and as long as a holder shows another one that matters, what `against` makes of the two."""
    while True:
        sent = await once(record)
        if sent.beaten_by is None:
            return sent
        record = against(record, sent.beaten_by)
