"""The options of every command that logs.

Rules of this file: names only, so that a command line is parsed without loading what writes logs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import click

from camomile_trio.cli.option_types import Decorated, option

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]


def log_options(*, level: LogLevel) -> Callable[[Decorated], Decorated]:
    """Adds --log-level, by default `level`, and --log-format."""

    def add(command: Decorated) -> Decorated:
        with_format = option(
            "--log-format",
            type=click.Choice(["text", "json"]),
            show_default="text on a terminal, else json",
            help="How events are written to standard error.",
        )(command)
        return option(
            "--log-level",
            type=click.Choice(["debug", "info", "warning", "error"]),
            default=level,
            help="The least weighty events that are logged.",
        )(with_format)

    return add
