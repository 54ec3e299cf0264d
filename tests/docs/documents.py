"""The documents of this repository, and the blocks of code in them.

Rules of this file: it reads Markdown and runs nothing. A block of code says how it is proven by an HTML comment on the
line above its fence, which no reader sees:

    <!-- runs: in a shell -->         console: `$ ` begins a command, what follows is what it says
    <!-- runs: as a program -->       python: a program of its own; <!-- output --> above the text that it prints
    <!-- runs: with make -->          console: targets that make knows; only their recipes are looked at
    <!-- runs: in containers -->      console: as in a shell, beside the deployment of tests/cluster
    <!-- not run: and why -->         everything else

In what is shown, `…` stands for what differs from run to run: within a line for any characters, alone on a line for any
number of lines. Ports 8080 to 8179 stand for free ones.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from pathlib import Path

import attrs

ROOT = Path(__file__).resolve().parent.parent.parent
ELLIPSIS = "…"
PROMPT = "$ "

# Data and pictures; everything else in a fence is something that a reader may want to run.
INERT = frozenset({"text", "json", "yaml", "toml", "ini"})

_FENCE = re.compile(r"(```+)(.*)")
_MARK = re.compile(r"<!-- (?:(runs): (.+)|(not run): (.+)|(output)) -->")


class Way(enum.Enum):
    """How a block is proven."""

    SHELL = "in a shell"
    PROGRAM = "as a program"
    MAKE = "with make"
    CONTAINERS = "in containers"
    OUTPUT = "output"
    NOT = "not run"


LANGUAGE = {
    Way.SHELL: "console",
    Way.MAKE: "console",
    Way.CONTAINERS: "console",
    Way.PROGRAM: "python",
    Way.OUTPUT: "text",
}


@attrs.frozen
class Command:
    """A command and what it is shown to say, on standard output and standard error together."""

    line: int
    text: str
    says: str


@attrs.frozen
class Block:
    """What stands in one fence."""

    document: str
    line: int  # of the fence
    language: str
    text: str
    mark: str  # the comment above, empty without one

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"

    @property
    def way(self) -> Way | None:
        """None without a mark, or with one that means nothing."""
        match = _MARK.fullmatch(self.mark)
        if match is None:
            return None
        if match[1]:
            return next(
                (way for way in (Way.SHELL, Way.PROGRAM, Way.MAKE, Way.CONTAINERS) if way.value == match[2]), None
            )
        return Way.NOT if match[3] else Way.OUTPUT

    def commands(self) -> list[Command]:
        """The commands of a console block, in order. ValueError for output that no command stands above."""
        found: list[Command] = []
        lines = iter(enumerate(self.text.splitlines(), self.line + 1))
        for number, line in lines:
            if line.startswith(PROMPT):
                text = line.removeprefix(PROMPT)
                while text.endswith("\\"):
                    text = f"{text}\n{next(lines, (0, ''))[1]}"
                found.append(Command(number, text, ""))
            elif found:
                found[-1] = attrs.evolve(found[-1], says=f"{found[-1].says}{line}\n")
            else:
                raise ValueError(f"{self.document}:{number}: output without a command")
        return found


def documents() -> list[Path]:
    """Every document of the repository, README.md first."""
    return [ROOT / "README.md", *sorted((set(ROOT.glob("*.md")) | set(ROOT.glob("docs/*.md"))) - {ROOT / "README.md"})]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks_of(document: str, text: str) -> Iterator[Block]:
    """The fenced blocks of a Markdown text. ValueError for a fence that is never closed."""
    lines = text.splitlines()
    begin: int | None = None
    for number, line in enumerate(lines):
        if begin is None and _FENCE.match(line):
            begin = number
        elif begin is not None and line == _FENCE.match(lines[begin])[1]:  # type: ignore[index]
            above = lines[begin - 1].strip() if begin else ""
            language = lines[begin].strip("`").strip()
            mark = above if above.startswith("<!--") else ""
            yield Block(document, begin + 1, language, "\n".join(lines[begin + 1 : number]), mark)
            begin = None
    if begin is not None:
        raise ValueError(f"{document}:{begin + 1}: the fence is never closed")


def blocks() -> list[Block]:
    """All blocks of all documents, in order."""
    return [block for path in documents() for block in blocks_of(name_of(path), path.read_text("utf-8"))]


def complaint_about(block: Block) -> str:
    """Why nobody could tell whether the block is right; empty when all is well."""
    if not block.language:
        return "says no language; write ```text for what is not run"
    if block.way is None:
        if block.mark or block.language not in INERT:
            return f"has no mark that says how it is proven (above it: {block.mark or 'nothing'})"
        return ""
    if block.language != LANGUAGE.get(block.way, block.language):
        return f"is {block.language}, and what is proven so is {LANGUAGE[block.way]}"
    return ""


def agrees(shown: str, said: str) -> bool:
    """Whether what was said is what is shown; both without white space at the ends of lines and at the end."""
    pattern = ""
    for line in _tidy(shown).splitlines():
        if line == ELLIPSIS:
            pattern += r"(?:.*\n)*"
        else:
            pattern += ".*".join(re.escape(part) for part in line.split(ELLIPSIS)) + r"\n"
    return re.fullmatch(pattern, _tidy(said)) is not None


def _tidy(text: str) -> str:
    lines = [line.rstrip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return "".join(f"{line}\n" for line in lines)
