"""The way in and out of the wire: messages to inner packets, and bytes from any peer to checked messages or one error.

Rules of this file: nothing here knows peers or keys. `Codec` is what `peer.seams` wants; it fits by its structure, and
has no state. Decoding takes anything, for a bounded time, and raises nothing but MalformedPacket. The layouts that this
package writes take a fast path; all others go the way of the protobuf library, with the same outcome.
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
    Leave,
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
from camomile_trio.wire.writing import inner_parts

# The largest value that any node may be set to accept (64 MiB), and what surrounds it. Transports bound what they take
# in before; this is for a caller that does not.
LARGEST_PACKET: Final = 2**26 + 2**16

_ANSWERS: Final[dict[type[Message], tuple[type[Message], ...]]] = {
    Ping: (Pong,),
    FindNode: (NodeList, TooLarge),
    FindValue: (Value, TooLarge),
    Store: (StoreResult, TooLarge),
    Have: (HaveResult, TooLarge),
}
_ARE_ANSWERS: Final = frozenset({Pong, NodeList, Value, StoreResult, HaveResult, TooLarge})
_MAY_BEGIN: Final = frozenset({Ping, FindNode, FindValue})
_HAVE_LARGE_ANSWERS: Final = frozenset({FindNode, FindValue, Have})
_KINDS: Final[dict[type[Message], str]] = {
    Ping: "ping",
    Pong: "pong",
    Store: "store",
    Value: "value",
    FindNode: "find_node",
    FindValue: "find_value",
    NodeList: "node_list",
    StoreResult: "store_result",
    Have: "have",
    HaveResult: "have_result",
    TooLarge: "too_large",
    Leave: "leave",
}
_PING: Final = Ping()


class Codec:
    """Messages <-> inner packets, and the little that requests have to know of a message."""

    def encode(self, number: int, message: Message, flags: int) -> bytes:
        """The inner packet, always the same: its fields in ascending order.

        Contacts go as rows, IPv4 before IPv6, so the order between the two is lost. The key of a Store that has a value
        is left out, since the receiver hashes the value.
        """
        return b"".join(inner_parts(number, message, flags))

    def encode_within(self, number: int, message: Message, flags: int, room: int) -> bytes:
        """The inner packet in at most `room` bytes. The last contacts of a NodeList, a Value or a StoreResult are left
        out until it fits, and a flag says so. What does not fit even so becomes TooLarge, for which there is room.
        """
        parts = inner_parts(number, message, flags)
        size = sum(map(len, parts))
        if size <= room:
            return b"".join(parts)
        if isinstance(message, NodeList | Value | StoreResult):
            contacts = message.contacts

            def shortened(count: int) -> list[bytes]:
                return inner_parts(number, attrs.evolve(message, contacts=contacts[:count]), flags | IS_SHORTENED)

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

    def kind(self, message: Message) -> str:
        """The message's name, for counters."""
        return _KINDS[type(message)]

    def least_size(self, message: Message) -> int:
        """How many bytes its inner packet has at least: those of its value."""
        return len(message.value or b"") if isinstance(message, Store | Value) else 0

    def is_answer(self, message: Message) -> bool:
        return type(message) in _ARE_ANSWERS

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
