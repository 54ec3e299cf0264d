"""The systems that we are compared with.

Rules of this file: a peer that is missing says how to get it, and the others go on. Each is run as it comes, with its
own number of copies, in memory, unsigned.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Sequence
from pathlib import Path

import attrs

from benchmarks.hosts import Host
from benchmarks.load import Plan, Request
from benchmarks.processes import ask
from benchmarks.systems import blake

FRONT = Path(__file__).parent / "fronts" / "kademlia_front.py"
LOCK = Path(__file__).parent / "kademlia.txt"
KADEMLIA = Path("build", "kademlia-venv")
INSTALL_PATIENCE = 120.0


def sha1(value: str) -> str:
    return hashlib.sha1(value.encode()).hexdigest()


@attrs.frozen
class OpenDht:
    """OpenDHT's `dhtnode` with its REST proxy: C++, 8 copies, in memory."""

    name: str = "opendht"
    copies: int = 8
    most: int = 60_000
    stored: Sequence[int] = (200,)

    def missing(self) -> str | None:
        return None if shutil.which("dhtnode") else "dhtnode is not installed (Debian: apt-get install dhtnode)"

    def command(self, host: Host, first: Host, directory: Path) -> list[str]:
        command = ["dhtnode", "-s", "-p", str(host.peer_port), "--proxyserver", str(host.http_port)]
        return command + (["-b", f"{first.address}:{first.peer_port}"] if host.number else [])

    def is_ready(self, host: Host) -> bool:
        known = json.loads(ask(host, "/")[1]).get("ipv4")  # lacks it at first
        return known is not None and (host.number == 0 or bool(known["good"] + known["dubious"]))

    def node_id(self, host: Host) -> int | None:
        return int(json.loads(ask(host, "/")[1])["node_id"], 16)

    def position(self, value: str) -> int:
        return int(sha1(value), 16)

    def puts(self, heads: Sequence[str], tail: str) -> Plan:
        # The heads' length is a multiple of 3, so the text of both in base64 is one after the other.
        requests = [Request("/" + sha1(each + tail), _base64(each)) for each in heads]
        return Plan("POST", requests, "application/json", '{"data":"', _base64(tail) + '"}')

    def gets(self, heads: Sequence[str], tail: str) -> Plan:
        return Plan("GET", [Request("/" + sha1(each + tail), _base64(each)) for each in heads])


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@attrs.frozen
class Kademlia:
    """PyPI's `kademlia`, in an environment of its own under build/, behind a thin HTTP front."""

    name: str = "kademlia"
    copies: int = 20
    most: int = 8000
    stored: Sequence[int] = (202,)

    def missing(self) -> str | None:
        if (KADEMLIA / "installed").exists():
            return None
        pip = [str(KADEMLIA / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", KADEMLIA], check=True, timeout=INSTALL_PATIENCE)
            subprocess.run([*pip, "--require-hashes", "-r", LOCK], check=True, timeout=INSTALL_PATIENCE)
        except (subprocess.SubprocessError, OSError) as error:
            return f"its environment could not be made, it needs a package registry once: {error}"
        (KADEMLIA / "installed").touch()
        return None

    def command(self, host: Host, first: Host, directory: Path) -> list[str]:
        command = [str(KADEMLIA / "bin" / "python"), str(FRONT), host.address, str(host.peer_port), str(host.http_port)]
        return command + ([first.address, str(first.peer_port)] if host.number else [])

    def is_ready(self, host: Host) -> bool:
        return ask(host, "/-/id")[0] == 200

    def node_id(self, host: Host) -> int | None:
        return int(ask(host, "/-/id")[1], 16)

    def position(self, value: str) -> int:
        return int(sha1(sha1(value)), 16)  # it hashes the name that it is given

    def puts(self, heads: Sequence[str], tail: str) -> Plan:
        requests = [Request("/" + sha1(each + tail), each) for each in heads]
        return Plan("POST", requests, "application/octet-stream", tail=tail)

    def gets(self, heads: Sequence[str], tail: str) -> Plan:
        return Plan("GET", [Request("/" + sha1(each + tail), each) for each in heads])


@attrs.frozen
class Classic:
    """Classic Camomile (Go): any binary that takes `-me ID@HOST:PORT -other ID@HOST:PORT` and serves HTTP on 8080."""

    binary: str
    name: str = "classic"
    copies: int = 32
    most: int = 1000
    stored: Sequence[int] = (202,)

    def missing(self) -> str | None:
        if shutil.which(self.binary):
            return None
        return f"{self.binary} cannot be run" if self.binary else "no binary was given (make bench CLASSIC=path)"

    def command(self, host: Host, first: Host, directory: Path) -> list[str]:
        command = [self.binary, "-me", f"{_classic_id(host)}@{host.address}:{host.peer_port}"]
        other = f"{_classic_id(first)}@{first.address}:{first.peer_port}"
        return command + (["-other", other] if host.number else [])

    def is_ready(self, host: Host) -> bool:
        return ask(host, "/" + "0" * 64)[0] == 404

    def node_id(self, host: Host) -> int | None:
        return int(_classic_id(host), 16)

    def position(self, value: str) -> int:
        return int(blake(value), 16)

    def puts(self, heads: Sequence[str], tail: str) -> Plan:
        requests = [Request("/", urllib.parse.quote(each)) for each in heads]
        return Plan("POST", requests, "application/x-www-form-urlencoded", "value=", tail)

    def gets(self, heads: Sequence[str], tail: str) -> Plan:
        return Plan("GET", [Request("/" + blake(each + tail), each) for each in heads])


def _classic_id(host: Host) -> str:
    return blake(f"classic node {host.number}")
