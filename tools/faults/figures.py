"""What a story found out, and how it is told.

Rules of this file: pure. A story passed when nothing that was acknowledged is lost, nothing forgotten came back, no
request failed that had to succeed, and it names nothing else that is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

_COLUMNS = ("story", "nodes", "keys", "lost", "resurrected", "failed", "worst read", "seconds", "")
SHOWN = 5  # of the things that are wrong with one story


@attrs.define
class Figures:
    """`lost`, `resurrected`: keys. `failed`: requests. `worst_read`: in seconds, from the asking to the value."""

    story: str
    nodes: int
    keys: int = 0
    lost: set[str] = attrs.field(factory=set)
    resurrected: set[str] = attrs.field(factory=set)
    failed: list[str] = attrs.field(factory=list)
    worst_read: float = 0.0
    seconds: float = 0.0
    notes: list[str] = attrs.field(factory=list)
    wrong: list[str] = attrs.field(factory=list)

    @property
    def passed(self) -> bool:
        return not (self.lost or self.resurrected or self.failed or self.wrong)

    def read_took(self, seconds: float) -> None:
        self.worst_read = max(self.worst_read, seconds)


def told(stories: Sequence[Figures]) -> str:
    """A table, and under it what was noted and what went wrong."""
    rows = [_COLUMNS, *map(_row, stories)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_COLUMNS))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    for story in stories:
        lines += [f"{story.story}: {note}" for note in story.notes]
        for kind, said in (
            ("lost", sorted(story.lost)),
            ("resurrected", sorted(story.resurrected)),
            ("failed", story.failed),
            ("wrong", story.wrong),
        ):
            lines += [f"{story.story}: {kind}: {text}" for text in said[:SHOWN]]
            if len(said) > SHOWN:
                lines.append(f"{story.story}: {kind}: and {len(said) - SHOWN} more")
    return "\n".join(lines)


def _row(story: Figures) -> tuple[str, ...]:
    counts = (story.nodes, story.keys, len(story.lost), len(story.resurrected), len(story.failed))
    verdict = "passed" if story.passed else "FAILED"
    return (story.story, *map(str, counts), f"{story.worst_read:.2f} s", f"{story.seconds:.0f}", verdict)
