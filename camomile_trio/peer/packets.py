"""The datagrams of handshakes and sessions, byte by byte: what is around the sealed parts, and what is in them.

Rules of this file: layouts and lengths only, no key and no state. Numbers are big-endian. There is one encoding of each
message, and any other is refused with MalformedPacket, so what is stored or compared is the bytes. A datagram is a
protobuf `Packet` with a single field, whose number says which message it is: classic nodes skip it. A later version of
the handshake takes other numbers. Source of every layout: docs/protocol.md.
"""

from __future__ import annotations

import struct
from typing import Final

import attrs

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.peer.noise import MESSAGE_1_OVERHEAD, MESSAGE_2_OVERHEAD
from camomile_trio.peer.suite import KEY_BYTES, TAG_BYTES

# Field numbers of `Packet`.
SEALED: Final = 20
INITIATION: Final = 22
RESPONSE: Final = 23
COOKIE: Final = 24
HELLO: Final = 25
HELLO_ANSWER: Final = 26

LARGEST_DATAGRAM: Final = 1232  # 1280 of IPv6 less its headers: what every path carries

INDEX_BYTES: Final = 4
COUNTER_BYTES: Final = 8
RUN_BYTES: Final = 8
MAC_BYTES: Final = 16
NONCE_BYTES: Final = 16  # of a cookie reply, a hello and its answer
COOKIE_BYTES: Final = 16
NO_COOKIE: Final = bytes(COOKIE_BYTES)  # and the mac2 where there is none

HELLO_BYTES: Final = NONCE_BYTES + NONCE_BYTES + KEY_BYTES + TAG_BYTES  # with padding, as many as its answer has

_FRAME_BYTES = 4  # the most that the tag and the length of a field take
_LONGEST_BODY = LARGEST_DATAGRAM - _FRAME_BYTES
_MAPPED_IPV4 = bytes(10) + b"\xff\xff"
_SHORT_FRAME_BYTES = 3
LONGEST_SHORT: Final = 0x7F + _SHORT_FRAME_BYTES  # bytes of the longest datagram whose frame has one byte less


def frame(field: int, body: bytes) -> bytes:
    """The datagram: a protobuf field of type bytes, with a number of 16 to 2047 and less than 16 KiB."""
    length = len(body)
    head = (field << 3 | 2) & 0x7F | 0x80, field >> 4
    return bytes((*head, length) if length < 0x80 else (*head, length & 0x7F | 0x80, length >> 7)) + body


def unframe_untrusted(datagram_untrusted: bytes) -> tuple[int, bytes]:
    """The field's number and its unchecked body; MalformedPacket unless the datagram is exactly one such field."""
    if not 4 <= len(datagram_untrusted) <= LARGEST_DATAGRAM:
        raise MalformedPacket("wrong_length")
    low, high, length, more = datagram_untrusted[:4]
    start = 3
    if length >= 0x80:
        length, start = length & 0x7F | more << 7, 4
    if low & 0x87 != 0x82 or not 0 < high < 0x80 or (start == 4 and not more):
        raise MalformedPacket("wrong_frame")
    if len(datagram_untrusted) - start != length:
        raise MalformedPacket("wrong_length")
    return (low & 0x7F) >> 3 | high << 4, datagram_untrusted[start:]


def _sealed_head(size: int) -> bytes:
    """How a `sealed` datagram of so many bytes begins; no datagram begins so if none can have so many."""
    body = max(size - (_SHORT_FRAME_BYTES if size <= LONGEST_SHORT else _FRAME_BYTES), 0)
    datagram = frame(SEALED, bytes(body))
    return datagram[: size - body] if body and len(datagram) == size else b"none"


# By the size of the datagram: there is one frame for each, so a look at it is all that nearly every datagram needs.
SEALED_HEADS: Final = tuple(map(_sealed_head, range(LARGEST_DATAGRAM + 1)))


# What is around the sealed parts -------------------------------------------------------------------------------------


