"""The cluster that the documents' commands speak to: ten nodes, as `make run` starts them, on free ports.

Rules of this file: each document has a cluster of its own, so a document may stop it. Its control socket lies where no
command of another test looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.processes import Processes
from tests.docs.shell import FIRST_PORT, NODES, Ports, Shell


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A shell beside a running cluster whose node i is where documents say that it is: at port 8080 + i - 1."""
    shell = Shell.new(tmp_path, Ports.free(NODES))
    started = Processes()
    try:
        address = shell.ports.real(f"127.0.0.1:{FIRST_PORT}")
        runtime = shell.environment["XDG_RUNTIME_DIR"]
        # It is killed in the end, so what it would have removed stays: the directory of its network key.
        process = started.start(
            "cluster", "-n", str(NODES), "--http", address, XDG_RUNTIME_DIR=runtime, TMPDIR=str(tmp_path)
        )
        while process.next_line(process.out) != "Ctrl-C stops all nodes.":
            pass
        yield shell
    finally:
        started.clean_up()
