"""Messages over a stream, sealed: each connection makes its own handshake, then carries records in their order.

Rules of this file: `StreamConnection` is plain state: bytes in, events and bytes out. Everything received is untrusted,
and a length is checked before the bytes that it announces are waited for, so memory grows with what has arrived and
never beyond a message of the size that is allowed. What is wrong ends the connection: after MalformedPacket or NotForUs
it does nothing any more. `SealedStream` is a connection over a stream of Trio, and has no deadline of its own.
Source: docs/protocol-v2.md, Streams.
"""

from __future__ import annotations

import enum
import hmac
from collections.abc import Callable, Iterator
from typing import Final

import attrs
import trio

from camomile_trio.errors import MalformedPacket, TransportError
from camomile_trio.kademlia.ids import NodeId
from camomile_trio.peer.decisions import NotForUs
from camomile_trio.peer.handshake import NetworkKey
from camomile_trio.peer.local import Local
from camomile_trio.peer.noise import MESSAGE_1_OVERHEAD, MESSAGE_2_OVERHEAD, CipherState, HandshakeState
from camomile_trio.peer.packets import ABOUT_LENGTHS, MAC_BYTES, About
from camomile_trio.peer.suite import TAG_BYTES

LENGTH_BYTES: Final = 4  # before each record; and, sealed in the first record of a message, the message's own
MOST_RECORD: Final = 2**16  # bytes of a sealed record, with its tag
LARGEST_MESSAGE: Final = 2**32 - 1

_CHUNK = MOST_RECORD - TAG_BYTES  # what a full record carries
_INITIATION = 27  # in mac1, where a datagram has its field number
_PROLOGUE = b"camomile stream 1\0"


@attrs.frozen
class Established:
    """The peer has proven its key in this connection."""

    peer: bytes  # public key
    node_id: NodeId
    about: About


@attrs.frozen
class Received:
    """A whole message."""

    message: bytes


class _State(enum.Enum):
    INITIATED = enum.auto()  # our initiation has left
    AWAITING = enum.auto()  # no initiation has come
    RESPONDED = enum.auto()  # our response has left: the peer's first record proves that it is no replay
    OPEN = enum.auto()
    ENDED = enum.auto()


