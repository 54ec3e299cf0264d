"""Whatever arrives: a checked packet or MalformedPacket with a reason, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import ID_BYTES, Key, NodeId
from camomile_trio.kademlia.messages import (
    MAX_CONTACTS,
    MAX_RECORDS,
    Durability,
    Have,
    HaveResult,
    NodeList,
    Packet,
    Ping,
    Pong,
    Store,
    StoreKind,
    StoreResult,
    StoreStatus,
    Value,
)
from camomile_trio.kademlia.records import ROW_BYTES, Kind, PublisherKey, Record
from camomile_trio.wire import reading
from camomile_trio.wire.codec import LARGEST_PACKET, decode_untrusted, encode
from camomile_trio.wire.generated import camomile as schema
from camomile_trio.wire.shape import MAX_FIELDS
from tests.wire.classic import RECORDED, Recorded
from tests.wire.mutations import mutated
from tests.wire.strategies import classic_packets, packets

SESSION = b"s" * 32
ALICE = b"a" * 32
KEY = b"k" * 32
ROW = Record(Key(KEY), Kind.LEASE, 0, PublisherKey(b"p" * 32), 1, 2, 3, b"s" * 64).row()


def raw_packet(version: int = 1, **fields: object) -> bytes:
    """The bytes of a packet from alice, written with the schema's classes: any lengths, any numbers."""
    raw = schema.Packet(session_id=SESSION, sender_id=ALICE, version=version)
    for name, content in fields.items():
        assert hasattr(raw, name)
        setattr(raw, name, content)
    return bytes(raw)


def reason_of(datagram: bytes) -> str:
    with pytest.raises(MalformedPacket) as caught:
        decode_untrusted(datagram)
    return caught.value.reason


def assert_checked(packet: Packet) -> None:
    """What the rest of the node relies on."""
    assert len(packet.session) == len(packet.sender) == 32
    assert len(packet.network) in (0, 8)
    assert packet.advertised is None or len(packet.advertised) in (6, 18)
    assert 0 <= packet.version < 2**32
    assert packet.padding >= 0
    message = packet.message
    if isinstance(message, Ping | Pong):
        assert len(message.challenge) == 32
    if isinstance(message, Pong):
        assert len(message.public_key) in (0, 32)
        assert len(message.signature) in (0, 64)
    if isinstance(message, NodeList | Value):
        assert len(message.contacts) + message.dropped <= MAX_CONTACTS
        for contact in message.contacts:
            assert len(contact.id) == ID_BYTES
            assert len(contact.endpoint) in (6, 18)
            assert contact.endpoint.port
            assert type(contact.endpoint) is Endpoint
    if isinstance(message, NodeList | Value | Store):
        assert len(message.token) <= 16
    if isinstance(message, Value | Store):
        assert message.value is None or message.value
        assert message.key is None or len(message.key) == 32
    if isinstance(message, Store):
        assert message.value is not None or (message.key is not None and message.records)
    if isinstance(message, Value | Store | StoreResult):
        assert len(message.records) <= MAX_RECORDS
        for row in message.records:
            Record.from_row(row, Key(bytes(32)))
    if isinstance(message, StoreResult):
        assert isinstance(message.status, StoreStatus)
        assert isinstance(message.durability, Durability)
    if isinstance(message, Have):
        assert 1 <= len(message.keys) <= 32
    if isinstance(message, HaveResult):
        # Where digests were sent, all keys may be alike, and nothing else is to be said of any.
        assert len(message.holdings) <= 32
        assert message.holdings or message.alike


def decoded_or_refused(datagram: bytes) -> None:
    try:
        packet = decode_untrusted(datagram)
    except MalformedPacket:
        return
    assert_checked(packet)
    # A second pass changes nothing but the order of the two families and what was dropped.
    again = decode_untrusted(encode(packet))
    assert decode_untrusted(encode(again)) == again


vectors = st.sampled_from([recorded.datagram for recorded in RECORDED])


