"""Nodes that ask each other by `Requests`, over links that lose, delay, double and reorder what a test says.

Rules of this file: the clock is Trio's (autojump). Datagrams, streams and answers travel by one heap; no assertion.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Callable

import attrs
import trio

from camomile_trio.config import Requests as Settings
from camomile_trio.errors import TransportError
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.peer.budget import HandshakeRates
from camomile_trio.peer.deadlines import Deadlines
from camomile_trio.peer.inbox import Inbox
from camomile_trio.peer.local import Local, StaticKey
from camomile_trio.peer.packets import About, unframe_untrusted
from camomile_trio.peer.pending import Pending
from camomile_trio.peer.requests import Requests
from camomile_trio.peer.seams import Answer, Request
from camomile_trio.peer.sessions import Sessions
from camomile_trio.peer.streams import Streams
from camomile_trio.simulation.suite import ToySuite
from camomile_trio.transport.base import Caller
from tests.peer.nodes import OPEN
from tests.peer.tiny_codec import Find, Get, Message, Nodes, Ping, Pong, Store, Stored, TinyCodec, Value

ONE_WAY = 0.01  # seconds
WALL_MS = 1_700_000_000_000
MAX_MESSAGE = 2**23


@attrs.frozen
class Sent:
    """A datagram as the network saw it leave."""

    at: float
    source: Endpoint
    to: Endpoint
    datagram: bytes

    @property
    def field(self) -> int:
        return unframe_untrusted(self.datagram)[0]


# How long each copy of a datagram takes, in seconds; none: it is lost.
Fate = Callable[[Sent], tuple[float, ...]]


def usual(sent: Sent) -> tuple[float, ...]:
    return (ONE_WAY,)


def lost(sent: Sent) -> tuple[float, ...]:
    return ()


class Mesh:
    """The network of a test."""

    def __init__(self) -> None:
        self.fate: Fate = usual
        self.sent: list[Sent] = []
        self.streams = 0
        self.stream_fails = ""  # with these words
        self.nodes: dict[Endpoint, MeshNode] = {}
        self.deadlines = Deadlines()

    def send(self, datagram: bytes, source: Endpoint, to: Endpoint) -> None:
        sent = Sent(trio.current_time(), source, to, datagram)
        self.sent.append(sent)
        for delay in self.fate(sent):
            self.deadlines.set(sent.at + delay, lambda: self.deliver(sent))

    def deliver(self, sent: Sent) -> None:
        node = self.nodes.get(sent.to)
        if node is not None:
            node.inbox.on_datagram(sent.datagram, sent.source)

    async def exchange(self, source: MeshNode, message: bytes, to: Endpoint, caller: Caller) -> bytes:
        """Over a connection of its own."""
        self.streams += 1
        await trio.sleep(ONE_WAY)
        node = self.nodes.get(to)
        if self.stream_fails or node is None:
            raise TransportError(self.stream_fails or f"cannot reach {to} by TCP")
        conversation = node.streams.on_connection(source.endpoint)

        async def answered(message: bytes) -> bytes:
            answer = await conversation.answer(message)
            if answer is None:
                raise TransportError("closed without an answer")
            return answer

        caller.on_first(await answered(caller.first()))
        answer = await caller.opened(await answered(await caller.sealed(message)))
        await trio.sleep(ONE_WAY)
        return answer

    def fields(self, source: MeshNode | None = None) -> list[int]:
        """Which messages have left, since this was asked last."""
        fields = [each.field for each in self.sent if source is None or each.source == source.endpoint]
        self.sent.clear()
        return fields


@attrs.define(eq=False)
class Asked:
    """What became of one request."""

    pending: Pending[Message] | None = None
    replies: list[Answer[Message]] = attrs.field(factory=list)
    overdue_at: list[float] = attrs.field(factory=list)
    failed_at: list[float] = attrs.field(factory=list)
    replied_at: list[float] = attrs.field(factory=list)

    def on_reply(self, answer: Answer[Message]) -> None:
        self.replies.append(answer)
        self.replied_at.append(trio.current_time())

    @property
    def answer(self) -> Message:
        (reply,) = self.replies
        return reply.message

    @property
    def ends(self) -> int:
        return len(self.replies) + len(self.failed_at)


class MeshNode:
    """One run of one node. It answers at once, as `answer_of` says, and notes all that it hears."""

    def __init__(
        self,
        mesh: Mesh,
        name: str,
        host: str,
        *,
        run: int = 0,
        settings: Settings | None = None,
        most_peers: int = 64,
        rates: HandshakeRates | None = None,
        on_classic: Callable[[bytes, Endpoint], None] | None = None,
    ) -> None:
        self.mesh, self.name = mesh, name
        self.endpoint = Endpoint.parse(f"{host}:8118")
        suite = ToySuite()
        static = StaticKey.from_seed(suite, (name.encode() * 32)[:32])
        local = Local.start(static, (OPEN,), suite, random.Random(f"{name} {run} {host}"))
        self.sessions = Sessions(local, trio.current_time(), most_peers=most_peers, rates=rates)
        self.requests: Requests[Message] = Requests(
            sessions=self.sessions,
            codec=TinyCodec(),
            link=self,
            hooks=self,
            settings=settings or Settings(),
            wall_ms=lambda: WALL_MS + int(1000 * trio.current_time()),
        )
        self.inbox = Inbox(self.requests, self.handle, on_classic=on_classic)
        self.streams = Streams(
            transport=MeshTransport(self),  # type: ignore[arg-type]  # it has only what streams use
            local=local,
            wall_ms=self.requests.wall_ms,
            max_message=MAX_MESSAGE,
            handle=self.inbox.on_stream_message,
            is_member=lambda public: False,
            afford=lambda source: self.sessions.responder.afford_stream(source.ip, trio.current_time()),
        )
        self.answer_of: Callable[[Message], Message | None] = answer_of
        self.handled: list[Request[Message]] = []
        self.responded: list[tuple[Contact, About]] = []
        self.confirmed: list[tuple[Contact, About]] = []
        self.copied: list[Contact] = []
        self.answered: list[Answer[Message]] = []
        self.missed: list[Contact] = []
        self.failed_streams: list[tuple[Contact, str]] = []
        self.foreign: list[tuple[Endpoint, str]] = []
        mesh.nodes[self.endpoint] = self

    @property
    def contact(self) -> Contact:
        return Contact.of(self.sessions.local.static.public, self.endpoint)

    def names(self) -> list[str]:
        """Of the requests that it has handled."""
        return [request.message.name for request in self.handled]

    def ask(self, other: MeshNode | Contact, message: Message, *, told_by: tuple[Contact, ...] = ()) -> Asked:
        asked = Asked()
        contact = other.contact if isinstance(other, MeshNode) else other
        asked.pending = self.requests.request(
            contact,
            message,
            on_reply=asked.on_reply,
            on_overdue=lambda: asked.overdue_at.append(trio.current_time()),
            on_failed=lambda: asked.failed_at.append(trio.current_time()),
            told_by=told_by,
        )
        return asked

    def move(self, host: str) -> None:
        """It keeps its sessions, and its old address answers no more."""
        del self.mesh.nodes[self.endpoint]
        self.endpoint = Endpoint.parse(f"{host}:8118")
        self.mesh.nodes[self.endpoint] = self

    # Link

    def send(self, datagram: bytes, to: Endpoint) -> None:
        self.mesh.send(datagram, self.endpoint, to)

    async def exchange(self, contact: Contact, inner: bytes) -> bytes:
        return await self.streams.exchange(contact, inner)

    # Hooks, and the handler

    def handle(self, request: Request[Message]) -> None:
        self.handled.append(request)
        answer = self.answer_of(request.message)
        if answer is not None:
            request.answer(answer)

    def on_responded(self, contact: Contact, about: About) -> None:
        self.responded.append((contact, about))

    def on_confirmed(self, contact: Contact, about: About) -> None:
        self.confirmed.append((contact, about))

    def on_copied_key(self, contact: Contact) -> None:
        self.copied.append(contact)

    def on_answered(self, request: Message, answer: Answer[Message], now: float) -> None:
        self.answered.append(answer)

    def on_missed(self, contact: Contact, asked_at: float) -> None:
        self.missed.append(contact)

    def on_stream_failed(self, contact: Contact, why: str) -> None:
        self.failed_streams.append((contact, why))

    def on_foreign(self, source: Endpoint, reason: str) -> None:
        self.foreign.append((source, reason))


@attrs.frozen(eq=False)
class MeshTransport:
    """What streams see of the mesh."""

    node: MeshNode

    async def exchange(self, message: bytes, to: Endpoint, *, peer: bytes, caller: Callable[[], Caller]) -> bytes:
        return await self.node.mesh.exchange(self.node, message, to, caller())


def answer_of(message: Message) -> Message | None:
    """Finds and gets ask for as many bytes as their body says."""
    if isinstance(message, Ping):
        return Pong(message.name)
    if isinstance(message, Find):
        return Nodes(message.name, bytes(int(message.body or b"100")))
    if isinstance(message, Get):
        return Value(message.name, bytes(int(message.body or b"100")))
    return Stored(message.name) if isinstance(message, Store) else None


def restarted(node: MeshNode) -> MeshNode:
    """A new run of the same node, without its sessions. Its requests are run by `running`."""
    return MeshNode(node.mesh, node.name, node.endpoint.host, run=id(node))


@contextlib.asynccontextmanager
async def running(mesh: Mesh, *nodes: MeshNode) -> AsyncIterator[None]:
    """The network delivers, and the deadlines of these nodes are called."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mesh.deadlines.run)
        for node in nodes:
            await nursery.start(node.requests.run)
        yield
        nursery.cancel_scope.cancel()


async def met(first: MeshNode, second: MeshNode) -> None:
    """`first` and `second` have a confirmed session, which `first` began, and nothing has been noted of it."""
    await first.requests.ask(second.contact, Ping("meet"))
    await trio.sleep(0.1)
    for node in (first, second):
        for noted in (node.handled, node.responded, node.confirmed, node.answered):
            noted.clear()
    first.mesh.sent.clear()
