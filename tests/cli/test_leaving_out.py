"""Packages that a node does without: for a while none can import them, and afterwards they are as they were."""

from __future__ import annotations

import subprocess
import sys

import pytest

from camomile_trio.cli.leaving_out import leaving_out

# What a node must not load, and what would make it load that: the import lists of modules that its commands share, and
# libraries that import what is installed.
NOT_IN_A_NODE = (
    "rich",
    "pygments",
    "httpx",
    "httpcore",
    "anyio",
    "markdown_it",
    "numpy",
    "grpc",
    "pytest",
    "hypothesis",
)
NOT_OF_OURS = ("camomile_trio.simulation.run", "camomile_trio.cli.client", "camomile_trio.cli.local_cluster")
# Runs `camomile node` with all that it imports, but for a loop that ends at once, and shows what was loaded.
NODE = """
import sys, trio
from camomile_trio.cli.command import camomile
trio.run = lambda *_: print(*sys.modules, sep="\\n")
camomile.main(["node", "--ephemeral", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"])
"""


def test_a_package_is_left_out_for_a_while() -> None:
    with leaving_out("wave"), pytest.raises(ImportError):
        import wave
    import wave

    assert wave.__name__ == "wave"


def test_what_is_loaded_already_stays() -> None:
    with leaving_out("sys"):
        assert __import__("sys") is sys
    assert sys.modules["sys"] is sys


@pytest.mark.real_time
def test_a_node_loads_nothing_that_only_other_commands_need() -> None:
    said = subprocess.run([sys.executable, "-c", NODE], capture_output=True, text=True, timeout=60, check=True).stdout
    loaded = said.split()
    assert {"camomile_trio.node.node", "camomile_trio.http.app"} <= set(loaded)
    packages = {name.partition(".")[0] for name in loaded}
    assert not packages & set(NOT_IN_A_NODE)
    assert not set(loaded) & set(NOT_OF_OURS)
