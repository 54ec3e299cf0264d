"""Whatever bytes arrive: a decision comes back, and never an exception, a session or a reply larger than what arrived.

Rules of this file: inputs are arbitrary bytes, and valid messages with changes; the clock stands still.
"""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.peer.decisions import Dropped, Reply
from camomile_trio.peer.packets import frame
from tests.peer.nodes import Line, Node, met

LINE = Line()
SOURCE = Endpoint.parse("198.18.7.7:8118")


def corpus() -> list[bytes]:
    """One of each message, to and from a node that knows nothing of them any more."""
    line = Line()
    a, b = Node(line, b"a", "198.18.1.1"), Node(line, b"b", "198.18.2.1")
    met(line, a, b)
    line.tick(60)
    found = [a.initiate(b, b"find"), a.sessions.initiator.hello(b.endpoint, line.now), b.seal(a, b"x" * 50) or b""]
    for datagram in list(found):
        decision = b.sessions.on_datagram(datagram, a.endpoint, line.now, line.wall_ms)
        found += [decision.datagram] if isinstance(decision, Reply) else []
    a.initiate(b, b"find", 420)
    b.on_datagram(line.flying[-1].datagram, a.endpoint)
    found.append(line.flying[-1].datagram)
    b = Node(line, b"b", "198.18.2.1", run=1)
    a_slow = Node(line, b"a", "198.18.1.1", run=1, skew_ms=-10_000)
    met(line, a, b)
    b.on_datagram(a_slow.initiate(b), a.endpoint)
    return [*found, line.flying[-1].datagram]


CORPUS = corpus()


@given(
    st.binary(max_size=300)
    | st.builds(frame, st.integers(20, 26), st.binary(max_size=300))
    | st.builds(
        lambda base, at, by, cut: base[: at % len(base)] + by + base[at % len(base) + cut :],
        st.sampled_from(CORPUS),
        st.integers(0, 2000),
        st.binary(max_size=8),
        st.integers(0, 16),
    )
)
def test_whatever_arrives_is_dropped_or_answered_by_no_more_than_it_had(datagram: bytes) -> None:
    node = Node(Line(), b"z", "198.18.9.1")
    decision = node.sessions.on_datagram(datagram, SOURCE, 100.0, 1_700_000_000_000)
    if isinstance(decision, Reply):
        assert decision.why == "hello"  # it may be the valid one
        assert len(decision.datagram) <= len(datagram)
    else:
        assert isinstance(decision, Dropped)
        assert sum(node.sessions.dropped.values()) == 1
    assert not node.sessions.table.peers


@given(st.integers(0, len(CORPUS) - 1), st.randoms(use_true_random=False))
def test_a_valid_message_with_changed_bytes_is_answered_by_a_cookie_at_most(number: int, rng: random.Random) -> None:
    """To the node that it was made for."""
    line = Line(now=160.0, wall_ms=1_700_000_060_000)
    node = Node(line, b"b", "198.18.2.1")
    changed = bytearray(CORPUS[number])
    for _ in range(rng.randrange(1, 4)):
        changed[rng.randrange(len(changed))] ^= rng.randrange(1, 256)
    if bytes(changed) in CORPUS:
        return
    decision = node.sessions.on_datagram(bytes(changed), SOURCE, line.now, line.wall_ms)
    if isinstance(decision, Reply):
        assert decision.why == "cookie"
        assert len(decision.datagram) <= len(changed)
    else:
        assert isinstance(decision, Dropped)
    assert not node.sessions.table.by_index


def test_the_corpus_has_every_message() -> None:
    assert {datagram[:2] for datagram in CORPUS} == {frame(field, b"")[:2] for field in (20, 22, 23, 24, 25, 26)}
