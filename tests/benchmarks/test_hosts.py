"""Hosts of the benchmark know each other's place beforehand."""

from __future__ import annotations

from benchmarks.hosts import CLIENTS, neighbours


def test_every_address_has_a_place_of_its_own_that_no_manufacturer_gave() -> None:
    addresses = [CLIENTS, *(f"10.118.{high}.{low}" for high in (0, 1) for low in range(1, 251))]
    lines = [line.split() for line in neighbours("eth0", addresses)]
    places = [line[line.index("lladdr") + 1] for line in lines]
    assert len(set(places)) == len(addresses)
    assert all(int(place[:2], 16) & 0b11 == 0b10 for place in places)  # local, and of one host
    assert all(line[-2:] == ["nud", "permanent"] for line in lines)
