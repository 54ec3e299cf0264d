"""Messages survive the wire in one form, answers are cut to fit, and requests learn what they have to know of each."""

from __future__ import annotations

import itertools
import tracemalloc
import weakref
from collections.abc import Callable

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import (
    IS_SHORTENED,
    STORES_NOTHING,
    Durability,
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
    StoreKind,
    StoreResult,
    StoreStatus,
    TooLarge,
    Value,
)
from camomile_trio.kademlia.records import Kind, PublisherKey, Record, RecordRow
from camomile_trio.peer import seams
from camomile_trio.peer.packets import MOST_INNER, MOST_REQUEST
from camomile_trio.wire.codec import Codec
from camomile_trio.wire.writing import message_parts
from tests.wire.strategies import contact_lists, inner_packets, some_records

CODEC: seams.Codec[Message] = Codec()  # which mypy checks: neither room knows the other
ALICE = NodeId(b"a" * 32)
KEY = Key(b"k" * 32)
NUMBER = 70_000  # of 3 bytes


def a_row(kind: Kind = Kind.LEASE) -> RecordRow:
    return Record(KEY, kind, 0, PublisherKey(b"p" * 32), 7, 8, 9, b"s" * 64).row()


def contact(number: int, *, ipv6: bool = False) -> Contact:
    ip = b"\xfd" + bytes(14) + bytes([number]) if ipv6 else bytes([10, 0, 0, number])
    return Contact.of(bytes([number]) * 32, Endpoint.of(ip, 8118))


TWENTY = tuple(contact(n) for n in range(1, 21))
TWENTY_LONG = tuple(contact(n, ipv6=True) for n in range(1, 21))


def decoded(message: Message) -> Message:
    return CODEC.decode_untrusted(CODEC.encode(NUMBER, message, 0))[1]


@settings(max_examples=300)
@given(inner_packets)
def test_a_packet_comes_back_as_it_was(packet: tuple[int, Message, int]) -> None:
    assert CODEC.decode_untrusted(CODEC.encode(*packet)) == packet


def test_a_ping_byte_by_byte() -> None:
    assert CODEC.encode(0, Ping(), 0) == b"\x1a\x00"
    assert CODEC.encode(300, Ping(), 3) == b"\x08\xac\x02\x10\x03\x1a\x00"


def test_a_list_byte_by_byte() -> None:
    rows4, rows6 = contact(1).public + contact(1).endpoint, contact(2).public + contact(2, ipv6=True).endpoint
    listed = CODEC.encode(1, NodeList((contact(2, ipv6=True), contact(1))), 0)
    assert listed == b"\x08\x01\x4a\x5c\x52\x26" + rows4 + b"\x5a\x32" + rows6


def test_a_store_carries_the_key_only_where_the_value_is_not_there_to_be_hashed() -> None:
    with_value = decoded(Store(StoreKind.PUBLISH, KEY, b"ABC", (a_row(),)))
    tombstone = decoded(Store(StoreKind.PUBLISH, KEY, None, (a_row(Kind.TOMBSTONE),)))
    assert isinstance(with_value, Store)
    assert with_value.key is None
    assert isinstance(tombstone, Store)
    assert tombstone.key == KEY


# The sizes that docs/protocol.md names -------------------------------------------------------------------------------


def test_a_put_of_1000_bytes_with_a_lease_fits_into_one_datagram() -> None:
    put = Store(StoreKind.PUBLISH, KEY, b"v" * 1000, (a_row(),), names_contacts=True)
    assert len(CODEC.encode(2**32 - 1, put, 255)) == 1144 <= MOST_INNER


@pytest.mark.parametrize(
    ("message", "size"),
    [
        (Ping(), 6),
        (Pong(Endpoint.parse("10.0.0.1:8118"), 1_700_000_000_000), 21),
        (FindNode(ALICE), 40),
        (FindValue(KEY, PublisherKey(b"p" * 32)), 74),
        (NodeList(TWENTY), 770),
        (NodeList(TWENTY_LONG), 1010),
        (Value(b"v" * 1000, records=(a_row(),)), 1135),
        (Store(StoreKind.REPLICATE, KEY, None, (a_row(),)), 168),
        (StoreResult(StoreStatus.STORED, Durability.SYSTEM), 10),
        (StoreResult(StoreStatus.STORED, Durability.SYSTEM, (), TWENTY), 774),
        (Have((KEY,) * 32), 1034),
        (HaveResult((Holding(KEY, has_value=True, records=(a_row(),)),)), 171),
        (TooLarge(1400), 9),
        (Leave(), 6),
    ],
    ids=lambda argument: type(argument).__name__ if not isinstance(argument, int) else "",
)
def test_what_messages_weigh(message: Message, size: int) -> None:
    assert len(CODEC.encode(NUMBER, message, 0)) == size


