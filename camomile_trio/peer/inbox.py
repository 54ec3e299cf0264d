"""The way in: what arrives is opened, sorted into answers and requests, and answered within what the asker may cost.

Rules of this file: nothing here waits or raises, but for a message that came over a stream. Nearly every datagram is a
sealed packet of a session, and `on_datagram` is its way. `Sessions` says what any other datagram is; here it is handed
on. What a classic node may have sent is handed on unread, or dropped. An address that has confirmed nothing may be
forged: what answers it is at most three times what came from there (RFC 9000, §8.1, has the same rule), and it is asked
for what may begin only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final, Generic

import trio

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.contacts import Contact, Endpoint, is_sensible
from camomile_trio.peer.decisions import Dropped, Initiated, Introduced, NotForUs, OwnHello, Reply, Responded
from camomile_trio.peer.packets import LARGEST_DATAGRAM, LONGEST_SHORT, MOST_INNER, SEALED_HEADS
from camomile_trio.peer.requests import Requests
from camomile_trio.peer.seams import M, Request

_LEAST: Final = b"\x80"  # of our frames as bytes are compared: packets of classic nodes begin with 0x0a
_FOREIGN: Final = frozenset({"wrong_mac1", "other_version"})


class Inbox(Generic[M]):
    """What arrives at one node.

    `handle` is given each request, and `on_classic` each datagram that no node of ours sends; without it these are
    dropped. Both return at once and raise nothing.
    """

    def __init__(
        self,
        requests: Requests[M],
        handle: Callable[[Request[M]], None],
        *,
        on_classic: Callable[[bytes, Endpoint], None] | None = None,
    ) -> None:
        self._requests = requests
        self._sessions = requests.sessions
        self._local = requests.sessions.local
        self._peers = requests.sessions.table.peers
        self._codec = requests.codec
        self._handle = handle
        self._on_classic = on_classic

    def on_datagram(self, datagram_untrusted: bytes, source: Endpoint) -> None:
        size = len(datagram_untrusted)
        start = 3 if size <= LONGEST_SHORT else 4
        if size > LARGEST_DATAGRAM or datagram_untrusted[:start] != SEALED_HEADS[size]:
            self._on_other(datagram_untrusted, source)
            return
        requests, now = self._requests, self._requests.clock()
        try:
            session, inner_untrusted = self._sessions.open_untrusted(datagram_untrusted[start:], source, now)
        except (MalformedPacket, NotForUs) as error:
            self._sessions.dropped[error.reason] += 1
            return
        if session.confirmed_at is None:
            about, is_copied = self._sessions.confirm(session, size - start, now)
            requests.on_confirmed(session.contact, about, is_copied=is_copied)
        if not inner_untrusted:
            return  # it had only to confirm
        try:
            number, message, flags = self._codec.decode_untrusted(inner_untrusted)
        except MalformedPacket as error:
            requests.statistics.dropped[error.reason] += 1
            return
        requests.statistics.received[message.label] += 1
        if message.is_answer:
            requests.on_answer(session, number, message, flags, size, now)
        else:
            self._handle(Request(session.contact, True, False, message, number, self._answer))

    def _on_other(self, datagram_untrusted: bytes, source: Endpoint) -> None:
        """Of a handshake, of a classic node, or of no node."""
        if datagram_untrusted < _LEAST:
            self._on_strange(datagram_untrusted, source)
            return
        requests = self._requests
        decision = self._sessions.on_datagram(datagram_untrusted, source, requests.clock(), requests.wall_ms())
        if isinstance(decision, Initiated):
            self._on_initiated(decision)
        elif isinstance(decision, Responded):
            requests.on_responded(decision, self._decoded(decision.answer), len(datagram_untrusted))
        elif isinstance(decision, Reply):
            requests.on_reply_due(decision, source)
        elif isinstance(decision, Introduced):
            requests.hellos.on_introduced(decision)
        elif isinstance(decision, OwnHello):
            requests.hellos.on_own_hello(decision)
        elif isinstance(decision, Dropped) and decision.reason in _FOREIGN:
            requests.hooks.on_foreign(source, decision.reason)

    def _on_strange(self, datagram_untrusted: bytes, source: Endpoint) -> None:
        if not is_sensible(source):
            self._sessions.dropped["senseless_source"] += 1
        elif self._on_classic is None:
            self._sessions.dropped["classic"] += 1
        else:
            self._on_classic(datagram_untrusted, source)

    def _on_initiated(self, initiated: Initiated) -> None:
        packet = self._decoded(initiated.request)
        if packet is None:
            return
        number, message, _ = packet
        if not self._codec.may_begin(message):
            self._requests.statistics.dropped["not_a_first_request"] += 1
            return
        send = functools.partial(self._respond, initiated)
        self._handle(Request(initiated.contact, False, False, message, number, send))

    def _answer(self, request: Request[M], message: M) -> None:
        """By the current session, which may be another one than that of the request."""
        inner = self._codec.encode_within(request.number, message, self._local.flags, MOST_INNER)
        peer = self._peers.get(request.contact.public)
        session = peer.current if peer is not None else None
        # The time when something was heard of the peer last is near enough to tell a session's age.
        if peer is None or session is None or not self._requests.send_sealed(peer, session, inner, peer.heard_at):
            self._requests.statistics.dropped["no_session"] += 1

    def _respond(self, initiated: Initiated, request: Request[M], message: M) -> None:
        requests = self._requests
        answer = self._codec.encode_within(request.number, message, self._local.flags, initiated.room)
        datagram = self._sessions.responder.respond(initiated, answer, requests.clock(), requests.wall_ms())
        if datagram is None:
            requests.statistics.dropped["answered_a_later_one"] += 1
        else:
            requests.link.send(datagram, initiated.contact.endpoint)

    async def on_stream_message(self, contact: Contact, inner_untrusted: bytes) -> bytes | None:
        """A message of the peer at the other end of a stream, and what goes back over it; None: nothing does.

        The address of `contact` is that of the stream: its ip is proven, its port is no node's.
        """
        requests = self._requests
        try:
            number, message, _ = await requests.exchanges.decoded_untrusted(inner_untrusted)
        except MalformedPacket as error:
            requests.statistics.dropped[error.reason] += 1
            return None
        requests.statistics.received[message.label] += 1
        if not self._codec.has_answer(message):
            # Nothing would end its wait before the deadline, and a connection that waits for this node keeps its place.
            requests.statistics.dropped["has_no_answer"] += 1
            return None
        answers: list[M] = []
        answered = trio.Event()

        def send(request: Request[M], message: M) -> None:
            answers.append(message)
            answered.set()

        self._handle(Request(contact, True, True, message, number, send))
        with trio.move_on_after(requests.settings.stream_deadline):
            await answered.wait()
        return self._codec.encode(number, answers[0], self._local.flags) if answers else None

    def _decoded(self, inner_untrusted: bytes) -> tuple[int, M, int] | None:
        """None for what only confirms, too."""
        if not inner_untrusted:
            return None
        try:
            packet = self._codec.decode_untrusted(inner_untrusted)
        except MalformedPacket as error:
            self._requests.statistics.dropped[error.reason] += 1
            return None
        self._requests.statistics.received[packet[1].label] += 1
        return packet
