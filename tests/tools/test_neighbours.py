"""Room in the neighbour table is made for a run and given back, and never made smaller."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.cluster.neighbours import NAMES, room_for_neighbours


def settings_of(place: Path, *sizes: int) -> list[int]:
    if sizes:
        for name, size in zip(NAMES, sizes, strict=True):
            (place / name).write_text(f"{size}\n")
    return [int((place / name).read_text()) for name in NAMES]


def test_room_is_made_for_the_run_and_given_back(tmp_path: Path) -> None:
    settings_of(tmp_path, 128, 512, 1024)
    with room_for_neighbours(50, tmp_path):
        assert settings_of(tmp_path) == [5000, 10000, 20000]
    assert settings_of(tmp_path) == [128, 512, 1024]


def test_it_is_given_back_after_a_failure_too(tmp_path: Path) -> None:
    settings_of(tmp_path, 128, 512, 1024)
    with pytest.raises(RuntimeError), room_for_neighbours(50, tmp_path):
        raise RuntimeError("a test failed")
    assert settings_of(tmp_path) == [128, 512, 1024]


def test_where_there_is_room_nothing_is_changed(tmp_path: Path) -> None:
    settings_of(tmp_path, 128, 512, 1024)
    with room_for_neighbours(10, tmp_path):
        assert settings_of(tmp_path) == [128, 512, 1024]


def test_where_nothing_can_be_changed_there_is_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with room_for_neighbours(50, tmp_path / "missing"):
        pass
    assert "neighbour table" in capsys.readouterr().err
