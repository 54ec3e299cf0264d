"""Whether anybody is left who can know of a forget: a tombstone in a running node, or on the disk of any machine.

Rules of this file: a forget is lost only when a fault took the last copy of its tombstone: a machine went without good
order, or came back on a new disk. A copy on the disk of a machine that is down is a copy. What nodes do with copies is
no fault: a tombstone that they drop, or that one of them has and does not spread, is theirs to answer for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import attrs

from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.records import PublisherKey
from camomile_trio.simulation.ledger import OK, Operation
from camomile_trio.simulation.machine import Machine


@attrs.define(eq=False)
class _Forget:
    """An acknowledged forget, the last of its publisher and key."""

    word: Operation
    seq: int  # a tombstone with a smaller one is of an earlier forget, and no copy

    def is_known_at(self, machine: Machine) -> bool:
        state = machine.kept(self.word.key)
        register = state.register(self.word.publisher) if state is not None else None
        return register is not None and register.record.is_tombstone and register.record.seq >= self.seq


class Tombstones:
    """Follows every acknowledged forget of one run."""

    def __init__(self, machines: Sequence[Machine], on_lost: Callable[[Operation], None]) -> None:
        self.lost = 0  # forgets
        self._machines = machines
        self._on_lost = on_lost
        self._forgets: dict[tuple[Key, PublisherKey], _Forget] = {}
        self._going: dict[int, list[_Forget]] = {}  # by machine, what it knew when it was struck

    def on_operation(self, operation: Operation) -> None:
        """A user's operation ended."""
        if operation.kind != "forget" or operation.outcome != OK:
            return
        key = operation.key
        states = [state for each in self._machines if (state := each.kept(key)) is not None]
        found = [register.record for state in states if (register := state.register(operation.publisher)) is not None]
        seqs = [record.seq for record in found if record.is_tombstone]
        forget = _Forget(operation, max(seqs, default=0))
        self._forgets[key, operation.publisher] = forget
        if not seqs and any(each.down_since >= operation.began for each in self._machines):
            self._lose(forget)  # those that acknowledged it went before the user heard of it

    def on_going(self, machine: Machine) -> None:
        """A fault strikes the machine, and what it knows may go with it."""
        self._going[machine.number] = self._known_at(machine)

    def on_gone(self, machine: Machine) -> None:
        """Its node is gone."""
        self._judge(machine, self._going.pop(machine.number, []))

    @contextmanager
    def taken_from(self, machine: Machine) -> Iterator[None]:
        """A block that takes copies from a machine that is down."""
        before = self._known_at(machine)
        yield
        self._judge(machine, before)

    def _known_at(self, machine: Machine) -> list[_Forget]:
        return [each for each in self._forgets.values() if not each.word.is_lost and each.is_known_at(machine)]

    def _judge(self, machine: Machine, before: list[_Forget]) -> None:
        for forget in before:
            if not forget.is_known_at(machine) and not any(map(forget.is_known_at, self._machines)):
                self._lose(forget)

    def _lose(self, forget: _Forget) -> None:
        word = forget.word
        if not word.is_lost:
            word.is_lost = True
            self.lost += 1
            self._on_lost(word)
