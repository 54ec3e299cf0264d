"""`make house`: what no command can judge about the rooms of the code, in figures, for a reader to look at.

Rules of this file: nothing is refused for its size. Exit code 0 when the figures were printed, 2 when the commit to
compare with cannot be read or a file is not Python.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tools.house.figures import measure
from tools.house.report import report
from tools.house.trees import NoSuchTree, last_tag, tree_of, working_tree

ROOT = Path(__file__).resolve().parent.parent.parent


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.house", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--from", dest="commit", default="", metavar="COMMIT", help="compare with this one, not with the last tag"
    )
    commit = parser.parse_args(arguments).commit
    try:
        earlier, heading = _earlier(root, commit)
        now = measure(working_tree(root))
        then = now if earlier is None else measure(earlier)
    except NoSuchTree as reason:
        parser.error(str(reason))
    except SyntaxError as error:
        parser.error(f"{error.filename}, line {error.lineno}, is not Python: {error.msg}")
    print(f"{heading}\n\n{report(now, then)}")


def _earlier(root: Path, commit: str) -> tuple[dict[str, str] | None, str]:
    """The tree to compare with, if there is one, and the heading of the report."""
    if not commit:
        try:
            commit = last_tag(root)
        except NoSuchTree as reason:
            return None, f"The house now, compared with nothing: {reason}"
    return tree_of(root, commit), f"The house now, and the changes since {commit}"


if __name__ == "__main__":
    main()
