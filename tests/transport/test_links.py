"""What links do to packets: by chance, but always the same chance."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camomile_trio.errors import ConfigError
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.transport.links import LinkConditions, Links

ALICE, BOB, CAROL = (Endpoint.parse(f"10.0.0.{number}:8118") for number in (1, 2, 3))
ROUGH = LinkConditions(latency=0.01, jitter=0.02, loss=0.2, duplication=0.2, reordering=0.3, reordering_delay=0.5)


def test_the_fate_of_packets_follows_from_seed_link_and_number() -> None:
    def fates(seed: int) -> list[tuple[float, ...]]:
        links = Links(seed, ROUGH)
        return [links.delays(ALICE, BOB) for _ in range(50)]

    assert fates(1) == fates(1)
    assert fates(1) != fates(2)


def test_the_fate_of_packets_is_the_same_on_every_machine_and_in_every_version() -> None:
    """A seed that was noted with a failure must give that failure back."""
    links = Links(2019, LinkConditions(latency=0.0, jitter=1.0))
    assert [round(links.delays(ALICE, BOB)[0], 6) for _ in range(3)] == [0.528065, 0.560645, 0.664651]


def test_traffic_on_one_link_does_not_change_another_one() -> None:
    quiet, busy = Links(1, ROUGH), Links(1, ROUGH)
    expected = [quiet.delays(ALICE, BOB) for _ in range(30)]
    fates = []
    for _ in range(30):
        busy.delays(BOB, ALICE)
        busy.delays(ALICE, CAROL)
        fates.append(busy.delays(ALICE, BOB))
    assert fates == expected


def test_the_two_ways_between_two_nodes_are_two_links() -> None:
    links = Links(1, ROUGH)
    assert [links.delays(ALICE, BOB) for _ in range(20)] != [links.delays(BOB, ALICE) for _ in range(20)]


@settings(max_examples=50)
@given(st.integers())
def test_delays_stay_within_what_the_conditions_say(seed: int) -> None:
    links = Links(seed, ROUGH)
    for _ in range(20):
        for delay in links.delays(ALICE, BOB):
            assert 0.01 <= delay < 0.01 + 0.02 + 0.5
        assert 0.01 <= links.stream_delay(ALICE, BOB) < 0.01 + 0.02


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
    assert {len(links.delays(ALICE, BOB)) for _ in range(200)} == {copies}


@pytest.mark.parametrize("chance", [0.05, 0.3, 0.9])
def test_chances_are_met_in_the_long_run(chance: float) -> None:
    count = 4000
    lossy, doubling = Links(3, LinkConditions(loss=chance)), Links(3, LinkConditions(duplication=chance))
    reordering = Links(3, LinkConditions(latency=0.0, reordering=chance, reordering_delay=1.0))
    lost = sum(not lossy.delays(ALICE, BOB) for _ in range(count))
    doubled = sum(len(doubling.delays(ALICE, BOB)) == 2 for _ in range(count))
    held_up = [delay for _ in range(count) if (delay := reordering.delays(ALICE, BOB)[0])]
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
    assert links.is_severed(ALICE, BOB)
    assert not links.is_severed(BOB, ALICE)
    assert not links.is_severed(ALICE, CAROL)
    assert not links.carries_streams(ALICE, BOB)
    links.heal(ALICE, BOB)
    assert not links.is_severed(ALICE, BOB)


def test_a_partition_divides_and_those_not_named_stay_together() -> None:
    dave = Endpoint.parse("10.0.0.4:8118")
    links = Links(1, LinkConditions())
    links.partition([[ALICE, BOB]])
    assert not links.is_severed(ALICE, BOB)
    assert not links.is_severed(CAROL, dave)
    assert links.is_severed(ALICE, CAROL)
    assert links.is_severed(dave, BOB)
    links.partition([[ALICE], [BOB]])
    assert links.is_severed(ALICE, BOB)
    links.cut(CAROL, dave)
    links.heal_all()
    assert not links.is_severed(ALICE, BOB)
    assert not links.is_severed(CAROL, dave)


def test_streams_pass_where_something_passes() -> None:
    links = Links(1, LinkConditions(loss=0.99))
    assert links.carries_streams(ALICE, BOB)
    links.set_conditions(ALICE, BOB, LinkConditions(loss=1.0))
    assert not links.carries_streams(ALICE, BOB)


@pytest.mark.parametrize(
    "wrong", [{"loss": 1.1}, {"duplication": -0.1}, {"reordering": math.nan}, {"latency": -1.0}, {"jitter": math.inf}]
)
def test_conditions_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        LinkConditions(**wrong)
