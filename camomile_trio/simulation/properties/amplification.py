"""A forged address cannot make a node send there more than three times the bytes that it cost.

Rules of this file: it sees datagrams only, and keeps its own account of which address has proven itself to which node:
for sessions by a response to an initiation that was sent there, or by a sealed packet under the index that a response
gave there; among classic nodes by an answer to a request's session. Until then answers are at most three times what
came from there, and nothing sealed goes there at all. Classic peers share a budget beyond that; the ping that goes with
a classic answer counts with it. What a node itself asks is no answer: of that, few go to an address before it has
proven itself.
"""

from __future__ import annotations

from collections import deque

import attrs

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.properties.base import Property
from camomile_trio.simulation.reading import CLASSIC_HEAD, Datagram, Kind
from camomile_trio.simulation.world import World
from camomile_trio.wire import classic

MOST_WATCHED = 500
# The rules' own numbers, and not the code's, which may be wrong.
MOST_TIMES = 3
MINUTE = 60.0  # s
MOST_CLASSIC_FIRST = 2  # first requests in a minute
# In a minute to one node: at once, then after 1, 2, 4 and every 8 s; for each network that names nodes there.
MOST_INITIATIONS = 10
_COST = (Kind.INITIATION, Kind.HELLO)
_ANSWERS = (Kind.RESPONSE, Kind.COOKIE, Kind.HELLO_ANSWER)
_CLASSIC_ANSWERS = (classic.NodeList, classic.Value, classic.Pong)


@attrs.define(eq=False)
class Account:
    """What passed between a node and an address that has not proven itself to it."""

    is_proven: bool = False
    received: int = 0  # bytes that asked for answers
    sent: int = 0  # bytes of answers
    firsts: deque[float] = attrs.field(factory=deque)  # when first requests of the node's own left, in the last minute

    def beyond_with(self, size: int) -> int:
        """Counts so many bytes of an answer; how many of them are more than the rule allows."""
        before = self._beyond()
        self.sent += size
        return self._beyond() - before

    def _beyond(self) -> int:
        return max(0, self.sent - MOST_TIMES * self.received)


@attrs.define(eq=False)
class SessionAccount(Account):
    """By handshakes."""

    initiated: dict[bytes, None] = attrs.field(factory=dict)  # indexes of initiations that were sent there
    given: dict[bytes, None] = attrs.field(factory=dict)  # indexes that responses gave there; b"" for one unread

    def on_received(self, seen: Datagram, size: int) -> bool:
        """Whether it has proven itself."""
        is_answer = seen.kind is Kind.RESPONSE and seen.index in self.initiated
        confirms = seen.kind is Kind.SEALED and (seen.index in self.given or b"" in self.given)
        if seen.kind in _COST:
            self.received += size
        return is_answer or confirms


PROVEN = SessionAccount(is_proven=True)  # nothing more is counted


@attrs.define(eq=False)
class ClassicAccount(Account):
    """By sessions of classic packets."""

    heard_at: float = -1.0
    # Sessions of the node's requests to it; true for pings that went with an answer.
    asked: dict[bytes, bool] = attrs.field(factory=dict)


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
    sessions: dict[Endpoint, SessionAccount] = attrs.field(factory=dict)
    classic: dict[Endpoint, ClassicAccount] = attrs.field(factory=dict)
    heard: Endpoint | None = None  # whose packet came last

    def session(self, other: Endpoint) -> SessionAccount:
        account = self.sessions.get(other)
        if account is None:
            account = self.sessions[other] = SessionAccount()
        return account


