"""Network key files: one key, or two while they change; whole or as they were; and no key is ever shown."""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camomile_trio.errors import ConfigError
from camomile_trio.network_keys import (
    KEY_BYTES,
    add_network_key,
    create_network_key,
    fingerprint,
    load_network_keys,
    promote_network_key,
    remove_network_key,
)
from camomile_trio.secret_files import KeyFileExists
from tests.secrets_on_disk import secret_file

FIRST, SECOND, THIRD = (random.Random(number).randbytes(KEY_BYTES) for number in (1, 2, 3))


def line(key: bytes) -> bytes:
    return key.hex().encode() + b"\n"


def rng() -> random.Random:
    return random.Random(7)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "network.key"


# Reading -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        (line(FIRST), (FIRST,)),
        (line(FIRST).rstrip(), (FIRST,)),
        (line(FIRST) + line(SECOND), (FIRST, SECOND)),
        (line(FIRST).upper() + line(SECOND).rstrip(), (FIRST, SECOND)),
        (line(FIRST) + b"\n\n  \n", (FIRST,)),
        (line(FIRST) + line(SECOND) + b"\n", (FIRST, SECOND)),
    ],
)
def test_a_file_has_the_key_that_is_sent_under_and_may_have_one_more(
    path: Path, content: bytes, keys: tuple[bytes, ...]
) -> None:
    assert load_network_keys(secret_file(path, content)) == keys


