"""`camomile explain`: the story of one key, operation or machine, from the trace of a simulation.

Rules of this file: options only; what is told is in `simulation/explain/`, how it looks in `story_page.py`.
"""

from __future__ import annotations

import re
from pathlib import Path

import click

from camomile_trio.cli.option_types import PlainPath, option


class HexPrefix(click.ParamType[str]):
    """The first hexadecimal digits of a key, or all 64."""

    name = "digits"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        digits = value.removeprefix("/").lower()
        if not re.fullmatch("[0-9a-f]{1,64}", digits):
            self.fail(f"{value[:80]!r} is no key; give its 64 hexadecimal digits, or the first ones", param, ctx)
        return digits


@click.command(short_help="Tell the story of one key, operation or machine of a simulation.")
@click.argument("file", type=PlainPath(exists=True, dir_okay=False, path_type=Path))
@option("--key", type=HexPrefix(), help="What became of this key; its first digits are enough if no other has them.")
@option("--operation", type=click.IntRange(0), help="One put, get or forget, by its number.")
@option("--machine", type=click.IntRange(0), help="One machine, by its number.")
@option("--all", "whole", is_flag=True, help="Shorten nothing.")
def explain(file: Path, key: str | None, operation: int | None, machine: int | None, whole: bool) -> None:
    """Tell the story of one key, operation or machine.

    FILE was written by `camomile simulate --trace FILE`. Each line is a question that arrived and its answer: how long
    after the beginning, how many leading bits the asked machine's id shares with the key, and indented by hops. What
    was lost on its way is not in a trace. A key may also be the target of lookups, such as a node's id when it joins.
    """
    if [key, operation, machine].count(None) != 2:
        raise click.UsageError("name one of --key, --operation and --machine")

    from camomile_trio.cli.story_page import print_story
    from camomile_trio.simulation.explain.machine_story import story_of_machine
    from camomile_trio.simulation.explain.story import story_of_key, story_of_operation
    from camomile_trio.simulation.trace_file import TraceFile

    trace = TraceFile(file)
    if key is not None:
        story = story_of_key(trace, key)
    elif operation is not None:
        story = story_of_operation(trace, operation)
    else:
        assert machine is not None
        story = story_of_machine(trace, machine, with_packets=whole)
    print_story(story, whole=whole)
