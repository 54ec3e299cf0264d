"""An adversary: a machine with a node's key of its own, which makes real handshakes and then says what it likes.

Rules of this file: verbs of one who means no good, and nothing of what must come of them. It can do what anybody can
who has a key and may forge a source: it has no other node's secret. How it answers is up to its manners.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import attrs
import trio

from camomile_trio.errors import MalformedPacket, TransportError
from camomile_trio.identity import KeyPair, network_id
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import NodeId
from camomile_trio.kademlia.messages import Message, Ping
from camomile_trio.peer.decisions import Initiated, Opened, Reply, Responded
from camomile_trio.peer.handshake import NetworkKey, open_network_key
from camomile_trio.peer.local import Local, StaticKey
from camomile_trio.peer.packets import COUNTER_BYTES, INDEX_BYTES, MOST_INNER, NO_COOKIE, SEALED, frame
from camomile_trio.peer.sessions import Sessions
from camomile_trio.peer.streams import Streams
from camomile_trio.peer.suite import KEY_BYTES
from camomile_trio.simulation.clocks import WallClock
from camomile_trio.simulation.manners import Manners
from camomile_trio.simulation.network import MemoryTransport
from camomile_trio.simulation.strangers import LARGEST_MESSAGE, Stranger, open_stranger
from camomile_trio.simulation.world import World
from camomile_trio.wire.codec import Codec


@attrs.define(eq=False)
class Adversary(Stranger):
    """`mouth`: the address that its sealed packets come from, which may be another than its own. None: it is deaf, as
    one that forges its address, so it completes no handshake."""

    pair: KeyPair  # what it signs with
    sessions: Sessions
    mouth: Endpoint | None
    rng: random.Random
    wall_ms: Callable[[], int]
    manners: Manners = attrs.field(factory=Manners)
    _codec: Codec = attrs.field(factory=Codec)
    _waiting: dict[bytes, list[bytes]] = attrs.field(factory=dict)  # inner packets, by the peer that has no session yet
    _number: int = 0
    _streams: Streams = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._streams = Streams(
            transport=self.transport,
            local=self.sessions.local,
            wall_ms=self.wall_ms,
            max_message=LARGEST_MESSAGE,
            handle=_answer_nothing,
            is_member=lambda public: False,
            afford=lambda source: False,
        )

    @property
    def id(self) -> NodeId:
        return self.sessions.local.static.node_id

    @property
    def contact(self) -> Contact:
        return Contact.of(self.sessions.local.static.public, self.endpoint)

    def has_session_with(self, contact: Contact) -> bool:
        return self.sessions.table.current(contact.public) is not None

    @property
    def network(self) -> bytes:
        return self.sessions.local.network_keys[0].network_id

    # What it says --------------------------------------------------------------------------------------------------

    def begin(self, to: Contact, message: Message, *, padded_to: int = 0) -> None:
        """A handshake, with any message as its first request, in a datagram of so many bytes at least."""
        first, now = self._inner(message), trio.current_time()
        initiator = self.sessions.initiator
        datagram = initiator.initiate(to.public, to.endpoint, first, now, self.wall_ms(), padded_to)
        self.transport.send(datagram, to.endpoint)

    def say(self, message: Message, to: Contact) -> None:
        """Sealed, after a handshake if there has been none."""
        inner = self._inner(message)
        if not self._seal(to.public, inner):
            self._waiting.setdefault(to.public, []).append(inner)
            self.begin(to, Ping())

    def seal_without_session(self, message: Message, to: Contact) -> None:
        """Sealed under a key and an index that nobody has agreed on."""
        sealed = self.sessions.local.suite.seal(self.rng.randbytes(KEY_BYTES), 0, b"", self._inner(message))
        body = self.rng.randbytes(INDEX_BYTES) + bytes(COUNTER_BYTES) + sealed
        self.transport.send(frame(SEALED, body), to.endpoint)

    def begin_with_a_wrong_cookie(self, to: Contact) -> None:
        """A handshake that says that it was made with a cookie, and was not: all but its mac2 is right."""
        datagram = self.sessions.initiator.initiate(
            to.public, to.endpoint, self._inner(Ping()), trio.current_time(), self.wall_ms()
        )
        self.transport.send(datagram[: -len(NO_COOKIE)] + self.rng.randbytes(len(NO_COOKIE)), to.endpoint)

    def ask_for_the_key(self, at: Endpoint) -> None:
        """A hello."""
        self.transport.send(self.sessions.initiator.hello(at, trio.current_time()), at)

    async def ask_by_stream(self, message: Message, to: Contact) -> bool:
        """Whether there was an answer. A stream that is open already is used again."""
        try:
            await self._streams.exchange(to, self._inner(message))
        except TransportError:
            return False
        return True

    def _inner(self, message: Message) -> bytes:
        self._number += 1
        return self._codec.encode(self._number, message, self.sessions.local.flags)

    def _seal(self, public: bytes, inner: bytes) -> bool:
        sealed = self.sessions.seal(public, inner, trio.current_time())
        if sealed is None or self.mouth is None:
            return False
        self.transport.forge(sealed.datagram, sealed.endpoint, source=self.mouth)
        return True

    # What it hears -------------------------------------------------------------------------------------------------

    def on_datagram(self, datagram_untrusted: bytes, source: Endpoint) -> None:
        if self.mouth is None:
            return
        now, wall_ms = trio.current_time(), self.wall_ms()
        decision = self.sessions.on_datagram(datagram_untrusted, source, now, wall_ms)
        if isinstance(decision, Responded):
            self._seal(decision.contact.public, b"")
            for inner in self._waiting.pop(decision.contact.public, []):
                self._seal(decision.contact.public, inner)
        elif isinstance(decision, Opened):
            answer = self._answer(decision.inner, source, MOST_INNER)
            if answer is not None:
                self._seal(decision.contact.public, answer)
        elif isinstance(decision, Initiated):
            answer = self._answer(decision.request, source, decision.room)
            response = self.sessions.responder.respond(decision, answer, now, wall_ms) if answer is not None else None
            if response is not None:
                self.transport.forge(response, source, source=self.mouth)
        elif isinstance(decision, Reply):
            self.transport.send(decision.datagram, source)

    def _answer(self, inner_untrusted: bytes, source: Endpoint, room: int) -> bytes | None:
        """The inner packet that answers this one, in so many bytes; None if it gets no answer."""
        try:
            number, message, _ = self._codec.decode_untrusted(inner_untrusted)
        except MalformedPacket:
            return None
        answer = self.manners.answer(message, source, self.wall_ms())
        return (
            self._codec.encode_within(number, answer, self.sessions.local.flags, room) if answer is not None else None
        )

    async def on_stream_message(self, message_untrusted: bytes, source: Endpoint) -> bytes | None:
        if self.manners.hangs:
            await trio.sleep_forever()
        return None


async def _answer_nothing(contact: Contact, message: bytes) -> bytes | None:
    return None


def open_adversary(
    world: World,
    at: Endpoint,
    *,
    mouth: Endpoint | None,
    network_key: bytes | None = None,
    pair: KeyPair | None = None,
    clock_error: float = 0.0,
    advertises: Endpoint | None = None,
    flags: int = 0,
) -> AbstractAsyncContextManager[Adversary]:
    """An adversary that lives at `at` for the length of the block.

    `network_key`: of the closed network that it has got into, or of any other; None: that of the open network.
    `pair`: whose key it is; None: a new one. `clock_error`: ms by which its clock is ahead. `advertises`: where its
    handshakes say that it is reached. `flags`: what it says of itself in all packets.
    """
    rng = world.generator("adversary", at)
    network = network_id(world.config.network)

    def make(transport: MemoryTransport) -> Adversary:
        own = pair or KeyPair.new(rng)
        static = StaticKey.from_seed(world.suite, own.seed)
        keys = (NetworkKey.of(network_key or open_network_key(network), network),)
        local = Local.start(static, keys, world.suite, rng)
        local.advertised, local.flags = advertises or b"", flags
        return Adversary(transport, own, Sessions(local, world.now), mouth, rng, WallClock(clock_error))

    return open_stranger(world.network, at, make)
