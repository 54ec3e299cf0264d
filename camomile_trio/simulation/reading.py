"""What a datagram is, and what is in it: how the judge, the trace and tests read what passes through the network.

Rules of this file: it has no key, and looks only. The toy suite leaves every plaintext before its tag, so under it the
inner packets are read; tags are not checked, so what a node refuses may be readable here. Under the real suite a
datagram has a kind, an index and a size, and nothing more. No datagram raises anything here.
Layouts: docs/protocol.md.
"""

from __future__ import annotations

import enum
from typing import Final

import attrs

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.messages import Message
from camomile_trio.peer.packets import (
    COOKIE,
    COUNTER_BYTES,
    HELLO,
    HELLO_ANSWER,
    INDEX_BYTES,
    INITIATION,
    MAC_BYTES,
    RESPONSE,
    SEALED,
    About,
    CookieReply,
    Hello,
    HelloAnswer,
    Initiation,
    InitiationPayload,
    Response,
    ResponsePayload,
    unframe_untrusted,
)
from camomile_trio.peer.suite import KEY_BYTES, TAG_BYTES, CipherSuite
from camomile_trio.simulation.suite import ToySuite
from camomile_trio.wire import classic
from camomile_trio.wire.codec import Codec

# How a classic packet begins: with a session of 32 bytes. A datagram of ours begins with a byte of 0x80 or more.
CLASSIC_HEAD: Final = b"\x0a\x20"
# The tags of messages in an inner packet, behind its number and its flags (schemas/packet.proto).
VALUE_TAG: Final = 0x32
FIND_VALUE_TAG: Final = 0x42
_NUMBER_TAG, _FLAGS_TAG = 0x08, 0x10

_RECORD_BYTES = 65_536  # of a full record of a stream, its tag included
_LENGTH_BYTES = 4


class Kind(enum.Enum):
    """What a datagram, or a message over a stream, is."""

    SEALED = "sealed"
    INITIATION = "initiation"
    RESPONSE = "response"
    COOKIE = "cookie"
    HELLO = "hello"
    HELLO_ANSWER = "hello_answer"
    CLASSIC = "classic"
    # Messages over streams, which only the toy suite shows as such.
    STREAM_HANDSHAKE = "stream_handshake"
    STREAM = "stream"
    UNREADABLE = "unreadable"


_KINDS = {
    SEALED: Kind.SEALED,
    INITIATION: Kind.INITIATION,
    RESPONSE: Kind.RESPONSE,
    COOKIE: Kind.COOKIE,
    HELLO: Kind.HELLO,
    HELLO_ANSWER: Kind.HELLO_ANSWER,
}


@attrs.frozen
class Datagram:
    """What was read of one. What is not there, or not readable, is empty or None."""

    kind: Kind
    # Its first index: the receiver's of a sealed one, the initiator's in a handshake; a hello's nonce with its answer.
    index: bytes = b""
    new_index: bytes = b""  # the responder's own, in a response
    sender: bytes = b""  # public key, in an initiation
    inner: bytes | None = None  # the inner packet; empty where a sealed one only confirms
    classic: classic.Packet | None = None
    because: str = ""  # why it, or the inside of its handshake, is unreadable


