"""The routing table: who gets a seat, who keeps it, and who is named as closest.

Rules of this file: ids of one byte, so that a story can be followed by eye; time is a number that the story tells.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.counting import Diversity
from camomile_trio.kademlia.ids import NodeId, bucket_index, distance
from camomile_trio.kademlia.routing import Bucket, RoutingTable

OWN = NodeId(b"\x00")
K_OPEN = 20


def contact(number: int, *, host: int = 1) -> Contact:
    return Contact(NodeId(bytes([number])), Endpoint.of(bytes([127, 0, 0, host]), 8000 + number))


# Four who live in the same bucket, the one of distances 8 to 15, and one who lives elsewhere and proves us online.
ALICE, BOB, CAROL, DAVE = (contact(number) for number in (8, 9, 10, 11))
ZOE = contact(0x80)


def table_of(*members: Contact, k: int = 2, replacements: int | None = None) -> RoutingTable:
    """A table in which the first of `members` answered at time 1, the second at time 2, and so on."""
    table = RoutingTable(OWN, k, replacements=replacements)
    for now, member in enumerate(members, start=1):
        table.on_answer(member, float(now))
    return table


def fails(table: RoutingTable, member: Contact, *, asked_at: float) -> bool:
    """`member` is asked, Zoe answers somebody else, and `member` misses its deadline."""
    table.on_answer(ZOE, asked_at + 0.5)
    return table.on_failure(member.id, member.endpoint, asked_at=asked_at, now=asked_at + 1)


def seats(table: RoutingTable) -> tuple[list[Contact], list[Contact]]:
    """The members and the replacements of the bucket in which id 8 belongs."""
    index = bucket_index(OWN, bytes([8]))
    for bucket in table.buckets():
        if bucket.index == index:
            return list(bucket.contacts), list(bucket.replacements)
    return [], []


# Who enters


def test_a_new_table_knows_nobody() -> None:
    table = RoutingTable(OWN, 2)
    assert len(table) == 0
    assert list(table) == table.closest(b"\x01") == []
    assert table.buckets() == []
    assert table.stale_buckets(99.0) == []
    assert table.last_answer is None
    assert table.is_among_closest(b"\xff")


def test_who_answers_is_a_member() -> None:
    table = RoutingTable(OWN, 2)
    assert table.on_answer(ALICE, 5.0) is None
    assert table.get(ALICE.id) == ALICE
    assert ALICE.id in table
    assert BOB.id not in table
    assert table.get(BOB.id) is None
    assert list(table) == [ALICE]
    assert table.last_answer == 5.0


def test_something_that_is_no_id_is_no_member() -> None:
    assert "alice" not in table_of(ALICE)


def test_a_node_is_not_its_own_contact() -> None:
    table = RoutingTable(OWN, 2)
    assert table.on_answer(Contact(OWN, ALICE.endpoint), 5.0) is None
    assert len(table) == 0
    assert table.last_answer is None, "our own echo proves nobody alive"
    assert OWN not in table
    assert table.get(OWN) is None


def test_an_id_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="2 bytes"):
        RoutingTable(OWN, 2).on_answer(Contact(NodeId(b"\x00\x01"), ALICE.endpoint), 1.0)


def test_members_stand_in_the_order_in_which_they_were_seen() -> None:
    table = table_of(ALICE, BOB, k=3)
    table.on_answer(ALICE, 3.0)
    assert seats(table) == ([BOB, ALICE], [])


def test_buckets_are_shown_nearest_first_and_only_when_filled() -> None:
    table = table_of(ZOE, contact(1), ALICE, BOB, CAROL)
    assert table.buckets() == [
        Bucket(0, (contact(1),), ()),
        Bucket(3, (ALICE, BOB), (CAROL,)),
        Bucket(7, (ZOE,), ()),
    ]
    assert list(table) == [contact(1), ALICE, BOB, ZOE]
    assert len(table) == 4


# A full bucket


def test_a_newcomer_waits_while_the_least_recently_seen_member_is_checked() -> None:
    table = table_of(ALICE, BOB)
    assert table.on_answer(CAROL, 3.0) == ALICE
    assert seats(table) == ([ALICE, BOB], [CAROL])
    assert CAROL.id not in table
    assert table.get(CAROL.id) is None


def test_a_member_that_answers_the_check_keeps_its_seat_and_the_next_one_is_checked_next() -> None:
    table = table_of(ALICE, BOB, CAROL)
    assert table.on_answer(ALICE, 4.0) is None
    assert seats(table) == ([BOB, ALICE], [CAROL])
    assert table.on_answer(DAVE, 5.0) == BOB


def test_a_member_that_fails_the_check_loses_its_seat_to_the_newcomer() -> None:
    table = table_of(ALICE, BOB, CAROL)
    assert fails(table, ALICE, asked_at=4.0)
    assert seats(table) == ([BOB, CAROL], [])
    assert ALICE.id not in table


def test_of_several_replacements_the_most_recently_seen_takes_the_seat() -> None:
    table = table_of(ALICE, BOB, CAROL, DAVE)
    table.on_answer(CAROL, 5.0)
    fails(table, ALICE, asked_at=6.0)
    assert seats(table) == ([BOB, CAROL], [DAVE])


def test_a_promoted_replacement_stands_where_its_last_answer_puts_it() -> None:
    table = table_of(ALICE, BOB, CAROL)
    table.on_answer(ALICE, 4.0)
    fails(table, BOB, asked_at=5.0)
    assert seats(table) == ([CAROL, ALICE], []), "Carol was seen before Alice was"
    assert table.silent_since(4.0) == [CAROL]


def test_the_replacement_cache_keeps_the_most_recently_seen() -> None:
    crowd = [contact(number) for number in range(8, 16)]
    table = table_of(*crowd, k=2)
    assert seats(table) == (crowd[:2], crowd[-2:])
    assert seats(table_of(*crowd, k=2, replacements=1)) == (crowd[:2], crowd[-1:])
    assert seats(table_of(*crowd, k=2, replacements=0)) == (crowd[:2], [])


def test_without_a_replacement_the_seat_stays_free() -> None:
    table = table_of(ALICE, BOB)
    assert fails(table, ALICE, asked_at=3.0)
    assert seats(table) == ([BOB], [])
    assert fails(table, BOB, asked_at=5.0)
    assert [bucket.index for bucket in table.buckets()] == [7]
    assert table.closest(ALICE.id) == [ZOE]
    assert table.rank(ALICE.id) == 0
    assert table.stale_buckets(99.0) == [7], "the emptied bucket is no longer the lowest"


def test_an_emptied_bucket_fills_again() -> None:
    table = table_of(ALICE)
    fails(table, ALICE, asked_at=2.0)
    table.on_answer(BOB, 9.0)
    assert table.closest(ALICE.id) == [BOB, ZOE]


def test_a_member_heard_of_a_moment_ago_is_not_questioned_where_that_was_asked_for() -> None:
    table = RoutingTable(OWN, 1, check_after=60.0)
    table.on_answer(ALICE, 0.0)
    assert table.on_answer(BOB, 59.9) is None
    assert seats(table) == ([ALICE], [BOB])
    assert table.on_answer(CAROL, 60.0) == ALICE


# Failures


def test_when_nobody_answers_it_is_we_who_are_offline() -> None:
    table = table_of(ALICE, BOB, CAROL, ZOE)
    for member in (ALICE, BOB, CAROL, ZOE):
        assert not table.on_failure(member.id, member.endpoint, asked_at=4.0, now=5.0)
    assert seats(table) == ([ALICE, BOB], [CAROL])
    assert len(table) == 3


def test_the_last_member_left_is_not_evicted_for_its_own_silence() -> None:
    table = table_of(ALICE)
    assert not table.on_failure(ALICE.id, ALICE.endpoint, asked_at=2.0, now=3.0)
    assert ALICE.id in table


def test_a_table_that_never_heard_anyone_survives_a_failure() -> None:
    table = RoutingTable(OWN, 2)
    assert not table.on_failure(ALICE.id, ALICE.endpoint, asked_at=2.0, now=3.0)


def test_a_member_that_has_answered_since_it_was_asked_is_alive() -> None:
    table = table_of(ALICE, BOB)
    table.on_answer(ALICE, 6.0)
    assert not fails(table, ALICE, asked_at=5.0)
    assert ALICE.id in table


def test_a_failure_elsewhere_costs_a_member_nothing() -> None:
    table = table_of(ALICE)
    assert not fails(table, contact(8, host=2), asked_at=2.0)
    assert table.get(ALICE.id) == ALICE


def test_the_failure_of_a_stranger_changes_nothing() -> None:
    table = table_of(ALICE)
    assert not fails(table, BOB, asked_at=2.0)
    assert not fails(table, contact(0x40), asked_at=4.0)
    assert set(table) == {ALICE, ZOE}


def test_our_own_id_cannot_fail() -> None:
    table = table_of(ALICE)
    assert not fails(table, Contact(OWN, ALICE.endpoint), asked_at=2.0)
    assert ALICE.id in table


def test_a_replacement_that_fails_is_dropped() -> None:
    table = table_of(ALICE, BOB, CAROL, DAVE)
    assert not fails(table, CAROL, asked_at=5.0), "no member went"
    assert seats(table) == ([ALICE, BOB], [DAVE])
    assert not fails(table, contact(11, host=2), asked_at=6.0)
    assert seats(table) == ([ALICE, BOB], [DAVE]), "Dave failed where he does not live"


def test_a_replacement_is_not_dropped_while_we_are_offline_or_if_it_answered_since() -> None:
    table = table_of(ALICE, BOB, CAROL)
    table.on_failure(CAROL.id, CAROL.endpoint, asked_at=3.0, now=4.0)
    assert seats(table) == ([ALICE, BOB], [CAROL])
    table.on_answer(CAROL, 6.0)
    fails(table, CAROL, asked_at=5.0)
    assert seats(table) == ([ALICE, BOB], [CAROL])


def test_a_failure_before_the_question_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="cannot have failed"):
        table_of(ALICE).on_failure(ALICE.id, ALICE.endpoint, asked_at=5.0, now=4.0)


# A node that moves

ALICE_ELSEWHERE = contact(8, host=2)


def test_a_member_that_answers_from_another_endpoint_moves_its_seat_there_at_once() -> None:
    table = table_of(ALICE, BOB, CAROL)
    assert table.on_answer(ALICE_ELSEWHERE, 4.0) is None
    assert table.get(ALICE.id) == ALICE_ELSEWHERE
    assert seats(table) == ([BOB, ALICE_ELSEWHERE], [CAROL])
    assert not fails(table, ALICE, asked_at=5.0), "a request that is still out to the old endpoint"
    assert fails(table, ALICE_ELSEWHERE, asked_at=7.0)
    assert seats(table) == ([BOB, CAROL], [])


def test_a_replacement_that_answers_from_another_endpoint_is_one_replacement_still() -> None:
    table = table_of(BOB, CAROL, ALICE, DAVE)
    assert table.on_answer(ALICE_ELSEWHERE, 5.0) == BOB
    assert seats(table) == ([BOB, CAROL], [DAVE, ALICE_ELSEWHERE])
    assert fails(table, BOB, asked_at=6.0)
    assert seats(table) == ([CAROL, ALICE_ELSEWHERE], [DAVE])


# Who is closest


def test_the_closest_come_first_and_whoever_asks_is_not_told_of_itself() -> None:
    table = table_of(ALICE, BOB, CAROL, DAVE, ZOE, k=4)
    assert table.closest(b"\x0a", 3) == [CAROL, DAVE, ALICE]
    assert table.closest(b"\x0a") == [CAROL, DAVE, ALICE, BOB]
    assert table.closest(b"\x0a", 3, excluding=CAROL.id) == [DAVE, ALICE, BOB]
    assert table.closest(b"\x0a", 99) == [CAROL, DAVE, ALICE, BOB, ZOE]
    assert table.closest(b"\x0a", 0) == []


one_byte = st.integers(0, 255)


@settings(deadline=None)
@given(st.sets(one_byte), one_byte, one_byte, st.integers(1, 5), st.integers(0, 40), one_byte)
def test_closest_and_rank_agree_with_sorting_everything(
    numbers: set[int], own: int, target: int, k: int, count: int, excluded: int
) -> None:
    table = RoutingTable(NodeId(bytes([own])), k)
    for now, number in enumerate(sorted(numbers, key=lambda n: n * 7919 % 256)):
        table.on_answer(contact(number), float(now))
    goal = bytes([target])
    everyone = sorted(table, key=lambda c: distance(c.id, goal))
    assert table.closest(goal, count) == everyone[:count]
    assert table.closest(goal) == everyone[:k]
    others = [c for c in everyone if c.id[0] != excluded]
    assert table.closest(goal, count, excluding=NodeId(bytes([excluded]))) == others[:count]
    nearer = [c for c in everyone if distance(c.id, goal) < distance(table.own, goal)]
    assert table.rank(goal) == len(nearer)
    assert table.is_among_closest(goal) == (len(nearer) < k)


# Refresh


def test_the_silent_are_named_longest_silent_first() -> None:
    table = table_of(ALICE, ZOE, BOB, contact(1), k=3)
    table.on_answer(ALICE, 5.0)
    assert table.silent_since(4.5) == [ZOE, BOB, contact(1)]
    assert table.silent_since(3.0) == [ZOE], "Bob answered at 3, so he has been heard of since then"
    assert table.silent_since(0.0) == []


def test_a_replacement_is_not_a_member_that_fell_silent() -> None:
    assert table_of(ALICE, CAROL, k=1).silent_since(99.0) == [ALICE]


def test_buckets_are_stale_until_a_lookup_goes_there() -> None:
    table = table_of(ALICE)
    assert table.stale_buckets(0.0) == [3, 4, 5, 6, 7], "from the lowest with members up, the empty ones too"
    table.touch(b"\x28", 10.0)
    table.touch(b"\x80", 20.0)
    assert table.stale_buckets(0.0) == [3, 4, 6]
    assert table.stale_buckets(10.0) == [3, 4, 6]
    assert table.stale_buckets(15.0) == [3, 4, 5, 6]
    assert table.stale_buckets(30.0) == [3, 4, 5, 6, 7]


def test_a_lookup_of_our_own_id_freshens_no_bucket() -> None:
    table = table_of(contact(1))
    table.touch(OWN, 10.0)
    assert table.stale_buckets(5.0) == list(range(8))


def test_answers_alone_freshen_no_bucket() -> None:
    assert table_of(ZOE).stale_buckets(0.5) == [7]


def test_one_that_is_discarded_leaves_from_wherever_it_is() -> None:
    table = RoutingTable(OWN, 2)
    for number in (0x81, 0x82, 0x83, 0x84):
        table.on_answer(contact(number), 1.0)
    for number in (0x83, 0x81):
        table.discard(contact(number).id)
    (bucket,) = table.buckets()
    assert {*bucket.contacts} == {contact(0x82), contact(0x84)}
    assert bucket.replacements == ()
    for number in (0x82, 0x84, 0x85, 0x05):
        table.discard(contact(number).id)
    assert len(table) == 0
    assert table.buckets() == []
    assert table.closest(OWN) == []


# Whose word counts (docs/protocol.md, Counting)


def open_table(k: int = K_OPEN, *, own: bytes = bytes(8)) -> RoutingTable:
    """Of a node of an open network, with ids of eight bytes."""
    return RoutingTable(NodeId(own), k, diversity=Diversity())


def wide(number: int, ip: str) -> Contact:
    return Contact(NodeId(number.to_bytes(8, "big")), Endpoint.from_host(ip, 8000))


def scattered(nodes: int, seed: int) -> list[Contact]:
    """Honest nodes, each in a network of its own."""
    rng = random.Random(seed)
    return [wide(rng.getrandbits(64), f"{place // 250 + 20}.{place % 250}.0.1") for place in range(nodes)]


def fill(table: RoutingTable, contacts: list[Contact]) -> None:
    for now, contact in enumerate(contacts):
        table.on_answer(contact, float(now))


def test_of_one_public_network_two_members_count_once_five_networks_are_known() -> None:
    table = open_table()
    neighbours = [wide(place, f"198.18.7.{place}") for place in range(1, 5)]
    fill(table, neighbours)
    assert table.networks == 1
    assert table.closest(bytes(8)) == neighbours
    assert table.rank(b"\x00" * 7 + b"\xff") == 4
    assert all(table.counts(each.id, bytes(8)) for each in neighbours)
    others = [wide(1 << 40 << place, f"198.{20 + place}.0.1") for place in range(4)]
    fill(table, others)
    assert table.networks == 5
    assert table.closest(bytes(8)) == neighbours[:2] + others + neighbours[2:], "those that count first"
    assert table.closest(bytes(8), 3) == [*neighbours[:2], others[0]]
    assert table.closest(bytes(8), 3, excluding=neighbours[0].id) == [*neighbours[1:3], others[0]]
    assert table.rank(b"\x00" * 7 + b"\xff") == 2
    assert [table.counts(each.id, bytes(8)) for each in neighbours] == [True, True, False, False]
    assert not table.counts(NodeId(b"stranger"), bytes(8))
    # One is gone, and all count again.
    table.discard(others[3].id)
    assert table.networks == 4
    assert all(table.counts(each.id, bytes(8)) for each in neighbours)


def test_a_member_that_moves_counts_with_its_new_network() -> None:
    table = open_table()
    fill(table, [wide(1, "198.18.1.1"), wide(2, "198.18.1.2")])
    table.on_answer(wide(2, "198.18.2.2"), 9.0)
    assert table.networks == 2


def test_a_newcomer_that_counts_takes_the_seat_of_one_that_does_not() -> None:
    table = open_table(k=3)
    displaced: list[Contact] = []
    table.on_displaced = displaced.append
    fill(table, [wide(1 << place, f"198.{20 + place}.0.1") for place in range(5)])
    crowd = [wide(0x8000 + place, f"198.18.7.{place}") for place in range(3)]
    fill(table, crowd)
    one_more = wide(0x8010, "198.18.7.9")
    assert table.on_answer(one_more, 20.0) == crowd[0], "of the crowd's own network: it waits, as in any full bucket"
    assert one_more.id not in table
    newcomer = wide(0x8011, "198.40.0.1")
    assert table.on_answer(newcomer, 21.0) is None
    assert newcomer.id in table
    assert displaced == crowd[:1]
    # Two are left, which count, and they keep their seats.
    another = wide(0x8012, "198.41.0.1")
    table.on_answer(another, 22.0)
    assert another.id not in table
    # A vacant seat is for the one that counts among those that wait, however long ago it was seen.
    table.on_answer(one_more, 23.0)
    table.discard(newcomer.id)
    assert another.id in table


def test_ids_beside_a_target_do_not_take_its_place_from_a_holder() -> None:
    honest = scattered(300, seed=1)
    target = honest[0].id
    table = open_table(own=(int.from_bytes(target, "big") ^ 1 << 50).to_bytes(8, "big"))
    fill(table, honest)
    before = table.closest(target)
    assert table.is_among_closest(target)
    assert table.cover(target) == before
    liars = [wide(int.from_bytes(target, "big") ^ place, f"90.{place}.0.1") for place in range(1, 21)]
    fill(table, liars)
    assert table.is_among_closest(target)
    assert table.rank(target) < 20
    counted = [each for each in table.cover(target) if each in liars]
    assert len(counted) <= 6
    assert set(before) < set(table.cover(target))
    assert all(table.counts(each.id, target) for each in before)
    assert sum(table.counts(each.id, target) for each in liars) == len(counted)
    assert sum(each in liars for each in table.closest(target)) == len(counted)


def test_in_a_closed_network_the_word_of_the_closest_counts_and_of_no_other_member() -> None:
    table = table_of(ALICE, BOB, ZOE)
    assert [table.counts(each.id, ALICE.id) for each in (ALICE, BOB, ZOE)] == [True, True, False]
    table.discard(BOB.id)
    assert table.counts(ZOE.id, ALICE.id)


def test_nodes_that_are_asked_for_the_closest_name_together_all_whose_word_counts() -> None:
    honest = scattered(300, seed=2)
    target = scattered(1, seed=3)[0].id
    number, step = int.from_bytes(target, "big"), (1 << 64) // 300
    # Spread so that most of them count, and the honest ones behind them seem too many.
    liars = [wide(number ^ (place * step // 3 + place), f"90.{place}.0.1") for place in range(20)]
    nearest = sorted(honest, key=lambda each: distance(each.id, target))[:20]
    named: set[Contact] = set()
    for own in nearest[:15]:
        table = open_table(own=own.id)
        fill(table, [each for each in honest + liars if each != own])
        answer = table.named(target, excluding=nearest[9].id)
        assert len(answer) == 20
        assert nearest[9] not in answer
        named |= set(answer)
    assert len(set(nearest) - named) <= 1, "all but the one that asks"


def test_where_all_count_what_is_named_are_the_closest() -> None:
    table = open_table()
    honest = scattered(300, seed=4)
    fill(table, honest)
    for asker in honest[:50]:
        for target in (asker.id, honest[60].id):
            assert table.named(target, excluding=asker.id) == table.closest(target, excluding=asker.id)


def test_in_a_closed_network_all_count() -> None:
    table = RoutingTable(NodeId(bytes(8)), K_OPEN)
    neighbours = [wide(place, f"198.18.7.{place}") for place in range(1, 40)]
    fill(table, neighbours)
    fill(table, [wide(1 << 40 << place, f"198.{20 + place}.0.1") for place in range(8)])
    assert table.networks == 0
    assert table.diversity is None
    assert table.density_at(0) is None
    assert table.closest(bytes(8)) == table.cover(bytes(8))
    assert table.counts(neighbours[3].id, bytes(8))
