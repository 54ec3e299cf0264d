"""What an adversary answers is up to its manners: whom it names, what it gives, and what it says that it stores."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import ID_BITS, Key, NodeId, as_int
from camomile_trio.kademlia.messages import (
    FindNode,
    FindValue,
    Have,
    HaveResult,
    NodeList,
    Ping,
    Pong,
    Store,
    StoreKind,
    StoreResult,
    StoreStatus,
    TooLarge,
    Value,
)
from camomile_trio.peer.suite import NaclSuite
from camomile_trio.simulation.manners import MOST_NAMED, Manners, each_other, invented, public_key_beside
from camomile_trio.simulation.suite import ToySuite

SOURCE, ELSEWHERE = Endpoint.parse("193.1.18.1:8118"), Endpoint.parse("199.51.101.1:8118")
WALL = 1_700_000_000_000
VALUE = b"a plum"
KEY = Key.of(VALUE)
CROWD = [Contact.of(bytes([number]) * 31 + b"\x02", SOURCE) for number in range(50)]


def test_it_answers_pings_and_nothing_else_by_default() -> None:
    manners = Manners()
    assert manners.answer(Ping(), SOURCE, WALL) == Pong(SOURCE, WALL)
    for message in (FindNode(NodeId(KEY)), FindValue(KEY), Store(StoreKind.PUBLISH, KEY, None, ()), Have((KEY,))):
        assert manners.answer(message, SOURCE, WALL) is None


def test_a_crowd_names_its_closest_closest_first() -> None:
    manners = Manners(each_other(CROWD))
    answer = manners.answer(FindNode(NodeId(KEY)), SOURCE, WALL)
    nearest = sorted(CROWD, key=lambda each: as_int(each.id) ^ as_int(KEY))[:MOST_NAMED]
    assert answer == NodeList(tuple(nearest))
    assert manners.answer(FindValue(KEY), SOURCE, WALL) == Value(None, tuple(nearest))


def test_it_says_that_it_stores_and_holds_what_it_does_not() -> None:
    manners = Manners(each_other(CROWD), stores=StoreStatus.STORED, has_the_same=True)
    answer = manners.answer(Store(StoreKind.PUBLISH, None, VALUE, (), names_contacts=True), SOURCE, WALL)
    assert isinstance(answer, StoreResult)
    assert answer.status is StoreStatus.STORED
    assert len(answer.contacts) == MOST_NAMED
    assert manners.answer(Have((KEY, KEY, KEY)), SOURCE, WALL) == HaveResult((), 0b111)


def test_what_it_gives_comes_before_what_it_says_of_all_values() -> None:
    given = Value(VALUE)
    manners = Manners(each_other(CROWD), gives={KEY: given}, says_too_large=5000)
    assert manners.answer(FindValue(KEY), SOURCE, WALL) == given
    assert manners.answer(FindValue(Key.of(b"a pear")), SOURCE, WALL) == TooLarge(5000)


@given(target=st.binary(min_size=32, max_size=32), bits=st.integers(0, 8), seed=st.integers(0, 99))
def test_what_it_invents_is_beside_the_target_and_a_key_for_every_suite(target: bytes, bits: int, seed: int) -> None:
    public = public_key_beside(target, bits, random.Random(seed))
    assert as_int(NodeId.of(public)) ^ as_int(target) < 1 << (ID_BITS - bits)
    for suite in (ToySuite(), NaclSuite()):
        suite.check_public_untrusted(public)


def test_each_answer_invents_others_where_it_is_told() -> None:
    names = invented(random.Random(1), lambda: ELSEWHERE, bits=4)
    first, second = names(KEY), names(KEY)
    assert len({contact.id for contact in (*first, *second)}) == 2 * MOST_NAMED
    assert {contact.endpoint for contact in (*first, *second)} == {ELSEWHERE}