@attrs.define(eq=False)
class Reader:
    """Reads what nodes with this cipher suite send."""

    suite: CipherSuite
    codec: Codec = attrs.field(factory=Codec)
    sees_inside: bool = attrs.field(init=False)
    # What was read last: properties and the trace look at the same datagram one after another.
    _last: tuple[bytes, Datagram] = attrs.field(init=False, default=(b"", Datagram(Kind.UNREADABLE)))

    def __attrs_post_init__(self) -> None:
        self.sees_inside = isinstance(self.suite, ToySuite)

    def read(self, payload: bytes) -> Datagram:
        """A datagram, or a message over a stream, which comes from there without its length in the clear."""
        last, seen = self._last
        if payload is not last:
            seen = self._read(payload)
            self._last = payload, seen
        return seen

    def _read(self, payload: bytes) -> Datagram:
        try:
            if payload.startswith(CLASSIC_HEAD):
                return Datagram(Kind.CLASSIC, classic=classic.decode_untrusted(payload))
            field, body = unframe_untrusted(payload)
            if field in _KINDS:
                return self._read_ours(_KINDS[field], body)
            because = "unknown_field"
        except MalformedPacket as error:
            because = error.reason
        over_stream = _read_over_stream(payload) if self.sees_inside else None
        return over_stream or Datagram(Kind.UNREADABLE, because=because)

    def opened(self, inner: bytes) -> tuple[int, Message, int]:
        """The number, the message and the flags of an inner packet; MalformedPacket."""
        return self.codec.decode_untrusted(inner)

    def _read_ours(self, kind: Kind, body: bytes) -> Datagram:
        if kind is Kind.SEALED:
            return self._read_sealed(body)
        if kind is Kind.INITIATION:
            return self._read_initiation(Initiation.decode_untrusted(body))
        if kind is Kind.RESPONSE:
            return self._read_response(Response.decode_untrusted(body))
        if kind is Kind.COOKIE:
            return Datagram(kind, CookieReply.decode_untrusted(body).receiver)
        if kind is Kind.HELLO:
            return Datagram(kind, Hello.decode_untrusted(body).nonce)
        return Datagram(kind, HelloAnswer.decode_untrusted(body).asked)

    def _read_sealed(self, body: bytes) -> Datagram:
        start = INDEX_BYTES + COUNTER_BYTES
        if len(body) < start + TAG_BYTES:
            raise MalformedPacket("too_short")
        return Datagram(Kind.SEALED, body[:INDEX_BYTES], inner=body[start:-TAG_BYTES] if self.sees_inside else None)

    def _read_initiation(self, initiation: Initiation) -> Datagram:
        if not self.sees_inside:
            return Datagram(Kind.INITIATION, initiation.index)
        # Noise's first message: the ephemeral key, the static key and its tag, the payload and its tag.
        message, start = initiation.message, 2 * KEY_BYTES + TAG_BYTES
        sender = message[KEY_BYTES : 2 * KEY_BYTES]
        try:
            payload = InitiationPayload.decode_untrusted(message[start:-TAG_BYTES])
        except MalformedPacket as error:
            return Datagram(Kind.INITIATION, initiation.index, sender=sender, because=error.reason)
        return Datagram(Kind.INITIATION, initiation.index, sender=sender, inner=payload.request)

    def _read_response(self, response: Response) -> Datagram:
        if not self.sees_inside:
            return Datagram(Kind.RESPONSE, response.receiver)
        # Noise's second message: the ephemeral key, the payload and its tag.
        try:
            payload = ResponsePayload.decode_untrusted(response.message[KEY_BYTES:-TAG_BYTES])
        except MalformedPacket as error:
            return Datagram(Kind.RESPONSE, response.receiver, because=error.reason)
        return Datagram(Kind.RESPONSE, response.receiver, payload.index, inner=payload.answer)


def message_tag(inner: bytes) -> int:
    """The tag of the message in an inner packet, at a glance; 0 if there is none where it should be."""
    at = 0
    for tag in (_NUMBER_TAG, _FLAGS_TAG):
        if inner[at : at + 1] == bytes((tag,)):
            at += 1
            while at < len(inner) and inner[at] >= 0x80:
                at += 1
            at += 1
    return inner[at] if at < len(inner) else 0


def _read_over_stream(body: bytes) -> Datagram | None:
    """A message over a stream: the records of a sealed one, which begin with its length, or one of the handshake."""
    records = (body[start : start + _RECORD_BYTES] for start in range(0, len(body), _RECORD_BYTES))
    plain = b"".join(each[:-TAG_BYTES] for each in records)
    if 0 < int.from_bytes(plain[:_LENGTH_BYTES], "big") == len(plain) - _LENGTH_BYTES:
        return Datagram(Kind.STREAM, inner=plain[_LENGTH_BYTES:])
    if _is_about(body[2 * KEY_BYTES + TAG_BYTES : -TAG_BYTES - MAC_BYTES]):
        return Datagram(Kind.STREAM_HANDSHAKE, sender=body[KEY_BYTES : 2 * KEY_BYTES])
    return Datagram(Kind.STREAM_HANDSHAKE) if _is_about(body[KEY_BYTES:-TAG_BYTES]) else None


def _is_about(payload: bytes) -> bool:
    try:
        return About.decode_untrusted(payload, 0)[1] == len(payload)
    except MalformedPacket:
        return False
