"""What a run measures: operations, lookups, tables, load, copies, phases.

Rules of this file: it watches and counts; what the figures mean is for the scenario's pass line and the report. Times
are virtual. It costs little at ten thousand nodes: what is dear is sampled, by generators of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import attrs
import trio

from camomile_trio.kademlia.ids import ID_BYTES
from camomile_trio.node.events import Event, LookupEnded
from camomile_trio.simulation.copies import Copies
from camomile_trio.simulation.distribution import Tally, curve, mean, percentile, rounded
from camomile_trio.simulation.ledger import CUT_OFF, OK, Operation, Standing
from camomile_trio.simulation.load import Load, tables
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.truth import Truth, Verdict
from camomile_trio.simulation.world import World

OF_KEYS, OF_NODES, PROBES = "of_keys", "of_nodes", "probes"
# So many lookups of nodes are all judged, then every second one until as many again are, then every fourth one.
JUDGED_ALIKE = 2000
MOST_PHASES = 100
JOINING = "joining"
PROBES_A_SECOND = 50.0


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


@attrs.define(eq=False)
class Phase:
    """What the scenario was at, from `began`."""

    name: str
    began: float
    messages: int  # that had been received when it began
    operations: int  # that had begun
    lives: int  # of all machines


class Figures:
    """The figures of one run. Made before its first node; `watch` is its task."""

    def __init__(self, world: World) -> None:
        self.lost = 0
        self.forgets_lost = 0
        self._world = world
        self._truth = Truth(world)
        self._copies = Copies(world, self._truth.directory)
        self._lookups = {OF_KEYS: Lookups(), OF_NODES: Lookups(), PROBES: Lookups()}
        self._judged_alike, self._passed_over, self._pass_over = 0, 0, 0
        self._probes: dict[bytes, None] = {}
        self._phases: list[Phase] = []
        self._at_end: dict[str, object] = {}
        world.observers.append(self.on_event)
        world.on_operation_ended.append(self._copies.on_operation)
        world.progress.on_begin.append(self._begin_phase)

    async def watch(self) -> None:
        """Looks at copies again and again, until cancelled."""
        await self._copies.watch()

    def on_event(self, machine: Machine, event: Event) -> None:
        """A node tells what it does."""
        if not isinstance(event, LookupEnded):
            self._truth.on_event(machine, event)
            return
        sort = self._sort_of(event)
        lookups = self._lookups[sort]
        lookups.add(event)
        if event.kind == "node" and (sort != OF_NODES or self._is_judged()):
            lookups.verdicts[self._truth.judge(machine, event)] += 1

    async def probe_lookups(self, count: int) -> None:
        """So many lookups of random ids at random machines, at a steady pace: how good tables are all over the ids."""
        rng = self._world.generator("probes", len(self._phases))

        async def probe(machine: Machine, target: bytes) -> None:
            if machine.node is not None:
                with trio.CancelScope() as scope:
                    # As a user's operation it ends with its node.
                    machine.life.users[scope] = None
                    try:
                        await machine.node.core.find_node(target)
                    finally:
                        machine.life.users.pop(scope, None)

        self._world.progress.begin("probing", count)
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                serving = [each for each in self._world.machines if each.serves]
                if serving:
                    target = rng.randbytes(ID_BYTES)
                    self._probes[target] = None
                    nursery.start_soon(probe, rng.choice(serving), target)
                self._world.progress.advance(1)
                await trio.sleep(1 / PROBES_A_SECOND)

    @property
    def lookups(self) -> dict[str, dict[str, object]]:
        """As in `table`."""
        return {sort: each.table() for sort, each in self._lookups.items() if each.hops.total}

    def at_end(self) -> None:
        """The scenario is over; nodes still run."""
        world = self._world
        self._truth.directory.refresh(world.machines)
        promised = world.ledger.keys_that_are(Standing.PROMISED)
        self.lost = sum(not self._copies.has_holder(key) for key in promised)
        self.forgets_lost = world.tombstones.lost
        self._copies.look()
        load = Load(world)
        self._at_end = _without_empty(
            tables=tables(world),
            load=load.table(),
            load_curve=load.curve(),
            keys={"promised": len(promised), "lost": self.lost, "forgets_lost": self.forgets_lost},
        )

    def table(self) -> dict[str, object]:
        """Everything, by name. What was not measured is absent; of an interrupted run what is measured at its end is.

        operations: of each kind that was asked: `count`, `ok`, `failed`, `cut_off` (the node died under its user), of
          those that were ok the percentiles `latency_p50_s` … and the maximum; `requests_mean` and `bytes_mean`, what
          the asked node sent, and moved in both directions, while the operation was under way: all that it did, so a
          little more than the operation's own.
        failures: by kind, how often for each reason.
        latency_curves_s: by kind, the latency percentiles 0, 1, … 100 of those that were ok.
        lookups: `of_keys` (users' puts, gets and forgets, and renewals), `of_nodes` (joins, refreshes) and `probes`:
          `count`; hops (the longest chain of answers that led to one of the closest), requests and latency of one
          lookup. `judged`: lookups for nodes that were compared with the truth, all of keys and probes, a sample of the
          others. `exact`: the answer is the k closest that ran, had joined and could be reached all the time, the asker
          left out; `undecided`: it is not, but nodes came or went meanwhile, or some are not the simulator's;
          `exact_share`: exact of exact and wrong ones.
        hops_counts: by the same names, how many lookups took 0, 1, 2, … hops.
        tables: of the nodes that ran at the end (`sampled` of them): contacts per node; `bucket_fill`: mean members of
          the farthest bucket (half of all ids), of the next nearer one, and so on.
        load: messages that the nodes running at the end had `received` in that life, and `received_per_second` of it:
          mean, percentiles, how they relate, Gini coefficient (0: all alike).
        load_curve: Lorenz curve of the latter: the share that the least loaded 0, 1, … 100 % of the nodes have.
        copies: a time series over at most 32 promised keys: `least` and `mean` number of live copies of those that have
          any, how many have none (`lost`), `live_nodes`; `wanted`: how many copies there should be at the end.
        repair: whenever a machine's end left the mean below 95 % of what should be, until it was not: `began_s`,
          `took_s` (-1: not over), as exact as the samples of copies are close (`copies.interval_s`).
        keys: how many are `promised` at the end, and of those how many no running machine has (`lost`); `forgets_lost`:
          acknowledged forgets of which faults took every tombstone, so that nobody can know of them.
        joins: lives that began while the scenario was joining, and `datagrams_per_join`: all messages received in those
          phases, by life.
        phases: what the scenario was at, in order: `began_s`, `lasted_s`, `messages` received, `operations` begun.
        """
        of_kind = _by_kind(self._world.ledger.operations)
        return _without_empty(
            operations={kind: _of_operations(each) for kind, each in of_kind.items()},
            failures={kind: found for kind, each in of_kind.items() if (found := _failures(each))},
            latency_curves_s={kind: curve(ok) for kind, each in of_kind.items() if (ok := _seconds(each))},
            lookups=self.lookups,
            hops_counts={sort: each.hops.as_list() for sort, each in self._lookups.items() if each.hops.total},
            copies=self._copies.table(),
            repair=self._copies.repair_table(),
            **self._at_end,
            joins=self._joins(),
            phases=self._phase_table(),
        )

    def _sort_of(self, event: LookupEnded) -> str:
        if event.target in self._probes:
            del self._probes[event.target]
            return PROBES
        is_of_key = event.kind == "value" or event.target in self._world.users.values
        return OF_KEYS if is_of_key else OF_NODES

    def _is_judged(self) -> bool:
        if self._passed_over < self._pass_over:
            self._passed_over += 1
            return False
        self._passed_over = 0
        self._judged_alike += 1
        if self._judged_alike == JUDGED_ALIKE:
            self._judged_alike, self._pass_over = 0, 2 * self._pass_over + 1
        return True

    def _begin_phase(self, name: str) -> None:
        if len(self._phases) < MOST_PHASES:
            world = self._world
            lives = sum(each.lives for each in world.machines)
            self._phases.append(Phase(name, world.now, world.trace.messages, len(world.ledger.operations), lives))

    def _ended_phases(self) -> list[tuple[Phase, Phase]]:
        """Each with the one that came after it. The last one only ends the run."""
        return list(zip(self._phases, self._phases[1:], strict=False))

    def _phase_table(self) -> dict[str, object]:
        return {
            f"{number} {phase.name}": {
                "began_s": rounded(phase.began),
                "lasted_s": rounded(after.began - phase.began),
                "messages": after.messages - phase.messages,
                "operations": after.operations - phase.operations,
            }
            for number, (phase, after) in enumerate(self._ended_phases(), 1)
        }

    def _joins(self) -> dict[str, object]:
        joining = [(phase, after) for phase, after in self._ended_phases() if phase.name == JOINING]
        lives = sum(after.lives - phase.lives for phase, after in joining)
        messages = sum(after.messages - phase.messages for phase, after in joining)
        return {"count": lives, "datagrams_per_join": rounded(messages / lives)} if lives else {}


def _without_empty(**sections: object) -> dict[str, object]:
    return {name: section for name, section in sections.items() if section}


def _by_kind(operations: Sequence[Operation]) -> dict[str, list[Operation]]:
    ended = [each for each in operations if each.ended is not None]
    found = {kind: [each for each in ended if each.kind == kind] for kind in ("put", "get", "forget")}
    return {kind: each for kind, each in found.items() if each}


def _seconds(operations: Sequence[Operation]) -> list[float]:
    return sorted(each.seconds for each in operations if each.outcome == OK)


def _failures(operations: Sequence[Operation]) -> dict[str, int]:
    return dict(sorted(Counter(each.outcome for each in operations if each.outcome != OK).items()))


def _of_operations(operations: Sequence[Operation]) -> dict[str, object]:
    seconds = _seconds(operations)
    cut_off = sum(each.outcome == CUT_OFF for each in operations)
    return {
        "count": len(operations),
        "ok": len(seconds),
        "failed": len(operations) - len(seconds) - cut_off,
        "cut_off": cut_off,
        "latency_p50_s": rounded(percentile(seconds, 50)),
        "latency_p90_s": rounded(percentile(seconds, 90)),
        "latency_p99_s": rounded(percentile(seconds, 99)),
        "latency_max_s": rounded(seconds[-1]) if seconds else 0.0,
        "requests_mean": mean([each.requests for each in operations]),
        "bytes_mean": mean([each.bytes for each in operations]),
    }


__all__ = ["Figures", "percentile"]
