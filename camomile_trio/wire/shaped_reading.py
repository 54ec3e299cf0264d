"""The fast way in: a decoder shaped for the layouts that this package writes.

Rules of this file: no protobuf library, and no more work than a packet has parts that it may have. It reads each field
where `writing.py` puts it. Any other layout is `OtherLayout`, which says nothing about the packet: the reference
decides. Where it raises MalformedPacket, the reference refuses, too. A place behind the end of the content is an
IndexError, or is noticed where the end is checked, so each reader checks it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import ID_BYTES, Key, NodeId
from camomile_trio.kademlia.messages import (
    MAX_KEYS,
    MAX_RECORDS,
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
from camomile_trio.kademlia.records import ROW_BYTES, PublisherKey, RecordRow
from camomile_trio.wire.checks import (
    DURABILITIES,
    RECORD_HEADS,
    STATUSES,
    check_digests,
    check_endpoint,
    check_keys,
    check_publisher,
    check_store,
)
from camomile_trio.wire.rows import split_contacts

_LONGEST_NUMBER: Final = 63  # bits

# What stands before an id or a public key of 32 bytes, and before a record, in the fields of these numbers.
_FIELD_1_HEAD: Final = b"\x0a\x20"
_FIELD_10_HEAD: Final = b"\x52\x20"
_ROW_3_HEAD: Final = b"\x1a\x7b"
_ROW_10_HEAD: Final = b"\x52\x7b"
_BEHIND_ID: Final = 2 + ID_BYTES

_PING: Final = Ping()
_LEAVE: Final = Leave()


class OtherLayout(Exception):
    """The reference has to decide."""


def decode_shaped(inner_untrusted: bytes) -> tuple[int, Message, int]:
    """The number, the message and the flags; OtherLayout, or MalformedPacket where the reference refuses, too."""
    number = flags = at = 0
    try:
        tag = inner_untrusted[0]
        if tag == 0x08:
            number = inner_untrusted[1]
            at = 2
            if number >= 0x80:
                number &= 0x7F
                shift = 7
                while (byte := inner_untrusted[at]) >= 0x80:
                    number |= (byte & 0x7F) << shift
                    shift += 7
                    at += 1
                    if shift == _LONGEST_NUMBER:
                        raise OtherLayout
                number |= byte << shift
                at += 1
            tag = inner_untrusted[at]
        if tag == 0x10:
            flags = inner_untrusted[at + 1]
            at += 2
            tag = inner_untrusted[at]
        length = inner_untrusted[at + 1]
        start = at + 2
        if length >= 0x80:
            if (byte := inner_untrusted[start]) < 0x80:
                length, start = length & 0x7F | byte << 7, start + 1
            else:
                length, start = _number(inner_untrusted, at + 1)
        # The library cuts longer numbers. A number of one byte is below 128.
        if start + length != len(inner_untrusted) or flags >= 0x80 or number >> 32:
            raise OtherLayout
        return number, _READERS[tag](inner_untrusted[start:]), flags
    except (IndexError, KeyError):
        raise OtherLayout from None


def _number(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where it ends."""
    number = data[at]
    at += 1
    if number >= 0x80:
        number &= 0x7F
        shift = 7
        while (byte := data[at]) >= 0x80:
            number |= (byte & 0x7F) << shift
            shift += 7
            at += 1
            if shift == _LONGEST_NUMBER:
                raise OtherLayout
        number |= byte << shift
        at += 1
    return number, at


def _field(data: bytes, at: int) -> tuple[bytes, int]:
    """The content of a field whose length is at `at`, and where it should end: behind the end if it is cut off."""
    length = data[at]
    at += 1
    if length >= 0x80:
        if (byte := data[at]) < 0x80:
            length, at = length & 0x7F | byte << 7, at + 1
        else:
            length, at = _number(data, at - 1)
    end = at + length
    return data[at:end], end


def _rows(content: bytes, at: int) -> tuple[bytes, bytes]:
    """The rows of contacts, which are all that is left of a content."""
    rows4 = rows6 = b""
    end = len(content)
    if at < end and content[at] == 0x52:
        rows4, at = _field(content, at + 1)
    if at < end and content[at] == 0x5A:
        rows6, at = _field(content, at + 1)
    if at != end:
        raise OtherLayout
    return rows4, rows6


def _records(content: bytes, at: int, head: bytes) -> tuple[tuple[RecordRow, ...], int]:
    """The records at `at`, each behind its `head`, and where they end. Those of a later format have another head, and
    those of a later kind are for the reference to skip."""
    rows: list[Any] = []  # of RecordRow, whose name costs a call for each
    while content[at : at + 2] == head:
        start = at + 2
        at = start + ROW_BYTES
        if len(rows) == MAX_RECORDS or content[start : start + 3] not in RECORD_HEADS:
            raise OtherLayout
        rows.append(content[start:at])
    return tuple(rows), at


# One reader for each message.


def _ping(content: bytes) -> Ping:
    if content:
        raise OtherLayout
    return _PING


def _leave(content: bytes) -> Leave:
    if content:
        raise OtherLayout
    return _LEAVE


def _pong(content: bytes) -> Pong:
    observed, clock, at, end = b"", None, 0, len(content)
    if at < end and content[at] == 0x62:
        observed, at = _field(content, at + 1)
    if at < end and content[at] == 0x68:
        clock, at = _number(content, at + 1)
    if at != end:
        raise OtherLayout
    return Pong(check_endpoint(observed), clock)


