"""Stories of networks that people have, each told by real nodes in namespaces: `python -m tests.networks.stories NAME`.

Rules of this file: a story is a function without arguments, run inside `tools.hosts.world`; an AssertionError tells
what went wrong. The tests are in `test_networks.py`.
"""

from __future__ import annotations

import itertools
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from camomile_trio.network_keys import fingerprint, load_network_keys
from tests.networks.hosts import CAMOMILE, Host, Running, address, cable, switch
from tools.hosts.command import HostsError, run
from tools.hosts.world import RUN, check_apart


def _two_addresses(listen: str, joined_at: str, *others: str) -> None:
    """A host that listens on the wildcard is joined by its second address, over UDP and TCP, and speaks back so."""
    alice, bob = Host.made("alice"), Host.made("bob")
    cable(alice, bob)
    address(alice, "cable", "10.9.0.1/24", "10.9.1.1/24", "fd09::1/64", "fd09:1::1/64")
    address(bob, "cable", "10.9.0.2/24", "fd09::2/64")
    # To the second address there is a route, as to any host on the Internet; bob has no address beside it.
    bob.ip("route add 10.9.1.0/24 dev cable")
    bob.ip("route add fd09:1::/64 dev cable")
    original = alice.node(listen=listen)
    original.wait_for("ready")
    joining = bob.node("--join", joined_at, *others, listen=listen)
    joining.wait_for("ready")
    for node, size in ((joining, 100), (joining, 100_000), (original, 100), (original, 100_000)):
        value = (f"{node.host.name} says {size} " * size)[:size]
        node.command("put", "-", given=value)  # of two holders both have to acknowledge
    for node in (original, joining):
        assert not node.events("a peer answers by UDP but not by TCP"), node.events()


def two_addresses_of_ipv4() -> None:
    _two_addresses("0.0.0.0:8118", "10.9.1.1:8118")


def two_addresses_of_ipv6() -> None:
    _two_addresses("[::]:8118", "[fd09:1::1]:8118")


def two_addresses_of_ipv4_at_a_node_open_to_both() -> None:
    _two_addresses("[::]:8118", "10.9.1.1:8118")


def an_address_that_goes() -> None:
    """The address by which the peer came is taken away: from then on the system chooses again."""
    alice, bob = Host.made("alice"), Host.made("bob")
    cable(alice, bob)
    address(alice, "cable", "10.9.0.1/24", "10.9.1.1/24")
    address(bob, "cable", "10.9.0.2/24")
    bob.ip("route add 10.9.1.0/24 dev cable")
    original = alice.node(listen="0.0.0.0:8118")
    original.wait_for("ready")
    joining = bob.node("--join", "10.9.1.1:8118", listen="0.0.0.0:8118")
    joining.wait_for("ready")
    alice.ip("addr del 10.9.1.1/24 dev cable")
    original.command("put", "after the change")
    original.command("put", "-", given="x" * 100_000)


def a_silent_name_server() -> None:
    """The first of two names cannot be resolved, since no name server answers: the node has joined by the second long
    before that is known."""
    (RUN / "resolv.conf").write_text("nameserver 10.9.0.99\n", "ascii")
    run(["mount", "--bind", str(RUN / "resolv.conf"), "/etc/resolv.conf"])
    alice = Host.made("alice")
    address(alice, "lo", "10.9.0.1/32", "10.9.0.2/32", "10.9.0.99/32")
    alice.filter("input ip daddr 10.9.0.99 drop")
    original = alice.node(listen="10.9.0.1:8118")
    original.wait_for("ready")
    joining = alice.node("--join", "gone.example:8118", "--join", "10.9.0.1:8118", listen="10.9.0.2:8118")
    joining.wait_for("ready")
    assert not joining.events("cannot resolve a name to join, will go on trying")
    joining.stop()
    # And so by what it remembers, where the only name that it was told of is the silent one.
    again = alice.node("--join", "gone.example:8118", listen="10.9.0.2:8118", directory="alice2")
    again.wait_for("ready")
    assert not again.events("cannot resolve a name to join, will go on trying")


def tcp_is_closed() -> None:
    """A firewall drops TCP: small values are stored, a large one is refused with the reason, which the log has too."""
    alice, bob = Host.made("alice"), Host.made("bob")
    cable(alice, bob)
    address(alice, "cable", "10.9.0.1/24")
    address(bob, "cable", "10.9.0.2/24")
    for host in (alice, bob):
        host.filter("input tcp dport 8118 drop")
    original = alice.node(listen="0.0.0.0:8118")
    original.wait_for("ready")
    joining = bob.node("--join", "10.9.0.1:8118", listen="0.0.0.0:8118")
    joining.wait_for("ready")
    joining.command("put", "small")
    said = joining.command("put", "-", given="x" * 100_000, ends_with=5)
    assert "TCP failed to 1 nodes that answer by UDP" in said, said
    line = joining.wait_for("a peer answers by UDP but not by TCP")
    assert line["peer"] == "10.9.0.1:8118"


