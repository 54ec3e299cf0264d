"""Requests to peers and their answers: sessions, deadlines, retransmission, and who may believe what.

Rules of this file: sending a request is a plain call; its answer and its deadlines come back as plain calls, in the
task that received or timed them, and must return at once. A reply counts only if its session is one we wait for, it
comes from the endpoint we asked, and its sender is the node we asked, where we named one. There is one task for all
deadlines, and one for each message that travels over a stream; none for a datagram. A request that may be too large
for its path goes on over a stream where a small one passes. What a request *means* is the business of `handlers.py`,
and what an answer means that of the caller.
"""

from __future__ import annotations

import functools
import math
import random
from collections import Counter, deque
from collections.abc import Callable
from typing import get_args

import attrs
import trio

from camomile_trio.config import Requests
from camomile_trio.errors import MalformedPacket, TransportError
from camomile_trio.identity import BadSignature, check_pong
from camomile_trio.kademlia.contacts import Contact, Endpoint, is_sensible
from camomile_trio.kademlia.ids import NodeId
from camomile_trio.kademlia.messages import (
    CHALLENGE_BYTES,
    IS_LEAVING,
    SESSION_BYTES,
    STORES_NOTHING,
    VERSION,
    FindNode,
    FindValue,
    Have,
    HaveResult,
    Message,
    NodeList,
    Packet,
    Ping,
    Pong,
    Store,
    StoreResult,
    TooLarge,
    Value,
)
from camomile_trio.kademlia.routing import RoutingTable
from camomile_trio.node.events import Events, RoundTrip
from camomile_trio.node.peers import MISSED_FOR, SURELY_PASSES, Peer, Peers
from camomile_trio.node.pending import HeldBack, OnNothing, OnReply, Pending
from camomile_trio.node.streams import StreamTroubles
from camomile_trio.node.verdicts import CHECKED_AGAIN_AFTER, Verdicts
from camomile_trio.node.very_large import VERY_LARGE, decoded_untrusted, encoded
from camomile_trio.peer.deadlines import Clock, Deadlines
from camomile_trio.transport.base import MAX_SENT_DATAGRAM, Transport
from camomile_trio.wire.codec import encode, encode_padded

PADDED_BYTES = 600  # what a find weighs for a peer that does not know us, so that three times it holds a full answer
STREAMS_AT_ONCE = 64
MAX_OWN_ENDPOINTS = 64  # a machine has few addresses; the one found first is forgotten first
# STOREs of very large values are made in a thread, once their turn has come: each is a copy, and there are k.
LARGE_STREAMS_AT_ONCE = 2
# One in so many of the requests under way may be a ping to who spoke to us first, or whoever speaks from many ports
# would leave none to ourselves.
SHARE_OF_STRANGERS = 8
# A stream message is a value and what surrounds it: records, a token, ids.
STREAM_OVERHEAD = 4096

_ANSWERS: dict[type, tuple[type, ...]] = {
    Ping: (Pong,),
    FindNode: (NodeList, TooLarge),
    FindValue: (Value, TooLarge),
    Store: (StoreResult, TooLarge),
    Have: (HaveResult, TooLarge),
}
# Requests whose answers may fill a datagram.
_ASKS_MUCH = (FindNode, FindValue, Have)
ANSWER_TYPES = (NodeList, StoreResult, Value, Pong, HaveResult, TooLarge)


@attrs.define
class RpcStatistics:
    """Counters since the start, by kind of message or by reason."""

    requests: Counter[str] = attrs.field(factory=Counter)
    answered: Counter[str] = attrs.field(factory=Counter)
    failed: Counter[str] = attrs.field(factory=Counter)
    received: Counter[str] = attrs.field(factory=Counter)
    dropped: Counter[str] = attrs.field(factory=Counter)
    retransmitted: int = 0


