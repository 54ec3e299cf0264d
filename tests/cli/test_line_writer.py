"""Lines that a thread writes: nobody waits for who reads them, and what nobody could read is counted."""

from __future__ import annotations

import os
from collections.abc import Iterator

import attrs
import pytest

from camomile_trio.cli.line_writer import LineWriter, writing_lines

pytestmark = pytest.mark.real_time


@attrs.define
class Pipe:
    reading: int
    writing: int

    def read(self) -> bytes:
        """What is in it now."""
        return os.read(self.reading, 2**16)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe(*os.pipe())
    yield pipe
    for descriptor in (pipe.reading, pipe.writing):
        os.close(descriptor)


def missing(count: int) -> str:
    return f"{count} missing\n"


def test_lines_come_out_in_their_order(pipe: Pipe) -> None:
    with writing_lines(pipe.writing) as lines:
        lines.write("one\n")
        lines.write("two\n")
    assert pipe.read() == b"one\ntwo\n"
    assert lines.dropped == 0


def test_an_end_does_not_wait_for_a_reader_for_ever(pipe: Pipe) -> None:
    with writing_lines(pipe.writing, patience=0.05) as lines:
        lines.write("x" * 2**18 + "\n")
    # The thread still has most of it; the process could end now.
    assert len(pipe.read()) > 0


def test_what_is_dropped_is_told_in_the_place_where_it_is_missing(pipe: Pipe) -> None:
    writer = LineWriter(pipe.writing, missing, most=8)
    for line in ("one\n", "two\n", "three\n", "four\n"):
        writer.write(line)
    writer.close()
    writer.write_all()
    assert pipe.read() == b"one\ntwo\n2 missing\n"
    assert writer.dropped == 2


def test_a_line_that_the_disk_has_no_room_for_is_dropped_and_the_next_one_tried() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    writer = LineWriter(full, missing)
    writer.write("one\n")
    writer.write("two\n")
    writer.close()
    writer.write_all()
    os.close(full)
    assert writer.dropped == 2


def test_a_reader_that_has_left_ends_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with writing_lines(writing) as lines:
        lines.write("one\n")
    os.close(writing)
    assert lines.dropped == 1


def test_a_descriptor_that_somebody_has_made_non_blocking_is_waited_for(pipe: Pipe) -> None:
    os.set_blocking(pipe.writing, False)
    text = "x" * 2**18 + "\n"
    with writing_lines(pipe.writing) as lines:
        lines.write(text)
        read = 0
        while read < len(text):
            read += len(pipe.read())
    assert (read, lines.dropped) == (len(text), 0)
