"""Whose word counts about a target, and how far a lookup goes.

Rules of this file: ids of eight bytes and the target 0, so that a contact's number is its distance.
"""

from __future__ import annotations

import ipaddress
import math
import random
from unittest import mock

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.counting import (
    PER_NETWORK,
    PER_WIDE_NETWORK,
    Counting,
    Density,
    Diversity,
    Networks,
    density,
    most,
    slack,
)
from camomile_trio.kademlia.ids import NodeId

WIDTH = 8
WHOLE = 1 << (8 * WIDTH)
TARGET = bytes(WIDTH)
K = 20


def at(distance: int, ip: str = "127.0.0.1") -> Contact:
    return Contact(NodeId(distance.to_bytes(WIDTH, "big")), Endpoint.from_host(ip, 8118))


@attrs.frozen
class Known:
    """What a table knows."""

    diversity: Diversity | None = None
    density: Density | None = None
    version: int = 0

    def density_at(self, target: int) -> Density | None:
        return self.density


def counting(*, diversity: Diversity | None = None, density: Density | None = None) -> Counting:
    return Counting(TARGET, Known(diversity, density))


def evenly(nodes: int, *, ip: str = "127.0.0.1") -> list[Contact]:
    """Those of a network of so many nodes, as far from the target as they are on an average; closest first."""
    return [at(WHOLE // nodes * (place + 1) - 1, ip) for place in range(nodes)]


def known(nodes: int, k: int = K) -> Density:
    """What a node of a network of so many nodes finds around itself, exactly."""
    return Density(k, WHOLE // nodes * k, slack(k))


# Diversity


def test_of_one_source_network_the_two_closest_count() -> None:
    neighbours = [at(place, f"198.18.7.{place}") for place in range(1, 6)]
    others = [at(place, f"198.{place}.0.1") for place in range(20, 40)]
    cover = counting(diversity=Diversity()).cover(neighbours + others, K)
    assert cover.counted == neighbours[:2] + others[:18]
    assert (cover.width, cover.is_whole) == (5 + 18, True)


def test_of_one_wide_network_the_eight_closest_count() -> None:
    neighbours = [at(place, f"198.18.{place}.1") for place in range(1, 12)]
    assert counting(diversity=Diversity()).cover(neighbours, K).counted == neighbours[:8]


def test_of_ipv6_the_networks_are_48_and_32_bits_long() -> None:
    neighbours = [at(place, f"2a00:1:{place // 3:x}::{place}") for place in range(18)]
    cover = counting(diversity=Diversity()).cover(neighbours, K)
    assert [contact.id[-1] for contact in cover.counted] == [0, 1, 3, 4, 6, 7, 9, 10]


@pytest.mark.parametrize("ip", ["127.0.0.1", "10.1.2.3", "192.168.1.1", "100.64.0.1", "fd00::1", "203.0.113.9"])
def test_any_number_count_of_private_addresses_and_of_the_operators_own(ip: str) -> None:
    neighbours = [at(place, ip) for place in range(1, 60)]
    trusting = Diversity([ipaddress.ip_network("203.0.113.0/24"), ipaddress.ip_network("2001:db8::/32")])
    cover = counting(diversity=trusting).cover(neighbours, K)
    assert cover.counted == neighbours[:K]
    assert cover.width == K


def test_a_network_beside_a_trusted_one_is_not_trusted() -> None:
    trusting = Diversity([ipaddress.ip_network("203.0.112.0/24")])
    assert trusting.network(bytes([203, 0, 112, 9])) == b""
    assert trusting.network(bytes([203, 0, 113, 9])) == bytes([203, 0, 113])
    # The first bytes of an IPv6 address are no IPv4 network.
    assert trusting.network(bytes([203, 0, 112, 9]) + bytes(12)) != b""


def test_networks_forget_what_is_gone() -> None:
    networks = Networks(Diversity())
    for host in range(3):
        networks.add(bytes([198, 18, 0, host]))
    assert networks.size == 1
    assert networks.is_crowded(bytes([198, 18, 0, 9]))
    assert networks.crowded == 1
    networks.remove(bytes([198, 18, 0, 1]))
    assert not networks.is_crowded(bytes([198, 18, 0, 9]))
    assert networks.crowded == 0
    assert not networks.has_room(bytes([198, 18, 0, 9]))
    networks.remove(bytes([198, 18, 0, 0]))
    assert networks.has_room(bytes([198, 18, 0, 9]))
    networks.remove(bytes([198, 18, 0, 2]))
    assert networks.size == 0


def test_an_ipv4_address_inside_of_an_ipv6_one_counts_with_its_network() -> None:
    inside = [at(1, "198.18.7.1"), at(2, "2002:c612:0702::1"), at(3, "64:ff9b::c612:703"), at(4, "198.18.7.4")]
    assert counting(diversity=Diversity()).cover(inside, K).counted == inside[:2]


# As many as there should be


def test_where_ids_are_spread_evenly_the_cover_is_the_k_closest() -> None:
    honest = evenly(300)
    cover = counting(density=known(300)).cover(honest, K)
    assert cover == (K, honest[:K], True)


def test_of_ids_at_one_spot_a_few_count_and_the_cover_goes_on_to_the_honest_ones() -> None:
    liars = [at(place) for place in range(20)]
    honest = evenly(300)
    cover = counting(density=known(300)).cover(liars + honest, K)
    liars_that_count = [contact for contact in cover.counted if contact in liars]
    assert 0 < len(liars_that_count) <= slack(K) + 1
    assert len(cover.counted) > 2 * len(liars_that_count)
    # More honest ones than liars are stored at, too.
    assert cover.width > 2 * len(liars)


def test_ids_that_are_spread_so_that_each_of_them_counts_are_no_majority_of_a_longer_cover() -> None:
    honest = evenly(300)
    step = WHOLE // 300
    liars = [at(max(place - slack(K), 0) * step * 100 // 127 + place) for place in range(20)]
    both = sorted(liars + honest)
    cover = counting(density=known(300)).cover(both, K)
    lies = sum(contact in liars for contact in cover.counted)
    assert lies > K // 2, "they would be a majority of k"
    assert lies <= len(cover.counted) // 2, "neither can they acknowledge alone"
    assert len(cover.counted) - lies >= len(cover.counted) // 2 + 1, "nor refuse"


def test_without_a_density_the_cover_is_the_k_closest_however_dense_they_are() -> None:
    liars = [at(place) for place in range(30)]
    assert counting().cover(liars, K) == (K, liars[:K], True)


def test_a_cover_of_contacts_that_are_too_few_is_not_whole() -> None:
    assert counting().cover(evenly(5), K) == (5, evenly(5), False)
    dense = [at(place) for place in range(30)]
    cover = counting(density=known(300)).cover(dense, K)
    assert (cover.width, cover.is_whole) == (30, False)
    assert len(cover.counted) <= slack(K) + 1


def test_a_cover_is_never_longer_than_most() -> None:
    dense = [at(place) for place in range(100)]
    cover = counting(density=known(300)).cover(dense, K)
    assert (cover.width, cover.is_whole) == (most(K), True)


def test_those_that_are_surplus_for_their_network_make_no_neighbourhood_dense() -> None:
    neighbours = [at(place, f"198.18.7.{place}") for place in range(1, 31)]
    honest = [at(int.from_bytes(each.id, "big"), f"{place + 1}.0.0.1") for place, each in enumerate(evenly(200))]
    cover = counting(diversity=Diversity(), density=known(200)).cover(neighbours + honest, K)
    assert cover.counted == neighbours[:2] + honest[:18]


# The density


def there_can_be(ids: int) -> float:
    """In the volume in which so many were found, the node itself included."""
    return ids + math.sqrt(ids) + 1 + slack(K)


def test_the_density_is_that_of_the_k_closest_neighbours() -> None:
    neighbours = [100 * (place + 1) for place in range(2 * K)]
    found = density(neighbours, 0, K)
    assert found is not None
    assert found.allowance(2001) == pytest.approx(there_can_be(21))
    assert found.allowance(0) == slack(K)


def test_the_bucket_of_the_target_is_left_out() -> None:
    # 15 below 1024, of which ten are in the bucket of 512 to 1023, and 20 in the bucket of 2048 to 4095.
    neighbours = sorted([*range(100, 600, 100), *range(600, 1000, 40), *range(3000, 3020)])
    beside = density(neighbours, 700, K)
    assert beside is not None
    assert beside.allowance(3015 - 512) == pytest.approx(there_can_be(21))
    beyond = density(neighbours, 5000, K)
    assert beyond is not None
    assert beyond.allowance(3005) == pytest.approx(there_can_be(21))
    edge = density(neighbours, 2500, K)
    assert edge is not None
    assert edge.allowance(2048) == pytest.approx(there_can_be(16))


def test_ids_made_beside_a_target_make_no_room_for_themselves() -> None:
    """Also where this node is so near to the target that they are its closest neighbours."""
    honest = [1 << 40 | place << 32 for place in range(30)]
    liars = [700 + place for place in range(K)]
    found = density(sorted(honest + liars)[: 2 * K], 650, K)
    assert found is not None
    assert found.allowance(1000) < slack(K) + 1


def test_too_few_neighbours_say_nothing() -> None:
    assert density(list(range(1, K)), 0, K) is None
    assert density([700 + place for place in range(K)], 600, K) is None  # all of them beside the target


def test_buckets_that_are_not_filled_yet_are_not_looked_at() -> None:
    """A node that has just joined knows its neighbours, and few of those that are far."""
    neighbours = [*range(100, 2100, 100), 5000, 9000, 20000, 1 << 40]
    for target, volume, ids in ((5, 2000, 21), (1500, 1024, 11)):
        found = density(neighbours, target, K)
        assert found is not None
        assert found.allowance(volume) == pytest.approx(there_can_be(ids), rel=0.01)


@pytest.mark.parametrize("nodes", [20, 50, 300, 1000])
def test_of_random_honest_networks_few_have_a_longer_cover(nodes: int) -> None:
    rng = random.Random(nodes)
    longer = 0
    for _ in range(200):
        ids = [rng.getrandbits(8 * WIDTH) for _ in range(nodes)]
        target, own = rng.getrandbits(8 * WIDTH), ids[0]
        neighbours = sorted(each ^ own for each in ids[1:])[: 2 * K]
        rule = Counting(TARGET, Known(density=density(neighbours, target ^ own, K)))
        cover = rule.cover([at(each) for each in sorted(each ^ target for each in ids[1:])], K)
        longer += cover.width > K or len(cover.counted) < cover.width
    assert longer <= 200 * 0.09


# Laws

ips = st.sampled_from(
    [
        "127.0.0.1",
        "10.0.0.1",
        "198.18.1.1",
        "198.18.1.2",
        "198.18.2.1",
        "198.18.3.1",
        "198.18.4.1",
        "9.9.9.9",
        "8.8.8.8",
    ]
)
neighbourhoods = st.lists(
    st.builds(at, st.integers(0, 40) | st.integers(0, WHOLE - 1), ips), max_size=100, unique_by=lambda each: each.id
).map(sorted)
densities = st.none() | st.builds(Density, st.integers(1, 40), st.integers(1, WHOLE), st.integers(1, 6))
diversities = st.none() | st.just(Diversity())


@settings(deadline=None)
@given(neighbourhoods, densities, diversities, st.integers(1, 25))
def test_whatever_is_there_a_cover_keeps_its_rules(
    contacts: list[Contact], density: Density | None, diversity: Diversity | None, k: int
) -> None:
    rule = counting(diversity=diversity, density=density)
    cover = rule.cover(contacts, k)
    run = contacts[: cover.width]
    assert cover.width <= most(k)
    assert [contact for contact in run if contact in cover.counted] == cover.counted, "in order, and of the run"
    if cover.is_whole:
        assert len(cover.counted) >= k or cover.width == most(k)
        assert rule.cover(run, k) == cover, "what is farther makes no difference"
    else:
        assert cover.width == len(contacts) < most(k), "all that there are"
    # The shortest one.
    assert not any(rule.cover(contacts[:width], k).is_whole for width in range(cover.width))
    if diversity is not None:
        networks = [name for contact in cover.counted if (name := diversity.network(contact.endpoint.ip))]
        assert all(networks.count(name) <= PER_NETWORK for name in networks)
        assert all(sum(each[:2] == name[:2] for each in networks) <= PER_WIDE_NETWORK for name in networks)
        exempt = [contact for contact in run if not diversity.network(contact.endpoint.ip)]
    else:
        exempt = run
    if density is None:
        assert all(contact in cover.counted for contact in exempt), "exempt addresses always count"
    else:
        for place, contact in enumerate(cover.counted):
            assert place < density.allowance(int.from_bytes(contact.id, "big"))
        # As many count as there can be: one is surplus only where they do already.
        for contact in exempt:
            closer = sum(each < contact for each in cover.counted)
            there_can_be = density.allowance(int.from_bytes(contact.id, "big"))
            assert contact in cover.counted or closer >= there_can_be


@settings(deadline=None)
@given(neighbourhoods, densities, diversities, st.integers(1, 25))
def test_the_short_way_says_what_the_long_way_does(
    contacts: list[Contact], density: Density | None, diversity: Diversity | None, k: int
) -> None:
    rule = counting(diversity=diversity, density=density)
    shortly = rule.cover(contacts, k)
    with mock.patch("camomile_trio.kademlia.counting.is_plain", return_value=False):
        assert rule.cover(contacts, k) == shortly
