"""The way in: what arrives is opened, sorted into answers and requests, and answered within what the asker may cost.

Rules of this file: nothing here waits or raises, but for a message that came over a stream. `Sessions` says what a
datagram is; here it is handed on. What a classic node may have sent is handed on unread, or dropped. An address that
has confirmed nothing may be forged: what answers it is at most three times what came from there (RFC 9000, §8.1, has
the same rule), and it is asked for what may begin only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final, Generic

import trio

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.contacts import Contact, Endpoint, is_sensible
from camomile_trio.peer.decisions import Initiated, Introduced, Opened, OwnHello, Reply, Responded
from camomile_trio.peer.packets import MOST_INNER
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
        self._codec = requests.codec
        self._handle = handle
        self._on_classic = on_classic

    def on_datagram(self, datagram_untrusted: bytes, source: Endpoint) -> None:
        if datagram_untrusted < _LEAST:
            self._on_other(datagram_untrusted, source)
            return
        requests = self._requests
        decision = self._sessions.on_datagram(datagram_untrusted, source, requests.clock(), requests.wall_ms())
        if isinstance(decision, Opened):
            self._on_opened(decision, len(datagram_untrusted))
        elif isinstance(decision, Initiated):
            self._on_initiated(decision)
        elif isinstance(decision, Responded):
            requests.on_responded(decision, self._decoded(decision.answer), len(datagram_untrusted))
        elif isinstance(decision, Reply):
            requests.on_reply_due(decision, source)
        elif isinstance(decision, Introduced):
            requests.hellos.on_introduced(decision)
        elif isinstance(decision, OwnHello):
            requests.hellos.on_own_hello(decision)
        elif decision.reason in _FOREIGN:
            requests.hooks.on_foreign(source, decision.reason)

    def _on_other(self, datagram_untrusted: bytes, source: Endpoint) -> None:
        if not is_sensible(source):
            self._sessions.dropped["senseless_source"] += 1
        elif self._on_classic is None:
            self._sessions.dropped["classic"] += 1
        else:
            self._on_classic(datagram_untrusted, source)

    def _on_opened(self, opened: Opened, size: int) -> None:
        contact, inner, about, is_copied = opened
        packet = self._decoded(inner)
        if about is not None:
            self._requests.on_confirmed(contact, about, is_copied=is_copied)
        if packet is None:
            return
        number, message, flags = packet
        if self._codec.is_answer(message):
            self._requests.on_answer(contact, number, message, flags, size)
        else:
            send = functools.partial(self._answer, contact.public, number)
            self._handle(Request(contact, True, False, message, send))

    def _on_initiated(self, initiated: Initiated) -> None:
        packet = self._decoded(initiated.request)
        if packet is None:
            return
        number, message, _ = packet
        if not self._codec.may_begin(message):
            self._requests.statistics.dropped["not_a_first_request"] += 1
            return
        send = functools.partial(self._respond, initiated, number)
        self._handle(Request(initiated.contact, False, False, message, send))

    def _answer(self, public: bytes, number: int, message: M) -> None:
        requests = self._requests
        inner = self._codec.encode_within(number, message, self._local.flags, MOST_INNER)
        if not requests.seal(public, inner):
            requests.statistics.dropped["no_session"] += 1

    def _respond(self, initiated: Initiated, number: int, message: M) -> None:
        requests = self._requests
        answer = self._codec.encode_within(number, message, self._local.flags, initiated.room)
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
        requests.statistics.received[self._codec.kind(message)] += 1
        if not self._codec.has_answer(message):
            # Nothing would end its wait before the deadline, and a connection that waits for this node keeps its place.
            requests.statistics.dropped["has_no_answer"] += 1
            return None
        answers: list[M] = []
        answered = trio.Event()

        def send(message: M) -> None:
            answers.append(message)
            answered.set()

        self._handle(Request(contact, True, True, message, send))
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
        self._requests.statistics.received[self._codec.kind(packet[1])] += 1
        return packet
