"""A data directory belongs to one process at a time."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from camomile_trio.errors import DataDirectoryInUse, StorageError
from camomile_trio.storage.data_directory import LOCK_FILE, SCRATCH_FILE, DataDirectory

NOBODY = 65534


@contextmanager
def powerless() -> Iterator[None]:
    """Whoever may do everything becomes nobody for a while, for permissions mean nothing to root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_missing_directory_is_made_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "some" / "where"
    directory = DataDirectory.open(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((path / LOCK_FILE).stat().st_mode) == 0o600
    directory.release()


def test_a_directory_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "node.key").write_text("secret")
    DataDirectory.open(tmp_path).release()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert (tmp_path / "node.key").read_text() == "secret"


def test_it_is_opened_once_at_a_time_even_by_one_process(tmp_path: Path) -> None:
    first = DataDirectory.open(tmp_path)
    with pytest.raises(DataDirectoryInUse, match=f"in use by process {os.getpid()}") as refused:
        DataDirectory.open(tmp_path)
    assert "--data-dir" in refused.value.remedy
    first.release()
    first.release()
    DataDirectory.open(tmp_path).release()


@pytest.mark.real_time
def test_another_process_is_named_and_its_death_frees_the_directory(tmp_path: Path) -> None:
    program = (
        "import pathlib, signal, sys\n"
        "from camomile_trio.storage.data_directory import DataDirectory\n"
        "signal.alarm(20)\n"
        "held = DataDirectory.open(pathlib.Path(sys.argv[1]))\n"
        "print('held', flush=True)\n"
        "signal.pause()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"held\n"
            with pytest.raises(DataDirectoryInUse, match=f"in use by process {child.pid}"):
                DataDirectory.open(tmp_path)
        finally:
            child.kill()
    DataDirectory.open(tmp_path).release()


def test_a_file_in_its_place_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    for path in (tmp_path / "data", tmp_path / "data" / "deeper"):
        with pytest.raises(StorageError, match=r"data.* cannot be used: ") as refused:
            DataDirectory.open(path)
        assert "--data-dir" in refused.value.remedy


def test_a_directory_that_cannot_be_written_is_a_clear_error() -> None:
    # Not below pytest's own directory, which nobody else may enter.
    with tempfile.TemporaryDirectory() as base:
        path = Path(base)
        path.chmod(0o555)
        try:
            with powerless(), pytest.raises(StorageError, match="cannot be used: Permission denied"):
                DataDirectory.open(path)
            with powerless(), pytest.raises(StorageError, match="cannot be used: Permission denied"):
                DataDirectory.open(path / "data")
        finally:
            path.chmod(0o700)


@pytest.mark.parametrize("name", [LOCK_FILE, "camomile.db", "camomile.db-wal", "node.key", "journal"])
def test_a_link_in_it_is_refused_and_what_it_leads_to_is_left_alone(tmp_path: Path, name: str) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    data = tmp_path / "data"
    data.mkdir(0o700)
    (data / name).symlink_to(precious)
    with pytest.raises(StorageError, match=f"{name} is a symbolic link") as refused:
        DataDirectory.open(data)
    assert "move it away" in refused.value.remedy
    assert precious.read_text() == "precious"
    (data / name).unlink()
    DataDirectory.open(data).release()


def test_a_link_that_leads_nowhere_makes_no_file(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(0o700)
    (data / LOCK_FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="symbolic link"):
        DataDirectory.open(data)
    assert not (tmp_path / "elsewhere").exists()


def test_a_pipe_in_place_of_the_lock_is_refused_and_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / LOCK_FILE)
    with pytest.raises(StorageError, match="device or a pipe"):
        DataDirectory.open(tmp_path)


@pytest.mark.parametrize("planted_late", [False, True])
def test_a_lock_that_is_another_files_second_name_is_not_emptied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted_late: bool
) -> None:
    """Late: after the look at what is in the directory."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    data = tmp_path / "data"
    data.mkdir(0o700)
    if planted_late:
        monkeypatch.setattr(os, "scandir", lambda _path: nullcontext(iter(())))
        (data / LOCK_FILE).symlink_to(precious)
    else:
        (data / LOCK_FILE).hardlink_to(precious)
    with pytest.raises(StorageError):
        DataDirectory.open(data)
    assert precious.read_text() == "precious"


def test_a_scratch_file_that_was_planted_is_replaced_and_nothing_is_written_through_it(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    data = tmp_path / "data"
    directory = DataDirectory.open(data)
    for plant in ((data / SCRATCH_FILE).symlink_to, (data / SCRATCH_FILE).hardlink_to):
        plant(precious)
        directory.try_to_write(100)
        assert not (data / SCRATCH_FILE).exists()
    assert precious.read_text() == "precious"
    directory.release()


@pytest.mark.parametrize("mode", [0o770, 0o720, 0o702, 0o777, 0o1777, 0o2775])
def test_a_directory_that_other_users_may_write_to_is_refused_with_both_ways_out(tmp_path: Path, mode: int) -> None:
    data = tmp_path / "the data"
    data.mkdir()
    data.chmod(mode)
    with pytest.raises(StorageError, match=rf"other users may write to .*the data \(mode {mode:04o}\)") as refused:
        DataDirectory.open(data)
    assert refused.value.remedy.startswith(f"run `chmod go-w '{data}'`")
    assert not (data / LOCK_FILE).exists()
    inside = DataDirectory.open(data / "node")
    assert (data / "node").stat().st_mode & 0o777 == 0o700
    inside.release()
    data.chmod(mode & ~0o022)
    DataDirectory.open(data).release()


def test_a_directory_of_another_user_is_refused_but_not_to_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() == 0:
        os.chown(tmp_path, NOBODY, NOBODY)  # a directory of root's is nobody's danger
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(StorageError, match=rf"belongs to another user \(uid {owner}\)"):
        DataDirectory.open(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    DataDirectory.open(tmp_path).release()
