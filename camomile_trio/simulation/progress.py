"""How far a run has come: for a bar on a terminal, and for the figures of a run that was interrupted.

Rules of this file: it only counts; who shows it looks at it whenever the trace beats.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import attrs

from camomile_trio.simulation.ledger import Operation


@attrs.define(eq=False)
class Progress:
    """The phase that the scenario is in, and what was done so far."""

    phase: str = "starting"
    done: int = 0
    total: int = 0  # of this phase; 0 where nobody knows
    operations: Counter[str] = attrs.field(factory=Counter)
    failed: int = 0
    on_begin: list[Callable[[str], None]] = attrs.field(factory=list)  # told of each new phase, by name

    def begin(self, phase: str, total: int = 0) -> None:
        """A new phase of `total` steps."""
        self.phase, self.done, self.total = phase, 0, total
        for told in self.on_begin:
            told(phase)

    def advance(self, steps: int) -> None:
        self.done += steps

    def on_operation(self, operation: Operation) -> None:
        self.operations[operation.kind] += 1
        self.failed += operation.has_failed
