"""Runs the commands of a block as a reader would: in bash, in a directory of their own, beside a running cluster.

Rules of this file: nothing outlives its block, and every block has a bound. Ports that documents name are exchanged for
free ones on the way in and back again on the way out, so that a document reads as on a reader's own machine.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import attrs

from tests.docs.documents import ROOT, Block, Command

FIRST_PORT = 8080
NODES = 10  # of the cluster that `make run` starts, node i with its HTTP at FIRST_PORT + i - 1
PORTS = 100  # that a document may name, from FIRST_PORT on
PATIENCE = 120.0  # seconds for a block; the machine may be busy
TOOLS = ("bash", "curl", "b2sum")

# Below the ports that the system gives away by itself, so that nobody takes one between our look and its use.
_CANDIDATES = range(12_000, 30_000, PORTS)
_MARKER = "\x1e"
_NAMED_PORT = re.compile(r"(?<=:)8\d{3}(?!\d)")
_REAL_PORT = re.compile(r"(?<=:)\d{5}(?!\d)")
_CURL_SETTINGS = "no-progress-meter\nnoproxy = *\n"  # the meter is for terminals; 127.0.0.1 is behind no proxy


def missing_tools() -> list[str]:
    return [tool for tool in TOOLS if shutil.which(tool) is None]


@attrs.frozen
class Ports:
    """Where the ports are that documents name."""

    base: int

    @classmethod
    def free(cls, needed: int) -> Ports:
        """Ports of which the first `needed` are free for TCP, all of them most likely for TCP and UDP."""
        for base in random.sample(_CANDIDATES, len(_CANDIDATES)):
            if all(_is_free(port) for port in range(base, base + needed)):
                return cls(base)
        raise AssertionError("this machine has no free ports")

    def real(self, documented: str) -> str:
        """The text of a document with the ports that are in use here."""

        def exchanged(match: re.Match[str]) -> str:
            offset = int(match[0]) - FIRST_PORT
            return str(self.base + offset) if 0 <= offset < PORTS else match[0]

        return _NAMED_PORT.sub(exchanged, documented)

    def documented(self, said: str) -> str:
        """What a command said, with the ports that documents name."""

        def exchanged(match: re.Match[str]) -> str:
            offset = int(match[0]) - self.base
            return str(FIRST_PORT + offset) if 0 <= offset < PORTS else match[0]

        return _REAL_PORT.sub(exchanged, said)


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


@attrs.frozen
class Said:
    """What became of one command: its output and errors together, and its exit code."""

    command: Command
    output: str
    code: int


@attrs.frozen
class Shell:
    """A home directory in which blocks run, one after the other."""

    home: Path
    ports: Ports
    environment: Mapping[str, str] = attrs.field(factory=dict)
    directory: Path | None = None  # where blocks run; None: at home
    prelude: Sequence[str] = ()  # lines of bash before every block

    @classmethod
    def new(cls, home: Path, ports: Ports) -> Shell:
        """A shell whose `camomile` is that of this checkout, and whose node is the first of the documents' cluster."""
        tools = home / "bin"
        tools.mkdir()
        (home / ".curlrc").write_text(_CURL_SETTINGS)
        camomile = tools / "camomile"
        camomile.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m camomile_trio "$@"\n')
        camomile.chmod(0o755)
        inherited = {name: text for name, text in os.environ.items() if not name.startswith(("CAMOMILE_", "XDG_"))}
        own = {
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(home),
            "PATH": f"{tools}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "LC_ALL": "C.UTF-8",
            "CAMOMILE_NODE": ports.real(f"http://127.0.0.1:{FIRST_PORT}"),
        }
        return cls(home, ports, {**inherited, **own})

    def run(self, block: Block, *, within: float = PATIENCE) -> list[Said]:
        """Runs all commands of the block in one bash; AssertionError if that takes too long."""
        commands = block.commands()
        script = [*self.prelude]
        for command in commands:
            # A command may ask for the exit code of the one before it.
            script += [self.ports.real(command.text), f"code=$?; printf '{_MARKER}%d{_MARKER}' $code; (exit $code)"]
        said = self._bash("\n".join(script), block, within)
        parts = self.ports.documented(said).split(_MARKER)
        assert len(parts) == 2 * len(commands) + 1, f"{block}: bash ended early:\n{said}"
        outputs, codes = parts[0:-1:2], parts[1::2]
        return [Said(*each) for each in zip(commands, outputs, map(int, codes), strict=True)]

    def _bash(self, script: str, block: Block, within: float) -> str:
        output = self.home / "said"
        with (
            output.open("wb") as sink,
            subprocess.Popen(
                ["bash", "-c", script],
                cwd=self.directory or self.home,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ) as bash,
        ):
            try:
                bash.wait(within)
            except subprocess.TimeoutExpired:
                raise AssertionError(f"{block} took more than {within:g} s:\n{output.read_text('utf-8')}") from None
            finally:
                # Whatever a block left in the background goes with it.
                with suppress(ProcessLookupError):
                    os.killpg(bash.pid, signal.SIGKILL)
        return output.read_text("utf-8", errors="replace")
