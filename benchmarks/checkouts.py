"""Two states of the product to compare: which commits they are, their files, and the interpreter that each runs with.

Rules of this file: the repository is only read. A state is the package and its locked requirements, nothing else. What
needs a package registry is made by `environment`, before the benchmark enters its namespaces, where there is none.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs

PACKAGE = "camomile_trio"
REQUIREMENTS = "requirements/run.txt"
BUILD_REQUIREMENTS = "requirements/build.txt"
ENVIRONMENTS = Path("build", "pair-environments")
GIT_PATIENCE = 60.0
INSTALL_PATIENCE = 300.0
LOOK_PATIENCE = 60.0
INTERPRETER = Path(__file__).resolve().parent.parent / "tools" / "interpreter.py"
LOOK = """
import json, platform, runpy, sys
import camomile_trio
print(json.dumps({
    "package": camomile_trio.__file__,
    "executable": sys.executable,
    "version": platform.python_implementation() + " " + platform.python_version(),
    "has_pgo": runpy.run_path(sys.argv[1])["has_pgo"](),
}))
"""


class BadCheckout(Exception):
    """A commit that does not exist or cannot be run, or an interpreter that cannot; the text says which and why."""


@attrs.frozen
class State:
    """One side of the comparison: a commit by its full hash, or the working tree where that is empty."""

    commit: str
    title: str


@attrs.frozen
class Interpreter:
    """What runs a state's nodes. `has_pgo`: built with profile-guided optimization, as tools/interpreter.py says."""

    executable: str
    version: str
    has_pgo: bool

    def __str__(self) -> str:
        return f"{self.version}, {'built with PGO' if self.has_pgo else 'built without PGO'}, {self.executable}"


def state(root: Path, name: str) -> State:
    """The state that a commit, a branch or a tag names; that of the working tree for "". BadCheckout."""
    if not name:
        is_changed = bool(_git(root, "status", "--porcelain", "--", PACKAGE, REQUIREMENTS))
        changed = "with changes" if is_changed else "without changes"
        return State("", f"the working tree, {changed}, on {_title(root, 'HEAD')}")
    try:
        commit = _git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    except BadCheckout:
        raise BadCheckout(f"the repository has no commit {name!r}") from None
    for path in (PACKAGE, REQUIREMENTS):
        if not _git(root, "ls-tree", "--name-only", commit, "--", path):
            raise BadCheckout(f"commit {name!r} has no {path}, so there is nothing to run")
    return State(commit, _title(root, commit))


def before(root: Path) -> State:
    """The newest commit whose product is another than the working tree's: the one before what is tried now."""
    if _git(root, "status", "--porcelain", "--", PACKAGE, REQUIREMENTS):
        return state(root, "HEAD")
    last = _git(root, "log", "-1", "--format=%H", "--", PACKAGE, REQUIREMENTS)
    return state(root, f"{last}~1")


def is_same(root: Path, one: State, other: State) -> bool:
    """Whether the two have the same package and requirements. Files that git ignores do not count."""
    paths = (PACKAGE, REQUIREMENTS)
    commits = [each.commit for each in (one, other) if each.commit]
    if len(commits) < 2 and _git(root, "ls-files", "--others", "--exclude-standard", "--", *paths):
        return not commits
    return not commits or not _git(root, "diff", "--name-only", *commits, "--", *paths)


def requirements(root: Path, wanted: State) -> str:
    """The text of the state's locked requirements."""
    if wanted.commit:
        return _git(root, "show", f"{wanted.commit}:{REQUIREMENTS}")
    return (root / REQUIREMENTS).read_text(encoding="utf-8").strip()


def take(root: Path, wanted: State, directory: Path) -> None:
    """Puts the state's package into `directory`, so that nodes see no change of the working tree while they run."""
    directory.mkdir(parents=True)
    if not wanted.commit:
        shutil.copytree(root / PACKAGE, directory / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
        return
    archive = subprocess.run(
        ["git", "-C", root, "archive", wanted.commit, PACKAGE], check=True, capture_output=True, timeout=GIT_PATIENCE
    )
    subprocess.run(["tar", "-x", "-C", directory], input=archive.stdout, check=True, timeout=GIT_PATIENCE)


def environment(root: Path, wanted: State, python: str) -> str:
    """The interpreter of an environment that has the state's locked requirements. BadCheckout.

    That is the one which runs this, if no other `python` is named and the requirements are those of the working tree.
    Others are kept under build/ for the next run.
    """
    locked = requirements(root, wanted)
    if not python and locked == requirements(root, State("", "")):
        return sys.executable
    named = shutil.which(python) if python else sys.executable
    if named is None:
        raise BadCheckout(f"there is no interpreter {python!r}")
    name = hashlib.sha256(f"{os.path.realpath(named)}\n{locked}".encode()).hexdigest()[:16]
    directory = root / ENVIRONMENTS / name
    executable = directory / "bin" / "python"
    if (directory / "installed").exists():
        return str(executable)
    print(f"Installing {REQUIREMENTS} of {wanted.title} for {named}. This can take two minutes ...", flush=True)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(executable),
        "--disable-pip-version-check",
        "install",
        "--quiet",
    ]
    own = directory / "run.txt"
    try:
        _run([named, "-m", "venv", "--clear", "--without-pip", str(directory)])
        own.write_text(locked + "\n", encoding="utf-8")
        _run([*pip, "--require-hashes", "-r", str(root / BUILD_REQUIREMENTS), "-r", str(own)])
        # Nodes ask for the version of the installed package. The code that runs is the checkout's all the same.
        _run([*pip, "--no-index", "--no-deps", "--no-build-isolation", "--editable", str(root)])
    except (subprocess.SubprocessError, OSError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise BadCheckout(f"no environment could be made with {named} for {wanted.title}: {said[-500:]}") from None
    (directory / "installed").touch()
    return str(executable)


def look(python: str, checkout: Path) -> Interpreter:
    """What the interpreter says of itself, asked as a node is started. BadCheckout if it runs other code."""
    found = subprocess.run(
        [python, "-c", LOOK, str(INTERPRETER)],
        cwd=checkout,
        check=False,
        capture_output=True,
        text=True,
        timeout=LOOK_PATIENCE,
    )
    if found.returncode:
        raise BadCheckout(f"{python} cannot run the package in {checkout}: {found.stderr[-500:]}")
    said = json.loads(found.stdout)
    package = Path(said.pop("package")).resolve()
    if not package.is_relative_to(checkout.resolve()):
        raise BadCheckout(f"{python} runs {package} instead of the package in {checkout}")
    return Interpreter(**said)


def _title(root: Path, commit: str) -> str:
    return _git(root, "log", "-1", "--format=%h %s", commit)


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=GIT_PATIENCE)
    except FileNotFoundError:
        raise BadCheckout("git is not installed, and commits are taken from it") from None
    except subprocess.CalledProcessError as error:
        raise BadCheckout(error.stderr.strip() or f"git {arguments[0]} failed") from None
    return done.stdout.strip()


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_PATIENCE)
