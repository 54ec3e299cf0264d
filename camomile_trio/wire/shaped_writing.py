"""The fast way out: the most frequent messages written by hand, byte for byte as the reference encoder writes them.

Rules of this file: no protobuf library. It returns the reference's bytes, or None for what it was not shaped for: a
classic packet, a rare message, a field of an unusual size. Tests compare the two.
"""

from __future__ import annotations

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.messages import (
    FindNode,
    FindValue,
    Have,
    HaveResult,
    Holding,
    NodeList,
    Packet,
    Ping,
    Pong,
    Store,
    StoreResult,
    Value,
)
from camomile_trio.kademlia.records import RecordRow
from camomile_trio.wire.rows import pack_contacts

_SHORT_LENGTHS = [bytes((length,)) for length in range(128)]
_VERSION_1 = b"\x50\x01"


def encode_shaped(packet: Packet) -> bytes | None:
    """The bytes of `packet`, or None where the reference has to write it."""
    if packet.version == 0 or len(packet.session) != 32 or len(packet.sender) != 32:
        return None
    head = b"\x0a\x20" + packet.session + b"\x12\x20" + packet.sender
    match packet.message:
        case NodeList(contacts, token):
            message = _bytes(b"\x4a", _contacts(contacts) + _bytes(b"\x62", token), is_there=True)
        case FindNode(target):
            message = _bytes(b"\x3a", _bytes(b"\x0a", target), is_there=True)
        case StoreResult(status, durability, records, contacts):
            result = _number(b"\x08", status) + _number(b"\x10", durability) + _records(b"\x1a", records)
            if contacts:
                result += _contacts(contacts)
            # Field 16 comes behind those of the envelope.
            return head + _envelope(packet) + _bytes(b"\x82\x01", result, is_there=True)
        case Store() as store:
            message = _bytes(b"\x2a", _store(store), is_there=True)
        case FindValue(key, publisher):
            message = _bytes(b"\x42", _bytes(b"\x0a", key) + _bytes(b"\x52", publisher or b""), is_there=True)
        case Value() as value:
            message = _bytes(b"\x32", _value(value), is_there=True)
        case Have() as have:
            return head + _envelope(packet) + _bytes(b"\x8a\x01", _have(have), is_there=True)
        case HaveResult(holdings, alike):
            rows = b"".join([_bytes(b"\x0a", _holding(each), is_there=True) for each in holdings])
            rows += _number(b"\x10", alike)
            return head + _envelope(packet) + _bytes(b"\x92\x01", rows, is_there=True)
        case Ping(challenge):
            message = _bytes(b"\x1a", _bytes(b"\x0a", challenge), is_there=True)
        case Pong() as pong:
            message = _bytes(b"\x22", _pong(pong), is_there=True)
        case _:
            return None
    return head + message + _envelope(packet)


def padding_field(size: int) -> bytes:
    """Padding in a field of `size` bytes, or the next larger possible one; no larger than a datagram."""
    # In front of it are a tag and a length, of one byte below 128.
    padding = max(size - 2, 1) if size < 130 else max(size - 3, 128)
    return _bytes(b"\x72", bytes(padding))


def _envelope(packet: Packet) -> bytes:
    """Version, network, advertised endpoint, flags and padding."""
    version = _VERSION_1 if packet.version == 1 else _number(b"\x50", packet.version)
    if not (packet.network or packet.advertised or packet.flags or packet.padding):
        return version
    return b"".join(
        (
            version,
            _bytes(b"\x5a", packet.network),
            _bytes(b"\x62", packet.advertised or b""),
            _number(b"\x68", packet.flags),
            _bytes(b"\x72", bytes(packet.padding)),
        )
    )


def _store(store: Store) -> bytes:
    return b"".join(
        (
            _number(b"\x08", store.kind),
            _bytes(b"\x12", store.key or b"") if store.value is None else b"",
            _bytes(b"\x1a", store.value or b""),
            _records(b"\x52", store.records),
            _bytes(b"\x5a", store.token),
            b"\x60\x01" if store.cached else b"",
            b"\x68\x01" if store.names_contacts else b"",
        )
    )


def _value(value: Value) -> bytes:
    return b"".join(
        (
            _bytes(b"\x12", value.value or b""),
            _bytes(b"\x1a", _contacts(value.contacts)),
            _records(b"\x52", value.records),
            b"\x58\x01" if value.cached else b"",
            _bytes(b"\x62", value.token),
        )
    )


def _pong(pong: Pong) -> bytes:
    return b"".join(
        (
            _bytes(b"\x0a", pong.challenge),
            _bytes(b"\x52", pong.public_key),
            _bytes(b"\x5a", pong.signature),
            _bytes(b"\x62", pong.observed or b""),
            # A clock at 0 is written; other zeros are left out.
            b"" if pong.clock is None else b"\x68" + _varint(pong.clock),
        )
    )


def _have(have: Have) -> bytes:
    return b"".join(
        (
            _bytes(b"\x0a", b"".join(have.keys)),
            _bytes(b"\x12", have.publisher or b""),
            _bytes(b"\x1a", b"".join(have.digests)),
            b"\x20\x01" if have.is_round else b"",
        )
    )


def _holding(holding: Holding) -> bytes:
    return b"".join(
        (
            _bytes(b"\x0a", holding.key),
            b"\x10\x01" if holding.has_value else b"",
            _records(b"\x1a", holding.records),
            b"\x20\x01" if holding.classic else b"",
        )
    )


def _contacts(contacts: tuple[Contact, ...]) -> bytes:
    contacts4, contacts6 = pack_contacts(contacts)
    return _bytes(b"\x52", contacts4) + _bytes(b"\x5a", contacts6)


def _records(tag: bytes, rows: tuple[RecordRow, ...]) -> bytes:
    return b"".join([_bytes(tag, row, is_there=True) for row in rows])


def _bytes(tag: bytes, content: bytes, *, is_there: bool = False) -> bytes:
    """A field of bytes or a message. An empty one is left out, unless it `is_there`, as a message or an item is."""
    length = len(content)
    if length < 128:
        return tag + _SHORT_LENGTHS[length] + content if length or is_there else b""
    return tag + _varint(length) + content


def _number(tag: bytes, number: int) -> bytes:
    return tag + _varint(number) if number else b""


def _varint(number: int) -> bytes:
    """`number` in groups of 7 bits, the lowest first."""
    if number < 128:
        return _SHORT_LENGTHS[number]
    groups = bytearray()
    while number >= 128:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)
