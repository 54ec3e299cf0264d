"""The options by which a client command finds its node, and how long it waits for it.

Rules of this file: names and defaults only. A command that reaches over HTTP has --node, one for the owner of a node on
this machine has --socket and --data-dir.
"""

from __future__ import annotations

from collections.abc import Callable

from camomile_trio.cli.option_types import (
    DIRECTORY,
    FILE,
    TOKEN_FILE,
    Decorated,
    NodeUrl,
    Patience,
    option,
)

DEFAULT_URL = "http://127.0.0.1:8080"
# Seconds that a node may be silent. A node that works answers a question about itself at once; it gives an operation up
# by itself after 15 s. What a put sends, or a batch of an import, may wait for longer.
FOR_STATE, FOR_OPERATION, FOR_TRANSFER = 10.0, 30.0, 60.0


def node_option(command: Decorated) -> Decorated:
    """Adds --node."""
    return option("--node", "url", type=NodeUrl(), default=DEFAULT_URL, help="The HTTP address of any node.")(command)


def token_option(command: Decorated) -> Decorated:
    """Adds --token."""
    return option("--token", type=TOKEN_FILE, help="A file with the bearer token of a node that asks for one.")(command)


def timeout_option(default: float) -> Callable[[Decorated], Decorated]:
    """Adds --timeout."""
    return option(
        "--timeout",
        type=Patience(),
        default=default,
        help="Give up, with exit code 5, once the node has been silent for so many seconds.",
    )


def socket_options(command: Decorated) -> Decorated:
    """Adds --socket and --data-dir, by which the node is found."""
    with_directory = option(
        "--data-dir",
        type=DIRECTORY,
        show_default="$XDG_DATA_HOME/camomile or ~/.local/share/camomile",
        help="The data directory of the node.",
    )(command)
    return option(
        "--socket",
        type=FILE,
        show_default="that of the only node that runs",
        help="The control socket of the node.",
    )(with_directory)
