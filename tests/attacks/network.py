"""The network that is attacked: real nodes on hosts of their own, asked from outside over HTTP.

Rules of this file: it judges nothing. Honest nodes have public addresses, two of a /16 and one of a /24, so that no
rule of diversity concerns them; nothing of these addresses' owners is reached, since the namespaces lead nowhere. What
a node keeps is asked of its control socket, which costs the network nothing.
"""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count, repeat
from pathlib import Path

import attrs

from benchmarks import load
from benchmarks.figures import percentile
from benchmarks.hosts import Addresses, Host, bridged, give_addresses, swallow_answers
from benchmarks.overload import sink_at, until_killed
from benchmarks.processes import Process, ask, running
from benchmarks.systems import Camomile
from camomile_trio.kademlia.ids import Key, as_int

# Global addresses: 198.18.0.0/15 has two /16, and eight of a /16 count.
HONEST, ATTACKERS, DEAD, PRIVATE = "50", "60", "70", "192.168"
WHERE = Addresses(
    lambda number: f"{HONEST}.{number // 2}.{number % 2}.1", "198.18.0.1", ("50.0.0.0/8", "60.0.0.0/8", "198.18.0.0/15")
)
FORGED = "10.9.0.0/16"  # where benchmarks/hostile.py forges its sources
IPS = 12  # of the attacker
VICTIMS_IP = "60.99.0.1"  # of the sink, as a third party
TRIO = 3
SETTLED_AFTER = 20.0
REPLICATE_EVERY = 30  # s
VAULT_SIZE = "4MiB"
CALM_WITHIN = 25.0  # s until the attacker's nodes have lost their seats
ATTACK_PATIENCE = 240.0
HTTP_PATIENCE = 30.0
ASKED_AT_ONCE = 16


@attrs.frozen
class Said:
    """What a node answered, and after how many seconds. Status 0: nothing."""

    status: int
    seconds: float
    body: bytes = b""


def say(host: Host, method: str, path: str, body: bytes | None = None) -> Said:
    began = time.monotonic()
    connection = http.client.HTTPConnection(host.address, host.http_port, timeout=HTTP_PATIENCE)
    headers = {"Content-Type": "application/octet-stream"} if body is not None else {}
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return Said(answer.status, time.monotonic() - began, answer.read())
    except (OSError, http.client.HTTPException):
        return Said(0, time.monotonic() - began)
    finally:
        connection.close()


@attrs.frozen
class Traffic:
    """Requests of users, beside an attack or the control."""

    loads: Sequence[load.Load]

    @property
    def asked(self) -> int:
        return sum(len(each.times) + each.failed for each in self.loads)

    @property
    def done(self) -> int:
        return sum(len(each.times) for each in self.loads)

    @property
    def share(self) -> float:
        return self.done / max(1, self.asked)

    @property
    def p50(self) -> float | None:
        return percentile(sorted(each for one in self.loads for each in one.times), 0.5)


@attrs.frozen
class Node:
    """An honest node: what it tells of itself."""

    host: Host
    id: bytes
    key: str
    socket: Path

    @property
    def named(self) -> str:
        return f"{self.host.address}:{self.host.peer_port}#{self.key}"


