"""What classic nodes really sent decodes to its meaning, and the same content encodes to the same bytes."""

from __future__ import annotations

import pytest

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import (
    FindNode,
    FindValue,
    Message,
    NodeList,
    Packet,
    Ping,
    Pong,
    Store,
    StoreKind,
    Value,
)
from camomile_trio.wire.codec import decode_untrusted, encode
from camomile_trio.wire.generated import camomile as schema
from tests.wire.classic import RECORDED, Recorded

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
            return Store(StoreKind[texts["store_class"]], None, texts["value"].encode())
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
