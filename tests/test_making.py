"""Which environment make takes for which interpreter.

Rules of this file: make tells what it would do, in a folder that has only the Makefile; nothing is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
THIS = f"{sys.version_info[0]}.{sys.version_info[1]}"
OTHER = "3.5"

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed: nothing to ask")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for file in ("best_python.sh", "interpreter.py"):
        (tmp_path / "tools").mkdir(exist_ok=True)
        shutil.copy(ROOT / "tools" / file, tmp_path / "tools")
    for file in ("pyproject.toml", "requirements/build.txt", "requirements/run.txt", "requirements/dev.txt"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    return tmp_path


def has_environment(folder: Path, name: str, version: str) -> None:
    """As make leaves one: with what was installed, and the stamps that say so."""
    (folder / name / "lib" / f"python{version}").mkdir(parents=True)
    for stamp in ("venv", "run", "dev"):
        (folder / name / f"{stamp}.stamp").touch()


def make(
    folder: Path, *arguments: str, python: str | None = None, path: str | None = None
) -> subprocess.CompletedProcess[str]:
    # These tests may be run by make themselves, and it would tell the inner one how to behave.
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "PYTHON"))}
    if python is not None:
        environment["PYTHON"] = python
    if path is not None:
        environment["PATH"] = path
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


RUN_TESTS = 'python -m pytest -q -m "not real_time and not long"'


def recipe(folder: Path, *arguments: str, python: str | None = None, path: str | None = None) -> list[str]:
    done = make(folder, "--dry-run", "test-fast", *arguments, python=python, path=path)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("named", [(), (f"PYTHON={sys.executable}",)], ids=["not_named", "named"])
def test_the_first_environment_has_the_name_that_the_documents_use(folder: Path, named: tuple[str, ...]) -> None:
    lines = recipe(folder, *named)
    assert any(line.endswith("-m venv --clear .venv") for line in lines)
    assert lines[-1] == f".venv/bin/{RUN_TESTS}"


def interpreter(directory: Path, name: str, says: str | None) -> Path:
    """One that says of itself whether it has PGO and which minor version it is, or that it is of no use."""
    directory.mkdir(exist_ok=True)
    script = directory / name
    script.write_text("#!/bin/sh\nexit 1\n" if says is None else f"#!/bin/sh\necho {says}\n", "utf-8")
    script.chmod(0o700)
    return script


@pytest.mark.parametrize(
    ("first", "second", "best"),
    [
        ({"python3.13": "0 13"}, {"python3.11": "1 11"}, "second/python3.11"),  # PGO goes before the version
        ({"python3.11": "1 11"}, {"python3.13": "1 13", "python3.12": "1 12"}, "second/python3.13"),
        ({"python3.12": "0 12"}, {"python3.13": "0 13"}, "second/python3.13"),
        ({"python3": "1 13"}, {"python3.13": "1 13"}, "first/python3"),  # the first on PATH
        ({"python3.13": None}, {"python3": "0 11"}, "second/python3"),
    ],
)
def test_where_there_is_no_environment_it_is_made_with_the_best_interpreter(
    folder: Path, first: dict[str, str | None], second: dict[str, str | None], best: str
) -> None:
    for directory, found in (("first", first), ("second", second)):
        for name, says in found.items():
            interpreter(folder / directory, name, says)
    tools = folder / "bin"
    tools.mkdir()
    for tool in ("make", "sh", "sort", "sed"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    lines = recipe(folder, path=f"{folder / 'first'}:{folder / 'second'}:{tools}")
    assert f"{folder / best} -m venv --clear .venv" in lines


@pytest.mark.parametrize("version", [THIS, OTHER])
def test_an_environment_that_is_there_is_used_where_no_interpreter_is_named(folder: Path, version: str) -> None:
    has_environment(folder, ".venv", version)
    assert recipe(folder) == [f".venv/bin/{RUN_TESTS}"]


def test_an_interpreter_of_the_same_version_uses_it_too(folder: Path) -> None:
    has_environment(folder, ".venv", THIS)
    assert recipe(folder, f"PYTHON={sys.executable}") == [f".venv/bin/{RUN_TESTS}"]


def test_an_interpreter_of_another_version_gets_an_environment_of_its_own(folder: Path) -> None:
    has_environment(folder, ".venv", OTHER)
    lines = recipe(folder, f"PYTHON={sys.executable}")
    assert f"{sys.executable} -m venv --clear .venv-{THIS}" in lines
    assert lines[-1] == f".venv-{THIS}/bin/{RUN_TESTS}"
    assert recipe(folder, python=sys.executable) == lines
    has_environment(folder, f".venv-{THIS}", THIS)
    assert recipe(folder, f"PYTHON={sys.executable}") == lines[-1:]


def test_a_failure_of_either_half_fails_the_tests(folder: Path) -> None:
    has_environment(folder, ".venv", THIS)
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir()
    for failing, expected in (("-m real_time", 2), ("-m not real_time", 2), ("nothing", 0)):
        python.write_text(f'#!/bin/sh\ncase "$*" in *"{failing}") exit 1;; esac\necho "ran $*"\n', "utf-8")
        python.chmod(0o700)
        done = make(folder, "test")
        assert done.returncode == expected
        assert ("ran -m pytest -q -m real_time" in done.stdout) == (failing != "-m real_time")


def test_an_interpreter_that_is_not_there_is_named_and_no_other_is_taken_for_it(folder: Path) -> None:
    has_environment(folder, ".venv", THIS)
    done = make(folder, "test", "PYTHON=python3.nonsense")
    assert done.returncode != 0
    assert "Camomile needs Python 3.11 or newer and 'python3.nonsense' is not" in done.stderr
    assert done.stdout == ""
