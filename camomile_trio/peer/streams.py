"""Messages over TCP, sealed: each connection makes a handshake of its own, then carries messages in their order.

Rules of this file: the transport moves whole messages and has all bounds of time and number; here each end of a
connection seals and opens them. Everything received is untrusted. What is wrong ends the connection: what came is not
handled, nothing goes back, and the transport closes. A recorded initiation gets a response and nothing more, since only
a message that was sealed for this connection is handled. Very large messages are sealed and opened in threads, so that
the node goes on meanwhile; virtual time does not wait for threads, and those of simulations are never so large.
Source: docs/protocol.md, Streams.
"""

from __future__ import annotations

import functools
import hmac
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, ParamSpec, TypeVar

import attrs
import trio

from camomile_trio.errors import MalformedPacket, TransportError
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.peer.decisions import NotForUs
from camomile_trio.peer.exchanges import VERY_LARGE
from camomile_trio.peer.handshake import NetworkKey
from camomile_trio.peer.local import Local
from camomile_trio.peer.noise import MESSAGE_1_OVERHEAD, MESSAGE_2_OVERHEAD, CipherState, HandshakeState
from camomile_trio.peer.packets import ABOUT_LENGTHS, MAC_BYTES, About
from camomile_trio.peer.suite import TAG_BYTES
from camomile_trio.transport.base import Transport

LENGTH_BYTES: Final = 4  # of a message's length, which is sealed before it
MOST_RECORD: Final = 2**16  # bytes of a sealed record, with its tag
LARGEST_MESSAGE: Final = 2**32 - 1 - 2**21  # so that the length of the sealed message has 32 bits, too
MOST_INITIATION: Final = MESSAGE_1_OVERHEAD + max(ABOUT_LENGTHS) + MAC_BYTES
MOST_RESPONSE: Final = MESSAGE_2_OVERHEAD + max(ABOUT_LENGTHS)

_CHUNK = MOST_RECORD - TAG_BYTES  # what a full record carries
_INITIATION = 27  # in mac1, where a datagram has its field number
_PROLOGUE = b"camomile stream 1\0"

P = ParamSpec("P")
T = TypeVar("T")


