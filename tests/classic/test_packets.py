"""What classic nodes really sent decodes to its meaning, and the same content encodes to the same bytes. Whatever else
arrives is a checked packet or MalformedPacket.
"""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import MAX_CONTACTS, StoreKind
from camomile_trio.simulation.raw_packets import Kind, field
from camomile_trio.wire.classic import (
    FindNode,
    FindValue,
    Message,
    NodeList,
    Packet,
    Ping,
    Pong,
    Store,
    Value,
    decode_untrusted,
    encode,
    encode_within,
)
from camomile_trio.wire.generated import camomile as schema
from camomile_trio.wire.protobuf import MAX_UNKNOWN
from tests.classic.recorded import RECORDED, Recorded
from tests.classic.strategies import packets
from tests.wire.mutations import mutated

every_packet = pytest.mark.parametrize("recorded", RECORDED, ids=[recorded.name for recorded in RECORDED])

plain = [recorded for recorded in RECORDED if all(len(node.ip) == 4 for node in recorded.nodes)]
every_plain_packet = pytest.mark.parametrize("recorded", plain, ids=[recorded.name for recorded in plain])


def meaning(recorded: Recorded) -> Message:
    """The message that the recording says was sent, senseless contacts left out."""
    texts = recorded.texts
    contacts = tuple(
        Contact(NodeId(node.node_id), Endpoint.of(node.ip, node.port)) for node in recorded.nodes if node.ip
    )
    dropped = sum(not node.ip for node in recorded.nodes)
    match recorded.payload:
        case "ping":
            return Ping(bytes.fromhex(texts["challenge"]))
        case "pong":
            return Pong(bytes.fromhex(texts["challenge"]))
        case "find_node":
            return FindNode(NodeId(bytes.fromhex(texts["node_id"])))
        case "find_value":
            return FindValue(Key.parse(texts["key"]))
        case "node_list":
            return NodeList(contacts, dropped=dropped)
        case "value":
            return Value(Key.parse(texts["key"]), texts["value"].encode() or None, contacts, dropped=dropped)
        case "store":
            assert texts["key"] == ""
            return Store(StoreKind[texts["store_class"]], texts["value"].encode())
        case other:
            raise AssertionError(other)


def at_schema_level(recorded: Recorded) -> schema.Packet:
    """The same with the contacts as they were written: 16-byte and empty ips included."""
    texts = recorded.texts
    raw = schema.Packet(session_id=recorded.session, sender_id=recorded.sender)
    nodes = schema.NodeList(
        nodes=[schema.NodeInfo(node_id=node.node_id, ip=node.ip, port=node.port) for node in recorded.nodes]
    )
    if recorded.payload == "node_list":
        raw.node_list = nodes
    else:
        assert recorded.payload == "value"
        raw.value = schema.Value(key=bytes.fromhex(texts["key"]), value=texts["value"].encode(), node_list=nodes)
    return raw


def test_all_recordings_are_here() -> None:
    assert len(RECORDED) == 34
    assert {len(node.ip) for recorded in RECORDED for node in recorded.nodes} == {0, 4, 16}
    assert max(len(recorded.nodes) for recorded in RECORDED) == 32
    assert len(plain) < len(RECORDED)


@every_packet
def test_a_classic_packet_decodes_to_its_meaning(recorded: Recorded) -> None:
    packet = decode_untrusted(recorded.datagram)
    assert packet == Packet(recorded.session, NodeId(recorded.sender), meaning(recorded))


@every_plain_packet
def test_its_meaning_encodes_to_the_same_bytes(recorded: Recorded) -> None:
    assert encode(Packet(recorded.session, NodeId(recorded.sender), meaning(recorded))) == recorded.datagram


@pytest.mark.parametrize(
    "recorded",
    [recorded for recorded in RECORDED if recorded.payload in ("node_list", "value")],
    ids=lambda recorded: recorded.name,
)
def test_every_form_of_an_ip_encodes_to_the_same_bytes(recorded: Recorded) -> None:
    raw = at_schema_level(recorded)
    assert bytes(raw) == recorded.datagram
    assert schema.Packet.parse(recorded.datagram) == raw