def a_narrow_path() -> None:
    """A router whose second link takes 1100 bytes drops what is larger, and a firewall drops its ICMP."""
    alice, router, bob = Host.made("alice"), Host.made("router"), Host.made("bob")
    cable(alice, router, name="wide")
    cable(router, bob, name="narrow", mtu=1100)
    address(alice, "wide", "10.9.0.1/24")
    address(router, "wide", "10.9.0.254/24")
    address(router, "narrow", "10.9.1.254/24")
    address(bob, "narrow", "10.9.1.1/24")
    bob.ip("link set narrow mtu 1500")  # of what is beyond the router's link nobody knows
    router.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
    router.filter("output icmp type destination-unreachable drop")
    alice.ip("route add default via 10.9.0.254")
    bob.ip("route add default via 10.9.1.254")
    original = alice.node(listen="0.0.0.0:8118")
    original.wait_for("ready")
    joining = bob.node("--join", "10.9.0.1:8118", listen="0.0.0.0:8118")
    joining.wait_for("ready")
    for size in (100, 1000, 1010, 100_000):
        original.command("put", "-", given="x" * size)  # of two holders both have to acknowledge
    assert "wide" in router.run("ip", "-s", "link")


def a_copied_data_directory() -> None:
    """The copy is started beside its original, and joins it."""
    alice, bob = Host.made("alice"), Host.made("bob")
    cable(alice, bob)
    address(alice, "cable", "10.9.0.1/24")
    address(bob, "cable", "10.9.0.2/24")
    first = alice.node(listen="0.0.0.0:8118", directory="data")
    first.wait_for("ready")
    first.stop()
    shutil.copytree(RUN / "data", RUN / "copy")
    original = alice.node(listen="0.0.0.0:8118", directory="data")
    original.wait_for("ready")
    copy = bob.node("--join", "10.9.0.1:8118", listen="0.0.0.0:8118", directory="copy")
    line = copy.wait_for("another node names the key of this one as its own")
    assert line["at"] == "10.9.0.1:8118"
    assert any("same identity" in each["because"] for each in copy.events("not ready"))
    assert "same identity" in copy.command("put", "anything", ends_with=5)
    original.command("put", "anything")


def slow_streams() -> None:
    """A stranger holds 64 slow streams from 8 addresses to a node, which still stores what comes by TCP."""
    alice, bob, stranger = Host.made("alice"), Host.made("bob"), Host.made("stranger")
    cable(alice, bob)
    cable(alice, stranger, name="outside")
    address(alice, "cable", "10.9.0.1/24")
    address(bob, "cable", "10.9.0.2/24")
    address(alice, "outside", "10.9.8.1/24")
    ips = [f"10.9.8.{number}" for number in range(2, 10)]
    address(stranger, "outside", *(f"{ip}/24" for ip in ips))
    original = alice.node(listen="0.0.0.0:8118")
    original.wait_for("ready")
    joining = bob.node("--join", "10.9.0.1:8118", listen="0.0.0.0:8118")
    joining.wait_for("ready")
    hostile = stranger.start(sys.executable, "-m", "tests.networks.slow_streams", "10.9.8.1:8118", *ips)
    original.wait_for_metric("camomile_stream_connections", 30)  # all places of strangers
    for number in range(8):
        joining.command("put", "-", given=f"{number} " * 2500)  # of two holders both have to acknowledge
    assert hostile.poll() is None
    assert float(original.metric("camomile_streams_refused_total")) >= 1
    assert float(original.metric("camomile_stream_connections")) <= 64


def forged_sources() -> None:
    """A stranger floods a node in the name of its only peer, from two ports of the peer's address: the two go on
    storing what needs both."""
    alice, bob, stranger = Host.made("alice"), Host.made("bob"), Host.made("stranger")
    cable(alice, bob)
    cable(alice, stranger, name="outside")
    for device in ("all", "cable", "outside"):  # the way from outside does not show whose addresses live there
        alice.run("sysctl", "-q", "-w", f"net.ipv4.conf.{device}.rp_filter=0")
    address(alice, "cable", "10.9.0.1/24")
    address(bob, "cable", "10.9.0.2/24")
    address(alice, "outside", "10.9.8.1/24")
    address(stranger, "outside", "10.9.8.2/24")
    original = alice.node(listen="0.0.0.0:8118")
    original.wait_for("ready")
    joining = bob.node("--join", "10.9.0.1:8118", listen="0.0.0.0:8118")
    joining.wait_for("ready")
    joining.command("put", "before the flood")
    forged = ["--forge", "10.9.0.2:8118", "--forge", "10.9.0.2:9", "--rate", "20000", "--seconds", "300"]
    stranger.start(sys.executable, "-m", "benchmarks.hostile", "unknown index", "10.9.8.1:8118", *forged)
    original.wait_for_metric("camomile_datagrams_unseen_total", 1000)
    for number in range(8):
        joining.command("put", f"{number} of bob's")
        original.command("put", f"{number} of alice's")
    assert not joining.events("no contact answers")
    unseen = float(original.metric("camomile_datagrams_unseen_total"))
    original.wait_for_metric("camomile_datagrams_unseen_total", unseen + 1000)  # all the while