@pytest.mark.parametrize(
    ("content", "flaw"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (line(FIRST)[2:], "has 62 characters on line 1"),
        (b"0" + line(FIRST), "has 65 characters on line 1"),
        (line(FIRST) + line(SECOND)[1:], "has 63 characters on line 2"),
        (b"x" + line(FIRST)[1:], "has another character on line 1"),
        (" ".join([FIRST.hex()[:32], FIRST.hex()[33:]]).encode(), "has another character on line 1"),
        (b"\xff" * 64 + b"\n", "has another character on line 1"),
        (b" " + line(FIRST), "has 65 characters on line 1"),
        (b"\n" + line(FIRST), "has 0 characters on line 1"),
        (b"# ours\n" + line(FIRST), "has 6 characters on line 1"),
        (line(FIRST)[:-1] + b"\r\n", "has a CR"),
        (line(FIRST) + b"\r\n", "has a CR"),
        (line(FIRST) + line(SECOND) + line(THIRD), "has more than two lines"),
        (line(FIRST) + b"\n" + line(SECOND), "has more than two lines"),
        (line(FIRST) + line(SECOND) + b"\n" * 2000 + line(THIRD), "has more than two lines"),
        (line(FIRST) + line(FIRST), "has the same key twice"),
        (line(FIRST) + line(FIRST).upper(), "has the same key twice"),
    ],
)
def test_anything_else_is_refused_in_words_that_say_what_to_do_and_show_no_key(
    path: Path, content: bytes, flaw: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_network_keys(secret_file(path, content))
    assert str(caught.value).startswith(f"network key file {path} {flaw}")
    assert caught.value.remedy
    for key in (FIRST, SECOND, THIRD):
        said = f"{caught.value} {caught.value.remedy} {caught.value!r}".lower()
        assert not any(key.hex()[start : start + 8] in said for start in range(57))
    assert path.read_bytes() == content


@pytest.fixture(scope="module")
def one_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return secret_file(tmp_path_factory.mktemp("keys") / "network.key", b"")


@given(content=st.binary(max_size=200) | st.text("0123456789abcdefG \n\r", max_size=200).map(str.encode))
def test_whatever_is_in_the_file_it_is_keys_or_a_config_error(one_path: Path, content: bytes) -> None:
    one_path.write_bytes(content)
    try:
        keys = load_network_keys(one_path)
    except ConfigError:
        pass
    else:
        assert b"".join(map(line, keys)).split() == content.lower().split()


def test_a_file_that_is_missing_is_an_error_and_is_not_made(path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no network key file") as caught:
        load_network_keys(path)
    assert "camomile key network new" in caught.value.remedy
    assert not path.exists()


def test_a_file_that_others_may_read_is_refused(path: Path) -> None:
    secret_file(path, line(FIRST)).chmod(0o644)
    with pytest.raises(ConfigError, match="open to other users"):
        load_network_keys(path)


def test_a_directory_is_no_file(path: Path) -> None:
    path.mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_network_keys(path)


def test_a_file_without_an_end_is_not_read_to_its_end() -> None:
    with pytest.raises(ConfigError):
        load_network_keys(Path("/dev/zero"))


# Making and changing -------------------------------------------------------------------------------------------------


def test_a_new_key_is_in_a_file_of_its_own_that_only_its_owner_reads(path: Path) -> None:
    before = os.umask(0)
    try:
        key = create_network_key(path, rng())
    finally:
        os.umask(before)
    assert load_network_keys(path) == (key,)
    assert len(key) == KEY_BYTES
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_is_there_is_never_overwritten(path: Path) -> None:
    secret_file(path, b"something else")
    with pytest.raises(KeyFileExists, match="is there already"):
        create_network_key(path, rng())
    assert path.read_bytes() == b"something else"
    assert list(path.parent.iterdir()) == [path]


def test_where_no_file_can_be_made_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be made: No such file or directory"):
        create_network_key(tmp_path / "nowhere" / "network.key", rng())


def test_a_key_is_added_promoted_and_the_old_one_removed(path: Path) -> None:
    old = create_network_key(path, rng())
    new = add_network_key(path, random.Random(8))
    assert load_network_keys(path) == (old, new)
    assert promote_network_key(path) == new
    assert load_network_keys(path) == (new, old)
    assert remove_network_key(path) == old
    assert load_network_keys(path) == (new,)
    assert list(path.parent.iterdir()) == [path]


CHANGES: list[tuple[Callable[[Path], object], bytes, str]] = [
    (lambda path: add_network_key(path, rng()), line(FIRST) + line(SECOND), "holds two keys already"),
    (promote_network_key, line(FIRST), "holds one key, so there is none to promote"),
    (remove_network_key, line(FIRST), "holds one key, which stays"),
]


@pytest.mark.parametrize(("change", "content", "why"), CHANGES)
def test_a_change_out_of_order_leaves_the_file_as_it_is(
    path: Path, change: Callable[[Path], object], content: bytes, why: str
) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        change(secret_file(path, content))
    assert caught.value.remedy
    assert path.read_bytes() == content


@pytest.mark.parametrize("change", [lambda path: add_network_key(path, rng()), promote_network_key, remove_network_key])
def test_a_broken_file_is_not_changed(path: Path, change: Callable[[Path], object]) -> None:
    with pytest.raises(ConfigError):
        change(secret_file(path, line(FIRST) + b"no key"))
    with pytest.raises(ConfigError, match="there is no"):
        change(path.with_name("nowhere"))
    assert path.read_bytes() == line(FIRST) + b"no key"


def test_a_full_disk_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret_file(path, line(FIRST))
    for failing in (lambda *arguments: 3, _raise_full):
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", failing)
            with pytest.raises(ConfigError, match="cannot be changed, and is as it was: No space left"):
                add_network_key(path, rng())
    assert path.read_bytes() == line(FIRST)
    assert list(path.parent.iterdir()) == [path]


def _raise_full(*arguments: object) -> int:
    raise OSError(28, "No space left on device")


def test_a_change_goes_through_a_link_to_the_file_that_it_names(tmp_path: Path) -> None:
    """As secrets are mounted; what is beside the link stays a link."""
    (tmp_path / "mounted").mkdir()
    there, here = secret_file(tmp_path / "mounted" / "key", line(FIRST)), tmp_path / "network.key"
    here.symlink_to(there)
    added = add_network_key(here, rng())
    assert here.is_symlink()
    assert load_network_keys(there) == (FIRST, added)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_what_root_changes_stays_the_nodes_to_read(path: Path) -> None:
    os.chown(secret_file(path, line(FIRST) + line(SECOND)), 1234, 2345)
    path.chmod(0o440)
    remove_network_key(path)
    status = path.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 2345, 0o440)
    assert path.read_bytes() == line(FIRST)


# Fingerprints --------------------------------------------------------------------------------------------------------


def test_a_fingerprint_is_8_digits_that_are_the_same_everywhere_and_no_part_of_the_key() -> None:
    # hashlib.blake2b(b"camomile network key\0", key=bytes(range(32)), digest_size=4)
    assert fingerprint(bytes(range(32))) == "353f9008"
    assert len({fingerprint(bytes([number]) * KEY_BYTES) for number in range(256)}) == 256
    assert fingerprint(FIRST) not in FIRST.hex()
