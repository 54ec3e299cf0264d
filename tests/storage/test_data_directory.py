"""A data directory belongs to one process at a time."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from camomile_trio.errors import DataDirectoryInUse, StorageError
from camomile_trio.storage.data_directory import LOCK_FILE, DataDirectory

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