def test_a_classic_node_that_does_not_know_its_address_is_left_out_of_its_own_list() -> None:
    lists = [recorded for recorded in RECORDED if any(not node.ip for node in recorded.nodes)]
    assert lists
    for recorded in lists:
        message = decode_untrusted(recorded.datagram).message
        assert isinstance(message, NodeList | Value)
        assert message.dropped == 1
        assert len(message.contacts) == 31


def test_a_mapped_address_is_the_ipv4_address() -> None:
    packet = decode_untrusted(next(r for r in RECORDED if any(len(n.ip) == 16 for n in r.nodes)).datagram)
    assert isinstance(packet.message, NodeList)
    assert all(contact.endpoint.is_ipv4 for contact in packet.message.contacts)


# Both ways --------------------------------------------------------------------------------------------------------


def as_schema(packet: Packet) -> schema.Packet:
    """The packet in the classes that are generated from the schema."""
    raw = schema.Packet(session_id=packet.session, sender_id=packet.sender)

    def nodes(contacts: tuple[Contact, ...]) -> schema.NodeList:
        return schema.NodeList(
            nodes=[schema.NodeInfo(node_id=at.id, ip=at.endpoint.ip, port=at.endpoint.port) for at in contacts]
        )

    match packet.message:
        case Ping(challenge):
            raw.ping = schema.Ping(challenge=challenge)
        case Pong(challenge):
            raw.pong = schema.Pong(challenge=challenge)
        case FindNode(target):
            raw.find_node = schema.FindNode(node_id=target)
        case FindValue(key):
            raw.find_value = schema.FindValue(key=key)
        case NodeList(contacts):
            raw.node_list = nodes(contacts)
        case Value(key, value, contacts):
            raw.value = schema.Value(key=key, value=value or b"", node_list=nodes(contacts))
        case Store(kind, value):
            raw.store = schema.Store(class_=schema.StoreClass(kind), value=value)
    return raw


@given(packets)
def test_what_is_written_is_what_the_schema_says_and_is_read_as_it_was(packet: Packet) -> None:
    datagram = encode(packet)
    assert datagram == bytes(as_schema(packet))
    assert decode_untrusted(datagram) == packet


@given(packets, st.integers(0, 1500))
def test_what_does_not_fit_loses_its_last_contacts_and_no_more_than_it_has_to(packet: Packet, limit: int) -> None:
    datagram = encode_within(packet, limit)
    message = packet.message
    contacts = message.contacts if isinstance(message, NodeList | Value) else ()

    def length(count: int) -> int:
        if not isinstance(message, NodeList | Value):
            return len(encode(packet))
        return len(encode(Packet(packet.session, packet.sender, attrs.evolve(message, contacts=contacts[:count]))))

    if datagram is None:
        assert length(0) > limit
        return
    assert len(datagram) <= limit
    read = decode_untrusted(datagram).message
    kept = read.contacts if isinstance(read, NodeList | Value) else ()
    assert kept == contacts[: len(kept)]
    assert len(kept) == len(contacts) or length(len(kept) + 1) > limit


# Whatever arrives ------------------------------------------------------------------------------------------------


@given(st.binary(max_size=200) | mutated(st.sampled_from(RECORDED).map(lambda recorded: recorded.datagram)))
def test_whatever_arrives_is_read_as_the_library_reads_it_or_is_malformed(datagram: bytes) -> None:
    try:
        packet = decode_untrusted(datagram)
    except MalformedPacket:
        return
    raw = schema.Packet.parse(datagram)
    assert (raw.session_id, raw.sender_id) == (packet.session, packet.sender)
    match packet.message:
        case Ping(challenge):
            assert raw.ping is not None
            assert raw.ping.challenge == challenge
        case Pong(challenge):
            assert raw.pong is not None
            assert raw.pong.challenge == challenge
        case FindNode(target):
            assert raw.find_node is not None
            assert raw.find_node.node_id == target
        case FindValue(key):
            assert raw.find_value is not None
            assert raw.find_value.key == key
        case NodeList(contacts, dropped):
            assert raw.node_list is not None
            assert len(raw.node_list.nodes) == len(contacts) + dropped
        case Value(key, value, contacts, dropped):
            assert raw.value is not None
            assert (raw.value.key, raw.value.value) == (key, value or b"")
            nodes = raw.value.node_list.nodes if raw.value.node_list is not None else []
            assert len(nodes) == len(contacts) + dropped
        case Store(kind, value):
            assert raw.store is not None
            assert (int(raw.store.class_), raw.store.value) == (kind, value)


