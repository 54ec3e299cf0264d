"""A terminal for the tests: the command as a user runs it, far from the user's own files and environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from camomile_trio.cli import camomile
from tests.cli.processes import Alice, Processes
from tests.cli.terminal import Run


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, with no settings in the environment."""
    for name in list(os.environ):
        if name.startswith("CAMOMILE_"):
            monkeypatch.delenv(name)
    for name, directory in (("HOME", "home"), ("XDG_DATA_HOME", "data"), ("XDG_RUNTIME_DIR", "run")):
        (tmp_path / directory).mkdir()
        monkeypatch.setenv(name, str(tmp_path / directory))
    return tmp_path


@pytest.fixture
def run() -> Run:
    """Runs `camomile` with the given words and returns what came of it."""

    def invoke(*words: str, given: bytes = b"", environment: dict[str, str] | None = None) -> Result:
        result = CliRunner().invoke(camomile, words, input=given, env=environment)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


@pytest.fixture
def processes() -> Iterator[Processes]:
    """Starts the command as processes of their own, which end with the test."""
    started = Processes()
    try:
        yield started
    finally:
        started.clean_up()


@pytest.fixture(scope="package")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alice]:
    """A running node with a data directory, ready."""
    started = Processes()
    try:
        directory = tmp_path_factory.mktemp("alice")
        node, listening = started.node("--data-dir", str(directory))
        node.event("ready")
        yield Alice(node, listening, directory)
    finally:
        started.clean_up()
