"""The real command in processes of its own: starting, being used, stopping, side by side."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from tests.cli.processes import COMMAND, FREE_PORTS, PATIENCE, Alice, Processes, url_of
from tests.cli.terminal import Run, complaint

pytestmark = pytest.mark.real_time

# A resolver refuses a name of more than 255 bytes by itself: no server is asked.
UNRESOLVABLE = "x." * 130 + "invalid:8118"


def test_a_node_is_used_with_the_command_alone(run: Run, alice: Alice) -> None:
    value = os.urandom(5000)
    put = run("put", "-", "--node", alice.url, given=value)
    assert (put.exit_code, put.stderr) == (0, "")
    key = put.stdout.strip()
    assert run("get", key, "--node", alice.url).stdout_bytes == value
    assert run("forget", key, "--node", alice.url).stdout == f"forgotten: {key}\n"
    gone = run("get", key, "--node", alice.url)
    assert re.fullmatch("camomile: .*; .*\n", gone.stderr)
    assert gone.exit_code == 4


def test_an_unknown_key_and_an_empty_value_are_one_line(run: Run, alice: Alice) -> None:
    unknown = run("get", "ab" * 32, "--node", alice.url)
    assert complaint(unknown)
    assert unknown.exit_code == 3
    empty = run("put", "", "--node", alice.url)
    assert complaint(empty)
    assert empty.exit_code == 1


@pytest.mark.parametrize("source", ["file", "standard input"])
def test_a_value_that_is_too_large_is_refused_with_a_remedy(
    run: Run, alice: Alice, tmp_path: Path, source: str
) -> None:
    value = bytes(20 * 2**20)
    (tmp_path / "value").write_bytes(value)
    if source == "file":
        result = run("put", "--file", str(tmp_path / "value"), "--node", alice.url)
    else:
        result = run("put", "-", "--node", alice.url, given=value)
    assert "nothing was stored" in complaint(result)
    assert "--max-value-size" in complaint(result)
    assert result.exit_code == 1


def test_a_running_node_tells_its_status(run: Run, alice: Alice) -> None:
    as_json = json.loads(run("status", "--json", "--node", alice.url).stdout)
    assert as_json["id"] == alice.listening["id"]
    table = run("status", "--node", alice.url).stdout
    assert str(alice.listening["id"]) in table
    assert re.search(r"storage +[0-9.]+ [KMG]?i?B of 1.0 GiB", table)


def test_reading_no_further_is_no_failure_worth_words(run: Run, alice: Alice, tmp_path: Path) -> None:
    (tmp_path / "value").write_bytes(bytes(1_000_000))
    key = run("put", "--file", str(tmp_path / "value"), "--node", alice.url).stdout.strip()
    with subprocess.Popen(
        [*COMMAND, "get", key, "--node", alice.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as getting:
        assert getting.stdout is not None
        assert getting.stderr is not None
        assert getting.stdout.read(10) == bytes(10)
        getting.stdout.close()
        assert getting.stderr.read() == b""
        assert getting.wait(PATIENCE) == 1


def test_a_node_is_joined_pinged_through_and_stopped_over_its_socket(
    run: Run, alice: Alice, processes: Processes, tmp_path: Path
) -> None:
    bob, listening = processes.node("--data-dir", str(tmp_path), CAMOMILE_JOIN=f" {alice.listening['peers']} ")
    bob.event("ready")
    socket = tmp_path / "control.sock"
    assert socket.stat().st_mode & 0o777 == 0o600

    pinged = run("ping", str(alice.listening["id"]), "--data-dir", str(tmp_path))
    assert f"{alice.listening['id']} at {alice.listening['peers']} answered in" in pinged.stdout
    nobody = run("ping", "ff" * 32, "--data-dir", str(tmp_path))
    assert complaint(nobody)
    assert nobody.exit_code == 3

    (peer,) = json.loads(run("peers", "--json", "--node", url_of(listening)).stdout)["peers"]
    assert (peer["id"], peer["endpoint"], peer["answers"]) == (alice.listening["id"], alice.listening["peers"], True)
    assert peer["round_trip"] > 0
    assert run("ping", peer["id"][:8], "--data-dir", str(tmp_path)).stdout.startswith(f"{peer['id']} at ")

    assert run("stop", "--socket", str(socket)).stdout == "stopping\n"
    assert bob.end() == 0
    assert bob.event("stopping")["because"] == "control socket"
    assert not socket.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_node_in_order(processes: Processes, number: signal.Signals) -> None:
    node, listening = processes.node("--ephemeral")
    assert "neither renew nor forget" in str(node.event("ephemeral identity")["meaning"])
    with httpx.Client(trust_env=False) as kept_open:
        assert kept_open.get(url_of(listening) + "/-/healthy").status_code == 200
        asked = time.monotonic()
        assert node.end(number) == 0
    assert time.monotonic() - asked < 10
    assert node.event("stopping")["because"] == number.name
    node.event("stopped")
    assert node.rest(node.out) == []


def test_what_was_put_is_there_again_after_a_restart(run: Run, processes: Processes, tmp_path: Path) -> None:
    first, listening = processes.node("--data-dir", str(tmp_path))
    first.event("ready")
    key = run("put", "lasting", "--node", url_of(listening)).stdout.strip()
    assert first.end(signal.SIGTERM) == 0
    second, again = processes.node("--data-dir", str(tmp_path))
    second.event("ready")
    assert again["id"] == listening["id"]
    assert run("get", key, "--node", url_of(again)).stdout == "lasting"


def test_a_node_whose_data_directory_was_deleted_acknowledges_nothing_and_says_why(
    run: Run, processes: Processes, tmp_path: Path
) -> None:
    directory = tmp_path / "node"
    node, listening = processes.node("--data-dir", str(directory), "--socket", str(tmp_path / "control.sock"))
    node.event("ready")
    url = url_of(listening)
    key = run("put", "before", "--node", url).stdout.strip()
    shutil.rmtree(directory)
    # Until something is written nothing can be lost that was not lost with the directory.
    for value in ("before", "after", "and again"):
        refused = run("put", value, "--node", url)
        assert (refused.exit_code, refused.stdout) == (5, "")
        assert "the storage of most of the holders fails" in complaint(refused)
    assert run("get", key, "--node", url).stdout == "before"
    ready = httpx.get(f"{url}/-/ready")
    assert ready.status_code == 503
    assert f"{directory}/camomile.db was deleted, moved or replaced" in ready.json()["detail"]
    assert "start the node again" in ready.json()["detail"]
    assert str(node.event("the storage fails")["because"]) in ready.json()["detail"]
    assert node.end(signal.SIGTERM) == 0
    assert not any("the storage fails" in line for line in node.rest(node.errors))
    again, listening = processes.node("--data-dir", str(directory))
    again.event("ready")
    assert run("put", "after", "--node", url_of(listening)).exit_code == 0


def test_a_node_says_once_that_a_name_cannot_be_resolved_and_goes_on(processes: Processes) -> None:
    node, listening = processes.node("--ephemeral", "--join", UNRESOLVABLE)
    name = "cannot resolve a name to join, will go on trying"
    assert node.event(name)["name"] == UNRESOLVABLE
    # Its HTTP is there before it has joined, and says so.
    with httpx.Client(trust_env=False) as client:
        assert client.get(url_of(listening) + "/-/healthy").status_code == 200
        assert client.get(url_of(listening) + "/-/ready").status_code == 503
    assert node.event("not ready")["because"]
    assert node.event("not ready")["level"] == "info"
    assert node.end(signal.SIGTERM) == 0
    assert [json.loads(line)["event"] for line in node.rest(node.errors)] == ["stopping", "stopped"]


def test_a_node_that_is_frozen_is_given_up_by_every_command(run: Run, processes: Processes, tmp_path: Path) -> None:
    node, listening = processes.node("--data-dir", str(tmp_path))
    node.event("ready")
    node.process.send_signal(signal.SIGSTOP)
    for words in (["status"], ["peers"], ["get", "ab" * 32], ["put", "value"], ["forget", "ab" * 32]):
        result = run(*words, "--node", url_of(listening), "--timeout", "0.3")
        assert complaint(result).startswith(f"a node at {url_of(listening)} was silent for 0.3 s; ")
        assert result.exit_code == 5
    for words in (["ping", "ab" * 32], ["stop"]):
        result = run(*words, "--data-dir", str(tmp_path), "--timeout", "0.3")
        assert "was silent for 0.3 s" in complaint(result)
        assert result.exit_code == 5
    node.process.send_signal(signal.SIGCONT)
    # What the commands asked for is still done.
    node.event("stopping")
    assert node.end() == 0


def test_requests_and_operations_are_shown_at_the_level_debug(run: Run, processes: Processes) -> None:
    node, listening = processes.node("--ephemeral", "--log-level", "debug")
    node.event("ready")
    key = run("put", "a value", "--node", url_of(listening)).stdout.strip()
    request, operation = node.event("request"), node.event("operation")
    assert (request["method"], request["path"], request["status"]) == ("POST", "/", "202")
    assert (operation["operation"], operation["outcome"], operation["level"]) == ("put", "ok", "debug")
    assert str(listening["id"]).startswith(str(operation["node"]))
    assert run("get", key, "--node", url_of(listening)).exit_code == 0
    assert run("status", "--node", url_of(listening)).exit_code == 0
    assert node.end(signal.SIGTERM) == 0
    log = node.rest(node.errors)
    paths = [event["path"] for line in log if (event := json.loads(line))["event"] == "request"]
    assert paths == [f"/{key[:8]}…", "/-/node"]
    assert not any(key[:9] in line for line in log)


def test_ctrl_c_while_waiting_for_the_publisher_key_ends_it_at_once(processes: Processes, tmp_path: Path) -> None:
    node = processes.start("node", *FREE_PORTS, "--ephemeral", "--publisher-key", str(tmp_path / "nowhere" / "key"))
    node.event("waiting for the publisher key")
    assert node.end(signal.SIGINT) == 0


def test_what_is_heavy_is_not_loaded_before_a_command_needs_it() -> None:
    code = "import sys, camomile_trio.cli.command; print(*sys.modules)"
    loaded = subprocess.run([COMMAND[0], "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert set(loaded.stdout.split()).isdisjoint({"quart", "hypercorn", "httpx", "prometheus_client"})


def test_a_cluster_serves_what_its_curl_lines_say_and_stops_in_time(processes: Processes) -> None:
    cluster = processes.start("cluster", "-n", "10", "--http", "127.0.0.1:0")
    lines: list[str] = []
    while not lines or lines[-1] != "Ctrl-C stops all nodes.":
        lines.append(cluster.next_line(cluster.out))
    urls = [match[0] for line in lines if line.startswith("node ") and (match := re.search(r"http://[0-9.:]+", line))]
    assert len(urls) == len(set(urls)) == 10
    put, get = (line for line in lines if line.startswith("  curl"))
    assert f"{urls[0]}/" in put
    assert f"{urls[-1]}/" in get

    with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
        stored = client.post(urls[0], files={"value": (None, "ABC, du är mina tankar")})
        assert stored.status_code == 202
        assert stored.headers["location"] == "/" + get.rpartition("/")[2]
        for url in urls:
            assert client.get(url + stored.headers["location"]).content == "ABC, du är mina tankar".encode()
        # Any node may forget what another stored: they share their publisher key.
        assert client.delete(urls[4] + stored.headers["location"]).status_code == 204

        asked = time.monotonic()
        assert cluster.end(signal.SIGINT) == 0
        assert time.monotonic() - asked < 5 + 2  # the interpreter's own end included
    assert [line for line in cluster.rest(cluster.errors) if json.loads(line)["level"] == "error"] == []


class TestALogThatNobodyReads:
    """Its pipe is full from the beginning: a write to it by the event loop would be the last thing that it did."""

    @pytest.fixture
    def unread(self, processes: Processes, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        with suppress(BlockingIOError):
            while True:
                os.write(writing, bytes(2**12))
        os.set_blocking(writing, True)
        node = subprocess.Popen(
            [*COMMAND, "node", *FREE_PORTS, "--data-dir", str(tmp_path), "--log-level", "debug"],
            stdin=subprocess.DEVNULL,
            stderr=writing,
        )
        try:
            yield node, tmp_path / "control.sock"
        finally:
            node.kill()
            node.wait(PATIENCE)
            os.close(reading)
            os.close(writing)

    def test_a_node_serves_and_ends_in_order(self, run: Run, unread: tuple[subprocess.Popen[bytes], Path]) -> None:
        node, socket = unread
        _await(lambda: socket.exists() and run("records", "--socket", str(socket)).exit_code == 0)
        node.send_signal(signal.SIGTERM)
        assert node.wait(PATIENCE) == 0

    def test_a_second_signal_ends_a_main_thread_that_is_stuck_in_a_write(self, tmp_path: Path) -> None:
        program = (
            "import os, signal, trio\n"
            "from camomile_trio.cli.lifetime import run_until_stopped\n"
            "async def body(stop):\n"
            "    stop.has_started = True\n"
            "    os.write(1, b'stuck')\n"
            "    while True:\n"
            "        os.write(2, bytes(2**20))\n"
            "trio.run(lambda: run_until_stopped(body, limit=10))\n"
        )
        reading, writing = os.pipe()
        try:
            with subprocess.Popen([COMMAND[0], "-c", program], stdout=subprocess.PIPE, stderr=writing) as stuck:
                assert stuck.stdout is not None
                assert stuck.stdout.read(5) == b"stuck"
                os.read(reading, 1)  # it is in the write, which one byte less does not end
                stuck.send_signal(signal.SIGTERM)
                # Two signals that come together are one for the system: this one has been taken when it is caught.
                _await(lambda: not _catches(stuck.pid, signal.SIGTERM))
                assert stuck.poll() is None
                stuck.send_signal(signal.SIGTERM)
                assert stuck.wait(PATIENCE) == -signal.SIGTERM
        finally:
            os.close(reading)
            os.close(writing)


def _catches(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler for that signal (proc(5), SigCgt)."""
    (mask,) = re.findall(r"^SigCgt:\s*([0-9a-f]+)$", Path(f"/proc/{pid}/status").read_text("ascii"), re.MULTILINE)
    return bool(int(mask, 16) >> (number - 1) & 1)


