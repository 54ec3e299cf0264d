"""What is known of copies: who confirmed what, for how long, and how much of it is remembered."""

from __future__ import annotations

import random

import pytest

from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.ids import NodeId
from camomile_trio.node import confirmations
from camomile_trio.node.confirmations import MAX_HOLDERS, Confirmations
from tests.node.line import lease_of
from tests.node.shelf import ALICE, KEY

ROW = lease_of(ALICE, KEY).row()
RENEWED = lease_of(ALICE, KEY, life=7200).row()
OF_ANOTHER = lease_of(KeyPair.new(random.Random("bob")), KEY).row()


def holder(number: int) -> NodeId:
    return NodeId(number.to_bytes(32, "little"))


def test_each_holder_counts_once_and_for_one_record() -> None:
    known = Confirmations(life=100)
    assert known.count(ROW, 0) is None
    for number in (1, 2, 2, 1):
        known.confirm(ROW, holder(number), 10)
    assert [known.count(row, 10) for row in (ROW, RENEWED, OF_ANOTHER)] == [2, None, None]


def test_what_was_confirmed_long_ago_is_not_known_any_more() -> None:
    known = Confirmations(life=100)
    known.confirm(ROW, holder(1), 10)
    known.confirm(ROW, holder(2), 60)
    assert [known.count(ROW, at) for at in (110, 111, 160, 161)] == [2, 1, 1, None]


def test_holders_and_records_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirmations, "MAX_CONFIRMED", 2)
    known = Confirmations(life=100)
    for number in range(2 * MAX_HOLDERS):
        known.confirm(ROW, holder(number), 10)
    assert known.count(ROW, 10) == MAX_HOLDERS
    for row in (RENEWED, ROW, OF_ANOTHER):
        known.confirm(row, holder(1), 20)
    assert len(known) == 2
    assert known.count(RENEWED, 20) is None
