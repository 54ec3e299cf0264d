"""Keys: files that are whole or not there, and signatures that hold for one key and one network."""

from __future__ import annotations

import os
import random
import stat
import threading
from pathlib import Path

import pytest

from camomile_trio.errors import ConfigError
from camomile_trio.identity import (
    BadSignature,
    KeyFileMissing,
    KeyPair,
    load_key,
    load_or_create_key,
    network_id,
    sign_record,
    verify_record,
)
from camomile_trio.kademlia import leases
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.records import Record, RecordRow
from camomile_trio.peer.local import StaticKey
from camomile_trio.peer.suite import NaclSuite
from tests.secrets_on_disk import secret_file

NETWORK, OTHER_NETWORK = network_id("camomile"), network_id("another")
ALICE, MALLORY = KeyPair.new(random.Random(1)), KeyPair.new(random.Random(2))
KEY = Key.of(b"a value")

as_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may write and read everywhere")


def lease() -> Record:
    return sign_record(leases.new_lease(KEY, ALICE.public, seen=0, now=1000, life_ms=3_600_000), ALICE, NETWORK)


# Records -----------------------------------------------------------------------------------------------------------


def test_a_signed_record_is_read_back() -> None:
    assert verify_record(lease().row(), KEY, NETWORK) == lease()


def test_a_record_means_nothing_for_another_key() -> None:
    with pytest.raises(BadSignature):
        verify_record(lease().row(), Key.of(b"another value"), NETWORK)


def test_a_record_means_nothing_in_another_network() -> None:
    with pytest.raises(BadSignature):
        verify_record(lease().row(), KEY, OTHER_NETWORK)


def test_no_byte_of_a_record_can_be_changed() -> None:
    row = lease().row()
    for place in range(len(row)):
        forged = RecordRow(row[:place] + bytes([row[place] ^ 1]) + row[place + 1 :])
        with pytest.raises(BadSignature):
            verify_record(forged, KEY, NETWORK)


@pytest.mark.parametrize("row", [b"", b"x", bytes(122), bytes(123), bytes(124)])
def test_what_is_no_record_is_refused_in_the_same_way(row: bytes) -> None:
    with pytest.raises(BadSignature):
        verify_record(RecordRow(row), KEY, NETWORK)


def test_nobody_signs_for_another_publisher() -> None:
    unsigned = leases.new_lease(KEY, ALICE.public, seen=0, now=1000, life_ms=3_600_000)
    with pytest.raises(ValueError, match="own publisher"):
        sign_record(unsigned, MALLORY, NETWORK)


def test_a_seed_gives_the_publisher_the_key_of_the_node_and_its_id() -> None:
    """Fixed bytes: a node that had another id after an update would lose what it holds."""
    seed = bytes(range(32))
    node = StaticKey.from_seed(NaclSuite(), seed)
    assert KeyPair.from_seed(seed).public.hex() == "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
    assert node.public.hex() == "9e47e6de21e7d37240f473c0ed35e9d00a8325bbbd9dc2aa950b92f8c1511b69"
    assert node.node_id.hex() == "853f20157ec17b8c0dc0075381d825c9d3ad8e342cafad03be903a02bc5c8dad"


def test_a_key_never_shows_its_secret() -> None:
    assert ALICE.seed.hex() not in repr(ALICE)
    assert ALICE.public.hex()[:16] in repr(ALICE)


# Key files ---------------------------------------------------------------------------------------------------------


def test_a_missing_key_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    made = load_or_create_key(path, random.Random(3))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == made.seed.hex() + "\n"
    assert list(tmp_path.iterdir()) == [path]  # nothing half-made is left
    assert load_or_create_key(path, random.Random(4)).seed == made.seed


def test_a_wide_umask_opens_nothing(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load_or_create_key(tmp_path / "node.key", random.Random(3))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "node.key").stat().st_mode) == 0o600


@pytest.mark.real_time
def test_of_many_makers_at_once_one_wins_and_all_use_its_key(tmp_path: Path) -> None:
    path = tmp_path / "publisher.key"
    together = threading.Barrier(8)
    seeds: list[bytes] = []

    def make(number: int) -> None:
        together.wait(timeout=10)
        seeds.append(load_or_create_key(path, random.Random(number)).seed)

    makers = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join(timeout=10)
    assert len(seeds) == 8
    assert set(seeds) == {bytes.fromhex(path.read_text())}
    assert list(tmp_path.iterdir()) == [path]


def test_a_maker_that_comes_second_uses_the_key_that_is_there(tmp_path: Path) -> None:
    """It looked before the other one had finished: only the link, which never overwrites, stands between."""
    path = tmp_path / "publisher.key"

    class Slow(random.Random):
        def randbytes(self, n: int) -> bytes:
            load_or_create_key(path, random.Random(5))
            return super().randbytes(n)

    second = load_or_create_key(path, Slow(6))
    assert second.seed == KeyPair.new(random.Random(5)).seed


@pytest.mark.parametrize("content", ["", "00" * 31, "00" * 33, "no key at all", "zz" * 32, "\xff\xfe"])
def test_a_file_that_holds_no_key_is_left_alone_and_said_so(tmp_path: Path, content: str) -> None:
    path = secret_file(tmp_path / "node.key", content.encode("latin-1"))
    with pytest.raises(ConfigError, match="holds no key") as caught:
        load_or_create_key(path, random.Random(3))
    assert "backup" in caught.value.remedy
    assert path.read_text(encoding="latin-1") == content


def test_a_key_file_without_an_end_is_not_read_to_its_end() -> None:
    with pytest.raises(ConfigError, match="holds no key"):
        load_key(Path("/dev/zero"))


def test_a_key_with_white_space_around_it_is_a_key(tmp_path: Path) -> None:
    path = secret_file(tmp_path / "node.key", f"  {ALICE.seed.hex().upper()}\r\n".encode())
    assert load_or_create_key(path, random.Random(3)).public == ALICE.public


def test_a_key_that_other_users_may_read_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    made = load_or_create_key(path, random.Random(3))
    path.chmod(0o640)
    for load in (load_key, lambda path: load_or_create_key(path, random.Random(4))):
        with pytest.raises(ConfigError, match=r"open to other users \(mode 0640\)") as refused:
            load(path)
        assert f"chmod 600 {path}" in refused.value.remedy
    path.chmod(0o600)
    assert load_key(path).seed == made.seed


def test_a_directory_that_is_not_there_makes_no_key(tmp_path: Path) -> None:
    with pytest.raises(KeyFileMissing, match="cannot be made"):
        load_or_create_key(tmp_path / "nowhere" / "node.key", random.Random(3))


def test_something_else_in_its_place_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "node.key").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_or_create_key(tmp_path / "node.key", random.Random(3))


@as_root
def test_a_directory_that_may_not_be_written_to_makes_no_key(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(KeyFileMissing) as caught:
            load_or_create_key(tmp_path / "publisher.key", random.Random(3))
    finally:
        tmp_path.chmod(0o700)
    assert "writable" in caught.value.remedy
    assert not list(tmp_path.iterdir())


def test_where_no_file_can_be_made_the_key_is_somebody_elses_to_make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a read-only directory looks like to everybody, root included."""

    def read_only(*arguments: object, **more: object) -> int:
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(KeyFileMissing, match="Read-only file system"):
        load_or_create_key(tmp_path / "publisher.key", random.Random(3))


def test_a_full_disk_leaves_no_half_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(KeyFileMissing, match="No space left"):
            load_or_create_key(tmp_path / "node.key", random.Random(3))
    assert not list(tmp_path.iterdir())
