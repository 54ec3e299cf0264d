"""The way in and out of the wire: messages to inner packets, and bytes from any peer to checked messages or one error.

Rules of this file: nothing here knows peers or keys. `Codec` is what `peer.seams` wants; it fits by its structure. Its
only state is the last request, so that the same message to many peers is written once. Decoding takes anything, for a
bounded time, and raises nothing but MalformedPacket. The layouts that this package writes take a fast path; all others
go the way of the protobuf library, with the same outcome.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

import attrs

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.messages import (
    IS_SHORTENED,
    FindNode,
    FindValue,
    Have,
    HaveResult,
    Message,
    NodeList,
    Ping,
    Pong,
    Store,
    StoreResult,
    TooLarge,
    Value,
)
from camomile_trio.wire.reading import decode_reference
from camomile_trio.wire.shaped_reading import OtherLayout, decode_shaped
from camomile_trio.wire.writing import inner_head, message_parts

# The largest value that any node may be set to accept (64 MiB), and what surrounds it. Transports bound what they take
# in before; this is for a caller that does not.
LARGEST_PACKET: Final = 2**26 + 2**16
# The longest request of which the bytes are kept: what is longer than a datagram goes to few peers at a time.
LONGEST_KEPT: Final = 2**11

_ANSWERS: Final[dict[type[Message], tuple[type[Message], ...]]] = {
    Ping: (Pong,),
    FindNode: (NodeList, TooLarge),
    FindValue: (Value, TooLarge),
    Store: (StoreResult, TooLarge),
    Have: (HaveResult, TooLarge),
}
_MAY_BEGIN: Final = frozenset({Ping, FindNode, FindValue})
_HAVE_LARGE_ANSWERS: Final = frozenset({FindNode, FindValue, Have})
_PING: Final = Ping()


class Codec:
    """Messages <-> inner packets, and the little that requests have to know of a message."""

    def __init__(self) -> None:
        # The last request and the bytes of its field. One value, since very large messages are encoded in threads.
        self._kept: tuple[Message, bytes] = _PING, b"".join(message_parts(_PING))

    def encode(self, number: int, message: Message, flags: int) -> bytes:
        """The inner packet, always the same: its fields in ascending order.

        Contacts go as rows, IPv4 before IPv6, so the order between the two is lost. The key of a Store that has a value
        is left out, since the receiver hashes the value. The same request (the same object) to another peer costs next
        to nothing.
        """
        kept, written = self._kept
        if message is not kept:
            parts = message_parts(message)
            if message.may_be_long and sum(map(len, parts)) > LONGEST_KEPT:
                return b"".join((inner_head(number, flags), *parts))  # copied once
            written = b"".join(parts)
            if not message.is_answer:
                self._kept = message, written
        return inner_head(number, flags) + written

    def encode_within(self, number: int, message: Message, flags: int, room: int) -> bytes:
        """The inner packet in at most `room` bytes. The last contacts of a NodeList, a Value or a StoreResult are left
        out until it fits, and a flag says so. What does not fit even so becomes TooLarge, for which there is room.
        """
        if not message.may_be_long or self.least_size(message) <= room:
            inner = inner_head(number, flags) + b"".join(message_parts(message))
            if len(inner) <= room:
                return inner
        return self._shortened(number, message, flags, room)

    def _shortened(self, number: int, message: Message, flags: int, room: int) -> bytes:
        """Of an answer that is too large: without its last contacts, or TooLarge."""
        size = len(inner_head(number, flags)) + sum(map(len, message_parts(message)))
        if isinstance(message, NodeList | Value | StoreResult):
            contacts = message.contacts

            def shortened(count: int) -> list[bytes]:
                parts = message_parts(attrs.evolve(message, contacts=contacts[:count]))
                return [inner_head(number, flags | IS_SHORTENED), *parts]

            # How many of the sizes with 0, 1, 2 ... contacts fit.
            fitting = bisect_right(range(len(contacts)), room, key=lambda count: sum(map(len, shortened(count))))
            if fitting:
                return b"".join(shortened(fitting - 1))
        return self.encode(number, TooLarge(size), flags)

    def decode_untrusted(self, inner_untrusted: bytes) -> tuple[int, Message, int]:
        """The number, the message and the flags, with every length, count, enum and range checked.

        Unknown fields are skipped, and so are records of a kind or format that only a later version knows. Contacts
        that make no sense in themselves are left out and counted (`dropped`). Rows of records have the right form, but
        nobody has checked their signatures, nor whether public keys are any. MalformedPacket for everything else.
        """
        if len(inner_untrusted) > LARGEST_PACKET:
            raise MalformedPacket("too_large")
        try:
            return decode_shaped(inner_untrusted)
        except OtherLayout:
            return decode_reference(inner_untrusted)

    def least_size(self, message: Message) -> int:
        """How many bytes its inner packet has at least: those of its value."""
        return len(message.value or b"") if isinstance(message, Store | Value) else 0

    def has_answer(self, message: Message) -> bool:
        """Whether it is a request that is always answered: all but a Leave."""
        return type(message) in _ANSWERS

    def is_answer_to(self, answer: Message, request: Message) -> bool:
        """Whether it is of a kind that answers this request."""
        return type(answer) in _ANSWERS.get(type(request), ())

    def may_begin(self, message: Message) -> bool:
        """Whether it is a request that changes nothing, so an initiation may carry it."""
        return type(message) in _MAY_BEGIN

    def may_have_large_answer(self, request: Message) -> bool:
        """Whether its answer may fill a datagram."""
        return type(request) in _HAVE_LARGE_ANSWERS or (isinstance(request, Store) and request.names_contacts)

    def too_large(self, answer: Message) -> int | None:
        """If it says that the true answer is too large: how many bytes that one has."""
        return answer.size if isinstance(answer, TooLarge) else None

    def ping(self) -> Message:
        """The least request."""
        return _PING
