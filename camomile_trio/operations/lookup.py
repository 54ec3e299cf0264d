"""Drives one Shortlist: sends its queries, feeds it answers and deadlines, wakes its caller once, at the end.

Rules of this file: no task of its own and no rounds. Answers and deadlines come as callbacks and free a slot at once;
the caller's task sleeps on one event. The question is FIND_NODE, FIND_VALUE, or a STORE. A lookup that stores while it
looks asks by STOREs those that are as good as certain to be among the closest (`reach.py`) and would take one, the
nearest few at once; all others by FIND_NODE, alpha at a time, with a STORE behind it. The nearest of all name the
contacts that they know. A STORE that is overdue is followed by a FIND_NODE, so that a peer that lives and does not
store stays in the base of the majority. Contacts that others name are candidates of this lookup only. Leaving `run`,
also by cancellation, detaches every request still under way. Source: Kademlia (2002), §2.3; docs/protocol.md,
"Lookups".
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Final, Literal, Protocol

import attrs
import trio

from camomile_trio.kademlia.acknowledgement import Acknowledgements
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import (
    IS_SHORTENED,
    FindNode,
    FindValue,
    Message,
    NodeList,
    StoreResult,
    Value,
)
from camomile_trio.kademlia.reach import NOBODY, Reach
from camomile_trio.kademlia.records import Record
from camomile_trio.kademlia.routing import RoutingTable
from camomile_trio.kademlia.shortlist import HEARD_IN_FULL, PeerState, Shortlist
from camomile_trio.operations.events import Events, LookupEnded
from camomile_trio.peer.contacts import Contacts
from camomile_trio.peer.pending import Pending
from camomile_trio.peer.seams import Answer

# How many times k known contacts a lookup starts from: more than k, so that a neighbourhood of dead contacts does not
# end it before it began.
START: Final = 3
# So many of the nearest, at least, name all contacts that they know in a lookup that stores.
NAMING: Final = 4
# Only who is as near as this, in seconds to there and back, is asked alone. There three questions cost processors more
# time than they save. Farther away the first of three answers comes sooner than the only one: with 5 to 30 ms each way
# half of all gets take 62 ms, not 75.
NEAR = 0.005
# For how long one that is asked alone is waited for at least, in seconds: however regular its round trips were, the
# next one may have to wait for a processor.
LEAST_PATIENCE = 0.01

# How long a lookup that all others have answered waits for a value that one party alone says it has, in seconds since
# it said so. It may be the only holder, and it may be a liar that gives nothing.
PROMISE_PATIENCE = 0.5
# So many others, at least, have to have answered meanwhile.
LEAST_OTHERS = 2

# Sees every answer as it comes; True ends the lookup there and then.
OnAnswer = Callable[[Contact, Answer[Message]], bool]


@attrs.frozen
class LookupResult:
    """The closest nodes that answered, closest first, and how it went: k, or as many as it takes (`counting.py`).

    `counted` are those of them whose word counts. `silent` would be among them if they had answered, closest first.
    `is_inconclusive`: most of those that would count are silent, and nobody can say what is not there.
    """

    contacts: tuple[Contact, ...]
    asked: int
    answered: int
    hops: int
    silent: tuple[Contact, ...] = ()
    counted: frozenset[Contact] = frozenset()
    is_inconclusive: bool = False
    is_promised: bool = False  # a node says that it has the value, and has not given it out yet


class Stored(Protocol):
    """A record that a lookup stores while it looks (`publication.py`)."""

    record: Record
    first: int  # so many of the nearest are asked at first
    beaten_by: Record | None
    acknowledgements: Acknowledgements

    @property
    def is_whole(self) -> bool:
        """Whether all that should hold it are to be asked now, not only the first."""

    def may_ask(self, contact: Contact) -> bool:
        """Whether a STORE is a question that this contact would answer at once."""

    def store_at(self, contact: Contact, *, is_question: bool = False, is_naming: bool = False) -> bool:
        """Sends it, once, and says whether that will be answered or fail. `is_question`: the lookup hears of that."""

    def untold(self, contacts: Iterable[Contact]) -> list[Contact]:
        """Those of them to whom it was not sent."""

    def store_here(self) -> None:
        """Somebody has answered: this node keeps its copy."""

    def base_of(self, contacts: Iterable[Contact]) -> list[NodeId]:
        """Of which nodes a majority is counted, if these are the closest."""

    def settle(self, contacts: Iterable[Contact], silent: Iterable[Contact]) -> None:
        """These are the closest that answered, and those that should have."""

    def give_up(self) -> None:
        """Nobody has answered."""


@attrs.frozen
class Lookups:
    """Makes the lookups of one node."""

    contacts: Contacts
    events: Events
    k: int
    alpha: int

    @property
    def table(self) -> RoutingTable:
        return self.contacts.table

    async def find_node(self, target: bytes, *, on_answer: OnAnswer | None = None) -> LookupResult:
        """The closest nodes to `target` that answer, this node not included."""
        return await Lookup(self, FindNode(NodeId(target)), on_answer=on_answer).run()

    def find_value(
        self,
        key: Key,
        *,
        on_answer: OnAnswer,
        on_late_value: Callable[[Contact, Answer[Message]], None],
    ) -> Lookup:
        """A lookup of a value, of which a single answer may be all that is wanted."""
        return Lookup(self, FindValue(key), on_answer=on_answer, one_first=True, on_late_value=on_late_value)

    def storing(self, stored: Stored, *, k: int | None = None) -> Lookup:
        """A lookup that stores a record at the `k` closest while it looks for them."""
        return Lookup(self, FindNode(NodeId(stored.record.key)), k=k, stored=stored)


class Lookup:
    """One iterative lookup, for a node (FIND_NODE), a value (FIND_VALUE) or the holders of a record (STORE)."""

    def __init__(
        self,
        lookups: Lookups,
        question: FindNode | FindValue,
        *,
        k: int | None = None,
        start: Iterable[Contact] | None = None,
        on_answer: OnAnswer | None = None,
        one_first: bool = False,
        on_late_value: Callable[[Contact, Answer[Message]], None] | None = None,
        stored: Stored | None = None,
    ) -> None:
        """`one_first`: a single answer may be all that is wanted, so one of the alpha closest that is near is asked
        alone, for as long as it usually takes to answer. `on_late_value` is told of a value that was promised and
        comes over a stream after the end. `stored`: what to store meanwhile; the question then is a FIND_NODE."""
        self._contacts = lookups.contacts
        self._requests = lookups.contacts.requests
        self._events = lookups.events
        self._question = question
        self._target: bytes = question.target if isinstance(question, FindNode) else question.key
        k = k or lookups.k
        table = lookups.table
        if start is None:
            start = table.closest(self._target, START * lookups.k)
        # A look at only a few nodes is no base of anything.
        counting = table.counting(self._target) if k >= table.k or stored is not None else None
        self.shortlist = Shortlist(
            self._target,
            k=k,
            alpha=lookups.alpha,
            own=table.own,
            start=start,
            counting=counting,
            party_of=lookups.contacts.party,
            heard_in_full=NAMING if stored is not None else HEARD_IN_FULL * lookups.alpha,
        )
        self._on_answer = on_answer
        self._done = trio.Event()
        self._open: dict[Contact, Pending[Message]] = {}  # but for STOREs
        self._is_pumping = False
        self._is_narrow = one_first
        self._has_enough = False
        self._on_late_value = on_late_value
        self._began = 0.0
        self._stored = stored
        self._reach = Reach(self._target, k=k, own=table.own)
        self._checked: set[Contact] = set()  # those whose STORE is overdue, while their FIND_NODE is not
        if stored is not None:
            self._reach.on_neighbours(table.closest(table.own, lookups.k))
            stored.acknowledgements.candidates = lambda: stored.base_of(self.shortlist.candidates())

    async def run(self) -> LookupResult:
        """Asks until the closest have answered, or `on_answer` has enough, or nobody is left to ask."""
        try:
            self.start()
            await self._done.wait()
            is_promised = bool(self._promises())
            self._leave_late_values()
        finally:
            self.stop()
        shortlist = self.shortlist
        result = LookupResult(
            tuple(shortlist.result()),
            shortlist.asked,
            shortlist.count(PeerState.ANSWERED),
            shortlist.hops,
            tuple(shortlist.silent()),
            frozenset(shortlist.counted()),
            shortlist.is_inconclusive(),
            is_promised,
        )
        # A look at only a few nodes tells nothing of how lookups go.
        if shortlist.k >= self._contacts.table.k:
            self._tell(result.contacts)
        return result

    def start(self) -> None:
        """Asks the first. What follows comes as callbacks, until `stop`."""
        self._began = self._requests.clock()
        self._contacts.table.touch(self._target, self._began)
        if self._is_narrow:
            self._ask_one()
        self._pump()

    def stop(self) -> None:
        """Nobody waits for it any more."""
        self._done.set()
        for pending in self._open.values():
            pending.detach()
        self._open.clear()

    def _tell(self, contacts: tuple[Contact, ...]) -> None:
        if self._events.watched:
            kind: Literal["node", "value"] = "node" if isinstance(self._question, FindNode) else "value"
            shortlist, took = self.shortlist, self._requests.clock() - self._began
            self._events.emit(LookupEnded(kind, shortlist.hops, shortlist.asked, took, self._target, contacts))

    # Whom it asks ----------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        # A request that cannot be sent fails at once and frees its slot, so this goes on until nothing is to be sent.
        if self._is_pumping or self._is_narrow or self._done.is_set():
            return
        if self._stored is not None and self._stored.beaten_by is not None:
            self.stop()
            return
        self._is_pumping = True
        while queries := self.shortlist.next_queries(self._certain()):
            for contact in queries:
                self._ask(contact)
        if self._stored is not None:
            for contact in self._stored.untold(self.shortlist.answered_within(self._certain())):
                self._stored.store_at(contact)
        self._is_pumping = False
        if self.shortlist.finished and not self._checked and not self._expects_value():
            self._end()

    def _certain(self) -> int:
        """How far those are from the target that are asked without a slot, by a STORE where they take one."""
        stored = self._stored
        if stored is None:
            return NOBODY
        reach = self._reach.up_to(self.shortlist.edge)
        return reach if stored.is_whole else min(reach, self.shortlist.edge_of(stored.first))

    def _end(self) -> None:
        stored = self._stored
        if stored is None:
            self._done.set()
            return
        self.stop()
        contacts = self.shortlist.result()
        self._tell(tuple(contacts))
        if contacts or stored.acknowledgements.may_count_alone:
            stored.settle(contacts, self.shortlist.silent())
        else:
            stored.give_up()

    def _ask(self, contact: Contact) -> Pending[Message] | None:
        """By a STORE, if it is certain to be one of the closest and takes it."""
        stored = self._stored
        if (
            stored is not None
            and self._reach.holds(contact.id)
            and stored.may_ask(contact)
            and self.shortlist.state(contact.id) is not PeerState.ANSWERED  # else it had no room for all it knows
        ):
            is_naming = self.shortlist.is_within(contact.id, NAMING)
            if stored.store_at(contact, is_question=True, is_naming=is_naming):
                return None
        return self._find(contact)

    def _ask_one(self) -> None:
        """Of the closest the quickest, which most likely would be the first to answer if all were asked."""
        contact = self.shortlist.first_query(self._patience)
        pending = self._find(contact) if contact is not None else None
        if contact is None or pending is None:
            self._is_narrow = False
            return
        patience = max(self._patience(contact), LEAST_PATIENCE)
        requests = self._requests
        requests.deadlines.set(requests.clock() + patience, functools.partial(self._hedge, contact), awaited=pending)

    def _patience(self, contact: Contact) -> float:
        """How long to wait for it alone, in seconds; infinite for who is not near, or perhaps not there."""
        path = self._requests.path(contact)
        if path is None or path.least > NEAR or path.is_suspect(self._requests.clock()):
            return math.inf
        return path.usual

    def _hedge(self, contact: Contact) -> None:
        """The others are asked too, unless a value too large for a datagram is on its way, or nobody waits any more."""
        pending = self._open.get(contact)
        if pending is not None and not pending.by_stream:
            self._is_narrow = False
            self._pump()

    def _promises(self) -> dict[Contact, Pending[Message]]:
        """The requests under way to those that say they have a value which only fits into a stream, and keep their
        word."""
        if not isinstance(self._question, FindValue):
            return {}
        now = self._requests.clock()
        return {
            contact: pending
            for contact, pending in self._open.items()
            if pending.promised_at is not None and pending.path.keeps_its_word(now)
        }

    def _expects_value(self) -> bool:
        """Whether a value is on its way over a stream that is worth waiting for although it is overdue."""
        promises = self._promises()
        if not promises:
            return False
        if self._is_agreed(promises) or self.shortlist.count(PeerState.ANSWERED) < LEAST_OTHERS:
            return True
        since = min(pending.promised_at or 0.0 for pending in promises.values())
        return self._requests.clock() < since + PROMISE_PATIENCE

    def _is_agreed(self, promises: Iterable[Contact]) -> bool:
        """Whether more than one party says so."""
        return len({self._contacts.party(contact) for contact in promises}) > 1

    def _leave_late_values(self) -> None:
        if self._on_late_value is not None and not self._has_enough:
            for contact, pending in self._promises().items():
                pending.detach()
                pending.on_reply = functools.partial(self._on_late_value, contact)
                del self._open[contact]

    def _find(self, contact: Contact) -> Pending[Message] | None:
        tellers = self.shortlist.tellers(contact.id)
        if tellers and not self._requests.can_pay(contact, self._question, tellers):
            self.shortlist.on_unpaid(contact.id)
            return None
        pending = self._requests.request(
            contact,
            self._question,
            on_reply=functools.partial(self._replied, contact),
            on_overdue=functools.partial(self._overdue, contact),
            on_failed=functools.partial(self._failed, contact),
            told_by=tellers,
        )
        if pending is None:
            self._failed(contact)
            return None
        self._open[contact] = pending
        if pending.is_suspect:
            self._checked.discard(contact)
            if not self._has_moved(contact):
                self.shortlist.on_overdue(contact.id, is_suspect=True)
        return pending

    def _replied(self, contact: Contact, answer: Answer[Message]) -> None:
        self._is_narrow = False
        del self._open[contact]
        self._checked.discard(contact)
        self._learn(contact, answer)
        if self._on_answer is not None and self._on_answer(contact, answer):
            self._has_enough = True
            self._done.set()
        self._pump()

    def _learn(self, contact: Contact, answer: Answer[Message], *, is_naming: bool = True) -> None:
        """`contact` has answered: what it named goes into the shortlist, what makes no sense of it is counted."""
        message, is_shortened = answer.message, not is_naming or bool(answer.flags & IS_SHORTENED)
        if not isinstance(message, NodeList | Value | StoreResult):
            # Too large even for a stream: a peer that cannot answer is as good as none.
            self.shortlist.on_failed(contact.id)
            return
        stored, contacts = self._stored, self._contacts
        if stored is not None and is_naming and self.shortlist.state(contact.id) is not PeerState.ANSWERED:
            stored.store_here()
            stored.acknowledgements.on_answered(contact.id)
            self._reach.on_answer(contact.id, message.contacts, is_shortened=is_shortened)
        left_out = self.shortlist.on_reply(
            contact.id,
            message.contacts,
            functools.partial(contacts.may_contact, told_by=contact.endpoint),
            is_shortened=is_shortened,
            source=answer.contact,
            knows=contacts.knows,
        )
        if message.dropped or left_out:
            self._requests.statistics.dropped["senseless_contact"] += message.dropped + left_out

    # What a STORE that is its question comes to ----------------------------------------------------------------------

    def on_store_answer(self, contact: Contact, answer: Answer[Message], *, is_naming: bool, is_news: bool) -> None:
        """The peer has answered, with the closest contacts that it knows if it was asked for them. `is_news`: it has
        changed whether all that should hold the record are to be asked now."""
        if self._done.is_set():
            return
        self._checked.discard(contact)
        check = self._open.pop(contact, None)
        if check is not None:
            check.detach()
        self._learn(contact, answer, is_naming=is_naming)
        # Most answers change nothing of whom to ask.
        if is_naming or is_news or not self.shortlist.is_busy:
            self._pump()

    def on_store_overdue(self, contact: Contact) -> None:
        """One retransmission timeout has passed; the answer may still come."""
        if self._done.is_set() or self.shortlist.state(contact.id) is not PeerState.ASKED or self._has_moved(contact):
            return
        self.shortlist.on_overdue(contact.id)
        self._checked.add(contact)
        self._find(contact)
        self._pump()

    def on_store_failed(self, contact: Contact) -> None:
        """No answer came, or none that can be one."""
        if not self._done.is_set():
            self._checked.discard(contact)
            if not self._has_moved(contact):
                self.shortlist.on_failed(contact.id)
            self._pump()

    def go_on(self) -> None:
        """Something has changed of what is to be stored."""
        self._pump()

    # Deadlines, and values that were promised ------------------------------------------------------------------------

    def _overdue(self, contact: Contact) -> None:
        promises = self._promises()
        if contact in promises:
            self._on_late_promise(contact, promises)
        else:
            self._free(contact)

    def _on_late_promise(self, contact: Contact, promises: dict[Contact, Pending[Message]]) -> None:
        """A value that was promised has not come soon: it may be large, or there may be none."""
        if self._is_agreed(promises):
            # There is one. So it keeps its place for as long as any answer may take, and nobody else need send it too.
            free = functools.partial(self._free, contact)
            self._look_later(promises[contact], self._requests.settings.deadline, free)
            return
        self._look_later(promises[contact], PROMISE_PATIENCE, self._pump)
        if not self._has_moved(contact):
            self.shortlist.on_overdue(contact.id)
        if self._is_narrow:
            self._ask_one()
        self._pump()

    def _free(self, contact: Contact) -> None:
        """The lookup goes on without it."""
        self._is_narrow = False
        self._checked.discard(contact)
        if not self._has_moved(contact):
            self.shortlist.on_overdue(contact.id)
        self._pump()

    def _look_later(self, pending: Pending[Message], after: float, look: Callable[[], None]) -> None:
        self._requests.deadlines.set((pending.promised_at or 0.0) + after, look, awaited=pending)

    def _failed(self, contact: Contact) -> None:
        self._is_narrow = False
        self._open.pop(contact, None)
        self._checked.discard(contact)
        if not self._has_moved(contact):
            self.shortlist.on_failed(contact.id)
        self._pump()

    def _has_moved(self, contact: Contact) -> bool:
        """Whether the node is asked at another endpoint by now."""
        return self.shortlist.endpoint(contact.id) != contact.endpoint
