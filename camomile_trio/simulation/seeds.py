"""Many seeds of one scenario, each in a process of its own: a line for each that fails, and a summary.

Rules of this file: a run that hangs or breaks is a failed one with its command, never the end of the others. Every line
leaves at once. Processes are forked from one that has everything imported and has run nothing, so that each starts
clean and soon.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import attrs
import click

from camomile_trio.config import number_text
from camomile_trio.simulation.outcome import Outcome
from camomile_trio.simulation.outcome_page import one_line, seconds_text
from camomile_trio.simulation.run import simulate
from camomile_trio.simulation.scenario import Plan
from camomile_trio.simulation.scenarios import SCENARIOS

GRACE = 5.0  # s after which a run ends itself that nobody has ended


@attrs.frozen
class Seed:
    """What came of one seed: an outcome, or why there is none."""

    seed: int
    repeat: str
    seconds: float
    outcome: Outcome | None
    because: str = ""

    @property
    def passed(self) -> bool:
        return self.outcome is not None and self.outcome.passed

    @property
    def reasons(self) -> list[str]:
        """What was wrong with it."""
        if self.outcome is None:
            return [self.because]
        return self.outcome.surprises or (["interrupted"] if self.outcome.interrupted else [])


@attrs.define
class Summary:
    """All seeds so far."""

    wanted: int
    done: list[Seed] = attrs.field(factory=list)
    seconds: float = 0.0
    is_interrupted: bool = False

    @property
    def failed(self) -> list[Seed]:
        return sorted((each for each in self.done if not each.passed), key=lambda each: each.seed)

    @property
    def outcomes(self) -> list[Outcome]:
        """In the order of their seeds."""
        found = [each.outcome for each in self.done if each.outcome is not None]
        return sorted(found, key=lambda outcome: outcome.seed)

    def as_mapping(self) -> dict[str, object]:
        """For JSON, and for the lines at the end."""
        outcomes, slowest = self.outcomes, max(self.done, key=lambda each: each.seconds, default=None)
        wrong = Counter(reason for each in self.failed for reason in each.reasons)
        return {
            "runs": len(self.done),
            "wanted": self.wanted,
            "failed": len(self.failed),
            "messages": sum(each.messages for each in outcomes),
            "virtual_seconds": sum(each.virtual_seconds for each in outcomes),
            "lost": sum(each.lost for each in outcomes),
            "forgets_lost": sum(each.forgets_lost for each in outcomes),
            "seconds": self.seconds,
            "wrong": dict(wrong.most_common()),
            "slowest": {"seed": slowest.seed, "seconds": slowest.seconds} if slowest is not None else None,
            "failures": [{"seed": each.seed, "repeat": each.repeat, "wrong": each.reasons} for each in self.failed],
            "interrupted": self.is_interrupted,
        }


def run_many(plan: Plan, seeds: int, *, jobs: int | None, timeout: float, as_json: bool, report: Path | None) -> int:
    """Runs `seeds` seeds from that of `plan` on, prints what came of them, and returns the exit code."""
    summary = Summary(seeds)
    began = time.monotonic()
    with _bar(seeds) as show:
        try:
            plans = (attrs.evolve(plan, seed=plan.seed + number) for number in range(seeds))
            for done in _results(plans, jobs or len(os.sched_getaffinity(0)), timeout):
                summary.done.append(done)
                show(summary)
                if not (done.passed or as_json):
                    _print_failure(done)
        except KeyboardInterrupt:
            summary.is_interrupted = True
    summary.seconds = time.monotonic() - began
    if report is not None:
        from camomile_trio.simulation.report import write_report

        write_report(summary.outcomes, report)
    if as_json:
        click.echo(json.dumps(summary.as_mapping()))
    else:
        _print_summary(summary)
    if summary.is_interrupted:
        raise click.Abort
    return 1 if summary.failed else 0


def _results(plans: Iterator[Plan], jobs: int, timeout: float) -> Iterator[Seed]:
    """What comes of each plan, in the order in which they end, `jobs` at once. Leaving early ends those under way."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    under_way: dict[Connection, _Worker] = {}
    try:
        while True:
            while len(under_way) < jobs and (plan := next(plans, None)) is not None:
                worker = _Worker.start(context, plan, timeout)
                under_way[worker.result] = worker
            if not under_way:
                return
            soonest = min(each.due for each in under_way.values())
            # A connection has something to read when there is a result, and when its process is gone.
            wait(list(under_way), max(0.0, soonest - time.monotonic()))
            now = time.monotonic()
            over = [each for each, worker in under_way.items() if each.poll() or worker.due <= now]
            for each in over:
                yield under_way.pop(each).end(timeout)
    finally:
        for worker in under_way.values():
            worker.kill()


