"""put, get, forget and status against a node that is told what to answer."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from camomile_trio.cli import client
from camomile_trio.kademlia.ids import Key
from tests.cli.one_server import OneServer, serving
from tests.cli.terminal import Run, complaint
from tests.secrets_on_disk import secret_file

pytestmark = pytest.mark.real_time

VALUE = "ABC, du är mina tankar".encode()
KEY = Key.parse("bde0e9f6e9d3fabd5bf6849e179f0aee485630f6d5c1c4398517cc1543fb9386")


@pytest.fixture
def node() -> Iterator[OneServer]:
    with serving() as server:
        yield server


def stores(node: OneServer, value: bytes) -> None:
    node.will_answer("202 Accepted", location=f"/{Key.of(value)}", camomile_replicas="3")


def test_putting_prints_the_key(run: Run, node: OneServer) -> None:
    stores(node, VALUE)
    result = run("put", VALUE.decode(), "--node", node.address)
    assert (result.stdout, result.stderr, result.exit_code) == (f"{KEY}\n", "", 0)
    (request,) = node.seen
    assert (request.method, request.path, request.body) == ("POST", "/", VALUE)
    assert request.headers["content-type"] == "application/octet-stream"
    assert "authorization" not in request.headers
    assert "camomile-ttl" not in request.headers


def test_the_node_can_be_named_in_the_environment(run: Run, node: OneServer) -> None:
    stores(node, VALUE)
    assert run("put", VALUE.decode(), environment={"CAMOMILE_NODE": node.address}).exit_code == 0


def test_a_value_may_have_a_life_of_its_own(run: Run, node: OneServer) -> None:
    stores(node, b"short")
    assert run("put", "short", "--ttl", "120", "--node", node.address).exit_code == 0
    assert node.seen[0].headers["camomile-ttl"] == "120"


@pytest.mark.parametrize("ttl", ["59", "86401", "nan", "-1", "inf", "a day"])
def test_a_life_that_no_value_can_have_never_leaves_the_machine(run: Run, node: OneServer, ttl: str) -> None:
    result = run("put", "short", "--ttl", ttl, "--node", node.address)
    assert complaint(result).startswith("--ttl: ")
    assert result.exit_code == 2
    assert node.seen == []


def test_standard_input_is_put_byte_by_byte_as_it_comes(run: Run, node: OneServer) -> None:
    value = bytes(range(256)) * 1024
    stores(node, value)
    result = run("put", "-", "--node", node.address, given=value)
    assert result.stdout == f"{Key.of(value)}\n"
    assert node.seen[0].body == value
    assert node.seen[0].headers["transfer-encoding"] == "chunked"


def test_a_file_is_put_with_its_length_said_first(run: Run, node: OneServer, tmp_path: Path) -> None:
    value = os.urandom(300_000)
    (tmp_path / "value").write_bytes(value)
    stores(node, value)
    result = run("put", "--file", str(tmp_path / "value"), "--node", node.address)
    assert result.stdout == f"{Key.of(value)}\n"
    assert result.stderr == ""  # no bar where there is no terminal
    assert node.seen[0].body == value
    assert node.seen[0].headers["content-length"] == "300000"


@pytest.mark.parametrize("words", [["put"], ["put", "value", "--file", "f"]])
def test_one_value_is_put_at_a_time(run: Run, words: list[str]) -> None:
    result = run(*words)
    assert "give one value" in complaint(result)
    assert result.exit_code == 2


def test_a_file_that_is_not_there_is_said_so(run: Run) -> None:
    result = run("put", "--file", "/nonexistent/file")
    assert complaint(result) == "No such file or directory: /nonexistent/file"
    assert result.exit_code == 1


def test_a_node_that_stores_something_else_is_not_believed(run: Run, node: OneServer) -> None:
    stores(node, b"something else")
    result = run("put", VALUE.decode(), "--node", node.address)
    assert "the node stored something else" in complaint(result)
    assert result.exit_code == 1


def test_a_token_is_shown_to_a_node_that_wants_one(run: Run, node: OneServer, tmp_path: Path) -> None:
    secret_file(tmp_path / "token", b"secret-word\n")
    stores(node, VALUE)
    words = ["--node", node.address, "--token", str(tmp_path / "token")]
    assert run("put", VALUE.decode(), *words).exit_code == 0
    node.will_answer("204 No Content")
    assert run("forget", str(KEY), *words).exit_code == 0
    assert [request.headers["authorization"] for request in node.seen] == ["Bearer secret-word"] * 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("\n", "is empty"),
        ("two words", "holds no token"),
        ("word \n", "holds no token"),
        ("word\n\n", "holds no token"),
        ('"word"\n', "holds no token"),
        ("ä", "holds no token"),
        (None, "there is no such file"),
    ],
)
def test_a_token_file_without_a_token_is_refused_at_once(run: Run, tmp_path: Path, text: str | None, says: str) -> None:
    if text is not None:
        secret_file(tmp_path / "token", text.encode())
    for words in (
        ["put", "value", "--token"],
        ["forget", str(KEY), "--token"],
        ["node", "--ephemeral", "--http-token"],
    ):
        result = run(*words, str(tmp_path / "token"))
        assert says in complaint(result)
        assert result.exit_code == 2


@pytest.mark.parametrize("secret", ["c2VjcmV0LXdvcmQ=", '"quoted-word"', "two words", "x" * 5000, "long/word"])
def test_a_token_in_the_place_of_its_file_is_never_repeated(run: Run, secret: str) -> None:
    for words in (
        ["put", "value", "--token"],
        ["forget", str(KEY), "--token"],
        ["node", "--ephemeral", "--http-token"],
    ):
        result = run(*words, secret)
        assert complaint(result).startswith(f"{words[-1]}: there is no such file; write the token into a file")
        assert secret[:8] not in result.output
        assert result.exit_code == 2
    result = run("put", "value", environment={"CAMOMILE_TOKEN": secret})
    assert complaint(result).startswith("CAMOMILE_TOKEN: ")
    assert secret[:8] not in result.output


def test_a_password_in_a_url_is_never_repeated(run: Run) -> None:
    for url in ("http://me:hunter2@127.0.0.1:8080", "http://:hunter2@[::1", "http://hunter2@a/@b"):
        result = run("status", "--node", url)
        assert "is no address of a node" in complaint(result)
        assert "hunter2" not in result.output
        assert result.exit_code == 2


def test_a_token_that_other_users_may_read_is_refused_at_once(run: Run, tmp_path: Path) -> None:
    token = secret_file(tmp_path / "token", b"a long and random word")
    token.chmod(0o644)
    for words in (
        ["put", "value", "--token"],
        ["forget", str(KEY), "--token"],
        ["node", "--ephemeral", "--http-token"],
    ):
        result = run(*words, str(token))
        assert f"token file {token} is open to other users (mode 0644); run `chmod 600 {token}`" in complaint(result)
        assert result.exit_code == 2


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_end_of_its_line_is_no_part_of_a_token(run: Run, node: OneServer, tmp_path: Path, end: str) -> None:
    secret_file(tmp_path / "token", f"secret-word{end}".encode())
    node.will_answer("204 No Content")
    assert run("forget", str(KEY), "--node", node.address, "--token", str(tmp_path / "token")).exit_code == 0
    assert node.seen[0].headers["authorization"] == "Bearer secret-word"


def test_a_missing_token_is_told_how_to_be_given(run: Run, node: OneServer) -> None:
    node.will_refuse("401 Unauthorized", detail="the token is missing", remedy="send a header")
    assert complaint(run("put", "x", "--node", node.address)) == (
        "the token is missing; name the file with the node's token with --token"
    )


def test_getting_writes_the_bytes_and_nothing_else(run: Run, node: OneServer) -> None:
    value = b"\x00\xff\r\n" * 50_000
    node.will_answer("200 OK", value)
    result = run("get", Key.of(value).hex(), "--node", node.address)
    assert (result.stdout_bytes, result.stderr, result.exit_code) == (value, "", 0)
    assert (node.seen[0].method, node.seen[0].path) == ("GET", f"/{Key.of(value)}")


def test_getting_into_a_file_leaves_the_file_whole(run: Run, node: OneServer, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.write_bytes(b"older")
    node.will_answer("200 OK", VALUE)
    result = run("get", str(KEY), "--node", node.address, "--output", str(output))
    assert (result.stdout, result.exit_code) == ("", 0)
    assert output.read_bytes() == VALUE


def test_getting_into_a_device_does_not_replace_it(run: Run, node: OneServer, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        node.will_answer("200 OK", VALUE)
        assert run("get", str(KEY), "--node", node.address, "--output", str(pipe)).exit_code == 0
        assert os.read(reading, 1000) == VALUE
        assert pipe.is_fifo()
    finally:
        os.close(reading)


def test_a_dash_is_standard_output_and_standard_input_and_no_file(
    run: Run, node: OneServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    node.will_answer("200 OK", VALUE)
    result = run("get", str(KEY), "--node", node.address, "--output", "-")
    assert (result.stdout_bytes, result.exit_code) == (VALUE, 0)
    stores(node, VALUE)
    result = run("put", "--file", "-", "--node", node.address, given=VALUE)
    assert (result.stdout, result.exit_code) == (f"{KEY}\n", 0)
    assert not (tmp_path / "-").exists()


def test_a_value_that_is_not_the_keys_is_not_kept(run: Run, node: OneServer, tmp_path: Path) -> None:
    output = tmp_path / "new" / "out"
    output.parent.mkdir()
    node.will_answer("200 OK", b"forged")
    result = run("get", str(KEY), "--node", node.address, "--output", str(output))
    assert "does not hash to the key" in complaint(result)
    assert result.exit_code == 1
    assert list(output.parent.iterdir()) == []


def test_a_value_that_is_cut_short_is_a_failure(run: Run, node: OneServer, tmp_path: Path) -> None:
    node.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + VALUE
    result = run("get", str(KEY), "--node", node.address, "--output", str(tmp_path / "out"))
    assert "broke off" in complaint(result)
    assert result.exit_code == 5
    assert not (tmp_path / "out").exists()


def test_what_was_forgotten_is_said_in_the_nodes_own_words(run: Run, node: OneServer) -> None:
    node.will_refuse("410 Gone", detail="its publisher forgot it", remedy="put it again")
    result = run("get", str(KEY), "--node", node.address)
    assert complaint(result) == "its publisher forgot it; put it again"
    assert result.exit_code == 4


def test_forgetting_says_what_and_who_else_keeps_it(run: Run, node: OneServer) -> None:
    node.will_answer("204 No Content", camomile_publishers="2")
    result = run("forget", str(KEY).upper(), "--node", node.address)
    assert result.stdout == f"forgotten: {KEY}\n"
    assert "2 others still publish the value" in result.stderr
    assert result.exit_code == 0
    assert (node.seen[0].method, node.seen[0].path) == ("DELETE", f"/{KEY}")


@pytest.mark.parametrize("command", ["get", "forget"])
def test_a_bad_key_never_leaves_the_machine(run: Run, node: OneServer, command: str) -> None:
    result = run(command, "abc", "--node", node.address)
    assert "64 hexadecimal digits" in complaint(result)
    assert result.exit_code == 2
    assert node.seen == []


def test_status_is_a_table_or_json(run: Run, node: OneServer) -> None:
    node.will_answer("200 OK", json.dumps({"id": "ab", "ready": True, "contacts": 7}).encode())
    table = run("status", "--node", node.address)
    assert [line.split() for line in table.stdout.splitlines()] == [["id", "ab"], ["ready", "yes"], ["contacts", "7"]]
    as_json = run("status", "--json", "--node", node.address)
    assert json.loads(as_json.stdout) == {"id": "ab", "ready": True, "contacts": 7}
    assert node.seen[0].path == "/-/node"


def test_peers_are_lines_or_json(run: Run, node: OneServer) -> None:
    near = {"id": "ab" * 32, "endpoint": "127.0.0.1:8119", "round_trip": 0.00125, "last_seen": 200.4}
    far = {"id": "cd" * 32, "endpoint": "[fd00::1]:8118", "round_trip": None, "last_seen": None}
    document = {"peers": [near | {"answers": True}, far | {"answers": False}]}
    node.will_answer("200 OK", json.dumps(document).encode())
    head, *lines = run("peers", "--node", node.address).stdout.splitlines()
    assert head.split() == ["ID", "ENDPOINT", "ROUND", "TRIP", "LAST", "SEEN", "ANSWERS"]
    assert lines[0].split() == ["ab" * 32, "127.0.0.1:8119", "1.25", "ms", "3", "min", "20", "s", "yes"]
    assert lines[1].split() == ["cd" * 32, "[fd00::1]:8118", "-", "-", "no"]
    as_json = run("peers", "--json", "--node", node.address)
    assert json.loads(as_json.stdout) == document
    assert [(request.method, request.path) for request in node.seen] == [("GET", "/-/peers")] * 2


def test_peers_of_a_closed_network_show_their_keys(run: Run, node: OneServer) -> None:
    listed: list[dict[str, object]] = [
        {"id": "ab" * 32, "network_key": "11111111"},
        {"id": "cd" * 32, "network_key": None},
    ]
    node.will_answer("200 OK", json.dumps({"peers": listed}).encode())
    head, *lines = run("peers", "--node", node.address).stdout.splitlines()
    assert head.split()[-2:] == ["NETWORK", "KEY"]
    assert [line.split()[-1] for line in lines] == ["11111111", "-"]
    listed[0]["network_key"] = "\x1b[2J"
    node.will_answer("200 OK", json.dumps({"peers": listed}).encode())
    assert all(line.isprintable() for line in run("peers", "--node", node.address).stdout.splitlines())


def test_peers_of_a_server_that_lies_cannot_steer_the_terminal(run: Run, node: OneServer) -> None:
    for strange in (b'{"peers": 7}', b'{"peers": [7]}', b"{}"):
        node.will_answer("200 OK", strange)
        assert len(run("peers", "--node", node.address).stdout.splitlines()) == 1
    node.will_answer(
        "200 OK", b'{"peers": [{"id": "\\u001b[2J", "endpoint": "a\\nb", "round_trip": Infinity, "last_seen": 1e400}]}'
    )
    lines = run("peers", "--node", node.address).stdout.splitlines()
    assert len(lines) == 2
    assert lines[1].isprintable()


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"[" * 100_000, b'{"a": "\xff"}'])
def test_a_status_that_is_no_json_object_is_refused(run: Run, node: OneServer, body: bytes) -> None:
    node.will_answer("200 OK", body)
    result = run("status", "--node", node.address)
    assert "does not answer with a JSON object" in complaint(result)
    assert result.exit_code == 1


def test_an_endless_status_is_not_read_to_its_end(run: Run, node: OneServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MOST_JSON", 100)
    node.will_answer("200 OK", b" " * 101)
    assert "more than 100 bytes" in complaint(run("status", "--node", node.address))


@pytest.mark.parametrize("words", [["put", "x"], ["get", str(KEY)], ["forget", str(KEY)], ["status"]])
def test_another_web_server_is_recognized_as_such(run: Run, node: OneServer, words: list[str]) -> None:
    node.will_answer("301 Moved Permanently", b"<html>", location="http://127.0.0.1:1/")
    result = run(*words, "--node", node.address)
    assert "answered 301 Moved Permanently, as no node of Camomile does" in complaint(result)
    assert "--node" in complaint(result)
    assert result.exit_code == 1
    assert len(node.seen) == 1


def test_words_of_a_server_cannot_steer_the_terminal(run: Run, node: OneServer) -> None:
    node.will_refuse("503 Service Unavailable", detail="\x1b[2Jnot\njoined", remedy="wait\r")
    assert complaint(run("get", str(KEY), "--node", node.address)) == "\N{REPLACEMENT CHARACTER}[2Jnot joined; wait"


def test_a_problem_without_words_still_says_something(run: Run, node: OneServer) -> None:
    node.will_refuse("500 Internal Server Error")
    assert complaint(run("get", str(KEY), "--node", node.address)) == "the node answered 500"


@pytest.mark.parametrize("words", [["put", "x"], ["get", str(KEY)], ["forget", str(KEY)], ["status"]])
def test_nobody_there_is_one_line(run: Run, words: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    result = run(*words, "--node", f"http://127.0.0.1:{port}")
    assert complaint(result) == (
        f"cannot reach a node at http://127.0.0.1:{port}: Connection refused;"
        " start one with `camomile node`, or name another with --node"
    )
    assert result.exit_code == 5


@pytest.mark.parametrize("words", [["put", "x"], ["get", str(KEY)], ["forget", str(KEY)], ["status"], ["peers"]])
def test_a_node_that_stays_silent_is_given_up_after_the_time_that_was_said(run: Run, words: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        result = run(*words, "--node", url, "--timeout", "0.1")
    assert f"a node at {url} was silent for 0.1 s" in complaint(result)
    assert "--timeout" in complaint(result)
    assert result.exit_code == 5


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "1e9", "soon"])
def test_a_time_that_nobody_can_wait_is_misuse(run: Run, node: OneServer, seconds: str) -> None:
    result = run("status", "--node", node.address, "--timeout", seconds)
    assert complaint(result) == f"--timeout: {seconds!r} is no time to wait; write 0.1 to 3600 seconds"
    assert result.exit_code == 2
    assert node.seen == []


def test_a_server_that_speaks_no_http_is_one_line(run: Run, node: OneServer) -> None:
    node.answer = b"SSH-2.0-OpenSSH\r\n"
    result = run("status", "--node", node.address)
    assert "broke off" in complaint(result)
    assert result.exit_code == 5


@pytest.mark.parametrize(
    ("status", "problem", "code"),
    [
        ("400 Bad Request", "out-of-range", 1),
        ("401 Unauthorized", "token-required", 1),
        ("403 Forbidden", "published-by-others-only", 1),
        ("404 Not Found", "not-found", 3),
        ("404 Not Found", "no-such-path", 1),
        ("410 Gone", "forgotten", 4),
        ("500 Internal Server Error", "node-in-trouble", 1),
        ("503 Service Unavailable", "not-joined-yet", 5),
        ("503 Service Unavailable", "overloaded", 5),
        ("507 Insufficient Storage", "storage-full", 1),
    ],
)
@pytest.mark.parametrize("words", [["put", "x"], ["get", str(KEY)], ["forget", str(KEY)], ["status"], ["peers"]])
def test_a_script_can_tell_why_a_node_refused(
    run: Run, node: OneServer, words: list[str], status: str, problem: str, code: int
) -> None:
    node.will_refuse(status, type=f"urn:camomile:problem:{problem}", detail="it is so", remedy="do this")
    result = run(*words, "--node", node.address)
    assert result.exit_code == code
    assert complaint(result).startswith("it is so; ")


@pytest.mark.parametrize(
    ("status", "code"), [("404 Not Found", 1), ("502 Bad Gateway", 5), ("503 Busy", 5), ("504 Gateway Timeout", 5)]
)
def test_a_proxy_that_does_not_reach_its_node_is_as_good_as_an_unreachable_node(
    run: Run, node: OneServer, status: str, code: int
) -> None:
    node.will_answer(status, b"<html>")
    assert run("get", str(KEY), "--node", node.address).exit_code == code


def test_a_proxy_of_the_environment_is_not_used(run: Run, node: OneServer) -> None:
    stores(node, VALUE)
    result = run("put", VALUE.decode(), "--node", node.address, environment={"http_proxy": "http://127.0.0.1:1"})
    assert result.exit_code == 0
