"""The cluster that the documents' commands speak to: ten nodes, as `make run` starts them, on free ports."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.processes import Processes
from tests.docs.shell import FIRST_PORT, NODES, Ports


@pytest.fixture(scope="session")
def cluster() -> Iterator[Ports]:
    """Node i of the running cluster is where documents say that it is: at port 8080 + i - 1."""
    ports = Ports.free(NODES)
    started = Processes()
    try:
        process = started.start("cluster", "-n", str(NODES), "--http", ports.real(f"127.0.0.1:{FIRST_PORT}"))
        while process.next_line(process.out) != "Ctrl-C stops all nodes.":
            pass
        yield ports
    finally:
        started.clean_up()
