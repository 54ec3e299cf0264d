"""Commits that are compared: which one is named, what is taken of it, and which interpreter runs it.

Rules of this file: every repository is a small one that the test makes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import checkouts
from benchmarks.checkouts import BadCheckout, State, before, environment, is_same, look, state, take

WORKING_TREE = State("", "the working tree")


class Repository:
    """A repository whose product is one file."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.git("init", "--quiet")
        self.commit("camomile_trio/__init__.py", "STATE = 1\n", "requirements/run.txt", "trio==1\n")

    def git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.root), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        return subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=30, env=environment
        ).stdout.strip()

    def write(self, *files: str) -> None:
        for path, text in zip(files[::2], files[1::2], strict=True):
            (self.root / path).parent.mkdir(exist_ok=True)
            (self.root / path).write_text(text, encoding="utf-8")

    def commit(self, *files: str) -> str:
        self.write(*files)
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", f"Change {files[0]}")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    if shutil.which("git") is None:
        pytest.skip("git is not installed, and commits are taken from it")
    root = tmp_path / "repository"
    root.mkdir()
    return Repository(root)


def test_a_commit_has_its_own_files_and_the_working_tree_those_of_now(repository: Repository, tmp_path: Path) -> None:
    repository.commit("camomile_trio/__init__.py", "STATE = 2\n")
    repository.write("camomile_trio/__init__.py", "STATE = 3\n", "camomile_trio/new.py", "")
    take(repository.root, state(repository.root, "HEAD~1"), tmp_path / "a")
    take(repository.root, state(repository.root, ""), tmp_path / "b")
    assert [path.name for path in (tmp_path / "a" / "camomile_trio").iterdir()] == ["__init__.py"]
    assert (tmp_path / "a" / "camomile_trio" / "__init__.py").read_text() == "STATE = 1\n"
    assert (tmp_path / "b" / "camomile_trio" / "__init__.py").read_text() == "STATE = 3\n"
    assert (tmp_path / "b" / "camomile_trio" / "new.py").exists()


@pytest.mark.parametrize("name", ["nowhere", "--all", "HEAD:camomile_trio", "HEAD~7"])
def test_what_is_no_commit_is_an_error_that_names_it(repository: Repository, name: str) -> None:
    with pytest.raises(BadCheckout, match=f"no commit '{name}'"):
        state(repository.root, name)


def test_a_commit_without_the_package_cannot_be_run(repository: Repository) -> None:
    repository.git("rm", "-r", "--quiet", "camomile_trio")
    repository.commit("other.py", "")
    with pytest.raises(BadCheckout, match="has no camomile_trio"):
        state(repository.root, "HEAD")


def test_where_there_is_no_repository_git_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadCheckout, match="not a git repository"):
        state(tmp_path, "")


def test_a_branch_is_the_commit_that_it_stands_for(repository: Repository) -> None:
    repository.git("branch", "fast")
    assert state(repository.root, "fast") == state(repository.root, "HEAD")


def test_before_changes_that_are_not_committed_is_the_last_commit(repository: Repository) -> None:
    last = repository.commit("camomile_trio/__init__.py", "STATE = 2\n")
    repository.write("camomile_trio/new.py", "")
    assert before(repository.root).commit == last
    assert "with changes" in state(repository.root, "").title


def test_without_changes_it_is_the_last_commit_with_another_product(repository: Repository) -> None:
    first = repository.git("rev-parse", "HEAD")
    repository.commit("camomile_trio/__init__.py", "STATE = 2\n")
    repository.commit("README.md", "A text.\n")
    assert before(repository.root).commit == first
    assert "without changes" in state(repository.root, "").title


def test_the_same_product_is_seen_under_two_commits_and_in_the_working_tree(repository: Repository) -> None:
    first = state(repository.root, "HEAD")
    second = state(repository.root, repository.commit("README.md", "A text.\n"))
    third = state(repository.root, repository.commit("camomile_trio/__init__.py", "STATE = 2\n"))
    assert is_same(repository.root, first, second)
    assert not is_same(repository.root, second, third)
    assert is_same(repository.root, third, WORKING_TREE)
    assert not is_same(repository.root, first, WORKING_TREE)
    repository.write("camomile_trio/new.py", "")
    assert not is_same(repository.root, third, WORKING_TREE)
    assert is_same(repository.root, WORKING_TREE, WORKING_TREE)


def test_the_same_requirements_run_with_the_interpreter_that_is_there(repository: Repository) -> None:
    old = state(repository.root, "HEAD")
    repository.commit("camomile_trio/__init__.py", "STATE = 2\n")
    assert environment(repository.root, old, "") == sys.executable


def test_other_requirements_get_an_environment_that_is_made_once(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = state(repository.root, "HEAD")
    repository.commit("requirements/run.txt", "trio==2\n")
    made: list[list[str]] = []

    def make(command: list[str]) -> None:
        made.append(command)
        if "venv" in command:
            Path(command[-1]).mkdir(parents=True)

    monkeypatch.setattr(checkouts, "_run", make)
    python = Path(environment(repository.root, old, ""))
    assert python.is_relative_to(repository.root / "build")
    assert (python.parent.parent / "run.txt").read_text() == "trio==1\n"
    assert str(python.parent.parent / "run.txt") in made[1]
    count = len(made)
    assert environment(repository.root, old, "") == str(python)
    assert len(made) == count
    assert environment(repository.root, WORKING_TREE, sys.executable) != str(python)


def test_an_environment_that_cannot_be_made_is_an_error_and_made_again(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(command: list[str]) -> None:
        raise subprocess.CalledProcessError(1, command, stderr="no route to the registry")

    monkeypatch.setattr(checkouts, "_run", fail)
    for _ in range(2):
        with pytest.raises(BadCheckout, match="no route to the registry"):
            environment(repository.root, WORKING_TREE, sys.executable)


def test_an_interpreter_that_is_not_there_is_an_error(repository: Repository) -> None:
    with pytest.raises(BadCheckout, match="no interpreter 'python0'"):
        environment(repository.root, WORKING_TREE, "python0")


def test_an_interpreter_says_its_version_and_runs_the_checkouts_code(repository: Repository) -> None:
    found = look(sys.executable, repository.root)
    assert found.version.endswith(".".join(map(str, sys.version_info[:3])))
    assert found.executable == sys.executable
    assert "PGO" in str(found)


def test_a_checkout_whose_code_would_not_run_is_an_error(repository: Repository, tmp_path: Path) -> None:
    # Without a package of its own an installed one would be measured in its place.
    with pytest.raises(BadCheckout, match=r"instead of|cannot run"):
        look(sys.executable, tmp_path)
    repository.write("camomile_trio/__init__.py", "import nothing_of_this_name\n")
    with pytest.raises(BadCheckout, match="nothing_of_this_name"):
        look(sys.executable, repository.root)
