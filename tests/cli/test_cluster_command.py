"""What `camomile cluster` refuses before anything starts, and what it says once all is there."""

from __future__ import annotations

import socket
import sys

import pytest
import trio

from camomile_trio.cli.local_cluster import Member, announcement
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import NodeId
from tests.cli.terminal import Run, complaint

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
    lines = announcement(MEMBERS).splitlines()
    assert lines[0] == f"node 1  {'01' * 32}  peers 127.0.0.1:9001  http://127.0.0.1:8080/"
    assert lines[1] == f"node 2  {'02' * 32}  peers 127.0.0.1:9002  http://127.0.0.1:8081/"
    assert "  curl -iF 'value=ABC, du är mina tankar' http://127.0.0.1:8080/" in lines
    assert "  curl -i http://127.0.0.1:8081/bde0e9f6e9d3fabd5bf6849e179f0aee485630f6d5c1c4398517cc1543fb9386" in lines


def test_on_a_terminal_the_nodes_are_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    text = announcement(MEMBERS)
    assert "2 nodes, all ready" in text
    assert "http://127.0.0.1:8081/" in text
    assert "node 2  " not in text
