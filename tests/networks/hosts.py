"""Hosts as network namespaces, each with real `camomile node` processes, for stories of networks that people have.

Rules of this file: it runs inside `tools.hosts.world` only, so nothing of the machine is reached or changed. Every wait
is bounded. It judges nothing: what nodes log and answer is given as it comes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from tools.hosts.command import run
from tools.hosts.world import RUN

CAMOMILE = str(Path(sys.executable).with_name("camomile"))
PATIENCE = 40.0  # seconds for anything that a process should do; the machine may be busy
LOOK = 0.1


@attrs.define(eq=False)
class Running:
    """One node: its process, its log, and its HTTP port on its own loopback."""

    host: Host
    process: subprocess.Popen[bytes]
    log: Path
    http: int

    def events(self, name: str = "") -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.read_text("utf-8").splitlines() if line.startswith("{")]
        return [each for each in lines if name in {"", each["event"]}]

    def wait_for(self, event: str) -> dict[str, Any]:
        """The first event of that name in the log; the log is shown if none comes."""
        deadline = time.monotonic() + PATIENCE
        while not (found := self.events(event)):
            assert time.monotonic() < deadline, f"no {event!r} in:\n{self.log.read_text('utf-8')}"
            time.sleep(LOOK)
        return found[0]

    def command(self, *words: str, ends_with: int = 0, given: str = "") -> str:
        """What `camomile` says to a client on this host, on both streams."""
        done = subprocess.run(
            [*self.host.inside, CAMOMILE, *words, "--node", f"http://127.0.0.1:{self.http}"],
            input=given,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == ends_with, f"{words[0]} ended with {done.returncode}: {said}"
        return said

    def metric(self, name: str) -> str:
        """What the node's metrics say under this name."""
        text = self.host.run("curl", "-sS", "--max-time", "20", f"http://127.0.0.1:{self.http}/-/metrics")
        return next(line.partition(" ")[2] for line in text.splitlines() if line.startswith(f"{name} "))

    def wait_for_metric(self, name: str, least: float) -> None:
        deadline = time.monotonic() + PATIENCE
        while float(self.metric(name)) < least:
            assert time.monotonic() < deadline, f"{name} stays below {least:g}"
            time.sleep(0.05)

    def status(self) -> dict[str, Any]:
        """What the node tells of itself."""
        text = self.host.run("curl", "-sS", "--max-time", "20", f"http://127.0.0.1:{self.http}/-/node")
        status: dict[str, Any] = json.loads(text)
        return status

    def wait_until(self, is_so: Callable[[dict[str, Any]], bool], within: float = PATIENCE) -> dict[str, Any]:
        """The first status of which this is true."""
        deadline = time.monotonic() + within
        while not is_so(status := self.status()):
            assert time.monotonic() < deadline, status
            time.sleep(LOOK)
        return status

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE)


@attrs.define(eq=False)
class Host:
    name: str
    _nodes: int = 0

    @classmethod
    def made(cls, name: str) -> Host:
        run(["ip", "netns", "add", name])
        host = cls(name)
        host.ip("link set lo up")
        return host

    @property
    def inside(self) -> list[str]:
        return ["ip", "netns", "exec", self.name]

    def ip(self, line: str) -> None:
        run(["ip", "-n", self.name, *line.split()])

    def run(self, *command: str) -> str:
        return run([*self.inside, *command])

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """A process that runs until the story is over; returns once it has said a line."""
        process = subprocess.Popen([*self.inside, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline()
        return process

    def filter(self, *rules: str) -> None:
        """Rules of nftables, each with the hook that it belongs to before it: `input tcp dport 8118 drop`."""
        self.run("nft", "add", "table", "inet", "story")
        for hook in sorted({rule.partition(" ")[0] for rule in rules}):
            self.run("nft", f"add chain inet story {hook} {{ type filter hook {hook} priority 0; }}")
        for rule in rules:
            self.run("nft", f"add rule inet story {rule}")

    def node(self, *options: str, listen: str, directory: str = "") -> Running:
        """Starts a node on this host; does not wait for it."""
        self._nodes += 1
        http = 8080 + self._nodes
        name = directory or f"{self.name}{self._nodes}"
        log = RUN / f"{name}-{self._nodes}.log"
        words = ["node", "--listen", listen, "--http", f"127.0.0.1:{http}", "--data-dir", str(RUN / name)]
        with log.open("wb") as written:
            process = subprocess.Popen(
                [*self.inside, CAMOMILE, *words, "--log-format", "json", *options],
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
            )
        return Running(self, process, log, http)


def cable(one: Host, other: Host, *, name: str = "cable", mtu: int = 1500) -> None:
    """Connects two hosts: an interface called `name` at both. Addresses are given later."""
    run(["ip", *f"link add {name} netns {one.name} type veth peer name {name} netns {other.name}".split()])
    for host in (one, other):
        host.ip(f"link set {name} mtu {mtu} up")


def switch(*hosts: Host) -> None:
    """Connects hosts to one another, by a host more: an interface called `cable` at each."""
    hub = Host.made("switch")
    hub.ip("link add bridge type bridge")
    hub.ip("link set bridge up")
    for host in hosts:
        run(["ip", *f"link add cable netns {host.name} type veth peer name {host.name} netns {hub.name}".split()])
        host.ip("link set cable up")
        hub.ip(f"link set {host.name} master bridge up")


def address(host: Host, device: str, *addresses: str) -> None:
    for each in addresses:
        host.ip(f"addr add {each} dev {device}{' nodad' if ':' in each else ''}")
