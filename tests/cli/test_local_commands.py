"""ping and stop, over a control socket that is told what to answer."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.one_server import OneServer, serving
from tests.cli.terminal import Run, complaint

pytestmark = pytest.mark.real_time

BOB = "b0" * 32


@pytest.fixture
def control(home: Path) -> Iterator[OneServer]:
    """The control socket of a node in the usual data directory."""
    directory = home / "data" / "camomile"
    directory.mkdir()
    with serving(directory / "control.sock") as server:
        yield server


def pong(**changes: object) -> bytes:
    return json.dumps({"node": BOB, "endpoint": "127.0.0.1:8119", "round_trip": 0.00125} | changes).encode()


def test_a_ping_says_where_the_node_is_and_how_far(run: Run, control: OneServer) -> None:
    control.will_answer("200 OK", pong())
    result = run("ping", BOB.upper())
    assert result.stdout == f"{BOB} at 127.0.0.1:8119 answered in 1.25 ms\n"
    assert result.exit_code == 0
    assert (control.seen[0].method, control.seen[0].path) == ("POST", f"/ping/{BOB}")


def test_the_first_digits_of_a_peers_id_are_enough_to_ping_it(run: Run, control: OneServer) -> None:
    ids = [BOB, "b0b1" + BOB[4:], "c0c0/../stop", BOB[:-1]]
    control.will_answer("200 OK", pong(peers=[{"id": each} for each in ids] + [7]))
    assert run("ping", "B0B0b").stdout.startswith(f"{BOB} at 127.0.0.1:8119 answered")
    assert [(request.method, request.path) for request in control.seen] == [("GET", "/peers"), ("POST", f"/ping/{BOB}")]
    assert run("ping", BOB[:-1]).stdout.startswith(f"{BOB} at ")
    for nobody in ("c0c0", "dddd"):
        result = run("ping", nobody)
        assert complaint(result) == f"no id of a peer begins with {nobody}; take one from `camomile peers`"
        assert result.exit_code == 3
    control.will_answer("200 OK", pong(peers=[{"id": BOB}, {"id": BOB[:60] + "0000"}]))
    result = run("ping", "b0b0b0")
    assert complaint(result) == "the ids of 2 peers begin with b0b0b0; give more digits"
    assert result.exit_code == 2
    assert [request.path for request in control.seen].count(f"/ping/{BOB}") == 2


def test_a_node_that_nobody_finds_is_said_so(run: Run, control: OneServer) -> None:
    control.will_refuse("503 Service Unavailable", detail="no node answered", remedy="check the id")
    result = run("ping", BOB)
    assert complaint(result) == "no node answered; check the id"
    assert result.exit_code == 5
    control.will_refuse("404 Not Found", type="urn:camomile:problem:not-found", detail="no node b0b0…", remedy="check")
    assert run("ping", BOB).exit_code == 3


def test_an_answer_that_is_no_nodes_is_refused(run: Run, control: OneServer) -> None:
    for strange in (pong(round_trip="soon"), pong(round_trip=None), pong(round_trip=True)):
        control.will_answer("200 OK", strange)
        assert "does not answer as a node does" in complaint(run("ping", BOB))


def test_what_a_socket_answers_cannot_steer_the_terminal(run: Run, control: OneServer) -> None:
    control.will_answer("200 OK", pong(endpoint="\x1b[2J", version="\n"))
    assert run("ping", BOB).stdout.removesuffix("\n").isprintable()


def test_stopping_asks_the_node_to_stop(run: Run, control: OneServer) -> None:
    control.will_answer("202 Accepted")
    result = run("stop")
    assert (result.stdout, result.exit_code) == ("stopping\n", 0)
    assert (control.seen[0].method, control.seen[0].path) == ("POST", "/stop")


def test_the_socket_is_found_by_data_directory_or_by_name(run: Run, control: OneServer) -> None:
    control.will_answer("202 Accepted")
    directory = str(Path(control.address).parent)
    for words, environment in (
        (["--data-dir", directory], {}),
        (["--socket", control.address], {}),
        ([], {"CAMOMILE_DATA_DIR": directory}),
        ([], {"CAMOMILE_SOCKET": control.address}),
    ):
        assert run("stop", *words, environment={"XDG_DATA_HOME": "/nonexistent", **environment}).exit_code == 0
    assert len(control.seen) == 4


@pytest.mark.parametrize("words", [["stop"], ["ping", BOB]])
def test_without_a_node_it_says_where_it_looked(run: Run, home: Path, words: list[str]) -> None:
    result = run(*words)
    assert f"cannot reach a node at {home}/data/camomile/control.sock: No such file" in complaint(result)
    assert "--socket" in complaint(result)
    assert result.exit_code == 5


@pytest.mark.parametrize(
    "words", [["stop"], ["ping", BOB], ["records"], ["export"], ["import", "/dev/null"]], ids=lambda words: words[0]
)
def test_a_node_that_does_not_move_is_given_up_after_the_time_that_was_said(
    run: Run, tmp_path: Path, words: list[str]
) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        result = run(*words, "--socket", str(tmp_path / "s"), "--timeout", "0.1")
    assert f"a node at {tmp_path / 's'} was silent for 0.1 s" in result.stderr
    assert result.exit_code == 5


@pytest.mark.parametrize("words", [["stop"], ["ping", BOB], ["node", "--ephemeral"]])
def test_a_socket_path_that_is_too_long_is_refused(run: Run, words: list[str]) -> None:
    result = run(*words, "--socket", "/tmp/" + "a" * 103)
    assert "the control socket's path has 108 bytes, and 107 is the most" in complaint(result)
    assert result.exit_code == 2


def test_a_bad_id_is_misuse(run: Run) -> None:
    result = run("ping", "bob")
    assert "'bob' is no node's id" in complaint(result)
    assert result.exit_code == 2
