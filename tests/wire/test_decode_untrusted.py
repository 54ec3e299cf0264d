"""Anything that arrives gives a checked message or MalformedPacket with a reason, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import (
    MAX_CONTACTS,
    MAX_KEYS,
    MAX_RECORDS,
    Durability,
    FindNode,
    FindValue,
    Have,
    HaveResult,
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
from camomile_trio.kademlia.records import Record
from camomile_trio.wire.codec import LARGEST_PACKET, Codec
from camomile_trio.wire.generated import camomile as schema
from tests.wire.corpus import ACCEPTED, CORPUS, FIND, NUMBER, PING, REFUSED, ROW
from tests.wire.mutations import mutated
from tests.wire.strategies import inner_packets

CODEC = Codec()


def reason_of(packet: bytes) -> str:
    with pytest.raises(MalformedPacket) as caught:
        CODEC.decode_untrusted(packet)
    return caught.value.reason


def assert_checked(number: int, message: Message, flags: int) -> None:
    """What the rest of the node relies on."""
    assert 0 <= number < 2**32
    assert 0 <= flags < 2**8
    if isinstance(message, Pong):
        assert message.observed is None or type(message.observed) is Endpoint
        assert message.clock is None or 0 <= message.clock < 2**64
    if isinstance(message, FindNode):
        assert type(message.target) is NodeId
        assert len(message.target) == 32
    if isinstance(message, FindValue):
        assert type(message.key) is Key
        assert len(message.key) == 32
        assert message.publisher is None or len(message.publisher) == 32
    if isinstance(message, NodeList | Value | StoreResult):
        assert type(message.contacts) is tuple
        assert len(message.contacts) + message.dropped <= MAX_CONTACTS
        for contact in message.contacts:
            assert len(contact.public) == 32
            assert contact == Contact.of(contact.public, contact.endpoint)
            assert type(contact) is Contact
            assert type(contact.id) is NodeId
            assert type(contact.endpoint) is Endpoint
            assert len(contact.endpoint) in (6, 18)
            assert contact.endpoint.port
    if isinstance(message, Value | Store):
        assert message.value is None or message.value
    if isinstance(message, Store):
        assert message.key is None or (type(message.key) is Key and len(message.key) == 32)
        assert message.value is not None or message.key is not None
        assert message.records
    if isinstance(message, Value | Store | StoreResult):
        assert_known(message.records)
    if isinstance(message, StoreResult):
        assert isinstance(message.status, StoreStatus)
        assert isinstance(message.durability, Durability)
    if isinstance(message, Have):
        assert 1 <= len(message.keys) <= MAX_KEYS
        assert len(message.digests) in (0, len(message.keys))
    if isinstance(message, HaveResult):
        # Where digests were sent, all keys may be alike, and nothing else is to be said of any.
        assert len(message.holdings) <= MAX_KEYS
        assert message.holdings or message.alike
        assert 0 <= message.alike < 2**MAX_KEYS
        for holding in message.holdings:
            assert type(holding.key) is Key
            assert_known(holding.records)
    if isinstance(message, TooLarge):
        assert 0 <= message.size < 2**64


def assert_known(rows: tuple[bytes, ...]) -> None:
    assert type(rows) is tuple
    assert len(rows) <= MAX_RECORDS
    for row in rows:
        Record.from_row(row, Key(bytes(32)))


def decoded_or_refused(packet: bytes) -> None:
    try:
        decoded = CODEC.decode_untrusted(packet)
    except MalformedPacket:
        return
    assert_checked(*decoded)
    # A second pass changes nothing but the order of the two families, and what was dropped or skipped.
    again = CODEC.decode_untrusted(CODEC.encode(*decoded))
    assert again[0] == decoded[0]
    assert again[2] == decoded[2]
    assert CODEC.decode_untrusted(CODEC.encode(*again)) == again


@settings(max_examples=150)
@given(st.binary(max_size=300))
def test_any_bytes(packet: bytes) -> None:
    decoded_or_refused(packet)


@settings(max_examples=200)
@given(st.binary(max_size=120), st.integers(1, 15))
def test_any_bytes_as_a_message(content: bytes, number: int) -> None:
    decoded_or_refused(NUMBER + bytes([number << 3 | 2, len(content)]) + content)


@settings(max_examples=300)
@given(mutated(st.sampled_from(CORPUS)))
def test_damaged_packets_of_the_corpus(packet: bytes) -> None:
    decoded_or_refused(packet)


@settings(max_examples=300)
@given(mutated(inner_packets.map(lambda packet: CODEC.encode(*packet))))
def test_damaged_packets_of_ours(packet: bytes) -> None:
    decoded_or_refused(packet)


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_another_encoder_may_write_is_taken(name: str) -> None:
    packet, outcome = ACCEPTED[name]
    assert CODEC.decode_untrusted(packet) == outcome
    assert_checked(*outcome)


@pytest.mark.parametrize("name", REFUSED)
def test_every_length_count_enum_and_range_is_checked(name: str) -> None:
    packet, reason = REFUSED[name]
    assert reason_of(packet) == reason


def test_what_is_larger_than_any_packet_is_not_looked_at() -> None:
    head = NUMBER + PING + b"\xba\x06"  # and a field of a later version
    length = LARGEST_PACKET - len(head) - 4
    largest = head + bytes([length & 127 | 128, length >> 7 & 127 | 128, length >> 14 & 127 | 128, length >> 21])
    largest += bytes(length)
    assert len(largest) == LARGEST_PACKET
    assert CODEC.decode_untrusted(largest) == (7, Ping(), 0)
    assert reason_of(largest + b"\0") == "too_large"


def test_a_value_of_a_mebibyte_is_taken_from_a_stream() -> None:
    store = Store(StoreKind.PUBLISH, None, b"v" * 2**20, (ROW,))
    assert CODEC.decode_untrusted(CODEC.encode(1, store, 0)) == (1, store, 0)


@pytest.mark.parametrize("error", [ValueError, TypeError, EOFError])
def test_nothing_of_the_library_escapes(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(data: bytes) -> schema.Inner:
        raise error("odd")

    packet = FIND + NUMBER  # a layout that no fast path knows
    CODEC.decode_untrusted(packet)
    monkeypatch.setattr(schema.Inner, "parse", parse)
    assert reason_of(packet) == "protobuf"
