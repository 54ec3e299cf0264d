"""The fast way in: a decoder shaped for the layouts that this package writes for its most frequent messages.

Rules of this file: no protobuf library, no allocation that the packet could make large. For a packet it returns what
the reference decoder would return, or None for any layout that it was not shaped for, which says nothing about the
packet: the reference decides. Where it raises MalformedPacket, the reference would have refused too. Only packets with
a version come this way, of one message, with each field at most once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import (
    CHALLENGE_BYTES,
    MAX_CONTACTS,
    MAX_KEYS,
    MAX_RECORDS,
    FindNode,
    FindValue,
    Have,
    HaveResult,
    Holding,
    Message,
    NodeList,
    Packet,
    Ping,
    Pong,
    Store,
    StoreResult,
    Value,
)
from camomile_trio.kademlia.records import ROW_BYTES, SIGNATURE_BYTES, RecordRow
from camomile_trio.wire.checks import (
    NETWORK_BYTES,
    PUBLIC_KEY_BYTES,
    check_digests,
    check_endpoint,
    check_key,
    check_key_or_none,
    check_keys,
    check_node_id,
    check_publisher,
    check_record,
    check_store_kind,
    check_token,
    known_durability,
    known_status,
    sized,
    sized_or_empty,
)
from camomile_trio.wire.rows import split_contacts4, split_contacts6

# The fields of a message by their tags (number << 3 | wire type): the contents of bytes, or the bytes of a number.
Fields = dict[int, bytes]

# No message that comes this way has more; it bounds what garbage costs before the reference looks at it.
MOST_FIELDS: Final = 8
_LONGEST_NUMBER = 9  # bytes, 63 bits

# Session and sender in front, 32 bytes each, as every node writes them.
_SESSION_HEAD = b"\x0a\x20"
_SENDER_HEAD = b"\x12\x20"
_BEHIND_SENDER = 68

# A message of one field of 32 bytes, and a version of 1: the most frequent requests, all of the same length.
_SHORTEST = 106
_SINGLE_HEAD = b"\x22\x0a\x20"
_VERSION_1 = b"\x50\x01"
_SINGLES: dict[int, Callable[[bytes], Message]] = {
    0x1A: Ping,
    0x3A: lambda target: FindNode(NodeId(target)),
    0x42: lambda key: FindValue(Key(key)),
}

# What a holding starts with: a key of 32 bytes; and what a record of 123 bytes in it does.
_KEY_HEAD = b"\x0a\x20"
_ROW_HEAD = b"\x1a\x7b"

_VERSION, _NETWORK, _ADVERTISED, _FLAGS, _PADDING = 0x50, 0x5A, 0x62, 0x68, 0x72


def decode_shaped(packet_untrusted: bytes) -> Packet | None:
    """The checked packet, or None where the reference has to decide. MalformedPacket where it would refuse."""
    if packet_untrusted[:2] != _SESSION_HEAD or packet_untrusted[34:36] != _SENDER_HEAD:
        return None
    if (
        packet_untrusted[69:72] == _SINGLE_HEAD
        and packet_untrusted[104:106] == _VERSION_1
        and (single := _SINGLES.get(packet_untrusted[68])) is not None
        and (padding := _padding(packet_untrusted)) is not None
    ):
        session, sender, content = packet_untrusted[2:34], packet_untrusted[36:68], packet_untrusted[72:104]
        return Packet(session, NodeId(sender), single(content), 1, padding=padding)
    fields = _split(packet_untrusted, _BEHIND_SENDER)
    if fields is None:
        return None
    version = fields.pop(_VERSION, b"")
    # One byte: below 128, and 0 would be a classic packet.
    if len(version) != 1 or version == b"\0":
        return None
    network, advertised, flags, padding = b"", None, 0, 0
    if len(fields) > 1:
        network = sized_or_empty(fields.pop(_NETWORK, b""), NETWORK_BYTES, "network")
        advertised = check_endpoint(fields.pop(_ADVERTISED, b""))
        flag_bytes = fields.pop(_FLAGS, b"\0")
        if len(flag_bytes) != 1:
            return None
        flags = flag_bytes[0]
        padding = len(fields.pop(_PADDING, b""))
    if len(fields) != 1:
        return None
    tag, content = fields.popitem()
    reader = _READERS.get(tag)
    message = reader(content) if reader is not None else None
    if message is None:
        return None
    return Packet(
        packet_untrusted[2:34],
        NodeId(packet_untrusted[36:68]),
        message,
        version[0],
        network,
        advertised,
        flags,
        padding,
    )


def _padding(packet: bytes) -> int | None:
    """What a packet of `_SHORTEST` bytes has behind them, if that is nothing, or padding of 128 bytes or more."""
    size = len(packet)
    if size == _SHORTEST:
        return 0
    size -= _SHORTEST + 3
    if size < 128 or packet[106] != _PADDING or packet[107] != size & 0x7F | 0x80 or packet[108] != size >> 7:
        return None
    return size


def _split(data: bytes, at: int) -> Fields | None:
    """The fields from `at` to the end; None if one is there twice, has an unusual tag or length, or does not end."""
    fields: Fields = {}
    end = len(data)
    try:
        while at < end:
            tag = data[at]
            at += 1
            if tag >= 0x80:
                if data[at] >= 0x80:
                    return None
                tag = (tag & 0x7F) | (data[at] << 7)
                at += 1
            wire_type = tag & 7
            start = at
            if wire_type == 2:
                length = data[at]
                start = at + 1
                if length >= 0x80:
                    if data[start] >= 0x80:
                        return None
                    length = (length & 0x7F) | (data[start] << 7)
                    start += 1
                at = start + length
            elif wire_type == 0:
                while data[at] >= 0x80:
                    at += 1
                at += 1
                if at - start > _LONGEST_NUMBER:
                    return None
            else:
                return None
            if at > end or tag in fields or len(fields) == MOST_FIELDS:
                return None
            fields[tag] = data[start:at]
    except IndexError:
        return None
    return fields


def _number(content: bytes) -> int:
    number = 0
    for byte in reversed(content):
        number = (number << 7) | (byte & 0x7F)
    return number


def _small_number(content: bytes) -> int | None:
    """A number of one byte; 0 for an absent field; None for a longer one."""
    return 0 if not content else content[0] if len(content) == 1 else None


def _record(fields: Fields, tag: int) -> tuple[RecordRow, ...]:
    content = fields.pop(tag, None)
    return () if content is None else (check_record(content),)


def _contacts(fields: Fields, tag4: int, tag6: int) -> tuple[tuple[Contact, ...], int] | None:
    rows4, rows6 = fields.pop(tag4, b""), fields.pop(tag6, b"")
    contacts, dropped = split_contacts4(rows4)
    if rows6:
        contacts6, dropped6 = split_contacts6(rows6)
        contacts += contacts6
        dropped += dropped6
    return (tuple(contacts), dropped) if len(contacts) + dropped <= MAX_CONTACTS else None


# One reader for each message: it takes the fields that it knows out, and is right only if none is left.


def _ping(content: bytes) -> Message | None:
    fields = _split(content, 0)
    if fields is None:
        return None
    challenge = fields.pop(0x0A, b"")
    return None if fields else Ping(sized(challenge, CHALLENGE_BYTES, "challenge"))


def _pong(content: bytes) -> Message | None:
    fields = _split(content, 0)
    if fields is None:
        return None
    clock = fields.pop(0x68, None)
    pong = Pong(
        sized(fields.pop(0x0A, b""), CHALLENGE_BYTES, "challenge"),
        sized_or_empty(fields.pop(0x52, b""), PUBLIC_KEY_BYTES, "public_key"),
        sized_or_empty(fields.pop(0x5A, b""), SIGNATURE_BYTES, "signature"),
        check_endpoint(fields.pop(0x62, b"")),
        None if clock is None else _number(clock),
    )
    return None if fields else pong


def _find_node(content: bytes) -> Message | None:
    fields = _split(content, 0)
    if fields is None:
        return None
    target = fields.pop(0x0A, b"")
    return None if fields else FindNode(check_node_id(target, "target"))


def _find_value(content: bytes) -> Message | None:
    fields = _split(content, 0)
    if fields is None:
        return None
    find = FindValue(check_key(fields.pop(0x0A, b"")), check_publisher(fields.pop(0x52, b"")))
    return None if fields else find


def _node_list(content: bytes) -> Message | None:
    fields = _split(content, 0)
    if fields is None:
        return None
    contacts = _contacts(fields, 0x52, 0x5A)
    token = check_token(fields.pop(0x62, b""))
    return None if fields or contacts is None else NodeList(contacts[0], token, contacts[1])


def _value(content: bytes) -> Message | None:
    fields = _split(content, 0)
    if fields is None:
        return None
    nested = _split(fields.pop(0x1A, b""), 0)
    contacts = None if nested is None else _contacts(nested, 0x52, 0x5A)
    if nested or contacts is None:
        return None
    value = Value(
        check_key_or_none(fields.pop(0x0A, b"")),
        fields.pop(0x12, b"") or None,
        contacts[0],
        _record(fields, 0x52),
        bool(_number(fields.pop(0x58, b""))),
        check_token(fields.pop(0x62, b"")),
        contacts[1],
    )
    return None if fields else value


def _store(content: bytes) -> Message | None:
    fields = _split(content, 0)
    if fields is None:
        return None
    kind = _small_number(fields.pop(0x08, b""))
    if kind is None:
        return None
    store = Store(
        check_store_kind(kind),
        check_key_or_none(fields.pop(0x12, b"")),
        fields.pop(0x1A, b"") or None,
        _record(fields, 0x52),
        check_token(fields.pop(0x5A, b"")),
        bool(_number(fields.pop(0x60, b""))),
        bool(_number(fields.pop(0x68, b""))),
    )
    if store.value is None and (store.key is None or not store.records):
        return None
    return None if fields else store


def _store_result(content: bytes) -> Message | None:
    fields = _split(content, 0)
    if fields is None:
        return None
    status, durability = _small_number(fields.pop(0x08, b"")), _small_number(fields.pop(0x10, b""))
    if status is None or durability is None:
        return None
    contacts = _contacts(fields, 0x52, 0x5A)
    if contacts is None:
        return None
    result = StoreResult(known_status(status), known_durability(durability), _record(fields, 0x1A), *contacts)
    return None if fields else result


def _have(content: bytes) -> Message | None:
    fields = _split(content, 0)
    if fields is None:
        return None
    keys = check_keys(fields.pop(0x0A, b""))
    publisher = check_publisher(fields.pop(0x12, b""))
    have = Have(keys, publisher, check_digests(fields.pop(0x1A, b""), len(keys)), bool(_number(fields.pop(0x20, b""))))
    return None if fields else have


def _have_result(content: bytes) -> Message | None:
    holdings: list[Holding] = []
    alike, at, end = 0, 0, len(content)
    while at < end:
        if content[at] == 0x10 and at + 1 < end <= at + 6:
            # The bits of the keys that are alike, behind all holdings.
            alike = _number(content[at + 1 :])
            if content[-1] >= 0x80 or min(content[at + 1 : end - 1], default=0x80) < 0x80 or alike >> MAX_KEYS:
                return None
            break
        # A tag of one byte, and a length of one or two.
        if content[at] != 0x0A or at + 3 > end or len(holdings) == MAX_KEYS:
            return None
        length = content[at + 1]
        at += 2
        if length >= 0x80:
            if content[at] >= 0x80:
                return None
            length = (length & 0x7F) | (content[at] << 7)
            at += 1
        holding = _holding(content[at : at + length]) if at + length <= end else None
        if holding is None:
            return None
        holdings.append(holding)
        at += length
    return HaveResult(tuple(holdings), alike) if holdings or alike else None


def _holding(content: bytes) -> Holding | None:
    """In the order of the fields' numbers, and nothing else in between."""
    if content[:2] != _KEY_HEAD:
        return None
    at = 34
    has_value = content[at : at + 2] == b"\x10\x01"
    if has_value:
        at += 2
    records: list[RecordRow] = []
    while content[at : at + 2] == _ROW_HEAD:
        row = content[at + 2 : at + 2 + ROW_BYTES]
        if len(row) != ROW_BYTES or len(records) == MAX_RECORDS:
            return None
        records.append(check_record(row))
        at += 2 + ROW_BYTES
    is_classic = content[at:] == b"\x20\x01"
    if is_classic:
        at += 2
    if at != len(content):
        return None
    return Holding(Key(content[2:34]), has_value, tuple(records), is_classic)


_READERS: dict[int, Callable[[bytes], Message | None]] = {
    0x1A: _ping,
    0x22: _pong,
    0x2A: _store,
    0x32: _value,
    0x3A: _find_node,
    0x42: _find_value,
    0x4A: _node_list,
    # Fields 16 to 18: two bytes on the wire (0x82 0x01), put together.
    0x82: _store_result,
    0x8A: _have,
    0x92: _have_result,
}
