"""What a process says while it runs: one stream of events, in one format.

Rules of this file: everything goes to standard error, through the standard library's root logger, so that the events of
Trio, Hypercorn and Quart look like our own. A thread writes them: nobody who logs waits for who reads. Nothing here is
set up on import.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from structlog.typing import Processor

from camomile_trio.cli.line_writer import LineWriter, writing_lines
from camomile_trio.cli.log_options import LogFormat, LogLevel
from camomile_trio.cli.standard_streams import STDERR


@contextmanager
def logging_events(level: LogLevel, log_format: LogFormat | None, descriptor: int = STDERR) -> Iterator[LineWriter]:
    """For the block, sends all events of `level` and above to `descriptor`: by default as text to a terminal, as JSON
    elsewhere. Gives what writes them, which counts those that nobody could read."""
    on_terminal = os.isatty(descriptor)
    chosen = log_format or ("text" if on_terminal else "json")
    number = logging.getLevelNamesMapping()[level.upper()]
    for_all: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*for_all, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(number),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*for_all, structlog.stdlib.PositionalArgumentsFormatter()],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(chosen, on_terminal)],
    )

    def tell_of_dropped(count: int) -> str:
        text = f"{count} lines of the log are missing here: nobody read them in time, or they could not be written"
        return formatter.format(logging.LogRecord("camomile", logging.WARNING, "", 0, text, None, None)) + "\n"

    with writing_lines(descriptor, tell_of_dropped) as lines:
        handler = logging.StreamHandler(lines)
        handler.setFormatter(formatter)
        _send_all_to(handler, number)
        before, sys.unraisablehook = sys.unraisablehook, _log_unraisable
        try:
            yield lines
        finally:
            sys.unraisablehook = before


def _log_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    # Python's own hook writes to standard error, and waits for who reads it.
    error = unraisable.exc_value
    text = f"{unraisable.err_msg or 'an exception was ignored in'}: {unraisable.object!r}"
    logging.getLogger("py.unraisable").error(text, exc_info=error)


def _send_all_to(handler: logging.Handler, number: int) -> None:
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    # It announces each address that it binds, which our own event has said already.
    logging.getLogger("hypercorn").setLevel(max(number, logging.WARNING))
    logging.captureWarnings(True)


def _rendering(log_format: LogFormat, on_terminal: bool) -> list[Processor]:
    if log_format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    colours = on_terminal and not os.environ.get("NO_COLOR")
    return [structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)]