@attrs.frozen
class Initiation:
    """The first message, with what each mac covers."""

    index: bytes  # of the initiator's
    message: bytes  # Noise's first one
    mac1: bytes
    mac2: bytes

    @classmethod
    def decode_untrusted(cls, body_untrusted: bytes) -> Initiation:
        least = INDEX_BYTES + MESSAGE_1_OVERHEAD + LEAST_INITIATION_PAYLOAD + 2 * MAC_BYTES
        if len(body_untrusted) < least:
            raise MalformedPacket("wrong_length")
        return cls(
            body_untrusted[:INDEX_BYTES],
            body_untrusted[INDEX_BYTES : -2 * MAC_BYTES],
            body_untrusted[-2 * MAC_BYTES : -MAC_BYTES],
            body_untrusted[-MAC_BYTES:],
        )

    @property
    def before_mac1(self) -> bytes:
        return self.index + self.message

    @property
    def before_mac2(self) -> bytes:
        return self.index + self.message + self.mac1

    def encode(self) -> bytes:
        return frame(INITIATION, self.before_mac2 + self.mac2)


@attrs.frozen
class Response:
    """The second message."""

    receiver: bytes  # the index that the initiation named
    message: bytes  # Noise's second one
    mac1: bytes

    @classmethod
    def decode_untrusted(cls, body_untrusted: bytes) -> Response:
        if len(body_untrusted) < INDEX_BYTES + MESSAGE_2_OVERHEAD + LEAST_RESPONSE_PAYLOAD + MAC_BYTES:
            raise MalformedPacket("wrong_length")
        return cls(body_untrusted[:INDEX_BYTES], body_untrusted[INDEX_BYTES:-MAC_BYTES], body_untrusted[-MAC_BYTES:])

    @property
    def before_mac1(self) -> bytes:
        return self.receiver + self.message

    def encode(self) -> bytes:
        return frame(RESPONSE, self.before_mac1 + self.mac1)


@attrs.frozen
class CookieReply:
    """What answers an initiation that has to prove its source address first."""

    receiver: bytes  # the index that the initiation named
    nonce: bytes
    sealed: bytes  # the cookie

    @classmethod
    def decode_untrusted(cls, body_untrusted: bytes) -> CookieReply:
        if len(body_untrusted) != INDEX_BYTES + NONCE_BYTES + COOKIE_BYTES + TAG_BYTES:
            raise MalformedPacket("wrong_length")
        end = INDEX_BYTES + NONCE_BYTES
        return cls(body_untrusted[:INDEX_BYTES], body_untrusted[INDEX_BYTES:end], body_untrusted[end:])

    def encode(self) -> bytes:
        return frame(COOKIE, self.receiver + self.nonce + self.sealed)


@attrs.frozen
class Hello:
    """What asks an address for the public key of its node."""

    nonce: bytes
    mac: bytes

    @classmethod
    def decode_untrusted(cls, body_untrusted: bytes) -> Hello:
        if len(body_untrusted) != HELLO_BYTES:
            raise MalformedPacket("wrong_length")
        if any(body_untrusted[NONCE_BYTES:-MAC_BYTES]):
            raise MalformedPacket("wrong_padding")
        return cls(body_untrusted[:NONCE_BYTES], body_untrusted[-MAC_BYTES:])

    def encode(self) -> bytes:
        return frame(HELLO, self.nonce + bytes(HELLO_BYTES - NONCE_BYTES - MAC_BYTES) + self.mac)


@attrs.frozen
class HelloAnswer:
    """The public key of the node at an address, sealed under the network key."""

    asked: bytes  # the hello's nonce
    nonce: bytes  # the answer's own
    sealed: bytes  # the public key

    @classmethod
    def decode_untrusted(cls, body_untrusted: bytes) -> HelloAnswer:
        if len(body_untrusted) != HELLO_BYTES:
            raise MalformedPacket("wrong_length")
        end = 2 * NONCE_BYTES
        return cls(body_untrusted[:NONCE_BYTES], body_untrusted[NONCE_BYTES:end], body_untrusted[end:])

    def encode(self) -> bytes:
        return frame(HELLO_ANSWER, self.asked + self.nonce + self.sealed)


# What is in the sealed parts -----------------------------------------------------------------------------------------

_ABOUT = struct.Struct(">Q8sBBB")
_ENDPOINT_LENGTHS = (0, 6, 18)
ABOUT_LENGTHS: Final = tuple(_ABOUT.size + length for length in _ENDPOINT_LENGTHS)


