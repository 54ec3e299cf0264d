"""What a node might send, for hypothesis: every kind of message, and inner packets.

Rules of this file: each strategy gives messages in the form in which they come out of `decode_untrusted`, so that a
round trip can be asserted as equality.
"""

from __future__ import annotations

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
    Ping,
    Pong,
    Store,
    StoreKind,
    StoreResult,
    StoreStatus,
    TooLarge,
    Value,
)
from camomile_trio.kademlia.records import FORMAT, RENEWABLE, Kind, PublisherKey, Record, RecordRow

# Few different ones: what matters is their place in a packet, and hypothesis has better uses for its entropy.
_words = st.integers(0, 2**32 - 1).map(lambda number: number.to_bytes(4, "big") * 8)
node_ids = _words.map(NodeId)
keys = _words.map(Key)
digests = st.binary(min_size=16, max_size=16)
publishers = _words.map(PublisherKey)
ports = st.integers(1, 65535) | st.sampled_from([1, 255, 256, 512, 8118, 65280, 65535])
endpoints4 = st.builds(Endpoint.of, st.binary(min_size=4, max_size=4), ports)
endpoints6 = st.builds(
    Endpoint.of, st.binary(min_size=16, max_size=16).filter(lambda ip: not ip.startswith(bytes(10))), ports
)
endpoints = endpoints4 | endpoints6
clocks = st.integers(0, 2**64 - 1)
values = st.binary(min_size=1, max_size=300) | st.integers(1, 20_000).map(bytes)


@st.composite
def rows(draw: st.DrawFn) -> RecordRow:
    times = st.integers(0, 2**64 - 1)
    record = Record(
        key=Key(bytes(32)),
        kind=draw(st.sampled_from(Kind)),
        flags=draw(st.sampled_from([0, RENEWABLE])),
        publisher=draw(publishers),
        seq=draw(times),
        issued=draw(times),
        expires=draw(times),
        signature=draw(_words) * 2,
    )
    row = record.row()
    assert row[0] == FORMAT
    return row


records = st.lists(rows(), max_size=4).map(tuple)
some_records = st.lists(rows(), min_size=1, max_size=4).map(tuple)


def in_wire_order(contacts: list[Contact]) -> tuple[Contact, ...]:
    """The order in which packed rows come back: IPv4 before IPv6."""
    return tuple(sorted(contacts, key=lambda contact: len(contact.endpoint)))


contact_lists = st.lists(st.builds(Contact.of, _words, endpoints), max_size=40)
packed_contacts = contact_lists.map(in_wire_order)

stores_with_value = st.builds(
    Store,
    st.sampled_from(StoreKind),
    st.none(),
    values,
    records=some_records,
    cached=st.booleans(),
    names_contacts=st.booleans(),
)
stores_without_value = st.builds(
    Store,
    st.sampled_from(StoreKind),
    keys,
    st.none(),
    records=some_records,
    cached=st.booleans(),
    names_contacts=st.booleans(),
)
holdings = st.builds(Holding, keys, st.booleans(), records, st.booleans())

messages: st.SearchStrategy[Message] = st.one_of(
    st.just(Ping()),
    st.builds(FindNode, node_ids),
    st.builds(Pong, st.none() | endpoints, st.none() | clocks),
    st.builds(FindValue, keys, st.none() | publishers),
    st.builds(NodeList, packed_contacts),
    st.builds(Value, st.none() | values, packed_contacts, records, st.booleans()),
    stores_with_value,
    stores_without_value,
    st.builds(StoreResult, st.sampled_from(StoreStatus), st.sampled_from(Durability), records, packed_contacts),
    st.builds(Have, st.lists(keys, min_size=1, max_size=32).map(tuple), st.none() | publishers),
    st.lists(st.tuples(keys, digests), min_size=1, max_size=23).flatmap(
        lambda rows: st.builds(
            Have,
            st.just(tuple(key for key, _ in rows)),
            st.none() | publishers,
            st.just(tuple(digest for _, digest in rows)),
            st.booleans(),
        )
    ),
    st.builds(HaveResult, st.lists(holdings, min_size=1, max_size=6).map(tuple), st.integers(0, 2**32 - 1)),
    st.builds(HaveResult, st.just(()), st.integers(1, 2**32 - 1)),
    st.builds(TooLarge, st.integers(0, 2**64 - 1)),
    st.just(Leave()),
)

numbers = st.sampled_from([0, 1, 127, 128, 70_000, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1)
flags = st.just(0) | st.integers(0, 255)
# What `Codec.encode` takes and `decode_untrusted` gives.
inner_packets = st.tuples(numbers, messages, flags)
