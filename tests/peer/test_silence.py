"""Which silent contacts lose their seats, and which keep them because it may be this node that is offline."""

from __future__ import annotations

import random

import attrs

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import NodeId
from camomile_trio.kademlia.routing import RoutingTable
from camomile_trio.peer.silence import ASKED_AROUND, CHECKED_AGAIN_AFTER, MOST_WAITING, Silence

OWN = NodeId(b"\0\0")


def contact(number: int) -> Contact:
    return Contact(NodeId(number.to_bytes(2, "big")), Endpoint.of(bytes([10, 1, number >> 8, number & 0xFF]), 8118))


@attrs.define
class Story:
    """Contacts 1 to `count`, all of which have answered at 0 seconds. `checked`: those that were to be pinged since."""

    count: int
    table: RoutingTable = attrs.field(factory=lambda: RoutingTable(OWN, 512))
    checked: list[Contact] = attrs.field(factory=list)
    silence: Silence = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.silence = Silence(self.table, self._check, random.Random(1))
        for number in range(1, self.count + 1):
            self.answers(number, 0.0)

    def _check(self, contact: Contact, *, again_after: float) -> None:
        self.checked.append(contact)

    def answers(self, number: int, now: float) -> None:
        self.table.on_answer(contact(number), now)
        self.silence.on_answer(contact(number))

    def misses(self, number: int, asked_at: float, now: float) -> bool:
        return self.silence.on_missed(contact(number), asked_at, now)

    def takes_checked(self) -> list[Contact]:
        checked, self.checked = self.checked, []
        return checked


def test_a_contact_that_is_silent_while_another_one_answers_loses_its_seat() -> None:
    story = Story(3)
    story.answers(2, 11.0)
    assert story.misses(1, 10.0, 12.0)
    assert set(story.table) == {contact(2), contact(3)}
    assert not story.checked
    assert not story.misses(1, 10.0, 12.0)  # it has none any more


def test_a_contact_that_has_answered_something_else_meanwhile_keeps_its_seat() -> None:
    story = Story(3)
    story.answers(1, 11.0)
    assert not story.misses(1, 10.0, 12.0)
    assert len(story.table) == 3
    assert not story.checked


def test_what_was_sent_to_an_address_that_the_contact_has_left_costs_no_seat() -> None:
    story = Story(3)
    story.answers(2, 11.0)
    assert not story.silence.on_missed(contact(1)._replace(endpoint=contact(9).endpoint), 10.0, 12.0)
    assert len(story.table) == 3


def test_when_no_contact_answers_a_few_are_asked_for_a_sign_of_life_and_all_stay() -> None:
    story = Story(20)
    for number in range(1, 21):
        assert not story.misses(number, 10.0, 12.0)
    asked = story.takes_checked()
    assert len(asked) == ASKED_AROUND  # once for all of them
    assert contact(1) not in asked
    assert len(story.silence) == len(story.table) == 20
    assert not story.misses(1, 15.0, 12.0 + CHECKED_AGAIN_AFTER)
    assert len(story.takes_checked()) == ASKED_AROUND


def test_the_silent_are_asked_again_once_one_answers_and_only_then_lose_their_seats() -> None:
    story = Story(4)
    for number in (1, 2, 3):
        story.misses(number, 10.0, 12.0)
    story.takes_checked()
    story.answers(3, 20.0)
    # The third too, so that there is an answer after the question to the others.
    assert sorted(story.takes_checked()) == [contact(1), contact(2), contact(3)]
    assert not len(story.silence)
    story.answers(3, 20.1)
    assert story.misses(1, 20.0, 22.0)
    story.answers(2, 22.1)
    assert set(story.table) == {contact(2), contact(3), contact(4)}


def test_what_was_asked_before_the_first_answer_is_asked_again() -> None:
    """This node may have been offline when it was asked. The one that answered is asked too: else the contact's next
    failure would show nothing either, where nobody else is asked for anything."""
    story = Story(4)
    story.misses(1, 10.0, 12.0)
    story.answers(2, 20.0)
    story.takes_checked()
    story.answers(2, 20.5)
    assert not story.misses(4, 19.0, 21.0)
    assert story.takes_checked() == [contact(4), contact(2)]
    assert contact(4).id in story.table
    assert not story.misses(9, 19.0, 21.0)  # it has no seat to lose
    assert not story.checked
    story.answers(2, 21.1)
    assert story.misses(4, 21.0, 23.0)


def test_more_failures_than_can_wait_are_counted_and_their_contacts_stay() -> None:
    story = Story(MOST_WAITING + 10)
    for number in range(1, MOST_WAITING + 11):
        story.misses(number, 10.0, 12.0)
    assert len(story.silence) == MOST_WAITING
    assert story.silence.dropped == 10
    assert len(story.table) == MOST_WAITING + 10