def _closed_node(host: Host, key: Path, *, listen: str = "0.0.0.0:8118") -> Running:
    """A node with its own copy of the key file. All but alice's join hers."""
    own = RUN / f"{host.name}-{listen[-4:]}.key"
    shutil.copy(key, own)  # with its mode
    join = () if host.name == "alice" else ("--join", "10.9.0.1:8118")
    return host.node("--network-key", str(own), *join, listen=listen, directory=own.stem)


def _fingerprints(key: Path) -> list[str]:
    return [fingerprint(each) for each in load_network_keys(key)]


def _change_keys(step: str, operator: Path, nodes: Sequence[Running]) -> None:
    """The operator makes a step of the change, copies the file to one host after another, and tells each node."""
    run([CAMOMILE, "key", "network", step, str(operator)])
    expected = _fingerprints(operator)
    for node in nodes:
        shutil.copy(operator, RUN / f"{node.host.name}-8118.key")
        node.process.send_signal(signal.SIGHUP)
        node.wait_until(lambda status: [each["fingerprint"] for each in status["network_keys"]] == expected)


@contextmanager
def _putting(nodes: Sequence[Running]) -> Iterator[list[str]]:
    """All the while values are put at these, one after another; the status of each put."""
    outcomes: list[str] = []
    is_over = threading.Event()

    def put() -> None:
        for number in itertools.count():
            if is_over.is_set():
                return
            node = nodes[number % len(nodes)]
            url = f"http://127.0.0.1:{node.http}/"
            curl = ("curl", "-sS", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}")
            try:
                outcomes.append(node.host.run(*curl, "-F", f"value=the {number}. value", url))
            except HostsError as error:
                outcomes.append(str(error))

    putting = threading.Thread(target=put)
    putting.start()
    try:
        yield outcomes
    finally:
        is_over.set()
        putting.join()


def a_key_that_changes() -> None:
    """A closed network changes its key, host by host, while values are put: no put fails. A host with another key, and
    later one with the old key, hear nothing from it."""
    hosts = [Host.made(name) for name in ("alice", "bob", "carol", "dave")]
    eve = Host.made("eve")
    switch(*hosts, eve)
    for number, host in enumerate((*hosts, eve), 1):
        address(host, "cable", f"10.9.0.{number}/24")
    operator = RUN / "operator.key"
    for file in (operator, RUN / "another.key"):
        run([CAMOMILE, "key", "network", "new", str(file)])
    shutil.copy(operator, RUN / "old.key")
    nodes = [_closed_node(host, operator) for host in hosts]
    stranger = _closed_node(eve, RUN / "another.key", listen="0.0.0.0:8118")
    for node in nodes:
        node.wait_for("ready")
    with _putting(nodes[:3]) as outcomes:
        _change_keys("add", operator, nodes)
        _change_keys("promote", operator, nodes)
        for node in nodes:
            node.wait_until(lambda status: status["network_keys"][1]["sessions"] == 0, within=90.0)
        # One of them does not re-read the last file, but starts again with it.
        nodes[3].stop()
        _change_keys("remove", operator, nodes[:3])
        nodes[3] = _closed_node(hosts[3], operator)
        nodes[3].wait_for("ready")
        put = len(outcomes)
        nodes[0].wait_until(lambda status: len(outcomes) > put + 20)
    assert set(outcomes) == {"202"}, outcomes
    for node in nodes:
        status = node.wait_until(lambda status: status["network_keys"][0]["sessions"] == 3)
        assert [each["fingerprint"] for each in status["network_keys"]] == _fingerprints(operator)
        assert not node.events("sessions have ended with a removed network key")
    late = _closed_node(eve, RUN / "old.key", listen="0.0.0.0:8119")
    for each in (stranger, late):
        each.wait_for("listening")
        each.wait_until(lambda status: "another network or network key" in status["not_ready_because"])
        assert float(each.metric("camomile_transport_sent_bytes_total")) > 0
        assert float(each.metric("camomile_transport_received_bytes_total")) == 0
    secrets = [line for file in RUN.glob("*.key") for line in file.read_text("ascii").split()]
    for log in RUN.glob("*.log"):
        assert not any(secret in log.read_text("utf-8") for secret in secrets), log


STORIES: dict[str, Callable[[], None]] = {
    story.__name__: story
    for story in (
        two_addresses_of_ipv4,
        two_addresses_of_ipv6,
        two_addresses_of_ipv4_at_a_node_open_to_both,
        an_address_that_goes,
        a_silent_name_server,
        tcp_is_closed,
        a_narrow_path,
        a_copied_data_directory,
        slow_streams,
        forged_sources,
        a_key_that_changes,
    )
}

if __name__ == "__main__":
    check_apart()
    STORIES[sys.argv[1]]()
