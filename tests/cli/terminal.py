"""What a terminal shows, for tests of the command."""

from __future__ import annotations

from collections.abc import Callable

from click.testing import Result

# Runs `camomile` with words, `given` on standard input and an `environment`; see conftest.py.
Run = Callable[..., Result]


def complaint(result: Result) -> str:
    """The one line that a failed command leaves, without the name in front."""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert result.stdout == ""
    assert lines[0].startswith("camomile: ")
    return lines[0].removeprefix("camomile: ")
