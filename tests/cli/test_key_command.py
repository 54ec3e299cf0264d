"""`camomile key`: a publisher key is made once, and its secret never shown."""

from __future__ import annotations

import os
import random
import stat
from pathlib import Path

import pytest

from camomile_trio.identity import KeyPair, load_or_create_key
from camomile_trio.peer.local import StaticKey
from camomile_trio.peer.suite import NaclSuite
from tests.cli.terminal import Run, complaint
from tests.secrets_on_disk import secret_file


def test_a_new_key_is_its_owners_alone_and_the_one_that_a_node_would_use(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "publisher.key"
    before = os.umask(0)
    try:
        made = run("key", "new", str(path))
    finally:
        os.umask(before)
    assert made.exit_code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    pair = load_or_create_key(path, random.Random(1))
    node = StaticKey.from_seed(NaclSuite(), pair.seed)
    assert made.stdout == (
        f"publisher  {pair.public.hex()}\nnode key   {node.public.hex()}\nnode id    {node.node_id.hex()}\n"
    )
    assert run("key", "show", str(path)).stdout == made.stdout


def test_two_new_keys_differ(run: Run, tmp_path: Path) -> None:
    assert run("key", "new", str(tmp_path / "a")).stdout != run("key", "new", str(tmp_path / "b")).stdout


@pytest.mark.parametrize("content", ["", "precious", KeyPair.new(random.Random(2)).seed.hex()])
def test_nothing_is_ever_overwritten(run: Run, tmp_path: Path, content: str) -> None:
    path = tmp_path / "publisher.key"
    path.write_text(content)
    refused = run("key", "new", str(path))
    assert "is there already, and was left as it is" in complaint(refused)
    assert refused.exit_code == 2
    assert path.read_text() == content
    assert {each.name for each in tmp_path.iterdir() if each.is_file()} == {"publisher.key"}


def test_a_link_that_leads_nowhere_is_not_followed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert run("key", "new", str(tmp_path / "link")).exit_code == 2
    assert not (tmp_path / "elsewhere").exists()


def test_the_secret_is_never_shown(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "publisher.key"
    shown = run("key", "new", str(path)).output + run("key", "show", str(path)).output
    assert path.read_text().strip() not in shown


@pytest.mark.parametrize("words", [["key", "new"], ["key", "show"], ["node", "--ephemeral", "--publisher-key"]])
def test_a_key_in_the_place_of_its_file_is_never_repeated_or_made_the_name_of_a_file(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    secret = KeyPair.new(random.Random(3)).seed.hex()
    for given in (secret, secret.upper(), f'"{secret}"', f" {secret}\r"):
        refused = run(*words, given)
        assert "this is a key, and not the name of a file" in complaint(refused)
        assert secret[:8] not in refused.output.lower()
        assert refused.exit_code == 2
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == []


def test_what_is_no_key_is_said_so(run: Run, tmp_path: Path) -> None:
    missing = run("key", "show", str(tmp_path / "nowhere"))
    assert "there is no key file" in complaint(missing)
    assert "camomile key new" in complaint(missing)
    secret_file(tmp_path / "notes", b"milk, bread")
    assert "holds no key" in complaint(run("key", "show", str(tmp_path / "notes")))
    assert "cannot be made" in complaint(run("key", "new", str(tmp_path / "no" / "where")))
