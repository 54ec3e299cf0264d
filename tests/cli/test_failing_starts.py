"""Every way in which the start of a node can fail on a real machine: one line each, and nothing left open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog

from camomile_trio.cli import logs
from camomile_trio.cli.line_writer import LineWriter
from tests.cli.processes import FREE_PORTS, Alice
from tests.cli.terminal import Run, complaint
from tests.secrets_on_disk import secret_file

pytestmark = pytest.mark.real_time

# The one line that `camomile node` leaves, and its exit code.
Fail = Callable[..., tuple[str, int]]


def _drop(*_: object) -> str:
    raise structlog.DropEvent


@contextmanager
def _without_a_log(*_: object) -> Iterator[LineWriter]:
    structlog.configure(processors=[_drop])
    yield LineWriter(2)


@pytest.fixture
def fail(run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fail]:
    """Runs `camomile node` in this process, without its log: what it leaves open is an error of the test."""
    monkeypatch.setattr(logs, "logging_events", _without_a_log)

    def node(*words: str) -> tuple[str, int]:
        result = run("node", *words)
        return complaint(result), result.exit_code

    yield node
    structlog.reset_defaults()


def test_a_port_of_peers_in_use_is_one_line(alice: Alice, fail: Fail) -> None:
    peers = str(alice.listening["peers"])
    line, code = fail("--ephemeral", "--listen", peers, "--http", "127.0.0.1:0")
    assert peers in line
    assert "--listen" in line
    assert code == 1


def test_a_port_of_clients_in_use_is_one_line(alice: Alice, fail: Fail) -> None:
    http = alice.url.removeprefix("http://")
    line, code = fail("--ephemeral", "--listen", "127.0.0.1:0", "--http", http)
    assert http in line
    assert "--http" in line
    assert code == 1


def test_a_data_directory_in_use_is_one_line(alice: Alice, fail: Fail, tmp_path: Path) -> None:
    line, code = fail(*FREE_PORTS, "--data-dir", str(alice.directory), "--socket", str(tmp_path / "c.sock"))
    assert str(alice.directory) in line
    assert "--data-dir" in line
    assert code == 1


def test_a_control_socket_in_use_is_one_line(alice: Alice, fail: Fail) -> None:
    line, code = fail(*FREE_PORTS, "--ephemeral", "--socket", str(alice.socket))
    assert f"another process listens on {alice.socket}" in line
    assert "--socket" in line
    assert code == 1


def test_a_directory_that_cannot_be_written_is_one_line(fail: Fail, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    line, code = fail(*FREE_PORTS, "--data-dir", str(tmp_path / "file" / "below"))
    assert str(tmp_path / "file") in line
    assert code == 1


def test_an_address_of_another_machine_is_one_line(fail: Fail) -> None:
    line, code = fail("--ephemeral", "--listen", "192.0.2.1:8118", "--http", "127.0.0.1:0")
    assert "192.0.2.1:8118" in line
    assert code == 1


def test_a_publisher_key_that_is_none_is_one_line(fail: Fail, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("not a key")
    line, code = fail(*FREE_PORTS, "--ephemeral", "--publisher-key", str(tmp_path / "key"))
    assert str(tmp_path / "key") in line
    assert code == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no network key file"),
        (b"", "is empty"),
        (b"ab" * 31, "62 characters"),
        (b"ab" * 32 + b"\r\n", "CR"),
        (b"".join(b"%02x" % number * 32 + b"\n" for number in range(3)), "more than two lines"),
    ],
)
def test_a_file_that_holds_no_network_key_is_one_line(
    fail: Fail, tmp_path: Path, content: bytes | None, words: str
) -> None:
    file = tmp_path / "network.key" if content is None else secret_file(tmp_path / "network.key", content)
    line, code = fail("--ephemeral", *FREE_PORTS, "--network-key", str(file))
    assert words in line
    assert "abab" not in line
    assert code == 2
    # A node makes none.
    assert file.exists() is (content is not None)


def test_a_network_key_that_others_may_read_is_one_line(fail: Fail, tmp_path: Path) -> None:
    file = secret_file(tmp_path / "network.key", b"ab" * 32)
    file.chmod(0o640)
    line, code = fail("--ephemeral", *FREE_PORTS, "--network-key", str(file))
    assert f"chmod 600 {file}" in line
    assert code == 2
