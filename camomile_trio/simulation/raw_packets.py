"""Packets as bytes, written and read by hand, and what may be in one that a classic node is sent.

Rules of this file: nothing of `camomile_trio.wire`, `peer` or `node`, so that a mistake in our codec cannot hide
itself. Only the classic part of the protocol is known here (docs/protocol.md, Messages and Classic nodes), and only
what it needs of protobuf: varints, and bytes behind their length.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from hashlib import blake2b

import attrs

from camomile_trio.kademlia.contacts import Endpoint

MAX_VALUE = 1000
SESSION, SENDER = 1, 2
PUBLISH, REPLICATE = 1, 2


class Kind(enum.IntEnum):
    """The messages that a classic node knows, by their field numbers."""

    UNKNOWN = 0
    PING = 3
    PONG = 4
    STORE = 5
    VALUE = 6
    FIND_NODE = 7
    FIND_VALUE = 8
    NODE_LIST = 9


# What ours may send to an address without knowing that a classic node is there; such a node skips the field.
HELLO = 25
ANSWER_TO = {Kind.PING: Kind.PONG, Kind.FIND_NODE: Kind.NODE_LIST, Kind.FIND_VALUE: Kind.VALUE}
# The fields that a classic node may be sent within each message. A STORE has no key, as among classic nodes.
_KNOWN_FIELDS = {
    Kind.PING: {1},
    Kind.PONG: {1},
    Kind.STORE: {1, 3},
    Kind.VALUE: {1, 2, 3},
    Kind.FIND_NODE: {1},
    Kind.FIND_VALUE: {1},
    Kind.NODE_LIST: {1},
}
# Where a message has a value.
_VALUE_FIELD = {Kind.STORE: 3, Kind.VALUE: 2}
_LARGEST_SENT = 1232
MAPPED = bytes(10) + b"\xff\xff"

Fields = list[tuple[int, int | bytes]]


class NotProtobufError(Exception):
    """The bytes are no message."""


def key_of(value: bytes) -> bytes:
    return blake2b(value, digest_size=32).digest()


def varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def field(number: int, content: int | bytes) -> bytes:
    """One field: a varint for an int, else its length and bytes."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def fields_of(message: bytes) -> Fields:
    """All fields in their order; NotProtobufError for anything else than varints and lengths."""
    return list(_read_fields(message))


def _read_fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        number, at = _read_varint(message, at)
        if tag & 7 == 0:
            yield tag >> 3, number
        elif tag & 7 == 2 and at + number <= len(message):
            yield tag >> 3, message[at : at + number]
            at += number
        else:
            raise NotProtobufError


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 64, 7):
        if at >= len(message):
            raise NotProtobufError
        number |= (message[at] & 0x7F) << shift
        at += 1
        if message[at - 1] < 0x80:
            return number, at
    raise NotProtobufError


def content(fields: Fields, number: int) -> bytes:
    """The bytes of a field that is there once; empty if it is not there."""
    found = [each for each_number, each in fields if each_number == number]
    if not found:
        return b""
    (only,) = found
    assert isinstance(only, bytes)
    return only


@attrs.frozen
class Known:
    """A contact as a classic node keeps it: the ip as it came, 4 or 16 bytes."""

    node_id: bytes
    ip: bytes
    port: int

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint.of(self.ip, self.port)


@attrs.frozen
class Received:
    """One packet that reached the peer."""

    at: float
    source: Endpoint
    datagram: bytes

    @property
    def fields(self) -> Fields:
        return fields_of(self.datagram)

    @property
    def kind(self) -> Kind:
        """Its message; UNKNOWN for one that classic nodes do not know, or for none."""
        kinds = [Kind(number) for number, _ in self.fields if number in _KNOWN_FIELDS]
        return kinds[0] if len(kinds) == 1 else Kind.UNKNOWN

    @property
    def message(self) -> Fields:
        return fields_of(content(self.fields, self.kind))

    @property
    def value(self) -> bytes:
        """The value in its message; empty if there is none."""
        return content(self.message, _VALUE_FIELD[self.kind]) if self.kind in _VALUE_FIELD else b""

    @property
    def is_answer(self) -> bool:
        return self.kind in ANSWER_TO.values()

    def check(self) -> None:
        """Fails if anything is in it that a classic node does not know; a hello, which it skips, may be sent to it."""
        if [number for number, _ in self.fields] == [HELLO]:
            return
        assert self.kind is not Kind.UNKNOWN
        numbers = [number for number, _ in self.fields]
        assert numbers == sorted(set(numbers)), "fields come once, in ascending order"
        assert set(numbers) == {SESSION, SENDER, self.kind}
        assert len(content(self.fields, SESSION)) == len(content(self.fields, SENDER)) == 32
        assert len(self.datagram) <= _LARGEST_SENT
        message = self.message
        assert {number for number, _ in message} <= _KNOWN_FIELDS[self.kind]
        assert len(self.value) <= MAX_VALUE
        self.value.decode("utf-8")
        if self.kind is Kind.STORE:
            assert self.value
        if self.kind is Kind.VALUE:
            assert len(content(message, 1)) == 32
            assert 3 in [number for number, _ in message], "a hit and a miss both have a list"
            assert not (self.value and content(message, 3)), "a hit has an empty one"
        for node in self.nodes:
            assert [number for number, _ in node] == [1, 2, 3]
            ip = content(node, 2)
            assert len(content(node, 1)) == 32
            assert len(ip) in (4, 16)
            assert not ip.startswith(MAPPED), "IPv4 goes out as 4 bytes"

    @property
    def nodes(self) -> list[Fields]:
        """The contacts of its node list, if it has one."""
        if self.kind is Kind.NODE_LIST:
            node_list = self.message
        elif self.kind is Kind.VALUE:
            node_list = fields_of(content(self.message, 3))
        else:
            return []
        return [fields_of(each) for number, each in node_list if number == 1 and isinstance(each, bytes)]

    @property
    def contacts(self) -> list[Known]:
        """The same, as a classic node keeps them."""
        ports = [next(number for at, number in node if at == 3) for node in self.nodes]
        return [
            Known(content(node, 1), content(node, 2), port)
            for node, port in zip(self.nodes, ports, strict=True)
            if isinstance(port, int)
        ]
