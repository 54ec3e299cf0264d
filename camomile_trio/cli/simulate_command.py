"""`camomile simulate`: a whole network in virtual time, once or for many seeds.

Rules of this file: options, and which of them go together. One run is in `simulated_run.py`, many in `many_seeds.py`.
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from camomile_trio.cli.option_types import DIRECTORY, FILE, option

if TYPE_CHECKING:
    from camomile_trio.simulation.scenario import Scenario

DEFAULT_SCENARIO = "steady"
SECONDS_FOR_A_SEED = 300.0


@click.command(short_help="Run a whole network in virtual time; the same seed gives the same run.")
@option("--nodes", type=click.IntRange(1), show_default="as the scenario says", help="How many nodes.")
@option("--seed", type=click.IntRange(0), default=1, help="Where all chance comes from.")
@option("--scenario", "name", default=DEFAULT_SCENARIO, metavar="NAME", help="What happens; see --list.")
@option("--list", "lists", is_flag=True, help="Print all scenarios and end.")
@option("--json", "as_json", is_flag=True, help="Print the outcome as JSON, in one line.")
@option("--warm", is_flag=True, help="Lay out the routing tables instead of letting nodes join one after another.")
@option("--trace", type=FILE, help="Write all that happens to this file, one JSON object a line.")
@option("--report", type=DIRECTORY, help="Write a report in HTML to this directory.")
@option("--seeds", type=click.IntRange(1), help="Run so many seeds, from --seed on, each in a process of its own.")
@option("--jobs", type=click.IntRange(1), show_default="processors", help="With --seeds: so many at once.")
@option(
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
    from camomile_trio.simulation.run import Plan

    if lists:
        _print_list(as_json)
        return
    if seeds is None and jobs is not None:
        raise click.UsageError("--jobs goes with --seeds")
    if seeds is not None and trace is not None:
        raise click.UsageError("--trace is of one run; leave --seeds out")
    plan = Plan(scenario=_scenario(name), seed=seed, nodes=nodes, is_warm=warm)
    if seeds is None:
        from camomile_trio.cli.simulated_run import run_once

        context.exit(run_once(plan, as_json=as_json, trace=trace, report=report))
    from camomile_trio.cli.many_seeds import run_many

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
    from camomile_trio.cli.outcome_page import print_scenarios

    print_scenarios(list(SCENARIOS.values()))
