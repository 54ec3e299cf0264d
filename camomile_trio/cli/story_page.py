"""How the story of a key, an operation or a machine looks on a terminal.

Rules of this file: a long story is shortened where least is lost, and says so. What is in a trace may come from
anybody: it is cleaned, and cannot carry markup.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from camomile_trio.cli.failures import one_line
from camomile_trio.simulation.explain.chapters import Chapter, Line, Story
from camomile_trio.simulation.explain.words import seconds_text

MOST_CHAPTERS, MOST_LINES = 12, 48
_WIDE = 160  # columns where nobody says how many there are
_INDENT = "  "  # for each hop

_Part = TypeVar("_Part", Chapter, Line)


def print_story(story: Story, *, whole: bool) -> None:
    """Prints it to standard output; `whole`: nothing is left out."""
    console = Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False)
    run = story.run
    console.print(Text(one_line(story.title), style="bold"))
    nodes = f"{run['nodes']} nodes, " if run.get("nodes") else ""
    which = f"{run.get('scenario')}, {nodes}seed {run.get('seed')}: {run.get('repeat')}"
    console.print(Text(one_line(which)), style="dim")
    if not story.chapters:
        console.print("\nNothing happened to it.")
    is_short = False
    for part in shortened(story.chapters, len(story.chapters) if whole else MOST_CHAPTERS):
        if isinstance(part, int):
            console.print(f"\n… {part} more, all went well", style="dim")
            is_short = True
        else:
            is_short |= _print_chapter(console, part, whole=whole)
    if is_short:
        console.print("\nThis is not all of it: --all shows the rest.", style="dim")


def _print_chapter(console: Console, chapter: Chapter, *, whole: bool) -> bool:
    """Whether some of it was left out."""
    console.print()
    heading = Text(f"{clock_text(chapter.at)}  ", style="dim")
    heading.append(one_line(chapter.title), style="bold" if chapter.is_good else "bold red")
    console.print(heading)
    parts = list(shortened(chapter.lines, len(chapter.lines) if whole else MOST_LINES))
    if parts:
        console.print(Padding(_table(chapter, parts), (0, 0, 0, 2), expand=False))
    if chapter.ending:
        ending = Text(one_line(chapter.ending), style="green" if chapter.is_good else "red")
        console.print(Padding(ending, (0, 0, 0, 2), expand=False))
    return any(isinstance(part, int) for part in parts)


def _table(chapter: Chapter, parts: Sequence[Line | int]) -> Table:
    has_bits = any(line.bits is not None for line in chapter.lines)
    table = Table(box=None, pad_edge=False, show_header=has_bits, header_style="dim")
    for name in ("after", "answer"):
        table.add_column(name, justify="right", no_wrap=True, style="dim")
    table.add_column("bits" if has_bits else "", justify="right", no_wrap=True, style="cyan")
    table.add_column("")
    for part in parts:
        if isinstance(part, int):
            table.add_row("", "", "", Text(f"… {part} more", style="dim"))
            continue
        words = Text(_INDENT * max(0, part.hop - 1))
        words.append(f"{one_line(part.who)}  " if part.who else "", style="bold")
        words.append(one_line(part.what), style="" if part.is_good else "red")
        table.add_row(
            "+" + seconds_text(part.at - chapter.at),
            "+" + seconds_text(part.until - chapter.at) if part.until is not None else "",
            "" if part.bits is None else str(part.bits),
            words,
        )
    return table


def shortened(parts: Sequence[_Part], most: int) -> Iterator[_Part | int]:
    """The parts in order, or, if they are more than `most`, the first and the last ones and, as far as there is room,
    those that did not go well; for those left out between two, how many they are."""
    kept = list(range(len(parts)))
    if len(parts) > most:
        edge: int = max(1, most // 3)
        middle = range(edge, len(parts) - edge)
        kept = [*range(edge), *range(len(parts) - edge, len(parts))]
        kept += [each for each in middle if not parts[each].is_good][: most - 2 * edge]
        # With room left, the story goes on from its beginning.
        kept += [each for each in middle if each not in kept][: most - len(kept)]
    previous = -1
    for each in sorted(kept):
        if each > previous + 1:
            yield each - previous - 1
        yield parts[each]
        previous = each


def clock_text(seconds: float) -> str:
    """Virtual time as a clock that starts at 0: 0:00:12.345, or 3 d 0:00:12.345."""
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{days:.0f} d " * (days > 0) + f"{hours:.0f}:{minutes:02.0f}:{int(rest * 1000) / 1000:06.3f}"
