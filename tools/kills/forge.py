"""The forge: one process that has loaded everything, and forks a node for each line that it reads.

Rules of this file: a forked node is a process like any other, only that it starts in a tenth of the time. All nodes
are in one process group, so that one system call kills them all. It ends, and they with it, when its input ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from typing import Any

# Loaded here, once, for all nodes to come.
import camomile_trio.cli.running  # noqa: F401
from camomile_trio.cli import camomile


def main() -> None:
    group = 0
    while line := sys.stdin.readline():
        order = json.loads(line)
        if order["begins_group"]:
            # A node that was killed has its directory and its ports until it is gone.
            _bury()
            group = 0
        child = os.fork()
        if child == 0:
            os.setpgid(0, group)
            _become_a_node(order)
        # Both do it: whoever comes first, the child is in the group before anybody hears of it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.setpgid(child, group)
        group = group or child
        sys.stdout.write(f"{child} {group}\n")
        sys.stdout.flush()
    if group:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def _bury() -> None:
    """Waits for the last round's nodes, which were killed before this one was asked for."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def _become_a_node(order: dict[str, Any]) -> None:
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.dup2(log, 2)
    try:
        camomile(args=["node", *order["options"]])
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
