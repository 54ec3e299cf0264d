"""The truth beside a lookup: whether it found exactly the k closest nodes that live, have joined and can be reached.

Rules of this file: it knows every machine and changes none. What came, went or could not be reached while a lookup ran
makes it undecided, never wrong; so does whoever is no machine of this world (classic peers, strangers).
"""

from __future__ import annotations

import enum

from camomile_trio.node.events import Event, LookupEnded, ReadyChanged
from camomile_trio.simulation.directory import Directory
from camomile_trio.simulation.machine import Condition, Machine
from camomile_trio.simulation.world import World


class Verdict(enum.Enum):
    """What a lookup found."""

    EXACT = "exact"  # the k closest, closest first
    WRONG = "wrong"
    UNDECIDED = "undecided"


class Truth:
    """Judges lookups. Told of every event of every machine."""

    def __init__(self, world: World) -> None:
        self.directory = Directory()
        self._world = world
        # In which life each machine joined, and when, by the machine's number.
        self._joined: dict[int, tuple[int, float]] = {}

    def on_event(self, machine: Machine, event: Event) -> None:
        """Notes who joins."""
        if isinstance(event, ReadyChanged):
            self.directory.add(machine)
            if event.ready:
                self._joined[machine.number] = machine.lives, self._world.now
            else:
                self._joined.pop(machine.number, None)

    def judge(self, asker: Machine, event: LookupEnded) -> Verdict:
        """Of a lookup for a node that has ended now. (One for a value ends at the value, with nobody in particular.)"""
        k = asker.config.kademlia.k
        began = self._world.now - event.seconds
        expected: list[bytes] = []
        is_doubtful = False
        for machine in self.directory.nearest_first(event.target):
            if machine is asker:
                continue
            if self._has_been_there(machine, began) and self._world.reaches(asker, machine):
                expected.append(machine.id)
                if len(expected) == k:
                    break
            else:
                is_doubtful |= machine.node is not None or machine.down_since >= began
        found: list[bytes] = [contact.id for contact in event.closest]
        if found == expected:
            return Verdict.EXACT
        if not is_doubtful and all(each in self.directory for each in found):
            return Verdict.WRONG
        return Verdict.UNDECIDED

    def _has_been_there(self, machine: Machine, since: float) -> bool:
        """Whether it has run and been a member since then."""
        if machine.node is None or machine.condition is not Condition.UP:
            return False
        lives, joined = self._joined.get(machine.number, (0, 0.0))
        return lives == machine.lives and joined <= since
