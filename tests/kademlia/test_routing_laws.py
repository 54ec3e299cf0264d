"""What holds of every routing table, in whatever order nodes answer, move and fail.

Rules of this file: laws, not stories (they are in test_routing.py). Few ids and small buckets, so that they overflow.
"""

from __future__ import annotations

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.counting import Diversity, most
from camomile_trio.kademlia.ids import NodeId, as_int, bucket_index, distance
from camomile_trio.kademlia.routing import RoutingTable

OWN = NodeId(b"\x00")


def contact(number: int, *, host: int) -> Contact:
    return Contact(NodeId(bytes([number])), Endpoint.of(bytes([127, 0, 0, host]), 8000 + number))


@attrs.frozen
class Answers:
    who: Contact


@attrs.frozen
class Fails:
    who: Contact
    asked_ago: int


# Few ids and two endpoints for each, so that buckets overflow and ids turn up elsewhere.
people = st.builds(contact, st.sampled_from([0, 1, 2, 3, *range(8, 16), 0x80, 0x81, 0x82]), host=st.integers(1, 2))
happenings = st.one_of(
    st.builds(Answers, people),
    st.builds(Answers, people),
    st.builds(Fails, people, st.integers(0, 6)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(happenings, max_size=60), st.integers(1, 3), st.integers(0, 3))
def test_in_any_order_of_answers_and_failures_the_table_keeps_its_rules(
    story: list[Answers | Fails], k: int, replacements: int
) -> None:
    table = RoutingTable(OWN, k, replacements=replacements)
    last_answer: dict[Contact, float] = {}
    for step, happening in enumerate(story, start=1):
        now = float(step)
        before = set(table)
        who = happening.who
        if isinstance(happening, Answers):
            was_member = any(c.id == who.id for c in before)
            checked = table.on_answer(who, now)
            if who.id != OWN:
                last_answer[who] = now
            # An answer evicts nobody: the id that answered is where it answered from, if it has a seat.
            assert {c.id for c in before} <= {c.id for c in table}
            assert before - set(table) == {c for c in before if c.id == who.id and c != who}
            assert checked is None or checked in before & set(table)
            assert (table.get(who.id) == who) == (checked is None and who.id != OWN)
            assert not (was_member and checked)
        else:
            asked_at = now - happening.asked_ago
            evicted = table.on_failure(who.id, who.endpoint, asked_at=asked_at, now=now)
            others_answered = any(at > asked_at for other, at in last_answer.items() if other != who)
            silent = last_answer.get(who, 0.0) <= asked_at
            assert evicted == (who in before and others_answered and silent)
            assert before - set(table) == ({who} if evicted else set())
        keeps_its_rules(table, proven=set(last_answer), last_answer=last_answer, replacements=replacements)


def keeps_its_rules(
    table: RoutingTable, *, proven: set[Contact], last_answer: dict[Contact, float], replacements: int
) -> None:
    for bucket in table.buckets():
        assert 0 < len(bucket.contacts) <= table.k
        assert len(bucket.replacements) <= replacements
        ids = [c.id for c in bucket.contacts]
        assert len(set(ids)) == len(ids)
        waiting = [c.id for c in bucket.replacements]
        assert len(set(waiting)) == len(waiting)
        assert set(bucket.contacts) | set(bucket.replacements) <= proven
        assert not set(ids) & set(waiting), "an id is a member or a replacement, once"
        assert all(last_answer[c] == max(at for o, at in last_answer.items() if o.id == c.id) for c in bucket.contacts)
        assert {bucket_index(OWN, identifier) for identifier in [*ids, *waiting]} == {bucket.index}
        for line in (bucket.contacts, bucket.replacements):
            assert list(line) == sorted(line, key=lambda c: last_answer[c])
        if len(bucket.contacts) < table.k:
            assert not waiting, "a replacement beside a free seat"
    members = [c for bucket in table.buckets() for c in bucket.contacts]
    assert list(table) == members
    assert len(table) == len(members)
    assert all(table.get(c.id) == c for c in members)
    assert table.last_answer == max(last_answer.values(), default=None)
    for target in (0x00, 0x01, 0x0B, 0x81, 0xFF):
        agrees_with_sorting(table, bytes([target]))


def agrees_with_sorting(table: RoutingTable, target: bytes) -> None:
    """As long as all members count, as in a closed network."""
    nearest = sorted(table, key=lambda c: distance(c.id, target))
    assert table.closest(target, 4) == nearest[:4]
    assert table.rank(target) == sum(distance(c.id, target) < distance(OWN, target) for c in nearest)
    assert table.is_among_closest(target) == (table.rank(target) < table.k)


# Ids of two bytes at public addresses of few networks, so that many are surplus for theirs.
strangers = st.builds(
    lambda number, network: Contact(
        NodeId(number.to_bytes(2, "big")), Endpoint.of(bytes([198, 18 + network % 2, network, number % 250]), 8118)
    ),
    st.one_of(st.integers(0, 0xFFFF), st.integers(0x4000, 0x4010)),
    st.integers(0, 12),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.one_of(strangers, st.builds(Fails, strangers, st.just(0))), max_size=60),
    st.lists(st.one_of(st.integers(0, 0xFFFF), st.integers(0x4000, 0x4010)), min_size=1, max_size=4),
    st.integers(2, 6),
)
def test_in_an_open_network_what_is_nearly_always_so_is_said_as_the_rule_of_counting_says_it(
    story: list[Contact | Fails], targets: list[int], k: int
) -> None:
    table = RoutingTable(NodeId(bytes(2)), k, diversity=Diversity())
    for step, happening in enumerate(story, start=1):
        if isinstance(happening, Fails):
            table.discard(happening.who.id)
        else:
            table.on_answer(happening, float(step))
    for number in targets:
        target = number.to_bytes(2, "big")
        nearest = sorted(table, key=lambda c: distance(c.id, target))
        counted = table.counting(target).cover(nearest[: most(k)], k).counted
        assert table.cover(target) == counted
        assert table.is_among_closest(target) == (table.rank(target) < k)
        closer = sum(distance(c.id, target) < as_int(target) for c in nearest)
        assert table.rank(target) <= closer
        assert all(table.counts(c.id, target) == (c in counted) for c in nearest)
