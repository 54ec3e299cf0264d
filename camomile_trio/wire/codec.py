"""The way in and out of the wire: packets to bytes, and bytes from anybody to checked packets or one error.

Rules of this file: nothing here knows who is on the other side or what a message means. `decode_untrusted` takes
anything, for a bounded time, and raises nothing but MalformedPacket. Few layouts, those that this package writes for
its most frequent messages, take a fast path; all others go the way of the protobuf library, with the same outcome.
"""

from __future__ import annotations

from typing import Final

import attrs

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.messages import FindNode, FindValue, NodeList, Packet, StoreResult, Value
from camomile_trio.wire.reading import decode_reference
from camomile_trio.wire.shape import is_classic
from camomile_trio.wire.shaped_reading import decode_shaped
from camomile_trio.wire.shaped_writing import encode_shaped, padding_field
from camomile_trio.wire.writing import encode_reference

# The largest value that any node may be set to accept (64 MiB), and what surrounds it. Transports bound what they
# take in before; this is for whoever forgot to.
LARGEST_PACKET: Final = 2**26 + 2**16


def encode(packet: Packet) -> bytes:
    """The bytes of a packet, always the same: its fields in ascending order.

    In a packet of version 0 everything that classic nodes do not know is left out, and contacts go as classic ones.
    From version 1 on, contacts go as packed rows (IPv4 before IPv6, so the order between the two is lost), and a key
    that the receiver has or can hash is left out: that of a Value, and that of a Store with a value.
    ValueError for a message that has no form at all at version 0.
    """
    shaped = encode_shaped(packet)
    return encode_reference(packet) if shaped is None else shaped


def encode_padded(packet: Packet, least: int) -> bytes:
    """The bytes of a FIND_NODE or FIND_VALUE of version 1 or higher, padded to `least` bytes, by one byte at least.

    The same as those of a packet with so much `padding`: no field of such a packet comes behind it.
    """
    if not isinstance(packet.message, FindNode | FindValue) or packet.version == 0 or packet.padding:
        raise ValueError("only finds of our own version are padded")
    bare = encode(packet)
    return bare + padding_field(least - len(bare))


def encode_within(packet: Packet, limit: int) -> bytes | None:
    """The bytes of a packet, in at most `limit` bytes: the last contacts of a NodeList, a Value or a StoreResult are
    left out until it fits. None if it does not fit even so.
    """
    whole = encode(packet)
    if len(whole) <= limit:
        return whole
    message = packet.message
    if not isinstance(message, NodeList | Value | StoreResult):
        return None

    def with_contacts(count: int) -> bytes:
        return encode(attrs.evolve(packet, message=attrs.evolve(message, contacts=message.contacts[:count])))

    fits, too_many = 0, len(message.contacts)
    best = with_contacts(fits)
    if len(best) > limit:
        return None
    while too_many - fits > 1:
        count = (fits + too_many) // 2
        candidate = with_contacts(count)
        if len(candidate) <= limit:
            fits, best = count, candidate
        else:
            too_many = count
    return best


def decode_untrusted(datagram_untrusted: bytes, *, classic: bool = True) -> Packet:
    """The packet in a datagram or a message from a stream, every length, count, enum and range of it checked.

    Unknown fields are skipped; contacts that make no sense in themselves are left out and counted (`dropped`); rows of
    records have the right form, but nobody has checked their signatures. MalformedPacket for everything else,
    and for anything of more than `LARGEST_PACKET` bytes. Without `classic` that is a classic packet, too, and it is
    refused by the packet's own fields: nothing reads its message.
    """
    if len(datagram_untrusted) > LARGEST_PACKET:
        raise MalformedPacket("too_large")
    shaped = decode_shaped(datagram_untrusted)
    if shaped is not None:
        return shaped
    if not classic and is_classic(datagram_untrusted):
        raise MalformedPacket("classic")
    return decode_reference(datagram_untrusted)
