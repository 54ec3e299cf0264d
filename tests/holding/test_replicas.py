"""Whose word lets a holder skip its round of a key, and for how long; and what is known of replicas."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camomile_trio.holding import replicas
from camomile_trio.holding.replicas import MAX_HOLDERS, OWN_ROUND, WORDS, Replicas, is_own_turn, may_skip, with_word
from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId, distance
from camomile_trio.kademlia.records import RecordRow
from camomile_trio.kademlia.routing import RoutingTable
from tests.fixtures.line import HERE
from tests.fixtures.records import ALICE, KEY, lease_of

TARGET = Key(bytes(32))
OWN = NodeId(bytes(31) + b"\x01")
ROW = lease_of(ALICE, KEY).row()
RENEWED = lease_of(ALICE, KEY, life=7200).row()
OF_ANOTHER = lease_of(KeyPair.new(random.Random("bob")), KEY).row()


class Told:
    """What one node has heard; its table has members that are farther and farther from TARGET."""

    def __init__(self, members: int, k: int = 20) -> None:
        rng = random.Random(1)
        contacts = [Contact.of(rng.randbytes(32), Endpoint.parse(f"10.0.0.{n + 1}:8118")) for n in range(members)]
        self.table = RoutingTable(OWN, k)
        for contact in contacts:
            self.table.on_answer(contact, 0.0)
        self.members = sorted((each.id for each in self.table), key=lambda node: distance(node, TARGET))
        self.now = 1000.0
        self.replicas = Replicas(self.table, lambda: self.now, 3600.0)

    def says(self, holder: NodeId, key: Key = TARGET) -> bool:
        """Whether this node may rest on a word that comes now."""
        self.now += 3600.0
        self.replicas.on_word(key, holder)
        return self.replicas.heard_at(key) == self.now


def test_a_word_is_good_for_the_time_when_it_came() -> None:
    told = Told(3)
    assert told.replicas.heard_at(TARGET) is None
    assert told.says(told.members[0])


def test_a_stranger_and_a_member_that_is_no_holder_are_not_heard() -> None:
    told = Told(12, k=3)
    assert not told.says(NodeId(bytes(31) + b"\x02"))
    assert [told.says(member) for member in told.members] == [True] * 3 + [False] * (len(told.members) - 3)
    assert len(told.members) > 3


def test_a_member_whose_word_does_not_count_is_not_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(3)
    counted = [each for each in told.table.closest(TARGET) if each.id != told.members[1]]
    monkeypatch.setattr(RoutingTable, "cover", lambda self, target: counted)
    assert [told.says(member) for member in told.members] == [True, False, True]


@pytest.mark.parametrize("liars", range(1, WORDS + 1))
def test_as_many_as_are_remembered_keep_no_key_quiet(liars: int) -> None:
    """However often they repeat it, and whatever they make this node write about the key."""
    told = Told(12)
    assert all(told.says(liar) for liar in told.members[:liars])
    for _ in range(3):
        told.replicas.on_written(TARGET)
        assert not any(told.says(liar) for liar in told.members[:liars])
    assert told.replicas.heard_at(TARGET) is None


def test_after_a_round_of_its_own_a_node_takes_every_word_once_more() -> None:
    told = Told(3)
    assert told.says(told.members[0])
    assert not told.says(told.members[0])
    told.replicas.on_own_round(TARGET, (), told.members[:1])
    assert told.replicas.heard_at(TARGET) == told.now
    assert told.says(told.members[0])


def test_holders_that_take_turns_are_all_heard() -> None:
    told = Told(WORDS + 1)
    assert all(told.says(member) for _ in range(3) for member in told.members)


def test_what_is_written_ends_what_was_heard() -> None:
    told = Told(3)
    assert told.says(told.members[0])
    told.replicas.on_written(TARGET)
    assert told.replicas.heard_at(TARGET) is None
    assert told.says(told.members[1])
    told.replicas.drop(TARGET)
    assert told.replicas.heard_at(TARGET) is None


def test_what_is_heard_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas, "MAX_HEARD", 10)
    told = Told(3)
    keys = [Key(number.to_bytes(32, "big")) for number in range(12)]
    for key in keys:
        assert told.says(told.members[0], key)
    assert [told.replicas.heard_at(key) is not None for key in keys] == [False] * 2 + [True] * 10


# Who may skip a round ------------------------------------------------------------------------------------------------


@given(heard_at=st.floats(-1e6, 1e6) | st.just(-math.inf), now=st.floats(-1e6, 1e6), interval=st.floats(1.0, 1e5))
def test_a_word_is_good_for_one_interval_and_not_in_a_round_of_ones_own(
    heard_at: float, now: float, interval: float
) -> None:
    assert not may_skip(heard_at, now, interval, is_own_turn=True)
    assert may_skip(heard_at, now, interval, is_own_turn=False) == (now - heard_at < interval)


@given(first=st.integers(0, 10**6), part=st.integers(0, 10**4), node=st.binary(min_size=32, max_size=32))
def test_every_part_has_one_round_of_its_own_in_so_many(first: int, part: int, node: bytes) -> None:
    turns = [is_own_turn(number, part, NodeId(node)) for number in range(first, first + OWN_ROUND)]
    assert turns.count(True) == 1


@given(st.lists(st.integers(0, 9), max_size=60), st.randoms(use_true_random=False))
def test_a_word_is_taken_once_until_six_others_have_been(speakers: list[int], rng: random.Random) -> None:
    """Also where the beginning of one id is found across two others."""
    begins = [bytes(rng.choice((0, 1)) for _ in range(7)) + bytes([number]) for number in range(10)]
    taken, expected = b"", list[int]()
    for speaker in speakers:
        after = with_word(taken, begins[speaker])
        assert (after is None) == (speaker in expected[-WORDS:])
        if after is not None:
            taken = after
            expected.append(speaker)


@given(st.lists(st.tuples(st.floats(1.0, 900.0), st.integers(0, WORDS - 1)), max_size=80))
def test_six_liars_keep_a_key_quiet_for_one_interval_each_and_no_longer(words: list[tuple[float, int]]) -> None:
    told = Told(WORDS + 1)
    for pause, liar in words:
        told.now += pause
        told.replicas.on_word(TARGET, told.members[liar])
    heard = told.replicas.heard_at(TARGET)
    told.now = (told.now if heard is None else heard) + 3600.0
    for liar in {liar for _, liar in words}:
        told.replicas.on_word(TARGET, told.members[liar])
    assert told.replicas.due([TARGET], is_own_turn=False) == [TARGET]


# What is known of replicas -------------------------------------------------------------------------------------------


def holder(number: int) -> NodeId:
    return NodeId(number.to_bytes(32, "little"))


def a_table(*members: int) -> RoutingTable:
    table = RoutingTable(OWN, 20)
    for number in members:
        table.on_answer(Contact(holder(number), HERE), 1.0)
    return table


class Known:
    """What one node knows of replicas; what it heard of them is good for 100 s."""

    def __init__(self, table: RoutingTable | None = None) -> None:
        self.now = 0.0
        self.replicas = Replicas(table or a_table(), lambda: self.now, 100 / (1.25 * (OWN_ROUND + 1)))

    def confirm(self, key: Key, row: RecordRow, holder: NodeId, now: float) -> None:
        self.now = now
        self.replicas.confirm(key, (row,), holder)

    def count(self, row: RecordRow, now: float) -> int | None:
        self.now = now
        return self.replicas.count(row)


def test_each_holder_counts_once_and_for_one_record() -> None:
    known = Known()
    assert known.count(ROW, 0) is None
    for number in (1, 2, 2, 1):
        known.confirm(KEY, ROW, holder(number), 10)
    assert [known.count(row, 10) for row in (ROW, RENEWED, OF_ANOTHER)] == [2, None, None]


def test_what_was_confirmed_long_ago_is_not_known_any_more() -> None:
    known = Known()
    known.confirm(KEY, ROW, holder(1), 10)
    known.confirm(KEY, ROW, holder(2), 60)
    assert [known.count(ROW, at) for at in (110, 111, 160, 161)] == [2, 1, 1, None]


def test_who_has_lost_his_place_in_the_table_since_does_not_count() -> None:
    """Only who does not answer loses it. Of a holder that was never in the table nobody knows better."""
    table = a_table(1, 2)
    known = Known(table)
    for number in (1, 2, 3):
        known.confirm(KEY, ROW, holder(number), 10)
    assert known.count(ROW, 20) == 3
    assert table.on_failure(holder(1), HERE, asked_at=1.0, now=20) is False  # nobody has answered since: is it we?
    assert known.count(ROW, 20) == 3
    table.on_answer(Contact(holder(2), HERE), 15)
    assert table.on_failure(holder(1), HERE, asked_at=11, now=20)
    assert known.count(ROW, 20) == 2
    table.on_answer(Contact(holder(1), HERE), 30)
    assert known.count(ROW, 30) == 3  # it was cut off, and is back with its disk


def test_a_member_whose_word_does_not_count_confirms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RoutingTable, "counts", lambda self, node, target: (node, target) != (holder(2), KEY))
    known = Known(a_table(1, 2))
    for number in (1, 2):
        known.confirm(KEY, ROW, holder(number), 10)
    assert known.count(ROW, 10) == 1


def test_who_speaks_again_is_the_last_to_be_forgotten() -> None:
    """Also where the beginning of one id is found across two others."""
    known = Known()
    for number in range(MAX_HOLDERS):
        known.confirm(KEY, ROW, holder(number), 10)
    known.confirm(KEY, ROW, holder(0), 90)
    known.confirm(KEY, ROW, holder(MAX_HOLDERS), 90)
    assert [known.count(ROW, at) for at in (90, 120)] == [MAX_HOLDERS, 2]


def test_holders_and_records_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas, "MAX_CONFIRMED", 2)
    known = Known()
    for number in range(2 * MAX_HOLDERS):
        known.confirm(KEY, ROW, holder(number), 10)
    assert known.count(ROW, 10) == MAX_HOLDERS
    for row in (RENEWED, ROW, OF_ANOTHER):
        known.confirm(KEY, row, holder(1), 20)
    assert len(known.replicas) == 2
    assert known.count(RENEWED, 20) is None


def test_a_round_of_ones_own_counts_all_who_have_the_same_but_members_whose_word_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = a_table(1, 2, 3)
    counted = [each for each in table if each.id != holder(2)]
    known = Known(table)
    known.confirm(KEY, ROW, holder(1), 5)
    known.confirm(KEY, ROW, holder(5), 5)
    monkeypatch.setattr(RoutingTable, "cover", lambda self, target: counted)
    known.now = 10
    known.replicas.on_own_round(KEY, (ROW, OF_ANOTHER), [holder(number) for number in (1, 2, 3, 4)])
    # The holder that is no member of the table counts, and so does the one that was heard of before.
    assert [known.count(row, 10) for row in (ROW, OF_ANOTHER, RENEWED)] == [4, 3, None]
    assert known.count(ROW, 106) == 3
    assert known.replicas.heard_at(KEY) == 10
