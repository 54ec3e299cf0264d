"""A closed network of real processes: its key changes under puts, and a node without the key stays outside."""

from __future__ import annotations

import json
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import httpx
import pytest

from camomile_trio.network_keys import fingerprint, load_network_keys
from tests.cli.processes import PATIENCE, Process, Processes, url_of
from tests.cli.terminal import Run, complaint

pytestmark = pytest.mark.real_time


@attrs.frozen
class Member:
    """A node of the closed network, with a copy of the key file of its own."""

    process: Process
    url: str
    directory: Path
    peers: str

    @property
    def file(self) -> Path:
        return self.directory / "network.key"

    def status(self) -> dict[str, object]:
        found: dict[str, object] = httpx.get(f"{self.url}/-/node", trust_env=False, timeout=PATIENCE).json()
        return found

    def sessions(self) -> dict[str, int]:
        """Of each accepted key, by its fingerprint, the one that is sent under first."""
        keys = self.status()["network_keys"]
        assert isinstance(keys, list)
        return {key["fingerprint"]: key["sessions"] for key in keys}


@pytest.fixture
def first(run: Run, processes: Processes, tmp_path: Path) -> Member:
    """The first node of a closed network, which expects another one."""
    made = tmp_path / "made.key"
    run("key", "network", "new", str(made))
    return start(processes, tmp_path / "first", made)


def start(processes: Processes, directory: Path, key: Path, *words: str) -> Member:
    directory.mkdir(mode=0o700)
    shutil.copy(key, directory / "network.key")
    process, listening = processes.node(
        *("--data-dir", str(directory), "--expect", "2", *words),
        CAMOMILE_NETWORK_KEY_FILE=str(directory / "network.key"),
    )
    return Member(process, url_of(listening), directory, str(listening["peers"]))


def test_the_key_changes_while_values_are_put_and_none_fails(
    run: Run, first: Member, processes: Processes, tmp_path: Path
) -> None:
    second = start(processes, tmp_path / "second", first.file, "--join", first.peers)
    members = (first, second)
    for member in members:
        member.process.event("ready")
    (old,) = map(fingerprint, load_network_keys(first.file))
    with putting(first.url, second.url) as outcomes:
        # One node is told by the command, the other by the signal.
        run("key", "network", "add", str(first.file))
        _, new = map(fingerprint, load_network_keys(first.file))
        assert run("reload", "--data-dir", str(first.directory)).stdout == f"accepted now: {new}\n"
        shutil.copy(first.file, second.file)
        second.process.process.send_signal(signal.SIGHUP)
        _await(lambda: list(second.sessions()) == [old, new])
        assert list(first.sessions()) == [old, new]

        for member in members:
            run("key", "network", "promote", str(member.file))
        assert run("reload", "--data-dir", str(first.directory)).stdout == f"sent under now: {new}\n"
        second.process.process.send_signal(signal.SIGHUP)
        # Puts are under way between the two, so that no session waits for its turn to be renewed.
        _await(lambda: all(member.sessions() == {new: 1, old: 0} for member in members))
        (peer,) = httpx.get(f"{first.url}/-/peers", trust_env=False).json()["peers"]
        assert peer["network_key"] == new

        for member in members:
            removed = run(
                "key", "network", "remove", str(member.file), "--socket", str(member.directory / "control.sock")
            )
            assert (removed.exit_code, removed.stderr) == (0, "")
        assert run("reload", "--data-dir", str(first.directory)).stdout == f"removed: {old}\n"
        second.process.process.send_signal(signal.SIGHUP)
        _await(lambda: all(member.sessions() == {new: 1} for member in members))
        done = len(outcomes)
        _await(lambda: len(outcomes) > done + 10)
    assert set(outcomes) == {202}
    assert "sent under " + new in " ".join(run("status", "--node", first.url).stdout.split())
    assert run("peers", "--node", first.url).stdout.splitlines()[0].endswith("NETWORK KEY")
    metrics = httpx.get(f"{first.url}/-/metrics", trust_env=False).text.splitlines()
    assert "camomile_network_closed 1.0" in metrics
    assert f'camomile_network_key_sessions{{key="{new}"}} 1.0' in metrics
    for member in members:
        assert member.process.end(signal.SIGTERM) == 0
    log = [line for member in members for line in (*member.process.said, *member.process.rest(member.process.errors))]
    assert not any(key.hex() in line for key in load_network_keys(first.file) for line in log)


def test_a_node_without_the_key_says_why_it_is_not_ready(
    run: Run, first: Member, processes: Processes, tmp_path: Path
) -> None:
    run("key", "network", "new", str(tmp_path / "other.key"))
    _, listening = processes.node("--ephemeral", "--join", first.peers)
    other_one = start(processes, tmp_path / "other", tmp_path / "other.key", "--join", first.peers)
    for url in (url_of(listening), other_one.url):
        _await(lambda url=url: "none of the nodes to join answers" in reason(url))  # type: ignore[misc]
        assert "another network or" in reason(url)
        assert "key" in reason(url)
    assert httpx.get(f"{first.url}/-/peers", trust_env=False).json()["peers"] == []


def test_a_broken_file_changes_nothing_and_is_said(run: Run, first: Member) -> None:
    before = first.sessions()
    key = first.file.read_text()
    first.file.write_text(key * 2)
    refused = run("reload", "--data-dir", str(first.directory))
    assert "not reloaded, what was before goes on: network key file" in complaint(refused)
    assert refused.exit_code == 1
    first.process.process.send_signal(signal.SIGHUP)
    event = first.process.event("not reloaded, what was before goes on")
    assert (event["level"], str(first.file) in str(event["because"])) == ("error", True)
    assert key.strip() not in refused.output + json.dumps(event)
    assert first.sessions().keys() == before.keys()
    first.file.write_text(key)
    assert run("reload", "--data-dir", str(first.directory)).stdout == "nothing has changed\n"
    assert first.process.process.poll() is None


def test_fewer_nodes_are_expected_without_a_restart(run: Run, first: Member) -> None:
    assert "--expect 2" in reason(first.url)
    done = run("reload", "--data-dir", str(first.directory), "--expect", "1")
    assert done.stdout == "expects now: 1 nodes, before: 2\n"
    first.process.event("ready")


def reason(url: str) -> str:
    return str(httpx.get(f"{url}/-/node", trust_env=False, timeout=PATIENCE).json()["not_ready_because"])


@contextmanager
def putting(*urls: str) -> Iterator[list[int]]:
    """Puts values for the length of the block, one after the other at each of these nodes; gives the statuses."""
    outcomes: list[int] = []
    ending = threading.Event()

    def put(url: str) -> None:
        number = 0
        with httpx.Client(base_url=url, trust_env=False, timeout=PATIENCE) as client:
            while not ending.is_set():
                number += 1
                outcomes.append(client.post("/", files={"value": (None, f"{url} {number}")}).status_code)

    threads = [threading.Thread(target=put, args=(url,)) for url in urls]
    for thread in threads:
        thread.start()
    try:
        yield outcomes
    finally:
        ending.set()
        for thread in threads:
            thread.join(PATIENCE)


def _await(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
