"""A network of `camomile node` processes, one in each host: started, harmed, and spoken to over HTTP.

Rules of this file: HTTP goes over the control cable, so a partition never hides a node from the driver. It judges
nothing: answers go back as they came. A member's data survives its process, and goes with the network.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

from tools.cluster.client import HTTP_PORT, Answer, NetworkClient, Request
from tools.hosts.command import HostsError
from tools.hosts.hosts import Hosts, Process
from tools.hosts.plan import Host
from tools.hosts.world import DATA

PEER_PORT = 8118
CAMOMILE = Path(sys.executable).with_name("camomile")
RAW = {"Content-Type": "application/octet-stream"}
LOOK = 0.25  # seconds between looks at a state that is waited for
READY_WITHIN = 45.0
READY_WITHIN_PER_NODE = 2.0
STOPPED_WITHIN = 30.0  # seconds from SIGTERM to the end


def wait_until(true: Callable[[], bool], *, within: float) -> bool:
    """Whether it came true within that many seconds."""
    deadline = time.monotonic() + within
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK)
    return True


@attrs.define(eq=False)
class Member:
    """A host and the node that runs in it; `process` is the latest."""

    host: Host
    directory: Path
    process: Process | None = None
    starts: int = 0

    @property
    def number(self) -> int:
        return self.host.number

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None


@attrs.frozen
class Network:
    hosts: Hosts
    members: tuple[Member, ...]
    directory: Path
    options: tuple[str, ...]
    client: NetworkClient
    random: random.Random
    ephemeral: bool

    @classmethod
    @contextmanager
    def made(
        cls, count: int, *options: str, seed: int, ephemeral: bool = False, keep_logs_in: Path | None = None
    ) -> Iterator[Network]:
        """A network of so many nodes, none of them started. At the end their logs may be kept in a directory."""
        directory = DATA / "network"
        directory.mkdir(parents=True)
        try:
            with Hosts.made(count) as hosts, NetworkClient([sys.executable]) as client:
                members = tuple(Member(host, directory / host.name) for host in hosts)
                for member in members:
                    member.directory.mkdir(0o700)
                yield cls(hosts, members, directory, options, client, random.Random(seed), ephemeral)
        finally:
            if keep_logs_in is not None:
                keep_logs_in.mkdir(parents=True, exist_ok=True)
                for log in directory.glob("*.log"):
                    shutil.copyfile(log, keep_logs_in / log.name)
            shutil.rmtree(directory, ignore_errors=True)

    def __len__(self) -> int:
        return len(self.members)

    def start_all(self) -> float:
        """Starts every member; seconds until all were ready."""
        began = time.monotonic()
        # The first of a new network answers before the others ask.
        if not any(member.starts for member in self.members):
            self.start(self.members[0])
            self.wait_ready(self.members[:1])
        self.start(*(member for member in self.members if not member.runs))
        self.wait_ready(self.members)
        return time.monotonic() - began

    def start(self, *members: Member) -> None:
        for member in members:
            with (self.directory / f"{member.host.name}.log").open("ab") as log:
                member.process = self.hosts.run(
                    member.host, self._command(member), output=log, environment=_environment(), directory=DATA
                )
            member.starts += 1

    def kill(self, *members: Member) -> float:
        """SIGKILL to all of them at once; when."""
        at = time.monotonic()
        self._signal(members, signal.SIGKILL)
        for member in members:
            assert member.process is not None
            member.process.wait(STOPPED_WITHIN)
        return at

    def pause(self, *members: Member) -> None:
        self._signal(members, signal.SIGSTOP)

    def resume(self, *members: Member) -> None:
        self._signal(members, signal.SIGCONT)

    def stop(self, member: Member) -> int | None:
        """SIGTERM; the exit code, or None for one that had to be killed."""
        assert member.process is not None
        member.process.terminate()
        if wait_until(lambda: not member.runs, within=STOPPED_WITHIN):
            return member.process.returncode
        self.kill(member)
        return None

    def wait_ready(self, members: Sequence[Member]) -> None:
        """HostsError says who is not ready in time, or has ended."""
        left = list(members)
        deadline = time.monotonic() + READY_WITHIN + READY_WITHIN_PER_NODE * len(members)
        while left:
            answers = self.client.ask([Request(one.host.control, "GET", "/-/ready") for one in left], timeout=5.0)
            not_yet = [(one, answer) for one, answer in zip(left, answers, strict=True) if answer.status != 200]
            if not_yet and (time.monotonic() > deadline or not all(one.runs for one, _ in not_yet)):
                first, answer = not_yet[0]
                state = "runs" if first.runs else "has ended"
                raise HostsError(
                    f"{len(not_yet)} of {len(members)} nodes are not ready, of them {first.host.name}, which {state}: "
                    f"{reason(answer)}\n{self.log_of(first)}"
                )
            left = [one for one, _ in not_yet]
            time.sleep(LOOK)

    def ask(self, requests: Sequence[Request], *, timeout: float = 20.0) -> list[Answer]:
        return self.client.ask(requests, timeout=timeout)

    def read(self, wanted: Iterable[tuple[Member, str]], *, timeout: float = 20.0) -> list[Answer]:
        return self.ask([Request(one.host.control, "GET", f"/{key}") for one, key in wanted], timeout=timeout)

    def put(self, wanted: Iterable[tuple[Member, bytes]]) -> list[Answer]:
        requests = [Request(one.host.control, "POST", "/", value, RAW) for one, value in wanted]
        return self.ask(requests)

    def forget(self, wanted: Iterable[tuple[Member, str]]) -> list[Answer]:
        return self.ask([Request(one.host.control, "DELETE", f"/{key}") for one, key in wanted])

    def some(self, count: int) -> list[Member]:
        """So many members by chance, but not the first, by which those that start anew find the others."""
        return self.random.sample(self.members[1:], count)

    def log_of(self, member: Member) -> str:
        """The last lines."""
        text = (self.directory / f"{member.host.name}.log").read_text("utf-8", "replace")
        return "\n".join(text.splitlines()[-5:])

    def _command(self, member: Member) -> list[str]:
        joined = [one for one in self.members[:3] if one is not member]
        first = [] if member.number else ["--first"]
        # The first one's first start: there is nobody whom it could join.
        names = [] if not member.number and not member.starts else joined
        kept = ["--ephemeral"] if self.ephemeral else ["--data-dir", str(member.directory)]
        return [
            *(str(CAMOMILE), "node", *kept),
            *("--listen", f"{member.host.address}:{PEER_PORT}", "--http", f"{member.host.control}:{HTTP_PORT}"),
            *(part for one in names for part in ("--join", f"{one.host.address}:{PEER_PORT}")),
            *(first if names else []),
            *("--publisher-key", str(self.directory / "publisher.key")),
            *("--socket", str(self.directory / f"{member.host.name}.sock")),
            *("--log-format", "json", *self.options),
        ]

    def _signal(self, members: Sequence[Member], number: signal.Signals) -> None:
        for member in members:
            assert member.process is not None
            member.process.send_signal(number)


def key_of(answer: Answer) -> str:
    return answer.headers["location"].removeprefix("/")


def reason(answer: Answer) -> str:
    """What a refusal says, in one line."""
    if answer.failure:
        return answer.failure
    try:
        said = json.loads(answer.body)
        return f"{answer.status} {said['title']}: {said['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"{answer.status} {answer.body[:120]!r}"


def _environment() -> dict[str, str]:
    """Without settings of Camomile that this shell may have."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CAMOMILE_")}