def _await(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_signal_of_the_first_moment_is_not_lost(processes: Processes, tmp_path: Path) -> None:
    # The node reads its token before it loads anything slow: it waits in there, and has not begun to run.
    token = tmp_path / "token"
    os.mkfifo(token)
    node = processes.start("node", *FREE_PORTS, "--ephemeral", "--http-token", str(token))
    with token.open("wb") as out:
        node.process.send_signal(signal.SIGTERM)
        _await(lambda: not _catches(node.process.pid, signal.SIGTERM))
        out.write(b"secret-and-random\n")
    assert node.end() == 0
    assert [json.loads(line)["event"] for line in node.rest(node.errors)] == ["stopping", "stopped"]


def test_a_terminal_that_closes_ends_a_node_in_order(processes: Processes) -> None:
    terminal, end = os.openpty()
    try:
        # The node leads a session of its own, and the terminal that it opens first becomes its own.
        node = processes.start("node", *FREE_PORTS, "--ephemeral", before=f"exec <{os.ttyname(end)}")
        node.event("ready")
    finally:
        os.close(end)
        os.close(terminal)
    assert node.end() == 0
    assert node.event("stopping")["because"] == "SIGHUP"


CLOSED = [(0,), (1,), (2,), (0, 1, 2)]


@pytest.mark.parametrize("closed", CLOSED)
def test_a_node_runs_without_standard_streams(run: Run, tmp_path: Path, closed: tuple[int, ...]) -> None:
    with _without(closed, "node", *FREE_PORTS, "--data-dir", str(tmp_path)) as node:
        socket = tmp_path / "control.sock"
        _await(lambda: socket.exists() and run("records", "--socket", str(socket)).exit_code == 0)
        # No socket and no database has taken the place of a standard stream.
        places = [os.readlink(f"/proc/{node.pid}/fd/{number}") for number in closed]
        assert places == ["/dev/null"] * len(closed)
        assert run("stop", "--socket", str(socket)).exit_code == 0
        assert node.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    ("closed", "words", "complaint"),
    [
        (1, ["--help"], b"camomile: standard output is closed; open it, or use /dev/null\n"),
        (1, ["status"], b"camomile: standard output is closed; open it, or use /dev/null\n"),
        (1, ["simulate", "--list"], b"camomile: standard output is closed; open it, or use /dev/null\n"),
        (0, ["put", "-"], b"camomile: standard input is closed; open it, or use /dev/null\n"),
        (0, ["check", "-"], b"camomile: standard input is closed; open it, or use /dev/null\n"),
        (2, ["put", "-", "--ttl", "5"], b""),
    ],
)
def test_a_command_that_needs_a_closed_stream_says_so(
    alice: Alice, monkeypatch: pytest.MonkeyPatch, closed: int, words: list[str], complaint: bytes
) -> None:
    monkeypatch.setenv("CAMOMILE_NODE", alice.url)
    with _without((closed,), *words) as command:
        _, said = command.communicate(timeout=PATIENCE)
    assert (said, command.returncode) == (complaint, 2 if closed == 2 else 1)


