"""Inner packets that a decoder could get wrong, each with what has to become of it. Fuzzing starts from them.

Rules of this file: bytes that our encoder does not write. ACCEPTED has the outcome of each, REFUSED the reason.
"""

from __future__ import annotations

from typing import Final

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import (
    Durability,
    FindNode,
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
from camomile_trio.kademlia.records import FORMAT, ROW_BYTES, Kind, PublisherKey, Record
from camomile_trio.wire.checks import LONGEST_ROW
from camomile_trio.wire.generated import camomile as schema

KEY = Key(b"k" * 32)
ROW = Record(KEY, Kind.LEASE, 0, PublisherKey(b"p" * 32), 1, 2, 3, b"s" * 64).row()
# What only a later version knows: a kind, a flag, and a format with a longer row.
NEW_KIND = bytes([FORMAT, 4, 0]) + ROW[3:]
NEW_FLAG = bytes([FORMAT, Kind.LEASE, 0x80]) + ROW[3:]
NEW_FORMAT = bytes([FORMAT + 1, Kind.LEASE, 0]) + ROW[3:]
LONGER = bytes([FORMAT + 1, 4, 0]) + ROW[3:] + b"n" * 32

ALICE = Contact.of(b"a" * 32, Endpoint.parse("10.0.0.1:8118"))
BOB = Contact.of(b"b" * 32, Endpoint.parse("[fd00::2]:8118"))
ROW4 = ALICE.public + ALICE.endpoint
ROW6 = BOB.public + BOB.endpoint

NUMBER = b"\x08\x07"  # 7
FLAGS = b"\x10\x01"
PING = b"\x1a\x00"
FIND = b"\x3a\x22\x0a\x20" + b"t" * 32
UNKNOWN = b"\xba\x06\x05later" + b"\xc0\x06\x01" + b"\xc5\x06four" + b"\xc1\x06eighteen"


def inner(**fields: object) -> bytes:
    """Of the schema's classes, with any lengths and numbers. Its number is 7 unless it says otherwise."""
    raw = schema.Inner(number=7)
    for name, content in fields.items():
        assert hasattr(raw, name)
        setattr(raw, name, content)
    return bytes(raw)


def field(tag: int, content: bytes) -> bytes:
    """With a length of 5 bytes, which is longer than it needs to be, and is a length nevertheless."""
    size = len(content)
    return bytes([tag, size & 127 | 128, size >> 7 & 127 | 128, size >> 14 & 127 | 128, 128, 0]) + content


_STORED = Store(StoreKind.UNKNOWN, None, b"v", (ROW,))

ACCEPTED: Final[dict[str, tuple[bytes, tuple[int, Message, int]]]] = {
    "no number and no flags": (PING, (0, Ping(), 0)),
    "a number and flags of 0, written": (b"\x08\x00\x10\x00" + PING, (0, Ping(), 0)),
    "a number that is longer than it needs to be": (b"\x08\x87\x80\x00" + PING, (7, Ping(), 0)),
    "the largest number": (b"\x08\xff\xff\xff\xff\x0f" + PING, (2**32 - 1, Ping(), 0)),
    "all flags": (NUMBER + b"\x10\xff\x01" + PING, (7, Ping(), 255)),
    "the message first": (PING + FLAGS + NUMBER, (7, Ping(), 1)),
    "the flags first": (FLAGS + NUMBER + FIND, (7, FindNode(NodeId(b"t" * 32)), 1)),
    "fields of a later version behind it": (NUMBER + PING + UNKNOWN, (7, Ping(), 0)),
    "fields of a later version before it": (UNKNOWN + NUMBER + PING, (7, Ping(), 0)),
    "fields of a later version in it": (NUMBER + field(0x1A, UNKNOWN), (7, Ping(), 0)),
    "a leave of a later version": (NUMBER + field(0x72, UNKNOWN), (7, Leave(), 0)),
    "long lengths": (NUMBER + field(0x3A, field(0x0A, b"t" * 32)), (7, FindNode(NodeId(b"t" * 32)), 0)),
    "an empty pong": (inner(pong=schema.Pong()), (7, Pong(), 0)),
    "a pong of a clock at 0": (NUMBER + b"\x22\x02\x68\x00", (7, Pong(None, 0), 0)),
    "a pong of the last clock": (inner(pong=schema.Pong(clock=2**64 - 1)), (7, Pong(None, 2**64 - 1), 0)),
    "a pong with a mapped address": (
        inner(pong=schema.Pong(observed=bytes(10) + b"\xff\xff" + ALICE.endpoint)),
        (7, Pong(ALICE.endpoint), 0),
    ),
    "an empty list": (NUMBER + b"\x4a\x00", (7, NodeList(), 0)),
    "rows in the other order": (
        NUMBER + field(0x4A, field(0x5A, ROW6) + field(0x52, ROW4)),
        (7, NodeList((ALICE, BOB)), 0),
    ),
    "rows without a port": (
        inner(node_list=schema.NodeList(contacts4=ROW4[:-2] + b"\0\0" + ROW4, contacts6=ROW6[:-2] + b"\0\0")),
        (7, NodeList((ALICE,), 2), 0),
    ),
    "a row with a mapped address": (
        inner(node_list=schema.NodeList(contacts6=ALICE.public + bytes(10) + b"\xff\xff" + ALICE.endpoint)),
        (7, NodeList((ALICE,)), 0),
    ),
    "a key that is no public key": (
        inner(node_list=schema.NodeList(contacts4=bytes(32) + ALICE.endpoint)),
        (7, NodeList((Contact.of(bytes(32), ALICE.endpoint),)), 0),
    ),
    "the most contacts": (
        inner(node_list=schema.NodeList(contacts4=ROW4 * 100, contacts6=ROW6 * 28)),
        (7, NodeList((ALICE,) * 100 + (BOB,) * 28), 0),
    ),
    "an empty value": (NUMBER + b"\x32\x00", (7, Value(), 0)),
    "a value with an empty list": (inner(value=schema.Value(node_list=schema.NodeList())), (7, Value(), 0)),
    "a value with the same record again": (
        inner(value=schema.Value(value=b"v", records=[ROW, ROW, ROW, ROW])),
        (7, Value(b"v", records=(ROW,) * 4), 0),
    ),
    "a value with records of a later version": (
        inner(value=schema.Value(value=b"v", records=[NEW_KIND, ROW, LONGER, NEW_FLAG])),
        (7, Value(b"v", records=(ROW,)), 0),
    ),
    "a value with such records alone": (inner(value=schema.Value(records=[NEW_FORMAT, LONGER])), (7, Value(), 0)),
    "a store with records of a later version": (
        inner(store=schema.Store(value=b"v", records=[LONGER, NEW_FLAG, ROW, NEW_KIND])),
        (7, _STORED, 0),
    ),
    "a store with a row of the most bytes": (
        inner(store=schema.Store(value=b"v", records=[LONGER.ljust(LONGEST_ROW, b"n"), ROW])),
        (7, _STORED, 0),
    ),
    "a store whose fields are in the other order": (
        NUMBER + field(0x2A, field(0x52, ROW) + field(0x1A, b"v") + b"\x08\x00"),
        (7, _STORED, 0),
    ),
    "a store with a class that is longer than it needs to be": (
        NUMBER + field(0x2A, b"\x08\x82\x00" + field(0x1A, b"v") + field(0x52, ROW)),
        (7, Store(StoreKind.REPLICATE, None, b"v", (ROW,)), 0),
    ),
    "a store with truths above 1": (
        NUMBER + field(0x2A, field(0x1A, b"v") + field(0x52, ROW) + b"\x60\x02\x68\x80\x01"),
        (7, Store(StoreKind.UNKNOWN, None, b"v", (ROW,), cached=True, names_contacts=True), 0),
    ),
    "a store with a value and a key": (
        inner(store=schema.Store(key=KEY, value=b"v", records=[ROW])),
        (7, Store(StoreKind.UNKNOWN, KEY, b"v", (ROW,)), 0),
    ),
    "a store with a large value": (
        inner(store=schema.Store(value=bytes(1 << 15), records=[ROW])),
        (7, Store(StoreKind.UNKNOWN, None, bytes(1 << 15), (ROW,)), 0),
    ),
    "a result that says nothing": (
        inner(store_result=schema.StoreResult()),
        (7, StoreResult(StoreStatus.UNKNOWN), 0),
    ),
    "a result of a later version": (
        inner(store_result=schema.StoreResult(status=schema.StoreStatus(99), durability=schema.Durability(300))),
        (7, StoreResult(StoreStatus.UNKNOWN, Durability.NONE), 0),
    ),
    "a result with records of a later version": (
        inner(store_result=schema.StoreResult(status=schema.StoreStatus(1), records=[NEW_KIND, ROW])),
        (7, StoreResult(StoreStatus.STORED, records=(ROW,)), 0),
    ),
    "a holding with records of a later version": (
        inner(have_result=schema.HaveResult([schema.Holding(KEY, records=[NEW_FORMAT, LONGER])])),
        (7, HaveResult((Holding(KEY, has_value=False),)), 0),
    ),
    "a holding whose fields are in the other order": (
        NUMBER + field(0x62, b"\x10\x02" + field(0x0A, b"\x10\x01" + field(0x0A, KEY))),
        (7, HaveResult((Holding(KEY, has_value=True),), alike=2), 0),
    ),
    "too large, by nothing": (NUMBER + b"\x6a\x00", (7, TooLarge(0), 0)),
    "too large, by the most": (inner(too_large=schema.TooLarge(2**64 - 1)), (7, TooLarge(2**64 - 1), 0)),
}

REFUSED: Final[dict[str, tuple[bytes, str]]] = {
    "nothing": (b"", "no_message"),
    "a number alone": (NUMBER, "no_message"),
    "a message of a later version alone": (NUMBER + b"\x7a\x00", "no_message"),
    "nine flags": (NUMBER + b"\x10\x80\x02" + PING, "flags"),
    "flags with a message in their second byte": (NUMBER + b"\x10\x81\x1a\x00", "field_number"),
    "two numbers": (NUMBER + NUMBER + PING, "repeated_field"),
    "two pings": (NUMBER + PING + PING, "repeated_field"),
    "a ping and a leave": (NUMBER + PING + b"\x72\x00", "two_messages"),
    "a number that is bytes": (b"\x0a\x01\x07" + PING, "wire_type"),
    "a message that is a number": (NUMBER + b"\x18\x01", "wire_type"),
    "a number without an end": (b"\x08\x87", "truncated"),
    "a message without its end": (NUMBER + FIND[:-1], "truncated"),
    "a field that reaches out of its message": (NUMBER + b"\x3a\x22\x0a\x21" + b"t" * 33, "truncated"),
    "a group": (NUMBER + b"\x1b\x1c", "wire_type"),
    "a classic ping": (inner(ping=schema.Ping(b"c" * 32)), "repeated_field"),
    "a classic pong": (inner(pong=schema.Pong(b"c" * 32)), "repeated_field"),
    "a classic value": (inner(value=schema.Value(key=KEY, value=b"v")), "repeated_field"),
    "a classic list": (inner(node_list=schema.NodeList([schema.NodeInfo()])), "repeated_field"),
    "a pong with 4 bytes": (inner(pong=schema.Pong(observed=bytes(4))), "endpoint"),
    "a target of 20 bytes": (inner(find_node=schema.FindNode(b"t" * 20)), "target"),
    "no target": (inner(find_node=schema.FindNode()), "target"),
    "a key of 31 bytes": (inner(find_value=schema.FindValue(b"k" * 31)), "key"),
    "no key": (inner(find_value=schema.FindValue()), "key"),
    "a publisher of 31 bytes": (inner(find_value=schema.FindValue(KEY, publisher=b"p" * 31)), "publisher"),
    "a row and a byte": (inner(node_list=schema.NodeList(contacts4=ROW4 + b"\0")), "contact_rows"),
    "a row less a byte": (inner(node_list=schema.NodeList(contacts6=ROW6[:-1])), "contact_rows"),
    "too many rows": (inner(node_list=schema.NodeList(contacts4=ROW4 * 129)), "too_many_contacts"),
    "too many long rows": (inner(node_list=schema.NodeList(contacts6=ROW6 * 129)), "too_many_contacts"),
    "too many rows in all": (
        inner(node_list=schema.NodeList(contacts4=ROW4 * 101, contacts6=ROW6 * 28)),
        "too_many_contacts",
    ),
    "too many rows without a port": (
        inner(node_list=schema.NodeList(contacts4=bytes(38 * 101), contacts6=ROW6 * 28)),
        "too_many_contacts",
    ),
    "a value with half a row": (
        inner(value=schema.Value(node_list=schema.NodeList(contacts4=bytes(1)))),
        "contact_rows",
    ),
    "a record of 122 bytes": (inner(value=schema.Value(records=[ROW[:-1]])), "record"),
    "a record of 124 bytes": (inner(value=schema.Value(records=[ROW + b"r"])), "record"),
    "an empty record": (inner(store_result=schema.StoreResult(records=[b""])), "record"),
    "a record of a later format, cut": (inner(value=schema.Value(records=[NEW_FORMAT[:-1]])), "record"),
    "a record of a later format, far too long": (
        inner(value=schema.Value(records=[LONGER.ljust(LONGEST_ROW + 1, b"n")])),
        "record",
    ),
    "five records": (inner(value=schema.Value(records=[ROW] * 5)), "repeated_field"),
    "an unknown class": (
        inner(store=schema.Store(class_=schema.StoreClass(3), value=b"v", records=[ROW])),
        "store_class",
    ),
    "a large class": (
        inner(store=schema.Store(class_=schema.StoreClass(2**31), value=b"v", records=[ROW])),
        "store_class",
    ),
    "a class below 0": (
        inner(store=schema.Store(class_=schema.StoreClass(-1), value=b"v", records=[ROW])),
        "store_class",
    ),
    "a store with a key of 5 bytes": (inner(store=schema.Store(key=b"k" * 5, value=b"v", records=[ROW])), "key"),
    "an empty store": (inner(store=schema.Store()), "empty_store"),
    "a store of nothing but a record": (inner(store=schema.Store(records=[ROW])), "empty_store"),
    "a store without records": (inner(store=schema.Store(value=b"v")), "records"),
    "a renewal without records": (inner(store=schema.Store(key=KEY)), "records"),
    "a store with records of a later version alone": (
        inner(store=schema.Store(value=b"v", records=[NEW_KIND, NEW_FORMAT, LONGER])),
        "records",
    ),
    "a store with such a record alone": (inner(store=schema.Store(key=KEY, records=[NEW_FLAG])), "records"),
    "no keys": (inner(have=schema.Have()), "keys"),
    "a key in another field": (NUMBER + field(0x5A, b"\x7a\x20" + KEY), "keys"),
    "a key and a byte": (inner(have=schema.Have(keys=KEY + b"k")), "keys"),
    "too many keys": (inner(have=schema.Have(keys=KEY * 33)), "keys"),
    "keys of a long publisher": (inner(have=schema.Have(keys=KEY, publisher=b"p" * 33)), "publisher"),
    "a short digest": (inner(have=schema.Have(keys=KEY, digests=b"d" * 15)), "digests"),
    "a digest too many": (inner(have=schema.Have(keys=KEY, digests=b"d" * 32)), "digests"),
    "a digest too few": (inner(have=schema.Have(keys=KEY * 2, digests=b"d" * 16)), "digests"),
    "no holdings": (inner(have_result=schema.HaveResult()), "holdings"),
    "a holding of a short key": (inner(have_result=schema.HaveResult([schema.Holding(b"k")])), "key"),
    "a holding with half a record": (
        inner(have_result=schema.HaveResult([schema.Holding(KEY, records=[ROW[: ROW_BYTES // 2]])])),
        "record",
    ),
    "too many holdings": (inner(have_result=schema.HaveResult([schema.Holding(KEY)] * 33)), "repeated_field"),
}

CORPUS: Final = [packet for packet, _ in (*ACCEPTED.values(), *REFUSED.values())]
