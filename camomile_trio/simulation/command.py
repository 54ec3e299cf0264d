"""`camomile simulate`: a whole network in virtual time, once or for many seeds.

Rules of this file: options, which of them go together, and one run as the command shows it. Many seeds are in
`seeds.py`. Standard output has the outcome and nothing else; the bar goes to standard error, and only to a terminal. It
draws when the run beats, in the run's own thread: beside a run that shall be the same every time there is no other.
Ctrl-C ends a run with the figures so far. The group of all commands gives each option its environment variable.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

if TYPE_CHECKING:
    from camomile_trio.simulation.outcome import Outcome
    from camomile_trio.simulation.run import Watcher
    from camomile_trio.simulation.scenario import Plan, Scenario
    from camomile_trio.simulation.world import World

DEFAULT_SCENARIO = "steady"
SECONDS_FOR_A_SEED = 300.0
DRAWN_EVERY = 0.1  # s between two drawings of the bar


@click.command(short_help="Run a whole network in virtual time; the same seed gives the same run.")
@click.option("--nodes", type=click.IntRange(1), show_default="as the scenario says", help="How many nodes.")
@click.option("--seed", type=click.IntRange(0), default=1, help="Where all chance comes from.")
@click.option("--scenario", "name", default=DEFAULT_SCENARIO, metavar="NAME", help="What happens; see --list.")
@click.option("--list", "lists", is_flag=True, help="Print all scenarios and end.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON, in one line.")
@click.option("--warm", is_flag=True, help="Lay out the routing tables instead of letting nodes join.")
@click.option("--real-crypto", is_flag=True, help="Seal packets as real nodes do; the judge cannot read them then.")
@click.option(
    "--trace",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write all that happens to this file, one JSON object a line.",
)
@click.option(
    "--report", type=click.Path(file_okay=False, path_type=Path), help="Write a report in HTML to this directory."
)
@click.option(
    "--seeds", type=click.IntRange(1), help="Run so many seeds, from --seed on, each in a process of its own."
)
@click.option("--jobs", type=click.IntRange(1), show_default="processors", help="With --seeds: so many at once.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.1),
    default=SECONDS_FOR_A_SEED,
    help="With --seeds: a run of more than so many seconds of real time has failed.",
)
@click.pass_context
def simulate(
    context: click.Context,
    nodes: int | None,
    seed: int,
    name: str,
    lists: bool,
    as_json: bool,
    warm: bool,
    real_crypto: bool,
    trace: Path | None,
    report: Path | None,
    seeds: int | None,
    jobs: int | None,
    timeout: float,
) -> None:
    """Run a whole network in one process and in virtual time: the nodes as they ship, in a simulated world.

    The same seed gives the same run, bit for bit, as its trace shows. The command fails if a property was violated, or
    if what the scenario claims did not come true, and prints what repeats it.
    """
    from camomile_trio.simulation.scenario import Plan

    if lists:
        _print_list(as_json)
        return
    if seeds is None and jobs is not None:
        raise click.UsageError("--jobs goes with --seeds")
    if seeds is not None and trace is not None:
        raise click.UsageError("--trace is of one run; leave --seeds out")
    plan = Plan(scenario=_scenario(name), seed=seed, nodes=nodes, is_warm=warm, has_real_crypto=real_crypto)
    if seeds is None:
        context.exit(_run_once(plan, as_json=as_json, trace=trace, report=report))
    from camomile_trio.simulation.seeds import run_many

    context.exit(run_many(plan, seeds, jobs=jobs, timeout=timeout, as_json=as_json, report=report))


def _scenario(name: str) -> Scenario:
    from camomile_trio.simulation.scenarios import SCENARIOS

    found = SCENARIOS.get(name)
    if found is None:
        near = difflib.get_close_matches(name, SCENARIOS, cutoff=0.4) or [each for each in SCENARIOS if name in each]
        hint = f"; did you mean {' or '.join(near)}?" if near else "; camomile simulate --list shows all"
        raise click.UsageError(f"--scenario: there is no {name[:80]!r}{hint}")
    return found


def _print_list(as_json: bool) -> None:
    from camomile_trio.simulation.scenarios import SCENARIOS

    if as_json:
        rows = [
            {"name": each.name, "nodes": each.nodes, "summary": each.summary, "passes": each.passes}
            for each in SCENARIOS.values()
        ]
        click.echo(json.dumps(rows))
        return
    from camomile_trio.simulation.outcome_page import print_scenarios

    print_scenarios(list(SCENARIOS.values()))


def _run_once(plan: Plan, *, as_json: bool, trace: Path | None, report: Path | None) -> int:
    """Runs `plan`, prints what came of it, and returns the exit code."""
    from camomile_trio.simulation import trace_file
    from camomile_trio.simulation.run import simulate

    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(trace_file.writing(trace, plan)) if trace is not None else None
        with bar_on_terminal() as watcher:
            outcome = simulate(plan, on_beat=watcher, tell=writer.tell if writer is not None else None)
        if writer is not None:
            writer.end(outcome)
    if report is not None:
        from camomile_trio.simulation.report import write_report

        write_report([outcome], report)
    if as_json:
        click.echo(json.dumps(_as_mapping(outcome), default=str))
    else:
        from camomile_trio.simulation.outcome_page import print_outcome

        print_outcome(outcome)
    if outcome.interrupted:
        raise click.Abort
    return 0 if outcome.passed else 1


def _as_mapping(outcome: Outcome) -> dict[str, object]:
    """Everything of it, for JSON."""
    return {**attrs.asdict(outcome), "passed": outcome.passed}


@contextlib.contextmanager
def bar_on_terminal() -> Iterator[Watcher | None]:
    """Shows phase, virtual time, messages a second and time left. Gives what is to be called at every beat; None where
    there is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from camomile_trio.simulation.outcome_page import seconds_text

    began = drawn = time.monotonic()
    phase = ""
    progress = Progress(
        TextColumn("{task.description}", style="bold"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[virtual]} virtual"),
        TextColumn("{task.fields[rate]} messages/s"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        auto_refresh=False,
    )
    task = progress.add_task("starting", total=None, virtual="0 s", rate="0")

    def draw(world: World) -> None:
        nonlocal drawn, phase
        now, found = time.monotonic(), world.progress
        if now - drawn < DRAWN_EVERY:
            return
        drawn = now
        if found.phase != phase:
            phase = found.phase
            progress.reset(task, total=found.total or None, description=phase)
        rate = f"{world.trace.messages / (now - began):,.0f}"
        progress.update(task, completed=found.done, virtual=seconds_text(world.now), rate=rate)
        progress.refresh()

    with progress:
        yield draw
