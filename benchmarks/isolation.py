"""A network, a table of mounts and a tree of processes of the harness's own, from the kernel.

Rules of this file: whatever happens to the harness, SIGKILL included, the kernel ends its processes and removes its
namespaces, bridge and tmpfs with it: there is no clean-up that could be missed. Where that is not allowed it says so,
and nodes live on addresses of loopback.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

INSIDE = "CAMOMILE_BENCH_INSIDE"
UNSHARE = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


def is_inside() -> bool:
    return os.environ.get(INSIDE) == "1"


def enter(arguments: Sequence[str], module: str = "benchmarks") -> str:
    """Why this program cannot start again inside. If it can, it does, and this never returns."""
    if not all(shutil.which(each) for each in ("unshare", "nsenter", "ip")):
        return "unshare, nsenter or ip is missing (Debian: apt-get install util-linux iproute2)"
    command = [*UNSHARE, *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    trial = subprocess.run(
        [*command, "sh", "-c", "mount -t tmpfs tmpfs /run && ip netns add trial && ip link add trial type bridge"],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    if trial.returncode == 0:
        os.environ[INSIDE] = "1"
        os.execvp(command[0], [*command, sys.executable, "-m", module, *arguments])
    return f"namespaces are not allowed here ({' '.join(trial.stderr.split()[-12:]) or 'no reason given'})"


def prepare() -> None:
    """Once inside: a place for names of namespaces that nobody else sees."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True, timeout=30)
