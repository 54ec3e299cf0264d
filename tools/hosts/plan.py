"""Which hosts there are and how they are wired, as lines for iproute2.

Rules of this file: pure. Every host has two cables. The one called `peers` is what the hosts have for each other and
what faults harm; the one called `control` leads to the driver, which is therefore heard in every partition. The driver
has no place on the peers' switch, and hosts speak to each other over control only if they are told those addresses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs

MOST_HOSTS = 200
PEERS, CONTROL = "peers", "control"  # a host's own two interfaces; `control` is also the driver's switch
DRIVER = "10.99.0.1"
_FIRST = 10  # the last byte of host 0's addresses


@attrs.frozen
class Host:
    number: int

    @property
    def name(self) -> str:
        """Of its namespace."""
        return f"h{self.number}"

    @property
    def address(self) -> str:
        """Where other hosts reach it."""
        return f"10.98.0.{_FIRST + self.number}"

    @property
    def control(self) -> str:
        """Where the driver reaches it, whatever is cut."""
        return f"10.99.0.{_FIRST + self.number}"

    @property
    def port(self) -> str:
        """The switch's end of its cable to the peers."""
        return f"{PEERS}{self.number}"

    @property
    def control_port(self) -> str:
        return f"{CONTROL}{self.number}"


def switch(side: int) -> str:
    """The switch of one side of a partition; all hosts are at 0 while there is none."""
    return f"side{side}"


def wiring(hosts: Sequence[Host]) -> list[str]:
    """What the driver's namespace needs: both switches, the namespaces, and the cables."""
    lines = ["link set lo up", *_switch_lines(switch(0)), *_switch_lines(CONTROL)]
    lines.append(f"addr add {DRIVER}/24 dev {CONTROL}")
    for host in hosts:
        lines.append(f"netns add {host.name}")
        for port, master, far_end in ((host.port, switch(0), PEERS), (host.control_port, CONTROL, CONTROL)):
            lines.append(f"link add {port} type veth peer name {far_end} netns {host.name}")
            lines.append(f"link set {port} addrgenmode none master {master} up")
    return lines


def wiring_inside(host: Host) -> list[str]:
    """What the host's own namespace needs. There is no default route."""
    lines = ["link set lo up"]
    for interface, address in ((PEERS, host.address), (CONTROL, host.control)):
        lines += [
            f"link set {interface} addrgenmode none",
            f"addr add {address}/24 dev {interface}",
            f"link set {interface} up",
        ]
    return lines


def partition(hosts: Sequence[Host], sides: Sequence[Iterable[int]], switches: int) -> list[str]:
    """Lines that put the hosts of each side at a switch of their own, where `switches` are there already.

    Hosts that are on no side stay with the first. ValueError for a host that is on two sides, or unknown.
    """
    side_of = dict.fromkeys((host.number for host in hosts), 0)
    named = [(number, side) for side, numbers in enumerate(sides) for number in numbers]
    if len({number for number, _ in named}) != len(named):
        raise ValueError("a host is on two sides")
    for number, side in named:
        if number not in side_of:
            raise ValueError(f"there is no host {number}")
        side_of[number] = side
    lines = [line for side in range(switches, len(sides)) for line in _switch_lines(switch(side))]
    return [*lines, *(f"link set {host.port} master {switch(side_of[host.number])}" for host in hosts)]


def removal(hosts: Sequence[Host], switches: int) -> list[str]:
    ports = [port for host in hosts for port in (host.port, host.control_port)]
    names = [*ports, CONTROL, *(switch(side) for side in range(switches))]
    return [*(f"link delete {name}" for name in names), *(f"netns delete {host.name}" for host in hosts)]


def flaws(hosts: Sequence[Host], links: Sequence[dict[str, Any]]) -> list[str]:
    """What is not as it should be in what `ip -json -details link show` says; empty when all may speak."""
    seen = {link["ifname"]: link for link in links}
    wanted = {"lo", CONTROL, *(port for host in hosts for port in (host.port, host.control_port))}
    found = [f"{name} is missing" for name in sorted(wanted - seen.keys())]
    for name, link in seen.items():
        kind = link.get("linkinfo", {}).get("info_kind")
        if name not in wanted and kind != "bridge":
            found.append(f"{name} does not belong here")
        elif name != "lo" and "UP" not in link["flags"]:
            found.append(f"{name} is down")
        elif kind == "veth":
            state = link["linkinfo"].get("info_slave_data", {}).get("state")
            if state != "forwarding":
                found.append(f"{name} is at no switch, or {state}")
    return found


def _switch_lines(name: str) -> list[str]:
    return [f"link add {name} type bridge", f"link set {name} addrgenmode none up"]
