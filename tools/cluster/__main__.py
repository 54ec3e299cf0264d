"""`python -m tools.cluster --nodes 10`: what `make test-cluster` does.

Builds the image, starts one bootstrap and the other replicas, runs tests/cluster against them, prints how long it took
and how much memory they use, and takes everything away, also after a failure, Ctrl-C or SIGTERM. The image stays.

Rules of this file: the order of things, and what a person reads. Exit code 0 means that every test passed and nothing
was left behind.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tools.cluster.deployment import Deployment
from tools.cluster.engine import ROOT, EngineError, check_engine
from tools.cluster.image import build
from tools.cluster.neighbours import room_for_neighbours

LOGS = ROOT / "build" / "cluster-logs.txt"
LEAST_NODES = 6  # three may be killed at once, and three are left


def main() -> int:
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    deployment = Deployment.new(arguments.nodes)
    try:
        check_engine()
        with _timed("image built"):
            image = build()
        with room_for_neighbours(arguments.nodes):
            return _test(deployment, image, arguments.pytest)
    except EngineError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("cluster: interrupted", file=sys.stderr)
        return 130


def _test(deployment: Deployment, image: str, pytest_arguments: list[str]) -> int:
    try:
        with _timed(f"{deployment.nodes} replicas started"):
            deployment.up(image)
        with _timed("tests run"):
            code = _run_tests(deployment, image, pytest_arguments)
        memory = deployment.memory()
        print(
            f"cluster: memory {memory.total / 2**20:.0f} MiB in all, "
            f"{memory.total / 2**20 / deployment.nodes:.0f} MiB a replica, {memory.largest / 2**20:.0f} MiB at most"
        )
        if code:
            _keep_logs(deployment)
        return code
    finally:
        # A second Ctrl-C must not leave fifty containers behind; every step of the removal is bounded.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with _timed("everything removed"):
            deployment.remove()


def _run_tests(deployment: Deployment, image: str, pytest_arguments: list[str]) -> int:
    environment = {
        "CAMOMILE_TESTS_PROJECT": deployment.project,
        "CAMOMILE_TESTS_NODES": str(deployment.nodes),
        "CAMOMILE_TESTS_IMAGE": image,
    }
    within = 900 + 12 * deployment.nodes
    limit = ("-o", f"time_limit={within // 2}")  # of one test, which may have to wait until every replica is ready
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-v",
        "-p",
        "no:cacheprovider",
        *limit,
        "tests/cluster",
        *pytest_arguments,
    ]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment})
    try:
        return process.wait(timeout=within)
    except subprocess.TimeoutExpired:
        raise EngineError("the tests took too long") from None
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _keep_logs(deployment: Deployment) -> None:
    LOGS.parent.mkdir(exist_ok=True)
    LOGS.write_text(deployment.logs(lines=2000), "utf-8")
    print(f"cluster: what the replicas logged is in {LOGS.relative_to(ROOT)}", file=sys.stderr)


@contextmanager
def _timed(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    print(f"cluster: {what} in {time.monotonic() - began:.1f} s", flush=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.cluster", description="Test Camomile in containers.")
    parser.add_argument("--nodes", type=_nodes, default=10, help="bootstrap and replicas together (default 10)")
    parser.add_argument("pytest", nargs="*", help="more for pytest, after --, for example: -- -k paused")
    return parser


def _nodes(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) < LEAST_NODES:
        raise argparse.ArgumentTypeError(f"wanted: a number of {LEAST_NODES} or more")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