@settings(max_examples=200)
@given(inner_packets)
def test_the_least_size_is_no_more_than_the_size(packet: tuple[int, Message, int]) -> None:
    assert 0 <= CODEC.least_size(packet[1]) <= len(CODEC.encode(*packet))


def test_the_least_size_tells_a_large_message() -> None:
    value = b"v" * 2**20
    assert CODEC.least_size(Store(StoreKind.PUBLISH, KEY, value, (a_row(),))) >= len(value)
    assert CODEC.least_size(Value(value)) >= len(value)


@settings(max_examples=200)
@given(
    st.lists(inner_packets, min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**32 - 1)), max_size=12),
)
def test_what_was_written_before_changes_no_byte(
    packets: list[tuple[int, Message, int]], turns: list[tuple[int, int]]
) -> None:
    """The last request is kept, and is another one after each other request."""
    codec = Codec()
    for which, number in turns:
        _, message, flags = packets[which % len(packets)]
        assert codec.encode(number, message, flags) == Codec().encode(number, message, flags)
        alike = attrs.evolve(message)
        assert codec.encode(number, alike, flags) == Codec().encode(number, message, flags)


def test_a_request_to_many_peers_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Message] = []

    def noted(message: Message) -> list[bytes]:
        written.append(message)
        return message_parts(message)

    monkeypatch.setattr("camomile_trio.wire.codec.message_parts", noted)
    codec = Codec()
    written.clear()
    store = Store(StoreKind.PUBLISH, None, b"v" * 100, (a_row(),))
    for number in range(1, 21):
        codec.encode(number, store, 0)
        codec.encode(number, NodeList(TWENTY), 0)  # answers to others come between
    assert [each for each in written if not each.is_answer] == [store]


def test_a_long_request_is_not_kept() -> None:
    codec, gone = Codec(), Store(StoreKind.PUBLISH, None, bytes(2**16), (a_row(),))
    codec.encode(1, gone, 0)
    refers = weakref.ref(gone)
    del gone
    assert refers() is None


# Cutting answers to a size -------------------------------------------------------------------------------------------


@settings(max_examples=150)
@given(contact_lists, st.integers(20, 2000), some_records, st.sampled_from(["list", "miss", "hit", "result"]))
def test_an_answer_keeps_as_many_of_the_closest_contacts_as_fit(
    contacts: list[Contact], room: int, records: tuple[RecordRow, ...], kind: str
) -> None:
    def with_contacts(count: int) -> tuple[bytes, Message]:
        first = tuple(contacts[:count])
        answers: dict[str, Message] = {
            "list": NodeList(first),
            "miss": Value(None, first, records),
            "hit": Value(b"v" * 100, first, records),
            "result": StoreResult(StoreStatus.STALE, Durability.NONE, records, first),
        }
        flags = STORES_NOTHING | (IS_SHORTENED if count < len(contacts) else 0)
        return CODEC.encode(NUMBER, answers[kind], flags), answers[kind]

    sizes = [len(with_contacts(count)[0]) for count in range(len(contacts) + 1)]
    whole, answer = with_contacts(len(contacts))
    fitting = [count for count, size in enumerate(sizes) if size <= room]
    expected = with_contacts(fitting[-1])[0] if fitting else CODEC.encode(NUMBER, TooLarge(len(whole)), STORES_NOTHING)
    assert CODEC.encode_within(NUMBER, answer, STORES_NOTHING, room) == expected


def test_an_answer_is_cut_at_the_exact_byte() -> None:
    answer = NodeList(TWENTY)
    whole = CODEC.encode(NUMBER, answer, 0)
    assert CODEC.encode_within(NUMBER, answer, 0, len(whole)) == whole
    one_less = CODEC.encode_within(NUMBER, answer, 0, len(whole) - 1)
    assert len(one_less) == len(whole) - 38 + 2
    assert CODEC.decode_untrusted(one_less) == (NUMBER, NodeList(TWENTY[:-1]), IS_SHORTENED)


