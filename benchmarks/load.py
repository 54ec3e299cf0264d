"""Load from wrk: what it is to send, and what came of it.

Rules of this file: every request of a plan of puts has a value of its own. What wrk prints about latency is not used
(it adds samples that it thinks were omitted): `load.lua` notes every answer, and figures are made of those. An answer
with another status than the wanted ones, or without the value, is counted and never timed.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

import attrs

SCRIPT = Path(__file__).with_name("load.lua")
MARK = "BENCH "
PATIENCE = 60.0  # s beyond its duration that wrk may take to end
REFUSED = 503
HEAD_BYTES = 24  # a multiple of 3: base64 of head and tail is that of both


@attrs.frozen
class Request:
    """A path, and the part of the body that no other request has: sent by a put, looked for in a get's answer."""

    path: str
    head: str


@attrs.frozen
class Plan:
    """What to send. The body of a put is prefix + head + tail. `repeats`: all of it again and again."""

    method: str
    requests: Sequence[Request]
    content_type: str = ""
    prefix: str = ""
    tail: str = ""
    repeats: bool = False

    def text(self) -> str:
        lines = [self.method, self.content_type, self.prefix, self.tail]
        return "\n".join([*lines, *(f"{each.path}\t{each.head}" for each in self.requests)]) + "\n"


@attrs.frozen
class Load:
    """What came of it: seconds of each answer that was as wanted (sorted), and the plan's lines they belong to."""

    seconds: float  # from the first request to the last answer
    times: Sequence[float]
    done: Sequence[int]
    failed: int
    refused: Sequence[float] = ()  # seconds of each 503 with Retry-After (sorted); each is among the failed

    @property
    def per_second(self) -> float:
        return len(self.times) / self.seconds if self.seconds else float("nan")


def values(label: str, count: int, size: int) -> tuple[list[str], str]:
    """The heads of `count` values of `size` bytes, all different, and the tail that they share."""
    if len(label) + 9 > HEAD_BYTES or size < HEAD_BYTES:
        raise ValueError(f"a label of at most {HEAD_BYTES - 9} characters, and at least {HEAD_BYTES} bytes")
    return [f"{label}-{number:08}".ljust(HEAD_BYTES, "_") for number in range(count)], "x" * (size - HEAD_BYTES)


def parse(output: str, wanted: Collection[int]) -> Load:
    """Reads what `load.lua` printed. ValueError if that is not there."""
    lines = [line.removeprefix(MARK) for line in output.splitlines() if line.startswith(MARK)]
    if not lines:
        raise ValueError(f"wrk said nothing that can be read: {output[-300:]!r}")
    broken, microseconds = map(int, lines[0].split())
    times: list[tuple[float, int]] = []
    refused: list[float] = []
    for line in lines[1:]:
        number, status, taken = map(int, line.split())
        if status in wanted:
            times.append((taken / 1e6, number))
        elif status == REFUSED:
            refused.append(taken / 1e6)
    return Load(
        seconds=microseconds / 1e6,
        times=sorted(taken for taken, _ in times),
        done=[number for _, number in times],
        failed=broken + len(lines) - 1 - len(times),
        refused=sorted(refused),
    )


def send(
    plan: Plan,
    url: str,
    *,
    concurrent: int,
    seconds: int,
    wanted: Collection[int],
    directory: Path,
    per_second: float | None = None,
) -> Load:
    """Sends it, `concurrent` requests at a time, for `seconds` or until there is nothing left.

    With `per_second` all connections together send so many, as long as they are answered in time; else as many as can
    be.
    """
    with tempfile.NamedTemporaryFile("w", encoding="ascii", prefix="plan-", dir=directory) as file:
        file.write(plan.text())
        file.flush()
        pace = concurrent / per_second if per_second else 0.0
        command = ["wrk", f"-t{concurrent}", f"-c{concurrent}", f"-d{seconds}s", "--timeout", "30s", "-s", str(SCRIPT)]
        command += [url, "--", file.name, "repeat" if plan.repeats else "once", str(concurrent), f"{pace:.6f}"]
        said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + PATIENCE)
    return parse(said.stdout, wanted)
