"""How hosts are wired, and what is noticed when the wiring is not as it should be. No namespace is made here."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from tools.hosts import plan
from tools.hosts.command import HostsError, run
from tools.hosts.hosts import Hosts
from tools.hosts.plan import Host

HOSTS = [Host(number) for number in range(3)]


def links() -> list[dict[str, Any]]:
    """What iproute2 says of three hosts that all hear each other, as far as it matters."""
    ports = [port for host in HOSTS for port in (host.port, host.control_port)]
    forwarding = {"info_kind": "veth", "info_slave_data": {"state": "forwarding"}}
    return [
        {"ifname": "lo", "flags": ["LOOPBACK", "UP"]},
        {"ifname": "side0", "flags": ["UP"], "linkinfo": {"info_kind": "bridge"}},
        {"ifname": plan.CONTROL, "flags": ["UP"], "linkinfo": {"info_kind": "bridge"}},
        *({"ifname": port, "flags": ["UP"], "linkinfo": forwarding} for port in ports),
    ]


def masters(lines: list[str]) -> dict[str, str]:
    return {words[2]: words[4] for words in map(str.split, lines) if words[:2] == ["link", "set"] and "master" in words}


def test_every_host_has_addresses_and_names_of_its_own() -> None:
    hosts = [Host(number) for number in range(plan.MOST_HOSTS)]
    addresses = [ipaddress.ip_address(text) for host in hosts for text in (host.address, host.control)]
    assert len({*addresses, ipaddress.ip_address(plan.DRIVER)}) == 2 * len(hosts) + 1
    assert all(address.is_private for address in addresses)
    names = [name for host in hosts for name in (host.port, host.control_port, host.name)]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 15  # the kernel's bound


def test_no_host_is_given_a_way_out() -> None:
    lines = [*plan.wiring(HOSTS), *(line for host in HOSTS for line in plan.wiring_inside(host))]
    assert not [line for line in lines if line.startswith("route") or "default" in line]


def test_a_side_of_a_partition_gets_a_switch_of_its_own() -> None:
    lines = plan.partition(HOSTS, [[0], [1, 2]], switches=1)
    assert masters(lines) == {"peers0": "side0", "peers1": "side1", "peers2": "side1"}
    assert "link add side1 type bridge" in lines


def test_a_switch_that_stands_is_not_made_again() -> None:
    assert not [line for line in plan.partition(HOSTS, [[0], [1, 2]], switches=2) if "add" in line]


def test_who_is_on_no_side_stays_with_the_first() -> None:
    assert masters(plan.partition(HOSTS, [[], [1]], switches=2))["peers2"] == "side0"


def test_healing_brings_all_to_the_first_switch() -> None:
    assert set(masters(plan.partition(HOSTS, [], switches=2)).values()) == {"side0"}


@pytest.mark.parametrize("sides", [[[0], [0, 1]], [[0, 0]], [[3]], [[-1]]], ids=str)
def test_a_partition_that_makes_no_sense_is_refused(sides: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="host"):
        plan.partition(HOSTS, sides, switches=1)


def test_what_stands_has_no_flaw() -> None:
    assert plan.flaws(HOSTS, links()) == []


@pytest.mark.parametrize("name", ["side0", "control", "peers1", "control2"])
def test_what_is_down_is_noticed(name: str) -> None:
    harmed = [{**link, "flags": []} if link["ifname"] == name else link for link in links()]
    assert plan.flaws(HOSTS, harmed) == [f"{name} is down"]


def test_a_missing_port_is_noticed() -> None:
    harmed = [link for link in links() if link["ifname"] != "peers1"]
    assert plan.flaws(HOSTS, harmed) == ["peers1 is missing"]


@pytest.mark.parametrize("slave", [{}, {"info_slave_data": {"state": "disabled"}}], ids=str)
def test_a_port_that_does_not_forward_is_noticed(slave: dict[str, Any]) -> None:
    linkinfo = {"info_kind": "veth", **slave}
    harmed = [{**link, "linkinfo": linkinfo} if link["ifname"] == "peers1" else link for link in links()]
    assert len(plan.flaws(HOSTS, harmed)) == 1


def test_an_interface_of_the_machine_among_them_is_noticed() -> None:
    assert plan.flaws(HOSTS, [*links(), {"ifname": "eth0", "flags": ["UP"]}]) == ["eth0 does not belong here"]


def test_no_host_is_made_outside_of_namespaces_of_its_own() -> None:
    with pytest.raises(HostsError, match="only by a command of run_apart"), Hosts.made(2):
        raise AssertionError("they were made")


def test_a_command_that_fails_is_named_with_what_it_said() -> None:
    with pytest.raises(HostsError, match="sh -c echo why >&2; exit 3 ended with 3: why"):
        run(["sh", "-c", "echo why >&2; exit 3"])
    with pytest.raises(HostsError, match="cannot be run"):
        run(["camomile-has-no-such-command"])
    with pytest.raises(HostsError, match="more than"):
        run(["sleep", "60"], within=0.01)