class Amplification(Property):
    """Watches all datagrams of the first `MOST_WATCHED` machines. A packet costs a look into two dicts, and is read
    only while the address is unproven."""

    name = "forged addresses get three times their bytes at most"
    reads = "whether what confirms a session is sealed under the index that its address was given"
    watches_packets = True

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._books: dict[Endpoint, Book] = {}

    def on_sent(self, time: float, source: Endpoint, destination: Endpoint, payload: bytes) -> None:
        book = self._book(source)
        if book is None:
            return
        if payload.startswith(CLASSIC_HEAD):
            peer = book.classic.setdefault(destination, ClassicAccount())
            if not peer.is_proven:
                self._on_classic_sent(book, peer, destination, payload)
            return
        account = book.session(destination)
        if not account.is_proven:
            self._on_sent(book, account, destination, payload)

    def on_received(self, time: float, source: Endpoint, destination: Endpoint, payload: bytes) -> None:
        book = self._book(destination)
        if book is None:
            return
        book.heard = source
        if payload.startswith(CLASSIC_HEAD):
            peer = book.classic.setdefault(source, ClassicAccount())
            if not peer.is_proven:
                self._on_classic_received(peer, payload)
            return
        account = book.session(source)
        if not account.is_proven and account.on_received(self.world.reader.read(payload), len(payload)):
            book.sessions[source] = PROVEN

    # Sessions ------------------------------------------------------------------------------------------------------

    def _on_sent(self, book: Book, account: SessionAccount, to: Endpoint, payload: bytes) -> None:
        seen = self.world.reader.read(payload)
        if seen.kind is Kind.INITIATION:
            if seen.index not in account.initiated:
                account.initiated[seen.index] = None
                # A machine that started again may have got another key each time, and exchanged places with another.
                there = self.world.machine_at(to)
                keys = self.world.lying_networks if there is None else 1 + there.lives
                self._count_first(book, account, to, keys * MOST_INITIATIONS, "initiations")
        elif seen.kind in _ANSWERS:
            if seen.kind is Kind.RESPONSE:
                account.given[seen.new_index] = None
            if account.beyond_with(len(payload)):
                self._too_much(book, account, to)
        elif seen.kind is Kind.SEALED:
            self._violated(book, f"nothing sealed to {to}, which has no session", f"{len(payload)} bytes")

    # Classic nodes -------------------------------------------------------------------------------------------------

    def _on_classic_sent(self, book: Book, peer: ClassicAccount, to: Endpoint, payload: bytes) -> None:
        packet = self.world.reader.read(payload).classic
        if packet is None:
            return
        if isinstance(packet.message, _CLASSIC_ANSWERS):
            self._count_classic(book, peer, to, len(payload))
            return
        is_join = isinstance(packet.message, classic.FindNode) and packet.message.target == packet.sender
        # Of an address that the operator has named, the rule of first requests says nothing.
        if packet.session not in peer.asked and not is_join:
            self._count_first(book, peer, to, MOST_CLASSIC_FIRST, "first requests")
        # A request that goes out while another is being received goes with its answer. A third node may have been
        # heard in the same moment, which has named this address.
        is_being_received = peer.heard_at == self.world.now and book.heard == to
        goes_with = isinstance(packet.message, classic.Ping) and is_being_received
        peer.asked[packet.session] = peer.asked.get(packet.session, False) or goes_with
        if peer.asked[packet.session]:
            self._count_classic(book, peer, to, len(payload))

    def _on_classic_received(self, peer: ClassicAccount, payload: bytes) -> None:
        packet = self.world.reader.read(payload).classic
        if packet is None:
            return
        if not isinstance(packet.message, _CLASSIC_ANSWERS):
            peer.received += len(payload)
            peer.heard_at = self.world.now
        elif packet.session in peer.asked:
            peer.is_proven = True
            peer.asked.clear()

    # Accounts ------------------------------------------------------------------------------------------------------

    def _book(self, own: Endpoint) -> Book | None:
        """A new one for each life: a node that starts again has forgotten who has proven itself."""
        book = self._books.get(own)
        if book is not None and book.life == book.machine.lives and book.machine.endpoint == own:
            return book
        machine = self.world.machine_at(own)
        if machine is None or machine.number >= MOST_WATCHED or machine.endpoint != own:
            return None
        rate = float(machine.config.requests.classic_budget)
        book = self._books[own] = Book(machine, machine.lives, Budget(rate, self.world.now))
        return book

    def _count_first(self, book: Book, account: Account, to: Endpoint, most: int, what: str) -> None:
        now, firsts = self.world.now, account.firsts
        while firsts and now - firsts[0] >= MINUTE:
            firsts.popleft()
        firsts.append(now)
        if len(firsts) > most:
            seen = f"{len(firsts)} in {now - firsts[0]:.1f} s"
            self._violated(book, f"{most} {what} a minute to {to}, which has never answered", seen)
            firsts.popleft()

    def _count_classic(self, book: Book, peer: ClassicAccount, to: Endpoint, size: int) -> None:
        beyond, rate = peer.beyond_with(size), float(book.machine.config.requests.classic_budget)
        if beyond and not book.budget.spend(beyond, rate, self.world.now):
            self._too_much(book, peer, to)

    def _too_much(self, book: Book, account: Account, to: Endpoint) -> None:
        expected = f"{MOST_TIMES * account.received} bytes at most to {to}, which sent {account.received}"
        self._violated(book, expected, f"{account.sent} bytes")

    def _violated(self, book: Book, expected: str, seen: str) -> None:
        self.world.violated(self.name, expected, seen, book.machine)