def _find_node(content: bytes) -> FindNode:
    if len(content) != _BEHIND_ID or content[:2] != _FIELD_1_HEAD:
        raise OtherLayout
    return FindNode(NodeId(content[2:]))


def _find_value(content: bytes) -> FindValue:
    if content[:2] != _FIELD_1_HEAD:
        raise OtherLayout
    if len(content) == _BEHIND_ID:
        return FindValue(Key(content[2:]))
    if len(content) != 2 * _BEHIND_ID or content[_BEHIND_ID : _BEHIND_ID + 2] != _FIELD_10_HEAD:
        raise OtherLayout
    return FindValue(Key(content[2:_BEHIND_ID]), PublisherKey(content[_BEHIND_ID + 2 :]))


def _node_list(content: bytes) -> NodeList:
    contacts, dropped = split_contacts(*_rows(content, 0))
    return NodeList(contacts, dropped)


def _value(content: bytes) -> Value:
    value, nodes, at, end = b"", b"", 0, len(content)
    if at < end and content[at] == 0x12:
        value, at = _field(content, at + 1)
    if at < end and content[at] == 0x1A:
        nodes, at = _field(content, at + 1)
    contacts, dropped = split_contacts(*_rows(nodes, 0)) if nodes else ((), 0)
    records, at = _records(content, at, _ROW_10_HEAD)
    is_cached = content[at : at + 2] == b"\x58\x01"
    if is_cached:
        at += 2
    if at != end:
        raise OtherLayout
    return Value(value or None, contacts, records, is_cached, dropped)


def _store(content: bytes) -> Store:
    kind, key, value, at = 0, b"", b"", 0
    if content[0] == 0x08:
        kind, at = content[1], 2  # one of 0x80 or more is no kind; the reference refuses it
    if content[at] == 0x12:
        key, at = _field(content, at + 1)
    if content[at] == 0x1A:
        value, at = _field(content, at + 1)
    records, at = _records(content, at, _ROW_10_HEAD)
    is_cached = content[at : at + 2] == b"\x60\x01"
    if is_cached:
        at += 2
    names_contacts = content[at : at + 2] == b"\x68\x01"
    if names_contacts:
        at += 2
    if at != len(content):
        raise OtherLayout
    return check_store(kind, key, value, records, is_cached, names_contacts)


def _store_result(content: bytes) -> StoreResult:
    status, durability, at, end = 0, 0, 0, len(content)
    if at < end and content[at] == 0x08:
        status, at = content[at + 1], at + 2
    if at < end and content[at] == 0x10:
        durability, at = content[at + 1], at + 2
    records: tuple[RecordRow, ...] = ()
    contacts: tuple[Contact, ...] = ()
    dropped = 0
    if at < end and content[at] == 0x1A:
        records, at = _records(content, at, _ROW_3_HEAD)
    if at != end:
        contacts, dropped = split_contacts(*_rows(content, at))
    # Those of a later version are for the reference to replace.
    return StoreResult(STATUSES[status], DURABILITIES[durability], records, contacts, dropped)


def _have(content: bytes) -> Have:
    publisher, digests, is_round, at, end = b"", b"", False, 0, len(content)
    if content[at] != 0x0A:
        raise OtherLayout
    packed, at = _field(content, at + 1)
    if at < end and content[at] == 0x12:
        publisher, at = _field(content, at + 1)
    if at < end and content[at] == 0x1A:
        digests, at = _field(content, at + 1)
    if content[at:] == b"\x20\x01":
        is_round, at = True, end
    if at != end:
        raise OtherLayout
    keys = check_keys(packed)
    return Have(keys, check_publisher(publisher), check_digests(digests, len(keys)), is_round)


def _have_result(content: bytes) -> HaveResult:
    holdings: list[Holding] = []
    alike, at, end = 0, 0, len(content)
    while at < end and content[at] == 0x0A:
        if len(holdings) == MAX_KEYS:
            raise OtherLayout
        holding, at = _field(content, at + 1)
        holdings.append(_holding(holding))
    if at < end and content[at] == 0x10:
        alike, at = _number(content, at + 1)
    if at != end or alike >> 32 or not (holdings or alike):
        raise OtherLayout
    return HaveResult(tuple(holdings), alike)


def _holding(content: bytes) -> Holding:
    if content[:2] != _FIELD_1_HEAD:
        raise OtherLayout
    at = _BEHIND_ID
    has_value = content[at : at + 2] == b"\x10\x01"
    if has_value:
        at += 2
    records, at = _records(content, at, _ROW_3_HEAD)
    is_classic = content[at : at + 2] == b"\x20\x01"
    if is_classic:
        at += 2
    if at != len(content):
        raise OtherLayout
    return Holding(Key(content[2:_BEHIND_ID]), has_value, records, is_classic)


def _too_large(content: bytes) -> TooLarge:
    if content[0] != 0x08:
        raise OtherLayout
    size, at = _number(content, 1)
    if at != len(content):
        raise OtherLayout
    return TooLarge(size)


# By the tag that stands before a message.
_READERS: Final[dict[int, Callable[[bytes], Message]]] = {
    0x1A: _ping,
    0x22: _pong,
    0x2A: _store,
    0x32: _value,
    0x3A: _find_node,
    0x42: _find_value,
    0x4A: _node_list,
    0x52: _store_result,
    0x5A: _have,
    0x62: _have_result,
    0x6A: _too_large,
    0x72: _leave,
}