@pytest.mark.parametrize(
    "answer",
    [
        Value(b"v" * 500),
        Value(b"v" * 500, TWENTY, (a_row(),)),
        HaveResult((Holding(KEY, True, (a_row(),)),) * 9),
        StoreResult(StoreStatus.STALE, records=(a_row(),)),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_does_not_fit_without_contacts_either_is_too_large(answer: Message) -> None:
    size = len(CODEC.encode(NUMBER, answer, 1))
    assert CODEC.encode_within(NUMBER, answer, 1, 100) == CODEC.encode(NUMBER, TooLarge(size), 1)


def peak_of(call: Callable[[], object]) -> int:
    """How many bytes it had at most at one time."""
    call()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_large_value_is_copied_once_and_not_to_find_out_that_it_does_not_fit() -> None:
    hit = Value(bytes(2**24), TWENTY, (a_row(),))
    assert peak_of(lambda: CODEC.encode(NUMBER, hit, 0)) < 1.1 * 2**24
    assert peak_of(lambda: CODEC.encode_within(NUMBER, hit, 0, MOST_INNER)) < 2**16
    assert peak_of(lambda: CODEC.least_size(hit)) < 2**16


# What requests know of messages --------------------------------------------------------------------------------------

REQUESTS: dict[str, Message] = {
    "ping": Ping(),
    "find_node": FindNode(ALICE),
    "find_value": FindValue(KEY),
    "store": Store(StoreKind.PUBLISH, None, b"v", (a_row(),)),
    "have": Have((KEY,)),
    "leave": Leave(),
}
ANSWERS: dict[str, Message] = {
    "pong": Pong(),
    "node_list": NodeList(),
    "value": Value(),
    "store_result": StoreResult(StoreStatus.STORED),
    "have_result": HaveResult((), 1),
    "too_large": TooLarge(2000),
}


def test_each_message_has_a_name() -> None:
    messages = {**REQUESTS, **ANSWERS}
    assert {name: message.label for name, message in messages.items()} == {name: name for name in messages}
    assert {type(message) for message in messages.values()} == set(Message.__args__)


def test_requests_are_told_from_answers() -> None:
    assert not any(request.is_answer for request in REQUESTS.values())
    assert all(answer.is_answer for answer in ANSWERS.values())


def test_the_true_answer_of_each_request_is_named() -> None:
    named = {name: message.answered_by for name, message in (REQUESTS | ANSWERS).items() if message.answered_by}
    assert named == {
        asked: answered
        for (asked, request), (answered, answer) in itertools.product(REQUESTS.items(), ANSWERS.items())
        if answered != "too_large" and CODEC.is_answer_to(answer, request)
    }


def test_only_what_may_have_a_value_may_be_long() -> None:
    assert {name for name, message in (REQUESTS | ANSWERS).items() if message.may_be_long} == {"store", "value"}


def test_each_request_has_answers_of_its_own() -> None:
    pairs = {
        (asked, answered)
        for (asked, request), (answered, answer) in itertools.product(REQUESTS.items(), ANSWERS.items())
        if CODEC.is_answer_to(answer, request)
    }
    assert pairs == {
        ("ping", "pong"),
        ("find_node", "node_list"),
        ("find_node", "too_large"),
        ("find_value", "value"),
        ("find_value", "too_large"),
        ("store", "store_result"),
        ("store", "too_large"),
        ("have", "have_result"),
        ("have", "too_large"),
    }
    assert not CODEC.is_answer_to(Ping(), Ping())


def test_only_what_changes_nothing_begins_a_handshake_and_fits_into_it() -> None:
    may_begin = {name for name, message in (REQUESTS | ANSWERS).items() if CODEC.may_begin(message)}
    assert may_begin == {"ping", "find_node", "find_value"}
    largest = FindValue(KEY, PublisherKey(b"p" * 32))
    assert len(CODEC.encode(2**32 - 1, largest, 255)) <= MOST_REQUEST
    assert CODEC.may_begin(CODEC.ping())


def test_what_asks_for_contacts_or_holdings_may_have_a_large_answer() -> None:
    large = {name for name, message in REQUESTS.items() if CODEC.may_have_large_answer(message)}
    assert large == {"find_node", "find_value", "have"}
    store = REQUESTS["store"]
    assert isinstance(store, Store)
    assert CODEC.may_have_large_answer(attrs.evolve(store, names_contacts=True))


def test_an_answer_says_that_the_true_one_is_too_large() -> None:
    sizes = {name: CODEC.too_large(answer) for name, answer in ANSWERS.items()}
    assert sizes == dict.fromkeys(ANSWERS) | {"too_large": 2000}
