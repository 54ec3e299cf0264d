"""The Python files and Markdown pages of a checkout as text: those that lie there now, or those of a commit.

Rules of this file: it checks nothing out and writes nothing. Paths are relative to the root, with slashes. What
stands neither at the root nor in one of PARTS is left out.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

PARTS = ("camomile_trio", "tests", "tools", "benchmarks", "docs")


class NoSuchTree(Exception):
    """A commit cannot be read; says why in one line."""


def is_wanted(path: str) -> bool:
    part = path.partition("/")[0] if "/" in path else "docs"
    return part in PARTS and path.endswith(".md" if part == "docs" else (".py", ".md"))


def working_tree(root: Path) -> dict[str, str]:
    """The files that lie below `root` now, whether git knows them or not."""
    paths = [*root.glob("*.md"), *(path for part in PARTS for path in (root / part).rglob("*.*"))]
    named = {path.relative_to(root).as_posix(): path for path in sorted(paths)}
    return {name: path.read_text("utf-8") for name, path in named.items() if is_wanted(name)}


def tree_of(root: Path, commit: str) -> dict[str, str]:
    """The files of what `commit` names: a tag, a branch, a hash.

    Raises NoSuchTree when nothing has that name, or when there is no history here.
    """
    try:
        found = _git(root, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
    except subprocess.CalledProcessError:
        raise NoSuchTree(f"this repository has no commit or tag {commit!r}") from None
    packed = _git(root, "archive", "--format=tar", found.decode().strip())
    files = {}
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive:
            if is_wanted(member.name) and (file := archive.extractfile(member)):
                files[member.name] = file.read().decode()
    return files


def last_tag(root: Path) -> str:
    """The newest tag that the checked-out commit descends from. Raises NoSuchTree when there is none."""
    try:
        return _git(root, "describe", "--tags", "--abbrev=0").decode().strip()
    except subprocess.CalledProcessError:
        raise NoSuchTree("no tag comes before this commit; FROM=commit names a commit") from None


def _git(root: Path, *arguments: str) -> bytes:
    # Without the first, git would answer for another repository that an unpacked source distribution lies in.
    if not (root / ".git").exists():
        raise NoSuchTree("this is not a git checkout, so it has no history to compare with")
    if shutil.which("git") is None:
        raise NoSuchTree("git is not installed, so the history cannot be read")
    command = ["git", "-c", "safe.directory=*", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
