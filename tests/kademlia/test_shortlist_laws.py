"""What holds of every lookup, whatever the network is like and in whatever order things happen.

Rules of this file: laws, not stories (they are in test_shortlist.py). Networks are tiny, since there all corners are
near; nothing is sent and no time passes.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import NodeId, as_int, bucket_index, closest
from camomile_trio.kademlia.shortlist import PeerState, Shortlist


class Network:
    """Nodes that never change. Each knows, of every bucket, k nodes at random, or all where there are fewer."""

    def __init__(self, ids: Iterable[bytes], k: int, rng: random.Random) -> None:
        self.ids = sorted(ids)
        self.k = k
        self._tables = {own: self._table(own, rng) for own in self.ids}

    def _table(self, own: bytes, rng: random.Random) -> list[bytes]:
        buckets: dict[int, list[bytes]] = {}
        for other in self.ids:
            if other != own:
                buckets.setdefault(bucket_index(own, other), []).append(other)
        return [other for full in buckets.values() for other in rng.sample(full, min(self.k, len(full)))]

    def told_by(self, node: bytes, target: bytes, *, asker: bytes | None) -> list[Contact]:
        known = [other for other in self._tables[node] if other != asker]
        return [contact_of(identifier) for identifier in closest(target, known, self.k)]


def contact_of(identifier: bytes) -> Contact:
    return Contact(NodeId(identifier), Endpoint.of(bytes([127, 0, 0, 1]), 1 + as_int(identifier) % 65535))


one_byte_ids = st.sets(st.binary(min_size=1, max_size=1), min_size=2, max_size=24)
two_byte_ids = st.sets(st.binary(min_size=2, max_size=2), min_size=2, max_size=24)
# Ids that share their beginning, so that deep buckets are crowded.
crowded_ids = st.sets(st.integers(0, 63).map(lambda low: (0x1200 | low).to_bytes(2, "big")), min_size=2, max_size=24)


@settings(max_examples=100, deadline=None)
@given(
    st.one_of(one_byte_ids, two_byte_ids, crowded_ids),
    st.data(),
    st.integers(1, 4),
    st.integers(1, 3),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_on_any_static_network_it_finds_exactly_the_k_closest(
    ids: set[bytes], data: st.DataObject, k: int, alpha: int, member: bool, rng: random.Random
) -> None:
    network = Network(ids, k, rng)
    width = len(network.ids[0])
    target = data.draw(st.one_of(st.sampled_from(network.ids), st.binary(min_size=width, max_size=width)))
    if member:
        own = NodeId(rng.choice(network.ids))
        start = network.told_by(own, target, asker=None)
    else:
        own = None
        start = [contact_of(identifier) for identifier in rng.sample(network.ids, rng.randint(1, len(network.ids)))]
    lookup = Shortlist(target, k=k, alpha=alpha, own=own, start=start)
    others = [identifier for identifier in network.ids if identifier != own]

    in_flight: list[Contact] = []
    overdue: list[Contact] = []
    asked: list[Contact] = []
    # A lookup that has ended is driven on until the slowest have answered: until then they are missing from it.
    while not lookup.finished or overdue:
        queries = lookup.next_queries()
        in_flight += queries
        asked += queries
        assert len(in_flight) <= alpha
        assert in_flight or overdue, "neither at an end nor waiting for anything"
        happening = rng.choice(["answer"] * 3 + ["overdue", "late"])
        if happening == "overdue" and in_flight:
            slow = in_flight.pop(rng.randrange(len(in_flight)))
            overdue.append(slow)
            lookup.on_overdue(slow.id)
        else:
            waiting = overdue if overdue and (happening == "late" or not in_flight) else in_flight
            node = waiting.pop(rng.randrange(len(waiting))).id
            lookup.on_reply(node, network.told_by(node, target, asker=own))

    assert [contact.id for contact in lookup.result()] == closest(target, others, k)
    assert len(set(asked)) == len(asked) == lookup.asked
    assert own not in {contact.id for contact in asked}


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 60), max_size=12),
    st.integers(1, 4),
    st.integers(1, 3),
    st.randoms(use_true_random=False),
)
def test_whatever_peers_say_and_however_they_fail_it_keeps_its_rules_and_ends(
    start: list[int], k: int, alpha: int, rng: random.Random
) -> None:
    own = NodeId(b"\x07")
    everyone = [contact_of(bytes([number])) for number in range(61)]  # in order of their distance from the target
    lookup = Shortlist(b"\x00", k=k, alpha=alpha, own=own, start=[everyone[number] for number in start])

    def window() -> list[Contact]:
        """The k closest candidates that are neither overdue nor failed."""
        hopeful = (PeerState.UNASKED, PeerState.ASKED, PeerState.ANSWERED)
        return [contact for contact in everyone if lookup.state(contact.id) in hopeful][:k]

    in_flight: list[Contact] = []
    overdue: list[Contact] = []
    answered: list[Contact] = []
    asked: list[Contact] = []
    steps = 0
    while not lookup.finished:
        unasked = [contact for contact in window() if lookup.state(contact.id) is PeerState.UNASKED]
        queries = lookup.next_queries()
        assert queries == unasked[: alpha - len(in_flight)], "as many as there are slots, the closest, none beyond k"
        in_flight += queries
        asked += queries
        assert in_flight or overdue
        steps += 1
        assert steps <= 3 * len(everyone)
        who = rng.choice(in_flight + overdue)
        (in_flight if who in in_flight else overdue).remove(who)
        happening = rng.choice(["answer", "overdue", "fail"]) if who not in overdue else rng.choice(["answer", "fail"])
        if happening == "answer":
            answered.append(who)
            lookup.on_reply(who.id, rng.sample(everyone, rng.randint(0, 6)), knows=lambda contact: True)
        elif happening == "overdue" and lookup.state(who.id) is PeerState.ASKED:
            overdue.append(who)
            lookup.on_overdue(who.id)
        else:
            lookup.on_failed(who.id)
        closest_answered = [contact for contact in everyone if contact in answered][:k]
        assert lookup.result() == closest_answered
        over = all(lookup.state(contact.id) is PeerState.ANSWERED for contact in window())
        assert lookup.finished == (over and bool(answered or not overdue))

    assert len(set(asked)) == len(asked) == lookup.asked
    assert lookup.count(PeerState.ANSWERED) == len(answered)
    assert own not in {contact.id for contact in asked}
    assert lookup.next_queries() == []


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=12),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 5),
    st.randoms(use_true_random=False),
)
def test_by_the_word_of_one_party_it_waits_for_two_timeouts_at_most_and_ends(
    start: list[int], k: int, alpha: int, parties: int, rng: random.Random
) -> None:
    """Time goes on from one timeout to the next; nodes are alive, slow or dead, and any of them may name any."""
    everyone = [contact_of(bytes([number])) for number in range(61)]
    known = {everyone[number] for number in start}
    dead = set(rng.sample(everyone, 30))

    def party_of(contact: Contact) -> bytes:
        return bytes([contact.id[0] % parties])

    lookup = Shortlist(b"\x00", k=k, alpha=alpha, own=None, start=list(known), party_of=party_of)
    named_by: dict[Contact, set[bytes]] = {}
    in_flight: list[Contact] = []
    waited: dict[bytes, int] = {}  # timeouts that passed while nodes which this party alone has named were waited for
    steps = 0
    while not lookup.finished:
        in_flight += lookup.next_queries()
        for party in {party_of(each) for each in everyone}:
            own_word = [each for each in in_flight if each not in known and named_by[each] == {party}]
            assert len(own_word) <= alpha
        alive = [each for each in in_flight if each not in dead]
        if alive:
            who = rng.choice(alive)
            in_flight.remove(who)
            named = rng.sample(everyone, rng.randint(0, 6))
            for each in named:
                named_by.setdefault(each, set()).add(party_of(who))
            lookup.on_reply(who.id, named)
        elif in_flight:
            # All that are under way are silent: a timeout passes.
            for party in {party for each in in_flight if each not in known for party in named_by[each]}:
                if any(named_by[each] == {party} for each in in_flight if each not in known):
                    waited[party] = waited.get(party, 0) + 1
            for each in in_flight:
                lookup.on_overdue(each.id)
            in_flight = []
        else:
            for each in everyone:
                if lookup.state(each.id) is PeerState.OVERDUE:
                    lookup.on_failed(each.id)
        steps += 1
        assert steps < 500
    assert all(timeouts <= 2 for timeouts in waited.values())
    assert not [each for each in lookup.silent() if each not in known and len(named_by[each]) == 1]