def _without(closed: tuple[int, ...], *words: str) -> subprocess.Popen[bytes]:
    """A command that is started with some of descriptors 0, 1 and 2 closed."""
    shell = 'exec "$@" ' + " ".join(f"{number}>&-" for number in closed)
    return subprocess.Popen(
        ["sh", "-c", shell, "sh", *COMMAND, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_more_clients_than_there_are_descriptors_are_turned_away_and_counted(processes: Processes) -> None:
    node = processes.start("node", *FREE_PORTS, "--ephemeral", before="ulimit -n 256")
    url = url_of(node.event("listening"))
    node.event("ready")
    with httpx.Client(trust_env=False, timeout=PATIENCE) as first, ExitStack() as held:
        assert first.get(url + "/-/healthy").status_code == 200
        host, _, port = url.removeprefix("http://").rpartition(":")
        for _ in range(400):
            held.enter_context(socket.create_connection((host, int(port)), timeout=PATIENCE))

        def count(name: str) -> float:
            text = first.get(url + "/-/metrics").text
            found = re.search(rf"^camomile_http_connections{name} ([0-9.]+)$", text, re.MULTILINE)
            return float(found[1]) if found else 0.0

        _await(lambda: count("") + count("_refused_total") == 401)
        assert 16 <= count("") < 256
    assert node.end(signal.SIGTERM) == 0
    assert [json.loads(line)["event"] for line in node.rest(node.errors)] == ["stopping", "stopped"]


def test_several_ephemeral_nodes_of_one_user_are_told_apart_by_their_ports(run: Run, processes: Processes) -> None:
    (one, at_one), (two, at_two) = processes.node("--ephemeral"), processes.node("--ephemeral")
    sockets = [str(each["control"]) for each in (at_one, at_two)]
    for listening, path in zip((at_one, at_two), sockets, strict=True):
        assert path.endswith(f"/control-{str(listening['peers']).rpartition(':')[2]}.sock")
    asked = run("stop")
    assert all(path in complaint(asked) for path in sockets)
    assert "--socket" in complaint(asked)
    assert asked.exit_code == 2

    assert run("stop", "--socket", sockets[0]).exit_code == 0
    assert one.end() == 0
    # Now there is only one, and nobody has to say which.
    assert run("stop").exit_code == 0
    assert two.end() == 0


def test_a_clusters_socket_is_that_of_its_first_node(run: Run, processes: Processes) -> None:
    cluster = processes.start("cluster", "-n", "2", "--http", "127.0.0.1:0")
    first, second = cluster.next_line(cluster.out).split(), cluster.next_line(cluster.out).split()
    assert run("ping", second[2]).stdout.startswith(second[2])
    assert run("records").exit_code == 0
    assert complaint(run("ping", first[2]))  # itself, which is nobody else
    assert run("stop").exit_code == 0
    assert cluster.end() == 0
