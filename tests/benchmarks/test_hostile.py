"""The flood that benchmarks and attacks start ends when they say so."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest

pytestmark = pytest.mark.real_time


def test_a_flood_ends_by_an_interrupt_also_where_a_shell_has_it_ignored() -> None:
    """As below `make test-attacks &`: rows 2 and 12 could not be tried there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind(("127.0.0.1", 0))
        flood = ["-m", "benchmarks.hostile", "random bytes", f"127.0.0.1:{sink.getsockname()[1]}"]
        command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, *flood]
        command += ["--rate", "100", "--seconds", "60"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "floods\n"
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert float(said) >= 0
