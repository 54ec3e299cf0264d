"""Requests to classic nodes and their answers: sessions, deadlines, retransmission, and the classic routing table.

Rules of this file: sending a request is a plain call; its answer and its deadlines come back as plain calls, which
return at once. An answer counts only if its session is one that is waited for and it comes from the address that was
asked. It shows that a node receives there, and nothing of which node that is: a contact keeps its seat while it
answers, whatever other address speaks under its id. No deadline starts a task. Source of the timeout: RFC 6298.
"""

from __future__ import annotations

import functools
import random
from collections import Counter
from collections.abc import Callable
from typing import Final, get_args

import attrs

from camomile_trio.alarm import Clock
from camomile_trio.classic.addresses import Address, Addresses
from camomile_trio.config import Requests as Settings
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import NodeId
from camomile_trio.kademlia.routing import RoutingTable
from camomile_trio.peer.deadlines import Deadlines
from camomile_trio.wire.classic import (
    CHALLENGE_BYTES,
    SESSION_BYTES,
    FindNode,
    FindValue,
    Message,
    NodeList,
    Packet,
    Ping,
    Pong,
    Value,
    encode,
)

PINGED_AGAIN_AFTER: Final = 60.0  # seconds; a ping for every request of a stranger would double the traffic
# How soon a member may be pinged again, in seconds, where its seat depends on it.
CHECKED_AGAIN_AFTER: Final = 5.0
# One in so many of the requests under way may be a ping to a stranger that spoke first: strangers may have any number
# of addresses.
SHARE_OF_STRANGERS: Final = 8
PING_BYTES: Final = 104  # of a ping, in each of its two transmissions

_ANSWERS: dict[type, type] = {Ping: Pong, FindNode: NodeList, FindValue: Value}

# The names of messages in snake case, for counters.
KINDS: dict[type, str] = {
    each: "".join("_" + letter.lower() if letter.isupper() else letter for letter in each.__name__).lstrip("_")
    for each in get_args(Message)
}


@attrs.define
class Statistics:
    """Counters since the start, by kind of message or by reason."""

    requests: Counter[str] = attrs.field(factory=Counter)
    answered: Counter[str] = attrs.field(factory=Counter)
    failed: Counter[str] = attrs.field(factory=Counter)
    received: Counter[str] = attrs.field(factory=Counter)
    dropped: Counter[str] = attrs.field(factory=Counter)


@attrs.define(eq=False)
class Pending:
    """One request under way. `detach` when its caller waits no more: its answer still teaches us about the peer."""

    endpoint: Endpoint
    node: NodeId | None  # which node is asked; None for whichever lives there
    address: Address
    session: bytes
    message: Message
    datagram: bytes
    sent_at: float
    is_suspect: bool  # the address has been silent lately: the caller should not wait for it
    on_reply: Callable[[Contact, Message], None] | None
    on_overdue: Callable[[], None] | None
    on_failed: Callable[[], None] | None
    resent: bool = False  # so its answer tells no round trip
    done: bool = False

    def detach(self) -> None:
        self.on_reply = self.on_overdue = self.on_failed = None


