"""What a run measures: operations, lookups, tables, load, copies, phases.

Rules of this file: it watches and counts; what the figures mean is for the scenario's pass line and the report. Times
are virtual. It costs little at ten thousand nodes: what is dear is sampled, by generators of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import attrs

from camomile_trio.kademlia.ids import ID_BITS
from camomile_trio.simulation.copies import Copies
from camomile_trio.simulation.distribution import curve, gini, lorenz, mean, percentile, rounded
from camomile_trio.simulation.ledger import CUT_OFF, OK, Operation, Standing
from camomile_trio.simulation.world import World

MOST_PHASES = 100
MOST_TABLES = 500  # that are looked at
JOINING = "joining"


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
        self._copies = Copies(world)
        self._phases: list[Phase] = []
        self._at_end: dict[str, object] = {}
        world.on_operation_ended.append(self._copies.on_operation)
        world.progress.on_begin.append(self._begin_phase)

    async def watch(self) -> None:
        """Looks at copies again and again, until cancelled."""
        await self._copies.watch()

    def at_end(self) -> None:
        """The scenario is over; nodes still run."""
        world = self._world
        world.truth.directory.refresh(world.machines)
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
          those that were ok the percentiles `latency_p50_s` … and the maximum; `datagrams_mean` and `bytes_mean`, what
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
        lookups = {sort: each for sort, each in self._world.truth.lookups.items() if each.hops.total}
        return _without_empty(
            operations={kind: _of_operations(each) for kind, each in of_kind.items()},
            failures={kind: found for kind, each in of_kind.items() if (found := _failures(each))},
            latency_curves_s={kind: curve(ok) for kind, each in of_kind.items() if (ok := _seconds(each))},
            lookups={sort: each.table() for sort, each in lookups.items()},
            hops_counts={sort: each.hops.as_list() for sort, each in lookups.items()},
            copies=self._copies.table(),
            repair=self._copies.repair_table(),
            **self._at_end,
            joins=self._joins(),
            phases=self._phase_table(),
        )

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
        "datagrams_mean": mean([each.sent for each in operations]),
        "bytes_mean": mean([each.bytes for each in operations]),
    }


def tables(world: World) -> dict[str, object]:
    """Contacts and buckets of a random sample of the nodes that run; empty if none does."""
    running = world.up
    if not running:
        return {}
    seen = world.generator("tables").sample(running, min(len(running), MOST_TABLES))
    fills = [{bucket.index: len(bucket.contacts) for bucket in machine.table.buckets()} for machine in seen]
    contacts = [sum(fill.values()) for fill in fills]
    nearest = min((index for fill in fills for index in fill), default=ID_BITS)
    return {
        "nodes": len(running),
        "sampled": len(seen),
        "contacts_mean": mean(contacts),
        "contacts_min": min(contacts),
        "contacts_max": max(contacts),
        "bucket_fill": [mean([fill.get(index, 0) for fill in fills]) for index in range(ID_BITS - 1, nearest - 1, -1)],
    }


class Load:
    """What each node that runs has received."""

    def __init__(self, world: World) -> None:
        received = [each.traffic.datagrams_in + each.traffic.streams_in for each in world.up]
        # A node of the last second has no rate yet.
        ages = [max(world.now - each.up_since, 1.0) for each in world.up]
        self._received = sorted(received)
        self._rates = sorted(count / age for count, age in zip(received, ages, strict=True))

    def table(self) -> dict[str, object]:
        """In all, and per second of the node's life; empty if no node runs."""
        if not self._received:
            return {}
        return {"received": _spread(self._received), "received_per_second": _spread(self._rates)}

    def curve(self) -> list[float]:
        """Which share of everything the least loaded 0, 1, … 100 % of the nodes received per second of their lives."""
        return lorenz(self._rates)


def _spread(ordered: Sequence[float]) -> dict[str, float]:
    middle = mean(ordered)
    return {
        "nodes": len(ordered),
        "mean": middle,
        "p50": rounded(percentile(ordered, 50)),
        "p99": rounded(percentile(ordered, 99)),
        "max": rounded(ordered[-1]),
        "p99_over_mean": rounded(percentile(ordered, 99) / (middle or 1)),
        "max_over_mean": rounded(ordered[-1] / (middle or 1)),
        "gini": gini(ordered),
    }