@attrs.frozen
class About:
    """What each side tells of itself in a handshake."""

    wall_ms: int  # its wall clock: milliseconds since 1970
    run: bytes  # a random number of this run of the node, 8 bytes
    version: int  # of the packets in the session, 0 to 255
    flags: int  # eight of them; unknown ones are left alone
    advertised: bytes = b""  # where it wants to be reached (an Endpoint's 6 or 18 bytes), or empty

    def encode(self) -> bytes:
        return _ABOUT.pack(self.wall_ms, self.run, self.version, self.flags, len(self.advertised)) + self.advertised

    @classmethod
    def decode_untrusted(cls, payload_untrusted: bytes, start: int) -> tuple[About, int]:
        """And where it ends."""
        end = start + _ABOUT.size
        if len(payload_untrusted) < end:
            raise MalformedPacket("wrong_length")
        wall_ms, run, version, flags, length = _ABOUT.unpack_from(payload_untrusted, start)
        advertised = payload_untrusted[end : end + length]
        if length not in _ENDPOINT_LENGTHS or len(advertised) != length or advertised.startswith(_MAPPED_IPV4):
            raise MalformedPacket("wrong_endpoint")
        return cls(wall_ms, run, version, flags, Endpoint(advertised) if advertised else b""), end + length


@attrs.frozen
class InitiationPayload:
    """What the initiator seals in its message."""

    time: int  # greater in each initiation of this node; the microseconds since 1970 where the clock allows
    about: About
    request: bytes  # the first request, without padding

    def encode(self, padded_to: int = 0) -> bytes:
        """With zeros behind the request, so that the whole datagram has at least so many bytes."""
        bare = self.time.to_bytes(8, "big") + self.about.encode() + len(self.request).to_bytes(2, "big") + self.request
        return bare.ljust(padded_to - _FRAME_BYTES - INDEX_BYTES - MESSAGE_1_OVERHEAD - 2 * MAC_BYTES, b"\0")

    @classmethod
    def decode_untrusted(cls, payload_untrusted: bytes) -> InitiationPayload:
        time = int.from_bytes(payload_untrusted[:8], "big")
        about, end = About.decode_untrusted(payload_untrusted, 8)
        start = end + 2
        length = int.from_bytes(payload_untrusted[end:start], "big")
        request = payload_untrusted[start : start + length]
        if len(payload_untrusted) < start + length:
            raise MalformedPacket("wrong_length")
        if any(payload_untrusted[start + length :]):
            raise MalformedPacket("wrong_padding")
        return cls(time, about, request)


@attrs.frozen
class ResponsePayload:
    """What the responder seals in its message."""

    index: bytes  # of the responder's
    about: About
    answer: bytes  # to the first request

    def encode(self) -> bytes:
        return self.index + self.about.encode() + self.answer

    @classmethod
    def decode_untrusted(cls, payload_untrusted: bytes) -> ResponsePayload:
        about, end = About.decode_untrusted(payload_untrusted, INDEX_BYTES)
        return cls(payload_untrusted[:INDEX_BYTES], about, payload_untrusted[end:])


LEAST_INITIATION_PAYLOAD: Final = 8 + _ABOUT.size + 2
LEAST_RESPONSE_PAYLOAD: Final = INDEX_BYTES + _ABOUT.size

MOST_REQUEST: Final = _LONGEST_BODY - INDEX_BYTES - MESSAGE_1_OVERHEAD - LEAST_INITIATION_PAYLOAD - 2 * MAC_BYTES - 18
_AROUND_ANSWER = _FRAME_BYTES + INDEX_BYTES + MESSAGE_2_OVERHEAD + LEAST_RESPONSE_PAYLOAD + MAC_BYTES
SEALED_OVERHEAD: Final = INDEX_BYTES + COUNTER_BYTES + TAG_BYTES
MOST_INNER: Final = _LONGEST_BODY - SEALED_OVERHEAD
SEALED_DATAGRAM_OVERHEAD: Final = LARGEST_DATAGRAM - MOST_INNER


def initiation_bytes(request: bytes, advertised: bytes, padded_to: int) -> int:
    """How long the initiation is that carries this first request."""
    around = _FRAME_BYTES + INDEX_BYTES + MESSAGE_1_OVERHEAD + LEAST_INITIATION_PAYLOAD + 2 * MAC_BYTES
    return max(padded_to, around + len(advertised) + len(request))


def room_for_answer(initiation_bytes: int, advertised: bytes) -> int:
    """How long an answer may be in a response to an initiation of so many bytes: at most three times these.

    A datagram with a forged source makes us send so much to its victim, and not more.
    """
    return min(3 * initiation_bytes, LARGEST_DATAGRAM) - _AROUND_ANSWER - len(advertised)
