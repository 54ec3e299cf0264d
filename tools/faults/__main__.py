"""`python -m tools.faults --nodes 50`: what `make test-faults` does.

Rules of this file: the order of things, and what a person reads. Outside it only starts itself anew in namespaces of
its own. Exit codes: 0 every story passed, 1 one did not, 2 misused, 3 there is neither a way to network namespaces nor
a container engine, so nothing was tested, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from types import FrameType

from tools.arguments import whole
from tools.cluster.engine import ROOT, EngineError, check_engine
from tools.faults import stories
from tools.faults.figures import Figures, told
from tools.faults.full_disk import full_disk
from tools.faults.stories import Setting, Story
from tools.hosts.command import HostsError
from tools.hosts.world import missing, run_apart

LEAST_NODES, MOST_NODES = 6, 100
LOGS = ROOT / "build" / "faults-logs"
NOWHERE = 3
STORIES: dict[str, Story] = {
    "half-killed": stories.half_killed,
    "partition": stories.partition,
    "paused": stories.paused,
    "crash-of-all": stories.crash_of_all,
    "rolling-restart": stories.rolling_restart,
    "full-disk": full_disk,
}


def main() -> int:
    arguments = _parser().parse_args()
    if arguments.inside:
        return _inside(arguments)
    if why := missing():
        print(f"faults: {why}", file=sys.stderr)
        return _in_containers(arguments.nodes)
    shutil.rmtree(LOGS, ignore_errors=True)
    return run_apart([sys.executable, "-m", "tools.faults", "--inside", *sys.argv[1:]], hosts=arguments.nodes)


def _inside(arguments: argparse.Namespace) -> int:
    setting = Setting(arguments.nodes, arguments.seed, arguments.sync, arguments.crashes, LOGS)
    limit = _limit(arguments.nodes, arguments.crashes)
    print(f"faults: {arguments.nodes} nodes, seed {arguments.seed}, {limit} s at most", flush=True)
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(limit)
    done: list[Figures] = []
    try:
        for name in arguments.only or STORIES:
            done.append(_tell(name, setting))
    except KeyboardInterrupt:
        print("faults: interrupted", file=sys.stderr)
        return 130
    except _TooLong:
        print(f"faults: not done after {limit} s", file=sys.stderr)
        return 1
    finally:
        signal.alarm(0)
        if done:
            print(told(done), flush=True)
    if all(story.passed for story in done):
        shutil.rmtree(LOGS, ignore_errors=True)
        return 0
    print(f"faults: what the nodes logged is in {LOGS.relative_to(ROOT)}", file=sys.stderr)
    return 1


def _tell(name: str, setting: Setting) -> Figures:
    began = time.monotonic()
    try:
        figures = STORIES[name](setting)
    except (HostsError, EngineError) as error:
        figures = Figures(name, setting.nodes, wrong=[str(error)])
    figures.seconds = time.monotonic() - began
    print(f"faults: {name} {'passed' if figures.passed else 'FAILED'} in {figures.seconds:.0f} s", flush=True)
    return figures


def _in_containers(nodes: int) -> int:
    """The kill, pause, partition and restart that the container suite has."""
    try:
        check_engine()
    except EngineError as error:
        print(f"faults: no container engine either, so nothing was tested: {error}", file=sys.stderr)
        return NOWHERE
    print("faults: in containers instead, with the faults that `make test-cluster` has", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "tools.cluster", "--nodes", str(nodes), "--", "-k", "test_troubles"]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def _limit(nodes: int, crashes: int) -> int:
    """Seconds for everything; 25 minutes for 50 nodes."""
    return 600 + 18 * nodes + (crashes - 1) * (20 + 2 * nodes)


class _TooLong(Exception):
    """Each wait has its bound; this is the bound of all of them together."""


def _too_long(number: int, frame: FrameType | None) -> None:
    raise _TooLong


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.faults", description="Harm Camomile for real, and look.")
    parser.add_argument("--nodes", type=whole(LEAST_NODES, MOST_NODES), default=50, help="of the largest network")
    parser.add_argument("--only", action="append", choices=STORIES, help="this story; may be given several times")
    parser.add_argument("--seed", type=whole(0, 2**32), default=1, help="chooses who is harmed (default 1)")
    parser.add_argument("--sync", choices=("os", "full"), default="os", help="for the crash of all (default os)")
    parser.add_argument("--crashes", type=whole(1, 1000), default=1, help="of all nodes, in that story (default 1)")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
