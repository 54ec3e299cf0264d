"""The way in: what arrives is decoded, sorted into answers and requests, and answered within what the asker may cost.

Rules of this file: nothing here waits or raises. An address that has not answered us may be forged, so an answer to it,
with the ping that goes with it, is at most three times the bytes that it sent (RFC 9000, §8.1, has the same rule).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs
import trio

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.contacts import Contact, Endpoint, is_sensible
from camomile_trio.kademlia.messages import (
    IS_LEAVING,
    VERSION,
    FindNode,
    Message,
    NodeList,
    Packet,
    Ping,
    TooLarge,
    Value,
)
from camomile_trio.node.rpc import ANSWER_TYPES, KINDS, Rpc
from camomile_trio.node.very_large import decoded_untrusted
from camomile_trio.transport.base import MAX_SENT_DATAGRAM
from camomile_trio.wire.codec import decode_untrusted, encode, encode_within

AMPLIFICATION = 3
PING_BYTES = 240  # what a ping of ours weighs at most, with its retransmission


@attrs.define(eq=False)
class Request:
    """One inbound request, and the way back. `answer` is called at most once, now or after a commit."""

    packet: Packet
    source: Endpoint
    is_proven: bool  # the endpoint has answered us, or a TCP handshake has proven the ip
    _send: Callable[[Message], None]
    is_answered: bool = False

    @property
    def is_classic(self) -> bool:
        return self.packet.version == 0

    def answer(self, message: Message) -> None:
        if not self.is_answered:
            self.is_answered = True
            self._send(message)


Handle = Callable[[Request], None]


class Inbox:
    """Implements `transport.Inbound` for one node."""

    def __init__(self, rpc: Rpc, handle: Handle) -> None:
        self._rpc = rpc
        self._handle = handle
        self._budget = float(rpc.settings.classic_budget)
        self._budget_at = rpc.clock()

    def on_datagram(self, datagram_untrusted: bytes, source: Endpoint) -> None:
        rpc = self._rpc
        try:
            packet = self._of_this_network(decode_untrusted(datagram_untrusted, classic=rpc.classic))
        except MalformedPacket as error:
            rpc.statistics.dropped[error.reason] += 1
            if error.reason == "classic":
                rpc.on_classic(source)
            return
        if packet is None:
            return
        if isinstance(packet.message, ANSWER_TYPES):
            rpc.on_answer(packet, source, len(datagram_untrusted))
            return
        if not is_sensible(source):
            rpc.statistics.dropped["senseless_source"] += 1
            return
        if packet.sender == rpc.own:
            self._on_own_id(packet, source, AMPLIFICATION * len(datagram_untrusted))
            return
        is_proven = rpc.peers.is_proven(source)
        allowance: float = math.inf if is_proven else AMPLIFICATION * len(datagram_untrusted)
        is_ping = isinstance(packet.message, Ping)
        is_stranger = self._is_worth_a_ping(packet, source, is_ping)
        # A find can be answered with fewer contacts, so its sender is pinged first; a pong cannot be made shorter.
        if is_stranger and not is_ping:
            allowance -= rpc.prove(Contact(packet.sender, source), is_stranger=True)

        def send(message: Message) -> None:
            nonlocal allowance
            allowance -= self._answer(packet, source, message, allowance)

        self._handle(Request(packet, source, is_proven, send))
        if (
            is_stranger
            and is_ping
            and (allowance >= PING_BYTES or (packet.version == 0 and self._afford(PING_BYTES - allowance)))
        ):
            rpc.prove(Contact(packet.sender, source), is_stranger=True)

    def _on_own_id(self, packet: Packet, source: Endpoint, allowance: float) -> None:
        """A request under our own id: our own, come back, or of a node with a copy of our key. The other one is given
        what it needs to find that out, and a ping that finds it out for us."""
        rpc = self._rpc
        rpc.statistics.dropped["from_ourselves"] += 1
        if rpc.on_own_request(packet) or packet.version == 0:
            return
        if isinstance(packet.message, Ping):

            def send(pong: Message) -> None:
                self._answer(packet, source, pong, allowance)

            self._handle(Request(packet, source, False, send))
            return
        if isinstance(packet.message, FindNode):
            self._answer(packet, source, NodeList(), allowance)
        rpc.prove(Contact(rpc.own, source), is_stranger=True)

    def _is_worth_a_ping(self, packet: Packet, source: Endpoint, is_ping: bool) -> bool:
        """Whether the sender is a stranger, or somebody who has moved, and it matters that it is there.

        A stranger that pings us may only be checking on us for a third. Would we check on a member of a full bucket
        because of it, and that one likewise, a single request would go through the network as a chain of pings. A
        classic node can store here only once it has answered us.
        """
        table = self._rpc.table
        known = table.get(packet.sender)
        if known is not None:
            return known.endpoint not in (source, packet.advertised)
        if packet.version == 0:
            return True
        return table.has_room(packet.sender) if is_ping else table.wants(packet.sender, self._rpc.clock())

    async def on_stream_message(self, message_untrusted: bytes, source: Endpoint) -> bytes | None:
        try:
            packet = self._of_this_network(await decoded_untrusted(message_untrusted))
        except MalformedPacket as error:
            self._rpc.statistics.dropped[error.reason] += 1
            return None
        if packet is None or isinstance(packet.message, ANSWER_TYPES):
            return None
        if packet.sender == self._rpc.own:
            self._rpc.statistics.dropped["from_ourselves"] += 1
            return None
        answers: list[bytes] = []
        answered = trio.Event()

        def send(message: Message) -> None:
            answers.append(encode(self._wrap(packet, message)))
            answered.set()

        self._handle(Request(packet, source, True, send))
        with trio.move_on_after(self._rpc.settings.stream_deadline):
            await answered.wait()
        return answers[0] if answers else None

    def _of_this_network(self, packet: Packet) -> Packet | None:
        rpc = self._rpc
        if packet.network != rpc.network_prefix:
            rpc.statistics.dropped["other_network"] += 1
            return None
        rpc.statistics.received[KINDS[type(packet.message)]] += 1
        return packet

    def _wrap(self, packet: Packet, message: Message) -> Packet:
        rpc = self._rpc
        is_ours = packet.version > 0
        return Packet(
            packet.session,
            rpc.own,
            message,
            min(VERSION, packet.version),
            rpc.network_prefix,
            rpc.advertise if is_ours else None,
            IS_LEAVING if is_ours and rpc.is_leaving else 0,
        )

    def _answer(self, packet: Packet, source: Endpoint, message: Message, allowance: float) -> int:
        """Sends what may be sent of the answer; returns its bytes."""
        answer = self._wrap(packet, message)
        datagram = encode(answer)
        limit = int(min(MAX_SENT_DATAGRAM, allowance))
        wanted = min(MAX_SENT_DATAGRAM, len(datagram))
        if packet.version == 0 and limit < wanted and self._afford(wanted - limit):
            limit = wanted
        if len(datagram) > limit:
            shorter = None if isinstance(message, Value) and message.value is not None else encode_within(answer, limit)
            if shorter is None:
                if packet.version == 0:
                    self._rpc.statistics.dropped["answer_too_large"] += 1
                    return 0
                shorter = encode(self._wrap(packet, TooLarge(len(datagram))))
                if len(shorter) > limit:
                    self._rpc.statistics.dropped["answer_too_large"] += 1
                    return 0
            datagram = shorter
        self._rpc.transport.send(datagram, source)
        return len(datagram)

    def _afford(self, size: float) -> bool:
        """Takes from what unproven classic peers may cost together beyond the three-times rule."""
        rate = self._rpc.settings.classic_budget
        now = self._rpc.clock()
        self._budget = min(self._budget + (now - self._budget_at) * rate, rate)
        self._budget_at = now
        if size > self._budget:
            return False
        self._budget -= size
        return True
