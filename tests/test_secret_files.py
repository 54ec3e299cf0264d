"""Files with secrets: those of this user are read only while no other user may read them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from camomile_trio.errors import ConfigError
from camomile_trio.secret_files import KeyFileExists, create_secret, read_secret, replace_secret
from tests.secrets_on_disk import secret_file

SECRET = b"s3cret"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    return secret_file(tmp_path / "the secret", SECRET)


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644, 0o620, 0o602, 0o777])
def test_what_other_users_may_read_or_write_is_refused_with_the_command_that_ends_it(secret: Path, mode: int) -> None:
    secret.chmod(mode)
    with pytest.raises(ConfigError, match=rf"key file .* is open to other users \(mode {mode:04o}\)") as refused:
        read_secret(secret, "key file", 100)
    assert refused.value.remedy.startswith(f"run `chmod 600 '{secret}'`")
    assert SECRET.decode() not in f"{refused.value} {refused.value.remedy}"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_what_its_owner_alone_may_read_is_read_up_to_a_bound(secret: Path, mode: int) -> None:
    secret.chmod(mode)
    assert read_secret(secret, "key file", 100) == SECRET
    assert read_secret(secret, "key file", 3) == SECRET[:3]


def test_the_file_behind_a_link_counts(secret: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(secret)
    assert read_secret(link, "key file", 100) == SECRET
    secret.chmod(0o644)
    with pytest.raises(ConfigError, match="open to other users"):
        read_secret(link, "key file", 100)


def test_the_mode_of_another_users_file_is_not_this_users_affair(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Docker and Kubernetes mount secrets: they belong to root, and everybody in the container may read them."""
    secret.chmod(0o444)
    another = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: another)
    assert read_secret(secret, "key file", 100) == SECRET


def test_a_pipe_keeps_nothing_that_other_users_could_read() -> None:
    reading, writing = os.pipe()
    try:
        os.fchmod(reading, 0o666)
        os.write(writing, SECRET)
        os.close(writing)
        assert read_secret(Path(f"/dev/fd/{reading}"), "token file", 100) == SECRET
    finally:
        os.close(reading)


def test_a_missing_file_is_left_to_the_caller_and_other_trouble_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_secret(tmp_path / "nowhere", "key file", 100)
    with pytest.raises(ConfigError, match=r"token file .* cannot be read: Is a directory"):
        read_secret(tmp_path, "token file", 100)


# Made and replaced (identity.py and network_keys.py do both, and their tests see what fails) --------------------------


def test_of_a_file_that_is_made_nothing_is_open_to_others_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    create_secret(tmp_path / "new", SECRET)
    assert read_secret(tmp_path / "new", "key file", 100) == SECRET
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [tmp_path / "new"]


def test_a_file_that_is_there_is_not_made(secret: Path) -> None:
    with pytest.raises(KeyFileExists):
        create_secret(secret, b"other")
    assert secret.read_bytes() == SECRET
    assert list(secret.parent.iterdir()) == [secret]


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o440])
def test_a_file_that_is_replaced_keeps_its_mode(secret: Path, mode: int) -> None:
    secret.chmod(mode)
    replace_secret(secret, b"other")
    assert stat.S_IMODE(secret.stat().st_mode) == mode
    assert secret.read_bytes() == b"other"
    assert list(secret.parent.iterdir()) == [secret]


def test_a_reader_of_the_file_before_reads_it_whole(secret: Path) -> None:
    with secret.open("rb") as before:
        replace_secret(secret, b"other")
        assert before.read() == SECRET


def test_what_is_not_there_or_no_file_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        replace_secret(tmp_path / "nowhere", SECRET)
    with pytest.raises(OSError, match="Not a regular file"):
        replace_secret(tmp_path, SECRET)
    assert not list(tmp_path.iterdir())
