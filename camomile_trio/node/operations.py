"""What users do through this node: put, get, forget, ping.

Rules of this file: an operation ends in a result or in one documented error, within its deadline, and leaving it by
cancellation leaves nothing waiting. Only a put or a forget of a user raises seq. Success means a majority of the
holders has acknowledged; less is `NoMajority`, never a quiet success.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Literal

import attrs
import trio

from camomile_trio.config import LEAST_LEASE, MAX_LEASE
from camomile_trio.errors import (
    CamomileError,
    ConfigError,
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
from camomile_trio.identity import sign_record
from camomile_trio.kademlia import leases
from camomile_trio.kademlia.acknowledgement import Acknowledgements, Failed, Refused, Success
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import StoreStatus
from camomile_trio.kademlia.records import Record
from camomile_trio.node.core import Core
from camomile_trio.node.events import OperationEnded
from camomile_trio.node.placing import Placing
from camomile_trio.node.results import ForgetResult, Found, Pinged, Stored
from camomile_trio.node.retrieval import Retrieval
from camomile_trio.node.spread import Spread
from camomile_trio.node.survey import Survey
from camomile_trio.node.turns import Turns

OperationName = Literal["put", "get", "forget", "ping"]


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
        self.turns = Turns(at_once=requests.max_puts, waiting=requests.max_operations // 2, clock=core.clock)
        self._publications: dict[Key, _Publication] = {}  # of the puts that are under way

    async def put(self, value: bytes, ttl: float | None) -> Stored:
        core = self._core
        records = core.config.records
        if not value:
            raise EmptyValue("the value is empty")
        if ttl is not None and not LEAST_LEASE <= ttl <= MAX_LEASE:
            raise ConfigError(
                f"a lease of {ttl:g} s is not possible", remedy=f"ask for {LEAST_LEASE} to {MAX_LEASE} seconds"
            )
        if len(value) > records.max_value_size:
            raise ValueTooLarge(f"the value has {len(value)} bytes; this node takes up to {records.max_value_size}")
        async with self._operation("put"), self.turns.turn():
            core.require_ready()
            core.require_clock()
            key = Key.of(value)
            life = int((records.lease if ttl is None else ttl) * 1000)
            sign = functools.partial(self._new_lease, key, life, ttl is None)
            seen = self._seen(key)
            with self._publishing(key) as publication:
                spread = await self._place(sign, seen, key, value)
                is_accepted = isinstance(spread.acknowledgements.outcome, Success)
                publication.is_kept |= is_accepted
            if not is_accepted:
                if isinstance(spread.acknowledgements.outcome, Refused) and not seen:
                    core.background(functools.partial(self._withdraw, key, tuple(spread.told.values())))
                raise _error_of(spread.acknowledgements, "put")
            return Stored(key, spread.acknowledgements.replicas, spread.acknowledgements.durable)

    async def get(self, key: Key) -> Found:
        core = self._core
        async with self._operation("get"):
            try:
                served = core.holdings.served(key)
                if served is None:
                    core.holdings.want(key)
            except StorageError:
                # What this node cannot read others may have.
                served = None
            if served is not None:
                return Found(key, served.value, served.origin, served.is_live)
            core.require_ready()
            return await Retrieval(core, key).run()

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
                self._refuse_forget(survey, others)
            seen = own.seq if own is not None else 0
            standing = own if own is not None and own.is_tombstone and own.expires > core.wall_clock() else None

            def sign(above: int) -> Record:
                # What is forgotten already is told again as it is: only something new raises seq.
                return standing if standing is not None and above == seen else self._new_tombstone(key, above)

            silent = [*survey.silent, *survey.unheard()]
            spread = await self._take_back(sign, seen, survey, silent)
            core.holdings.cache.drop(key)
            if not isinstance(spread.acknowledgements.outcome, Success):
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
            answer = await core.rpc.ask(contact.endpoint, core.rpc.new_ping(), node=node)
            if answer is None:
                raise Unreachable(f"node {node.hex()[:16]}… does not answer")
            return Pinged(node, contact.endpoint, core.clock() - began, answer.version)

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
        outcome = "cancelled"
        try:
            with trio.move_on_after(core.config.requests.operation_deadline) as scope:
                yield
            if scope.cancelled_caught:
                raise NoMajority(f"the {name} was not done within {core.config.requests.operation_deadline:g} s")
            outcome = "ok"
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

    def _seen(self, key: Key) -> int:
        register = self._core.holdings.state(key).register(self._core.publisher.public)
        return register.record.seq if register is not None else 0

    async def _place(self, sign: Callable[[int], Record], seen: int, key: Key, value: bytes) -> Spread:
        """Looks for the k closest nodes and stores the value at them meanwhile."""
        core = self._core
        late = functools.partial(self._spread_later, sign, value)

        async def once(record: Record) -> Spread:
            spread = Spread(core, record, value, with_value=True, publish=True, on_late_defeat=late)
            await Placing(core, key, spread).run()
            return spread

        return await self._above(seen, sign, once)

    async def _take_back(
        self, sign: Callable[[int], Record], seen: int, survey: Survey, silent: Sequence[Contact]
    ) -> Spread:
        """Tells the k closest nodes, and all that hold anything, that the value is forgotten."""
        core = self._core
        late = functools.partial(self._spread_later, sign, None)

        async def once(record: Record) -> Spread:
            spread = Spread(core, record, None, with_value=False, on_late_defeat=late)
            await spread.run(survey.closest, holders=survey.holders, silent=silent)
            return spread

        return await self._above(seen, sign, once)

    @staticmethod
    async def _above(seen: int, sign: Callable[[int], Record], once: Callable[[Record], Awaitable[Spread]]) -> Spread:
        """Sends the record that `sign` makes above the seq `seen`; once more if a holder knows a greater one."""
        spread = await once(sign(seen))
        if spread.beaten_by is not None:
            spread = await once(sign(max(seen, spread.beaten_by.seq)))
        return spread

    def _spread_later(self, sign: Callable[[int], Record], value: bytes | None, winner: Record) -> None:
        """A holder that answered late knows a greater record: what the caller was told must become true."""
        core = self._core

        async def again() -> None:
            with trio.move_on_after(core.config.requests.operation_deadline):
                found = await core.find_node(winner.key)
                is_put = value is not None
                spread = Spread(core, sign(winner.seq), value, with_value=is_put, publish=is_put)
                await spread.run(found.contacts, silent=found.silent)

        core.background(again)

    async def _withdraw(self, key: Key, contacts: Sequence[Contact]) -> None:
        """The holders' majority refused the value for good: the few that took it are told to forget it."""
        with trio.move_on_after(self._core.config.requests.operation_deadline):
            tombstone = self._new_tombstone(key, self._seen(key))
            await Spread(self._core, tombstone, None, with_value=False).run(contacts)

    def _new_lease(self, key: Key, life: int, is_renewable: bool, seen: int) -> Record:
        core = self._core
        unsigned = leases.new_lease(
            key, core.publisher.public, seen=seen, now=core.wall_clock(), life_ms=life, renewable=is_renewable
        )
        return sign_record(unsigned, core.publisher, core.network)

    def _new_tombstone(self, key: Key, seen: int) -> Record:
        core = self._core
        unsigned = leases.new_tombstone(key, core.publisher.public, seen=seen, now=core.wall_clock())
        return sign_record(unsigned, core.publisher, core.network)

    def _refuse_forget(self, survey: Survey, others: int) -> None:
        key = survey.key
        if others or survey.has_classic:
            who = f"{others} other publisher(s)" if others else "a classic node"
            raise NotPublisher(f"{key.hex()[:16]}… was published by {who}, not by this node")
        if not survey.answered and not self._core.stands_alone:
            raise Unreachable("no node answered")
        if survey.is_inconclusive:
            raise Unreachable(f"most of the nodes that may know {key.hex()[:16]}… did not answer")
        raise NotFound(f"no node knows {key.hex()[:16]}…")


def _error_of(acknowledgements: Acknowledgements, what: str) -> CamomileError:
    outcome = acknowledgements.outcome
    if isinstance(outcome, Refused):
        match outcome.status:
            case StoreStatus.TOO_LARGE:
                return ValueTooLarge("most of the holders do not take values of this size")
            case StoreStatus.FULL:
                return StorageFull("most of the holders are full")
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
            case status:
                return NoMajority(f"most of the holders refused the {what}: {_in_words(status)}")
    if isinstance(outcome, Failed) and outcome.alone:
        return Unreachable("no other node answered")
    said = ", ".join(f"{count} said {_in_words(status)}" for status, count in acknowledgements.refusals.most_common())
    return NoMajority(f"too few holders acknowledged the {what}" + (f"; {said}" if said else ""))


def _in_words(status: StoreStatus) -> str:
    return status.name.lower().replace("_", " ")