def sealed_length(length: int) -> int:
    """How many bytes a message of so many has when it is sealed."""
    whole = LENGTH_BYTES + length
    return whole + -(-whole // _CHUNK) * TAG_BYTES


def seal(cipher: CipherState, message: bytes) -> bytes:
    """The records of a message, one behind the other."""
    if not 0 < len(message) <= LARGEST_MESSAGE:
        raise ValueError(f"a message over a stream has 1 to {LARGEST_MESSAGE} bytes, not {len(message)}")
    whole = memoryview(message)
    first = _CHUNK - LENGTH_BYTES
    records = [cipher.encrypt_with_ad(b"", len(message).to_bytes(LENGTH_BYTES, "big") + whole[:first])]
    for start in range(first, len(message), _CHUNK):
        records.append(cipher.encrypt_with_ad(b"", bytes(whole[start : start + _CHUNK])))
    return b"".join(records)


def open_untrusted(cipher: CipherState, body_untrusted: bytes) -> bytes:
    """The message; MalformedPacket, and the cipher is of no more use."""
    body = memoryview(body_untrusted)
    first = cipher.decrypt_with_ad(b"", bytes(body[:MOST_RECORD]))
    length = int.from_bytes(first[:LENGTH_BYTES], "big")
    # There is one way to cut a message into records, and where each begins follows from it.
    if not length or len(body) != sealed_length(length):
        raise MalformedPacket("wrong_length")
    chunks = [first[LENGTH_BYTES:]]
    for start in range(MOST_RECORD, len(body), MOST_RECORD):
        chunks.append(cipher.decrypt_with_ad(b"", bytes(body[start : start + MOST_RECORD])))
    return b"".join(chunks)


class Asking:
    """Our side of a connection to the node with the key `peer`, which has been checked. A `Caller`."""

    def __init__(self, local: Local, peer: bytes, wall_ms: Callable[[], int], most_bytes: int) -> None:
        self._local = local
        self._network = local.network_keys[0]
        self._noise = HandshakeState.initiator(
            local.suite, prologue=_prologue(self._network), s=local.static.key, psk=self._network.psk, rs=peer
        )
        self._wall_ms = wall_ms
        self._most_answer = most_bytes
        self._ciphers: tuple[CipherState, CipherState] | None = None
        self.most_bytes = MOST_RESPONSE

    @property
    def is_over(self) -> bool:
        return self._network not in self._local.network_keys

    def first(self) -> bytes:
        message = self._noise.write_message_1(self._local.ephemeral(), self._local.about(self._wall_ms()).encode())
        return message + self._network.mac1(self._noise.rs, _INITIATION, message)

    def on_first(self, answer_untrusted: bytes) -> None:
        try:
            about = _decode_about(self._noise.read_message_2(answer_untrusted))
        except MalformedPacket as error:
            raise TransportError(f"another node answers the handshake over TCP: {error.reason}") from error
        if about.version != self._local.version:
            raise TransportError(
                f"the peer speaks version {about.version} of the protocol, not {self._local.version}",
                remedy="run the same version of Camomile at all nodes",
            )
        self._ciphers = self._noise.symmetric.split()
        self.most_bytes = self._most_answer

    async def sealed(self, message: bytes) -> bytes:
        assert self._ciphers is not None
        return await _maybe_in_thread(len(message), seal, self._ciphers[0], message)

    async def opened(self, answer_untrusted: bytes) -> bytes:
        assert self._ciphers is not None
        try:
            return await _maybe_in_thread(len(answer_untrusted), open_untrusted, self._ciphers[1], answer_untrusted)
        except MalformedPacket as error:
            raise TransportError(f"the answer over TCP is not the peer's: {error.reason}") from error


class Answering:
    """Our side of a connection that a peer made. A `Conversation`."""

    def __init__(self, streams: Streams, source: Endpoint) -> None:
        self._streams = streams
        self._source = source
        self._network: NetworkKey | None = None
        self._claimed = b""  # whose key the initiation was made with: it may be a replay
        self._ciphers: tuple[CipherState, CipherState] | None = None  # of what comes, and of what goes
        self.most_bytes = MOST_INITIATION
        self.peer = b""

    @property
    def is_member(self) -> bool:
        return bool(self.peer) and self._streams.is_member(self.peer)

    @property
    def is_from_member(self) -> bool:
        return self._streams.has_member_at(self._source.ip)

    @property
    def is_over(self) -> bool:
        return self._network is not None and self._network not in self._streams.local.network_keys

    async def answer(self, message_untrusted: bytes) -> bytes | None:
        try:
            if self._ciphers is None:
                return self._on_initiation(message_untrusted)
            receiving, sending = self._ciphers
            message = await _maybe_in_thread(len(message_untrusted), open_untrusted, receiving, message_untrusted)
        except (MalformedPacket, NotForUs) as error:
            self._streams.dropped[error.reason] += 1
            return None
        self.peer = self._claimed
        answer = await self._streams.handle(Contact.of(self.peer, self._source), message)
        return await _maybe_in_thread(len(answer), seal, sending, answer) if answer else None

    def _on_initiation(self, initiation_untrusted: bytes) -> bytes:
        local = self._streams.local
        message, mac1 = initiation_untrusted[:-MAC_BYTES], initiation_untrusted[-MAC_BYTES:]
        network = next((key for key in local.network_keys if _is_for(key, local.static.public, message, mac1)), None)
        if network is None:
            raise NotForUs("wrong_mac1")
        if not self._streams.afford(self._source):
            raise NotForUs("over_budget")
        noise = HandshakeState.responder(local.suite, prologue=_prologue(network), s=local.static.key, psk=network.psk)
        about = _decode_about(noise.read_message_1(message))
        if noise.rs == local.static.public:
            raise NotForUs("own_key")
        if about.version != local.version:
            raise NotForUs("other_version")
        response = noise.write_message_2(local.ephemeral(), local.about(self._streams.wall_ms()).encode())
        self._ciphers = noise.symmetric.split()
        self._network, self._claimed = network, noise.rs
        self.most_bytes = self._streams.most_bytes
        return response


@attrs.define(eq=False, kw_only=True)
class Streams:
    """One node's sealed messages over TCP, to and from peers.

    `handle` is given each message with the contact that has proven to be its sender, at the stream's source: its ip is
    proven, its port is no node's. What it returns goes back; None closes the connection. `is_member` says of a public
    key whether its node is in the routing table, `has_member_at` of an ip whether such a node lives there. `afford`
    pays for a handshake that this address asks for, after mac1 and before Diffie-Hellman. `max_message` bounds messages
    in both directions, in bytes before they are sealed.
    """

    transport: Transport
    local: Local
    wall_ms: Callable[[], int]
    max_message: int = attrs.field(validator=[attrs.validators.gt(0), attrs.validators.le(LARGEST_MESSAGE)])
    handle: Callable[[Contact, bytes], Awaitable[bytes | None]]
    is_member: Callable[[bytes], bool]
    has_member_at: Callable[[bytes], bool] = lambda ip: False
    afford: Callable[[Endpoint], bool]
    dropped: Counter[str] = attrs.field(init=False, factory=Counter)  # connections that were closed, by reason
    most_bytes: int = attrs.field(init=False)  # of a sealed message

    def __attrs_post_init__(self) -> None:
        self.most_bytes = sealed_length(self.max_message)

    async def exchange(self, contact: Contact, inner: bytes) -> bytes:
        """What exactly this node answers to `inner`, over TCP; TransportError. No deadline."""
        local = self.local
        try:
            local.suite.check_public_untrusted(contact.public)
        except MalformedPacket as error:
            raise TransportError(f"no node can have the key of {contact.endpoint}: {error.reason}") from error
        # A connection that was made under another network key than the first is not used again.
        kept_as = contact.public + local.network_keys[0].psk
        caller = functools.partial(Asking, local, contact.public, self.wall_ms, self.most_bytes)
        return await self.transport.exchange(inner, contact.endpoint, peer=kept_as, caller=caller)

    def on_connection(self, source: Endpoint) -> Answering:
        """A peer has made a connection."""
        return Answering(self, source)

    def end_other_keys(self) -> None:
        """To be called when `local.network_keys` has changed: connections under keys that it lacks now are closed."""
        self.transport.close_ended()


async def _maybe_in_thread(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    if size <= VERY_LARGE:
        return work(*args, **kwargs)
    return await trio.to_thread.run_sync(functools.partial(work, *args, **kwargs))


def _is_for(network: NetworkKey, own: bytes, message_untrusted: bytes, mac1_untrusted: bytes) -> bool:
    return hmac.compare_digest(network.mac1(own, _INITIATION, message_untrusted), mac1_untrusted)


def _prologue(network: NetworkKey) -> bytes:
    return _PROLOGUE + network.network_id


def _decode_about(payload_untrusted: bytes) -> About:
    about, end = About.decode_untrusted(payload_untrusted, 0)
    if end != len(payload_untrusted):
        raise MalformedPacket("wrong_length")
    return about
