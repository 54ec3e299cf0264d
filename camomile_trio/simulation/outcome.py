"""How far a run has come, and what came out of it: its trace, its figures, whether it passed, and how to repeat it.

Rules of this file: it only counts; outcomes are values, JSON-able as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import attrs

from camomile_trio.simulation.ledger import Operation


@attrs.frozen
class Violation:
    """A property did not hold at one moment."""

    rule: str
    time: float  # virtual s
    machine: int | None
    expected: str
    seen: str


@attrs.frozen
class Claim:
    """One line of a scenario's pass line."""

    what: str
    is_true: bool
    seen: str


@attrs.frozen(kw_only=True)
class Outcome:
    """One run."""

    scenario: str
    nodes: int
    seed: int
    trace: str
    virtual_seconds: float
    messages: int
    bytes: int
    puts: int
    gets: int
    forgets: int
    failed: int  # operations that ended otherwise than their users were promised
    lost: int  # promised keys with no holder left on any machine
    violation_count: int
    violations: tuple[Violation, ...]
    claims: tuple[Claim, ...]
    figures: dict[str, object]
    repeat: str  # the command that repeats it
    interrupted: bool = False
    forgets_lost: int = 0  # acknowledged, and faults took every tombstone: nobody can know of them
    seconds: float = 0.0  # real ones
    memory: int = 0  # bytes at most, of the whole process
    violated_rules: dict[str, int] = attrs.field(factory=dict)  # how often each was violated
    expected_failures: dict[str, str] = attrs.field(factory=dict)  # what must fail, and why
    # By rule: the part of it that is read in packets, which could not be judged, since they were really sealed.
    not_judged: dict[str, str] = attrs.field(factory=dict)

    @property
    def surprises(self) -> list[str]:
        """What keeps the run from passing: what failed and was not to, and what was to fail and did not."""
        failed = [claim.what for claim in self.claims if not claim.is_true] + list(self.violated_rules)
        found = [f"failed: {what}" for what in failed if what not in self.expected_failures]
        return found + [f"no longer fails: {what}" for what in self.expected_failures if what not in failed]

    @property
    def passed(self) -> bool:
        """No rule was violated and every claim is true, but for exactly those that are expected to fail."""
        return not self.surprises and not self.interrupted


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
