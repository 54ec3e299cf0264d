"""Packets survive the wire in one form, classic peers get nothing that they do not know, answers are cut to fit."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
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
    Packet,
    Ping,
    Pong,
    Store,
    StoreKind,
    StoreResult,
    StoreStatus,
    TooLarge,
    Value,
)
from camomile_trio.kademlia.records import Kind, PublisherKey, Record, RecordRow
from camomile_trio.wire.codec import decode_untrusted, encode, encode_padded, encode_within
from camomile_trio.wire.generated import camomile as schema
from tests.wire.strategies import classic_packets, contact_lists, packets, tokens

SESSION = bytes(range(32))
ALICE = NodeId(b"a" * 32)
KEY = Key(b"k" * 32)
MAX_SENT_DATAGRAM = 1232


def a_row(kind: Kind = Kind.LEASE) -> RecordRow:
    return Record(KEY, kind, 0, PublisherKey(b"p" * 32), 7, 8, 9, b"s" * 64).row()


def contact(number: int, *, ipv6: bool = False) -> Contact:
    ip = b"\xfd" + bytes(14) + bytes([number]) if ipv6 else bytes([10, 0, 0, number])
    return Contact(NodeId(bytes([number]) * 32), Endpoint.of(ip, 8118))


def from_alice(message: Message, version: int = 1) -> Packet:
    return Packet(SESSION, ALICE, message, version)


def field_numbers(message: bytes) -> list[int]:
    """The numbers of a message's fields in their order; a plain second reading of the protobuf encoding."""

    def varint(at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            value |= (message[at] & 0x7F) << shift
            shift += 7
            at += 1
            if message[at - 1] < 0x80:
                return value, at

    numbers, at = [], 0
    while at < len(message):
        tag, at = varint(at)
        numbers.append(tag >> 3)
        length, at = varint(at)
        if tag & 7 == 2:
            at += length
    return numbers


@settings(max_examples=100)
@given(classic_packets)
def test_a_classic_packet_comes_back_as_it_was(packet: Packet) -> None:
    assert decode_untrusted(encode(packet)) == packet


@settings(max_examples=200)
@given(packets)
def test_a_packet_of_ours_comes_back_as_it_was(packet: Packet) -> None:
    assert decode_untrusted(encode(packet)) == packet


@settings(max_examples=100)
@given(packets)
def test_fields_come_in_ascending_order(packet: Packet) -> None:
    numbers = field_numbers(encode(packet))
    assert numbers == sorted(numbers)


@settings(max_examples=100)
@given(packets)
def test_nothing_of_ours_reaches_a_classic_node(packet: Packet) -> None:
    message = packet.message
    if isinstance(message, StoreResult | Have | HaveResult | TooLarge | Leave) or (
        isinstance(message, Store) and message.value is None
    ):
        with pytest.raises(ValueError, match="no classic form"):
            encode(attrs.evolve(packet, version=0))
        return
    datagram = encode(attrs.evolve(packet, version=0))
    assert max(field_numbers(datagram)) < 10
    raw = schema.Packet.parse(datagram)
    for inner in (raw.ping, raw.pong, raw.store, raw.value, raw.find_node, raw.find_value, raw.node_list):
        if inner is not None:
            assert max(field_numbers(bytes(inner)), default=0) < 10
    if raw.value is not None and raw.value.node_list is not None:
        assert max(field_numbers(bytes(raw.value.node_list)), default=0) < 10
    assert decode_untrusted(datagram).version == 0


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("message", [Ping(SESSION), FindNode(ALICE), FindValue(KEY)], ids=lambda m: type(m).__name__)
def test_a_request_says_its_version_and_nothing_else_of_ours(message: Message, version: int) -> None:
    numbers = field_numbers(encode(attrs.evolve(from_alice(message, version), padding=3 * version)))
    assert [number for number in numbers if number >= 10] == [10, 14] * version


def test_a_contact_list_goes_to_classic_nodes_in_their_form() -> None:
    contacts = (contact(1), contact(2, ipv6=True), contact(3))
    raw = schema.Packet.parse(encode(from_alice(NodeList(contacts, b"token"), version=0)))
    assert raw.node_list is not None
    assert [(node.node_id[0], len(node.ip), node.port) for node in raw.node_list.nodes] == [
        (1, 4, 8118),
        (2, 16, 8118),
        (3, 4, 8118),
    ]
    decoded = decode_untrusted(encode(from_alice(NodeList(contacts, b"token"), version=0)))
    assert decoded.message == NodeList(contacts)


def test_a_contact_list_goes_to_our_nodes_in_rows() -> None:
    contacts = (contact(1), contact(2, ipv6=True), contact(3))
    datagram = encode(from_alice(NodeList(contacts, b"token")))
    raw = schema.Packet.parse(datagram)
    assert raw.node_list is not None
    assert not raw.node_list.nodes
    assert (len(raw.node_list.contacts4), len(raw.node_list.contacts6)) == (2 * 38, 50)
    assert decode_untrusted(datagram).message == NodeList((contacts[0], contacts[2], contacts[1]), b"token")


def test_a_hit_for_a_classic_node_has_an_empty_list() -> None:
    raw = schema.Packet.parse(encode(from_alice(Value(KEY, b"ABC"), version=0)))
    assert raw.value == schema.Value(key=KEY, value=b"ABC", node_list=schema.NodeList())


def test_a_hit_of_ours_repeats_no_key_and_has_no_list() -> None:
    raw = schema.Packet.parse(encode(from_alice(Value(KEY, b"ABC", records=(a_row(),)))))
    assert raw.value == schema.Value(value=b"ABC", records=[a_row()])


def test_a_store_for_a_classic_node_has_a_class_and_a_value() -> None:
    store = Store(StoreKind.PUBLISH, KEY, b"ABC", (a_row(),), b"token", cached=True)
    raw = schema.Packet.parse(encode(from_alice(store, version=0)))
    assert raw.store == schema.Store(class_=schema.StoreClass.PUBLISH, value=b"ABC")


def test_a_store_carries_the_key_only_where_the_value_is_not_there_to_be_hashed() -> None:
    with_value = decode_untrusted(encode(from_alice(Store(StoreKind.PUBLISH, KEY, b"ABC", (a_row(),)))))
    tombstone = decode_untrusted(encode(from_alice(Store(StoreKind.PUBLISH, KEY, None, (a_row(Kind.TOMBSTONE),)))))
    assert isinstance(with_value.message, Store)
    assert with_value.message.key is None
    assert isinstance(tombstone.message, Store)
    assert tombstone.message.key == KEY


def test_a_pong_may_come_from_a_clock_that_stands_at_zero() -> None:
    pong = Pong(SESSION, clock=0)
    assert decode_untrusted(encode(from_alice(pong))).message == pong


# The sizes that docs/protocol.md names ---------------------------------------------------------------------------


def test_a_put_of_1000_bytes_with_a_lease_and_a_token_fits_into_one_datagram() -> None:
    put = from_alice(Store(StoreKind.PUBLISH, KEY, b"v" * 1000, (a_row(),), b"t" * 8))
    assert len(encode(put)) == 1213
    in_a_named_network = attrs.evolve(put, network=b"n" * 8)
    assert len(encode(in_a_named_network)) == 1223
    with_an_endpoint = attrs.evolve(in_a_named_network, advertised=Endpoint.parse("10.0.0.1:8118"))
    assert len(encode(with_an_endpoint)) == 1231 <= MAX_SENT_DATAGRAM


@pytest.mark.parametrize(
    ("message", "size"),
    [
        (Ping(SESSION), 106),
        (Pong(SESSION, b"p" * 32, b"s" * 64, Endpoint.parse("10.0.0.1:8118"), 1_700_000_000_000), 222),
        (FindNode(ALICE), 106),
        (FindValue(KEY, PublisherKey(b"p" * 32)), 140),
        (NodeList(tuple(contact(n) for n in range(1, 21)), b"t" * 8), 846),
        (NodeList(tuple(contact(n, ipv6=True) for n in range(1, 21)), b"t" * 8), 1086),
        (Value(None, b"v" * 1000, records=(a_row(),)), 1201),
        (Store(StoreKind.REPLICATE, KEY, None, (a_row(),), b"t" * 8), 244),
        (StoreResult(StoreStatus.STORED), 75),
        (StoreResult(StoreStatus.STORED, Durability.SYSTEM, (), tuple(contact(n) for n in range(1, 21))), 841),
        (Have((KEY,) * 32), 1101),
        (HaveResult((Holding(KEY, has_value=True, records=(a_row(),)),)), 238),
        (TooLarge(1400), 76),
        (Leave(), 73),
    ],
    ids=lambda argument: type(argument).__name__ if not isinstance(argument, int) else "",
)
def test_what_messages_weigh(message: Message, size: int) -> None:
    assert len(encode(from_alice(message))) == size


# Cutting answers to a size ---------------------------------------------------------------------------------------


@settings(max_examples=80)
@given(contact_lists, st.integers(0, 1), st.integers(60, 2200), tokens, st.sampled_from(["list", "miss"]))
def test_an_answer_keeps_as_many_of_the_closest_contacts_as_fit(
    contacts: list[Contact], version: int, limit: int, token: bytes, kind: str
) -> None:
    def with_contacts(count: int) -> Packet:
        first = tuple(contacts[:count])
        return from_alice(NodeList(first, token) if kind == "list" else Value(KEY, None, first, token=token), version)

    datagram = encode_within(with_contacts(len(contacts)), limit)
    fitting = [count for count in range(len(contacts) + 1) if len(encode(with_contacts(count))) <= limit]
    assert datagram == (encode(with_contacts(fitting[-1])) if fitting else None)


def test_an_answer_is_cut_at_the_exact_byte() -> None:
    answer = from_alice(NodeList(tuple(contact(n) for n in range(1, 21)), b"t" * 8))
    size = len(encode(answer))
    assert encode_within(answer, size) == encode(answer)
    one_less = encode_within(answer, size - 1)
    assert one_less is not None
    assert len(one_less) == size - 38
    message = decode_untrusted(one_less).message
    assert isinstance(message, NodeList)
    assert message.contacts == tuple(contact(n) for n in range(1, 20))


@pytest.mark.parametrize(
    "message", [Ping(SESSION), Value(None, b"v" * 500), NodeList(), Leave()], ids=lambda m: type(m).__name__
)
def test_what_has_no_list_to_shorten_fits_or_does_not(message: Message) -> None:
    packet = from_alice(message)
    size = len(encode(packet))
    assert encode_within(packet, size) == encode(packet)
    assert encode_within(packet, size - 1) is None


def test_a_hit_gives_up_its_contacts_before_it_gives_up() -> None:
    hit = from_alice(Value(KEY, b"v" * 500, (contact(1), contact(2))))
    bare = encode(from_alice(Value(KEY, b"v" * 500)))
    assert encode_within(hit, len(bare)) == bare
    assert encode_within(hit, len(bare) - 1) is None


def test_a_result_gives_up_its_contacts_before_it_gives_up() -> None:
    result = StoreResult(StoreStatus.STORED, Durability.SYSTEM, (), (contact(1), contact(2)))
    bare = encode(from_alice(attrs.evolve(result, contacts=())))
    assert encode_within(from_alice(result), len(bare) + 40) == encode(
        from_alice(attrs.evolve(result, contacts=(contact(1),)))
    )
    assert encode_within(from_alice(result), len(bare)) == bare
    assert encode_within(from_alice(result), len(bare) - 1) is None


@given(
    st.sampled_from([FindNode(ALICE), FindValue(KEY), FindValue(KEY, PublisherKey(b"p" * 32))]),
    st.sampled_from([b"", b"network!"]),
    st.integers(0, 1300),
)
def test_a_padded_find_is_the_packet_with_so_much_padding(message: Message, network: bytes, least: int) -> None:
    packet = attrs.evolve(from_alice(message), network=network)
    padded = encode_padded(packet, least)
    read = decode_untrusted(padded)
    assert read == attrs.evolve(packet, padding=read.padding)
    assert padded == encode(read)
    assert least <= len(padded) <= max(least + 1, len(encode(packet)) + 3)


def test_only_finds_of_our_own_version_are_padded() -> None:
    for packet in (from_alice(Ping(SESSION)), from_alice(FindNode(ALICE), version=0)):
        with pytest.raises(ValueError, match="padded"):
            encode_padded(packet, 600)
