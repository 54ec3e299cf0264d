"""Whom a node still has to tell, as plain state."""

from __future__ import annotations

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.node.reminders import MAX_KEYS, MAX_NODES, MOMENT, PAUSES, Reminders

ALICE = Contact(NodeId(b"a" * 32), Endpoint.parse("10.0.0.1:8118"))
PLUM, PEAR = Key.of(b"a plum"), Key.of(b"a pear")


def test_who_was_silent_is_due_after_a_pause() -> None:
    reminders = Reminders()
    reminders.add(ALICE, PLUM, 100.0)
    assert reminders.due(100.0) == []
    assert reminders.due(100.0 + PAUSES[0]) == [(ALICE, [PLUM])]


def test_a_sign_of_life_makes_it_due_in_a_moment_where_it_is_now() -> None:
    reminders = Reminders()
    reminders.add(ALICE, PLUM, 100.0)
    for _ in range(4):
        reminders.on_silent(ALICE, 200.0)
    moved = Contact(ALICE.id, Endpoint.parse("10.0.0.2:8118"))
    reminders.on_heard(moved, 201.0)
    assert reminders.due(201.0 + MOMENT) == [(moved, [PLUM])]


def test_what_was_told_is_owed_no_more_and_what_came_meanwhile_is() -> None:
    reminders = Reminders()
    reminders.add(ALICE, PLUM, 0.0)
    ((_, keys),) = reminders.due(10.0)
    reminders.add(ALICE, PEAR, 10.0)
    reminders.on_told(ALICE, keys)
    assert reminders.due(20.0) == [(ALICE, [PEAR])]
    reminders.on_told(ALICE, [PEAR])
    assert reminders.next_due() is None
    assert (reminders.keys, reminders.told) == (0, 2)


def test_it_is_not_tried_for_ever() -> None:
    reminders = Reminders()
    reminders.add(ALICE, PLUM, 0.0)
    for _ in PAUSES:
        reminders.on_silent(ALICE, 0.0)
    assert reminders.next_due() is None
    assert (reminders.keys, reminders.dropped) == (0, 1)


def test_nodes_and_keys_are_bounded() -> None:
    reminders = Reminders()
    for number in range(MAX_NODES + 3):
        reminders.add(Contact(NodeId(number.to_bytes(32, "big")), ALICE.endpoint), PLUM, 0.0)
    assert (reminders.keys, reminders.dropped) == (MAX_NODES, 3)
    crowded = Reminders()
    for number in range(MAX_KEYS + 2):
        crowded.add(ALICE, Key.of(str(number).encode()), 0.0)
    assert (crowded.keys, crowded.dropped) == (MAX_KEYS, 2)
