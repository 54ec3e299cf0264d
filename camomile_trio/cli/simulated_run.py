"""One simulated run, from the command's point of view: shown while it lasts, and at its end.

Rules of this file: standard output has the outcome and nothing else. Whoever presses Ctrl-C gets the figures so far.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import attrs
import click

from camomile_trio.cli.failures import DONE, FAILED, INTERRUPTED
from camomile_trio.cli.simulation_bar import bar_on_terminal
from camomile_trio.simulation import trace_file
from camomile_trio.simulation.outcome import Outcome
from camomile_trio.simulation.run import Plan, simulate


def run_once(plan: Plan, *, as_json: bool, trace: Path | None, report: Path | None) -> int:
    """Runs `plan`, prints what came of it, and returns the exit code."""
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
        click.echo(json.dumps(as_mapping(outcome), default=str))
    else:
        from camomile_trio.cli.outcome_page import print_outcome

        print_outcome(outcome)
    return exit_code_of(outcome)


def as_mapping(outcome: Outcome) -> dict[str, object]:
    """Everything of it, for JSON."""
    return {**attrs.asdict(outcome), "passed": outcome.passed}


def exit_code_of(outcome: Outcome) -> int:
    """Interrupted, passed or failed."""
    if outcome.interrupted:
        return INTERRUPTED
    return DONE if outcome.passed else FAILED