class ClassicRequests:
    """The requests of one node to classic ones, and the table that their answers fill."""

    def __init__(
        self,
        *,
        table: RoutingTable,
        send: Callable[[bytes, Endpoint], object],
        settings: Settings,
        rng: random.Random,
        clock: Clock,
        may_contact: Callable[[Endpoint], bool],
    ) -> None:
        self.table = table
        self.clock = clock
        self.addresses = Addresses(settings)
        self.deadlines = Deadlines(clock)
        self.statistics = Statistics()
        self.strangers = 0  # pings under way to nodes that spoke first
        self._send = send
        self._settings = settings
        self._rng = rng
        self._may_contact = may_contact
        self._pending: dict[bytes, Pending] = {}

    def __len__(self) -> int:
        """How many are under way."""
        return len(self._pending)

    def request(
        self,
        endpoint: Endpoint,
        message: Ping | FindNode | FindValue,
        *,
        node: NodeId | None,
        on_reply: Callable[[Contact, Message], None] | None = None,
        on_overdue: Callable[[], None] | None = None,
        on_failed: Callable[[], None] | None = None,
        is_named: bool = False,
    ) -> Pending | None:
        """Sends a request now. Exactly one of `on_reply` and `on_failed` is called later, and `on_overdue` before, once
        at most, after one retransmission timeout. None, and no call, if it may not be sent: too many are under way, the
        address is one that is not spoken classic with, or it has not answered two requests of this minute (`is_named`
        lifts that, for addresses that the operator gave)."""
        now = self.clock()
        if len(self._pending) >= self._settings.max_pending:
            self.statistics.dropped["too_many_pending"] += 1
            return None
        if not self._may_contact(endpoint):
            self.statistics.dropped["not_contacted"] += 1
            return None
        address = self.addresses.get(endpoint)
        if not (address.has_answered or is_named or address.may_ask_first(now)):
            self.statistics.dropped["too_many_first_requests"] += 1
            return None
        session = self._rng.randbytes(SESSION_BYTES)
        datagram = encode(Packet(session, self.table.own, message))
        path = address.path
        pending = Pending(
            endpoint,
            node,
            address,
            session,
            message,
            datagram,
            now,
            path.is_suspect(now),
            on_reply,
            on_overdue,
            on_failed,
        )
        self._pending[session] = pending
        self.statistics.requests[KINDS[type(message)]] += 1
        self._send(datagram, endpoint)
        fails_at = now + self._settings.deadline
        self._call_at(now + path.rto, self._overdue, pending)
        if now + path.resend_after < fails_at:
            self._call_at(now + path.resend_after, self._resend, pending)
        self._call_at(fails_at, self._missed, pending)
        return pending

    def tell(self, endpoint: Endpoint, message: Message) -> None:
        """Sends what no classic node answers."""
        self.statistics.requests[KINDS[type(message)]] += 1
        self._send(encode(Packet(self._rng.randbytes(SESSION_BYTES), self.table.own, message)), endpoint)

    def ping(
        self,
        contact: Contact,
        *,
        again_after: float = PINGED_AGAIN_AFTER,
        is_stranger: bool = False,
        on_alive: Callable[[], object] | None = None,
        on_failed: Callable[[], object] | None = None,
    ) -> int:
        """Asks whether the contact is there; its answer lets it into the table, and a member that is silent may lose
        its seat, unless `on_failed` does something else.

        Not more often than every `again_after` seconds, and not while another ping to the address is under way. Returns
        how many bytes this may send, a retransmission included. `is_stranger`: it spoke first.
        """
        now = self.clock()
        address = self.addresses.get(contact.endpoint)
        if address.is_pinged or now - address.pinged_at < again_after:
            return 0
        if is_stranger and self.strangers >= self._settings.max_pending // SHARE_OF_STRANGERS:
            self.statistics.dropped["too_many_strangers"] += 1
            return 0

        def on_end() -> None:
            address.is_pinged = False
            self.strangers -= is_stranger

        def on_reply(contact: Contact, message: Message) -> None:
            on_end()
            if on_alive is not None:
                on_alive()

        def on_no_answer() -> None:
            on_end()
            if on_failed is not None:
                on_failed()
            else:
                self._silent(contact, now)

        question = Ping(self._rng.randbytes(CHALLENGE_BYTES))
        ping = self.request(contact.endpoint, question, node=contact.id, on_reply=on_reply, on_failed=on_no_answer)
        if ping is None:
            return 0
        address.is_pinged, address.pinged_at = True, now
        self.strangers += is_stranger
        return 2 * PING_BYTES

    def on_answer(self, packet: Packet, source: Endpoint) -> None:
        """An answer has come: it is matched, or dropped and counted."""
        pending = self._pending.get(packet.session)
        dropped = self.statistics.dropped
        if pending is None:
            dropped["unknown_session"] += 1
        elif source != pending.endpoint:
            dropped["wrong_endpoint"] += 1
        elif not isinstance(packet.message, _ANSWERS[type(pending.message)]):
            dropped["wrong_answer"] += 1
        elif isinstance(pending.message, Ping) and packet.message != Pong(pending.message.challenge):
            dropped["wrong_challenge"] += 1
        elif packet.sender == self.table.own:
            dropped["from_ourselves"] += 1
            self._fail(pending)
        else:
            self._complete(pending, packet)

    def on_own_request(self, session: bytes) -> None:
        """A request came in under our own id. If it is one of ours, an address of our own was taken for a peer's."""
        pending = self._pending.get(session)
        if pending is not None:
            self._fail(pending)

    def forget(self, endpoint: Endpoint) -> None:
        """No classic node lives there: it leaves the table, and requests to it have failed."""
        for pending in [each for each in self._pending.values() if each.endpoint == endpoint]:
            self._fail(pending)
        for bucket in self.table.buckets():
            for contact in (*bucket.contacts, *bucket.replacements):
                if contact.endpoint == endpoint:
                    self.table.discard(contact.id)
        self.addresses.forget(endpoint)

    # What becomes of a request ---------------------------------------------------------------------------------------

    def _call_at(self, time: float, call: Callable[[Pending], None], pending: Pending) -> None:
        self.deadlines.set(time, functools.partial(call, pending), awaited=pending)

    def _overdue(self, pending: Pending) -> None:
        pending.address.path.on_overdue(pending.sent_at, self.clock())
        if pending.on_overdue is not None:
            pending.on_overdue()

    def _resend(self, pending: Pending) -> None:
        pending.resent = True
        pending.address.path.on_retransmitted()
        self._send(pending.datagram, pending.endpoint)

    def _missed(self, pending: Pending) -> None:
        pending.address.path.on_missed(self.clock())
        if pending.node is not None and not isinstance(pending.message, Ping):
            contact = Contact(pending.node, pending.endpoint)
            if self.table.get(contact.id) == contact:
                # One request may have been lost, or sent while this node was offline: a ping decides about its seat.
                self.ping(contact, again_after=CHECKED_AGAIN_AFTER)
        self._fail(pending)

    def _silent(self, contact: Contact, asked_at: float) -> None:
        """It has not answered a ping. A member loses its seat if another node answers: else it may be this node that is
        offline. If none has answered since, one is asked to."""

        def give_up() -> bool:
            return self.table.on_failure(contact.id, contact.endpoint, asked_at=asked_at, now=self.clock())

        if give_up() or self.table.get(contact.id) != contact:
            return
        others = [each for each in self.table if each.id != contact.id]
        if others:
            witness = self._rng.choice(others)
            self.ping(witness, again_after=CHECKED_AGAIN_AFTER, on_alive=give_up, on_failed=lambda: None)

    def _fail(self, pending: Pending) -> None:
        self._end(pending)
        self.statistics.failed[KINDS[type(pending.message)]] += 1
        if pending.on_failed is not None:
            pending.on_failed()

    def _complete(self, pending: Pending, packet: Packet) -> None:
        now = self.clock()
        contact = Contact(packet.sender, pending.endpoint)
        self.addresses.on_answer(pending.endpoint, now, None if pending.resent else now - pending.sent_at)
        self._learn(contact, now)
        if pending.node not in (None, packet.sender):
            # Another node lives there now.
            self.statistics.dropped["wrong_sender"] += 1
            if self.table.get(pending.node) == Contact(pending.node, pending.endpoint):
                self.table.discard(pending.node)
            self._fail(pending)
            return
        self._end(pending)
        self.statistics.answered[KINDS[type(pending.message)]] += 1
        if pending.on_reply is not None:
            pending.on_reply(contact, packet.message)

    def _end(self, pending: Pending) -> None:
        pending.done = True
        del self._pending[pending.session]

    def _learn(self, contact: Contact, now: float) -> None:
        """A node has answered under this id: it gets a seat, if there is one for it."""
        known = self.table.get(contact.id)
        if known is not None and known.endpoint != contact.endpoint:
            if self.addresses.is_answering(known.endpoint):
                ask_again = functools.partial(self.ping, contact, again_after=0.0)
                self.ping(known, again_after=CHECKED_AGAIN_AFTER, on_failed=ask_again)
                return
            self.table.discard(known.id)
        check = self.table.on_answer(contact, now)
        if check is not None:
            self.ping(check, again_after=CHECKED_AGAIN_AFTER)
