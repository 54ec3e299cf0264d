"""Crashes, pauses, partitions and restarts: what is done to a network, and what must be so after it.

Rules of this file: a story is a function from its setting to figures, in the order of what happens. Numbers that say
when something must be so stand here, at the top. Chance comes from the seed, processes and their timing do not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import attrs

from tools.faults.figures import Figures
from tools.faults.network import Network, wait_until
from tools.faults.traffic import Traffic
from tools.faults.truth import Truth

SPREAD = 5.0  # seconds from the last put to the harm: what a put leaves to the background is done
READ_WITHIN = 10.0  # seconds from the crash of half a network until every key has been read
SERVES_WITHIN = 30.0  # seconds from readiness after a crash of all until every key has been read
ROUND = 15.0  # seconds between two offers of a record; an hour by default
LONGEST_ROUND = 1.25 * ROUND  # with its jitter
ROUNDS = 4
MET_WITHIN = 120.0  # seconds; a node looks for the names of --join about once a minute
CACHE_LIFE = 5.0
# An hour's work in a quarter of a minute: what is hourly by default is so here, and caches end within a round.
QUICK = (
    *("--replicate-interval", f"{ROUND:g}", "--refresh-interval", f"{ROUND:g}"),
    *("--cache-life", f"{CACHE_LIFE:g}"),
)
PAUSED = 60.0  # seconds
UNDER_WRITES = 5.0  # seconds of traffic before the crash of all
BETWEEN_RESTARTS = 1.0
MOST_PARTED, MOST_PAUSED, MOST_ROLLED = 30, 5, 20


@attrs.frozen
class Setting:
    nodes: int
    seed: int
    sync: str = "os"
    crashes: int = 1
    keep_logs_in: Path | None = None

    @property
    def values(self) -> int:
        """How many are put: enough that chance has its chance, few enough that reading them takes seconds."""
        return min(200, 4 * self.nodes)

    def logs(self, story: str) -> Path | None:
        return self.keep_logs_in / story if self.keep_logs_in else None


Story = Callable[[Setting], Figures]


def half_killed(setting: Setting) -> Figures:
    """Half of the nodes die in the same instant, soon after the last put."""
    figures = Figures("half killed", setting.nodes)
    with Network.made(setting.nodes, seed=setting.seed, keep_logs_in=setting.logs("half-killed")) as network:
        network.start_all()
        truth = Truth(network, figures)
        truth.put("before half of us died", setting.values, network.members)
        time.sleep(SPREAD)
        dead = network.some(setting.nodes // 2)
        died = network.kill(*dead)
        alive = [member for member in network.members if member.runs]
        truth.read_all(alive, within=READ_WITHIN, since=died)
        figures.notes.append(f"{len(dead)} of {setting.nodes} killed; the worst read counts from their death")
    return figures


def partition(setting: Setting) -> Figures:
    """A third is cut off; the others forget meanwhile; after the healing nothing comes back, four rounds long."""
    nodes = min(setting.nodes, MOST_PARTED)
    figures = Figures("partition", nodes)
    with Network.made(nodes, *QUICK, seed=setting.seed, keep_logs_in=setting.logs("partition")) as network:
        network.start_all()
        truth = Truth(network, figures)
        keys = truth.put("before the partition", min(60, setting.values), network.members)
        time.sleep(SPREAD)
        larger, smaller = network.members[: nodes * 2 // 3], network.members[nodes * 2 // 3 :]
        network.hosts.partition([one.number for one in larger], [one.number for one in smaller])
        time.sleep(SPREAD)
        truth.forget(keys[: len(keys) * 2 // 3], larger)
        figures.failed += [f"during the partition {said}" for said in _split_is_real(truth, network)]
        there = truth.put("during the partition, larger side", len(larger), larger)
        here = truth.put("during the partition, smaller side", len(smaller), smaller)
        time.sleep(LONGEST_ROUND)

        network.hosts.heal()
        healed = time.monotonic()
        # Rounds count from when the two sides have heard of each other: that takes a look at the names of --join.
        if not wait_until(
            lambda: not truth.unread(there[:1], smaller) and not truth.unread(here[:1], larger), within=MET_WITHIN
        ):
            figures.wrong.append(f"the sides have not found each other {MET_WITHIN:g} s after the healing")
        met = time.monotonic()
        served: list[int] = []
        for number in range(1, ROUNDS + 1):
            time.sleep(max(0.0, met + number * LONGEST_ROUND - time.monotonic()))
            again = truth.still_served(network.members)
            served.append(len(again))
            figures.resurrected |= again
        truth.read_all(network.members, within=SERVES_WITHIN)
        figures.notes.append(
            f"{len(larger)}/{len(smaller)} nodes, {len(truth.forgotten)} keys forgotten on the larger side; "
            f"the sides met {met - healed:.0f} s after the healing; "
            f"served by anyone after rounds 1 to {ROUNDS} of {ROUND:g} s: {', '.join(map(str, served))}"
        )
    return figures


def paused(setting: Setting) -> Figures:
    """Some nodes are stopped for a minute (SIGSTOP), while the others are read from, written to, and forget."""
    count = min(MOST_PAUSED, max(1, setting.nodes // 5))
    figures = Figures("paused", setting.nodes)
    with Network.made(setting.nodes, *QUICK, seed=setting.seed, keep_logs_in=setting.logs("paused")) as network:
        network.start_all()
        truth = Truth(network, figures)
        keys = truth.put("before the pause", min(80, setting.values), network.members)
        time.sleep(SPREAD)
        stopped = network.some(count)
        network.pause(*stopped)
        began = time.monotonic()
        others = [member for member in network.members if member not in stopped]
        truth.forget(keys[: len(keys) // 4], others)
        with Traffic("during the pause", others, setting.seed) as traffic:
            time.sleep(max(0.0, began + PAUSED - time.monotonic()))
        _take_over(truth, traffic, everything_had_to_succeed=True)

        network.resume(*stopped)
        network.wait_ready(stopped)
        # A record that was forgotten meanwhile is found out in the first offer, its copies in caches end after it.
        time.sleep(2 * LONGEST_ROUND)
        figures.resurrected |= truth.still_served(network.members)
        truth.read_all(stopped, within=SERVES_WITHIN)
        figures.notes.append(f"{count} nodes for {PAUSED:g} s; {traffic.reads} reads meanwhile")
    return figures


def crash_of_all(setting: Setting) -> Figures:
    """Every node is killed in the same instant, under writes, and starts again on what is on its disk."""
    figures = Figures("crash of all", setting.nodes)
    options = ("--sync", setting.sync)
    with Network.made(setting.nodes, *options, seed=setting.seed, keep_logs_in=setting.logs("crash-of-all")) as network:
        network.start_all()
        truth = Truth(network, figures)
        keys = truth.put("before the crash", min(80, setting.values), network.members)
        truth.forget(keys[: len(keys) // 4], network.members)
        slowest = 0.0
        for number in range(setting.crashes):
            with Traffic(f"under crash {number}", network.members, setting.seed + number) as traffic:
                time.sleep(UNDER_WRITES)
                network.kill(*network.members)
            _take_over(truth, traffic, everything_had_to_succeed=False)
            slowest = max(slowest, network.start_all())
            figures.resurrected |= truth.still_served(network.members)
            truth.read_all(network.members, within=SERVES_WITHIN)
        figures.notes.append(
            f"{setting.crashes} of all nodes at once, --sync {setting.sync}; ready again after at most {slowest:.1f} s"
        )
    return figures


def rolling_restart(setting: Setting) -> Figures:
    """Ephemeral nodes are stopped and started again, one after another, under reads and writes."""
    nodes = min(setting.nodes, MOST_ROLLED)
    figures = Figures("rolling restart", nodes)
    logs = setting.logs("rolling-restart")
    with Network.made(nodes, seed=setting.seed, ephemeral=True, keep_logs_in=logs) as network:
        network.start_all()
        truth = Truth(network, figures)
        truth.put("before we went round", setting.values, network.members)
        longest = 0.0
        with Traffic("while we go round", network.members, setting.seed) as traffic:
            for member in network.members:
                traffic.leave_alone(member)
                told = time.monotonic()
                code = network.stop(member)
                longest = max(longest, time.monotonic() - told)
                if code != 0:
                    figures.wrong.append(f"{member.host.name} ended with {code}")
                network.start(member)
                network.wait_ready([member])
                traffic.use_again(member)
                time.sleep(BETWEEN_RESTARTS)
        _take_over(truth, traffic, everything_had_to_succeed=True)
        truth.read_all(network.members, within=SERVES_WITHIN)
        figures.notes.append(f"the longest stop took {longest:.1f} s; {traffic.reads} reads meanwhile")
    return figures


def _split_is_real(truth: Truth, network: Network) -> list[str]:
    """What contradicts it: one that hears nobody of the other side cannot know what was forgotten there."""
    key = min(truth.forgotten, default=None)
    if key is None:
        return ["nothing could be forgotten"]
    last = network.members[-1]
    seen = wait_until(lambda: network.read([(last, key)])[0].status != 410, within=SPREAD)
    return [] if seen else [f"{last.host.name} knows what was forgotten on the other side"]


def _take_over(truth: Truth, traffic: Traffic, *, everything_had_to_succeed: bool) -> None:
    """What the traffic was told is true from now on."""
    truth.values.update(traffic.values)
    truth.figures.keys += len(traffic.values)
    if everything_had_to_succeed:
        truth.figures.failed += traffic.failed
        truth.figures.read_took(traffic.worst_read)