@attrs.frozen(eq=False)
class _Worker:
    plan: Plan
    process: ForkServerProcess
    result: Connection
    began: float
    due: float

    @classmethod
    def start(cls, context: ForkServerContext, plan: Plan, timeout: float) -> _Worker:
        receiving, sending = context.Pipe(duplex=False)
        began = time.monotonic()
        # A plan's scenario has functions, which do not travel: it goes by its name.
        words = (plan.scenario.name, plan.seed, plan.nodes, plan.is_warm, plan.has_real_crypto)
        process = context.Process(target=_work, args=(words, timeout, sending), daemon=True)
        process.start()
        sending.close()
        return cls(plan, process, receiving, began, began + timeout)

    def end(self, timeout: float) -> Seed:
        """What came of it: it has a result, its process is gone, or its time is over."""
        found: Outcome | str = f"took longer than {number_text(timeout)} s"
        if self.result.poll():
            try:
                found = self.result.recv()
            except (EOFError, OSError):
                self.process.join(GRACE)
                code = self.process.exitcode or 0
                found = f"its process ended with {signal.Signals(-code).name if code < 0 else code}"
        self.kill()
        seconds = time.monotonic() - self.began
        if isinstance(found, Outcome):
            return Seed(self.plan.seed, self.plan.command, seconds, found)
        return Seed(self.plan.seed, self.plan.command, seconds, None, found)

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.result.close()


def _work(words: tuple[str, int, int | None, bool, bool], timeout: float, result: Connection) -> None:
    """In the process of one seed."""
    # Ctrl-C is for the process that started this one, which may be gone before our time is over.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, timeout + GRACE)
    try:
        name, seed, nodes, is_warm, has_real_crypto = words
        plan = Plan(scenario=SCENARIOS[name], seed=seed, nodes=nodes, is_warm=is_warm, has_real_crypto=has_real_crypto)
        result.send(simulate(plan))
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        result.send(f"{type(error).__name__}: {error} ({Path(where.filename).name}, line {where.lineno})")
        raise


@contextlib.contextmanager
def _bar(seeds: int) -> Iterator[Callable[[Summary], None]]:
    """Shows how far it is, if standard error is a terminal."""
    if not sys.stderr.isatty():
        yield lambda summary: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("seeds, {task.fields[failed]} failed"))
    # A line of ours would tear the bar apart where both go to the same terminal.
    is_shared = sys.stdout.isatty()
    with Progress(
        *columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True, redirect_stdout=is_shared
    ) as progress:
        task = progress.add_task("seeds", total=seeds, failed=0)
        yield lambda summary: progress.update(task, completed=len(summary.done), failed=len(summary.failed))


def _print_failure(failed: Seed) -> None:
    reasons = one_line("; ".join(failed.reasons))[:300]
    print(f"✗ seed {failed.seed}: {reasons}\n    {failed.repeat}", flush=True)


def _print_summary(summary: Summary) -> None:
    found = summary.as_mapping()
    virtual, slowest = found["virtual_seconds"], found["slowest"]
    assert isinstance(virtual, int | float)
    lines = [f"{found['runs']} of {summary.wanted} runs, {found['failed']} failed, in {seconds_text(summary.seconds)}"]
    lines.append(f"{found['messages']:,} messages in {seconds_text(virtual)} of virtual time")
    lines.append(
        f"lost: {found['lost']} promised keys without a holder, {found['forgets_lost']} forgets without a tombstone"
    )
    if isinstance(slowest, dict):
        lines.append(f"slowest: seed {slowest['seed']} took {seconds_text(slowest['seconds'])}")
    wrong = found["wrong"]
    assert isinstance(wrong, dict)
    lines += [f"  {count} times: {one_line(reason)}" for reason, count in wrong.items()]
    if summary.is_interrupted:
        lines.append("interrupted: these are the figures so far")
    print("\n".join(lines), flush=True)
