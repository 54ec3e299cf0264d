"""What is put is read piece by piece, hashed on its way, and shown on its way."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from camomile_trio.cli.progress import PIECE, Hasher, progress_bar, read_pieces, size_of
from camomile_trio.kademlia.ids import Key


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_file_is_read_in_pieces_and_hashed_to_its_key() -> None:
    value = os.urandom(2 * PIECE + 1)
    hasher = Hasher()
    pieces = list(hasher.pieces(read_pieces(io.BytesIO(value))))
    assert [len(piece) for piece in pieces] == [PIECE, PIECE, 1]
    assert b"".join(pieces) == value
    assert hasher.key == Key.of(value)


def test_nothing_is_read_before_it_is_wanted() -> None:
    source = io.BytesIO(bytes(10 * PIECE))
    pieces = Hasher().pieces(read_pieces(source))
    next(pieces)
    assert source.tell() == PIECE


def test_the_size_of_a_file_is_known_and_that_of_a_pipe_is_not(tmp_path: Path) -> None:
    (tmp_path / "value").write_bytes(b"0123456789")
    with (tmp_path / "value").open("rb") as file:
        file.read(3)
        assert size_of(file) == 7
    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert size_of(pipe) is None


def test_a_terminal_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar(iter([bytes(1024), bytes(1024)]), 2048) as pieces:
        assert [len(piece) for piece in pieces] == [1024, 1024]
    assert "2.0/2.0 KiB" in terminal.getvalue()


def test_where_there_is_no_terminal_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    with progress_bar(iter([b"a", b"b"]), None) as pieces:
        assert list(pieces) == [b"a", b"b"]
    assert file.getvalue() == ""
