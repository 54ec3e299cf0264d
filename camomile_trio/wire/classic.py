"""Packets of classic Camomile nodes (Go, 2019) <-> bytes.

Rules of this file: classic packets only, which are plain protobuf with the fields 1 to 9 of schemas/packet.proto. Every
other field is skipped, and none is written. `decode_untrusted` takes anything, for a bounded time, and raises nothing
but MalformedPacket: it is one pass over tags and lengths, each known field with its own wire type and no more often
than it may be there, and every length and range is checked. A packet has one encoding, the one that classic nodes give
it. Source: the protobuf encoding guide; docs/protocol.md, Classic nodes; tests/vectors/classic_packets.json.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import ID_BYTES, Key, NodeId
from camomile_trio.kademlia.messages import MAX_CONTACTS, StoreKind
from camomile_trio.wire.checks import sized
from camomile_trio.wire.protobuf import LENGTH, MAX_UNKNOWN, VARINT, read_field, varint

SESSION_BYTES: Final = 32
CHALLENGE_BYTES: Final = 32
LARGEST_PACKET: Final = 65_507  # bytes: no datagram has more


@attrs.frozen
class Ping:
    challenge: bytes  # 32 random bytes


@attrs.frozen
class Pong:
    challenge: bytes  # of the ping


@attrs.frozen
class FindNode:
    target: NodeId


@attrs.frozen
class FindValue:
    key: Key


@attrs.frozen
class NodeList:
    """The closest contacts that a node knows. `dropped`: senseless ones left out on arrival."""

    contacts: tuple[Contact, ...] = ()
    dropped: int = 0


@attrs.frozen
class Value:
    """The answer to a FIND_VALUE: the value (a hit) or None and closer contacts (a miss)."""

    key: Key
    value: bytes | None = None
    contacts: tuple[Contact, ...] = ()
    dropped: int = 0


@attrs.frozen
class Store:
    """Keep this value. It has no answer, and its key is the value's hash."""

    kind: StoreKind
    value: bytes


Message = Ping | Pong | FindNode | FindValue | NodeList | Value | Store


@attrs.frozen
class Packet:
    session: bytes  # 32 random bytes, the same in a request and its answer
    sender: NodeId
    message: Message


# Writing -------------------------------------------------------------------------------------------------------------


def encode(packet: Packet) -> bytes:
    """The bytes of a packet. IPv4 contacts go in their form of 4 bytes."""
    number, message = _message(packet.message)
    return _field(1, packet.session) + _field(2, packet.sender) + _field(number, message)


def encode_within(packet: Packet, limit: int) -> bytes | None:
    """The bytes of a packet, in at most `limit` bytes: the last contacts of a NodeList or a miss are left out until it
    fits. None if it does not fit even so.
    """
    whole = encode(packet)
    if len(whole) <= limit:
        return whole
    message = packet.message
    if not isinstance(message, NodeList | Value):
        return None

    def with_contacts(count: int) -> bytes:
        return encode(attrs.evolve(packet, message=attrs.evolve(message, contacts=message.contacts[:count])))

    counts = range(len(message.contacts) + 1)
    fits = bisect.bisect_right(counts, limit, key=lambda count: len(with_contacts(count))) - 1
    return with_contacts(fits) if fits >= 0 else None


def _message(message: Message) -> tuple[int, bytes]:
    """The field number of the message and its content."""
    match message:
        case Ping(challenge):
            return 3, _field(1, challenge)
        case Pong(challenge):
            return 4, _field(1, challenge)
        case Store(kind, value):
            return 5, (_number(1, kind) if kind else b"") + _field(3, value)
        case Value(key, value, contacts):
            # Classic nodes send a list with a hit too, an empty one.
            return 6, _field(1, key) + (_field(2, value) if value else b"") + _field(3, _nodes(contacts))
        case FindNode(target):
            return 7, _field(1, target)
        case FindValue(key):
            return 8, _field(1, key)
        case NodeList(contacts):
            return 9, _nodes(contacts)


def _nodes(contacts: Iterable[Contact]) -> bytes:
    return b"".join(
        _field(1, _field(1, contact.id) + _field(2, contact.endpoint.ip) + _number(3, contact.endpoint.port))
        for contact in contacts
    )


def _field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | LENGTH) + varint(len(content)) + content


def _number(number: int, content: int) -> bytes:
    return varint(number << 3 | VARINT) + varint(content)


# Reading -------------------------------------------------------------------------------------------------------------


_UINT32: Final = 2**32 - 1  # of a longer number protobuf takes the lower bits
_STORE_KINDS = {int(kind): kind for kind in StoreKind}


@attrs.frozen
class _Shape:
    """The fields of one message that are read: those with a length, with how often each may be there, and numbers."""

    contents: Mapping[int, int] = attrs.field(factory=dict)
    numbers: frozenset[int] = frozenset()


