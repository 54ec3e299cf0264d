"""Hosts for nodes: a network namespace each, on one bridge; or addresses of loopback where that is not allowed.

Rules of this file: namespaces are made only inside a namespace of the harness's own (`isolation.py`), so nothing of the
machine's network is touched, and all of it is gone with the harness's last process, however that ends. The bridge has
to be up before anything is sent. What nodes send each other is counted at the bridge's ports, for every system alike;
what goes to and from the clients is not.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

PEER_PORT, HTTP_PORT = 8118, 8080
CLIENTS = "10.118.255.254"  # who asks the nodes, on the bridge itself
BRIDGE = "bridge"
FIRST_PEER_PORT, FIRST_HTTP_PORT = 28118, 28600


@attrs.frozen
class Host:
    """One place for a node. `prefix` runs a command there; `port` is the bridge's, "" on loopback."""

    number: int
    address: str
    peer_port: int
    http_port: int
    prefix: Sequence[str] = ()
    port: str = ""

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.http_port}"


@attrs.frozen
class Traffic:
    """Sent between nodes so far; bytes are those of whole frames, Ethernet's 14 included."""

    messages: int
    bytes: int


def loopback(count: int) -> list[Host]:
    return [Host(n, f"127.0.118.{n + 1}", FIRST_PEER_PORT + n, FIRST_HTTP_PORT + n) for n in range(count)]


@attrs.frozen
class Addresses:
    """Which host is where: `of` is told its number. All hosts of `networks` are taken to be on the bridge."""

    of: Callable[[int], str]
    clients: str
    networks: Sequence[str]


PRIVATE = Addresses(lambda number: f"10.118.{number // 250}.{number % 250 + 1}", CLIENTS, ("10.118.0.0/16",))


def bridged(count: int, where: Addresses = PRIVATE) -> list[Host]:
    """Makes the bridge and `count` namespaces on it, and checks that all of it is up."""
    _ip([f"link add {BRIDGE} address {_mac(where.clients)} type bridge mcast_snooping 0"])
    _ip([f"link set {BRIDGE} addrgenmode none", f"addr add {where.clients}/32 dev {BRIDGE}"])
    _ip([f"link set {BRIDGE} up", "link set lo up", *_routes(where, BRIDGE)])
    addresses = [where.of(number) for number in range(count)]
    _ip(neighbours(BRIDGE, addresses))
    hosts = []
    for number, address in enumerate(addresses):
        name, port = f"host{number}", f"port{number}"
        _ip([f"netns add {name}", f"link add {port} type veth peer name eth0 address {_mac(address)} netns {name}"])
        _ip([f"link set {port} addrgenmode none master {BRIDGE}", f"link set {port} up"])
        inside = ["link set lo up", "link set eth0 addrgenmode none", f"addr add {address}/32 dev eth0"]
        others = [each for each in (*addresses, where.clients) if each != address]
        _ip([*inside, "link set eth0 up", *_routes(where, "eth0"), *neighbours("eth0", others)], name)
        prefix = ("nsenter", f"--net=/run/netns/{name}", "--")
        hosts.append(Host(number, address, PEER_PORT, HTTP_PORT, prefix, port))
    for interface in [BRIDGE, *(each.port for each in hosts)]:
        said = subprocess.run(["ip", "-o", "link", "show", interface], check=True, capture_output=True, text=True)
        if ",UP" not in said.stdout:
            raise RuntimeError(f"{interface} is not up, so nothing is sent: {said.stdout.strip()}")
    return hosts


def give_addresses(host: Host, addresses: Sequence[str], known_to: Sequence[Host]) -> None:
    """Further ones beside its own, and the other hosts are told."""
    _ip([f"addr add {each}/32 dev eth0" for each in addresses], f"host{host.number}")
    lines = [f"neigh replace {each} lladdr {_mac(host.address)} dev eth0 nud permanent" for each in addresses]
    for other in known_to:
        _ip(lines, f"host{other.number}")


def swallow_answers(host: Host, network: str, sink: Host) -> None:
    """What the host sends to a network that does not exist goes to another host, which drops it; so the kernel looks
    for no neighbours there, and takes what seems to come from there."""
    _ip([f"route add {network} via {sink.address}"], f"host{host.number}")


def neighbours(interface: str, addresses: Sequence[str]) -> list[str]:
    """Who is where, told for good. The kernel remembers a thousand learned ones for all namespaces together: with fifty
    hosts it would look for them again and again, and drop what is sent meanwhile."""
    return [f"neigh replace {each} lladdr {_mac(each)} dev {interface} nud permanent" for each in addresses]


def _routes(where: Addresses, interface: str) -> list[str]:
    return [f"route add {each} dev {interface}" for each in where.networks]


def _mac(address: str) -> str:
    """A locally administered one that belongs to an IPv4 address."""
    return "02:00:" + ":".join(f"{int(part):02x}" for part in address.split("."))


def _ip(lines: Sequence[str], namespace: str | None = None) -> None:
    command = ["ip", *(["-n", namespace] if namespace else []), "-batch", "-"]
    subprocess.run(command, input="\n".join(lines) + "\n", text=True, check=True, timeout=30)


def parse_interfaces(text: str) -> dict[str, Traffic]:
    """What each interface has received, from /proc/net/dev."""
    found = {}
    for line in text.splitlines()[2:]:
        name, _, numbers = line.partition(":")
        fields = numbers.split()
        found[name.strip()] = Traffic(messages=int(fields[1]), bytes=int(fields[0]))
    return found


def between(interfaces: dict[str, Traffic]) -> Traffic:
    """What all ports received came from nodes; what the bridge itself received of it went to the clients."""
    ports = [each for name, each in interfaces.items() if name.startswith("port")]
    clients = interfaces[BRIDGE]
    return Traffic(
        sum(each.messages for each in ports) - clients.messages,
        # The bridge's own interface counts without the Ethernet header.
        sum(each.bytes for each in ports) - clients.bytes - 14 * clients.messages,
    )


def received(host: Host) -> Traffic:
    """What has come to the host so far, from wherever."""
    command = [*host.prefix, "cat", "/proc/net/dev"]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
    return parse_interfaces(said.stdout)["eth0"]


def sent(host: Host) -> Traffic:
    """What the host has sent so far, to wherever."""
    return parse_interfaces(Path("/proc/self/net/dev").read_text(encoding="ascii"))[host.port]


def traffic(hosts: Sequence[Host]) -> Traffic | None:
    """None on loopback, where nobody can tell whose packets they are."""
    if not all(each.port for each in hosts):
        return None
    return between(parse_interfaces(Path("/proc/self/net/dev").read_text(encoding="ascii")))
