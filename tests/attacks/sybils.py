"""Nodes of an attacker: many in one process, each with a key and a port of its own, on real sockets.

Rules of this file: they are made of the package's own room for peers, so they speak as nodes do, and are held to the
protocol as far as honest nodes can see. They have no store and no routing table. What they answer is up to their
`Manners`, which adversaries of the simulation share.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import attrs
import trio

from camomile_trio.config import Config
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import as_int
from camomile_trio.kademlia.messages import Leave, Message, Ping
from camomile_trio.peer.handshake import NetworkKey
from camomile_trio.peer.inbox import Inbox
from camomile_trio.peer.local import Local, StaticKey
from camomile_trio.peer.packets import About
from camomile_trio.peer.requests import Requests
from camomile_trio.peer.seams import Answer, Request
from camomile_trio.peer.sessions import Sessions
from camomile_trio.peer.streams import Answering, Streams
from camomile_trio.peer.suite import NaclSuite
from camomile_trio.simulation.manners import Manners
from camomile_trio.transport.udp import UdpTransport, open_udp
from camomile_trio.wire.codec import Codec

SEED_BYTES = 32
MOST_MESSAGE = 2**21
MEETING_AT_ONCE = 4  # handshakes of one of them that are under way together


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


@attrs.define(eq=False)
class _Deaf:
    """What requests tell of peers is of no use to an attacker."""

    def on_responded(self, contact: Contact, about: About) -> None: ...
    def on_confirmed(self, contact: Contact, about: About) -> None: ...
    def on_copied_key(self, contact: Contact) -> None: ...
    def on_answered(self, request: Message, answer: Answer[Message]) -> None: ...
    def on_missed(self, contact: Contact, asked_at: float) -> None: ...
    def on_stream_failed(self, contact: Contact, why: str) -> None: ...
    def on_foreign(self, source: Endpoint, reason: str) -> None: ...


@attrs.frozen
class _Link:
    """The ways out of one of them."""

    _transport: UdpTransport
    _streams: Streams

    def send(self, datagram: bytes, to: Endpoint) -> bool:
        return self._transport.send(datagram, to)

    async def exchange(self, contact: Contact, inner: bytes) -> bytes:
        return await self._streams.exchange(contact, inner)


class Sybil:
    """One node of the attacker. It is its transport's `Inbound`; made by `open_sybil`."""

    def __init__(
        self,
        transport: UdpTransport,
        seed: bytes,
        network: NetworkKey,
        manners: Manners,
        advertised: bytes,
        wall_ms: Callable[[], int],
    ) -> None:
        suite = NaclSuite()
        local = Local.start(StaticKey.from_seed(suite, seed), (network,), suite, random.SystemRandom())
        local.advertised = advertised
        self.contact = Contact.of(local.static.public, transport.endpoint)
        self.manners = manners
        self._wall_ms = wall_ms
        self._sessions = Sessions(local, trio.current_time())
        self._streams = Streams(
            transport=transport,
            local=local,
            wall_ms=wall_ms,
            max_message=MOST_MESSAGE,
            handle=self._on_stream_message,
            is_member=lambda public: True,
            afford=lambda source: True,
        )
        self.requests: Requests[Message] = Requests(
            sessions=self._sessions,
            codec=Codec(),
            link=_Link(transport, self._streams),
            hooks=_Deaf(),
            settings=Config().requests,
            wall_ms=wall_ms,
        )
        self._inbox = Inbox(self.requests, self._on_request)
        self.on_datagram = self._inbox.on_datagram
        self.is_expected = self._sessions.is_expected
        self.has_session_at = self._sessions.table.has_session_at
        self._has_left = False
        self._met: dict[bytes, Contact] = {}

    def on_turn_begin(self) -> None: ...

    def on_turn_end(self) -> None: ...

    def on_connection(self, source: Endpoint) -> Answering:
        return self._streams.on_connection(source)

    def _on_request(self, request: Request[Message]) -> None:
        if self._has_left:
            return
        answer = self.manners.answer(request.message, request.contact.endpoint, self._wall_ms())
        if answer is not None:
            request.answer(answer)

    async def _on_stream_message(self, contact: Contact, inner_untrusted: bytes) -> bytes | None:
        if self.manners.hangs:
            await trio.sleep_forever()
        return await self._inbox.on_stream_message(contact, inner_untrusted)

    async def ask(self, peer: Contact, message: Message) -> Message | None:
        """What the peer answers, by a session that is made if there is none; None for no answer."""
        answer = await self.requests.ask(peer, message)
        if answer is None:
            return None
        self._met[peer.public] = peer
        return answer.message

    async def meet(self, peers: Iterable[Contact]) -> None:
        """Makes a session with each, where that can be."""
        limiter = trio.CapacityLimiter(MEETING_AT_ONCE)

        async def meet_one(peer: Contact) -> None:
            async with limiter:
                await self.ask(peer, Ping())

        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(meet_one, peer)

    def leave(self) -> None:
        """Tells the peers that it met; from then on it answers nothing."""
        self._has_left = True
        for peer in self._met.values():
            self.requests.tell(peer, Leave())


@asynccontextmanager
async def open_sybil(
    at: Endpoint,
    network: NetworkKey,
    manners: Manners,
    *,
    seed: bytes,
    advertised: bytes = b"",
    wall_ms: Callable[[], int] = wall_ms,
) -> AsyncIterator[Sybil]:
    """A node that lives for the length of the block."""
    async with open_udp(at) as transport, trio.open_nursery() as nursery:
        sybil = Sybil(transport, seed, network, manners, advertised, wall_ms)
        await nursery.start(sybil.requests.run)
        await nursery.start(transport.serve, sybil)
        yield sybil
        nursery.cancel_scope.cancel()


def grind(beside: bytes, shared: int, count: int, rng: random.Random) -> list[bytes]:
    """Seeds of so many nodes, whose ids share at least `shared` leading bits with `beside`."""
    suite, number, room = NaclSuite(), as_int(beside), 8 * len(beside) - shared
    found: list[bytes] = []
    while len(found) < count:
        seed = rng.randbytes(SEED_BYTES)
        if (as_int(StaticKey.from_seed(suite, seed).node_id) ^ number) >> room == 0:
            found.append(seed)
    return found
