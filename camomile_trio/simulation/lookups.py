"""The truth beside a lookup: whether it found exactly the k closest nodes that live, have joined and can be reached.

Rules of this file: it knows every machine and changes none. What came, went or could not be reached while a lookup ran
makes it undecided, never wrong; so does a node that is no machine of this world (classic peers, strangers).
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable

import attrs
import trio

from camomile_trio.operations.events import LookupEnded, ReadyChanged
from camomile_trio.simulation.directory import Directory
from camomile_trio.simulation.distribution import Tally, rounded
from camomile_trio.simulation.machine import Machine

OF_KEYS, OF_NODES, PROBES = "of_keys", "of_nodes", "probes"
# So many lookups of nodes are all judged, then every second one until as many again are, then every fourth one.
JUDGED_ALIKE = 2000


class Verdict(enum.Enum):
    """What a lookup found."""

    EXACT = "exact"  # the k closest, closest first
    WRONG = "wrong"
    UNDECIDED = "undecided"


@attrs.define(eq=False)
class Lookups:
    """The lookups of one sort."""

    hops: Tally = attrs.field(factory=Tally)
    requests: Tally = attrs.field(factory=Tally)
    milliseconds: Tally = attrs.field(factory=Tally)
    verdicts: Counter[Verdict] = attrs.field(factory=Counter)

    def add(self, event: LookupEnded) -> None:
        self.hops.add(event.hops)
        self.requests.add(event.requests)
        self.milliseconds.add(round(event.seconds * 1000))

    def table(self) -> dict[str, object]:
        """As in `Figures.table`."""
        exact, wrong = self.verdicts[Verdict.EXACT], self.verdicts[Verdict.WRONG]
        table: dict[str, object] = {
            "count": self.hops.total,
            "hops_mean": self.hops.mean(),
            "hops_p50": self.hops.percentile(50),
            "hops_p95": self.hops.percentile(95),
            "hops_max": self.hops.most(),
            "requests_mean": self.requests.mean(),
            "latency_p50_s": self.milliseconds.percentile(50) / 1000,
            "latency_p95_s": self.milliseconds.percentile(95) / 1000,
            "latency_max_s": self.milliseconds.most() / 1000,
            "judged": self.verdicts.total(),
            "exact": exact,
            "wrong": wrong,
            "undecided": self.verdicts[Verdict.UNDECIDED],
        }
        if exact + wrong:
            table["exact_share"] = rounded(exact / (exact + wrong))
        return table


class Truth:
    """Judges lookups. Told of who joins and of each lookup; `reaches` says whether two machines can talk,
    `is_of_key` whether a target is a key of users."""

    def __init__(self, reaches: Callable[[Machine, Machine], bool], is_of_key: Callable[[bytes], bool]) -> None:
        self.directory = Directory()
        self.lookups = {OF_KEYS: Lookups(), OF_NODES: Lookups(), PROBES: Lookups()}
        # Targets that are looked up for the sake of looking.
        self.probes: dict[bytes, None] = {}
        self._reaches = reaches
        self._is_of_key = is_of_key
        # In which life each machine joined, and when, by the machine's number.
        self._joined: dict[int, tuple[int, float]] = {}
        self._judged_alike, self._passed_over, self._pass_over = 0, 0, 0

    def on_ready(self, machine: Machine, event: ReadyChanged) -> None:
        """Notes who joins."""
        self.directory.add(machine)
        if event.ready:
            self._joined[machine.number] = machine.lives, trio.current_time()
        else:
            self._joined.pop(machine.number, None)

    def on_lookup(self, machine: Machine, event: LookupEnded) -> None:
        """Counts it, and judges it if it was for a node."""
        sort = self._sort_of(event)
        lookups = self.lookups[sort]
        lookups.add(event)
        if event.kind == "node" and (sort != OF_NODES or self._is_judged()):
            lookups.verdicts[self.judge(machine, event)] += 1

    def judge(self, asker: Machine, event: LookupEnded) -> Verdict:
        """Of a lookup for a node that has ended now. (One for a value ends at the value, with nobody in particular.)"""
        k = asker.config.kademlia.k
        began = trio.current_time() - event.seconds
        expected: list[bytes] = []
        is_doubtful = False
        for machine in self.directory.nearest_first(event.target):
            if machine is asker:
                continue
            if self._has_been_there(machine, began) and self._reaches(asker, machine):
                expected.append(machine.id)
                if len(expected) == k:
                    break
            else:
                is_doubtful |= machine.node is not None or machine.down_since >= began
        found: list[bytes] = [contact.id for contact in event.closest]
        if found[:k] == expected:  # it may have gone on beyond them
            return Verdict.EXACT
        if not is_doubtful and all(each in self.directory for each in found):
            return Verdict.WRONG
        return Verdict.UNDECIDED

    def _has_been_there(self, machine: Machine, since: float) -> bool:
        """Whether it has run and been a member since then."""
        lives, joined = self._joined.get(machine.number, (0, 0.0))
        return machine.is_heard and lives == machine.lives and joined <= since

    def _sort_of(self, event: LookupEnded) -> str:
        if event.target in self.probes:
            del self.probes[event.target]
            return PROBES
        return OF_KEYS if event.kind == "value" or self._is_of_key(event.target) else OF_NODES

    def _is_judged(self) -> bool:
        if self._passed_over < self._pass_over:
            self._passed_over += 1
            return False
        self._passed_over = 0
        self._judged_alike += 1
        if self._judged_alike == JUDGED_ALIKE:
            self._judged_alike, self._pass_over = 0, 2 * self._pass_over + 1
        return True
