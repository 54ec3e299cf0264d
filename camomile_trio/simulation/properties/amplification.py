"""A forged address cannot make a node send there more than three times the bytes that it cost.

Rules of this file: it sees datagrams only, and keeps its own account of who has proven itself to whom: an address has
when it answered a request with that request's session. Requests of a node's own lookups are no answers; the ping that
goes with an answer counts with it. Classic peers share a budget beyond that. Of all requests of a node's own, few go to
an address before it has proven itself.
"""

from __future__ import annotations

import math

import attrs

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.messages import (
    FindNode,
    HaveResult,
    NodeList,
    Packet,
    Ping,
    Pong,
    StoreResult,
    TooLarge,
    Value,
)
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.properties.base import Property
from camomile_trio.simulation.world import World
from camomile_trio.wire.codec import decode_untrusted

MOST_WATCHED = 500
# The rules' own numbers, and not the code's, which may be wrong.
MOST_TIMES = 3
MINUTE = 60.0  # s, in which two first requests may go out
ANSWERS = (NodeList, StoreResult, Value, Pong, HaveResult, TooLarge)
# How a packet of ours begins: a session, a sender, then a Pong, a Value or a NodeList.
_SESSION_HEAD, _SENDER_HEAD, _ANSWER_TAGS = b"\x0a\x20", b"\x12\x20", frozenset((b"\x22", b"\x32", b"\x4a"))


@attrs.define(eq=False)
class Account:
    """What passed between a node and an address that has not proven itself to it."""

    is_proven: bool = False
    received: int = 0  # bytes of its requests
    sent: int = 0  # bytes of answers to them, and of the pings that went with them
    heard_at: float = -1.0
    is_classic: bool = False
    # Sessions of the node's requests to it; true for pings that went with an answer.
    asked: dict[bytes, bool] = attrs.field(factory=dict)
    # When the last two of those requests were sent.
    older: float = -math.inf
    newer: float = -math.inf


@attrs.define(eq=False)
class Budget:
    """What a node may still send to classic peers beyond the rule."""

    left: float
    at: float = 0.0

    def spend(self, size: int, rate: float, now: float) -> bool:
        self.left = min(self.left + (now - self.at) * rate, rate) - size
        self.at = now
        return self.left >= 0


@attrs.define(eq=False)
class Book:
    """What one node has to do with others since its start, by their addresses."""

    machine: Machine
    life: int
    budget: Budget
    accounts: dict[Endpoint, Account] = attrs.field(factory=dict)
    heard: Endpoint | None = None  # whose datagram came last


class Amplification(Property):
    """Watches all datagrams of the first `MOST_WATCHED` machines. A packet costs a look into a dict, and is decoded
    only while the address is unproven."""

    name = "forged addresses get three times their bytes at most"
    watches_packets = True

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._books: dict[Endpoint, Book] = {}

    def on_sent(self, time: float, source: Endpoint, destination: Endpoint, payload: bytes) -> None:
        account = self._account(source, destination)
        if account is None or account.is_proven:
            return
        if _is_answer_of_ours(payload):
            self._count(source, destination, account, len(payload))
            return
        packet = _decoded(payload)
        if packet is None:
            return
        if isinstance(packet.message, ANSWERS):
            self._count(source, destination, account, len(payload))
        else:
            if packet.session not in account.asked:
                self._count_first(source, destination, account, packet)
            is_repeat = account.asked.get(packet.session, False)
            # A request that goes out while another is being received goes with its answer. A third node may have been
            # heard in the same moment, which has named this address.
            is_being_received = account.heard_at == self.world.now and self._books[source].heard == destination
            goes_with = isinstance(packet.message, Ping) and is_being_received
            account.asked[packet.session] = is_repeat or goes_with
            if is_repeat or goes_with:
                self._count(source, destination, account, len(payload))

    def on_received(self, time: float, source: Endpoint, destination: Endpoint, payload: bytes) -> None:
        account = self._account(destination, source)
        if account is None:
            return
        self._books[destination].heard = source
        if account.is_proven:
            return
        if _is_answer_of_ours(payload) and payload[2:34] not in account.asked:
            return
        packet = _decoded(payload)
        if packet is None:
            return
        if not isinstance(packet.message, ANSWERS):
            account.received += len(payload)
            account.heard_at = self.world.now
            account.is_classic = packet.version == 0
        elif packet.session in account.asked:
            account.is_proven = True
            account.asked = {}

    def _count_first(self, own: Endpoint, other: Endpoint, account: Account, packet: Packet) -> None:
        if isinstance(packet.message, FindNode) and packet.message.target == packet.sender:
            # A node that joins: its operator has named the address.
            return
        now = self.world.now
        if now - account.older < MINUTE:
            expected = f"two first requests a minute to {other}, which has never answered"
            self.world.violated(self.name, expected, f"three in {now - account.older:.1f} s", self._books[own].machine)
        account.older, account.newer = account.newer, now

    def _account(self, own: Endpoint, other: Endpoint) -> Account | None:
        book = self._books.get(own)
        if book is None or book.life != book.machine.lives or book.machine.endpoint != own:
            book = self._open_book(own)
            if book is None:
                return None
        account = book.accounts.get(other)
        if account is None:
            account = book.accounts[other] = Account()
        return account

    def _open_book(self, own: Endpoint) -> Book | None:
        """A new one for each life: a node that starts again has forgotten who has proven itself."""
        machine = self.world.machine_at(own)
        if machine is None or machine.number >= MOST_WATCHED or machine.endpoint != own:
            return None
        rate = float(machine.config.requests.classic_budget)
        book = self._books[own] = Book(machine, machine.lives, Budget(rate, self.world.now))
        return book

    def _count(self, own: Endpoint, other: Endpoint, account: Account, size: int) -> None:
        machine = self._books[own].machine
        before = max(0, account.sent - MOST_TIMES * account.received)
        account.sent += size
        beyond = max(0, account.sent - MOST_TIMES * account.received)
        if beyond <= before:
            return
        if account.is_classic:
            rate = float(machine.config.requests.classic_budget)
            if self._books[own].budget.spend(beyond - before, rate, self.world.now):
                return
        expected = f"{MOST_TIMES * account.received} bytes at most to {other}, which sent {account.received}"
        self.world.violated(self.name, expected, f"{account.sent} bytes", machine)


def _is_answer_of_ours(payload: bytes) -> bool:
    """At a glance, for most of what passes; nothing more needs to be known of it."""
    return payload[68:69] in _ANSWER_TAGS and payload[:2] == _SESSION_HEAD and payload[34:36] == _SENDER_HEAD


def _decoded(payload: bytes) -> Packet | None:
    try:
        return decode_untrusted(payload)
    except MalformedPacket:
        return None
