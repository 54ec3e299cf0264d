"""Classic packets for hypothesis, in the form in which they come out of `decode_untrusted`, so that a round trip can be
asserted as equality.
"""

from __future__ import annotations

from hypothesis import strategies as st

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import StoreKind
from camomile_trio.wire.classic import FindNode, FindValue, Message, NodeList, Packet, Ping, Pong, Store, Value

# Few different ones: what matters is their place in a packet, and hypothesis has better uses for its entropy.
words = st.integers(0, 2**32 - 1).map(lambda number: number.to_bytes(4, "big") * 8)
node_ids = words.map(NodeId)
keys = words.map(Key)
ports = st.integers(1, 65535) | st.sampled_from([1, 127, 128, 16383, 16384, 65535])
endpoints = st.builds(Endpoint.of, st.binary(min_size=4, max_size=4), ports) | st.builds(
    Endpoint.of, st.binary(min_size=16, max_size=16).filter(lambda ip: not ip.startswith(bytes(10))), ports
)
contacts = st.lists(st.builds(Contact, node_ids, endpoints, st.just(b"")), max_size=40).map(tuple)
values = st.binary(min_size=1, max_size=300) | st.integers(1, 20_000).map(bytes)

messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Ping, words),
    st.builds(Pong, words),
    st.builds(FindNode, node_ids),
    st.builds(FindValue, keys),
    st.builds(NodeList, contacts),
    st.builds(Value, keys, st.none() | values, contacts),
    st.builds(Store, st.sampled_from(StoreKind), values),
)
packets = st.builds(Packet, words, node_ids, messages)
