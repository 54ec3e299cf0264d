"""A network of real processes on loopback, for the length of a block.

Rules of this file: every node is a process of its own with a data directory on disk, and all are gone when the block
is left, whatever happened in it. Nothing waits without a bound.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import attrs

START_PATIENCE = 180.0
TICKS = os.sysconf("SC_CLK_TCK")


@attrs.frozen
class Process:
    """One node: its process and where its HTTP listens on 127.0.0.1."""

    pid: int
    http_port: int

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident_bytes(self) -> int:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


@contextlib.contextmanager
def network(count: int, *, first_udp_port: int, first_http_port: int) -> Iterator[list[Process]]:
    """`count` ready nodes; node i has UDP and HTTP on the i-th port of each row."""
    with tempfile.TemporaryDirectory(prefix="camomile-bench-") as place, contextlib.ExitStack() as stack:
        key = Path(place, "publisher.key")
        processes: list[Process] = []
        for number in range(count):
            command = [sys.executable, "-m", "camomile_trio.cli", "node"]
            command += ["--listen", f"127.0.0.1:{first_udp_port + number}"]
            command += ["--http", f"127.0.0.1:{first_http_port + number}"]
            command += ["--data-dir", str(Path(place, str(number))), "--publisher-key", str(key)]
            command += ["--log-level", "error"]
            command += ["--join", f"127.0.0.1:{first_udp_port}"] if number else []
            child = subprocess.Popen(command)
            stack.callback(_end, child)
            processes.append(Process(child.pid, first_http_port + number))
            if not number:
                _wait_ready(processes[0], time.monotonic() + START_PATIENCE)
        until = time.monotonic() + START_PATIENCE
        for process in processes:
            _wait_ready(process, until)
        yield processes


def _wait_ready(process: Process, until: float) -> None:
    while time.monotonic() < until:
        connection = http.client.HTTPConnection("127.0.0.1", process.http_port, timeout=5)
        try:
            connection.request("GET", "/-/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    raise TimeoutError(f"the node on port {process.http_port} was not ready in time")


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait(timeout=10)
