"""The lines that run when the processor's clock ticks."""

from __future__ import annotations

import signal
import time

import pytest

from benchmarks.dearest import Samples, show, watched


def burn(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


async def test_the_line_that_takes_the_time_is_the_dearest(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGPROF)

    async def operation(number: int) -> None:
        burn(0.1)

    samples, seconds = await watched(operation, 3)
    assert seconds >= 0.1
    ((file, _, function), times), *_ = samples.places.most_common(1)
    assert (file, function) == (__file__, "burn")
    assert times > samples.places.total() / 3
    assert signal.getsignal(signal.SIGPROF) is before  # and nothing is noted any more
    show(samples, seconds, 2)
    said = capsys.readouterr().out
    assert "benchmarks/test_dearest.py" in said
    assert "time.process_time() < until" in said


def test_where_nothing_was_noted_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show(Samples(), 0.0, 10)
    assert "0 samples" in capsys.readouterr().out
