"""How a failure reads: one line of cause and remedy, and an exit code.

Rules of this file: whatever a user, a peer or a full disk can cause comes out as one line without a traceback. What is
nobody's doing but a bug's keeps its traceback. Texts may come from a server: they are made harmless for a terminal.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import NoReturn

import click
from click.core import ParameterSource

from camomile_trio.cli.standard_streams import STDERR, giving_up_on, takes_words, what_is_closed
from camomile_trio.errors import CamomileError, ConfigError, Forgotten, NotFound, Unavailable

DONE, FAILED, MISUSED, NOT_FOUND, FORGOTTEN, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130
EXIT_CODES = (
    "Exit codes: 0 done, 1 failed, 2 misused, 3 not found, 4 forgotten, 5 unreachable, timed out, or refused for now "
    "(503): the same command is safe to repeat."
)
# The first row that fits counts.
_CODES: tuple[tuple[type[CamomileError], int], ...] = (
    (ConfigError, MISUSED),
    (Forgotten, FORGOTTEN),
    (NotFound, NOT_FOUND),
    (Unavailable, UNREACHABLE),
)
LONGEST_LINE = 1000  # characters; more comes only from a server that means no good
PATIENCE = 1.0  # seconds for the reader of standard error to take the last line


class CommandFailed(CamomileError):
    """The command could not do what it was asked; the text says why, the remedy what to do."""


def one_line(text_untrusted: str) -> str:
    """The text on one line, without anything that could steer a terminal, and of a bounded length."""
    joined = " ".join(text_untrusted.split())[:LONGEST_LINE]
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in joined)


def sentence(cause: str, remedy: str = "") -> str:
    """`cause; remedy` on one line."""
    return one_line(f"{cause}; {remedy}" if remedy else cause)


def expected_failure(error: BaseException) -> CamomileError | OSError | KeyboardInterrupt | None:
    """What to tell the user about `error`, None if any part of it is a bug.

    Nurseries put errors into groups, one inside the other, and when one child fails the others often follow: the first
    of them is the cause, an interruption goes before all.
    """
    leaves = _leaves(error)
    for leaf in leaves:
        if isinstance(leaf, KeyboardInterrupt):
            return leaf
    if not all(isinstance(leaf, (CamomileError, OSError)) for leaf in leaves):
        return None
    # A refused call of the system is often what followed from a cause that we have words for.
    ours = [leaf for leaf in leaves if isinstance(leaf, CamomileError)]
    systems = [leaf for leaf in leaves if isinstance(leaf, OSError)]
    return ours[0] if ours else systems[0]


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in _leaves(part)]
    return [error]


def describe(failure: CamomileError | OSError) -> str:
    """The one line for a failure."""
    if isinstance(failure, CamomileError):
        return sentence(str(failure), failure.remedy)
    if failure.errno == errno.EBADF and (closed := what_is_closed()):
        return sentence(f"{closed} is closed", f"open it, or use {os.devnull}")
    named = f": {failure.filename}" if failure.filename is not None else ""
    return sentence(f"{failure.strerror or failure}{named}")


def exit_code(failure: CamomileError | OSError) -> int:
    """What the process ends with, by the kind of the failure; docs/operating.md, "Exit codes"."""
    return next((code for kind, code in _CODES if isinstance(failure, kind)), FAILED)


def describe_misuse(error: click.ClickException) -> str:
    """What click says about the arguments, in the shape of all our errors."""
    message = error.message.rstrip(".")
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context else "camomile"
    if type(error) is click.BadParameter and error.param is not None:
        return sentence(f"{_parameter_name(error.param, context)}: {message}")
    message = error.format_message().rstrip(".?")
    return sentence(message[:1].lower() + message[1:], f"see {path} --help")


def _parameter_name(parameter: click.Parameter, context: click.Context | None) -> str:
    """The name under which the user gave the parameter: an option's, an argument's or an environment variable's."""
    from_environment = (
        context is not None and context.get_parameter_source(parameter.name) is ParameterSource.ENVIRONMENT
    )
    if from_environment and isinstance(parameter.envvar, str):
        return parameter.envvar
    if isinstance(parameter, click.Argument):
        return parameter.human_readable_name
    return max(parameter.opts, key=len)


def leave(line: str, code: int) -> NoReturn:
    """Says the line on standard error, unless its reader keeps us waiting, and ends the process."""
    with giving_up_on(STDERR):
        if takes_words(STDERR, within=PATIENCE):
            click.echo(f"camomile: {line}", err=True)
    sys.exit(code)
