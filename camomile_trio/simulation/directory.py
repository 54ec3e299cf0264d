"""Every machine of a world by its node's id, so that the ones nearest to a target are found without a look at all.

Rules of this file: ids only; whether a machine runs, has joined or can be reached is not known here. Ids are
kept in order: those that agree in their first bits are neighbours, and half of such a range is nearer to any target
than the other half, so that a walk from the nearest outward is a few bisections.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence

from camomile_trio.kademlia.ids import ID_BITS, as_int
from camomile_trio.simulation.machine import Machine

# A range of so few ids is sorted rather than halved.
_FEW = 8


class Directory:
    """The machines under the ids that they have now."""

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._machine_of: dict[int, Machine] = {}
        # The id and the life of each machine when it was last seen, by the machine's number.
        self._seen: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, identifier: object) -> bool:
        return isinstance(identifier, bytes) and as_int(identifier) in self._machine_of

    def add(self, machine: Machine) -> None:
        """It is known from now on; under its new id, if it came back with another one."""
        number = as_int(machine.id)
        before, _ = self._seen.get(machine.number, (None, 0))
        self._seen[machine.number] = number, machine.lives
        if before == number:
            return
        if before is not None:
            del self._numbers[bisect_left(self._numbers, before)]
            del self._machine_of[before]
        insort(self._numbers, number)
        self._machine_of[number] = machine

    def refresh(self, machines: Sequence[Machine]) -> None:
        """All of these are known from now on."""
        for machine in machines:
            _, lives = self._seen.get(machine.number, (None, 0))
            if machine.lives > lives:
                self.add(machine)

    def nearest_first(self, target: bytes) -> Iterator[Machine]:
        """The machines by the distance of their ids from `target`."""
        for number in nearest_first(self._numbers, as_int(target)):
            yield self._machine_of[number]


def nearest_first(ordered: Sequence[int], target: int) -> Iterator[int]:
    """The ids of a sorted sequence by their distance from `target`, nearest first."""
    ranges = [(0, len(ordered), ID_BITS - 1)]
    while ranges:
        low, high, bit = ranges.pop()
        if high - low <= _FEW:
            yield from sorted(ordered[low:high], key=target.__xor__)
            continue
        middle = halve(ordered, low, high, bit)
        zeros, ones = (low, middle, bit - 1), (middle, high, bit - 1)
        # The last one in is the first one out.
        ranges += (zeros, ones) if target >> bit & 1 else (ones, zeros)


def halve(ordered: Sequence[int], low: int, high: int, bit: int) -> int:
    """Where in `ordered[low:high]`, whose ids agree above `bit`, those begin that have this bit."""
    if low == high:
        return low
    return bisect_left(ordered, (ordered[low] >> bit | 1) << bit, low, high)
