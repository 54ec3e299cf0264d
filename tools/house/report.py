"""The figures of a house as text for a terminal, beside those of an earlier one.

Rules of this file: pure. A figure that differs from the earlier one is followed by the difference. A house that is put
beside itself shows none. A dot stands for zero, before and now.
"""

from __future__ import annotations

from collections.abc import Iterator

from tools.house.figures import DOCS, GIVEN_UP, House
from tools.house.imports import PACKAGE
from tools.house.trees import PARTS

FUNCTIONS_SHOWN = 3  # of each room of the package, and of each other part
LONGEST_NAME = 40  # characters; a longer one is cut


def report(now: House, then: House) -> str:
    sections = (_sizes(now, then), _functions(now, then), _arrows(now, then), _words(now, then))
    return "\n\n".join("\n".join(line.rstrip() for line in section) for section in sections)


def _sizes(now: House, then: House) -> Iterator[str]:
    yield f"{'':<16}{'files':>8}{'lines':>16}{'code':>14}       code: lines without blank ones, comments, docstrings"
    for part in PARTS:
        yield _size(part, now, then, part)
        for name in _names(now, then, part):
            yield _size(f"  {name}", now, then, part, name)


def _size(label: str, now: House, then: House, part: str, name: str | None = None) -> str:
    new, old = now.all_of(part, name), then.all_of(part, name)
    pairs = ((new.files, old.files), (new.lines, old.lines), (new.code, old.code))
    return f"{label:<16}" + "".join(_cell(*pair, 8) for pair in pairs)


def _functions(now: House, then: House) -> Iterator[str]:
    yield "The longest functions, in lines"
    rooms: list[tuple[str, str | None]] = [(PACKAGE, name) for name in _names(now, then, PACKAGE)]
    parts = [(part, None) for part in PARTS if part not in {PACKAGE, DOCS}]
    for part, name in rooms + parts:
        functions, before = now.all_of(part, name).functions, then.all_of(part, name).functions
        longest = sorted(functions, key=lambda each: (-functions[each], each))[:FUNCTIONS_SHOWN]
        if longest:
            shown = (
                f"{_cut(each.removeprefix(f'{name}/'))} {_change(functions[each], before.get(each))}"
                for each in longest
            )
            yield f"  {name or part:<14}{', '.join(shown)}"


def _arrows(now: House, then: House) -> Iterator[str]:
    yield "Imports between rooms, in pairs of modules"
    arrows = sorted({*now.arrows, *then.arrows}, key=lambda arrow: (arrow[0], -now.arrows[arrow], arrow[1]))
    for room in sorted({source for source, _ in arrows}):
        shown = (f"{arrow[1]} {_change(now.arrows[arrow], then.arrows[arrow])}" for arrow in arrows if arrow[0] == room)
        yield f"  {room:<14}{', '.join(shown)}"


def _words(now: House, then: House) -> Iterator[str]:
    yield "Words that are given up: uses in names, and in prose (comments, docstrings, pages)"
    yield f"{'':<16}" + "".join(f"{part:<20}" for part in PARTS)
    yield f"{'':<16}" + f"{'names':>5}{'prose':>10}{'':5}" * len(PARTS)
    counts = [(new, old, part) for part in PARTS for new, old in ((now.names, then.names), (now.prose, then.prose))]
    words = [line.split()[0] for line in GIVEN_UP]
    for label, chosen in [*((word, [word]) for word in words), ("all", words)]:
        pairs = (
            (sum(new[part, each] for each in chosen), sum(old[part, each] for each in chosen))
            for new, old, part in counts
        )
        yield f"  {label:<14}" + "".join(_cell(*pair, 5) for pair in pairs)


def _names(now: House, then: House, part: str) -> list[str]:
    return sorted({name for other, name in {**now.rooms, **then.rooms} if other == part and name})


def _cell(now: int, then: int, width: int) -> str:
    """The figure at the right of the first half, its change at the left of the second."""
    number, _, change = _change(now, then).partition(" ")
    return f"{number if now or then else '.':>{width}} {change:<{width - 1}}"


def _change(now: int, then: int | None) -> str:
    if then is None:
        return f"{now} new"
    return f"{now}" if now == then else f"{now} {now - then:+}"


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 3]}..."