class StreamConnection:
    """One side of one connection. `max_message` bounds each message that is received, in bytes."""

    def __init__(self, local: Local, max_message: int, afford: Callable[[], bool]) -> None:
        self._local = local
        self._max_message = max_message
        self._afford = afford
        self._state = _State.AWAITING
        self._noise: HandshakeState | None = None
        self._peer: Established | None = None
        self._sending: CipherState | None = None
        self._receiving: CipherState | None = None
        self._unread = bytearray()
        self._message = bytearray()
        self._left = 0  # bytes of the message that are still to come

    @classmethod
    def initiate(cls, local: Local, peer: bytes, wall_ms: int, *, max_message: int) -> tuple[StreamConnection, bytes]:
        """A connection to the node with this public key, and its first bytes. MalformedPacket if none can have it."""
        local.suite.check_public_untrusted(peer)
        connection = cls(local, max_message, lambda: True)
        network = local.network_keys[0]
        noise = HandshakeState.initiator(
            local.suite, prologue=_prologue(network), s=local.static.key, psk=network.psk, rs=peer
        )
        message = noise.write_message_1(local.ephemeral(), local.about(wall_ms).encode())
        connection._noise, connection._state = noise, _State.INITIATED
        return connection, _framed(message + network.mac1(peer, _INITIATION, message))

    @classmethod
    def respond(cls, local: Local, *, max_message: int, afford: Callable[[], bool] = lambda: True) -> StreamConnection:
        """A connection that a peer began. `afford` is asked before Diffie-Hellman, once mac1 was right."""
        return cls(local, max_message, afford)

    @property
    def is_open(self) -> bool:
        """Whether the peer has proven itself, and messages can be sent."""
        return self._state is _State.OPEN

    def receive(self, data_untrusted: bytes, wall_ms: int) -> tuple[list[Established | Received], bytes]:
        """What has happened with these bytes, and what is to be sent now. MalformedPacket, NotForUs: it has ended."""
        self._unread += data_untrusted
        events: list[Established | Received] = []
        to_send = b""
        try:
            while (record_untrusted := self._next_record()) is not None:
                to_send += self._on_record(record_untrusted, wall_ms, events)
        except (MalformedPacket, NotForUs):
            self.end()
            raise
        return events, to_send

    def on_end(self) -> None:
        """The peer has ended the stream. MalformedPacket if that was not between two messages."""
        is_whole = self.is_open and not self._unread and not self._left
        self.end()
        if not is_whole:
            raise MalformedPacket("cut_off")

    def end(self) -> None:
        """Nothing is sent or received any more."""
        self._state = _State.ENDED
        self._unread.clear()
        self._message.clear()

    def records(self, message: bytes) -> Iterator[bytes]:
        """The bytes of a message, record by record; all of them have to be sent, and no other message between."""
        if not 0 < len(message) <= LARGEST_MESSAGE:
            raise ValueError(f"a message over a stream has 1 to {LARGEST_MESSAGE} bytes, not {len(message)}")
        if not self.is_open or self._sending is None:
            raise ValueError("nothing can be sent: the connection is not open")
        whole = memoryview(message)
        first = _CHUNK - LENGTH_BYTES
        yield _framed(self._sending.encrypt_with_ad(b"", len(message).to_bytes(LENGTH_BYTES, "big") + whole[:first]))
        for start in range(first, len(message), _CHUNK):
            yield _framed(self._sending.encrypt_with_ad(b"", bytes(whole[start : start + _CHUNK])))

    # What comes in ---------------------------------------------------------------------------------------------------

    def _next_record(self) -> bytes | None:
        """The next record, once all of it has come."""
        if self._state is _State.ENDED:
            raise MalformedPacket("ended")
        if len(self._unread) < LENGTH_BYTES:
            return None
        length = int.from_bytes(self._unread[:LENGTH_BYTES], "big")
        if not self._may_be_so_long(length):
            raise MalformedPacket("wrong_length")
        end = LENGTH_BYTES + length
        if len(self._unread) < end:
            return None
        record_untrusted = bytes(self._unread[LENGTH_BYTES:end])
        del self._unread[:end]
        return record_untrusted

    def _may_be_so_long(self, length: int) -> bool:
        if self._state is _State.AWAITING:
            return length - MESSAGE_1_OVERHEAD - MAC_BYTES in ABOUT_LENGTHS
        if self._state is _State.INITIATED:
            return length - MESSAGE_2_OVERHEAD in ABOUT_LENGTHS
        if self._left:
            # All records of a message but its last are full: nothing is gained by cutting it into small ones.
            return length == min(self._left, _CHUNK) + TAG_BYTES
        return LENGTH_BYTES + TAG_BYTES < length <= MOST_RECORD

    def _on_record(self, record_untrusted: bytes, wall_ms: int, events: list[Established | Received]) -> bytes:
        if self._state is _State.AWAITING:
            return self._on_initiation(record_untrusted, wall_ms)
        if self._state is _State.INITIATED:
            events.append(self._on_response(record_untrusted))
            return b""
        assert self._receiving is not None
        assert self._peer is not None
        chunk = self._receiving.decrypt_with_ad(b"", record_untrusted)
        if self._state is _State.RESPONDED:
            self._state = _State.OPEN
            events.append(self._peer)
        if self._add(chunk):
            events.append(Received(bytes(self._message)))
            self._message = bytearray()
        return b""

    def _add(self, chunk: bytes) -> bool:
        """A record's part of a message. Whether the message is whole."""
        if not self._left:
            self._left = int.from_bytes(chunk[:LENGTH_BYTES], "big")
            chunk = chunk[LENGTH_BYTES:]
            if not 0 < self._left <= self._max_message:
                raise MalformedPacket("too_long")
            if len(chunk) != min(self._left, _CHUNK - LENGTH_BYTES):
                raise MalformedPacket("wrong_length")
        self._message += chunk
        self._left -= len(chunk)
        return not self._left

    def _on_initiation(self, record_untrusted: bytes, wall_ms: int) -> bytes:
        local = self._local
        message, mac1 = record_untrusted[:-MAC_BYTES], record_untrusted[-MAC_BYTES:]
        network = next((key for key in local.network_keys if _is_for(key, local.static.public, message, mac1)), None)
        if network is None:
            raise NotForUs("wrong_mac1")
        if not self._afford():
            raise NotForUs("over_budget")
        noise = HandshakeState.responder(local.suite, prologue=_prologue(network), s=local.static.key, psk=network.psk)
        about = _decode_about(noise.read_message_1(message))
        if noise.rs == local.static.public:
            raise NotForUs("own_key")
        response = noise.write_message_2(local.ephemeral(), local.about(wall_ms).encode())
        self._receiving, self._sending = noise.symmetric.split()
        self._peer = Established(noise.rs, NodeId.of(noise.rs), about)
        self._state = _State.RESPONDED
        return _framed(response)

    def _on_response(self, record_untrusted: bytes) -> Established:
        noise = self._noise
        assert noise is not None
        about = _decode_about(noise.read_message_2(record_untrusted))
        self._sending, self._receiving = noise.symmetric.split()
        self._peer = Established(noise.rs, NodeId.of(noise.rs), about)
        self._state = _State.OPEN
        return self._peer


