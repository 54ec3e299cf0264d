"""Requests to peers and their answers: sealed, or in an initiation; sent again, overdue, failed; over a stream.

Rules of this file: sending a request is a plain call; its answer and its deadlines come back as plain calls, in the
task that received or timed them, and must return at once. An answer counts if the peer that was asked sealed it and its
number is under way, in whichever of its sessions. There is one task for all deadlines, and one for each message that
travels over a stream; none for a datagram. What a request *means* is the business of the codec and of its caller.
Source: docs/protocol.md, Requests; RFC 6298.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Final, Generic

import attrs
import trio

from camomile_trio.alarm import Clock
from camomile_trio.config import Requests as Settings
from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.networks import party
from camomile_trio.peer.deadlines import Deadlines
from camomile_trio.peer.decisions import Reply, Responded
from camomile_trio.peer.endpoints import Endpoints
from camomile_trio.peer.exchanges import NO_STREAM_FREE, VERY_LARGE, Exchanges
from camomile_trio.peer.gathering import Gathering
from camomile_trio.peer.hellos import Hellos
from camomile_trio.peer.packets import MOST_INNER, MOST_REQUEST, SEALED_DATAGRAM_OVERHEAD, About, initiation_bytes
from camomile_trio.peer.paths import MISSED_FOR, SURELY_PASSES, Path, Paths
from camomile_trio.peer.pending import GREATEST_NUMBER, Handshake, Handshakes, Pending, PendingRequests
from camomile_trio.peer.renewals import Renewals
from camomile_trio.peer.seams import Answer, Codec, Hooks, Link, M
from camomile_trio.peer.session import Session
from camomile_trio.peer.sessions import Sessions
from camomile_trio.peer.table import Peer
from camomile_trio.peer.tellers import Tellers

PADDED_BYTES: Final = 420  # what an initiation weighs whose answer may be large: three times as much hold a full one


@attrs.define
class RequestStatistics:
    """Counters since the start, by kind of message or by reason. Sessions count what they drop."""

    requests: Counter[str] = attrs.field(factory=Counter)
    answered: Counter[str] = attrs.field(factory=Counter)
    failed: Counter[str] = attrs.field(factory=Counter)
    received: Counter[str] = attrs.field(factory=Counter)
    dropped: Counter[str] = attrs.field(factory=Counter)
    retransmitted: int = 0
    initiated: int = 0  # handshakes that this node began
    renewed: int = 0  # of these, for a session that is due for a new one


class Requests(Generic[M]):
    """The requests of one node."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        codec: Codec[M],
        link: Link,
        hooks: Hooks[M],
        settings: Settings,
        wall_ms: Callable[[], int],
        clock: Clock = trio.current_time,
    ) -> None:
        self.sessions = sessions
        self._local = sessions.local
        self.codec = codec
        self.link = link
        self.hooks = hooks
        self.settings = settings
        self.wall_ms = wall_ms
        self.clock = clock
        self.deadlines = Deadlines(clock)
        self.paths = Paths(settings)
        self.endpoints = Endpoints(settings.max_peers)
        self.statistics = RequestStatistics()
        self._peers = sessions.table.peers
        self._tellers = Tellers(self._peers)
        self._pending = PendingRequests[M](settings.max_pending)
        self._gathering = Gathering[M](self._leave)
        self._handshakes = Handshakes[M]()
        self.hellos = Hellos(sessions.initiator, self._tellers, link, settings, clock)
        self.exchanges = Exchanges(codec, link, settings)
        self._renewals = Renewals(sessions, self._renew, self.deadlines, clock, sessions.local.rng)
        self._to_confirm = b""  # the peer whose handshake is being completed: the next packet to it confirms
        self._nursery: trio.Nursery | None = None

    @property
    def pending(self) -> int:
        """Requests under way."""
        return len(self._pending)

    @property
    def gathered(self) -> tuple[int, int]:
        """How many requests were gathered so far, and in how many groups they left, each to one peer."""
        return self._gathering.requests, self._gathering.groups

    @property
    def handshakes(self) -> int:
        """Handshakes of ours under way."""
        return len(self._handshakes)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The deadlines' task, and the parent of the messages over streams."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await self.deadlines.run()
            finally:
                self._nursery = None

    # Asking ----------------------------------------------------------------------------------------------------------

    def request(
        self,
        contact: Contact,
        message: M,
        *,
        on_reply: Callable[[Answer[M]], None] | None = None,
        on_overdue: Callable[[], None] | None = None,
        on_failed: Callable[[], None] | None = None,
        told_by: tuple[Contact, ...] = (),
        only_there: bool = False,
        may_gather: bool = False,
    ) -> Pending[M] | None:
        """Sends a request now, or as soon as there is a session. Exactly one of `on_reply` and `on_failed` is called
        later, `on_overdue` before at most once. None, and no call, if it may not be sent: too much is under way, the
        key is no node's or our own, a peer that was never met has been silent and may not be tried again so soon, or
        those that named it have had other keys tried at its address (`endpoints`) or cannot pay (`tellers`).

        `told_by`: by the word of these peers alone the address is known. The first of them that can pays, and a first
        answer from there is kept short. `only_there`: at this very address, by a handshake where the peer's session is
        not there. `may_gather`: it may wait for a few passes of the event loop for requests of others to the same peer
        (`gathering.py`); its times begin when it leaves.
        """
        public, under_way = contact.public, self._pending
        if len(under_way.by_number) >= under_way.most:
            self.statistics.dropped["too_many_pending"] += 1
            return None
        now = self.clock()
        peer = self._peers.get(public)
        session = peer.current if peer is not None else None
        if session is not None and not (only_there and session.endpoint != contact.endpoint):
            path = session.path
            if path is None or not path.is_kept:
                path = session.path = self.paths.get(session.contact)
            path.was_used = True
        elif public == self._local.static.public:
            self.statistics.dropped["own_key"] += 1
            return None
        else:
            session, path = None, self.paths.get(contact)
        number = under_way.new_number()
        is_very_large = message.may_be_long and self.codec.least_size(message) > VERY_LARGE
        inner = b"" if is_very_large else self.codec.encode(number, message, self._local.flags)
        deadline, rto = self.settings.deadline, path.rto
        pending = Pending(
            contact=contact,
            path=path,
            number=number,
            message=message,
            inner=inner,
            asked_at=now,
            deadline_at=now + deadline,
            overdue_at=now + min(rto, deadline),
            told_by=told_by,
            only_there=only_there,
            is_suspect=now - path.missed_at < MISSED_FOR,
            on_reply=on_reply,
            on_overdue=on_overdue,
            on_failed=on_failed,
        )
        under_way.by_number[number] = pending
        if not 0 < len(inner) <= MOST_INNER or (now < path.narrow_until and self._is_narrow_for(pending)):
            is_under_way = self._start_stream(pending)
        elif may_gather and session is not None and self._nursery is not None:
            self._gathering.add(pending, self._nursery)
            self.statistics.requests[message.label] += 1
            return pending
        elif peer is None or session is None or not self._transmit(pending, peer, session, now):
            is_under_way = self._initiate(pending)
        else:
            is_under_way = True
            if public in self._handshakes.by_peer:
                self._wait_beside(pending)
        if not is_under_way:
            under_way.remove(pending)
            return None
        self.statistics.requests[message.label] += 1
        self._schedule(pending)
        return pending

    async def ask(self, contact: Contact, message: M, *, only_there: bool = False) -> Answer[M] | None:
        """Sends a request and waits for its answer; None when there is none. For the rare ones: each has a waiter."""
        answers: list[Answer[M]] = []
        done = trio.Event()

        def on_reply(answer: Answer[M]) -> None:
            answers.append(answer)
            done.set()

        pending = self.request(contact, message, on_reply=on_reply, on_failed=done.set, only_there=only_there)
        if pending is None:
            return None
        try:
            await done.wait()
        finally:
            pending.detach()
        return answers[0] if answers else None

    def tell(self, contact: Contact, message: M) -> bool:
        """Sends a message that has no answer. False: it was not sent, since there is no session with the peer."""
        if not self.seal(contact.public, self.codec.encode(0, message, self._local.flags)):
            self.statistics.dropped["no_session"] += 1
            return False
        self.statistics.requests[message.label] += 1
        return True

    def has_session(self, public: bytes) -> bool:
        """Whether there is a confirmed session with this peer, at whatever address."""
        peer = self._peers.get(public)
        return peer is not None and peer.current is not None

    def reached(self, contact: Contact) -> Contact:
        """The peer at the address of its session, where requests to it go; if it has none, where it is named."""
        peer = self._peers.get(contact.public)
        return contact if peer is None or peer.current is None else peer.current.contact

    def path(self, contact: Contact) -> Path | None:
        """What is remembered of the way that requests to it go."""
        peer = self._peers.get(contact.public)
        session = peer.current if peer is not None else None
        if session is None:
            return self.paths.known(contact)
        path = session.path
        return path if path is not None and path.is_kept else self.paths.known(session.contact)

    def can_pay(self, contact: Contact, message: M, told_by: tuple[Contact, ...]) -> bool:
        """Whether those that named a contact can pay for a request to it now, or need not. If not, it is counted."""
        if not told_by or self.has_session(contact.public):
            return True
        if not self._tellers.is_to_pay(self.paths.known(contact), told_by, contact.endpoint, self.clock()):
            return True
        size = initiation_bytes(self.codec.encode(GREATEST_NUMBER, message, 0xFF), self._local.advertised, 0)
        if self._tellers.can_pay(told_by, size):
            return True
        self.statistics.dropped["teller_without_credit"] += 1
        return False

    def on_named_by_operator(self, public: bytes) -> None:
        """The operator has named this peer, which has answered: it may name the first nodes that this node meets."""
        self._tellers.allow(public)

    def fits_datagram(self, message: M) -> bool:
        """Whether it goes by a datagram, whatever its number and flags are; else it takes a stream."""
        if self.codec.least_size(message) > MOST_INNER:
            return False
        return len(self.codec.encode(GREATEST_NUMBER, message, 0xFF)) <= MOST_INNER

    def seal(self, public: bytes, inner: bytes) -> bool:
        """Sends an inner packet to a peer, at the address of its session. False: there is none."""
        peer = self._peers.get(public)
        session = peer.current if peer is not None else None
        return peer is not None and session is not None and self.send_sealed(peer, session, inner, self.clock())

    def send_sealed(self, peer: Peer, session: Session, inner: bytes, now: float) -> bool:
        """The same by the peer's current session. False: it seals no more."""
        datagram = session.seal(self._local.suite, inner)
        if datagram is None:
            return False
        if not peer.is_member:
            self.sessions.table.use(peer)
        if peer.public == self._to_confirm:
            self._to_confirm = b""
        self.link.send(datagram, session.endpoint)
        if now >= session.renew_at and self.sessions.may_renew(peer, now):
            self._renew(session.contact)
        return True

    def _is_narrow_for(self, pending: Pending[M]) -> bool:
        has_large_answer = self.codec.may_have_large_answer(pending.message)
        return pending.path.is_narrow_for(_datagram_bytes(pending.inner), has_large_answer, pending.asked_at)

    def _leave(self, pending: Pending[M]) -> None:
        """It was gathered with others, and leaves now."""
        if pending.done:
            return  # the peer has answered what it was not asked
        self._send(pending)
        if pending.contact.public in self._handshakes.by_peer:
            self._wait_beside(pending)
        self._schedule(pending)

    def _wait_beside(self, pending: Pending[M]) -> None:
        """It was sent to a peer that is silent: it leaves again as soon as a handshake there finds the peer back."""
        handshake = self._handshakes.get(pending.contact)
        if handshake is not None and not handshake.is_renewal:
            handshake.add(pending)

    def _new_ping(self, contact: Contact) -> Pending[M]:
        """One that begins a handshake for what may not."""
        now, ping = self.clock(), self.codec.ping()
        path, number = self.paths.get(self.reached(contact)), self._pending.new_number()
        pending = Pending(
            contact=contact,
            path=path,
            number=number,
            message=ping,
            inner=self.codec.encode(number, ping, self._local.flags),
            asked_at=now,
            deadline_at=now + self.settings.deadline,
            overdue_at=now + min(path.rto, self.settings.deadline),
            is_background=True,
        )
        self._pending.by_number[number] = pending
        return pending

    # Deadlines -------------------------------------------------------------------------------------------------------

    def _schedule(self, pending: Pending[M]) -> None:
        due = min(pending.overdue_at, pending.next_at)
        due = min(due, pending.deadline_at)
        if due < pending.timer_at and not pending.done:
            pending.timer_at = due
            self.deadlines.set(due, self._on_time, pending, awaited=pending)

    def _on_time(self, pending: Pending[M]) -> None:
        pending.timer_at = math.inf
        now = self.clock()
        if now >= pending.deadline_at:
            self._fail(pending)
            return
        if now >= pending.overdue_at:
            self._become_overdue(pending, now)
        if now >= pending.next_at and not pending.done:
            self._go_on(pending)
        self._schedule(pending)

    def _become_overdue(self, pending: Pending[M], now: float) -> None:
        pending.overdue_at = math.inf
        if pending.sent_at is not None and not (pending.by_stream or pending.is_background):
            pending.path.on_overdue(pending.sent_at, now)
        if pending.on_overdue is not None:
            pending.on_overdue()

    def _go_on(self, pending: Pending[M]) -> None:
        """It was not sent, or its last transmission is overdue."""
        pending.next_at = math.inf
        if not pending.resent:
            self._send(pending)
        elif not (
            self._may_be_lost(pending) and self._has_been_heard(pending) and self._start_stream(pending, unheard=True)
        ):
            self._initiate(pending)
        self._schedule(pending)

    def _may_be_lost(self, pending: Pending[M]) -> bool:
        """Whether it, or its answer, may be lost for its size."""
        return self.codec.may_have_large_answer(pending.message) or _datagram_bytes(pending.inner) > SURELY_PASSES

    def _has_been_heard(self, pending: Pending[M]) -> bool:
        """Whether anything authentic came from the peer since this was sent: then smaller datagrams pass."""
        peer = self._peers.get(pending.contact.public)
        return peer is not None and pending.sent_at is not None and peer.heard_at > pending.sent_at

    def _send(self, pending: Pending[M]) -> bool:
        """By the peer's session where it should go, else by a handshake. False: neither may be, or it would be too
        late."""
        contact = pending.contact
        peer = self._peers.get(contact.public)
        session = peer.current if peer is not None else None
        if peer is None or session is None or (pending.only_there and session.endpoint != contact.endpoint):
            return self._initiate(pending)
        return self._transmit(pending, peer, session, self.clock()) or self._initiate(pending)

    def _transmit(self, pending: Pending[M], peer: Peer, session: Session, now: float) -> bool:
        """By the peer's session, for the first time or once more. False: it seals no more."""
        if not self.send_sealed(peer, session, pending.inner, now):
            return False
        path = pending.path
        if pending.sent_at is None:
            pending.sent_at = now
            pending.next_at = now + (path.rto if path.backoff == 1 else path.resend_after)
            if pending.overdue_at < math.inf:
                pending.overdue_at = now + path.rto
        else:
            pending.resent = True
            self.statistics.retransmitted += 1
            path.on_retransmitted()
            pending.next_at = now + path.rto
        return True

    def _fail(self, pending: Pending[M], why: str = "") -> None:
        if pending.done:
            return
        self._pending.remove(pending)
        self.statistics.failed[pending.message.label] += 1
        if pending.by_stream and not pending.is_unheard:
            self.hooks.on_stream_failed(pending.contact, why)
        elif pending.sent_at is None:
            self.statistics.dropped["never_sent"] += 1
        elif not pending.is_background:
            pending.path.on_missed(self.clock())
            self.hooks.on_missed(pending.contact, pending.asked_at)
        if pending.on_failed is not None:
            pending.on_failed()

    # Handshakes ------------------------------------------------------------------------------------------------------

    def _initiate(self, pending: Pending[M]) -> bool:
        """By a handshake at the contact's address: the one under way, or a new one as soon as it may leave.

        False: it finds no place to wait, or may not leave before the deadline.
        """
        contact, now = pending.contact, self.clock()
        at = self.sessions.initiator.may_initiate_at(contact.public, contact.endpoint)
        handshake = self._handshakes.get(contact)
        if pending.sent_at is None and at >= pending.deadline_at and (handshake is None or handshake.resent):
            self.statistics.dropped["too_soon"] += 1
            return False
        if handshake is not None:
            if handshake.add(pending):
                return True
            self.statistics.dropped["too_many_waiting"] += 1
            return False
        if at <= now:
            return self._begin(pending)
        pending.next_at = at
        return True

    def _begin(self, pending: Pending[M], *, is_renewal: bool = False) -> bool:
        contact, told_by, codec, now = pending.contact, pending.told_by, self.codec, self.clock()
        if self._handshakes.is_full:
            self.statistics.dropped["too_many_handshakes"] += 1
            return False
        if not self._may_try(contact, told_by):
            self.statistics.dropped["too_many_keys_there"] += 1
            return False
        carrier = pending
        # It, or the answer to the request before, may have been lost for its size: a ping passes everywhere.
        may_be_lost = (pending.resent or pending.is_suspect) and self._may_be_lost(pending)
        if not codec.may_begin(pending.message) or len(pending.inner) > MOST_REQUEST or may_be_lost:
            carrier = self._new_ping(contact)
        is_padded = not told_by and codec.may_have_large_answer(carrier.message)
        datagram = self._initiation(carrier, told_by, PADDED_BYTES if is_padded else 0)
        if datagram is None:
            if carrier is not pending:
                self._pending.remove(carrier)
            return False
        handshake = Handshake(contact, told_by, carrier, is_renewal, now)
        self._handshakes.add(handshake)
        if carrier is not pending:
            handshake.add(pending)
        if carrier.sent_at is None:
            carrier.sent_at = now
        else:
            carrier.resent = True
        self._schedule(carrier)
        self.statistics.initiated += 1
        self.link.send(datagram, contact.endpoint)
        self._time_handshake(handshake, now + pending.path.resend_after)
        return True

    def _may_try(self, contact: Contact, told_by: tuple[Contact, ...]) -> bool:
        """Whether a handshake with this key may be begun there, for all that the peer that named it has had tried."""
        if not told_by:
            return True
        path, now = self.paths.known(contact), self.clock()
        if path is not None and path.answered_at > -math.inf:
            return True
        for teller in told_by:
            of = party(teller.endpoint.ip, teller.public)
            if self.endpoints.try_key(contact.endpoint, contact.public, of, now):
                return True
        return False

    def _initiation(self, carrier: Pending[M], told_by: tuple[Contact, ...], padded_to: int) -> bytes | None:
        """The datagram; None, and counted, if no node can have the key, or nobody has paid for it."""
        contact, request, now = carrier.contact, carrier.inner, self.clock()
        if told_by:
            size = initiation_bytes(request, self._local.advertised, padded_to)
            if not self._is_paid(contact, told_by, size):
                return None
        initiate = self.sessions.initiator.initiate
        try:
            return initiate(contact.public, contact.endpoint, request, now, self.wall_ms(), padded_to)
        except MalformedPacket as error:
            self.statistics.dropped[error.reason] += 1
            return None

    def _is_paid(self, contact: Contact, told_by: tuple[Contact, ...], size: int) -> bool:
        if self._tellers.pay(self.paths.get(contact), told_by, contact.endpoint, size, self.clock()):
            return True
        self.statistics.dropped["teller_without_credit"] += 1
        return False

    def renew_sessions(self) -> None:
        """Renews all sessions that are under a former network key, within a minute. Meanwhile they go on."""
        self._renewals.begin()

    def _renew(self, contact: Contact) -> None:
        if self._handshakes.of_peer(contact.public):
            return
        ping = self._new_ping(contact)
        if self._begin(ping, is_renewal=True):
            self.statistics.renewed += 1
        else:
            self._pending.remove(ping)

    def _time_handshake(self, handshake: Handshake[M], due: float) -> None:
        handshake.timer_at = due
        self.deadlines.set(due, self._on_handshake_time, handshake, awaited=handshake)

    def _on_handshake_time(self, handshake: Handshake[M]) -> None:
        contact, path, now = handshake.contact, handshake.carrier.path, self.clock()
        if now < handshake.timer_at:
            return
        initiator = self.sessions.initiator
        if not handshake.resent:
            handshake.resent = handshake.carrier.resent = True
            datagram = initiator.retransmission(contact.public, contact.endpoint)
            told_by = handshake.told_by
            if datagram is not None and (not told_by or self._is_paid(contact, told_by, len(datagram))):
                self.statistics.retransmitted += 1
                path.on_retransmitted()
                self.link.send(datagram, contact.endpoint)
            may_initiate_at = initiator.may_initiate_at(contact.public, contact.endpoint)
            self._time_handshake(handshake, max(now + path.rto, may_initiate_at))
            return
        left = self._handshakes.remove(handshake)
        for pending in left:
            # A request to a peer that was never met there makes one initiation; those that waited make the next.
            if pending is not handshake.carrier or self._has_session_at(contact):
                self._go_on(pending)

    def _has_session_at(self, contact: Contact) -> bool:
        peer = self._peers.get(contact.public)
        return peer is not None and peer.current is not None and peer.current.endpoint == contact.endpoint

    def on_reply_due(self, reply: Reply, source: Endpoint) -> None:
        """`Sessions` answers a datagram by itself. If that begins a handshake of ours anew, its time begins anew."""
        self.link.send(reply.datagram, source)
        if reply.why == "with_cookie":
            now = self.clock()
            for handshake in self._handshakes.at(source):
                handshake.carrier.resent = True
                if not handshake.resent:
                    self._time_handshake(handshake, now + handshake.carrier.path.resend_after)

    def on_responded(self, responded: Responded, answer: tuple[int, M, int] | None, size: int) -> None:
        """A handshake of ours is complete. `answer` is the one to its first request, if there was a good one."""
        contact = responded.contact
        handshakes = self._handshakes.of_peer(contact.public)  # and none that the calls below begin
        self._to_confirm = contact.public
        self._tellers.give_back(self.paths.get(contact))
        self.endpoints.on_session(contact.endpoint)
        if responded.is_copied:
            self.hooks.on_copied_key(contact)
        self.hooks.on_responded(contact, responded.about)
        # Before the answer: what is asked because of it leaves by the session, and not once more with these.
        waiting = [pending for handshake in handshakes for pending in self._handshakes.remove(handshake)]
        if answer is not None:
            self._on_first_answer(contact, *answer, size)
        for pending in waiting:
            if not pending.done:
                self._release(pending)
        if self._to_confirm:
            self.seal(contact.public, b"")
            self._to_confirm = b""

    def on_confirmed(self, contact: Contact, about: About, *, is_copied: bool) -> None:
        """A handshake of the peer is complete. What waits for one of ours need not wait any more."""
        handshakes = self._handshakes.of_peer(contact.public)  # and none that the calls below begin
        self.endpoints.on_session(contact.endpoint)
        self._tellers.give_back(self.paths.on_answer(contact, self.clock(), None, about.flags))
        if is_copied:
            self.hooks.on_copied_key(contact)
        self.hooks.on_confirmed(contact, about)
        for handshake in handshakes:
            for pending in self._handshakes.remove(handshake):
                if pending is handshake.carrier and not pending.resent:
                    # Both began at once: the peer may have it, and answer it.
                    pending.next_at = handshake.sent_at + pending.path.resend_after
                    self._schedule(pending)
                elif pending.sent_at is None:
                    self._release(pending)
        for pending in self._pending.of_peer(contact.public):
            if pending.resent:
                self._release(pending)  # the peer may have restarted, and may not have opened it

    def _release(self, pending: Pending[M]) -> None:
        """There is a session for a request that waited for one."""
        if not pending.by_stream:
            self._send(pending)
            self._schedule(pending)

    # Answers ---------------------------------------------------------------------------------------------------------

    def on_answer(self, session: Session, number: int, message: M, flags: int, size: int, now: float) -> None:
        """An answer came by a sealed datagram of `size` bytes: matched, or dropped and counted."""
        pending = self._pending.by_number.get(number)
        if pending is None or pending.contact.public != session.peer:
            self.statistics.dropped["unknown_number"] += 1
        elif message.label != pending.message.answered_by:
            self._on_other_answer(pending, session.contact, message, flags, size)
        else:
            path = session.path
            if path is None or not path.is_kept or path.answered_at == -math.inf:
                path = session.path = self.paths.answered(session.contact)
            self._complete(pending, session.contact, path, message, flags, size, now)

    def _on_first_answer(self, contact: Contact, number: int, message: M, flags: int, size: int) -> None:
        """The same in a response, of which the session has just been made."""
        pending = self._match(contact, number, message)
        if pending is not None and message.label != pending.message.answered_by:
            self._on_other_answer(pending, contact, message, flags, size, in_response=True)
        elif pending is not None:
            self._complete(pending, contact, self.paths.answered(contact), message, flags, size, self.clock())

    def _match(self, contact: Contact, number: int, message: M) -> Pending[M] | None:
        """The request of this number to this peer that it may answer, be it by saying that the answer is too large."""
        pending = self._pending.by_number.get(number)
        if pending is None or pending.contact.public != contact.public:
            self.statistics.dropped["unknown_number"] += 1
        elif not self.codec.is_answer_to(message, pending.message):
            self.statistics.dropped["wrong_answer"] += 1
        else:
            return pending
        return None

    def _on_other_answer(
        self, pending: Pending[M], contact: Contact, message: M, flags: int, size: int, *, in_response: bool = False
    ) -> None:
        """It is not the true answer: that is too large for where it was asked, or this is none to the request."""
        large, now = self.codec.too_large(message), self.clock()
        if large is None or not self.codec.is_answer_to(message, pending.message):
            self.statistics.dropped["wrong_answer"] += 1
        elif pending.by_stream:
            self.statistics.dropped["doubled_answer"] += 1
        else:
            self._learn(pending, contact, self.paths.answered(contact), message, flags, size, now)
            if in_response and large <= MOST_INNER:
                # A response has little room. A packet of the session has enough, and leaves after this call.
                pending.sent_at, pending.resent, pending.next_at = None, False, now
                self._schedule(pending)
                return
            pending.promised_at = now
            if not self._start_stream(pending):
                self._fail(pending)

    def _complete(
        self, pending: Pending[M], contact: Contact, path: Path, message: M, flags: int, size: int, now: float
    ) -> None:
        under_way = self._pending.by_number
        pending.done = True
        del under_way[pending.number]
        if not under_way:
            self.deadlines.rest()
        self.statistics.answered[pending.message.label] += 1
        answer = self._learn(pending, contact, path, message, flags, size, now)
        if pending.on_reply is not None:
            pending.on_reply(answer)

    def _learn(
        self, pending: Pending[M], contact: Contact, path: Path, message: M, flags: int, size: int, now: float
    ) -> Answer[M]:
        """The peer is there: its round trip, and what it says of itself. `size` 0: it came over a stream."""
        sent_at = pending.sent_at
        round_trip = None if sent_at is None or pending.resent or pending.by_stream else now - sent_at
        path.flags = flags
        path.on_answer(now, round_trip)
        if size and path.vanished:
            path.on_passed(max(size, _datagram_bytes(pending.inner)))
        answer = Answer(contact, message, flags, round_trip, not size)
        if not pending.is_background:
            self.hooks.on_answered(pending.message, answer, now)
        return answer

    # Streams ---------------------------------------------------------------------------------------------------------

    def _start_stream(self, pending: Pending[M], *, unheard: bool = False) -> bool:
        """False: requests have ended. `unheard`: two datagrams were lost, and an answer to them may still come."""
        if self._nursery is None:
            return False
        pending.by_stream, pending.is_unheard = True, unheard
        pending.next_at = pending.deadline_at = math.inf
        if pending.overdue_at < math.inf:
            # The caller goes on without it, as with any other answer: after as long as a datagram may take, or soon,
            # where nothing but the peer's word says that there is an answer.
            pending.overdue_at = self.clock() + self._patience(pending)
        self._schedule(pending)
        self._nursery.start_soon(self._exchange, pending)
        return True

    def _patience(self, pending: Pending[M]) -> float:
        """How long a message over a stream may take until it is overdue, in seconds."""
        if pending.promised_at is None:
            return self.settings.deadline
        return self.settings.first_rto if pending.path.keeps_its_word(pending.promised_at) else 0.0

    async def _exchange(self, pending: Pending[M]) -> None:
        contact = pending.contact
        came = await self.exchanges.exchange(pending, self._local.flags)
        if pending.done:
            return  # by a late datagram
        if isinstance(came, str):
            self._on_stream_failed(pending, came)
        elif self._match(contact, came.number, came.message) is not pending:
            self._on_stream_failed(pending, "the answer is to another request")
        else:
            if pending.is_unheard:
                larger = max(_datagram_bytes(pending.inner), SEALED_DATAGRAM_OVERHEAD + came.size)
                pending.path.on_vanished(larger, self.clock())
            pending.path.broke_its_word_at = -math.inf
            path = self.paths.answered(contact)
            self._complete(pending, contact, path, came.message, came.flags, 0, self.clock())

    def _on_stream_failed(self, pending: Pending[M], why: str) -> None:
        self.statistics.dropped["stream_failed"] += 1
        pending.path.narrow_until = -math.inf  # a datagram may do what a stream cannot
        if pending.promised_at is not None and why != NO_STREAM_FREE:
            pending.path.broke_its_word_at = self.clock()
        deadline_at = pending.asked_at + self.settings.deadline
        if pending.is_unheard and self.clock() < deadline_at:
            # An answer by datagram may still come.
            pending.by_stream = pending.is_unheard = False
            pending.deadline_at = deadline_at
            self._schedule(pending)
        else:
            self._fail(pending, why)


def _datagram_bytes(inner: bytes) -> int:
    """How long the datagram of a sealed inner packet is, at most."""
    return SEALED_DATAGRAM_OVERHEAD + len(inner)