class Rpc:
    """The requests of one node. Implements `transport.Inbound` together with the handlers."""

    def __init__(
        self,
        *,
        own: NodeId,
        network: bytes,
        is_named: bool,
        classic: bool,
        transport: Transport,
        table: RoutingTable,
        peers: Peers,
        settings: Requests,
        max_value_size: int,
        rng: random.Random,
        events: Events,
        advertise: Endpoint | None = None,
        clock: Clock = trio.current_time,
    ) -> None:
        self.own = own
        self.network = network
        # A named network says so in every packet; the default one is silent, as classic nodes are.
        self.network_prefix = network[:8] if is_named else b""
        self.classic = classic  # whether classic nodes are spoken with
        self.transport = transport
        self.table = table
        self.peers = peers
        self.settings = settings
        self.advertise = advertise
        self.clock = clock
        self.deadlines = Deadlines(clock)
        self.statistics = RpcStatistics()
        self.max_answer = max_value_size + STREAM_OVERHEAD
        self.is_leaving = False  # every answer says so
        # Told of every contact that enters the table.
        self.on_new_contact: Callable[[Contact], None] = lambda contact: None
        # Told of everybody that answers, as long as they are in here.
        self.listeners: list[Callable[[Contact], None]] = []
        # Told of the wall clock (ms) that a peer's true pong shows.
        self.on_pong: Callable[[NodeId, int], None] = lambda node, wall: None
        # Told where a classic packet that was dropped seems to come from.
        self.on_classic: Callable[[Endpoint], None] = lambda source: None
        # Told of the endpoint of another node that has shown to have our own key.
        self.on_copied_key: Callable[[Endpoint], None] = lambda endpoint: None
        self.observed: Endpoint | None = None  # where the last pong of ours says that we are seen
        self._met_ourselves: deque[Endpoint] = deque(maxlen=MAX_OWN_ENDPOINTS)  # what we sent there came back to us
        self._key_challenges: set[bytes] = set()  # of our pings under way to who may have a copy of our key
        self._rng = rng
        self.events = events
        self._pending: dict[bytes, Pending] = {}
        self._strangers = 0  # pings under way to who spoke to us first
        self._held_back = HeldBack()
        self.verdicts = Verdicts(table, self.prove, rng)
        self._nursery: trio.Nursery | None = None
        self._streams = trio.CapacityLimiter(min(STREAMS_AT_ONCE, settings.max_streams * 2 // 5))
        self._large_streams = trio.CapacityLimiter(LARGE_STREAMS_AT_ONCE)
        self.stream_troubles = StreamTroubles()

    @property
    def own_endpoints(self) -> set[Endpoint | None]:
        """Where this node itself is reached, as far as it knows."""
        return {self.transport.endpoint, self.advertise, self.observed, *self._met_ourselves}

    @property
    def pending(self) -> int:
        """Requests under way."""
        return len(self._pending)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The deadlines' task, and the parent of the stream messages."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await self.deadlines.run()
            finally:
                self._nursery = None

    # Asking --------------------------------------------------------------------------------------------------------

    def request(
        self,
        endpoint: Endpoint,
        message: Message,
        *,
        node: NodeId | None,
        on_reply: OnReply | None = None,
        on_overdue: OnNothing | None = None,
        on_failed: OnNothing | None = None,
        named: bool = False,
    ) -> Pending | None:
        """Sends a request now. Exactly one of `on_reply` and `on_failed` is called later, `on_overdue` before at most
        once (after one RTO). None, and no call, if it may not be sent: too many under way, or the endpoint has not
        proven itself in two requests this minute (`named` lifts that, for addresses the operator gave). While one of
        these two may still be answered, the request is held back until it is."""
        now = self.clock()
        peer = self.peers.get(endpoint)
        if len(self._pending) >= self.settings.max_pending:
            self.statistics.dropped["too_many_pending"] += 1
            return None
        may_send = peer.is_proven or named or peer.may_ask_first(now)
        if not (may_send or peer.was_asked_since(now - self.settings.deadline)):
            self.statistics.dropped["unproven_endpoint"] += 1
            return None
        packet = self._packet(message, peer)
        is_large = peer.version > 0 and isinstance(message, Store) and len(message.value or b"") > VERY_LARGE
        if is_large:
            datagram = b""  # made when its turn comes
        else:
            datagram = encode_padded(packet, PADDED_BYTES) if self._is_padded(message, peer) else encode(packet)
        by_stream = is_large or (len(datagram) > MAX_SENT_DATAGRAM and peer.version > 0)
        if peer.vanished and not by_stream:
            by_stream = peer.is_narrow_for(len(datagram), isinstance(message, _ASKS_MUCH), now)
        is_suspect = peer.is_suspect(now) or not (may_send or peer.was_asked_since(now - self.settings.first_rto))
        pending = Pending(endpoint, node, packet, datagram, now, by_stream, is_suspect, on_reply, on_overdue, on_failed)
        if by_stream and self._nursery is None:
            return None
        self._pending[packet.session] = pending
        self.statistics.requests[KINDS[type(message)]] += 1
        if by_stream:
            self._start_stream(pending)
        else:
            if may_send:
                self.transport.send(datagram, endpoint)
            else:
                self._held_back.add(pending)
            patience = min(peer.rto, self.settings.deadline)
            self.deadlines.set(now + patience, functools.partial(self._overdue, pending), awaited=pending)
        return pending

    def may_contact(self, endpoint: Endpoint, told_by: Endpoint) -> bool:
        """Whether an endpoint that a peer named makes sense, and is not our own."""
        return is_sensible(endpoint, told_by=told_by) and endpoint not in (self.transport.endpoint, self.advertise)

    def fits_datagram(self, message: Message) -> bool:
        """Whether a request of this kind and size goes to one of ours by a datagram."""
        if isinstance(message, Store) and message.value is not None and len(message.value) > MAX_SENT_DATAGRAM:
            return False  # without a copy of it
        packet = Packet(bytes(SESSION_BYTES), self.own, message, VERSION, self.network_prefix, self.advertise)
        return len(encode(packet)) <= MAX_SENT_DATAGRAM

    def tell(self, endpoint: Endpoint, message: Message) -> None:
        """Sends what nobody answers: a STORE to a classic peer, a leave."""
        packet = self._packet(message, self.peers.get(endpoint))
        self.statistics.requests[KINDS[type(message)]] += 1
        self.transport.send(encode(packet), endpoint)

    async def ask(self, endpoint: Endpoint, message: Message, *, node: NodeId | None) -> Packet | None:
        """Sends a request and waits for its answer; None when there is none. For the rare ones: each has a waiter."""
        answers: list[Packet] = []
        done = trio.Event()

        def on_reply(packet: Packet) -> None:
            answers.append(packet)
            done.set()

        pending = self.request(endpoint, message, node=node, on_reply=on_reply, on_failed=done.set)
        if pending is None:
            return None
        try:
            await done.wait()
        finally:
            pending.detach()
        return answers[0] if answers else None

    def new_ping(self) -> Ping:
        return Ping(self._rng.randbytes(CHALLENGE_BYTES))

    def prove(
        self,
        contact: Contact,
        *,
        moved: bool = False,
        again_after: float = 60.0,
        is_stranger: bool = False,
        on_alive: OnNothing | None = None,
    ) -> int:
        """Pings a contact to learn whether it is there; its answer lets it into the table.

        Not more often than every `again_after` seconds: two nodes whose full buckets have no place for each other
        would answer ping with ping for ever. Nor while another ping to the endpoint is under way: that one tells who
        lives there, whatever names it speaks under meanwhile. Returns the bytes that this may send, a retransmission
        included. `moved`: the node named this endpoint as its own, so it replaces the old one. `is_stranger`: it spoke
        to us first, and of such there may be any number. `on_alive` is called if it answers this ping.
        """
        peer = self.peers.get(contact.endpoint)
        now = self.clock()
        # Where another node was looked for a moment ago, this one may have moved in.
        if -math.inf < peer.answered_at < peer.pinged_at:
            # It has answered once, and not to the last ping: a node that died and came back need not wait for as long.
            again_after = min(again_after, CHECKED_AGAIN_AFTER)
        if now - peer.pinged_at < again_after and peer.pinged == contact.id:
            return 0
        if peer.ping is not None and not peer.ping.done:
            return 0
        if is_stranger and self._strangers >= self.settings.max_pending // SHARE_OF_STRANGERS:
            self.statistics.dropped["too_many_strangers"] += 1
            return 0
        peer.pinged_at, peer.pinged = now, contact.id

        def on_reply(packet: Packet) -> None:
            on_end()
            if on_alive is not None:
                on_alive()
            if moved:
                self.table.on_answer(Contact(packet.sender, contact.endpoint), self.clock(), moved=True)

        question = self.new_ping()

        def on_end() -> None:
            self._strangers -= is_stranger
            self._key_challenges.discard(question.challenge)

        ping = self.request(contact.endpoint, question, node=contact.id, on_reply=on_reply, on_failed=on_end)
        if ping is None:
            return 0
        if contact.id == self.own:
            self._key_challenges.add(question.challenge)
        peer.ping = ping
        self._strangers += is_stranger
        return 2 * len(ping.datagram)

    def tests_our_key(self, ping: Ping) -> bool:
        """Whether its challenge is one of ours, for who may have a copy of our key: nobody else has it to ask with."""
        return ping.challenge in self._key_challenges

    def _packet(self, message: Message, peer: Peer) -> Packet:
        # A peer that has not shown its version may be classic: it is sent nothing beyond version and padding.
        ours = peer.version > 0
        if not ours and isinstance(message, FindValue) and message.publisher is not None:
            message = attrs.evolve(message, publisher=None)
        return Packet(
            self._rng.randbytes(SESSION_BYTES),
            self.own,
            message,
            VERSION,
            self.network_prefix,
            self.advertise if ours else None,
        )

    @staticmethod
    def _is_padded(message: Message, peer: Peer) -> bool:
        """So that the peer, if it does not know us, may answer in full (it may send three times what it was sent)."""
        return (
            not peer.knows_us and (peer.version > 0 or not peer.is_proven) and isinstance(message, FindNode | FindValue)
        )

    # Deadlines -----------------------------------------------------------------------------------------------------

    def _overdue(self, pending: Pending) -> None:
        if pending.done or pending.by_stream:
            return
        now = self.clock()
        if now < pending.overdue_from:
            self._call_again(pending, pending.overdue_from)
            return
        if pending.resent:
            if now >= pending.sent_at + self.settings.deadline:
                self._fail(pending)
            else:
                self._ask_whether_small_ones_pass(pending, now)
                self._call_again(pending, pending.sent_at + self.settings.deadline)
            return
        resend_at = pending.sent_at + min(self.peers.resend_after(pending.endpoint), self.settings.deadline)
        if pending.held_back or resend_at <= now:
            self._resend(pending)
        else:
            self._call_again(pending, resend_at)
        if not pending.is_overdue:
            if not pending.held_back:
                self.peers.on_overdue(pending.endpoint, pending.sent_at, now)
            self._tell_overdue(pending)

    def _resend(self, pending: Pending) -> None:
        pending.resent = True
        if not pending.held_back:
            self.statistics.retransmitted += 1
            self.peers.on_retransmitted(pending.endpoint)
            self.transport.send(pending.datagram, pending.endpoint)
        self._call_again(pending, self._unheard_at(pending))

    def _unheard_at(self, pending: Pending) -> float:
        """When the second transmission of what may be too large for the path is overdue, early enough for a ping; the
        deadline of anything else."""
        deadline = pending.sent_at + self.settings.deadline
        peer = self.peers.get(pending.endpoint)
        may_be_large = isinstance(pending.packet.message, _ASKS_MUCH) or len(pending.datagram) > SURELY_PASSES
        is_ours = peer.version > 0 if peer.is_proven else peer.knows_us  # who has pinged us may be asked in turn
        if pending.held_back or not (may_be_large and is_ours):
            return deadline
        return min(self.clock() + peer.rto, deadline - peer.rto)

    def _ask_whether_small_ones_pass(self, pending: Pending, now: float) -> None:
        """A ping, unless the peer has been silent to one lately. Its answer lets `pending` go on over a stream."""
        pending.is_unheard = True
        peer = self.peers.get(pending.endpoint)
        if peer.answered_at < peer.probed_at and now - peer.probed_at < MISSED_FOR:
            return
        peer.probed_at = now
        probe = self.request(
            pending.endpoint,
            self.new_ping(),
            node=None,
            on_reply=lambda packet: self._small_ones_pass(pending.endpoint),
        )
        if probe is not None:
            probe.is_probe = True

    def _small_ones_pass(self, endpoint: Endpoint) -> None:
        if not self.peers.get(endpoint).version:
            return  # classic nodes have no streams
        for pending in list(self._pending.values()):
            if pending.endpoint == endpoint and pending.is_unheard and not pending.by_stream:
                self._start_stream(pending)

    def _call_again(self, pending: Pending, time: float) -> None:
        self.deadlines.set(time, functools.partial(self._overdue, pending), awaited=pending)

    @staticmethod
    def _tell_overdue(pending: Pending) -> None:
        pending.is_overdue = True
        if pending.on_overdue is not None:
            pending.on_overdue()

    def _fail(self, pending: Pending, *, is_silent: bool = True) -> None:
        if pending.done:
            return
        pending.done = True
        del self._pending[pending.packet.session]
        self.statistics.failed[KINDS[type(pending.packet.message)]] += 1
        now = self.clock()
        contact = Contact(pending.node, pending.endpoint) if pending.node is not None else None
        if pending.held_back:
            self._held_back.drop(pending)
            self.statistics.dropped["unproven_endpoint"] += 1
        elif pending.by_stream and not pending.is_unheard:
            # A stream has reasons of its own to fail: a ping tells whether the node is there.
            if contact is not None:
                self.prove(
                    contact,
                    again_after=CHECKED_AGAIN_AFTER,
                    on_alive=lambda: self.stream_troubles.on_alive(pending.endpoint, self.clock()),
                )
        else:
            if is_silent:
                self.peers.on_missed(pending.endpoint, now)
            if contact is not None:
                self.verdicts.on_failure(contact, pending.sent_at, now)
        if pending.on_failed is not None:
            pending.on_failed()

    # Streams -------------------------------------------------------------------------------------------------------

    def _start_stream(self, pending: Pending) -> None:
        if self._nursery is None:
            self._fail(pending)
            return
        pending.by_stream = True
        self._nursery.start_soon(self._exchange, pending)
        # As long as a datagram may take: then whoever waits goes on without it, as with any other answer.
        patience = self.clock() + self.settings.deadline
        self.deadlines.set(patience, functools.partial(self._stream_overdue, pending), awaited=pending)

    def _stream_overdue(self, pending: Pending) -> None:
        if not (pending.done or pending.is_overdue):
            self._tell_overdue(pending)

    async def _exchange(self, pending: Pending) -> None:
        has_begun = False
        failure = ""
        with trio.move_on_after(self.settings.stream_deadline) as waiting:
            async with self._streams if pending.datagram else self._large_streams:
                has_begun = True
                try:
                    message = pending.datagram or await encoded(pending.packet)
                    answer = await self.transport.exchange(message, pending.endpoint, max_answer=self.max_answer)
                    packet = await decoded_untrusted(answer)
                except TransportError as error:
                    failure = str(error)
                except MalformedPacket as error:
                    self.statistics.dropped[error.reason] += 1
                else:
                    self._stream_came_back(pending, packet, len(answer))
        if waiting.cancelled_caught and has_begun:
            failure = f"no answer over a stream within {self.settings.stream_deadline:g} s"
        if failure:
            self._stream_failed(pending, failure)
        if pending.is_unheard and self.clock() < pending.sent_at + self.settings.deadline:
            # An answer by datagram may still come, and its deadline is set.
            pending.by_stream = pending.is_unheard = False
            return
        self._fail(pending)

    def _stream_came_back(self, pending: Pending, packet: Packet, size: int) -> None:
        self.stream_troubles.on_success(pending.endpoint)
        if pending.is_unheard and not pending.done:
            self.peers.on_vanished(pending.endpoint, max(size, len(pending.datagram)), self.clock())
        if packet.session == pending.packet.session and packet.network == self.network_prefix:
            self._complete(pending, packet, by_stream=True)

    def _stream_failed(self, pending: Pending, why: str) -> None:
        self.statistics.dropped["stream_failed"] += 1
        peer = self.peers.get(pending.endpoint)
        peer.narrow_until = -math.inf  # a datagram may do what a stream cannot
        if peer.answered_at >= pending.sent_at - MISSED_FOR:
            self.stream_troubles.on_failure(pending.endpoint, why)

    # Answers -------------------------------------------------------------------------------------------------------

    def on_answer(self, packet: Packet, source: Endpoint, size: int) -> None:
        """An answer came by a datagram of `size` bytes: matched, or dropped and counted."""
        pending = self._pending.get(packet.session)
        if pending is None:
            self.statistics.dropped["unknown_session"] += 1
        elif source != pending.endpoint:
            self.statistics.dropped["wrong_endpoint"] += 1
        else:
            pending.answer_bytes = size
            self._complete(pending, packet)

    def on_own_request(self, packet: Packet) -> bool:
        """Whether a request that came under our own id is ours: then an address of ours was taken for a peer's.

        That one is where it was sent. Where it seems to come from is the word of whoever received it.
        """
        pending = self._pending.get(packet.session)
        if pending is None:
            return False
        if pending.endpoint not in self._met_ourselves:
            self._met_ourselves.append(pending.endpoint)
        self._fail(pending, is_silent=False)
        return True

    def _complete(self, pending: Pending, packet: Packet, *, by_stream: bool = False) -> None:
        if pending.done:
            return
        message = packet.message
        asked = pending.packet.message
        if not isinstance(message, _ANSWERS[type(asked)]):
            self.statistics.dropped["wrong_answer"] += 1
            return
        if pending.node is not None and packet.sender != pending.node:
            # Another node lives there now: the one we asked is gone, and nobody needs to wait for it.
            self.statistics.dropped["wrong_sender"] += 1
            self.peers.get(pending.endpoint).version = packet.version
            self.table.on_gone(pending.node, pending.endpoint)
            self._fail(pending, is_silent=False)
            self.prove(Contact(packet.sender, pending.endpoint), again_after=CHECKED_AGAIN_AFTER)
            return
        if isinstance(message, Pong) and not self._is_true_pong(message, asked, packet):
            return
        if packet.sender == self.own:
            # What we send to ourselves is never answered. A pong is signed, anything else may be a lie; and so may a
            # pong be to a challenge that we might have signed ourselves, for who passes it on.
            is_proof = isinstance(asked, Ping) and self.tests_our_key(asked) and packet.version > 0
            self._fail(pending, is_silent=False)
            if is_proof:
                self.on_copied_key(pending.endpoint)
                # It has seen no more than a ping of ours, which it may not answer with one of its own.
                self.request(pending.endpoint, FindNode(self.own), node=self.own)
            else:
                self.prove(Contact(self.own, pending.endpoint))
            return
        if isinstance(message, TooLarge) and not by_stream:
            if pending.by_stream:
                # The datagram was doubled, or the request was sent twice.
                self.statistics.dropped["doubled_answer"] += 1
                return
            self._learn(pending, packet)
            self._start_stream(pending)
            return
        pending.done = True
        del self._pending[pending.packet.session]
        self.statistics.answered[KINDS[type(asked)]] += 1
        self._learn(pending, packet)
        if pending.on_reply is not None:
            pending.on_reply(packet)

    def _is_true_pong(self, pong: Pong, asked: Message, packet: Packet) -> bool:
        if not isinstance(asked, Ping) or pong.challenge != asked.challenge:
            self.statistics.dropped["wrong_challenge"] += 1
            return False
        if packet.version > 0:
            try:
                check_pong(pong, packet.sender, self.network)
            except BadSignature:
                self.statistics.dropped["bad_signature"] += 1
                return False
        return True

    def _learn(self, pending: Pending, packet: Packet) -> None:
        """The peer is there: its round trip, its version, its place in the table."""
        now = self.clock()
        sampled = not pending.resent and not pending.by_stream
        round_trip = now - pending.sent_at if sampled else None
        peer = self.peers.on_answer(pending.endpoint, now, round_trip=round_trip, version=packet.version)
        peer.stores_nothing = bool(packet.flags & STORES_NOTHING)
        peer.is_leaving = bool(packet.flags & IS_LEAVING)
        if peer.vanished and pending.answer_bytes:
            peer.on_passed(max(pending.answer_bytes, len(pending.datagram)))
        if round_trip is not None and self.events.watched:
            self.events.emit(RoundTrip(KINDS[type(pending.packet.message)], round_trip))
        for held in self._held_back.release(pending.endpoint):
            held.sent_at, held.overdue_from = now, now + peer.rto
            self.transport.send(held.datagram, held.endpoint)
        if pending.is_probe:
            return  # who answers nothing but pings keeps no place in the table by them
        message = packet.message
        if isinstance(message, NodeList | Value) and message.token:
            peer.token, peer.token_at = message.token, now
        elif isinstance(message, Pong):
            self.observed = message.observed or self.observed
            if message.clock is not None:
                self.on_pong(packet.sender, message.clock)
        contact = Contact(packet.sender, pending.endpoint)
        was_known = packet.sender in self.table
        check = self.table.on_answer(contact, now)
        self.verdicts.on_answer(contact)
        if check is not None:
            self.prove(check, again_after=CHECKED_AGAIN_AFTER)
        if self.listeners:
            for listener in tuple(self.listeners):
                listener(contact)
        if not was_known and packet.sender in self.table:
            self.on_new_contact(contact)
        advertised = packet.advertised
        if advertised is not None and advertised != pending.endpoint and self.may_contact(advertised, pending.endpoint):
            self.prove(Contact(packet.sender, advertised), moved=True)


def _snake(name: str) -> str:
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name).lstrip("_")


# The names of messages in snake case, for counters.
KINDS: dict[type, str] = {each: _snake(each.__name__) for each in get_args(Message)}
