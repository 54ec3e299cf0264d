"""From messages to bytes: one message has one encoding, its fields in ascending order, defaults left out.

Rules of this file: no protobuf library, which takes twenty times as long; tests compare the bytes with its own. The
parts of a message are joined once, so that a large value is copied once. Messages are values that the rest of the node
made, so lengths are not checked again. Source of the fields: schemas/packet.proto.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.messages import (
    Durability,
    FindNode,
    FindValue,
    Have,
    HaveResult,
    Holding,
    Leave,
    Message,
    NodeList,
    Ping,
    Pong,
    Store,
    StoreKind,
    StoreResult,
    StoreStatus,
    TooLarge,
    Value,
)
from camomile_trio.kademlia.records import RecordRow
from camomile_trio.wire.protobuf import varint
from camomile_trio.wire.rows import pack_contacts

# A message, or a field of one, is the list of its parts.
Parts = list[bytes]

# Nearly all lengths are below this, a datagram's: to look them up costs no call.
_SHORT: Final = 1232
_LENGTHS: Final = [varint(length) for length in range(_SHORT)]


def inner_head(number: int, flags: int) -> bytes:
    """What stands before the message. Few numbers are above 2**21, and nearly no packet has flags."""
    if number < 0x80:
        head = bytes((0x08, number)) if number else b""
    elif number < 0x4000:
        head = bytes((0x08, number & 0x7F | 0x80, number >> 7))
    elif number < 0x200000:
        head = bytes((0x08, number & 0x7F | 0x80, number >> 7 & 0x7F | 0x80, number >> 14))
    else:
        head = b"\x08" + varint(number)
    return head + b"\x10" + varint(flags) if flags else head


def message_parts(message: Message) -> Parts:
    """The parts of the message's field in an inner packet: its tag and length, and its content. Each value in it is a
    part of its own."""
    tag, write = _WRITERS[type(message)]
    content: Parts = write(message)
    size = sum(map(len, content))
    return [tag + (_LENGTHS[size] if size < _SHORT else varint(size)), *content]


def _nothing(_: Ping | Leave) -> Parts:
    return []


def _pong(pong: Pong) -> Parts:
    parts: Parts = []
    if pong.observed:
        parts += b"\x62" + _LENGTHS[len(pong.observed)], pong.observed
    if pong.clock is not None:  # a clock at 0 is written; other zeros are left out
        parts += b"\x68", varint(pong.clock)
    return parts


def _store(store: Store) -> Parts:
    parts = [_STORE_KINDS[store.kind]] if store.kind else []
    value = store.value
    if value:
        # With a value the key does not travel: the receiver must hash the value anyway, and 34 bytes decide whether a
        # value of 1000 bytes fits into a datagram.
        size = len(value)
        parts += b"\x1a" + (_LENGTHS[size] if size < _SHORT else varint(size)), value
    elif value is None and store.key:
        parts += b"\x12" + _LENGTHS[len(store.key)], store.key
    for row in store.records:
        parts += b"\x52" + _LENGTHS[len(row)], row
    if store.cached:
        parts.append(b"\x60\x01")
    if store.names_contacts:
        parts.append(b"\x68\x01")
    return parts


def _value(value: Value) -> Parts:
    parts = _bytes(b"\x12", value.value or b"")
    if value.contacts:
        contacts = _contacts(value.contacts)
        parts += b"\x1a", varint(sum(map(len, contacts))), *contacts
    for row in value.records:
        parts += b"\x52" + _LENGTHS[len(row)], row
    if value.cached:
        parts.append(b"\x58\x01")
    return parts


def _find_node(find: FindNode) -> Parts:
    return [b"\x0a" + _LENGTHS[len(find.target)], find.target]


def _find_value(find: FindValue) -> Parts:
    parts: Parts = [b"\x0a" + _LENGTHS[len(find.key)], find.key]
    if find.publisher:
        parts += b"\x52" + _LENGTHS[len(find.publisher)], find.publisher
    return parts


def _node_list(nodes: NodeList) -> Parts:
    return _contacts(nodes.contacts)


def _store_result(result: StoreResult) -> Parts:
    parts = [_STATUSES[result.status]] if result.status else []
    if result.durability:
        parts.append(_DURABILITIES[result.durability])
    for row in result.records:
        parts += b"\x1a" + _LENGTHS[len(row)], row
    if result.contacts:
        parts += _contacts(result.contacts)
    return parts


def _have(have: Have) -> Parts:
    parts = _bytes(b"\x0a", b"".join(have.keys)) + _bytes(b"\x12", have.publisher or b"")
    parts += _bytes(b"\x1a", b"".join(have.digests))
    if have.is_round:
        parts.append(b"\x20\x01")
    return parts


def _have_result(result: HaveResult) -> Parts:
    parts: Parts = []
    for holding in result.holdings:
        content = _holding(holding)
        parts += b"\x0a", varint(sum(map(len, content))), *content
    if result.alike:
        parts += b"\x10", varint(result.alike)
    return parts


def _holding(holding: Holding) -> Parts:
    parts = _bytes(b"\x0a", holding.key)
    if holding.has_value:
        parts.append(b"\x10\x01")
    parts += _records(b"\x1a", holding.records)
    if holding.classic:
        parts.append(b"\x20\x01")
    return parts


def _too_large(answer: TooLarge) -> Parts:
    return [b"\x08", varint(answer.size)] if answer.size else []


def _contacts(contacts: tuple[Contact, ...]) -> Parts:
    rows4, rows6 = pack_contacts(contacts)
    if rows6 or len(rows4) >= _SHORT:
        return _bytes(b"\x52", rows4) + _bytes(b"\x5a", rows6)
    return [b"\x52" + _LENGTHS[len(rows4)], rows4] if rows4 else []


def _records(tag: bytes, rows: tuple[RecordRow, ...]) -> Parts:
    return [part for row in rows for part in _bytes(tag, row)]


def _bytes(tag: bytes, content: bytes) -> Parts:
    """A field of bytes. An empty one is left out."""
    return [tag + varint(len(content)), content] if content else []


_STORE_KINDS: Final = [b"\x08" + varint(kind) for kind in StoreKind]
_STATUSES: Final = [b"\x08" + varint(status) for status in StoreStatus]
_DURABILITIES: Final = [b"\x10" + varint(durability) for durability in Durability]

# By the number of the field in an inner packet, as the tag that stands before a message.
_WRITERS: Final[dict[type[Message], tuple[bytes, Callable[[Any], Parts]]]] = {
    Ping: (b"\x1a", _nothing),
    Pong: (b"\x22", _pong),
    Store: (b"\x2a", _store),
    Value: (b"\x32", _value),
    FindNode: (b"\x3a", _find_node),
    FindValue: (b"\x42", _find_value),
    NodeList: (b"\x4a", _node_list),
    StoreResult: (b"\x52", _store_result),
    Have: (b"\x5a", _have),
    HaveResult: (b"\x62", _have_result),
    TooLarge: (b"\x6a", _too_large),
    Leave: (b"\x72", _nothing),
}
