"""Commands of iproute2 and their like, each within a bound.

Rules of this file: a command that fails, hangs or is missing is a HostsError that says which one and what it printed.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

SHOWN_OF_FAILURE = 2000  # characters of a failed command's output, from the end


class HostsError(Exception):
    """Namespaces, links or processes are not what was asked for."""


def run(command: Sequence[str], *, given: str = "", within: float = 60.0) -> str:
    """What `command` printed, when it was given `given` on its standard input."""
    name = " ".join(command[:6])
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, encoding="utf-8", timeout=within, check=False
        )
    except subprocess.TimeoutExpired:
        raise HostsError(f"{name} took more than {within:g} s") from None
    except OSError as error:
        raise HostsError(f"{name} cannot be run: {error}") from None
    if done.returncode:
        said = (done.stdout + done.stderr).strip()[-SHOWN_OF_FAILURE:]
        raise HostsError(f"{name} ended with {done.returncode}: {said}")
    return done.stdout


def run_lines(lines: Sequence[str], *, namespace: str = "") -> None:
    """Gives the lines to iproute2 in one go, in the namespace of that name or in this process's."""
    where = ["-netns", namespace] if namespace else []
    run(["ip", *where, "-batch", "-"], given="".join(f"{line}\n" for line in lines))
