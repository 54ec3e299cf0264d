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
    StoreResult,
    TooLarge,
    Value,
)
from camomile_trio.kademlia.records import RecordRow
from camomile_trio.wire.protobuf import varint
from camomile_trio.wire.rows import pack_contacts

# A message, or a field of one, is the list of its parts.
Parts = list[bytes]


def inner_parts(number: int, message: Message, flags: int) -> Parts:
    """The parts of the inner packet. Each value in it is a part of its own."""
    tag, write = _WRITERS[type(message)]
    content: Parts = write(message)
    head = b"\x08" + varint(number) if number else b""
    if flags:
        head += b"\x10" + varint(flags)
    return [head + tag + varint(sum(map(len, content))), *content]


def _nothing(_: Ping | Leave) -> Parts:
    return []


def _pong(pong: Pong) -> Parts:
    parts = []
    if pong.observed:
        parts += _bytes(b"\x62", pong.observed)
    if pong.clock is not None:  # a clock at 0 is written; other zeros are left out
        parts += b"\x68", varint(pong.clock)
    return parts


def _store(store: Store) -> Parts:
    parts = [b"\x08" + varint(store.kind)] if store.kind else []
    if store.value is None:
        # With a value the key does not travel: the receiver must hash the value anyway, and 34 bytes decide whether a
        # value of 1000 bytes fits into a datagram.
        parts += _bytes(b"\x12", store.key or b"")
    else:
        parts += _bytes(b"\x1a", store.value)
    parts += _records(b"\x52", store.records)
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
    parts += _records(b"\x52", value.records)
    if value.cached:
        parts.append(b"\x58\x01")
    return parts


def _find_node(find: FindNode) -> Parts:
    return _bytes(b"\x0a", find.target)


def _find_value(find: FindValue) -> Parts:
    return _bytes(b"\x0a", find.key) + _bytes(b"\x52", find.publisher or b"")


def _node_list(nodes: NodeList) -> Parts:
    return _contacts(nodes.contacts)


def _store_result(result: StoreResult) -> Parts:
    parts = [b"\x08" + varint(result.status)] if result.status else []
    if result.durability:
        parts.append(b"\x10" + varint(result.durability))
    if result.records:
        parts += _records(b"\x1a", result.records)
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
    return _bytes(b"\x52", rows4) + _bytes(b"\x5a", rows6)


def _records(tag: bytes, rows: tuple[RecordRow, ...]) -> Parts:
    return [part for row in rows for part in _bytes(tag, row)]


def _bytes(tag: bytes, content: bytes) -> Parts:
    """A field of bytes. An empty one is left out."""
    return [tag + varint(len(content)), content] if content else []


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
