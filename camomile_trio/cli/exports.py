"""Reading an export line by line, whoever made it.

Rules of this file: what is read is untrusted. A line is never kept beyond its bound, a file that is not an export ends
the reading early, and what is refused is counted by its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

import attrs
import click

from camomile_trio.cli.failures import CommandFailed
from camomile_trio.config import MIB
from camomile_trio.node import archive

# The largest value that any node may be told to take.
LARGEST_VALUE = 64 * MIB
# A file with so many bad entries in a row, and nothing good between, is not worth reading to an end it may not have.
MOST_BAD_IN_A_ROW = 1000


@attrs.define
class Tally:
    """What became of the records in an export."""

    entries: int = 0
    records: int = 0  # those that were good, or that the network has taken
    refused: Counter[str] = attrs.field(factory=Counter)
    _bad_in_a_row: int = 0

    def count(self, records: int, refused: tuple[str, ...] | list[str]) -> None:
        """One entry."""
        self.entries += 1
        self.records += records
        self.refused.update(refused)
        self._bad_in_a_row = 0 if records else self._bad_in_a_row + 1

    def require_sense(self) -> None:
        """CommandFailed when the last entries were all bad, and many. Ask once all that was sent is counted."""
        if self._bad_in_a_row >= MOST_BAD_IN_A_ROW:
            raise CommandFailed(
                f"the last {self._bad_in_a_row} entries were all refused",
                remedy="see the reasons above; give a file that `camomile export` wrote",
            )

    def tell(self) -> None:
        """Says the reasons, the most frequent first, one on a line."""
        for reason, count in self.refused.most_common():
            click.echo(f"refused  {count}  {reason}")


@attrs.define
class ExportReader:
    """The lines of an export. `header` is read when it is made; `entries` ends with the end that the file promises."""

    source: BinaryIO
    network: str
    most: int = LARGEST_VALUE

    def __attrs_post_init__(self) -> None:
        """CommandFailed if it is not an export of this network."""
        line = self.source.readline(archive.longest_line(0) + 1)
        try:
            header = archive.read_line(line.rstrip(b"\n"), max_value_size=self.most)
            if not isinstance(header, archive.Header):
                raise archive.BadEntry("not an export", "its first line is no header")
        except archive.BadEntry as error:
            raise CommandFailed(
                f"this is no export that can be read: {error}", remedy="give a file that `camomile export` wrote"
            ) from None
        if header.network != self.network:
            raise CommandFailed(
                f"the export is of the network {header.network[:80]!r}, not of {self.network!r}",
                remedy="records mean nothing in another network; name theirs with --network, or ask a node of it",
            )

    def lines(self) -> Iterator[bytes]:
        """The lines between header and end, unchecked. CommandFailed if there is no end, or another one."""
        bound = archive.longest_line(self.most)
        seen = 0
        while line := self.source.readline(bound + 1):
            if not line.endswith(b"\n"):
                if len(line) > bound:
                    raise CommandFailed(
                        f"entry {seen + 1} has more than {bound} bytes: this is no export",
                        remedy="give a file that `camomile export` wrote",
                    )
                break
            if line.startswith(b'{"entries":'):
                self._check_end(line, seen)
                return
            seen += 1
            yield line[:-1]
        raise CommandFailed(
            f"the export was cut short after {seen} entries", remedy="see above what became of these; export again"
        )

    def _check_end(self, line: bytes, seen: int) -> None:
        try:
            end = archive.read_line(line.rstrip(b"\n"), max_value_size=0)
        except archive.BadEntry:
            end = None
        if not isinstance(end, archive.End) or end.entries != seen:
            raise CommandFailed(
                f"the export's last line does not say that it has {seen} entries",
                remedy="lines are missing or were added; every entry was checked for itself",
            )
