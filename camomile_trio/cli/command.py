"""The group of all commands, and the one place where errors end.

Rules of this file: every way out of every command leads through `Camomile.main`; no command prints an error by itself.
"""

from __future__ import annotations

import errno
import importlib.metadata
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from camomile_trio.cli.client_commands import forget, get, peers, put, status
from camomile_trio.cli.cluster_command import cluster
from camomile_trio.cli.failures import (
    DONE,
    EXIT_CODES,
    FAILED,
    INTERRUPTED,
    MISUSED,
    describe,
    describe_misuse,
    exit_code,
    expected_failure,
    leave,
)
from camomile_trio.cli.key_command import key
from camomile_trio.cli.local_commands import ping, reload, stop
from camomile_trio.cli.node_command import node
from camomile_trio.cli.option_types import with_our_options
from camomile_trio.cli.records_commands import check, export, import_, records
from camomile_trio.cli.standard_streams import STDOUT, giving_up_on
from camomile_trio.cli.stop_signals import StopSignals
from camomile_trio.simulation.command import simulate

# The commands that end in order when they are told to. All others end where they are.
STAYING = frozenset({"node", "cluster"})


class Camomile(click.Group):
    """A group whose errors are one line each."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = "camomile",
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Runs the command and ends the process with its exit code; a bug leaves as the exception that it is."""
        try:
            code = super().main(args, prog_name or "camomile", complete_var, standalone_mode=False, **extra)
        except click.Abort:
            sys.exit(INTERRUPTED)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            sys.exit(MISUSED)
        except click.ClickException as error:
            misused = isinstance(error, click.UsageError)
            leave(describe_misuse(error), MISUSED if misused else FAILED)
        except BaseException as error:
            failure = expected_failure(error)
            if failure is None:
                raise
            if isinstance(failure, KeyboardInterrupt):
                sys.exit(INTERRUPTED)
            line = describe(failure)
            with giving_up_on(STDOUT):
                sys.stdout.flush()
            if isinstance(failure, OSError) and failure.errno == errno.EPIPE:
                # The reader of our output has had enough, as `head` does: no reason for words.
                sys.exit(FAILED)
            leave(line, exit_code(failure))
        sys.exit(code if isinstance(code, int) else DONE)


def installed_version() -> str:
    """The version of the installed package."""
    try:
        return importlib.metadata.version("camomile")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _print_version(context: click.Context, option: click.Parameter, is_given: bool) -> None:
    if is_given:
        click.echo(f"camomile {installed_version()}")
        context.exit()


@click.group(
    cls=Camomile,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and end.",
)
@click.pass_context
def camomile(context: click.Context) -> None:
    """A leaderless, self-healing store of content-addressed values.

    Start a network in one process with `camomile cluster -n 10`, or one node of it with `camomile node`. Then put, get
    and forget values through any of its nodes. Every option can be given as an environment variable too.
    """
    if context.invoked_subcommand not in STAYING:
        context.ensure_object(StopSignals).let_go()


for each in (
    node,
    cluster,
    put,
    get,
    forget,
    status,
    peers,
    ping,
    reload,
    stop,
    key,
    records,
    export,
    import_,
    check,
    with_our_options(simulate),
):
    each.epilog = EXIT_CODES
    camomile.add_command(each)
