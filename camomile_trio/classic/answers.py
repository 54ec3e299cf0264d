"""What classic nodes are answered, and what that may cost.

Rules of this file: nothing here waits or raises. An address that has not answered us may be forged, so an answer to it,
with the ping that goes with it, is at most three times the bytes that it sent (RFC 9000, §8.1, has the same rule), and
what a budget shared by all such addresses has left: small classic requests could not be answered otherwise. Classic
nodes are named classic contacts only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from camomile_trio.classic.requests import ClassicRequests
from camomile_trio.classic.values import ClassicHoldings, Replicated, is_for_classic
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import StoreKind
from camomile_trio.wire.classic import (
    FindNode,
    FindValue,
    Message,
    NodeList,
    Packet,
    Ping,
    Pong,
    Store,
    Value,
    encode_within,
)

AMPLIFICATION: Final = 3
MAX_SENT_DATAGRAM: Final = 1232  # 1280, which every IPv6 link carries, less the headers of IPv6 and UDP


class Budget:
    """Bytes for addresses that have not answered: `rate` a second, and as many at once after a pause."""

    def __init__(self, rate: float, now: float) -> None:
        self._rate = self._level = rate
        self._at = now

    def take(self, size: float, now: float) -> bool:
        """Whether there was so much; it is gone then."""
        self._level = min(self._level + (now - self._at) * self._rate, self._rate)
        self._at = now
        if size > self._level:
            return False
        self._level -= size
        return True


class ClassicAnswers:
    """The requests of classic nodes that one node serves."""

    def __init__(
        self,
        requests: ClassicRequests,
        holdings: ClassicHoldings,
        *,
        send: Callable[[bytes, Endpoint], object],
        budget: float,
    ) -> None:
        self.replicated = Replicated()
        self._requests = requests
        self._table = requests.table
        self._holdings = holdings
        self._send = send
        self._budget = Budget(budget, requests.clock())

    def handle(self, packet: Packet, source: Endpoint, size: int) -> None:
        """Serves one request, which came in a datagram of `size` bytes."""
        contact = Contact(packet.sender, source)
        has_answered = self._requests.addresses.has_answered(source)
        is_stranger = not has_answered or self._table.get(contact.id) != contact
        allowance: float = math.inf if has_answered else AMPLIFICATION * size
        message = packet.message
        # A find can be answered with fewer contacts, so its sender is pinged first. A ping pays for the pong, which
        # weighs as much, and for a ping of ours, sent twice.
        if is_stranger and not isinstance(message, Ping):
            allowance -= self._requests.ping(contact, is_stranger=True)
        match message:
            case Ping(challenge):
                self._answer(packet, source, Pong(challenge), allowance)
                if is_stranger:
                    self._requests.ping(contact, is_stranger=True)
            case FindNode(target):
                self._answer(packet, source, NodeList(self._closest(packet, target)), allowance)
            case FindValue(key):
                self._answer(packet, source, self._value(packet, key), allowance)
            case Store(kind, value) if has_answered:
                self._store(kind, value)
            case _:
                # A STORE: the address may be forged, and the ping will tell.
                self._requests.statistics.dropped["unproven_store"] += 1

    def _value(self, packet: Packet, key: Key) -> Value:
        value = self._holdings.served(key)
        if value is not None and is_for_classic(value):
            return Value(key, value)
        return Value(key, None, self._closest(packet, key))

    def _store(self, kind: StoreKind, value: bytes) -> None:
        key = Key.of(value)
        if kind is StoreKind.REPLICATE:
            self.replicated.add(key, self._requests.clock())
        self._holdings.store(key, value, kind)

    def _closest(self, packet: Packet, target: bytes) -> tuple[Contact, ...]:
        return tuple(self._table.closest(target, excluding=packet.sender))

    def _answer(self, packet: Packet, source: Endpoint, message: Message, allowance: float) -> None:
        """Sends what may be sent of the answer."""
        answer = Packet(packet.session, self._table.own, message)
        datagram = encode_within(answer, MAX_SENT_DATAGRAM)
        if datagram is not None and not self._may_spend(len(datagram), allowance):
            is_hit = isinstance(message, Value) and message.value is not None
            datagram = None if is_hit else encode_within(answer, int(max(0.0, allowance)))
        if datagram is None:
            self._requests.statistics.dropped["answer_too_large"] += 1
        else:
            self._send(datagram, source)

    def _may_spend(self, size: int, allowance: float) -> bool:
        """Whether so many bytes may go to an address, some of them from the budget if need be."""
        return size <= allowance or self._budget.take(size - allowance, self._requests.clock())