def _is_for(network: NetworkKey, own: bytes, message_untrusted: bytes, mac1_untrusted: bytes) -> bool:
    return hmac.compare_digest(network.mac1(own, _INITIATION, message_untrusted), mac1_untrusted)


def _prologue(network: NetworkKey) -> bytes:
    return _PROLOGUE + network.network_id


def _decode_about(payload_untrusted: bytes) -> About:
    about, end = About.decode_untrusted(payload_untrusted, 0)
    if end != len(payload_untrusted):
        raise MalformedPacket("wrong_length")
    return about


def _framed(record: bytes) -> bytes:
    return len(record).to_bytes(LENGTH_BYTES, "big") + record


class SealedStream:
    """A connection over a stream of Trio: whole messages, one after another in each direction.

    Errors leave as TransportError, and after one, or after a cancelled `send`, it is of no more use: close the stream.
    """

    def __init__(self, stream: trio.abc.Stream, connection: StreamConnection, wall_ms: Callable[[], int]) -> None:
        self.stream = stream
        self.peer: Established | None = None  # once it has proven itself
        self._connection = connection
        self._wall_ms = wall_ms
        self._messages: list[bytes] = []

    @classmethod
    async def connect(
        cls, stream: trio.abc.Stream, local: Local, peer: bytes, wall_ms: Callable[[], int], *, max_message: int
    ) -> SealedStream:
        """Over a stream to the node with this public key, once it has proven it; TransportError."""
        try:
            connection, first = StreamConnection.initiate(local, peer, wall_ms(), max_message=max_message)
        except MalformedPacket as error:
            raise TransportError(f"no node can have this key: {error.reason}") from error
        self = cls(stream, connection, wall_ms)
        await self._send_all(first)
        while self.peer is None:
            await self.wait()
        return self

    async def send(self, message: bytes) -> None:
        if not self._connection.is_open:
            raise TransportError("the stream is not open any more")
        is_sent = False
        try:
            for record in self._connection.records(message):
                await self._send_all(record)
            is_sent = True
        finally:
            if not is_sent:
                self._connection.end()

    async def receive(self) -> bytes | None:
        """The next message; None when the peer has ended the stream between two."""
        while not self._messages:
            if not await self.wait():
                return None
        return self._messages.pop(0)

    async def wait(self) -> bool:
        """Until some bytes have come, or a message is here. False: the peer has ended the stream between messages."""
        if self._messages:
            return True
        try:
            data_untrusted = await self.stream.receive_some(MOST_RECORD)
            if not data_untrusted:
                self._connection.on_end()
                return False
            events, to_send = self._connection.receive(bytes(data_untrusted), self._wall_ms())
        except (MalformedPacket, NotForUs) as error:
            raise TransportError(f"the stream cannot go on: {error.reason}") from error
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise TransportError(f"the stream broke: {error.__cause__ or error}") from error
        for event in events:
            if isinstance(event, Established):
                self.peer = event
            else:
                self._messages.append(event.message)
        if to_send:
            await self._send_all(to_send)
        return True

    async def _send_all(self, data: bytes) -> None:
        try:
            await self.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise TransportError(f"the stream broke: {error.__cause__ or error}") from error