_MESSAGES: Final = range(3, 10)
_PACKET = _Shape({1: 1, 2: 1} | dict.fromkeys(_MESSAGES, 1))
_ONE_FIELD = _Shape({1: 1})
_STORE = _Shape({2: 1, 3: 1}, frozenset({1}))
_VALUE = _Shape({1: 1, 2: 1, 3: 1})
_NODE_LIST = _Shape({1: MAX_CONTACTS})
_NODE_INFO = _Shape({1: 1, 2: 1}, frozenset({3}))


def decode_untrusted(datagram_untrusted: bytes) -> Packet:
    """The packet in a datagram, every length, count, enum and range of it checked; else MalformedPacket.

    Contacts that make no sense in themselves are left out and counted (`dropped`): classic nodes send an empty ip for
    themselves.
    """
    if len(datagram_untrusted) > LARGEST_PACKET:
        raise MalformedPacket("too_large")
    reader = _Reader()
    packet = reader.fields(datagram_untrusted, _PACKET)
    messages = [number for number in _MESSAGES if number in packet.contents]
    if len(messages) > 1:
        raise MalformedPacket("two_messages")
    if not messages:
        raise MalformedPacket("no_message")
    return Packet(
        session=sized(packet.content(1), SESSION_BYTES, "session"),
        sender=NodeId(sized(packet.content(2), ID_BYTES, "sender")),
        message=reader.message(messages[0], packet.content(messages[0])),
    )


@attrs.frozen
class _Fields:
    """The fields of one message, unchecked but for their form."""

    contents: dict[int, list[bytes]] = attrs.field(factory=dict)
    numbers: dict[int, int] = attrs.field(factory=dict)

    def content(self, number: int) -> bytes:
        """Of a field that is there once at most; empty if it is not there."""
        return self.contents.get(number, [b""])[0]


@attrs.define
class _Reader:
    """Reads one packet."""

    _unknown_left: int = MAX_UNKNOWN

    def message(self, number: int, content: bytes) -> Message:
        """The message in this field of a packet."""
        if number == 5:
            return self._store(self.fields(content, _STORE))
        if number == 6:
            return self._value(self.fields(content, _VALUE))
        if number == 9:
            return NodeList(*self._contacts(content))
        first = self.fields(content, _ONE_FIELD).content(1)
        if number == 3:
            return Ping(sized(first, CHALLENGE_BYTES, "challenge"))
        if number == 4:
            return Pong(sized(first, CHALLENGE_BYTES, "challenge"))
        if number == 7:
            return FindNode(NodeId(sized(first, ID_BYTES, "target")))
        return FindValue(Key(sized(first, ID_BYTES, "key")))

    @staticmethod
    def _store(store: _Fields) -> Store:
        kind = _STORE_KINDS.get(store.numbers.get(1, 0))
        if kind is None:
            raise MalformedPacket("store_class")
        value = store.content(3)
        if not value:
            raise MalformedPacket("empty_store")
        return Store(kind, value)

    def _value(self, value: _Fields) -> Value:
        contacts, dropped = self._contacts(value.content(3))
        return Value(Key(sized(value.content(1), ID_BYTES, "key")), value.content(2) or None, contacts, dropped)

    def _contacts(self, node_list: bytes) -> tuple[tuple[Contact, ...], int]:
        """The sensible contacts of a list, and how many others there were."""
        contacts: list[Contact] = []
        nodes = self.fields(node_list, _NODE_LIST).contents.get(1, [])
        for each in nodes:
            node = self.fields(each, _NODE_INFO)
            node_id, ip, port = node.content(1), node.content(2), node.numbers.get(3, 0)
            if len(node_id) == ID_BYTES and len(ip) in (4, 16) and 0 < port <= 0xFFFF:
                contacts.append(Contact(NodeId(node_id), Endpoint.of(ip, port)))
        return tuple(contacts), len(nodes) - len(contacts)

    def fields(self, data: bytes, shape: _Shape) -> _Fields:
        """The fields of one message that its shape has. Unknown ones are skipped and not looked into."""
        found = _Fields()
        at, end = 0, len(data)
        while at < end:
            number, wire_type, start, at, value = read_field(data, at, end)
            if number in shape.contents:
                if wire_type != LENGTH:
                    raise MalformedPacket("wire_type", f"field {number}")
                contents = found.contents.setdefault(number, [])
                contents.append(data[start:at])
                if len(contents) > shape.contents[number]:
                    raise MalformedPacket("repeated_field", f"field {number}")
            elif number in shape.numbers:
                if wire_type != VARINT:
                    raise MalformedPacket("wire_type", f"field {number}")
                if number in found.numbers:
                    raise MalformedPacket("repeated_field", f"field {number}")
                found.numbers[number] = value & _UINT32
            else:
                self._unknown_left -= 1
                if self._unknown_left < 0:
                    raise MalformedPacket("too_many_unknown_fields")
        return found
