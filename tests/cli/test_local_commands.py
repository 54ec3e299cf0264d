"""ping, reload and stop, over a control socket that is told what to answer."""

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


def reloaded(**changes: object) -> bytes:
    nothing: dict[str, object] = {
        "added": [],
        "promoted": None,
        "removed": [],
        "sessions_ended": 0,
        "expect_before": 3,
        "expect": 3,
    }
    return json.dumps(nothing | changes).encode()


def test_a_reload_says_what_it_has_changed(run: Run, control: OneServer) -> None:
    control.will_answer("200 OK", reloaded())
    assert run("reload").stdout == "nothing has changed\n"
    control.will_answer("200 OK", reloaded(added=["11111111"], expect_before=None))
    assert run("reload", "--expect", "3").stdout == "accepted now: 11111111\nexpects now: 3 nodes\n"
    control.will_answer("200 OK", reloaded(promoted="22222222", expect=2))
    assert run("reload").stdout == "sent under now: 22222222\nexpects now: 2 nodes, before: 3\n"
    control.will_answer("200 OK", reloaded(removed=["33333333"], sessions_ended=4))
    assert run("reload").stdout == "removed: 33333333\nsessions ended: 4\n"
    assert {(request.method, request.path) for request in control.seen} == {("POST", "/reload")}
    assert [json.loads(request.body) for request in control.seen] == [{}, {"expect": 3}, {}, {}]


def test_a_reload_takes_no_number_of_nodes_from_the_environment(run: Run, control: OneServer) -> None:
    """In a container it is there from the node's start, and would undo what a reload before has set."""
    control.will_answer("200 OK", reloaded())
    assert run("reload", environment={"CAMOMILE_EXPECT": "5"}).exit_code == 0
    assert json.loads(control.seen[0].body) == {}


def test_a_reload_that_the_node_refuses_is_one_line(run: Run, control: OneServer) -> None:
    control.will_refuse("500 Internal Server Error", detail="not reloaded: the file is empty", remedy="copy it again")
    result = run("reload")
    assert complaint(result) == "not reloaded: the file is empty; copy it again"
    assert result.exit_code == 1


@pytest.mark.parametrize("number", ["0", "1001", "some"])
def test_a_reload_with_a_number_that_no_network_has_is_misuse(run: Run, control: OneServer, number: str) -> None:
    assert run("reload", "--expect", number).exit_code == 2
    assert control.seen == []


def test_what_a_reload_answers_cannot_steer_the_terminal(run: Run, control: OneServer) -> None:
    strange = ["\x1b[2J"]
    control.will_answer("200 OK", reloaded(added=strange, removed="x", promoted=strange, sessions_ended=strange))
    assert all(line.isprintable() for line in run("reload").stdout.splitlines())


def test_the_help_of_reload_says_what_can_change_without_a_restart(run: Run) -> None:
    text = " ".join(run("reload", "--help").stdout.split())
    assert (
        "Two options of a node can change without a restart: what is in the file of --network-key, and --expect" in text
    )


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


@pytest.mark.parametrize("words", [["stop"], ["reload"], ["ping", BOB]])
def test_without_a_node_it_says_where_it_looked(run: Run, home: Path, words: list[str]) -> None:
    result = run(*words)
    assert f"cannot reach a node at {home}/data/camomile/control.sock: No such file" in complaint(result)
    assert "--socket" in complaint(result)
    assert result.exit_code == 5


@pytest.mark.parametrize(
    "words",
    [["stop"], ["reload"], ["ping", BOB], ["records"], ["export"], ["import", "/dev/null"]],
    ids=lambda words: words[0],
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
