"""HTTP to any replica, through one small client on the replicas' network: in a container, or where the caller says.

Rules of this file: the client's process ends with this object, and with this process however it ends, because its
program reads until its input closes. Answers are waited for within a bound.
"""

from __future__ import annotations

import base64
import itertools
import json
import queue
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs

from tools.cluster.engine import EngineError

PROGRAM = Path(__file__).with_name("client_program.py")
HTTP_PORT = 8080
WORST_START = 30.0  # seconds until the container's Python runs


@attrs.frozen
class Request:
    """One request to the replica at `address`, which is an address on the replicas' network."""

    address: str
    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class Answer:
    """`status` 0: no HTTP answer came, and `failure` says why. Names of headers are in lower case.

    `began` and `ended` are of this request alone, on this machine's monotonic clock.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    failure: str = ""
    began: float = 0.0
    ended: float = 0.0


def in_container(*, image: str, network: str, name: str) -> list[str]:
    """The command of a Python in a container on the replicas' network."""
    return [
        *("docker", "run", "--rm", "--interactive", "--init", "--read-only", "--cap-drop", "ALL"),
        *("--network", network, "--name", name, "--entrypoint", "python", image),
    ]


def inside(container: str) -> list[str]:
    """The command of a Python in a replica's own container: it reaches that replica at 127.0.0.1, whatever is cut."""
    return ["docker", "exec", "--interactive", container, "python"]


class NetworkClient:
    """A context manager: the client runs inside its block. `python` is the command of a Python that is on the network.

    One thread at a time may ask.
    """

    def __init__(self, python: Sequence[str]) -> None:
        self._command = [*python, "-I", "-u", "-c", PROGRAM.read_text("utf-8")]
        self._numbers = itertools.count()
        self._lines: queue.Queue[str] = queue.Queue()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="ascii"
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        try:
            self._next_line(time.monotonic() + WORST_START)
        except EngineError:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(timeout=10)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def ask(self, requests: Sequence[Request], *, timeout: float = 20.0) -> list[Answer]:
        """The answers, in the order of the requests, which are made at once (8 at a time). `timeout` is of each."""
        assert self._process is not None
        assert self._process.stdin is not None
        places: dict[int, int] = {}
        for place, request in enumerate(requests):
            number = next(self._numbers)
            places[number] = place
            line = {
                "number": number,
                "address": request.address,
                "port": HTTP_PORT,
                "method": request.method,
                "path": request.path,
                "headers": dict(request.headers),
                "body": base64.b64encode(request.body).decode("ascii"),
                "timeout": timeout,
            }
            self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()
        answers: dict[int, Answer] = {}
        deadline = time.monotonic() + timeout * (1 + len(requests) // 8) + 5
        while len(answers) < len(requests):
            said = json.loads(self._next_line(deadline))
            if said["number"] in places:  # else it is of a call that gave up waiting
                answers[places[said["number"]]] = Answer(
                    status=said["status"],
                    headers={name.lower(): value for name, value in said["headers"]},
                    body=base64.b64decode(said["body"]),
                    failure=said.get("failure", ""),
                    began=said["began"],
                    ended=said["ended"],
                )
        return [answers[place] for place in range(len(requests))]

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def _next_line(self, deadline: float) -> str:
        try:
            line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise EngineError("the client on the replicas' network did not answer in time") from None
        if not line:
            raise EngineError("the client on the replicas' network has ended")
        return line
