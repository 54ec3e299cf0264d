"""Processes of nodes: started, waited for, measured and ended.

Rules of this file: all are gone when the block is left, whatever happened in it. Nothing waits without a bound. Errors
show the end of what the nodes logged.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from benchmarks.hosts import Host

START_PATIENCE = 300.0
LOG_LINES = 15  # of the nodes' log that an error shows


@attrs.frozen
class Process:
    """One node's process on its host."""

    host: Host
    child: subprocess.Popen[bytes]

    def cpu_seconds(self) -> float:
        """User and system time so far of all its threads, ended ones included, to the nanosecond."""
        # The clock of a process, as clock_getcpuclockid(3) makes it: /proc/PID/stat knows hundredths of a second only.
        return time.clock_gettime(~self.child.pid << 3 | 2)

    def memory(self) -> Memory:
        text = Path(f"/proc/{self.child.pid}/smaps_rollup").read_text(encoding="ascii")
        return parse_memory(text)

    def kill(self) -> None:
        """At once, and waits for its end."""
        self.child.kill()
        self.child.wait(timeout=10)

    @property
    def is_running(self) -> bool:
        return self.child.poll() is None


@attrs.frozen
class Memory:
    """In bytes. RSS counts shared pages whole in every process, PSS shares them out."""

    rss: int
    pss: int


def parse_memory(text: str) -> Memory:
    """Reads smaps_rollup."""
    found = {
        name: int(kilobytes) * 1024 for name, kilobytes in re.findall(r"^(Rss|Pss): +(\d+) kB$", text, re.MULTILINE)
    }
    return Memory(found["Rss"], found["Pss"])


def cpu_seconds(processes: Sequence[Process]) -> float:
    return sum(each.cpu_seconds() for each in processes if each.is_running)


@contextlib.contextmanager
def running(
    hosts: Sequence[Host], command: Callable[[Host], list[str]], is_ready: Callable[[Host], bool], log: Path
) -> Iterator[list[Process]]:
    """A process for each host: the first alone until it is ready, then all others at once.

    RuntimeError or TimeoutError if one of them does not become ready.
    """
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(log.open("wb"))
        processes: list[Process] = []
        until = time.monotonic() + START_PATIENCE
        for host in hosts:
            child = subprocess.Popen(
                [*host.prefix, *command(host)],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env={**os.environ, **QUIET},
            )
            process = Process(host, child)
            stack.callback(process.kill)
            processes.append(process)
            if host.number == 0:
                _wait_ready(process, is_ready, until, log)
        for process in processes:
            _wait_ready(process, is_ready, until, log)
        yield processes


def check_running(processes: Sequence[Process], log: Path) -> None:
    """RuntimeError if one of them has ended."""
    for process in processes:
        if not process.is_running:
            raise RuntimeError(
                f"the node on host {process.host.number} ended with {process.child.returncode}{_log_end(log)}"
            )


def _log_end(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
    return "\n".join(["; the log ends with:", *lines]) if lines else "; the log is empty"


QUIET: Mapping[str, str] = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONWARNINGS": "ignore"}


def ask(host: Host, path: str) -> tuple[int, bytes]:
    """One GET: status and body. OSError or HTTPException if there is no answer."""
    connection = http.client.HTTPConnection(host.address, host.http_port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _wait_ready(process: Process, is_ready: Callable[[Host], bool], until: float, log: Path) -> None:
    while time.monotonic() < until:
        check_running([process], log)
        try:
            if is_ready(process.host):
                return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.1)
    raise TimeoutError(f"the node on host {process.host.number} was not ready in time{_log_end(log)}")
