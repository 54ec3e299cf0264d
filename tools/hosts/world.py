"""Namespaces of its own for a driver and everything that it starts: network, mounts and processes.

Rules of this file: outside, nothing is changed but the size of the kernel's table of neighbours, for the length of the
run. Inside, /run is a file system in memory that nobody else sees; hosts and their data live there, so they are gone
with the driver. The driver is process 1 inside: when it ends, the kernel ends all others. When this process dies, by
whatever signal, the driver does.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from tools.cluster.neighbours import room_for_neighbours
from tools.hosts.command import HostsError, run

RUN = Path("/run")
NAMESPACES = RUN / "netns"  # where iproute2 keeps its names
DATA = RUN / "hosts"  # for what processes in hosts write: in memory, and seen by nobody outside
TOOLS = {"ip": "iproute2", "unshare": "util-linux", "nsenter": "util-linux", "setpriv": "util-linux", "mount": "mount"}
MARK = "camomile-hosts"  # the name of the file system at /run, by which the inside is known
ENDS_WITHIN = 30.0  # seconds from Ctrl-C until the driver has cleaned up
# A forwarding kernel would join the switches: new namespaces inherit this from a machine that has containers.
_PREPARE = f'mount -t tmpfs -o mode=755 {MARK} {RUN} && echo 0 >/proc/sys/net/ipv4/ip_forward && exec "$@"'


def missing() -> str:
    """Why namespaces cannot be made here, with the remedy; empty when they can."""
    if absent := [f"{tool} (package {package})" for tool, package in TOOLS.items() if shutil.which(tool) is None]:
        return f"not installed: {', '.join(absent)}"
    try:
        run([*_apart(), "true"], within=30)
    except HostsError as error:
        who = "this root has not the rights" if os.geteuid() == 0 else "the system lets only root make them"
        return f"network namespaces cannot be made here, {who}: {error}"
    return ""


def run_apart(command: Sequence[str], *, hosts: int) -> int:
    """Runs `command` in namespaces of its own, where it may make that many hosts; its exit code.

    Ctrl-C reaches the command too and gives it time to end in order; SIGTERM does not.
    """
    before = signal.signal(signal.SIGTERM, _interrupt)
    with room_for_neighbours(hosts):
        process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *_apart(), *command])
        try:
            return process.wait()
        except KeyboardInterrupt:
            try:
                return process.wait(ENDS_WITHIN)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                return 130
        except _ToldToStop:
            return 143
        finally:
            process.kill()
            process.wait()
            signal.signal(signal.SIGTERM, before)


def check_apart() -> None:
    """HostsError unless this process is inside, where there is no interface but loopback yet."""
    mounts = Path("/proc/self/mounts").read_text("utf-8").splitlines()
    if not any(line.startswith(f"{MARK} {RUN} tmpfs ") for line in mounts):
        raise HostsError("hosts are made only by a command of run_apart")
    links = {link["ifname"] for link in json.loads(run(["ip", "-json", "link", "show"]))}
    if links != {"lo"}:
        raise HostsError(f"there are interfaces already: {', '.join(sorted(links - {'lo'}))}")
    if Path("/proc/sys/net/ipv4/ip_forward").read_text("ascii").strip() != "0":
        raise HostsError("this namespace forwards")


def _apart() -> list[str]:
    """The beginning of a command that runs the rest of it inside."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    kinds = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return ["unshare", *user, *kinds, "sh", "-c", _PREPARE, "sh"]


class _ToldToStop(Exception):
    pass


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise _ToldToStop
