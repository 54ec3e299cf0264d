"""The figures of one tree: its rooms, the imports between them, and the words that are given up.

Rules of this file: pure; a tree is its files as text, by their paths. A part is the package, tests, tools, benchmarks
or docs. A room is a folder of a part, or a file of the package that lies in none. Generated code does not count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import attrs

from tools.house.imports import PACKAGE, import_graph, package_files
from tools.house.source import read, words

GENERATED = f"{PACKAGE}/wire/generated/"
DOCS = "docs"

# Words that names and texts should no longer use, since the field has others. Each entry begins with the word that the
# report shows. The singular counts too, except where it is a common English word.
GIVEN_UP = (
    "turns",
    "verdicts verdict",
    "reminders reminder",
    "spread",
    "placing",
    "survey",
    "vicinity",
    "telling",
    "sieve",
    "severance",
    "confirmations confirmation",
    "whoever",
    "somebody",
)
_LABELS = {form: line.split()[0] for line in GIVEN_UP for form in line.split()}


@attrs.define
class Room:
    """`code`: lines without blank ones, comments and docstrings. `functions`: lines, by file below
    the part and qualified name."""

    files: int = 0
    lines: int = 0
    code: int = 0
    functions: dict[str, int] = attrs.field(factory=dict)


@attrs.define
class House:
    """`rooms` by part and name. `arrows`: pairs of modules of which one imports the other, by their rooms. `names` and
    `prose`: how often a word that is given up is part of an identifier, or stands in a comment, a docstring or a page,
    by part and word.
    """

    rooms: dict[tuple[str, str], Room] = attrs.field(factory=dict)
    arrows: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    names: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    prose: Counter[tuple[str, str]] = attrs.field(factory=Counter)

    def all_of(self, part: str, name: str | None = None) -> Room:
        """One room, or all those of a part as if they were one."""
        found = Room()
        for place, room in self.rooms.items():
            if place[0] == part and name in {None, place[1]}:
                found.files += room.files
                found.lines += room.lines
                found.code += room.code
                found.functions |= room.functions
        return found


def measure(tree: Mapping[str, str]) -> House:
    """Raises SyntaxError when a file whose name ends in .py is not Python."""
    house = House()
    tree = {path: text for path, text in tree.items() if not path.startswith(GENERATED)}
    for path, text in tree.items():
        part, name = _place(path)
        room = house.rooms.setdefault((part, name), Room())
        room.files += 1
        room.lines += text.count("\n")
        prose = text
        if part != DOCS:
            source = read(path, text)
            room.code += source.code
            module = path.partition("/")[2].removesuffix(".py")
            room.functions |= {f"{module}.{function}": lines for function, lines in source.functions.items()}
            house.names.update(_given_up(part, " ".join(source.names)))
            prose = source.prose
        house.prose.update(_given_up(part, prose))
    for module, others in import_graph(package_files(tree)).items():
        rooms = ((_room(module), _room(other)) for other in others)
        house.arrows.update(arrow for arrow in rooms if arrow[0] != arrow[1])
    return house


def _place(path: str) -> tuple[str, str]:
    if path.endswith(".md"):
        return DOCS, ""
    part, *folders, name = path.split("/")
    return part, folders[0] if folders else name.removesuffix(".py") if part == PACKAGE else ""


def _room(module: str) -> str:
    return module.partition(".")[0] or "__init__"


def _given_up(part: str, text: str) -> Counter[tuple[str, str]]:
    return Counter((part, _LABELS[word]) for word in words(text) if word in _LABELS)
