"""What is known of copies: who confirmed what, for how long, and how much of it is remembered."""

from __future__ import annotations

import random

import pytest

from camomile_trio.holding import confirmations
from camomile_trio.holding.confirmations import MAX_HOLDERS, Confirmations
from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import NodeId
from camomile_trio.kademlia.routing import RoutingTable
from tests.fixtures.line import HERE
from tests.fixtures.records import ALICE, KEY, lease_of

ROW = lease_of(ALICE, KEY).row()
RENEWED = lease_of(ALICE, KEY, life=7200).row()
OF_ANOTHER = lease_of(KeyPair.new(random.Random("bob")), KEY).row()


OWN = NodeId(bytes(31) + b"1")


def holder(number: int) -> NodeId:
    return NodeId(number.to_bytes(32, "little"))


def a_table(*members: int) -> RoutingTable:
    table = RoutingTable(OWN, 20)
    for number in members:
        table.on_answer(Contact(holder(number), HERE), 1.0)
    return table


def test_each_holder_counts_once_and_for_one_record() -> None:
    known = Confirmations(a_table(), life=100)
    assert known.count(ROW, 0) is None
    for number in (1, 2, 2, 1):
        known.confirm(KEY, ROW, holder(number), 10)
    assert [known.count(row, 10) for row in (ROW, RENEWED, OF_ANOTHER)] == [2, None, None]


def test_what_was_confirmed_long_ago_is_not_known_any_more() -> None:
    known = Confirmations(a_table(), life=100)
    known.confirm(KEY, ROW, holder(1), 10)
    known.confirm(KEY, ROW, holder(2), 60)
    assert [known.count(ROW, at) for at in (110, 111, 160, 161)] == [2, 1, 1, None]


def test_who_has_lost_his_place_in_the_table_since_does_not_count() -> None:
    """Only who does not answer loses it. Of a holder that was never in the table nobody knows better."""
    table = a_table(1, 2)
    known = Confirmations(table, life=100)
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
    known = Confirmations(a_table(1, 2), life=100)
    for number in (1, 2):
        known.confirm(KEY, ROW, holder(number), 10)
    assert known.count(ROW, 10) == 1


def test_who_speaks_again_is_the_last_to_be_forgotten() -> None:
    """Also where the beginning of one id is found across two others."""
    known = Confirmations(a_table(), life=100)
    for number in range(MAX_HOLDERS):
        known.confirm(KEY, ROW, holder(number), 10)
    known.confirm(KEY, ROW, holder(0), 90)
    known.confirm(KEY, ROW, holder(MAX_HOLDERS), 90)
    assert [known.count(ROW, at) for at in (90, 120)] == [MAX_HOLDERS, 2]


def test_holders_and_records_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirmations, "MAX_CONFIRMED", 2)
    known = Confirmations(a_table(), life=100)
    for number in range(2 * MAX_HOLDERS):
        known.confirm(KEY, ROW, holder(number), 10)
    assert known.count(ROW, 10) == MAX_HOLDERS
    for row in (RENEWED, ROW, OF_ANOTHER):
        known.confirm(KEY, row, holder(1), 20)
    assert len(known) == 2
    assert known.count(RENEWED, 20) is None
