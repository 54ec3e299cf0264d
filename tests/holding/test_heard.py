"""Whose word lets a holder leave the offering of a key to others, and for how long."""

from __future__ import annotations

import random

import pytest

from camomile_trio.holding import heard
from camomile_trio.holding.heard import WORDS, Heard
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId, distance
from camomile_trio.kademlia.routing import RoutingTable

KEY = Key(bytes(32))
OWN = NodeId(bytes(31) + b"\x01")


class Told:
    """What one node has heard; its table has members that are farther and farther from KEY."""

    def __init__(self, members: int, k: int = 20) -> None:
        rng = random.Random(1)
        contacts = [Contact.of(rng.randbytes(32), Endpoint.parse(f"10.0.0.{n + 1}:8118")) for n in range(members)]
        self.table = RoutingTable(OWN, k)
        for contact in contacts:
            self.table.on_answer(contact, 0.0)
        self.members = sorted((each.id for each in self.table), key=lambda node: distance(node, KEY))
        self.now = 1000.0
        self.heard = Heard(self.table, lambda: self.now)

    def says(self, holder: NodeId, key: Key = KEY) -> bool:
        """Whether this node may rest on a word that comes now."""
        self.now += 3600.0
        self.heard.from_holder(key, holder)
        return self.heard.at(key) == self.now


def test_a_word_is_good_for_the_time_when_it_came() -> None:
    told = Told(3)
    assert told.heard.at(KEY) is None
    assert told.says(told.members[0])


def test_a_stranger_and_a_member_that_is_no_holder_are_not_heard() -> None:
    told = Told(12, k=3)
    assert not told.says(NodeId(bytes(31) + b"\x02"))
    assert [told.says(member) for member in told.members] == [True] * 3 + [False] * (len(told.members) - 3)
    assert len(told.members) > 3


def test_a_member_whose_word_does_not_count_is_not_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(3)
    counted = [each for each in told.table.closest(KEY) if each.id != told.members[1]]
    monkeypatch.setattr(RoutingTable, "cover", lambda self, target: counted)
    assert [told.says(member) for member in told.members] == [True, False, True]


@pytest.mark.parametrize("liars", range(1, WORDS + 1))
def test_as_many_as_are_remembered_keep_no_key_quiet(liars: int) -> None:
    """However often they repeat it, and whatever they make this node write about the key."""
    told = Told(12)
    assert all(told.says(liar) for liar in told.members[:liars])
    for _ in range(3):
        told.heard.on_written(KEY)
        assert not any(told.says(liar) for liar in told.members[:liars])
    assert told.heard.at(KEY) is None


def test_after_a_round_of_its_own_a_node_takes_every_word_once_more() -> None:
    told = Told(3)
    assert told.says(told.members[0])
    assert not told.says(told.members[0])
    told.heard.in_own_round(KEY)
    assert told.heard.at(KEY) == told.now
    assert told.says(told.members[0])


def test_holders_that_take_turns_are_all_heard() -> None:
    told = Told(WORDS + 1)
    assert all(told.says(member) for _ in range(3) for member in told.members)


def test_what_is_written_ends_what_was_heard() -> None:
    told = Told(3)
    assert told.says(told.members[0])
    told.heard.on_written(KEY)
    assert told.heard.at(KEY) is None
    assert told.says(told.members[1])
    told.heard.drop(KEY)
    assert told.heard.at(KEY) is None


def test_what_is_heard_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heard, "MAX_HEARD", 10)
    told = Told(3)
    keys = [Key(number.to_bytes(32, "big")) for number in range(12)]
    for key in keys:
        assert told.says(told.members[0], key)
    assert [told.heard.at(key) is not None for key in keys] == [False] * 2 + [True] * 10