@settings(max_examples=150)
@given(st.binary(max_size=300))
def test_any_bytes(datagram: bytes) -> None:
    decoded_or_refused(datagram)


@settings(max_examples=150)
@given(st.binary(max_size=120), st.sampled_from([3, 4, 5, 6, 7, 8, 9, 16, 17, 18, 19, 20, 21]))
def test_any_bytes_as_a_message(content: bytes, number: int) -> None:
    tag = bytes([number << 3 | 2]) if number < 16 else bytes([number << 3 & 127 | 130, number >> 4])
    head = b"\x0a\x20" + SESSION + b"\x12\x20" + ALICE
    decoded_or_refused(head + tag + bytes([len(content)]) + content + b"\x50\x01")


@settings(max_examples=150)
@given(mutated(vectors))
def test_damaged_packets_of_classic_nodes(datagram: bytes) -> None:
    decoded_or_refused(datagram)


@settings(max_examples=200)
@given(mutated(st.one_of(packets, classic_packets).map(encode)))
def test_damaged_packets_of_ours(datagram: bytes) -> None:
    decoded_or_refused(datagram)


# Without classic packets -------------------------------------------------------------------------------------------


def of_ours_or_refused(datagram: bytes) -> None:
    """The same as with classic packets, but that these are refused."""
    try:
        packet = decode_untrusted(datagram)
    except MalformedPacket:
        packet = None
    if packet is None:
        with pytest.raises(MalformedPacket):
            decode_untrusted(datagram, classic=False)
    elif packet.version == 0:
        assert refusal_of_classic(datagram) == "classic"
    else:
        assert decode_untrusted(datagram, classic=False) == packet


def refusal_of_classic(datagram: bytes) -> str:
    with pytest.raises(MalformedPacket) as caught:
        decode_untrusted(datagram, classic=False)
    return caught.value.reason


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded.name)
def test_what_classic_nodes_send_is_refused_by_one_word(recorded: Recorded) -> None:
    assert refusal_of_classic(recorded.datagram) == "classic"


@settings(max_examples=150)
@given(st.one_of(packets, classic_packets).map(encode))
def test_packets_of_ours_pass_where_classic_ones_do_not(datagram: bytes) -> None:
    of_ours_or_refused(datagram)


@settings(max_examples=200)
@given(mutated(st.one_of(packets, classic_packets).map(encode)))
def test_no_damage_lets_a_classic_packet_pass(datagram: bytes) -> None:
    of_ours_or_refused(datagram)


@pytest.mark.parametrize(
    "version", [b"\x50\x00", b"\x50\x80\x00", b"\x50\x80\x80\x80\x80\x10"], ids=["0", "0, longer", "2**32"]
)
def test_no_way_to_write_version_0_passes(version: bytes) -> None:
    ping = raw_packet(0, ping=schema.Ping(b"c" * 32))
    assert decode_untrusted(ping + version).version == decode_untrusted(version + ping).version == 0
    assert refusal_of_classic(ping + version) == refusal_of_classic(version + ping) == "classic"


def test_a_classic_packet_is_refused_before_the_library_or_anything_reads_its_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def parse(data: bytes) -> schema.Packet:
        raise AssertionError

    monkeypatch.setattr(schema.Packet, "parse", parse)
    monkeypatch.setattr(reading, "check_shape", parse)
    node_list = schema.NodeList([schema.NodeInfo(ALICE, b"\x0a\x00\x00\x01", 8118)] * MAX_CONTACTS)
    assert refusal_of_classic(raw_packet(0, node_list=node_list)) == "classic"
    assert refusal_of_classic(b"\xc0\x06\x01" * (MAX_FIELDS + 1)) == "too_many_fields"


