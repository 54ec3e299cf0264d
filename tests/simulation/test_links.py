"""What lies between two endpoints: what it does to packets, where it is cut, and whom NATs let in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camomile_trio.errors import ConfigError
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.simulation.links import Cuts, LinkConditions, Links, Nats, StreamConditions, StreamFault

ALICE, BOB, CAROL, DAVE = (Endpoint.parse(f"10.0.0.{number}:8118") for number in (1, 2, 3, 4))
ROUGH = LinkConditions(latency=0.01, jitter=0.02, loss=0.2, duplication=0.2, reordering=0.3, reordering_delay=0.5)


def delays(links: Links, source: Endpoint, destination: Endpoint) -> tuple[float, ...]:
    return tuple(delay for delay, _brought in links.copies(source, destination, b"a packet"))


def test_the_fate_of_packets_follows_from_seed_link_and_number() -> None:
    def fates(seed: int) -> list[tuple[float, ...]]:
        links = Links(seed, ROUGH)
        return [delays(links, ALICE, BOB) for _ in range(50)]

    assert fates(1) == fates(1)
    assert fates(1) != fates(2)


def test_the_fate_of_packets_is_the_same_on_every_machine_and_in_every_version() -> None:
    """A seed that was noted with a failure must give that failure back."""
    links = Links(2019, LinkConditions(latency=0.0, jitter=1.0))
    assert [round(delays(links, ALICE, BOB)[0], 6) for _ in range(3)] == [0.192429, 0.657796, 0.335914]


def test_traffic_on_one_link_does_not_change_another_one() -> None:
    quiet, busy = Links(1, ROUGH), Links(1, ROUGH)
    expected = [delays(quiet, ALICE, BOB) for _ in range(30)]
    fates = []
    for _ in range(30):
        delays(busy, BOB, ALICE)
        delays(busy, ALICE, CAROL)
        fates.append(delays(busy, ALICE, BOB))
    assert fates == expected


def test_a_packet_that_is_too_large_for_a_link_is_lost_and_changes_nothing_for_others() -> None:
    narrow, wide = Links(1, attrs.evolve(ROUGH, largest=100)), Links(1, ROUGH)
    fates = []
    for _ in range(20):
        assert narrow.copies(ALICE, BOB, bytes(101)) == ()
        fates.append([delay for delay, _brought in narrow.copies(ALICE, BOB, bytes(100))])
    assert fates == [[delay for delay, _brought in wide.copies(ALICE, BOB, bytes(100))] for _ in range(20)]
    assert narrow.stream_delay(ALICE, BOB, 1000) > 0.0
    assert Links(1, LinkConditions(largest=100)).plain_delay is None


def test_the_two_ways_between_two_nodes_are_two_links() -> None:
    links = Links(1, ROUGH)
    assert [delays(links, ALICE, BOB) for _ in range(20)] != [delays(links, BOB, ALICE) for _ in range(20)]


@settings(max_examples=50)
@given(st.integers())
def test_delays_stay_within_what_the_conditions_say(seed: int) -> None:
    links = Links(seed, ROUGH)
    for _ in range(20):
        for delay in delays(links, ALICE, BOB):
            assert 0.01 <= delay < 0.01 + 0.02 + 0.5
        assert 0.01 <= links.stream_delay(ALICE, BOB, 100) < 0.01 + 0.02


@pytest.mark.parametrize(
    ("conditions", "copies"),
    [
        (LinkConditions(loss=1.0), 0),
        (LinkConditions(jitter=0.5), 1),
        (LinkConditions(duplication=1.0), 2),
        (LinkConditions(loss=1.0, duplication=1.0), 0),
    ],
)
def test_certain_chances_are_certain(conditions: LinkConditions, copies: int) -> None:
    links = Links(7, conditions)
    assert {len(delays(links, ALICE, BOB)) for _ in range(200)} == {copies}


@pytest.mark.parametrize("chance", [0.05, 0.3, 0.9])
def test_chances_are_met_in_the_long_run(chance: float) -> None:
    count = 4000
    lossy, doubling = Links(3, LinkConditions(loss=chance)), Links(3, LinkConditions(duplication=chance))
    reordering = Links(3, LinkConditions(latency=0.0, reordering=chance, reordering_delay=1.0))
    lost = sum(not delays(lossy, ALICE, BOB) for _ in range(count))
    doubled = sum(len(delays(doubling, ALICE, BOB)) == 2 for _ in range(count))
    held_up = [delay for _ in range(count) if (delay := delays(reordering, ALICE, BOB)[0])]
    tolerance = 4 * math.sqrt(count * chance * (1 - chance))
    assert lost == pytest.approx(count * chance, abs=tolerance)
    assert doubled == pytest.approx(count * chance, abs=tolerance)
    assert len(held_up) == pytest.approx(count * chance, abs=tolerance)
    assert sum(held_up) / len(held_up) == pytest.approx(0.5, abs=0.1)


def test_the_most_specific_conditions_hold() -> None:
    links = Links(1, LinkConditions(latency=1))
    assert links.conditions(ALICE, BOB).latency == 1
    links.set_conditions(None, None, LinkConditions(latency=2))
    assert links.conditions(ALICE, BOB).latency == 2
    links.set_conditions(None, BOB, LinkConditions(latency=3))
    links.set_conditions(ALICE, None, LinkConditions(latency=4))
    links.set_conditions(ALICE, BOB, LinkConditions(latency=5))
    assert links.conditions(ALICE, BOB).latency == 5
    assert links.conditions(ALICE, CAROL).latency == 4
    assert links.conditions(CAROL, BOB).latency == 3
    assert links.conditions(BOB, ALICE).latency == 2
    links.set_conditions(ALICE, BOB, None)
    assert links.conditions(ALICE, BOB).latency == 4


def test_a_cut_is_one_way_until_it_is_healed() -> None:
    links = Links(1, LinkConditions())
    links.cut(ALICE, BOB)
    assert links.is_cut(ALICE, BOB)
    assert not links.is_cut(BOB, ALICE)
    assert not links.is_cut(ALICE, CAROL)
    assert not links.carries_streams(ALICE, BOB)
    links.heal(ALICE, BOB)
    assert not links.is_cut(ALICE, BOB)


def test_a_partition_divides_and_those_not_named_stay_together() -> None:
    dave = Endpoint.parse("10.0.0.4:8118")
    links = Links(1, LinkConditions())
    links.partition([[ALICE, BOB]])
    assert not links.is_cut(ALICE, BOB)
    assert not links.is_cut(CAROL, dave)
    assert links.is_cut(ALICE, CAROL)
    assert links.is_cut(dave, BOB)
    links.partition([[ALICE], [BOB]])
    assert links.is_cut(ALICE, BOB)
    links.cut(CAROL, dave)
    links.heal_all()
    assert not links.is_cut(ALICE, BOB)
    assert not links.is_cut(CAROL, dave)


def test_streams_pass_where_something_passes() -> None:
    links = Links(1, LinkConditions(loss=0.99))
    assert links.carries_streams(ALICE, BOB)
    links.set_conditions(ALICE, BOB, LinkConditions(loss=1.0))
    assert not links.carries_streams(ALICE, BOB)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: LinkConditions(loss=1.1),
        lambda: LinkConditions(duplication=-0.1),
        lambda: LinkConditions(reordering=math.nan),
        lambda: LinkConditions(corruption=2.0),
        lambda: LinkConditions(truncation=-1.0),
        lambda: LinkConditions(latency=-1.0),
        lambda: LinkConditions(jitter=math.inf),
        lambda: StreamConditions(refusal=1.1),
        lambda: StreamConditions(refusal=0.4, reset=0.4, stall=0.4),
        lambda: StreamConditions(bandwidth=0.0),
        lambda: StreamConditions(bandwidth=math.nan),
        lambda: Links(1, LinkConditions()).set_slowness(ALICE, -1.0),
    ],
)
def test_conditions_that_make_no_sense_are_refused(wrong: Callable[[], object]) -> None:
    with pytest.raises(ConfigError) as refusal:
        wrong()
    assert refusal.value.remedy


@pytest.mark.parametrize("conditions", [LinkConditions(latency=0.02), LinkConditions(latency=0.02, jitter=0.01)])
def test_a_slow_node_is_slow_in_and_out_on_top_of_its_links(conditions: LinkConditions) -> None:
    even, slow = Links(1, conditions), Links(1, conditions)
    slow.set_slowness(BOB, 0.5)
    slow.set_slowness(CAROL, 0.25)
    for source, destination, more in ((ALICE, BOB, 0.5), (BOB, ALICE, 0.5), (BOB, CAROL, 0.75)):
        [expected] = delays(even, source, destination)
        assert delays(slow, source, destination) == pytest.approx((expected + more,))
        expected = even.stream_delay(source, destination, 100)
        assert slow.stream_delay(source, destination, 100) == pytest.approx(expected + more)
    slow.set_slowness(BOB, 0.0)
    assert delays(slow, ALICE, BOB) == delays(even, ALICE, BOB)


def test_what_every_packet_takes_is_known_only_while_nothing_sets_one_apart() -> None:
    links = Links(1, LinkConditions(latency=0.02))
    changes: list[tuple[Callable[[], None], Callable[[], None]]] = [
        (lambda: links.cut(ALICE, BOB), lambda: links.heal(ALICE, BOB)),
        (lambda: links.partition([[ALICE]]), links.heal_all),
        (lambda: links.set_slowness(BOB, 1.0), lambda: links.set_slowness(BOB, 0.0)),
        (
            lambda: links.set_conditions(None, BOB, LinkConditions(loss=1.0)),
            lambda: links.set_conditions(None, BOB, None),
        ),
    ]
    known: list[float | None] = []
    for change, take_back in changes:
        for act in (change, take_back):
            act()
            known.append(links.plain_delay)
    assert known == [None, 0.02] * 4
    assert Links(1, LinkConditions(jitter=0.1)).plain_delay is None


@settings(max_examples=100)
@given(st.binary(max_size=50), st.integers())
def test_a_corrupted_datagram_keeps_its_length_and_differs_in_at_most_three_bytes(datagram: bytes, seed: int) -> None:
    links = Links(seed, LinkConditions(corruption=1.0))
    [(_delay, brought)] = links.copies(ALICE, BOB, datagram)
    assert len(brought) == len(datagram)
    flipped = sum(byte != other for byte, other in zip(datagram, brought, strict=True))
    assert flipped in range(1, 4) if datagram else flipped == 0


@settings(max_examples=100)
@given(st.binary(max_size=50), st.integers())
def test_a_truncated_datagram_is_a_shorter_beginning_of_itself(datagram: bytes, seed: int) -> None:
    links = Links(seed, LinkConditions(truncation=1.0))
    [(_delay, brought)] = links.copies(ALICE, BOB, datagram)
    assert datagram.startswith(brought)
    assert len(brought) < len(datagram) or datagram == b""


def test_damage_befalls_the_same_packets_in_the_same_way_and_changes_nothing_else() -> None:
    def copies(conditions: LinkConditions) -> list[tuple[tuple[float, bytes], ...]]:
        links = Links(4, conditions)
        return [tuple(links.copies(ALICE, BOB, bytes(100))) for _ in range(300)]

    damaging = attrs.evolve(ROUGH, corruption=0.3, truncation=0.2)
    rough, damaged = copies(ROUGH), copies(damaging)
    assert copies(damaging) == damaged
    assert [[delay for delay, _ in fate] for fate in damaged] == [[delay for delay, _ in fate] for fate in rough]
    arrived = [fate[0][1] for fate in damaged if fate]
    whole = sum(datagram == bytes(100) for datagram in arrived)
    assert whole / len(arrived) == pytest.approx(0.7 * 0.8, abs=0.1)
    # Of two copies one is whole.
    assert {fate[1][1] for fate in damaged if len(fate) > 1} == {bytes(100)}


def test_streams_meet_their_faults_as_often_as_they_say_and_reproducibly() -> None:
    def faults(seed: int) -> list[StreamFault | None]:
        links = Links(seed, LinkConditions(streams=StreamConditions(refusal=0.2, reset=0.3, stall=0.1)))
        return [links.stream_fault(ALICE, BOB) for _ in range(4000)]

    assert faults(1) == faults(1) != faults(2)
    counts = Counter(faults(1))
    assert counts[None] / 4000 == pytest.approx(0.4, abs=0.04)
    assert counts[StreamFault("refused", is_late=False)] / 4000 == pytest.approx(0.2, abs=0.04)
    for is_late in (False, True):
        assert counts[StreamFault("reset", is_late)] / 4000 == pytest.approx(0.15, abs=0.04)
        assert counts[StreamFault("stalled", is_late)] / 4000 == pytest.approx(0.05, abs=0.02)
    assert sum(counts.values()) == 4000


def test_sound_streams_draw_nothing() -> None:
    links, undisturbed = Links(1, ROUGH), Links(1, ROUGH)
    assert [links.stream_fault(ALICE, BOB) for _ in range(3)] == [None] * 3
    assert delays(links, ALICE, BOB) == delays(undisturbed, ALICE, BOB)


def test_a_message_over_a_stream_takes_time_for_its_length() -> None:
    links = Links(1, LinkConditions(latency=0.5, streams=StreamConditions(bandwidth=1000.0)))
    assert links.stream_delay(ALICE, BOB, 0) == 0.5
    assert links.stream_delay(ALICE, BOB, 4000) == 4.5
    assert delays(links, ALICE, BOB) == (0.5,)


ENDPOINTS = [Endpoint.parse(f"10.0.0.{number}:8118") for number in range(1, 7)]


def test_one_way_the_first_side_hears_the_second_which_does_not_hear_it() -> None:
    cuts = Cuts()
    cuts.partition([[ALICE], [BOB, CAROL]], one_way=True)
    assert not cuts.block(BOB, ALICE)
    assert cuts.block(ALICE, BOB)
    assert not cuts.block(BOB, CAROL)
    # Dave is in no group, so in the last: heard by all, and hearing none of the others.
    assert not cuts.block(DAVE, ALICE)
    assert not cuts.block(DAVE, BOB)
    assert cuts.block(ALICE, DAVE)
    assert cuts.block(BOB, DAVE)


@given(st.lists(st.integers(0, 3), min_size=6, max_size=6))
def test_a_one_way_partition_severs_one_way_what_a_full_one_severs_both_ways(groups: list[int]) -> None:
    sides = [[endpoint for endpoint, group in zip(ENDPOINTS, groups, strict=True) if group == n] for n in range(3)]
    full, one_way = Cuts(), Cuts()
    full.partition(sides)
    one_way.partition(sides, one_way=True)
    for a in ENDPOINTS:
        for b in ENDPOINTS:
            assert full.block(a, b) == full.block(b, a) == (one_way.block(a, b) or one_way.block(b, a))
            assert not (one_way.block(a, b) and one_way.block(b, a))


def test_nobody_is_on_two_sides() -> None:
    cuts = Cuts()
    cuts.partition([[ALICE], [BOB]])
    with pytest.raises(ConfigError, match="two groups"):
        cuts.partition([[ALICE, BOB], [CAROL, BOB]])
    assert cuts.block(ALICE, BOB)
    cuts.partition([[ALICE, ALICE], [BOB]])
    assert cuts.block(ALICE, BOB)


def test_a_new_partition_ends_the_former_one_and_leaves_cuts() -> None:
    cuts = Cuts()
    cuts.cut(CAROL, DAVE)
    cuts.partition([[ALICE], [BOB]], one_way=True)
    cuts.partition([[ALICE, BOB]])
    assert not cuts.block(ALICE, BOB)
    assert cuts.block(CAROL, DAVE)
    cuts.heal_all()
    assert not cuts
    assert not cuts.block(CAROL, DAVE)


def test_only_those_whom_it_wrote_to_get_through_and_only_for_a_while() -> None:
    nats = Nats()
    nats.put(ALICE, 30.0)
    assert not nats.lets_in(0.0, BOB, ALICE)
    nats.note(100.0, ALICE, BOB)
    assert nats.lets_in(130.0, BOB, ALICE)
    assert not nats.lets_in(130.1, BOB, ALICE)
    assert not nats.lets_in(101.0, CAROL, ALICE)
    assert not nats.lets_in(101.0, Endpoint.of(BOB.ip, 9), ALICE)
    # Who is in the open is reached by all, whoever wrote to whom.
    assert nats.lets_in(101.0, ALICE, BOB)


def test_each_writing_keeps_the_way_open_and_receiving_does_not() -> None:
    nats = Nats()
    nats.put(ALICE, 30.0)
    for now in (0.0, 20.0, 40.0):
        nats.note(now, ALICE, BOB)
    nats.note(60.0, BOB, ALICE)
    assert nats.lets_in(70.0, BOB, ALICE)
    assert not nats.lets_in(71.0, BOB, ALICE)


def test_two_behind_nats_meet_once_both_have_written() -> None:
    nats = Nats()
    nats.put(ALICE, 30.0)
    nats.put(BOB, 30.0)
    nats.note(0.0, ALICE, BOB)
    assert not nats.lets_in(0.1, ALICE, BOB)
    nats.note(1.0, BOB, ALICE)
    assert nats.lets_in(1.1, BOB, ALICE)
    assert nats.lets_in(1.1, ALICE, BOB)


def test_a_nat_remembers_nobody_whose_time_is_up() -> None:
    nats = Nats()
    nats.put(ALICE, 10.0)
    for number in range(1000):
        nats.note(float(number), ALICE, Endpoint.of(number.to_bytes(4, "big"), 1))
    assert len(nats.behind[ALICE].written) == 11
    nats.note(5000.0, ALICE, BOB)
    assert list(nats.behind[ALICE].written) == [BOB]


def test_a_new_nat_knows_nobody_and_without_one_everybody_gets_through() -> None:
    nats = Nats()
    nats.put(ALICE, 30.0)
    nats.note(0.0, ALICE, BOB)
    nats.put(ALICE, 60.0)
    assert not nats.lets_in(1.0, BOB, ALICE)
    nats.put(ALICE, None)
    nats.put(ALICE, None)
    assert nats.lets_in(1.0, BOB, ALICE)
    assert not nats.behind


@pytest.mark.parametrize("timeout", [-1.0, math.nan, math.inf])
def test_a_timeout_that_makes_no_sense_is_refused(timeout: float) -> None:
    with pytest.raises(ConfigError, match="timeout"):
        Nats().put(ALICE, timeout)
