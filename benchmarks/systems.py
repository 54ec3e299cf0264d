"""What a system under measurement is: how to start a node, what to send it, where it keeps a key. Ours is here.

Rules of this file: a system says what it is; it measures nothing. All keep a value under a key that is known before it
is put, so that whoever reads it first can be chosen to be no holder of it.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import attrs

from benchmarks.hosts import Host
from benchmarks.load import Plan, Request
from benchmarks.processes import ask

ROOT = Path(__file__).resolve().parent.parent


class System(Protocol):
    """One system. `copies`: at how many nodes it keeps a value; `most`: bytes of the largest value that it takes."""

    @property
    def name(self) -> str: ...
    @property
    def copies(self) -> int: ...
    @property
    def most(self) -> int: ...
    @property
    def stored(self) -> Sequence[int]: ...  # statuses of a put that was done

    def missing(self) -> str | None:
        """Why it cannot be measured here, and what to do about it."""

    def command(self, host: Host, first: Host, directory: Path) -> list[str]: ...

    def is_ready(self, host: Host) -> bool: ...

    def node_id(self, host: Host) -> int | None: ...

    def position(self, value: str) -> int:
        """Where in the ids' space the value's key is."""

    def puts(self, heads: Sequence[str], tail: str) -> Plan: ...

    def gets(self, heads: Sequence[str], tail: str) -> Plan: ...


def blake(value: str) -> str:
    return hashlib.blake2b(value.encode(), digest_size=32).hexdigest()


@attrs.frozen
class Camomile:
    """Ours: values on disk (or tmpfs), signed, 20 copies. Another checkout runs with `python` in its own directory."""

    name: str = "camomile"
    python: str = sys.executable
    checkout: Path = ROOT
    copies: int = 20
    most: int = 1 << 20
    stored: Sequence[int] = (202,)

    def missing(self) -> str | None:
        return None

    def command(self, host: Host, first: Host, directory: Path) -> list[str]:
        # The one place that says how a node is started. Commits from before `python -m camomile_trio` have a module.
        module = "camomile_trio" if (self.checkout / "camomile_trio" / "__main__.py").exists() else "camomile_trio.cli"
        command = ["env", f"--chdir={self.checkout}", self.python, "-m", module, "node", "--log-level", "error"]
        command += ["--listen", f"{host.address}:{host.peer_port}", "--http", f"{host.address}:{host.http_port}"]
        data, publisher = directory.resolve() / str(host.number), directory.resolve() / "publisher"
        command += ["--data-dir", str(data), "--publisher-key", str(publisher)]
        return command + (["--join", f"{first.address}:{first.peer_port}"] if host.number else [])

    def is_ready(self, host: Host) -> bool:
        return ask(host, "/-/ready")[0] == 200

    def node_id(self, host: Host) -> int | None:
        return int(json.loads(ask(host, "/-/node")[1])["id"], 16)

    def position(self, value: str) -> int:
        return int(blake(value), 16)

    def puts(self, heads: Sequence[str], tail: str) -> Plan:
        return Plan("POST", [Request("/", each) for each in heads], "application/octet-stream", tail=tail)

    def gets(self, heads: Sequence[str], tail: str) -> Plan:
        return Plan("GET", [Request("/" + blake(each + tail), each) for each in heads])


@attrs.frozen
class Hello:
    """A bare Quart-Trio application behind Hypercorn: the ground under our HTTP. One process, hot gets only."""

    name: str = "hello"

    def command(self, host: Host, first: Host, directory: Path) -> list[str]:
        return [sys.executable, "-m", "benchmarks.fronts.hello", f"{host.address}:{host.http_port}"]

    def is_ready(self, host: Host) -> bool:
        return ask(host, "/hello")[0] == 200

    def gets(self) -> Plan:
        return Plan("GET", [Request("/hello", "hello")], repeats=True)
