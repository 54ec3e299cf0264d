"""N hosts: made, run processes in, cut apart, put together again, and taken away.

Rules of this file: it works only inside `world`'s namespaces and looks whether it is there before it touches anything.
Before a process is started the switches stand and every port forwards. Whatever runs in a host ends with this object.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import attrs

from tools.hosts import plan
from tools.hosts.command import HostsError, run, run_lines
from tools.hosts.plan import Host
from tools.hosts.world import NAMESPACES, check_apart

WIRED_WITHIN = 15.0  # seconds until every port forwards
PAUSE = 0.05
SHOW_LINKS = ["ip", "-json", "-details", "link", "show"]
ENDED_WITHIN = 15.0  # seconds from SIGKILL to the end; longer is a process that the kernel cannot get rid of

Process = subprocess.Popen[bytes]


@attrs.define(eq=False)
class Hosts:
    """Made by `made`, and then a sequence of hosts."""

    _hosts: tuple[Host, ...]
    _switches: int = 1
    _processes: list[Process] = attrs.field(factory=list)

    @classmethod
    @contextmanager
    def made(cls, count: int) -> Iterator[Hosts]:
        """`count` hosts, 1 to `MOST_HOSTS`, that all hear each other. HostsError if that cannot be had."""
        if not 1 <= count <= plan.MOST_HOSTS:
            raise HostsError(f"{count} hosts are not 1 to {plan.MOST_HOSTS}")
        check_apart()
        wired = tuple(map(Host, range(count)))
        hosts = cls(wired)
        try:
            run_lines(plan.wiring(wired))
            for host in wired:
                run_lines(plan.wiring_inside(host), namespace=host.name)
            hosts.check()
            yield hosts
        finally:
            hosts.remove()

    def __len__(self) -> int:
        return len(self._hosts)

    def __getitem__(self, number: int) -> Host:
        return self._hosts[number]

    def __iter__(self) -> Iterator[Host]:
        return iter(self._hosts)

    def run(
        self,
        host: Host,
        command: Sequence[str],
        *,
        output: IO[bytes] | int | None = None,
        environment: dict[str, str] | None = None,
        directory: Path | None = None,
    ) -> Process:
        """Starts `command` in the host. The process is the command itself, so signals to it reach nobody else.

        `output` takes what it prints on both streams. Ctrl-C does not reach it: the driver decides when it ends.
        """
        process = subprocess.Popen(
            ["nsenter", f"--net={NAMESPACES / host.name}", "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            cwd=directory,
            start_new_session=True,
        )
        self._processes = [one for one in self._processes if one.poll() is None]
        self._processes.append(process)
        return process

    def partition(self, *sides: Iterable[int]) -> None:
        """From now on only hosts of one side hear each other. Hosts on no side are with the first."""
        run_lines(plan.partition(self._hosts, sides, self._switches))
        self._switches = max(self._switches, len(sides))
        self.check()

    def heal(self) -> None:
        """Every host hears every other one again."""
        run_lines(plan.partition(self._hosts, [], self._switches))
        self.check()

    def check(self) -> None:
        """Waits until the switches stand and all ports forward that should; HostsError says what is wrong."""
        deadline = time.monotonic() + WIRED_WITHIN
        while found := plan.flaws(self._hosts, json.loads(run(SHOW_LINKS))):
            if time.monotonic() > deadline:
                raise HostsError(f"the hosts are not connected: {', '.join(found[:5])}")
            time.sleep(PAUSE)

    def remove(self) -> None:
        """Ends every process in the hosts and takes the hosts away. What is left goes with the driver's own end."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
        deadline = time.monotonic() + ENDED_WITHIN
        for process in self._processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise HostsError(f"process {process.pid} does not end") from None
        self._processes.clear()
        # Of what was half made some is missing; -force goes on after that.
        lines = plan.removal(self._hosts, self._switches)
        subprocess.run(
            ["ip", "-force", "-batch", "-"],
            input="".join(f"{line}\n" for line in lines).encode("ascii"),
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
