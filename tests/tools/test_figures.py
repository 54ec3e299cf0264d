"""When a story passed, and that whoever reads its figures sees what went wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tools.faults.figures import SHOWN, Figures, told


def test_a_story_without_harm_passed() -> None:
    figures = Figures("half killed", 50, keys=200)
    figures.read_took(2.5)
    figures.read_took(0.1)
    assert figures.passed
    assert "half killed  50     200   0     0            0       2.50 s" in told([figures])


HARM: list[Callable[[Figures], object]] = [
    lambda figures: figures.lost.add("key that is lost"),
    lambda figures: figures.resurrected.add("key that came back"),
    lambda figures: figures.failed.append("put at h1: 503"),
    lambda figures: figures.wrong.append("h2 has ended"),
]


@pytest.mark.parametrize("harm", HARM)
def test_a_story_with_any_harm_failed_and_says_which(harm: Callable[[Figures], object]) -> None:
    figures = Figures("partition", 30)
    harm(figures)
    assert not figures.passed
    said = told([Figures("paused", 10), figures])
    assert "FAILED" in said
    assert [line for line in said.splitlines() if line.startswith("partition: ")] != []


def test_of_very_many_only_the_first_are_told() -> None:
    figures = Figures("partition", 30, lost={f"key {number:03}" for number in range(100)})
    said = told([figures]).splitlines()
    assert said[-1] == f"partition: lost: and {100 - SHOWN} more"
    assert len(said) == 2 + SHOWN + 1