def test_what_has_no_classic_message_is_refused_for_its_own_reason() -> None:
    assert refusal_of_classic(raw_packet(0)) == "no_message"
    assert refusal_of_classic(raw_packet(0, sealed=b"secret")) == "unsupported"
    assert refusal_of_classic(raw_packet(0, leave=schema.Leave())) == "extension_without_version"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "no_message"),
        ({"sealed": b"secret"}, "unsupported"),
        ({"sealed": b"secret", "version": 0}, "unsupported"),
        ({"version": 0}, "no_message"),
        ({"ping": schema.Ping(b"c" * 32), "session_id": b"s" * 31}, "session"),
        ({"ping": schema.Ping(b"c" * 32), "session_id": b""}, "session"),
        ({"ping": schema.Ping(b"c" * 32), "sender_id": b"a" * 33}, "sender"),
        ({"ping": schema.Ping(b"c" * 32), "network": b"n" * 7}, "network"),
        ({"ping": schema.Ping(b"c" * 32), "advertised": b"e" * 7}, "endpoint"),
        ({"ping": schema.Ping(b"c" * 31)}, "challenge"),
        ({"ping": schema.Ping()}, "challenge"),
        ({"pong": schema.Pong(b"c" * 33)}, "challenge"),
        ({"pong": schema.Pong(b"c" * 32, public_key=b"p")}, "public_key"),
        ({"pong": schema.Pong(b"c" * 32, signature=b"s" * 63)}, "signature"),
        ({"pong": schema.Pong(b"c" * 32, observed=b"o" * 4)}, "endpoint"),
        ({"find_node": schema.FindNode(b"t" * 20)}, "target"),
        ({"find_value": schema.FindValue(b"k" * 31)}, "key"),
        ({"find_value": schema.FindValue(KEY, publisher=b"p" * 31)}, "publisher"),
        ({"node_list": schema.NodeList(contacts4=bytes(39))}, "contact_rows"),
        ({"node_list": schema.NodeList(contacts6=bytes(49))}, "contact_rows"),
        ({"node_list": schema.NodeList(contacts4=bytes(38 * 129))}, "too_many_contacts"),
        ({"node_list": schema.NodeList(contacts6=bytes(50 * 129))}, "too_many_contacts"),
        (
            {"node_list": schema.NodeList([schema.NodeInfo()] * 100, bytes(38 * 20), bytes(50 * 9))},
            "too_many_contacts",
        ),
        ({"node_list": schema.NodeList([schema.NodeInfo()] * 129)}, "repeated_field"),
        ({"node_list": schema.NodeList(write_token=b"t" * 17)}, "token"),
        ({"value": schema.Value(key=b"k")}, "key"),
        ({"value": schema.Value(write_token=b"t" * 17)}, "token"),
        ({"value": schema.Value(records=[b"r" * ROW_BYTES])}, "record"),
        ({"value": schema.Value(records=[ROW + b"r"])}, "record"),
        ({"value": schema.Value(records=[ROW] * 5)}, "repeated_field"),
        ({"value": schema.Value(node_list=schema.NodeList(contacts4=bytes(1)))}, "contact_rows"),
        ({"store": schema.Store(class_=schema.StoreClass(3), value=b"v")}, "store_class"),
        ({"store": schema.Store(class_=schema.StoreClass(2**31), value=b"v")}, "store_class"),
        ({"store": schema.Store(class_=schema.StoreClass(-1), value=b"v")}, "store_class"),
        ({"store": schema.Store(key=b"k" * 5, value=b"v")}, "key"),
        ({"store": schema.Store(key=KEY)}, "empty_store"),
        ({"store": schema.Store(records=[ROW])}, "empty_store"),
        ({"store": schema.Store()}, "empty_store"),
        ({"store": schema.Store(value=b"v", records=[ROW[:-1]])}, "record"),
        ({"store": schema.Store(value=b"v", write_token=b"t" * 17)}, "token"),
        ({"store_result": schema.StoreResult(records=[b""])}, "record"),
        ({"have": schema.Have()}, "keys"),
        ({"have": schema.Have(keys=b"k" * 33)}, "keys"),
        ({"have": schema.Have(keys=KEY * 33)}, "keys"),
        ({"have": schema.Have(keys=KEY, publisher=b"p" * 33)}, "publisher"),
        ({"have": schema.Have(keys=KEY, digests=b"d" * 15)}, "digests"),
        ({"have": schema.Have(keys=KEY, digests=b"d" * 32)}, "digests"),
        ({"have": schema.Have(keys=KEY * 2, digests=b"d" * 16)}, "digests"),
        ({"have_result": schema.HaveResult()}, "holdings"),
        ({"have_result": schema.HaveResult([schema.Holding(b"k")])}, "key"),
        ({"have_result": schema.HaveResult([schema.Holding(KEY, records=[b"r"])])}, "record"),
        ({"have_result": schema.HaveResult([schema.Holding(KEY)] * 33)}, "repeated_field"),
    ],
    ids=lambda argument: None if isinstance(argument, dict) else argument,
)
def test_every_length_count_enum_and_range_is_checked(fields: dict[str, object], reason: str) -> None:
    assert reason_of(raw_packet(**fields)) == reason  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields",
    [
        {"network": b"n" * 8},
        {"advertised": bytes(6)},
        {"flags": 1},
        {"padding": b"\0"},
        {"pong": schema.Pong(b"c" * 32, public_key=b"p" * 32)},
        {"pong": schema.Pong(b"c" * 32, signature=b"s" * 64)},
        {"pong": schema.Pong(b"c" * 32, observed=bytes(6))},
        {"pong": schema.Pong(b"c" * 32, clock=0)},
        {"find_value": schema.FindValue(KEY, publisher=b"p" * 32)},
        {"node_list": schema.NodeList(contacts4=bytes(38))},
        {"node_list": schema.NodeList(contacts6=bytes(50))},
        {"node_list": schema.NodeList(write_token=b"t")},
        {"value": schema.Value(node_list=schema.NodeList(contacts4=bytes(38)))},
        {"value": schema.Value(records=[ROW])},
        {"value": schema.Value(cached=True)},
        {"value": schema.Value(write_token=b"t")},
        {"store": schema.Store(value=b"v", records=[ROW])},
        {"store": schema.Store(value=b"v", write_token=b"t")},
        {"store": schema.Store(value=b"v", cached=True)},
        {"store_result": schema.StoreResult()},
        {"have": schema.Have(keys=KEY)},
        {"have_result": schema.HaveResult([schema.Holding(KEY)])},
        {"too_large": schema.TooLarge(1)},
        {"leave": schema.Leave()},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_packet_without_a_version_has_nothing_that_classic_nodes_do_not_know(fields: dict[str, object]) -> None:
    envelope = {"network", "advertised", "flags", "padding"}
    message = {"ping": schema.Ping(b"c" * 32)} if fields.keys() <= envelope else {}
    decode_untrusted(raw_packet(1, **message, **fields))
    assert reason_of(raw_packet(0, **message, **fields)) == "extension_without_version"


def test_a_senseless_contact_is_left_out_singly() -> None:
    good = schema.NodeInfo(b"n" * 32, bytes([10, 0, 0, 1]), 8118)
    senseless = [
        schema.NodeInfo(),
        schema.NodeInfo(b"n" * 31, good.ip, good.port),
        schema.NodeInfo(good.node_id, b"", good.port),
        schema.NodeInfo(good.node_id, bytes(5), good.port),
        schema.NodeInfo(good.node_id, good.ip, 0),
        schema.NodeInfo(good.node_id, good.ip, 65536),
        schema.NodeInfo(good.node_id, good.ip, 2**32 - 1),
    ]
    for version in (0, 1):
        datagram = raw_packet(version, node_list=schema.NodeList([good, *senseless, good]))
        contact = Contact(NodeId(good.node_id), Endpoint.of(good.ip, good.port))
        assert decode_untrusted(datagram).message == NodeList((contact, contact), dropped=len(senseless))


def test_the_three_forms_of_contacts_are_merged() -> None:
    node = schema.NodeInfo(b"n" * 32, bytes([10, 0, 0, 1]), 1)
    row4 = b"4" * 32 + bytes([10, 0, 0, 2]) + b"\0\2"
    row6 = b"6" * 32 + b"\xfd" * 16 + b"\0\3"
    no_port = row4[:-2] + b"\0\0"
    datagram = raw_packet(value=schema.Value(node_list=schema.NodeList([node], row4 + no_port, row6)))
    message = decode_untrusted(datagram).message
    assert isinstance(message, Value)
    assert [contact.endpoint.port for contact in message.contacts] == [1, 2, 3]
    assert message.dropped == 1


def test_128_contacts_are_taken_in_every_form() -> None:
    node = schema.NodeInfo(b"n" * 32, bytes([10, 0, 0, 1]), 8118)
    for node_list in (
        schema.NodeList([node] * 128),
        schema.NodeList(contacts4=(b"n" * 37 + b"1") * 128),
        schema.NodeList([node] * 100, contacts6=(b"n" * 49 + b"1") * 28),
    ):
        message = decode_untrusted(raw_packet(node_list=node_list)).message
        assert isinstance(message, NodeList)
        assert len(message.contacts) == 128


def test_a_refusal_from_a_later_version_is_still_a_refusal() -> None:
    raw = schema.StoreResult(status=schema.StoreStatus(99), durability=schema.Durability(99))
    message = decode_untrusted(raw_packet(store_result=raw)).message
    assert message == StoreResult(StoreStatus.UNKNOWN, Durability.NONE)


def test_fields_of_a_later_version_are_skipped() -> None:
    datagram = raw_packet(2, ping=schema.Ping(b"c" * 32)) + b"\xba\x06\x05later" + b"\xc0\x06\x01"
    assert decode_untrusted(datagram) == Packet(SESSION, NodeId(ALICE), Ping(b"c" * 32), version=2)


def test_fields_may_come_in_any_order() -> None:
    head, version = raw_packet(0), b"\x50\x01"
    ping = bytes(schema.Packet(ping=schema.Ping(b"c" * 32)))
    expected = Packet(SESSION, NodeId(ALICE), Ping(b"c" * 32), version=1)
    assert decode_untrusted(version + ping + head) == decode_untrusted(ping + head + version) == expected


def test_what_is_larger_than_any_packet_is_not_looked_at() -> None:
    head = encode(Packet(SESSION, NodeId(ALICE), Ping(b"c" * 32), 1)) + b"\xba\x06"  # and a field of a later version
    length = LARGEST_PACKET - len(head) - 4
    largest = head + bytes([length & 127 | 128, length >> 7 & 127 | 128, length >> 14 & 127 | 128, length >> 21])
    largest += bytes(length)
    assert len(largest) == LARGEST_PACKET
    assert decode_untrusted(largest).sender == NodeId(ALICE)
    assert reason_of(largest + b"\0") == "too_large"


def test_a_value_of_a_mebibyte_is_taken_from_a_stream() -> None:
    packet = Packet(SESSION, NodeId(ALICE), Store(StoreKind.PUBLISH, None, b"v" * 2**20, (ROW,)), 1)
    assert decode_untrusted(encode(packet)) == packet


@pytest.mark.parametrize("error", [ValueError, TypeError, EOFError])
def test_nothing_of_the_library_escapes(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(data: bytes) -> schema.Packet:
        raise error("odd")

    # A layout that no fast path knows.
    datagram = encode(Packet(SESSION, NodeId(ALICE), Ping(b"c" * 32), 1)) + b"\xc0\x06\x01"
    decode_untrusted(datagram)
    monkeypatch.setattr(schema.Packet, "parse", parse)
    assert reason_of(datagram) == "protobuf"
