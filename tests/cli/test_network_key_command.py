"""`camomile key network`: the key of a closed network is made and changed, and never shown."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from camomile_trio.network_keys import fingerprint, load_network_keys
from tests.cli.one_server import OneServer, serving
from tests.cli.terminal import Run, complaint

pytestmark = pytest.mark.real_time


@pytest.fixture
def file(run: Run, tmp_path: Path) -> Path:
    """A network key file with one key."""
    path = tmp_path / "network.key"
    assert run("key", "network", "new", str(path)).exit_code == 0
    return path


@pytest.fixture
def control(home: Path) -> Iterator[OneServer]:
    """The control socket of a node in the usual data directory."""
    directory = home / "data" / "camomile"
    directory.mkdir()
    with serving(directory / "control.sock") as server:
        yield server


def prints(path: Path) -> list[str]:
    return [fingerprint(key) for key in load_network_keys(path)]


def node_with(*keys: tuple[str, object]) -> bytes:
    listed = [{"fingerprint": name, "sessions": sessions} for name, sessions in keys]
    return json.dumps({"network_keys": listed}).encode()


def test_a_new_key_is_its_owners_alone_and_only_its_fingerprint_is_shown(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "network.key"
    before = os.umask(0)
    try:
        made = run("key", "network", "new", str(path))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (key,) = load_network_keys(path)
    assert (made.stdout, made.stderr) == (f"sent under     {fingerprint(key)}\n", "")


def test_a_key_is_changed_in_three_steps(run: Run, file: Path) -> None:
    (old,) = load_network_keys(file)
    added = run("key", "network", "add", str(file))
    first, new = load_network_keys(file)
    assert first == old
    assert added.stdout == f"sent under     {fingerprint(old)}\nalso accepted  {fingerprint(new)}\n"
    promoted = run("key", "network", "promote", str(file))
    assert load_network_keys(file) == (new, old)
    assert promoted.stdout == f"sent under     {fingerprint(new)}\nalso accepted  {fingerprint(old)}\n"
    removed = run("key", "network", "remove", str(file))
    assert load_network_keys(file) == (new,)
    assert removed.stdout == f"sent under     {fingerprint(new)}\nremoved        {fingerprint(old)}\n"
    # No node runs here, and nothing is said of one.
    assert removed.stderr == ""


def test_no_step_shows_a_key_or_opens_the_file_to_others(run: Run, file: Path) -> None:
    said = run("key", "network", "new", "--if-missing", str(file)).output
    keys = set(load_network_keys(file))
    for step in ("add", "add", "promote", "remove", "remove", "promote", "new"):
        said += run("key", "network", step, str(file)).output
        keys |= set(load_network_keys(file))
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(keys) == 2
    assert not any(key.hex()[:8] in said.lower() for key in keys)


def test_a_file_that_is_there_is_never_overwritten(run: Run, file: Path) -> None:
    before = file.read_bytes()
    refused = run("key", "network", "new", str(file))
    assert "is there already, and was left as it is" in complaint(refused)
    assert refused.exit_code == 2
    kept = run("key", "network", "new", "--if-missing", str(file))
    assert (kept.exit_code, kept.stdout) == (0, f"sent under     {prints(file)[0]}\n")
    assert file.read_bytes() == before


def test_if_missing_makes_a_file_that_is_missing_and_refuses_one_that_is_broken(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "network.key"
    assert run("key", "network", "new", "--if-missing", str(path)).exit_code == 0
    path.write_bytes(b"")
    refused = run("key", "network", "new", "--if-missing", str(path))
    assert complaint(refused)
    assert refused.exit_code == 2
    assert path.read_bytes() == b""


@pytest.mark.parametrize("step", ["promote", "remove"])
def test_there_is_no_second_key_to_promote_or_remove(run: Run, file: Path, step: str) -> None:
    before = file.read_bytes()
    refused = run("key", "network", step, str(file))
    assert complaint(refused)
    assert refused.exit_code == 2
    assert file.read_bytes() == before


@pytest.mark.parametrize("step", ["add", "promote", "remove"])
def test_a_file_that_is_missing_is_not_made(run: Run, tmp_path: Path, step: str) -> None:
    refused = run("key", "network", step, str(tmp_path / "nowhere"))
    assert "camomile key network new" in complaint(refused)
    assert refused.exit_code == 2
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("words", [["key", "network", "new"], ["key", "network", "add"], ["node", "--network-key"]])
def test_a_key_in_the_place_of_its_file_is_never_repeated(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    secret = random.Random(4).randbytes(32).hex()
    for given in (secret, secret.upper(), f'"{secret}"'):
        refused = run(*words, given)
        assert "this is a key, and not the name of a file" in complaint(refused)
        assert secret[:8] not in refused.output.lower()
        assert refused.exit_code == 2
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == []


class TestRemovingAKeyInUse:
    @pytest.fixture
    def going(self, run: Run, file: Path) -> str:
        """The fingerprint of the key that goes."""
        run("key", "network", "add", str(file))
        run("key", "network", "promote", str(file))
        return prints(file)[1]

    def test_is_warned_of_with_the_number_of_sessions_and_done(
        self, run: Run, file: Path, control: OneServer, going: str
    ) -> None:
        control.will_answer("200 OK", node_with((prints(file)[0], 12), (going, 3)))
        done = run("key", "network", "remove", str(file))
        assert re.fullmatch(rf"camomile: .*control\.sock still has sessions under {going}: 3; .*\n", done.stderr)
        assert (done.exit_code, len(prints(file))) == (0, 1)
        assert [(request.method, request.path) for request in control.seen] == [("GET", "/node")]

    @pytest.mark.parametrize("answer", [b'{"network_keys": 7}', b'{"network_keys": [7]}', b"{}"])
    def test_is_no_reason_for_words_where_no_session_uses_it(
        self, run: Run, file: Path, control: OneServer, going: str, answer: bytes
    ) -> None:
        control.will_answer("200 OK", answer)
        assert run("key", "network", "remove", str(file)).stderr == ""
        run("key", "network", "add", str(file))
        control.will_answer("200 OK", node_with((prints(file)[0], 12), (prints(file)[1], 0), (going, 5)))
        assert run("key", "network", "remove", str(file)).stderr == ""

    def test_is_done_where_the_node_does_not_answer(
        self, run: Run, file: Path, tmp_path: Path, going: str, control: OneServer
    ) -> None:
        control.will_answer("200 OK", b"no JSON")
        copy = tmp_path / "copy"
        shutil.copy(file, copy)
        done = run("key", "network", "remove", str(copy))
        assert "no node was asked who uses the key" in done.stderr
        assert (done.exit_code, len(prints(copy))) == (0, 1)
        done = run("key", "network", "remove", str(file), "--socket", str(tmp_path / "nowhere"))
        assert "no node was asked who uses the key: cannot reach a node" in done.stderr
        assert (done.exit_code, prints(file)) == (0, [prints(copy)[0]])
