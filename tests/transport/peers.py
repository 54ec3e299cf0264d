"""Peers for tests of transports: what each received, what it answers, over the real or the simulated network."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal

import attrs
import trio

from camomile_trio.errors import TransportError
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.simulation.links import LinkConditions
from camomile_trio.simulation.network import MemoryNetwork
from camomile_trio.transport.base import Transport
from camomile_trio.transport.stream import DEFAULT_LIMITS, StreamLimits
from camomile_trio.transport.udp import open_udp

Kind = Literal["memory", "udp"]
ANY_PORT = Endpoint.parse("127.0.0.1:0")


async def echo(message: bytes) -> bytes | None:
    return message


async def forever(_message: bytes) -> bytes | None:
    await trio.Event().wait()
    return None


# What begins a connection: this and the caller's name. Nothing is sealed; what the peer room seals is tested there.
GREETING, WELCOME = b"this is ", b"welcome"


@attrs.define(eq=False)
class Conversation:
    """The accepting side of one connection. A first message that is no greeting is a further one at once, by nobody.

    Whoever has greeted is proven by its next message, as the peers of sealed connections are.
    """

    recorder: Recorder
    source: Endpoint
    name: bytes = b"nobody"
    peer: bytes = b""
    is_over: bool = False

    @property
    def most_bytes(self) -> int:
        return self.recorder.most_bytes

    @property
    def is_member(self) -> bool:
        return self.peer in self.recorder.members

    @property
    def is_from_member(self) -> bool:
        return self.source.ip in self.recorder.member_ips

    async def answer(self, message_untrusted: bytes) -> bytes | None:
        if message_untrusted.startswith(GREETING):
            self.name = message_untrusted.removeprefix(GREETING)
            return WELCOME
        self.peer = self.name
        return await self.recorder.on_message(message_untrusted, self.source)


@attrs.define(eq=False)
class Caller:
    """The asking side of one connection."""

    name: bytes = b"alice"
    most_bytes: int = 2**21
    is_over: bool = False

    def first(self) -> bytes:
        return GREETING + self.name

    def on_first(self, answer_untrusted: bytes) -> None:
        if answer_untrusted != WELCOME:
            raise TransportError("not welcome")

    async def sealed(self, message: bytes) -> bytes:
        return message

    async def opened(self, answer_untrusted: bytes) -> bytes:
        return answer_untrusted


@attrs.define(eq=False)
class Recorder:
    """Remembers what arrives. `answer` makes the answers to streams, `react` is called for each datagram."""

    answer: Callable[[bytes], Awaitable[bytes | None]] = echo
    react: Callable[[bytes, Endpoint], object] | None = None
    datagrams: list[tuple[bytes, Endpoint]] = attrs.field(factory=list)
    messages: list[tuple[bytes, Endpoint]] = attrs.field(factory=list)
    conversations: list[Conversation] = attrs.field(factory=list)
    most_bytes: int = 2**21
    members: set[bytes] = attrs.field(factory=set)  # their names
    member_ips: set[bytes] = attrs.field(factory=set)
    expected: set[tuple[bytes, Endpoint]] = attrs.field(factory=set)  # as if they were of sessions
    turns: list[int] = attrs.field(factory=list)  # how many datagrams had come before each turn
    is_in_turn: bool = False
    _changed: trio.Event = attrs.field(factory=trio.Event)

    def on_datagram(self, datagram_untrusted: bytes, source: Endpoint) -> None:
        assert self.is_in_turn
        self.datagrams.append((datagram_untrusted, source))
        self._change()
        if self.react is not None:
            self.react(datagram_untrusted, source)

    def is_expected(self, datagram_untrusted: bytes, source: Endpoint) -> bool:
        return (datagram_untrusted, source) in self.expected

    def has_session_at(self, prefix: bytes) -> bool:
        return any(source.startswith(prefix) for _datagram, source in self.expected)

    def on_turn_begin(self) -> None:
        self.turns.append(len(self.datagrams))
        self.is_in_turn = True

    def on_turn_end(self) -> None:
        assert self.is_in_turn
        self.is_in_turn = False

    def on_connection(self, source: Endpoint) -> Conversation:
        self.conversations.append(Conversation(self, source))
        return self.conversations[-1]

    async def on_message(self, message_untrusted: bytes, source: Endpoint) -> bytes | None:
        self.messages.append((message_untrusted, source))
        self._change()
        return await self.answer(message_untrusted)

    @property
    def payloads(self) -> list[bytes]:
        return [datagram for datagram, _source in self.datagrams]

    async def until(self, *, datagrams: int = 0, messages: int = 0) -> None:
        while len(self.datagrams) < datagrams or len(self.messages) < messages:
            await self._changed.wait()

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


@attrs.define(eq=False)
class Peer:
    transport: Transport
    inbound: Recorder
    # Ends `serve`, and with it all that the peer receives.
    serving: trio.CancelScope
    # Holds the transport open.
    block: contextlib.AsyncExitStack

    @property
    def endpoint(self) -> Endpoint:
        return self.transport.endpoint

    def send(self, datagram: bytes, to: Peer) -> bool:
        return self.transport.send(datagram, to.endpoint)

    async def exchange(
        self, message: bytes, to: Peer | Endpoint, *, peer: bytes = b"", caller: Callable[[], Caller] = Caller
    ) -> bytes:
        endpoint = to if isinstance(to, Endpoint) else to.endpoint
        return await self.transport.exchange(message, endpoint, peer=peer, caller=caller)


@attrs.define(eq=False)
class World:
    """A network with peers on it; all end with the block of `open_world`."""

    nursery: trio.Nursery
    stack: contextlib.AsyncExitStack
    network: MemoryNetwork | None

    async def join(
        self, inbound: Recorder | None = None, *, at: Endpoint = ANY_PORT, limits: StreamLimits = DEFAULT_LIMITS
    ) -> Peer:
        opened: contextlib.AbstractAsyncContextManager[Transport] = (
            open_udp(at, limits=limits) if self.network is None else self.network.open(at)
        )
        block = await self.stack.enter_async_context(contextlib.AsyncExitStack())
        peer = Peer(await block.enter_async_context(opened), inbound or Recorder(), trio.CancelScope(), block)

        async def serve(*, task_status: trio.TaskStatus[None]) -> None:
            with peer.serving:
                await peer.transport.serve(peer.inbound, task_status=task_status)

        await self.nursery.start(serve)
        return peer

    async def leave(self, peer: Peer) -> None:
        """The peer stops serving and closes its transport."""
        peer.serving.cancel()
        await peer.block.aclose()


def accounted(network: MemoryNetwork) -> bool:
    """Whether each datagram and each stream ended in one counter. Only once nothing is under way."""
    s = network.statistics
    datagrams = s.delivered + s.lost + s.cut + s.unasked + s.undeliverable + s.overflowed
    return s.sent + s.duplicated == datagrams and s.streams == s.streams_answered + s.streams_failed


@contextlib.asynccontextmanager
async def cluster(network: MemoryNetwork, size: int = 2) -> AsyncIterator[tuple[World, list[Peer]]]:
    """A world with so many peers, for tests in virtual time."""
    async with open_world("memory", network=network, patience=10_000) as world:
        yield world, [await world.join() for _ in range(size)]


@contextlib.asynccontextmanager
async def open_world(
    kind: Kind, *, network: MemoryNetwork | None = None, patience: float = 10.0
) -> AsyncIterator[World]:
    """`patience` in seconds of the test's clock: after it whatever the test waits for is not going to happen."""
    if kind == "memory" and network is None:
        network = MemoryNetwork(conditions=LinkConditions(latency=0.0))
    async with contextlib.AsyncExitStack() as stack:
        with trio.fail_after(patience):
            async with trio.open_nursery() as nursery:
                if network is not None:
                    await nursery.start(network.run)
                yield World(nursery, stack, network)
                nursery.cancel_scope.cancel()