WORD = b"w" * 32
HEAD = field(1, WORD) + field(2, WORD)
PING = HEAD + field(Kind.PING, field(1, WORD))
NODE = field(1, field(1, WORD) + field(2, b"\n\0\0\1") + field(3, 8118))
HUGE = b"\xff" * 9


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"", "no_message"),
        (HEAD, "no_message"),
        (HEAD + field(19, b""), "no_message"),
        (bytes(65_508), "too_large"),
        (PING[:-1], "truncated"),
        (HEAD + b"\x1a", "truncated"),
        (PING + b"\x0f", "wire_type"),
        (PING + b"\x53", "wire_type"),
        (HEAD + field(Kind.PING, 1), "wire_type"),
        (HEAD + field(Kind.STORE, field(1, b"1") + field(3, b"v")), "wire_type"),
        (PING + b"\x02\x00", "field_number"),
        (PING + b"\x50" + HUGE + b"\xff", "varint"),
        (PING + b"\x50" + HUGE + b"\x02", "varint"),
        (PING + PING, "repeated_field"),
        (PING + field(Kind.PONG, field(1, WORD)), "two_messages"),
        (HEAD + field(Kind.STORE, field(1, 1) + field(1, 1) + field(3, b"v")), "repeated_field"),
        (PING + field(10, 1) * (MAX_UNKNOWN + 1), "too_many_unknown_fields"),
        (HEAD + field(Kind.NODE_LIST, NODE * (MAX_CONTACTS + 1)), "repeated_field"),
        (
            HEAD + field(Kind.NODE_LIST, field(1, field(4, 1)) * (MAX_UNKNOWN + 1)),
            "too_many_unknown_fields",
        ),
        (field(2, WORD) + field(Kind.PING, field(1, WORD)), "session"),
        (field(1, WORD) + field(2, b"short") + field(Kind.PING, field(1, WORD)), "sender"),
        (HEAD + field(Kind.PING, field(1, b"short")), "challenge"),
        (HEAD + field(Kind.PONG, b""), "challenge"),
        (HEAD + field(Kind.FIND_NODE, field(1, WORD + b"!")), "target"),
        (HEAD + field(Kind.FIND_VALUE, field(1, b"short")), "key"),
        (HEAD + field(Kind.VALUE, field(2, b"value")), "key"),
        (HEAD + field(Kind.STORE, field(1, 1)), "empty_store"),
        (HEAD + field(Kind.STORE, field(1, 3) + field(3, b"v")), "store_class"),
    ],
)
def test_what_is_no_classic_packet_is_malformed_and_says_why(datagram: bytes, reason: str) -> None:
    with pytest.raises(MalformedPacket) as caught:
        decode_untrusted(datagram)
    assert caught.value.reason == reason


def test_fields_that_classic_nodes_do_not_have_are_skipped() -> None:
    others = field(10, 1) + field(14, bytes(9)) + b"\x79" + bytes(8) + b"\x7d" + bytes(4)
    assert decode_untrusted(PING + others) == decode_untrusted(PING)


@pytest.mark.parametrize(
    "node",
    [
        field(1, b"short") + field(2, bytes(4)) + field(3, 1),
        field(1, WORD) + field(2, bytes(5)) + field(3, 1),
        field(1, WORD) + field(2, bytes(4)),
        field(1, WORD) + field(2, bytes(4)) + field(3, 65_536),
    ],
    ids=["id", "ip", "no port", "port"],
)
def test_a_contact_without_sense_is_left_out_and_counted(node: bytes) -> None:
    message = decode_untrusted(HEAD + field(Kind.NODE_LIST, field(1, node) + NODE)).message
    assert isinstance(message, NodeList)
    assert (len(message.contacts), message.dropped) == (1, 1)


def test_the_most_contacts_of_a_list_are_read() -> None:
    message = decode_untrusted(HEAD + field(Kind.VALUE, field(1, WORD) + field(3, NODE * MAX_CONTACTS))).message
    assert isinstance(message, Value)
    assert len(message.contacts) == MAX_CONTACTS
