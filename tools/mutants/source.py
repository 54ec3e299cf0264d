"""How a defect is made: an exact piece of the source, and what replaces it in a copy.

Rules of this file: a mutant is made in a copy of the source and never in the checkout. A piece that does not occur
exactly once is an error: the tables of mutants must follow the code.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = "camomile_trio"


class StaleEdit(Exception):
    """The source has changed, so that an edit no longer applies."""


class Edit(NamedTuple):
    """One substitution. `file` is a path within the package."""

    file: str
    source: str
    replacement: str

    def of(self, text: str) -> str:
        """The text of the file with the replacement. StaleEdit unless the piece occurs exactly once."""
        occurrences = text.count(self.source)
        if occurrences != 1:
            raise StaleEdit(f"its source occurs {occurrences} times in {self.file}")
        return text.replace(self.source, self.replacement)


def apply(edits: Iterable[Edit], package: Path) -> None:
    """Makes all edits in the package at `package`, a copy. StaleEdit if one does not apply."""
    for edit in edits:
        path = package / edit.file
        path.write_text(edit.of(path.read_text()))


def copy_package(to: Path) -> Path:
    """The whole package, in the folder `to`; returns where it is. Without what Python had compiled of it."""
    return Path(shutil.copytree(ROOT / PACKAGE, to / PACKAGE, ignore=shutil.ignore_patterns("__pycache__")))