@attrs.define(eq=False)
class Network:
    """`nodes`: the honest ones of the network, `most` of them. `vault` is one more of them, with little room.
    `closed`: three nodes with a network key. `decoy`: a node of another network, for controls."""

    most: int
    directory: Path
    hostile: Host
    sink: Host
    hosts: Sequence[Host]
    stack: ExitStack
    nodes: list[Node] = attrs.field(factory=list)
    vault: Node = attrs.field(init=False)
    closed: list[Node] = attrs.field(factory=list)
    decoy: Node = attrs.field(init=False)
    processes: list[Process] = attrs.field(factory=list)
    starts: int = 0
    wiped: int = 0
    _system: Camomile = attrs.field(factory=Camomile)
    _labels: count[int] = attrs.field(factory=count)
    _main: ExitStack = attrs.field(factory=ExitStack)

    @classmethod
    @contextmanager
    def made(cls, nodes: int, directory: Path) -> Iterator[Network]:
        """The hosts, and all nodes ready."""
        *hosts, hostile, sink = bridged(nodes + 1 + TRIO + 1 + 2, WHERE)
        for host in hosts:
            swallow_answers(host, f"{DEAD}.0.0.0/8", sink)
            swallow_answers(host, f"{PRIVATE}.0.0/16", hostile)
            swallow_answers(host, FORGED, sink)
        swallow_answers(sink, FORGED, hostile)
        give_addresses(hostile, [f"{ATTACKERS}.{number}.0.1" for number in range(IPS)], [*hosts, sink])
        give_addresses(hostile, [f"{PRIVATE}.77.1"], [*hosts, sink])
        give_addresses(sink, [VICTIMS_IP], hosts)
        with ExitStack() as stack:
            network = cls(nodes, directory, hostile, sink, hosts, stack)
            stack.callback(network._main.close)
            stack.enter_context(until_killed(sink_at(sink)))
            network.start()
            network._start_others()
            yield network

    def start(self) -> None:
        """All nodes of the network anew, with nothing on their disks."""
        self._main.close()
        self._main = ExitStack()
        self.starts += 1
        directory = self._empty("main")
        hosts = self.hosts[: self.most + 1]
        log = self.directory / f"nodes{self.starts}.log"
        self.processes = self._main.enter_context(running(hosts, self._command, self._system.is_ready, log))
        time.sleep(SETTLED_AFTER)
        *self.nodes, self.vault = (self._node(host, directory / str(host.number)) for host in hosts)

    def _command(self, host: Host) -> list[str]:
        own = ["--replicate-interval", str(REPLICATE_EVERY)]
        if host.number == self.most:
            own += ["--max-storage", VAULT_SIZE]
        return [*self._system.command(host, self.hosts[0], self.directory / "main"), *own]

    def _start_others(self) -> None:
        secret = self.directory / "network.key"
        camomile = str(Path(sys.executable).with_name("camomile"))
        subprocess.run([camomile, "key", "network", "new", str(secret)], check=True, capture_output=True, timeout=60)
        self.closed = self._apart("closed", self.hosts[self.most + 1 :][:TRIO], "--network-key", str(secret))
        (self.decoy,) = self._apart("decoy", self.hosts[-1:], "--network", "decoy")

    def _apart(self, name: str, hosts: Sequence[Host], *options: str) -> list[Node]:
        directory = self._empty(name)
        numbered = [attrs.evolve(host, number=number) for number, host in enumerate(hosts)]

        def command(host: Host) -> list[str]:
            return [*self._system.command(host, numbered[0], directory), *options]

        log = self.directory / f"{name}.log"
        self.stack.enter_context(running(numbered, command, self._system.is_ready, log))
        return [self._node(host, directory / str(one.number)) for host, one in zip(hosts, numbered, strict=True)]

    def _empty(self, name: str) -> Path:
        directory = self.directory / name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        return directory

    def _node(self, host: Host, directory: Path) -> Node:
        status = json.loads(ask(host, "/-/node")[1])
        return Node(host, bytes.fromhex(status["id"]), status["node_key"], directory / "control.sock")

    def wipe(self, *nodes: Node) -> None:
        """Kills these nodes, takes all that they kept but their keys, and starts them again."""
        chosen = [each for each in self.processes if any(each.host == node.host for node in nodes)]
        for process in chosen:
            process.kill()
            self.processes.remove(process)
        for node in nodes:
            for file in node.socket.parent.iterdir():
                if file.name != "node.key":
                    file.unlink()
        hosts = [each.host for each in nodes]
        self.wiped += 1
        log = self.directory / f"wiped{self.wiped}.log"
        self.processes += self._main.enter_context(running(hosts, self._command, self._system.is_ready, log))

    @property
    def honest(self) -> list[Node]:
        return [*self.nodes, self.vault]

    def holders(self, key: bytes) -> list[Node]:
        """The honest nodes, the closest to the key first."""
        number = as_int(key)
        return sorted(self.honest, key=lambda each: as_int(each.id) ^ number)

    # Users -----------------------------------------------------------------------------------------------------------

    def prepared(self, number: int, *, size: int = 100, at: int = 1) -> list[str]:
        """So many values are put; those that were stored."""
        label = f"p{next(self._labels)}"
        heads, tail = load.values(label, number, size)
        done = self._send(self._system.puts(heads, tail), self.nodes[at], min(4, number), 60, (202,), None)
        return [heads[each] + tail for each in done.done]

    def puts(
        self, at: Sequence[Node], seconds: int, per_second: float, *, size: int = 100, concurrent: int = 1
    ) -> Traffic:
        """Users who put at these nodes, so many at once at each."""

        def plan(node: Node) -> load.Load:
            number = int(seconds * per_second)
            heads, tail = load.values(f"a{next(self._labels)}", number, size)
            return self._send(self._system.puts(heads, tail), node, concurrent, seconds, (202,), per_second)

        return self._together(plan, at)

    def gets(self, at: Sequence[Node], values: Sequence[str], seconds: int, per_second: float) -> Traffic:
        """Users who get these values, each at one of these nodes."""

        def plan(node: Node) -> load.Load:
            mine = values[at.index(node) :: len(at)]
            return self._send(self._system.gets(mine, ""), node, 1, seconds, (200,), per_second)

        return self._together(plan, at)

    def _together(self, call: Callable[[Node], load.Load], at: Sequence[Node]) -> Traffic:
        loads: list[load.Load] = []
        threads = [threading.Thread(target=lambda node=node: loads.append(call(node))) for node in at]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return Traffic(loads)

    def _send(
        self, plan: load.Plan, node: Node, concurrent: int, seconds: int, wanted: Sequence[int], pace: float | None
    ) -> load.Load:
        return load.send(
            plan,
            node.host.url,
            concurrent=concurrent,
            seconds=seconds,
            wanted=wanted,
            directory=self.directory,
            per_second=pace,
        )

    # What the nodes have ---------------------------------------------------------------------------------------------

    def seats(self) -> tuple[int, int]:
        """How many seats the attacker has at honest nodes, and how many all have."""
        all_seats = sum(json.loads(ask(node.host, "/-/node")[1])["contacts"] for node in self.honest)
        return len(self._strangers()), all_seats

    def copies(self, key: bytes, kind: str = "lease") -> list[Node]:
        """The honest nodes that keep the value with a lease; of another kind: that keep such a record."""
        return [node for node in self.honest if _keeps(node, key, kind)]

    def forget_attackers(self) -> str:
        """Has them looked up until they have lost their seats; if they keep some, the network is started anew.

        What was done about it, if anything.
        """
        until = time.monotonic() + CALM_WITHIN
        while (left := self._strangers()) and time.monotonic() < until:
            say_all([node for node, _ in left], "GET", [f"/{stranger}" for _, stranger in left])
            time.sleep(1.0)
        if not left:
            return ""
        self.start()
        return f"{len(left)} seats stayed with nodes that had gone: the network was started anew"

    def _strangers(self) -> list[tuple[Node, str]]:
        """The attacker's nodes in each table."""
        return [
            (node, peer["id"])
            for node in self.honest
            for peer in json.loads(ask(node.host, "/-/peers")[1])["peers"]
            if not peer["endpoint"].startswith(f"{HONEST}.")
        ]


