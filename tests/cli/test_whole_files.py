"""What a command writes into a file: all of it or nothing, and open to no more users than it should be."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from camomile_trio.cli.whole_files import file_or_stdout


@pytest.mark.parametrize(
    ("mode", "umask", "made"), [(0o600, 0, 0o600), (0o600, 0o277, 0o400), (0o666, 0o022, 0o644), (0o666, 0o077, 0o600)]
)
def test_a_new_file_has_its_mode_less_the_umask_also_in_place_of_a_wider_one(
    tmp_path: Path, mode: int, umask: int, made: int
) -> None:
    (tmp_path / "files").mkdir()
    path = tmp_path / "files" / "file"
    path.write_text("before")
    path.chmod(0o666)
    before = os.umask(umask)
    try:
        with file_or_stdout(path, mode=mode) as out:
            out.write(b"after")
            assert path.read_text() == "before"
            (part,) = (each for each in path.parent.iterdir() if each != path)
            assert stat.S_IMODE(part.stat().st_mode) == made
    finally:
        os.umask(before)
    assert path.read_text() == "after"
    assert stat.S_IMODE(path.stat().st_mode) == made
    assert list(path.parent.iterdir()) == [path]
