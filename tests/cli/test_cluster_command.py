"""What `camomile cluster` refuses before anything starts, and what it says once all is there."""

from __future__ import annotations

import errno
import json
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trio

from camomile_trio.cli.local_cluster import Member, announcement
from camomile_trio.config import Config
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import NodeId
from tests.cli.processes import PATIENCE, Process, Processes
from tests.cli.terminal import Run, complaint

ROOT = Path(__file__).resolve().parent.parent.parent
CLOSED = Config(network_key=Path("/tmp/a cluster/network.key"))

MEMBERS = [
    Member(
        number,
        NodeId(bytes([number]) * 32),
        Endpoint.of(bytes([127, 0, 0, 1]), 9000 + number),
        Endpoint.of(bytes([127, 0, 0, 1]), 8079 + number),
    )
    for number in (1, 2)
]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-n", "0"], "--nodes: 0 is not in the range"),
        (["-n", "many"], "--nodes: 'many' is not a valid int"),
        (["--http", "127.0.0.1:65530"], "--http: 10 nodes from port 65530 on go beyond 65535"),
        (["--udp-port", "65527"], "--udp-port: 10 nodes from port 65527 on go beyond 65535"),
        (["--http", ":8080"], "--http: ':8080' names no address"),
    ],
)
def test_a_row_of_ports_that_cannot_be_is_misuse(run: Run, words: list[str], says: str) -> None:
    result = run("cluster", *words)
    assert says in complaint(result)
    assert result.exit_code == 2


def test_its_nodes_speak_with_classic_ones_on_demand(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []
    monkeypatch.setattr(trio, "run", lambda *call: started.append(call[2]))
    for words in ([], ["--classic"]):
        assert run("cluster", *words).exit_code == 0
    assert started == [False, True]


@pytest.mark.real_time
def test_a_taken_port_in_the_row_is_one_line(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("cluster", "-n", "2", "--http", f"127.0.0.1:{port - 1}")
    # The port before it may be taken too, and is the one that is named then.
    assert f"cannot serve HTTP on 127.0.0.1:{port}" in complaint(result) or f":{port - 1}:" in complaint(result)
    assert "--http" in complaint(result)
    assert result.exit_code == 1


def test_where_nobody_watches_each_node_is_a_plain_line() -> None:
    lines = announcement(MEMBERS, CLOSED).splitlines()
    assert lines[0] == f"node 1  {'01' * 32}  peers 127.0.0.1:9001  http://127.0.0.1:8080/"
    assert lines[1] == f"node 2  {'02' * 32}  peers 127.0.0.1:9002  http://127.0.0.1:8081/"
    assert "  curl -iF 'value=ABC, du är mina tankar' http://127.0.0.1:8080/" in lines
    assert "  curl -i http://127.0.0.1:8081/bde0e9f6e9d3fabd5bf6849e179f0aee485630f6d5c1c4398517cc1543fb9386" in lines


@pytest.mark.parametrize(
    ("config", "kind", "words"),
    [
        (CLOSED, "closed", ["--network-key", "/tmp/a cluster/network.key"]),
        (Config(classic=True), "open", ["--classic"]),
    ],
)
@pytest.mark.parametrize(
    ("called", "program"),
    [
        (".venv/bin/camomile", [str(Path.cwd() / ".venv/bin/camomile")]),
        ("/src/camomile_trio/__main__.py", [sys.executable, "-m", "camomile_trio"]),
    ],
)
def test_the_line_for_one_more_node_names_the_program_that_runs(
    config: Config, kind: str, words: list[str], called: str, program: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [called, "cluster"])
    lines = announcement(MEMBERS, config).splitlines()
    line = lines[lines.index(f"One more node of this {kind} network:") + 1]
    ports = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    assert shlex.split(line) == [*program, "node", "--join", "127.0.0.1:9001", *words, "--ephemeral", *ports]


def test_on_a_terminal_the_nodes_are_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    text = announcement(MEMBERS, CLOSED)
    assert "2 nodes, all ready" in text
    assert "http://127.0.0.1:8081/" in text
    assert "node 2  " not in text


def lines_of(cluster: Process) -> list[str]:
    """What a cluster says once all of its nodes are ready."""
    lines = [""]
    while lines[-1] != "Ctrl-C stops all nodes.":
        lines.append(cluster.next_line(cluster.out))
    return lines


@contextmanager
def typed(line: str, directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Runs a line as another terminal does, elsewhere; its standard error can be read."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        ["sh", "-c", f"exec {line}"], cwd=directory, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.real_time
def test_one_more_node_joins_by_the_line_that_is_shown_until_the_cluster_ends(
    processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    cluster = processes.start("cluster", "-n", "3", "--http", "127.0.0.1:0")
    lines = lines_of(cluster)
    (first,) = (line.split()[-1] for line in lines if line.startswith("node 1"))
    line = lines[lines.index("One more node of this closed network:") + 1]

    (file,) = tmp_path.glob("camomile-cluster-*/*")
    assert str(file) in line
    assert [stat.S_IMODE(path.stat().st_mode) for path in (file.parent, file)] == [0o700, 0o600]
    with httpx.Client(trust_env=False, timeout=PATIENCE) as client, typed(line, tmp_path) as more:
        assert more.stderr is not None
        events = map(json.loads, more.stderr)
        listening = next(event for event in events if event["event"] == "listening")
        assert next(event for event in events if event["event"] == "ready")
        stored = client.post(first, content=b"by one of three")
        assert client.get(listening["http"][0] + stored.headers["location"]).content == b"by one of three"
        more.terminate()
        assert more.wait(PATIENCE) == 0

    # What the key was, no line of the log and none of the announcement has said.
    secret = file.read_text("ascii").strip()
    assert cluster.end(signal.SIGINT) == 0
    assert secret not in "".join([*lines, *cluster.rest(cluster.errors)])
    assert not file.parent.exists()


@pytest.mark.real_time
def test_a_cluster_that_finds_no_place_for_its_key_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "mkdtemp", fails)
    assert complaint(run("cluster", "-n", "2", "--http", "127.0.0.1:0")) == (
        "no directory can be made for the network key: No space left on device; name one that this user may write to in"
        " TMPDIR"
    )