def _keeps(node: Node, key: bytes, kind: str) -> bool:
    before = (as_int(key) - 1).to_bytes(len(key), "big").hex()
    connection = _Control(node.socket)
    try:
        connection.request("GET", f"/records?after={before}")
        page = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return any(
        each["key"] == key.hex() and each["kind"] == kind and (kind != "lease" or each["size"] is not None)
        for each in page["records"]
    )


class _Control(http.client.HTTPConnection):
    """HTTP over the control socket of a node."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=HTTP_PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(HTTP_PATIENCE)
        self.sock.connect(str(self._path))


def say_all(nodes: Iterable[Node], method: str, paths: str | Iterable[str]) -> list[Said]:
    """One request at each of these nodes: the same one, or one path at each as long as there are any."""
    each_path = repeat(paths) if isinstance(paths, str) else paths
    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        return list(pool.map(lambda one: say(one[0].host, method, one[1]), zip(nodes, each_path, strict=False)))


def key_of(value: str) -> Key:
    return Key.of(value.encode())


# The attacker -------------------------------------------------------------------------------------------------------


@contextmanager
def attacking(
    network: Network, attack: str, nodes: Sequence[Node], ips: Sequence[str], **order: object
) -> Iterator[Mapping[str, object]]:
    """The attack, for the length of the block, which begins once it is at its height; what the attacker found out."""
    command = [*network.hostile.prefix, sys.executable, "-m", "tests.attacks.attacker"]
    words = {"attack": attack, "nodes": [each.named for each in nodes], "ips": list(ips), **order}
    if nodes == [network.decoy]:
        words["network"] = "decoy"
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(words) + "\n")
        process.stdin.flush()
        alarm = threading.Timer(ATTACK_PATIENCE, process.kill)
        alarm.start()
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"the attacker ended with {process.wait()} before {attack!r} was at its height")
            alarm.cancel()
            yield json.loads(line)
        finally:
            alarm.cancel()
            process.stdin.close()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
